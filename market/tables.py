"""The tables of the catalogue, the same on SQLite and PostgreSQL; migrations create them, a test compares the two."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator

from market.money import from_millionths, to_millionths
from market.rows import ROW_FIELDS, from_micros, to_micros

MICROS_PER_DAY = 86_400_000_000


class Millionths(TypeDecorator[Decimal]):
    """A Decimal kept as BIGINT millionths: SQLite would turn NUMERIC into a binary float."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Decimal to the stored integer."""
        return None if value is None else to_millionths(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        """The stored integer to a Decimal."""
        return None if value is None else from_millionths(value)


class UTC(TypeDecorator[datetime]):
    """An aware time kept as BIGINT microseconds since 1970: SQLite drops zones, and integers sort."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Aware time to the stored integer."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """The stored integer to an aware time."""
        return None if value is None else from_micros(value)


serial = BigInteger().with_variant(Integer, "sqlite")
"""A number the database gives: SQLite counts only what is declared INTEGER."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

offers = Table(
    "offers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("gpu", Text),
    Column("gpu_raw", Text, nullable=False),
    Column("gpu_count", BigInteger, nullable=False),
    Column("gpu_fraction", Double, nullable=False),
    Column("memory_gb", Double),
    Column("form_factor", Text),
    Column("interconnect", Text),
    Column("cpu_cores", Double),
    Column("cpu_arch", Text),
    Column("ram_gb", Double),
    Column("storage_gb", Double),
    Column("storage_type", Text),
    Column("network_gbps", Double),
    Column("node_count", BigInteger, nullable=False),
    Column("pricing", Text, nullable=False),
    Column("billing_unit", Text, nullable=False),
    Column("price_per_hour", Millionths),
    Column("currency", Text, nullable=False),
    Column("price_per_hour_usd", Millionths),
    Column("exchange_rate", Text),
    Column("exchange_rate_as_of", Text),
    Column("spot_price", Millionths),
    Column("price_per_million_input_tokens", Millionths),
    Column("price_per_million_output_tokens", Millionths),
    Column("min_rental_minutes", BigInteger),
    Column("max_rental_minutes", BigInteger),
    Column("storage_price_per_gb_month", Millionths),
    Column("egress_price_per_gb", Millionths),
    Column("region", Text, nullable=False),
    Column("availability_zone", Text),
    Column("country", Text),
    Column("area", Text),
    Column("availability", Text, nullable=False),
    Column("availability_evidence", Text),
    Column("availability_as_of", UTC),
    Column("security_tier", Text),
    Column("reliability", Double),
    Column("sla_uptime", Double),
    Column("interruption_band", Text),
    Column("tokens_per_second", Double),
    Column("tags", Text, nullable=False),
    Column("price_source", Text, nullable=False),
    Column("price_as_of", UTC, nullable=False),
    Column("source_url", Text, nullable=False),
    Column("bookable", Boolean, nullable=False),
    Column("direct_offer_id", Text),
    Column("last_updated", UTC, nullable=False),
    Column("content_hash", BigInteger, nullable=False),
    Column("first_seen_at", UTC, nullable=False),
    Column("last_seen_at", UTC, nullable=False),
    Column("gone_at", UTC),
    CheckConstraint("price_per_hour > 0", name="price_positive"),
    CheckConstraint("price_per_million_input_tokens >= 0", name="input_tokens_price"),
    CheckConstraint("price_per_million_output_tokens >= 0", name="output_tokens_price"),
    CheckConstraint(
        "price_per_hour IS NOT NULL OR price_per_million_input_tokens > 0 OR price_per_million_output_tokens > 0",
        name="has_a_price",
    ),
    CheckConstraint("gpu_count > 0", name="gpu_count"),
    Index("ix_offers_provider", "provider"),
    Index("ix_offers_gpu", "gpu", "price_per_hour_usd"),
    Index(
        "ix_offers_cheapest_live",
        "price_per_hour_usd",
        "id",
        sqlite_where=text("gone_at IS NULL"),
        postgresql_where=text("gone_at IS NULL"),
    ),
)
"""One row per product; `gone_at` is set when its provider no longer lists it."""

price_history = Table(
    "price_history",
    metadata,
    Column("id", serial, primary_key=True, autoincrement=True),
    Column("offer_id", Text, ForeignKey("offers.id"), nullable=False),
    Column("price_per_hour", Millionths),
    Column("price_per_hour_usd", Millionths),
    Column("price_per_million_input_tokens", Millionths),
    Column("price_per_million_output_tokens", Millionths),
    Column("currency", Text, nullable=False),
    Column("availability", Text, nullable=False),
    Column("recorded_at", UTC, nullable=False),
    CheckConstraint("price_per_hour > 0", name="price_positive"),
    CheckConstraint(
        "price_per_hour IS NOT NULL OR price_per_million_input_tokens > 0 OR price_per_million_output_tokens > 0",
        name="has_a_price",
    ),
    Index("ix_price_history_offer", "offer_id", "recorded_at"),
    Index("ix_price_history_recorded_at", "recorded_at"),
)
"""Append-only: triggers refuse every UPDATE, and a DELETE unless the retention job has aggregated that old day."""

price_history_daily = Table(
    "price_history_daily",
    metadata,
    Column("offer_id", Text, primary_key=True),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("measure", Text, primary_key=True),
    Column("currency", Text, nullable=False),
    Column("open", Millionths, nullable=False),
    Column("low", Millionths, nullable=False),
    Column("high", Millionths, nullable=False),
    Column("close", Millionths, nullable=False),
    Column("mean", Millionths, nullable=False),
    Column("samples", BigInteger, nullable=False),
)
"""One row per offer, day (days since 1970) and price column (`measure`); it outlives the offer: no foreign key."""

providers = Table(
    "providers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("last_attempt_at", UTC),
    Column("last_success_at", UTC),
    Column("last_complete_at", UTC),
    Column("last_error", Text),
    Column("response_time_ms", Double),
    Column("offers", BigInteger, nullable=False),
    Column("rejects", Text, nullable=False),
    Column("stale_after_seconds", BigInteger),
    Column("drop_after_seconds", BigInteger),
    Column("interval_seconds", BigInteger),
    Column("notice", Text, nullable=False),
    CheckConstraint("state IN ('unknown', 'healthy', 'degraded', 'unhealthy', 'disabled')", name="state"),
)

catalogue_state = Table(
    "catalogue_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("confirmation", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single_row"),
)
"""One row: `version` moves when offers change, `confirmation` when only freshness or health did."""

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", UTC, nullable=False),
)

sync_runs = Table(
    "sync_runs",
    metadata,
    Column("id", serial, primary_key=True, autoincrement=True),
    Column("provider", Text, nullable=False),
    Column("started_at", UTC, nullable=False),
    Column("finished_at", UTC, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("offers", BigInteger, nullable=False),
    Column("inserted", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("gone", BigInteger, nullable=False),
    Column("rejects", Text, nullable=False),
    Column("error", Text),
    Index("ix_sync_runs_finished_at", "finished_at"),
)

benchmarks = Table(
    "benchmarks",
    metadata,
    Column("gpu", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("precision", Text, primary_key=True),
    Column("engine", Text, primary_key=True),
    Column("batch", BigInteger, primary_key=True, autoincrement=False),
    Column("tokens_per_second", Double, nullable=False),
    Column("source", Text, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("measured_at", UTC, nullable=False),
    Column("recorded_at", UTC, nullable=False),
    CheckConstraint("tokens_per_second > 0", name="tokens_per_second"),
    CheckConstraint("batch > 0", name="batch"),
)
"""What somebody measured on one GPU: one row for each set of conditions."""

if tuple(offers.columns.keys()) != ROW_FIELDS:
    raise RuntimeError("the offers table and market.rows.ROW_FIELDS must name the same columns in the same order")
