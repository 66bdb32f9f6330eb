"""How a mandate is asked for and shown: the request and result models of `tools.mandates`, and the view of one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from market.money import Money
from tools.capability import Request, Result
from tools.math_door import Time
from tools.offer_view import Moment, Number
from tools.search import Pricings, Words

if TYPE_CHECKING:
    from market.mandate_register import Entry
    from market.mandates import Mandate

MOST_DOLLARS = 1_000_000_000
_LONGEST_DAYS = 732
_MOST_HOURS = 24 * 366

Dollars = Annotated[
    Decimal,
    Field(ge=0, le=MOST_DOLLARS, decimal_places=6, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": MOST_DOLLARS}),
]
Hours = Annotated[float, Field(gt=0, le=_MOST_HOURS, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, le=_LONGEST_DAYS, allow_inf_nan=False)]
Instances = Annotated[int, Field(ge=1, le=10_000)]
Policy = Literal["keep", "terminate"]


def _folded(words: list[str]) -> list[str]:
    return [word.lower() for word in words]


def _capitals(words: list[str]) -> list[str]:
    if not words:
        raise ValueError("must name a currency")
    return [word.upper() for word in words]


class AmountRangeForm(BaseModel):
    """What one purchase may cost at worst."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    min: Dollars | None = None
    max: Dollars | None = None

    @model_validator(mode="after")
    def _ordered(self) -> AmountRangeForm:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("`min` must not be above `max`")
        return self


class RecurrenceForm(BaseModel):
    """How often something new may be booked, in any day, week (7 days) or month (30 days)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    every: Literal["day", "week", "month"]
    max_bookings: int = Field(ge=1, le=100_000)


class CreateMandate(Request):
    """What is allowed. What is left out is free; money is in US dollars."""

    agent: str | None = Field(
        default=None, min_length=1, max_length=60, description="Id or name of an agent key. Default: the local owner."
    )
    budget: Dollars = Field(gt=0, description="In all, for as long as the mandate stands.")
    amount_range: AmountRangeForm | None = Field(default=None, description="For the worst total of one purchase.")
    hourly_budget: Dollars | None = Field(default=None, description="Of everything that runs at a time, an hour.")
    max_hours: Hours | None = Field(default=None, description="Of one booking, extensions included.")
    max_concurrent: Instances | None = Field(default=None, description="Instances that run at a time.")
    recurrence: RecurrenceForm | None = Field(default=None, description="How often something new may be booked.")
    providers: Annotated[Words, AfterValidator(_folded)] = Field(default_factory=list, description="Only these.")
    regions: Words = Field(default_factory=list, description="Areas, countries, or providers' own regions.")
    gpus: Words = Field(default_factory=list, description="`H100` allows every H100.")
    tags: Words = Field(default_factory=list, description="Marks an offer must carry, all of them.")
    pricing: Pricings = Field(default_factory=list, description="on_demand, spot, reserved.")
    currencies: Annotated[Words, AfterValidator(_capitals)] = Field(
        default_factory=lambda: ["USD"], description="That an offer may be priced in."
    )
    approval_above: Dollars | None = Field(
        default=None, description="A person is asked for each purchase whose worst total is above this; 0 asks always."
    )
    failover: bool = Field(default=False, description="Whether the next best may be tried when the first is gone.")
    allow_unverified: bool = Field(default=False, description="Whether providers not yet tried for real may be used.")
    on_revocation: Policy = Field(default="keep", description="What becomes of that which runs.")
    not_before: Time | None = Field(default=None, description="When it begins. Default: now.")
    expires_at: Time | None = Field(default=None, description="When nothing more may be bought. Default: in 30 days.")
    expires_in_days: Days | None = Field(default=None, description="Instead of `expires_at`.")


class RaiseMandate(Request):
    """New limits, higher or lower; what is left out stays."""

    mandate_id: str = Field(min_length=1, max_length=60)
    budget: Dollars | None = Field(default=None, gt=0)
    hourly_budget: Dollars | None = None
    max_amount: Dollars | None = Field(default=None, description="For the worst total of one purchase.")
    max_hours: Hours | None = None
    max_concurrent: Instances | None = None
    approval_above: Dollars | None = None
    expires_at: Time | None = None
    expires_in_days: Days | None = Field(default=None, description="From now; instead of `expires_at`.")


class ListMandates(Request):
    """Which mandates."""

    agent: str | None = Field(default=None, max_length=60, description="Only those of this agent key's id.")
    all: bool = Field(default=False, description="Those that are over, too.")


class NamedMandate(Request):
    """Which mandate."""

    mandate_id: str = Field(min_length=1, max_length=60)


class RevokeMandate(NamedMandate):
    """Which mandate, and what becomes of what runs under it."""

    on_revocation: Policy | None = Field(default=None, description="Default: what the mandate says.")


class AmountRangeView(Result):
    """What one purchase may cost at worst."""

    min: Money | None = None
    max: Money | None = None


class RecurrenceView(Result):
    """How often something new may be booked."""

    every: str
    max_bookings: int


class Constraints(Result):
    """What was signed; what is absent is free."""

    budget: Money
    amount_range: AmountRangeView | None = None
    hourly_budget: Money | None = None
    max_hours: Number | None = None
    max_concurrent: int | None = None
    recurrence: RecurrenceView | None = None
    providers: list[str] | None = None
    regions: list[str] | None = None
    gpus: list[str] | None = None
    tags: list[str] | None = None
    pricing: list[str] | None = None
    currencies: list[str]
    approval_above: Money | None = None
    failover: bool
    allow_unverified: bool
    on_revocation: str


class StandingView(Result):
    """How much of it is gone, in US dollars."""

    remaining: Money
    committed: Money = Field(description="Held for what runs.")
    spent: Money
    overrun: Money | None = Field(default=None, description="Owed beyond what had been held.")
    hourly_committed: Money
    running: int = Field(description="Instances.")


class MandateView(Result):
    """One mandate."""

    id: str
    state: Literal["in_force", "not_begun", "expired", "revoked", "refused"]
    reason: str | None = Field(default=None, description="Why it cannot be trusted, when `refused`.")
    agent: str = Field(description="Id of the agent key it is bound to, or `local-owner`.")
    version: int | None = None
    issued_at: Moment | None = None
    not_before: Moment | None = None
    expires_at: Moment
    revoked_at: Moment | None = None
    constraints: Constraints | None = None
    standing: StandingView
    jws: str | None = Field(default=None, description="What the owner signed (Ed25519).")


class Mandates(Result):
    """Mandates, the oldest first."""

    items: list[MandateView]


def view(entry: Entry, now: datetime, *, with_token: bool = False) -> MandateView:
    """One entry of the register as it is shown; only what was signed is shown as constraints."""
    mandate, standing = entry.mandate, entry.standing
    signed: dict[str, Any] = {}
    if mandate is not None:
        signed = {
            "version": mandate.version,
            "issued_at": mandate.issued_at,
            "not_before": mandate.not_before,
            "constraints": _constraints(mandate),
        }
    return MandateView(
        id=entry.id,
        state=_state(entry, now),
        reason=None if entry.refusal is None else entry.refusal.message,
        agent=entry.agent,
        expires_at=standing.expires_at,
        revoked_at=standing.revoked_at,
        standing=StandingView(
            remaining=standing.remaining,
            committed=standing.committed,
            spent=standing.spent,
            overrun=standing.overrun or None,
            hourly_committed=standing.hourly_committed,
            running=standing.running,
        ),
        jws=entry.jws if with_token else None,
        **signed,
    )


def _state(entry: Entry, now: datetime) -> Literal["in_force", "not_begun", "expired", "revoked", "refused"]:
    if entry.mandate is None:
        return "refused"
    if entry.standing.revoked_at is not None:
        return "revoked"
    if now >= entry.standing.expires_at:
        return "expired"
    begins = entry.mandate.not_before
    return "not_begun" if begins is not None and now < begins else "in_force"


def _constraints(mandate: Mandate) -> Constraints:
    within, often = mandate.amount_range, mandate.recurrence
    words = {
        name: sorted(getattr(mandate, name)) or None for name in ("providers", "regions", "gpus", "tags", "pricing")
    }
    return Constraints(
        budget=mandate.budget,
        amount_range=None if within is None else AmountRangeView(min=within.min, max=within.max),
        hourly_budget=mandate.hourly_budget,
        max_hours=mandate.max_hours,
        max_concurrent=mandate.max_concurrent,
        recurrence=None if often is None else RecurrenceView(every=often.every, max_bookings=often.max_bookings),
        currencies=sorted(mandate.currencies),
        approval_above=mandate.approval_above,
        failover=mandate.failover,
        allow_unverified=mandate.allow_unverified,
        on_revocation=mandate.on_revocation,
        **words,
    )
