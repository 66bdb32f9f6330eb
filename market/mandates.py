"""What a principal allows an agent to buy, and the one check of a purchase against it: pure, total, deterministic.

The constraints are those of AP2's open payment mandate (amount range, budget, recurrence, allowed payees) with those
GPU time needs. None, or an empty set, leaves a thing free; money is in US dollars.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Literal

from market import gpus, regions
from market.errors import MandateRefused

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")

OnRevocation = Literal["keep", "terminate"]
Period = Literal["day", "week", "month"]

PERIODS: Mapping[Period, timedelta] = {
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
"""How far back bookings are counted: the bound holds in any window of that length, not only from midnight on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountRange:
    """What one purchase may cost at worst: from `min` to `max`, both included."""

    min: Decimal | None = None
    max: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """At most `max_bookings` new bookings in any `every`."""

    every: Period
    max_bookings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """What `principal` has signed for `agent`: an agent key's id, or `local-owner`.

    `thumbprint` (RFC 7638) is of the key the mandate is bound to; `version` rises with every new signature.
    """

    id: str
    principal: str
    agent: str
    thumbprint: str
    version: int
    budget: Decimal
    issued_at: datetime
    expires_at: datetime
    not_before: datetime | None = None
    amount_range: AmountRange | None = None
    hourly_budget: Decimal | None = None
    max_hours: float | None = None
    max_concurrent: int | None = None
    recurrence: Recurrence | None = None
    providers: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    gpus: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    pricing: frozenset[str] = frozenset()
    currencies: frozenset[str] = frozenset({"USD"})
    approval_above: Decimal | None = None
    on_revocation: OnRevocation = "keep"
    failover: bool = False
    allow_unverified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What is to be bought, as far as a mandate can object to it.

    Totals are of all instances, in US dollars: `worst_total` until the latest end, `hourly_total` while all run.
    """

    provider: str
    region: str
    country: str | None
    area: str | None
    gpu: str | None
    gpu_count: int
    instance_count: int
    pricing: str
    tags: frozenset[str]
    hours: float
    worst_total: Decimal
    hourly_total: Decimal
    currency: str
    unverified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One constraint that is not met: what was asked, what is allowed, by how much it is over, what would pass.

    No word of a provider is repeated: not its own name of a region, not its tags.
    """

    constraint: str
    message: str
    asked: object
    allowed: object
    excess: object | None
    would_pass: str

    def told(self) -> dict[str, object]:
        """The same for a machine: plain JSON values, money as numbers."""
        told = {
            "constraint": self.constraint,
            "asked": _plain(self.asked),
            "allowed": _plain(self.allowed),
            "excess": _plain(self.excess),
            "would_pass": self.would_pass,
            "message": self.message,
        }
        return {name: value for name, value in told.items() if value is not None}


def violations(mandate: Mandate, purchase: Purchase, now: datetime) -> list[Violation]:
    """Every constraint the purchase does not meet, in a fixed order; empty when the mandate allows it.

    What has been spent already is not known here: `mandate_book.claim` settles that.
    """
    return [
        *_times(mandate, now),
        *_amounts(mandate, purchase),
        *_quantities(mandate, purchase),
        *_kinds(mandate, purchase),
        *_places(mandate, purchase),
    ]


def needs_approval(mandate: Mandate, purchase: Purchase) -> bool:
    """Whether a person has to say yes first: the worst total is above the threshold."""
    threshold = mandate.approval_above
    return threshold is not None and (not purchase.worst_total.is_finite() or purchase.worst_total > threshold)


def refusal(mandate_id: str, found: Sequence[Violation]) -> MandateRefused:
    """The error that carries these violations; there must be at least one."""
    said = " ".join(violation.message for violation in found[:3])
    more = f" And {len(found) - 3} more." if len(found) > 3 else ""
    return MandateRefused(
        f"The mandate `{mandate_id}` does not allow this: {said}{more}",
        next_step="Change the purchase as `would_pass` says, or have the owner sign another mandate.",
        details={"mandate_id": mandate_id, "violations": [violation.told() for violation in found]},
    )


def period_start(recurrence: Recurrence, now: datetime) -> datetime:
    """From when on the bookings of a recurrence count."""
    return now - PERIODS[recurrence.every]


def dollars(value: Decimal) -> str:
    """An amount for people: cents, and more only where it has them."""
    if not value.is_finite():
        return "no amount"
    cents = value.quantize(Decimal("0.01")) if abs(value) < Decimal(10) ** 20 else value
    return f"${cents}" if cents == value else f"${value.normalize():f}"


def _times(mandate: Mandate, now: datetime) -> Iterator[Violation]:
    if now >= mandate.expires_at:
        yield _other(
            "expires_at", now, mandate.expires_at, f"It expired at {_said(mandate.expires_at)}.", "a new mandate"
        )
    if mandate.not_before is not None and now < mandate.not_before:
        start = _said(mandate.not_before)
        yield _other("not_before", now, mandate.not_before, f"It begins at {start}.", f"the same from {start} on")


def _amounts(mandate: Mandate, purchase: Purchase) -> Iterator[Violation]:
    worst, hourly = purchase.worst_total, purchase.hourly_total
    for name, figure in (("worst_total", worst), ("hourly_total", hourly)):
        if not figure.is_finite() or figure < 0:
            yield _other(name, figure, "an amount", f"`{name}` is no amount of money.", "a total of zero or more")
    if worst.is_finite():
        allowed = mandate.amount_range or AmountRange()
        yield from _above("amount_range", worst, allowed.max, "The worst total", "a worst total")
        if allowed.min is not None and worst < allowed.min:
            least = dollars(allowed.min)
            yield Violation(
                constraint="amount_range",
                message=f"The worst total {dollars(worst)} is below {least}.",
                asked=worst,
                allowed=allowed.min,
                excess=None,
                would_pass=f"a worst total of at least {least}",
            )
        yield from _above("budget", worst, mandate.budget, "The worst total", "a worst total")
    if hourly.is_finite():
        yield from _above("hourly_budget", hourly, mandate.hourly_budget, "The rate an hour", "a rate an hour")


def _above(name: str, asked: Decimal, allowed: Decimal | None, what: str, would: str) -> Iterator[Violation]:
    if allowed is not None and asked > allowed:
        yield Violation(
            constraint=name,
            message=f"{what} {dollars(asked)} is above {dollars(allowed)}.",
            asked=asked,
            allowed=allowed,
            excess=asked - allowed,
            would_pass=f"{would} of at most {dollars(allowed)}",
        )


def _quantities(mandate: Mandate, purchase: Purchase) -> Iterator[Violation]:
    hours, instances = purchase.hours, purchase.instance_count
    if not isfinite(hours) or hours <= 0:
        yield _other("hours", hours, "a duration", "`hours` is no duration.", "a duration above zero")
    elif mandate.max_hours is not None and hours > mandate.max_hours:
        yield Violation(
            constraint="max_hours",
            message=f"{hours:g} hours are more than {mandate.max_hours:g}.",
            asked=hours,
            allowed=mandate.max_hours,
            excess=hours - mandate.max_hours,
            would_pass=f"at most {mandate.max_hours:g} hours",
        )
    for name, count in (("instance_count", instances), ("gpu_count", purchase.gpu_count)):
        if count < 1:
            yield _other(name, count, 1, f"`{name}` must be at least 1.", "one or more")
    if mandate.max_concurrent is not None and instances > mandate.max_concurrent:
        yield Violation(
            constraint="max_concurrent",
            message=f"{instances} instances are more than {mandate.max_concurrent}.",
            asked=instances,
            allowed=mandate.max_concurrent,
            excess=instances - mandate.max_concurrent,
            would_pass=f"at most {mandate.max_concurrent} instances at a time",
        )


def _kinds(mandate: Mandate, purchase: Purchase) -> Iterator[Violation]:
    if mandate.providers and purchase.provider not in mandate.providers:
        yield _not_among("providers", "provider", purchase.provider, mandate.providers)
    cards = {name for term in mandate.gpus for name in gpus.matching(term)}
    if mandate.gpus and purchase.gpu not in cards:
        yield _not_among("gpus", "GPU", purchase.gpu, mandate.gpus)
    sold_as = {purchase.pricing, "reserved" if purchase.pricing.startswith("reserved_") else purchase.pricing}
    if mandate.pricing and not sold_as & mandate.pricing:
        yield _not_among("pricing", "pricing", purchase.pricing, mandate.pricing)
    if purchase.currency not in mandate.currencies:
        yield _not_among("currencies", "currency", purchase.currency, mandate.currencies)
    missing = sorted(_folded(mandate.tags) - _folded(purchase.tags))
    if missing:
        yield Violation(
            constraint="tags",
            message=f"The offer is not marked {_listed(missing)}.",
            asked=None,
            allowed=sorted(mandate.tags),
            excess=missing,
            would_pass=f"an offer marked {_listed(missing)}",
        )
    if purchase.unverified and not mandate.allow_unverified:
        yield _other(
            "allow_unverified",
            purchase.provider,
            "verified providers",
            "Buying from this provider has not been tried against its real cloud.",
            "a verified provider, or a mandate with `allow_unverified`",
        )


def _places(mandate: Mandate, purchase: Purchase) -> Iterator[Violation]:
    place = regions.Place(purchase.region, purchase.country, purchase.area)
    if mandate.regions and not any(regions.selects(term, place) for term in mandate.regions):
        yield _not_among("regions", "region", purchase.area or purchase.country, mandate.regions)


def _not_among(constraint: str, what: str, asked: str | None, allowed: Iterable[str]) -> Violation:
    choices = sorted(allowed)
    return Violation(
        constraint=constraint,
        message=f"The {what} {_quoted(asked)} is not among {_listed(choices)}.",
        asked=asked or "unknown",
        allowed=choices,
        excess=None,
        would_pass=f"{what} {_listed(choices, 'or')}" if choices else "none",
    )


def _quoted(asked: str | None) -> str:
    """A name as our own vocabulary has it; a provider's words are not repeated."""
    return f"`{asked}`" if asked and _PLAIN_NAME.fullmatch(asked) else "of this offer"


def _other(constraint: str, asked: object, allowed: object, message: str, would_pass: str) -> Violation:
    return Violation(
        constraint=constraint, message=message, asked=asked, allowed=allowed, excess=None, would_pass=would_pass
    )


def _folded(words: Iterable[str]) -> set[str]:
    return {word.casefold() for word in words}


def _listed(words: Sequence[str], joint: str = "and") -> str:
    shown = [f"`{word[:60]}`" for word in words[:8]] + ([f"{len(words) - 8} more"] if len(words) > 8 else [])
    return f" {joint} ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else str(value)
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
