"""The catalogue: offers, their price history, provider health, sync runs and leases.

Money is BIGINT millionths, times are BIGINT microseconds since 1970 UTC. The triggers make the price history
append-only: no UPDATE ever, and a DELETE only for a row older than two years whose day has been aggregated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_HAS_A_PRICE = "price_per_hour IS NOT NULL OR price_per_million_input_tokens > 0 OR price_per_million_output_tokens > 0"


def upgrade() -> None:
    """Create the tables and the triggers that guard the price history."""
    _offers()
    _price_history()
    _providers()
    _coordination()
    for statement in _SQLITE_TRIGGERS if op.get_bind().dialect.name == "sqlite" else _POSTGRES_TRIGGERS:
        op.execute(sa.text(statement))


def _columns(kind: Callable[[], sa.types.TypeEngine[Any]], required: str, optional: str = "") -> list[sa.Column[Any]]:
    columns: list[sa.Column[Any]] = [sa.Column(name, kind(), nullable=False) for name in required.split()]
    return columns + [sa.Column(name, kind(), nullable=True) for name in optional.split()]


def _serial() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True)


def _offers() -> None:
    op.create_table(
        "offers",
        sa.Column("id", sa.Text(), nullable=False),
        *_columns(
            sa.Text,
            "provider external_id name gpu_raw pricing billing_unit currency region availability tags price_source"
            " source_url",
            "gpu form_factor interconnect cpu_arch storage_type exchange_rate exchange_rate_as_of availability_zone"
            " country area availability_evidence security_tier interruption_band direct_offer_id",
        ),
        *_columns(
            sa.Double,
            "gpu_fraction",
            "memory_gb cpu_cores ram_gb storage_gb network_gbps reliability sla_uptime tokens_per_second",
        ),
        *_columns(
            sa.BigInteger,
            "gpu_count node_count price_as_of last_updated content_hash first_seen_at last_seen_at",
            "price_per_hour price_per_hour_usd spot_price price_per_million_input_tokens"
            " price_per_million_output_tokens min_rental_minutes max_rental_minutes storage_price_per_gb_month"
            " egress_price_per_gb availability_as_of gone_at",
        ),
        sa.Column("bookable", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_offers"),
        sa.CheckConstraint("price_per_hour > 0", name="ck_offers_price_positive"),
        sa.CheckConstraint("price_per_million_input_tokens >= 0", name="ck_offers_input_tokens_price"),
        sa.CheckConstraint("price_per_million_output_tokens >= 0", name="ck_offers_output_tokens_price"),
        sa.CheckConstraint(_HAS_A_PRICE, name="ck_offers_has_a_price"),
        sa.CheckConstraint("gpu_count > 0", name="ck_offers_gpu_count"),
    )
    op.create_index("ix_offers_provider", "offers", ["provider"])
    op.create_index("ix_offers_gpu", "offers", ["gpu", "price_per_hour_usd"])
    live = sa.text("gone_at IS NULL")
    op.create_index(
        "ix_offers_cheapest_live", "offers", ["price_per_hour_usd", "id"], sqlite_where=live, postgresql_where=live
    )


def _price_history() -> None:
    op.create_table(
        "price_history",
        _serial(),
        *_columns(sa.Text, "offer_id currency availability"),
        *_columns(
            sa.BigInteger,
            "recorded_at",
            "price_per_hour price_per_hour_usd price_per_million_input_tokens price_per_million_output_tokens",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_price_history"),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name="fk_price_history_offer_id"),
        sa.CheckConstraint("price_per_hour > 0", name="ck_price_history_price_positive"),
        sa.CheckConstraint(_HAS_A_PRICE, name="ck_price_history_has_a_price"),
    )
    op.create_index("ix_price_history_offer", "price_history", ["offer_id", "recorded_at"])
    op.create_index("ix_price_history_recorded_at", "price_history", ["recorded_at"])
    op.create_table(
        "price_history_daily",
        *_columns(sa.Text, "offer_id measure currency"),
        *_columns(sa.BigInteger, "day open low high close mean samples"),
        sa.PrimaryKeyConstraint("offer_id", "day", "measure", name="pk_price_history_daily"),
    )


def _providers() -> None:
    op.create_table(
        "providers",
        *_columns(sa.Text, "name title state rejects notice", "last_error"),
        *_columns(
            sa.BigInteger,
            "offers",
            "last_attempt_at last_success_at last_complete_at stale_after_seconds drop_after_seconds interval_seconds",
        ),
        sa.Column("response_time_ms", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_providers"),
        sa.CheckConstraint(
            "state IN ('unknown', 'healthy', 'degraded', 'unhealthy', 'disabled')", name="ck_providers_state"
        ),
    )
    op.create_table(
        "sync_runs",
        _serial(),
        *_columns(sa.Text, "provider rejects", "error"),
        *_columns(sa.BigInteger, "started_at finished_at rows offers inserted changed gone"),
        sa.PrimaryKeyConstraint("id", name="pk_sync_runs"),
    )
    op.create_index("ix_sync_runs_finished_at", "sync_runs", ["finished_at"])


def _coordination() -> None:
    state = op.create_table(
        "catalogue_state",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        *_columns(sa.BigInteger, "version confirmation"),
        sa.PrimaryKeyConstraint("id", name="pk_catalogue_state"),
        sa.CheckConstraint("id = 1", name="ck_catalogue_state_single_row"),
    )
    op.bulk_insert(state, [{"id": 1, "version": 0, "confirmation": 0}])
    op.create_table(
        "leases",
        *_columns(sa.Text, "name holder"),
        *_columns(sa.BigInteger, "expires_at"),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )


# 63,072,000 seconds are two years of 365 days; 86,400,000,000 microseconds are a day.
_SQLITE_TRIGGERS = (
    """
    CREATE TRIGGER price_history_no_update BEFORE UPDATE ON price_history
    BEGIN SELECT RAISE(ABORT, 'price history cannot be altered'); END
    """,
    # INSERT OR REPLACE deletes the old row without firing delete triggers
    """
    CREATE TRIGGER price_history_no_replace BEFORE INSERT ON price_history
    WHEN EXISTS (SELECT 1 FROM price_history WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'price history cannot be altered'); END
    """,
    """
    CREATE TRIGGER price_history_no_delete BEFORE DELETE ON price_history
    WHEN OLD.recorded_at >= (CAST(strftime('%s', 'now') AS INTEGER) - 63072000) * 1000000
      OR NOT EXISTS (
        SELECT 1 FROM price_history_daily
        WHERE offer_id = OLD.offer_id AND day = OLD.recorded_at / 86400000000
      )
    BEGIN SELECT RAISE(ABORT, 'price history is kept for two years, then as daily figures'); END
    """,
    """
    CREATE TRIGGER price_history_daily_no_delete BEFORE DELETE ON price_history_daily
    BEGIN SELECT RAISE(ABORT, 'daily price history is kept'); END
    """,
)

_POSTGRES_TRIGGERS = (
    """
    CREATE FUNCTION price_history_guard() RETURNS trigger LANGUAGE plpgsql AS $guard$
    BEGIN
      IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'price_history' THEN
        IF OLD.recorded_at < (EXTRACT(EPOCH FROM now())::bigint - 63072000) * 1000000 AND EXISTS (
          SELECT 1 FROM price_history_daily
          WHERE offer_id = OLD.offer_id AND day = OLD.recorded_at / 86400000000
        ) THEN
          RETURN OLD;
        END IF;
      END IF;
      RAISE EXCEPTION 'price history cannot be altered' USING ERRCODE = 'restrict_violation';
    END
    $guard$
    """,
    """
    CREATE TRIGGER price_history_no_change BEFORE UPDATE OR DELETE ON price_history
    FOR EACH ROW EXECUTE FUNCTION price_history_guard()
    """,
    """
    CREATE TRIGGER price_history_no_truncate BEFORE TRUNCATE ON price_history
    FOR EACH STATEMENT EXECUTE FUNCTION price_history_guard()
    """,
    """
    CREATE TRIGGER price_history_daily_no_delete BEFORE DELETE ON price_history_daily
    FOR EACH ROW EXECUTE FUNCTION price_history_guard()
    """,
    """
    CREATE TRIGGER price_history_daily_no_truncate BEFORE TRUNCATE ON price_history_daily
    FOR EACH STATEMENT EXECUTE FUNCTION price_history_guard()
    """,
)
