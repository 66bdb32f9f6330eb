"""Quotes in the database: what was promised, for how much at most, until when; each sealed, and used once.

The terms are JSON text under a seal, so that a row somebody has changed is refused instead of honoured.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from market.canonical import canonical
from market.context import Caller
from market.costs import Line
from market.errors import NotFound, QuoteUnusable
from market.offers import BillingUnit, Pricing
from market.procurement_tables import quotes
from market.sealing import Sealer
from market.settings import Settings
from market.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Row

NEW_QUOTE = "Ask for a new quote with `quote_offer`."
_PREFIX = "quote-"
_KEPT = timedelta(days=1)
"""An expired quote that nobody used is forgotten after this: quoting costs nothing, so there may be many."""
_CLOCKS_APART = timedelta(minutes=2)
"""How far the clocks of two processes may differ before one of them is called wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One product of a quote; prices are of one instance, totals of all instances of the quote."""

    offer_id: str
    provider: str
    external_id: str
    region: str
    country: str | None
    area: str | None
    gpu: str | None
    gpu_count: int
    pricing: Pricing
    price_per_hour: Decimal
    currency: str
    price_per_hour_usd: Decimal
    storage_price_per_gb_month: Decimal | None
    """In `currency`; None where the provider states none."""
    storage_per_hour_usd: Decimal
    """Of the whole disk of one instance, with what is assumed where the provider states no price."""
    min_rental_minutes: int | None
    billing_unit: BillingUnit
    tags: tuple[str, ...]
    worst_total_usd: Decimal
    hourly_total_usd: Decimal
    priced_live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteTerms:
    """What is promised: the legs in the order they are tried, one of which is bought.

    `lines` are those of each leg, in the same order, in US dollars; `currency` is what the totals are in.
    """

    legs: tuple[Leg, ...]
    instance_count: int
    duration_hours: float
    disk_gb: float
    currency: str
    lines: tuple[tuple[Line, ...], ...]
    assumptions: tuple[str, ...]
    mandate_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One quote; `worst_total` is that of its dearest leg, so it holds whichever is bought."""

    id: str
    caller: str
    terms: QuoteTerms
    expected_total: Decimal
    worst_total: Decimal
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    booking_id: str | None = None

    def unusable(self, now: datetime) -> Literal["used", "expired"] | None:
        """Why it cannot be booked any more; None while it can."""
        if self.used_at is not None:
            return "used"
        return "expired" if now >= self.expires_at else None

    def refuse_unusable(self, now: datetime) -> None:
        """Raises QuoteUnusable, with words, when it cannot be booked any more."""
        reason = self.unusable(now)
        if reason is None:
            return
        if reason == "used":
            message = f"Quote `{self.id}` was used for booking `{self.booking_id}`."
            raise QuoteUnusable(
                message,
                next_step=f"Look at that booking with `list_bookings`, or: {NEW_QUOTE[0].lower()}{NEW_QUOTE[1:]}",
                details={"reason": reason, "booking_id": self.booking_id},
            )
        ended = self.expires_at.isoformat(timespec="seconds")
        raise QuoteUnusable(
            f"Quote `{self.id}` expired at {ended}.",
            next_step=NEW_QUOTE,
            details={"reason": reason, "expired_at": ended},
        )

    def summary(self) -> str:
        """One sentence for the person who has to approve it."""
        first, *others = self.terms.legs
        more = f" (or one of {_counted(len(others), 'alternative')})" if others else ""
        machines, card = _counted(self.terms.instance_count, "machine"), first.gpu or "an unnamed GPU"
        return (
            f"{machines} with {first.gpu_count}x {card} at {first.provider} in {first.region}, "
            f"{first.pricing.replace('_', ' ')}{more}, for {self.terms.duration_hours:g} hours: "
            f"expected {self.expected_total:,.2f} USD, at most {self.worst_total:,.2f} USD."
        )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def new_quote_id() -> str:
    """A name nobody can guess."""
    return _PREFIX + secrets.token_hex(10)


async def add(connection: AsyncConnection, settings: Settings, quote: Quote) -> None:
    """Keep a quote, sealed; what this caller was quoted long ago and never used is forgotten."""
    forgotten = (quotes.c.used_at.is_(None), quotes.c.expires_at < quote.created_at - _KEPT)
    await connection.execute(delete(quotes).where(quotes.c.caller == quote.caller, *forgotten))
    terms = canonical(asdict(quote.terms))
    await connection.execute(
        insert(quotes).values(
            id=quote.id,
            caller=quote.caller,
            terms=terms,
            seal=Sealer.of(settings).seal("quote", _facts(quote, terms)),
            expected_total=quote.expected_total,
            worst_total=quote.worst_total,
            created_at=quote.created_at,
            expires_at=quote.expires_at,
        )
    )


async def get(store: Store, settings: Settings, quote_id: str, caller: Caller, now: datetime) -> Quote:
    """A quote of this caller, also one that is used up or expired (`Quote.unusable` tells).

    Raises NotFound for one that is not there or somebody else's, QuoteUnusable for one that was changed, or made
    later than now (a clock that was set back would make an expired quote good again).
    """
    quote = await find(store, settings, quote_id)
    if quote is None or quote.caller != caller.identity:
        raise NotFound("No such quote of yours.", next_step=NEW_QUOTE, details={"quote_id": quote_id[:60]})
    if quote.created_at > now + _CLOCKS_APART:
        raise QuoteUnusable(
            f"Quote `{quote.id}` was made at a time that has not come yet: the clock was set back.",
            next_step=f"Check the clock of this machine. {NEW_QUOTE}",
            details={"reason": "clock"},
        )
    return quote


async def find(store: Store, settings: Settings, quote_id: str) -> Quote | None:
    """A quote whoever asked for it; None when there is none. Raises QuoteUnusable for one that was changed."""
    async with store.read() as connection:
        row = (await connection.execute(select(quotes).where(quotes.c.id == quote_id))).one_or_none()
    return None if row is None else _read(row, settings)


async def use(connection: AsyncConnection, quote_id: str, booking_id: str, now: datetime) -> bool:
    """Use it up for a booking; False when somebody was faster or its time is over."""
    taken = await connection.execute(
        update(quotes)
        .where(quotes.c.id == quote_id, quotes.c.used_at.is_(None), quotes.c.expires_at > now)
        .values(used_at=now, booking_id=booking_id)
    )
    return taken.rowcount == 1


def _facts(quote: Quote, terms: str) -> dict[str, object]:
    """What the seal covers: everything but whether it was used."""
    return {
        "id": quote.id,
        "caller": quote.caller,
        "terms": terms,
        "expected_total": quote.expected_total,
        "worst_total": quote.worst_total,
        "created_at": quote.created_at,
        "expires_at": quote.expires_at,
    }


def _read(row: Row[Any], settings: Settings) -> Quote:
    changed = QuoteUnusable(
        "This quote was changed after it was made; it is not honoured.",
        next_step=NEW_QUOTE,
        details={"reason": "changed", "quote_id": row.id[:60]},
    )
    try:
        quote = Quote(
            id=row.id,
            caller=row.caller,
            terms=_terms(json.loads(row.terms)),
            expected_total=row.expected_total,
            worst_total=row.worst_total,
            created_at=row.created_at,
            expires_at=row.expires_at,
            used_at=row.used_at,
            booking_id=row.booking_id,
        )
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError):
        raise changed from None
    if not Sealer.of(settings).holds("quote", _facts(quote, row.terms), row.seal):
        raise changed
    return quote


_AMOUNTS = ("price_per_hour", "price_per_hour_usd", "storage_per_hour_usd", "worst_total_usd", "hourly_total_usd")


def _terms(found: dict[str, Any]) -> QuoteTerms:
    return QuoteTerms(
        **{
            **found,
            "legs": tuple(_leg(leg) for leg in found["legs"]),
            "lines": tuple(tuple(_line(line) for line in lines) for lines in found["lines"]),
            "assumptions": tuple(found["assumptions"]),
        }
    )


def _leg(found: dict[str, Any]) -> Leg:
    storage = found["storage_price_per_gb_month"]
    return Leg(
        **{
            **found,
            **{name: Decimal(found[name]) for name in _AMOUNTS},
            "storage_price_per_gb_month": None if storage is None else Decimal(storage),
            "tags": tuple(found["tags"]),
        }
    )


def _line(found: dict[str, Any]) -> Line:
    return Line(**{**found, **{name: Decimal(found[name]) for name in ("quantity", "unit_price", "amount")}})
