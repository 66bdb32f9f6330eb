"""Procurement: keys, mandates, quotes, approvals, bookings, their journal and ledger, audit, outbox, alerts, webhooks.

Money is BIGINT millionths, times are BIGINT microseconds since 1970 UTC. Triggers let a booking make legal moves only
and keep the ledger, the outbox and the audit log append-only; of the audit log personal details may be erased.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BOOKING_STATES = (
    "pending",
    "provisioning",
    "active",
    "stopped",
    "terminating",
    "terminated",
    "failed",
    "compensated",
    "stuck",
)
_INSTANCE_STATES = ["planned", "launching", "booting", "running", "stopped", "terminating", "gone", "failed"]
_MOVES = {
    "pending": "provisioning terminating failed compensated stuck",
    "provisioning": "active terminating terminated compensated stuck",
    "active": "stopped terminating terminated stuck",
    "stopped": "active terminating terminated stuck",
    "terminating": "terminated failed compensated stuck",
    "stuck": "terminating terminated failed compensated",
}


def upgrade() -> None:
    """Create the tables, the indexes and the triggers."""
    _who_may_spend()
    _what_is_bought()
    _what_is_recorded()
    _who_is_told()
    _what_is_remembered()
    _guards()


def _table(
    name: str,
    *rest: sa.Column[object] | sa.Constraint,
    texts: str = "",
    numbers: str = "",
    reals: str = "",
    key: str = "id",
    refers: Iterable[str] = (),
    checks: dict[str, str] | None = None,
) -> None:
    """A table of plain columns; a name with a question mark may be null, `refers` are `column>table.column`."""
    columns: list[sa.Column[object] | sa.Constraint] = []
    for words, kind in ((texts, sa.Text), (numbers, sa.BigInteger), (reals, sa.Double)):
        for word in words.split():
            plain = word.rstrip("?")
            own = {"autoincrement": False} if plain in key.split() and kind is sa.BigInteger else {}
            columns.append(sa.Column(plain, kind(), nullable=word.endswith("?"), **own))  # type: ignore[arg-type]
    constraints: list[sa.Constraint] = [sa.PrimaryKeyConstraint(*key.split(), name=f"pk_{name}")]
    for one in refers:
        column, _, target = one.partition(">")
        constraints.append(sa.ForeignKeyConstraint([column], [target], name=f"fk_{name}_{column}"))
    constraints += [sa.CheckConstraint(rule, name=f"ck_{name}_{what}") for what, rule in (checks or {}).items()]
    op.create_table(name, *columns, *rest, *constraints)


def _serial() -> sa.Column[object]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False)


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def _index(name: str, table: str, *columns: str) -> None:
    op.create_index(name, table, list(columns))


def _who_may_spend() -> None:
    _table(
        "agent_keys",
        _unique("agent_keys", "thumbprint"),
        texts="id name thumbprint public_key created_by",
        numbers="created_at expires_at? revoked_at?",
    )
    _table(
        "mandates",
        texts="id principal agent jws",
        numbers="budget committed spent overrun hourly_committed hourly_budget? version running max_concurrent?"
        " created_at expires_at revoked_at?",
        checks={
            "not_negative": "budget >= 0 AND committed >= 0 AND spent >= 0 AND overrun >= 0"
            " AND hourly_committed >= 0 AND running >= 0",
            "within_budget": "committed + spent <= budget",
            "within_hourly_budget": "hourly_committed <= hourly_budget",
            "within_concurrency": "running <= max_concurrent",
        },
    )
    _index("ix_mandates_agent", "mandates", "agent")
    _table(
        "quotes",
        texts="id caller terms seal booking_id?",
        numbers="expected_total worst_total created_at expires_at used_at?",
        checks={"totals": "expected_total >= 0 AND worst_total >= expected_total"},
    )
    _index("ix_quotes_caller", "quotes", "caller", "created_at")
    _table(
        "approvals",
        _unique("approvals", "subject"),
        texts="id subject caller mandate_id summary seal decision? decided_by? decided_via?",
        numbers="amount requested_at expires_at decided_at? used_at?",
        checks={"decision": "decision IN ('approved', 'declined')"},
    )


def _what_is_bought() -> None:
    _table(
        "bookings",
        sa.Column("enforces_end", sa.Boolean(), nullable=False),
        _unique("bookings", "quote_id"),
        texts="id quote_id mandate_id caller provider offer_id external_id region pricing currency state gpu? reason?"
        " closes_as? cost_note? runner? plan",
        numbers="gpu_count instance_count attempts price_per_hour price_per_hour_usd storage_per_hour_usd claimed"
        " hourly_claimed spent final_cost? provider_cost? created_at ends_at started_at? ended_at? warned_at?"
        " runner_until? next_check_at? settle_until?",
        reals="disk_gb",
        refers=("quote_id>quotes.id", "mandate_id>mandates.id"),
        checks={
            "state": f"state IN ({_listed(_BOOKING_STATES)})",
            "price_positive": "price_per_hour > 0 AND price_per_hour_usd > 0",
            "not_negative": "claimed >= 0 AND hourly_claimed >= 0 AND spent >= 0",
            "counts": "gpu_count > 0 AND instance_count > 0",
        },
    )
    _index("ix_bookings_caller", "bookings", "caller", "created_at")
    _index("ix_bookings_mandate", "bookings", "mandate_id", "created_at")
    _index("ix_bookings_state", "bookings", "state", "next_check_at")
    _table(
        "instances",
        texts="label booking_id state provider_instance_id? access? reason?",
        numbers="ordinal created_at started_at? ended_at? provider_ends_at? metered_until? last_seen_at? bill?",
        key="label",
        refers=("booking_id>bookings.id",),
        checks={"state": f"state IN ({_listed(_INSTANCE_STATES)})"},
    )
    _index("ix_instances_booking", "instances", "booking_id", "ordinal")
    _index("ix_instances_provider_instance", "instances", "provider_instance_id")
    _table("launch_secrets", texts="booking_id sealed", key="booking_id", refers=("booking_id>bookings.id",))
    _table(
        "journal",
        _serial(),
        texts="booking_id step state intent label? outcome?",
        numbers="attempt started_at finished_at?",
        refers=("booking_id>bookings.id",),
        checks={"state": "state IN ('intended', 'done', 'refused', 'unknown')"},
    )
    _index("ix_journal_booking", "journal", "booking_id", "id")


def _what_is_recorded() -> None:
    _table(
        "usage_ledger",
        _serial(),
        _unique("usage_ledger", "label", "kind", "from_at"),
        texts="booking_id label kind note",
        numbers="from_at to_at recorded_at amount",
        reals="seconds",
        refers=("booking_id>bookings.id",),
        checks={
            "kind": "kind IN ('compute', 'storage', 'minimum', 'adjustment')",
            "span": "to_at >= from_at",
        },
    )
    _index("ix_usage_ledger_booking", "usage_ledger", "booking_id", "id")
    _table(
        "idempotency",
        texts="caller key operation body_hash subject? answer?",
        numbers="claimed_at in_flight_until expires_at",
        key="caller key",
    )
    _index("ix_idempotency_expires_at", "idempotency", "expires_at")
    _table(
        "audit_log",
        texts="actor action subject details personal_hash previous_hash hash personal?",
        numbers="seq at redacted_at?",
        key="seq",
    )
    _index("ix_audit_log_subject", "audit_log", "subject", "seq")
    _table("audit_head", texts="hash", numbers="id seq", checks={"single_row": "id = 1"})
    _table("outbox", _serial(), texts="kind subject owner payload", numbers="at")
    _index("ix_outbox_at", "outbox", "at")
    _table("outbox_cursors", texts="consumer", numbers="position", key="consumer")


def _who_is_told() -> None:
    _table(
        "alerts",
        texts="id owner target condition state note? limit_order? booking_id? last_event?",
        numbers="quiet_minutes times_fired last_value? reference_value? created_at expires_at? last_fired_at?",
        checks={"state": "state IN ('armed', 'fired', 'spent', 'expired')"},
    )
    _index("ix_alerts_owner", "alerts", "owner", "created_at")
    _index("ix_alerts_state", "alerts", "state")
    _table(
        "webhooks",
        texts="id owner url sealed_secret events sealed_previous_secret? disabled_reason?",
        numbers="failures created_at disabled_at?",
    )
    _index("ix_webhooks_owner", "webhooks", "owner")
    _table(
        "webhook_deliveries",
        texts="id webhook_id kind body state error?",
        numbers="event_id attempts response_status? created_at next_attempt_at? delivered_at? claimed_until?",
        refers=("webhook_id>webhooks.id",),
        checks={"state": "state IN ('waiting', 'delivered', 'given_up')"},
    )
    _index("ix_webhook_deliveries_due", "webhook_deliveries", "state", "next_attempt_at")
    _index("ix_webhook_deliveries_webhook", "webhook_deliveries", "webhook_id", "created_at")
    _table("callbacks", texts="provider event_id body_hash", numbers="received_at", key="provider event_id")


def _what_is_remembered() -> None:
    _table("refusals", _serial(), texts="offer_id provider region reason gpu?", numbers="at")
    _index("ix_refusals_offer", "refusals", "offer_id", "at")
    _index("ix_refusals_at", "refusals", "at")
    _table(
        "strays",
        texts="provider provider_instance_id kind action label? booking_id?",
        numbers="first_seen_at last_seen_at resolved_at?",
        key="provider provider_instance_id",
        checks={"kind": "kind IN ('orphan', 'ghost')"},
    )
    _table("favourites", texts="owner offer_id note", numbers="created_at", key="owner offer_id")
    _table("saved_searches", texts="owner name filters", numbers="created_at", key="owner name")


def _guards() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _sqlite_triggers() if sqlite else _postgres_triggers():
        op.execute(sa.text(statement))
    op.execute(sa.text("INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '')"))


_APPEND_ONLY = ("usage_ledger", "outbox")
_UNCHANGED = ["seq", "at", "actor", "action", "subject", "details", "personal_hash", "previous_hash", "hash"]


def _legal_moves() -> str:
    return _listed(f"{old}>{new}" for old, moves in _MOVES.items() for new in moves.split())


def _sqlite_triggers() -> Iterable[str]:
    yield (
        "CREATE TRIGGER bookings_legal_move BEFORE UPDATE OF state ON bookings WHEN OLD.state <> NEW.state AND "
        f"OLD.state || '>' || NEW.state NOT IN ({_legal_moves()}) "
        "BEGIN SELECT RAISE(ABORT, 'illegal move of a booking'); END"
    )
    yield (
        "CREATE TRIGGER usage_ledger_no_delete BEFORE DELETE ON usage_ledger "
        "BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    )
    for table in _APPEND_ONLY:
        yield (
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'append-only'); END"
        )
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in _UNCHANGED)
    yield (
        f"CREATE TRIGGER audit_log_redaction_only BEFORE UPDATE ON audit_log WHEN {changed} "
        "OR NEW.personal IS NOT NULL BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    )
    yield "CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, 'append-only'); END"


def _postgres_triggers() -> Iterable[str]:
    yield (
        "CREATE FUNCTION bookings_legal_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({_legal_moves()}) THEN "
        "RAISE EXCEPTION 'illegal move of a booking' USING ERRCODE = 'integrity_constraint_violation'; END IF; "
        "RETURN NEW; END $$"
    )
    yield (
        "CREATE TRIGGER bookings_legal_move BEFORE UPDATE OF state ON bookings "
        "FOR EACH ROW EXECUTE FUNCTION bookings_legal_move()"
    )
    yield (
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    for table, event in (
        *((name, "UPDATE") for name in _APPEND_ONLY),
        ("usage_ledger", "DELETE"),
        ("audit_log", "DELETE"),
    ):
        yield (
            f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    changed = " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in _UNCHANGED)
    yield (
        f"CREATE TRIGGER audit_log_redaction_only BEFORE UPDATE ON audit_log FOR EACH ROW "
        f"WHEN ({changed} OR NEW.personal IS NOT NULL) EXECUTE FUNCTION refuse_change()"
    )
