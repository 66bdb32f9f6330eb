"""The tables of procurement: keys, mandates, quotes, approvals, bookings and what is owed, told and watched.

Money is BIGINT millionths of a US dollar unless a `currency` stands beside it, times are UTC, JSON is canonical text.
Triggers (migration 0003) refuse an illegal move of a booking, and every change of the ledger and the audit log but a
redaction.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

from market.bookings import BOOKING_STATES, INSTANCE_STATES
from market.tables import UTC, Millionths, metadata, serial


def _columns(kind: type[TypeEngine[Any]], required: str, optional: str = "") -> list[Column[Any]]:
    columns: list[Column[Any]] = [Column(name, kind, nullable=False) for name in required.split()]
    return columns + [Column(name, kind) for name in optional.split()]


def _refers(name: str, target: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Text, ForeignKey(target), nullable=nullable)


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


agent_keys = Table(
    "agent_keys",
    metadata,
    Column("id", Text, primary_key=True),
    *_columns(Text, "name thumbprint public_key created_by"),
    *_columns(UTC, "created_at", "expires_at revoked_at"),
    UniqueConstraint("thumbprint"),
)
"""The public halves of the agents' keys; the secret is shown once and kept by the agent."""

mandates = Table(
    "mandates",
    metadata,
    Column("id", Text, primary_key=True),
    *_columns(Text, "principal agent jws"),
    *_columns(Millionths, "budget committed spent overrun hourly_committed", "hourly_budget"),
    *_columns(BigInteger, "version running", "max_concurrent"),
    *_columns(UTC, "created_at expires_at", "revoked_at"),
    CheckConstraint(
        "budget >= 0 AND committed >= 0 AND spent >= 0 AND overrun >= 0 AND hourly_committed >= 0 AND running >= 0",
        name="not_negative",
    ),
    CheckConstraint("committed + spent <= budget", name="within_budget"),
    CheckConstraint("hourly_committed <= hourly_budget", name="within_hourly_budget"),
    CheckConstraint("running <= max_concurrent", name="within_concurrency"),
    Index("ix_mandates_agent", "agent"),
)
"""What a principal allows an agent. `jws` is the truth, the columns are what is counted; `running` counts instances.

`overrun` is what was owed beyond what had been held: never expected, never hidden.
"""

quotes = Table(
    "quotes",
    metadata,
    Column("id", Text, primary_key=True),
    *_columns(Text, "caller terms seal", "booking_id"),
    *_columns(Millionths, "expected_total worst_total"),
    *_columns(UTC, "created_at expires_at", "used_at"),
    CheckConstraint("expected_total >= 0 AND worst_total >= expected_total", name="totals"),
    Index("ix_quotes_caller", "caller", "created_at"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    *_columns(Text, "subject caller mandate_id summary seal", "decision decided_by decided_via"),
    *_columns(Millionths, "amount"),
    *_columns(UTC, "requested_at expires_at", "decided_at used_at"),
    UniqueConstraint("subject"),
    CheckConstraint("decision IN ('approved', 'declined')", name="decision"),
)
"""One question to a person; `subject` names the exact quote (or change of a booking) it allows, once."""

bookings = Table(
    "bookings",
    metadata,
    Column("id", Text, primary_key=True),
    _refers("quote_id", "quotes.id"),
    _refers("mandate_id", "mandates.id"),
    *_columns(
        Text,
        "caller provider offer_id external_id region pricing currency state",
        "gpu reason closes_as cost_note runner",
    ),
    Column("plan", Text, nullable=False),
    *_columns(BigInteger, "gpu_count instance_count attempts"),
    *_columns(
        Millionths,
        "price_per_hour price_per_hour_usd storage_per_hour_usd claimed hourly_claimed spent",
        "final_cost provider_cost",
    ),
    *_columns(Double, "disk_gb"),
    Column("enforces_end", Boolean, nullable=False),
    *_columns(UTC, "created_at ends_at", "started_at ended_at warned_at runner_until next_check_at settle_until"),
    _one_of("state", BOOKING_STATES),
    CheckConstraint("price_per_hour > 0 AND price_per_hour_usd > 0", name="price_positive"),
    CheckConstraint("claimed >= 0 AND hourly_claimed >= 0 AND spent >= 0", name="not_negative"),
    CheckConstraint("gpu_count > 0 AND instance_count > 0", name="counts"),
    UniqueConstraint("quote_id"),
    Index("ix_bookings_caller", "caller", "created_at"),
    Index("ix_bookings_mandate", "mandate_id", "created_at"),
    Index("ix_bookings_state", "state", "next_check_at"),
)
"""One purchase of one or more equal instances. `plan` holds the offers still to be tried; `claimed` is what the mandate
holds for it, `runner` who works on it until `runner_until`."""

instances = Table(
    "instances",
    metadata,
    Column("label", Text, primary_key=True),
    _refers("booking_id", "bookings.id"),
    *_columns(BigInteger, "ordinal"),
    *_columns(Text, "state", "provider_instance_id access reason"),
    *_columns(UTC, "created_at", "started_at ended_at provider_ends_at metered_until last_seen_at"),
    *_columns(Millionths, "", "bill"),
    _one_of("state", INSTANCE_STATES),
    Index("ix_instances_booking", "booking_id", "ordinal"),
    Index("ix_instances_provider_instance", "provider_instance_id"),
)
"""One machine of a booking; the label is ours, at the provider too."""

launch_secrets = Table(
    "launch_secrets",
    metadata,
    Column("booking_id", Text, ForeignKey("bookings.id"), primary_key=True),
    Column("sealed", Text, nullable=False),
)
"""What to launch (image, keys, script, environment), encrypted, until the booking ends; never in journal or audit."""

journal = Table(
    "journal",
    metadata,
    Column("id", serial, primary_key=True, autoincrement=True),
    _refers("booking_id", "bookings.id"),
    *_columns(Text, "step state intent", "label outcome"),
    *_columns(BigInteger, "attempt"),
    *_columns(UTC, "started_at", "finished_at"),
    CheckConstraint("state IN ('intended', 'done', 'refused', 'unknown')", name="state"),
    Index("ix_journal_booking", "booking_id", "id"),
)
"""The booking journal: the intent is written before each step at a provider, the outcome after it."""

usage_ledger = Table(
    "usage_ledger",
    metadata,
    Column("id", serial, primary_key=True, autoincrement=True),
    _refers("booking_id", "bookings.id"),
    *_columns(Text, "label kind note"),
    *_columns(UTC, "from_at to_at recorded_at"),
    *_columns(Double, "seconds"),
    *_columns(Millionths, "amount"),
    CheckConstraint("kind IN ('compute', 'storage', 'minimum', 'adjustment')", name="kind"),
    CheckConstraint("to_at >= from_at", name="span"),
    UniqueConstraint("label", "kind", "from_at"),
    Index("ix_usage_ledger_booking", "booking_id", "id"),
)
"""Append-only: what each machine cost, by the second, in US dollars."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    *_columns(Text, "operation body_hash", "subject answer"),
    *_columns(UTC, "claimed_at in_flight_until expires_at"),
    Index("ix_idempotency_expires_at", "expires_at"),
)
"""One row for each key that was used; `answer` is what its caller gets again."""

audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    *_columns(Text, "actor action subject details personal_hash previous_hash hash", "personal"),
    *_columns(UTC, "at", "redacted_at"),
    Index("ix_audit_log_subject", "subject", "seq"),
)
"""Append-only hash chain; `personal` may be erased, the chain covers only its salted hash."""

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    CheckConstraint("id = 1", name="single_row"),
)
"""The newest link, locked by whoever appends the next."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", serial, primary_key=True, autoincrement=True),
    *_columns(Text, "kind subject owner payload"),
    *_columns(UTC, "at"),
    Index("ix_outbox_at", "at"),
)
"""What happened, written in the transaction that caused it; alerts, webhooks, streams and mail read it."""

outbox_cursors = Table(
    "outbox_cursors",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)
"""How far each reader of the outbox has come."""

alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    *_columns(Text, "owner target condition state", "note limit_order booking_id last_event"),
    *_columns(BigInteger, "quiet_minutes times_fired"),
    *_columns(Millionths, "", "last_value reference_value"),
    *_columns(UTC, "created_at", "expires_at last_fired_at"),
    CheckConstraint("state IN ('armed', 'fired', 'spent', 'expired')", name="state"),
    Index("ix_alerts_owner", "owner", "created_at"),
    Index("ix_alerts_state", "state"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    *_columns(Text, "owner url sealed_secret events", "sealed_previous_secret disabled_reason"),
    *_columns(BigInteger, "failures"),
    *_columns(UTC, "created_at", "disabled_at"),
    Index("ix_webhooks_owner", "owner"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    _refers("webhook_id", "webhooks.id"),
    *_columns(BigInteger, "event_id attempts", "response_status"),
    *_columns(Text, "kind body state", "error"),
    *_columns(UTC, "created_at", "next_attempt_at delivered_at claimed_until"),
    CheckConstraint("state IN ('waiting', 'delivered', 'given_up')", name="state"),
    Index("ix_webhook_deliveries_due", "state", "next_attempt_at"),
    Index("ix_webhook_deliveries_webhook", "webhook_id", "created_at"),
)

callbacks = Table(
    "callbacks",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    *_columns(Text, "body_hash"),
    *_columns(UTC, "received_at"),
)
"""What providers have called back with, so that each is acted on once."""

refusals = Table(
    "refusals",
    metadata,
    Column("id", serial, primary_key=True, autoincrement=True),
    *_columns(Text, "offer_id provider region reason", "gpu"),
    *_columns(UTC, "at"),
    Index("ix_refusals_offer", "offer_id", "at"),
    Index("ix_refusals_at", "at"),
)
"""Offers that were listed and could not be had."""

strays = Table(
    "strays",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("provider_instance_id", Text, primary_key=True),
    *_columns(Text, "kind action", "label booking_id"),
    *_columns(UTC, "first_seen_at last_seen_at", "resolved_at"),
    CheckConstraint("kind IN ('orphan', 'ghost')", name="kind"),
)
"""Orphans (running at a provider, unknown to us) and ghosts (known to us, gone there)."""

favourites = Table(
    "favourites",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("offer_id", Text, primary_key=True),
    *_columns(Text, "note"),
    *_columns(UTC, "created_at"),
)

saved_searches = Table(
    "saved_searches",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    *_columns(Text, "filters"),
    *_columns(UTC, "created_at"),
)
