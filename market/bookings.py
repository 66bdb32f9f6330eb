"""What a booking is, which states it and its machines pass through, and which moves between them are legal.

    pending ──> provisioning ──> active <──> stopped
       │             │              │           │
       │             └──────┬───────┴───────────┘
       v                    v
     failed            terminating ──> terminated | compensated
                            │
                            └──> stuck ──> terminating, or any end

`pending`: the money is held and the provider is asked. `provisioning`: machines exist and boot. `failed`: nothing was
made. `compensated`: something was made and has been undone. `stuck`: something may still cost money and could not be
undone; it is reported until it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

BookingState = Literal[
    "pending", "provisioning", "active", "stopped", "terminating", "terminated", "failed", "compensated", "stuck"
]
InstanceState = Literal["planned", "launching", "booting", "running", "stopped", "terminating", "gone", "failed"]

BOOKING_STATES: tuple[str, ...] = (
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
INSTANCE_STATES: tuple[str, ...] = (
    "planned",
    "launching",
    "booting",
    "running",
    "stopped",
    "terminating",
    "gone",
    "failed",
)

LEGAL_MOVES: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"provisioning", "terminating", "failed", "compensated", "stuck"}),
    "provisioning": frozenset({"active", "terminating", "terminated", "compensated", "stuck"}),
    "active": frozenset({"stopped", "terminating", "terminated", "stuck"}),
    "stopped": frozenset({"active", "terminating", "terminated", "stuck"}),
    "terminating": frozenset({"terminated", "failed", "compensated", "stuck"}),
    "stuck": frozenset({"terminating", "terminated", "failed", "compensated"}),
    "terminated": frozenset(),
    "failed": frozenset(),
    "compensated": frozenset(),
}
"""The same moves as the triggers of the database; a test compares the two."""

FINAL_STATES = frozenset(state for state, moves in LEGAL_MOVES.items() if not moves)
"""States that cost nothing any more and never change."""

LABEL_PREFIX = "gpubroker-"


def label_of(booking_id: str, ordinal: int) -> str:
    """The name a machine carries at its provider: how it is found after a lost reply. Letters, digits and hyphens."""
    return f"{LABEL_PREFIX}{booking_id}-{ordinal}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of a booking as we know it."""

    label: str
    booking_id: str
    ordinal: int
    state: InstanceState
    created_at: datetime
    provider_instance_id: str | None = None
    access: Mapping[str, object] | None = None
    """How it is reached: SSH host, port and user, published ports."""
    reason: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    provider_ends_at: datetime | None = None
    metered_until: datetime | None = None
    last_seen_at: datetime | None = None
    bill: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """One purchase; money in US dollars unless `currency` is named, prices per hour of one instance."""

    id: str
    quote_id: str
    mandate_id: str
    caller: str
    provider: str
    offer_id: str
    external_id: str
    region: str
    pricing: str
    currency: str
    state: BookingState
    plan: tuple[Mapping[str, Any], ...]
    """The legs of the quote still to be tried, as plain facts of `market.quote_book.Leg`; the first is the present."""
    gpu_count: int
    instance_count: int
    attempts: int
    price_per_hour: Decimal
    price_per_hour_usd: Decimal
    storage_per_hour_usd: Decimal
    claimed: Decimal
    hourly_claimed: Decimal
    spent: Decimal
    disk_gb: float
    enforces_end: bool
    created_at: datetime
    ends_at: datetime
    gpu: str | None = None
    reason: str | None = None
    closes_as: Literal["terminated", "compensated", "failed"] | None = None
    """What a booking that is being ended will be called when it is over."""
    cost_note: str | None = None
    runner: str | None = None
    final_cost: Decimal | None = None
    provider_cost: Decimal | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    warned_at: datetime | None = None
    runner_until: datetime | None = None
    next_check_at: datetime | None = None
    settle_until: datetime | None = None
    machines: tuple[Machine, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether it costs nothing any more."""
        return self.state in FINAL_STATES
