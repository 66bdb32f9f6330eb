"""Quote an exact product for an exact time: itemised, with the worst case, an expiry and the mandate's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field, WithJsonSchema

from market.context import Context
from market.money import Money
from tools import legs
from tools.authority import purchase_of
from tools.capability import Request, Result, capability
from tools.offer_view import Moment, Number
from tools.search import HTTP_ONLY, SomeDollars
from tools.verdict import Judgement, judged

if TYPE_CHECKING:
    from market.costs import Line, Wanted
    from market.quote_book import Quote
    from tools.legs import Priced

GOOD_FOR = timedelta(minutes=10)
SPOT_GOOD_FOR = timedelta(minutes=5)
APPROVAL_GOOD_FOR = timedelta(minutes=60)
"""A person needs time to decide; the booking asks for the price again anyway."""


def _listed(value: object) -> object:
    return [word.strip() for word in value.split(",")] if isinstance(value, str) else value


OfferIds = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=300)]],
    BeforeValidator(_listed),
    WithJsonSchema({"type": "array", "items": {"type": "string", "maxLength": 300}, "maxItems": 5}),
    Field(min_length=1, max_length=5),
]
"""One id, several with commas between them, or a list."""


Gigabytes = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class QuoteOffer(Request):
    """What to quote."""

    offers: OfferIds = Field(
        validation_alias=AliasChoices("offers", "offer_id", "id"),
        description="Offer ids: the one to book, then those to try after it.",
    )
    count: int = Field(
        default=1,
        ge=1,
        le=64,
        validation_alias=AliasChoices("count", "instance_count"),
        description="Machines.",
    )
    duration_hours: float = Field(
        gt=0, le=8_760, validation_alias=AliasChoices("duration_hours", "hours"), allow_inf_nan=False
    )
    disk_gb: Gigabytes | None = Field(default=None, description="Of each.")
    egress_gb: Gigabytes | None = None
    failover: bool = Field(default=False, description="Add equal offers elsewhere.")
    max_price: SomeDollars | None = Field(
        default=None,
        description="US dollars an hour an alternative may cost; 1.5 times the first offer's price unless said.",
        json_schema_extra=HTTP_ONLY,
    )


class QuotedLine(Result):
    """One item, in US dollars."""

    item: str
    quantity: Number
    unit: str
    unit_price: Money
    amount: Money


class QuotedLeg(Result):
    """One offer of the plan."""

    offer_id: str
    provider: str
    region: str
    pricing: str
    gpu: str | None = None
    price_per_hour: Money = Field(description="US dollars, of one machine.")
    live: bool = Field(description="The price was asked for just now.")
    bookable: bool
    allowed: bool = Field(description="By the mandate.")
    expected_total: Money
    worst_total: Money
    stopped_per_day: Money | None = Field(default=None, description="What the disks of stopped machines cost a day.")
    lines: list[QuotedLine]


class MandateVerdict(Result):
    """What the mandate that comes closest says."""

    mandate_id: str | None = None
    allowed: bool
    needs_approval: bool
    remaining: Money = Field(description="US dollars left of its budget.")
    violations: list[dict[str, Any]] = Field(default_factory=list)


class QuotedOffer(Result):
    """A firm quote in US dollars; book it with `book_quote`."""

    quote_id: str
    expires_at: Moment
    expected_total: Money
    worst_total: Money = Field(description="The most it can cost, whichever leg is booked.")
    bookable: bool
    mandate: MandateVerdict
    legs: list[QuotedLeg] = Field(description="In the order they are tried.")
    assumptions: list[str] | None = None
    warnings: list[str] | None = None


@capability("POST /quotes", scope="procure:quote", effect="read", open_world=True)
async def quote_offer(ctx: Context, query: QuoteOffer) -> QuotedOffer:
    """Quote an exact offer, count and duration: itemised, expected and worst total, the mandate's verdict."""
    from market.costs import Wanted

    wanted = Wanted(
        instance_count=query.count,
        duration_hours=query.duration_hours,
        disk_gb=query.disk_gb or 0,
        egress_gb=query.egress_gb or 0,
    )
    plan = await _plan(ctx, query, wanted)
    verdict = await judged(
        ctx,
        [
            purchase_of(one.leg(), instance_count=query.count, hours=query.duration_hours, unverified=one.unverified)
            for one in plan
        ],
    )
    quote = _quote(ctx, query, plan, verdict)
    await _keep(ctx, quote)
    return _shown(quote, plan, verdict)


async def _plan(ctx: Context, query: QuoteOffer, wanted: Wanted) -> list[Priced]:
    """The legs in their order, with their prices. Raises NotFound, ValidationFailed and Conflict."""
    offers = await legs.named(ctx, query.offers)
    plan = await legs.priced(ctx, offers, wanted)
    if query.failover:
        providers = await legs.bookable_providers() if plan[0].bookable else None
        further = await legs.alternatives(ctx.market, offers, query.max_price, bookable=providers)
        plan += await legs.priced(ctx, await legs.within_bounds(ctx, further, wanted), wanted)
    return plan


def _quote(ctx: Context, query: QuoteOffer, plan: Sequence[Priced], verdict: Judgement) -> Quote:
    from market.quote_book import Quote, QuoteTerms, new_quote_id

    now = ctx.market.clock.now()
    good_for = SPOT_GOOD_FOR if any(one.offer.pricing == "spot" for one in plan) else GOOD_FOR
    if verdict.needs_approval:
        good_for = APPROVAL_GOOD_FOR
    is_allowed = verdict.mandate is not None and not verdict.violations
    return Quote(
        id=new_quote_id(),
        caller=ctx.caller.identity,
        terms=QuoteTerms(
            legs=tuple(one.leg() for one in plan),
            instance_count=query.count,
            duration_hours=query.duration_hours,
            disk_gb=query.disk_gb or 0,
            currency="USD",
            lines=tuple(one.costs.lines for one in plan),
            assumptions=tuple(dict.fromkeys(said for one in plan for said in one.costs.assumptions)),
            # what is refused now may be allowed by another mandate by the time it is booked
            mandate_id=verdict.mandate.id if verdict.mandate is not None and is_allowed else None,
        ),
        expected_total=plan[0].costs.expected_total,
        worst_total=max(one.costs.worst_total for one in plan),
        created_at=now,
        expires_at=now + good_for,
    )


async def _keep(ctx: Context, quote: Quote) -> None:
    from market import quote_book

    store = await ctx.market.store()
    async with store.write() as connection:
        await quote_book.add(connection, ctx.market.settings, quote)


def _shown(quote: Quote, plan: Sequence[Priced], verdict: Judgement) -> QuotedOffer:
    warnings = [said for one in plan for said in one.notes] + _together(plan)
    return QuotedOffer(
        quote_id=quote.id,
        expires_at=quote.expires_at,
        expected_total=quote.expected_total,
        worst_total=quote.worst_total,
        bookable=plan[0].bookable,
        mandate=MandateVerdict(
            mandate_id=verdict.mandate.id if verdict.mandate else None,
            allowed=verdict.mandate is not None and not verdict.violations,
            needs_approval=verdict.needs_approval,
            remaining=verdict.remaining,
            violations=[one.told() for one in verdict.violations],
        ),
        legs=[_leg(one, allowed=allowed) for one, allowed in zip(plan, verdict.allowed, strict=True)],
        assumptions=list(quote.terms.assumptions) or None,
        warnings=warnings or None,
    )


def _leg(one: Priced, *, allowed: bool) -> QuotedLeg:
    offer, costs = one.offer, one.costs
    return QuotedLeg(
        offer_id=offer.id,
        provider=offer.provider,
        region=offer.region,
        pricing=offer.pricing,
        gpu=offer.gpu,
        price_per_hour=costs.price_per_hour_usd,
        live=one.is_live,
        bookable=one.bookable,
        allowed=allowed,
        expected_total=costs.expected_total,
        worst_total=costs.worst_total,
        stopped_per_day=costs.stopped_per_day or None,
        lines=[shown_line(line) for line in costs.lines],
    )


def shown_line(line: Line) -> QuotedLine:
    """One item as it is shown."""
    return QuotedLine(
        item=line.item,
        quantity=float(line.quantity),
        unit=line.unit,
        unit_price=line.unit_price,
        amount=line.amount,
    )


def _together(plan: Sequence[Priced]) -> list[str]:
    """What makes a plan of several legs worth less than it looks."""
    first, *others = plan
    said = []
    places = [(one.offer.provider, one.offer.region) for one in plan]
    if len(set(places)) < len(places):
        said.append("Offers of one provider and region are likely to fail together.")
    if any((one.offer.gpu, one.offer.gpu_count) != (first.offer.gpu, first.offer.gpu_count) for one in others):
        said.append("The offers differ in GPU or count.")
    if any(one.offer.pricing != first.offer.pricing for one in others):
        said.append("The offers differ in pricing: spot may be interrupted, on demand is not.")
    if any(one.bookable != first.bookable for one in others):
        said.append("Only some of the offers can be booked.")
    return said
