"""Alerts: told once when a price, a move, an oddity or stock is what somebody waits for; a limit order buys then."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from market.alerts import OF_PRICE, STOCK_CODES, Alert, Condition, ConditionKind, LimitOrder, Target
from market.context import Context
from market.errors import Conflict, MandateRefused, NotAllowed, NotFound, ValidationFailed
from market.money import Money
from tools.capability import Request, Result, capabilities, capability, intent_of
from tools.launch_request import LaunchRequest
from tools.offer_facts import no_such_offer
from tools.offer_view import Moment
from tools.order_targets import buyable
from tools.readings import Readings
from tools.search import SearchOffers, SomeDollars, known_gpu, known_region, market_query

if TYPE_CHECKING:
    from market.alert_index import Reading
    from market.snapshot import Snapshot

MOST_LIVE = 10_000
"""Live alerts of one owner."""
LONGEST_FILTERS = 2_000
_PAGING = frozenset({"limit", "cursor", "page", "per_page", "sort"})
ROBUST_BOUND = Decimal("3.5")


class OrderTerms(BaseModel):
    """What to buy when the alert fires; `launch` as in `book_quote`."""

    model_config = ConfigDict(extra="forbid", frozen=True, title=None)

    max_total: SomeDollars
    duration_hours: float = Field(gt=0, le=8_760)
    count: int = Field(default=1, ge=1, le=64)
    disk_gb: float = Field(default=0, ge=0, le=1_000_000)
    launch: Annotated[LaunchRequest, WithJsonSchema({"type": "object"})] | None = None


class CreateAlert(Request):
    """Watch one of `offer_id`, `gpu`, `search`, `filters`."""

    offer_id: str | None = Field(default=None, max_length=300)
    gpu: str | None = Field(default=None, max_length=60, description="Its lowest price per GPU.")
    region: str | None = Field(default=None, max_length=60)
    pricing: Literal["on_demand", "spot"] = Field(default="on_demand", description="With `gpu`.")
    search: str | None = Field(default=None, max_length=80, description="Its name.")
    filters: Annotated[dict[str, Any], WithJsonSchema({"type": "object", "description": "As in `search_offers`."})] = (
        Field(default_factory=dict, max_length=30)
    )
    when: ConditionKind
    threshold: SomeDollars | None = Field(default=None, description="USD an hour; for a move percent.")
    quiet_minutes: int = Field(default=60, ge=0, le=43_200)
    expires_in_hours: int = Field(default=720, ge=1, le=8_784)
    limit_order: OrderTerms | None = Field(default=None, description="Book once, within the mandate.")


class AlertView(Result):
    """One alert; money in US dollars an hour."""

    id: str
    what: str
    when: str
    threshold: Money | None = None
    state: str = Field(description="armed, fired (waits for the value to come back), spent or expired.")
    times_fired: int
    last_fired_at: Moment | None = None
    last_value: Money | None = None
    reference_value: Money | None = None
    expires_at: Moment | None = None
    created_at: Moment | None = None
    quiet_minutes: int | None = None
    books: bool | None = None
    booking_id: str | None = None
    note: str | None = None
    price_now: Money | None = None
    availability_now: str | None = None


class ListAlerts(Request):
    """Which."""

    alert_id: str | None = Field(default=None, max_length=40)
    limit: int = Field(default=20, ge=1, le=50)


class AlertList(Result):
    """The newest first."""

    items: list[AlertView]


class DeleteAlert(Request):
    """Which."""

    alert_id: str = Field(max_length=40)


class Deleted(Result):
    """What is gone."""

    deleted: str


@capability("POST /alerts", scope="alerts:write", effect="write")
async def create_alert(ctx: Context, request: CreateAlert) -> AlertView:
    """Be told when a price or stock changes; with `limit_order`, book then."""
    from market import alert_book

    commitment = intent_of(ctx)
    if commitment.subject is not None:
        return await _one(ctx, commitment.subject)
    snapshot = await ctx.market.refresh()
    target = await _target(ctx, request, snapshot)
    reading = Readings(snapshot).of(target, "")
    condition = _condition(request, target)
    order = None if request.limit_order is None else await _order(ctx, request.limit_order, condition)
    if order is not None:
        target = await buyable(ctx, target)
    now = ctx.market.clock.now()
    alert = Alert(
        id=alert_book.new_alert_id(),
        owner=ctx.caller.identity,
        target=target,
        condition=condition,
        state="armed",
        quiet_minutes=request.quiet_minutes,
        times_fired=0,
        created_at=now,
        expires_at=now + timedelta(hours=request.expires_in_hours),
        reference_value=_reference(condition, reading),
        limit_order=order,
    )
    store = await ctx.market.store()
    async with store.write() as connection:
        if await alert_book.count_of_owner(connection, alert.owner) >= MOST_LIVE:
            raise Conflict(f"You have {MOST_LIVE:,} alerts already.", next_step="Delete some with `delete_alert`.")
        await alert_book.add(connection, alert)
        await commitment.begin(
            connection,
            action="create_alert",
            subject=alert.id,
            details={"when": condition.kind, "what": target.shown(), "books": order is not None},
        )
    return _view(alert, reading)


@capability("GET /alerts", scope="alerts:read", effect="read")
async def list_alerts(ctx: Context, request: ListAlerts) -> AlertList:
    """Your alerts and limit orders."""
    from market import alert_book

    store = await ctx.market.store()
    found = await alert_book.of_owner(store, ctx.caller.identity, alert_id=request.alert_id, limit=request.limit)
    if request.alert_id is not None and not found:
        raise NotFound("No such alert of yours.", next_step="`list_alerts` without an id shows them.")
    readings = Readings(await ctx.market.snapshot())
    return AlertList(items=[_view(alert, readings.of(alert.target, "")) for alert in found])


@capability("DELETE /alerts/{alert_id}", scope="alerts:write", effect="write")
async def delete_alert(ctx: Context, request: DeleteAlert) -> Deleted:
    """Delete an alert and its limit order."""
    from market import alert_book

    commitment = intent_of(ctx)
    if commitment.subject is not None:
        return Deleted(deleted=commitment.subject)
    store = await ctx.market.store()
    async with store.write() as connection:
        if not await alert_book.remove(connection, ctx.caller.identity, request.alert_id, ctx.market.clock.now()):
            raise NotFound("No such alert of yours.", next_step="`list_alerts` shows them.")
        await commitment.begin(connection, action="delete_alert", subject=request.alert_id, details={})
    return Deleted(deleted=request.alert_id)


async def _one(ctx: Context, alert_id: str) -> AlertView:
    """One alert as it stands."""
    return (await list_alerts(ctx, ListAlerts(alert_id=alert_id))).items[0]


async def _target(ctx: Context, request: CreateAlert, snapshot: Snapshot) -> Target:
    """What is to be watched, checked against what there is. Raises ValidationFailed, NotFound."""
    said = [name for name in ("offer_id", "gpu", "search", "filters") if getattr(request, name)]
    if len(said) != 1:
        raise ValidationFailed(
            f"{' and '.join(f'`{name}`' for name in said) or 'Nothing'} was given to watch.",
            next_step="Give one of `offer_id`, `gpu` (with `region`), `search` or `filters`.",
        )
    if request.region is not None and said != ["gpu"]:
        raise ValidationFailed("`region` goes with `gpu`.", next_step="Leave it out, or put it into `filters`.")
    if request.offer_id is not None:
        if snapshot.get(request.offer_id) is None:
            raise no_such_offer(request.offer_id, snapshot)
        return Target(offer_id=request.offer_id)
    if request.gpu is not None:
        region = None if request.region is None else known_region(snapshot, request.region)
        return Target(gpu=known_gpu(snapshot, request.gpu), region=region, pricing=request.pricing)
    if request.search is not None:
        from market import favourites

        saved = await favourites.search_of(await ctx.market.store(), ctx.caller.identity, request.search)
        if saved is None:
            raise NotFound("No saved search of yours has this name.", next_step="Give its `filters` instead.")
        return Target(filters=saved)
    return Target(filters=await checked_filters(ctx, request.filters))


async def checked_filters(ctx: Context, filters: dict[str, Any]) -> str:
    """Filters of a search as they are kept: JSON with sorted names, without page and order. Raises ValidationFailed."""
    asked = {name: value for name, value in filters.items() if name not in _PAGING and value is not None}
    checked: SearchOffers = capabilities()["search_offers"].checked(asked)
    if not asked:
        raise ValidationFailed("The filters are empty.", next_step="Name at least one filter of `search_offers`.")
    market_query(checked, await ctx.market.snapshot(), await ctx.market.provider_states())
    text = json.dumps(checked.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    if len(text) > LONGEST_FILTERS:
        raise ValidationFailed(f"The filters are longer than {LONGEST_FILTERS} characters.", next_step="Use fewer.")
    return text


def _condition(request: CreateAlert, target: Target) -> Condition:
    """When to tell; a threshold where one is needed. Raises ValidationFailed."""
    threshold = request.threshold
    if request.when == "anomaly":
        if target.offer_id is None:
            raise ValidationFailed("An anomaly is judged by one offer's history.", next_step="Give `offer_id`.")
        threshold = threshold or ROBUST_BOUND
    if request.when in OF_PRICE and threshold is None:
        raise ValidationFailed(
            f"`{request.when}` needs a `threshold`.",
            next_step="Percent of a move." if request.when == "price_move" else "US dollars an hour.",
        )
    if request.when not in OF_PRICE and threshold is not None:
        raise ValidationFailed(f"`{request.when}` takes no `threshold`.", next_step="Leave it out.")
    return Condition(request.when, threshold)


def _reference(condition: Condition, reading: Reading) -> Decimal | None:
    """The value at creation. Raises ValidationFailed when a move would have nothing to be measured from."""
    if condition.kind == "availability_change":
        return Decimal(reading.stock)
    price = Decimal(reading.price).scaleb(-6) if reading.price >= 0 else None
    if price is None and condition.kind in ("price_move", "anomaly"):
        raise ValidationFailed(
            "There is no hourly price now to measure from.", next_step="Use `price_below` or `available`."
        )
    return price if condition.kind in OF_PRICE else Decimal(reading.stock)


async def _order(ctx: Context, terms: OrderTerms, condition: Condition) -> LimitOrder:
    """The limit order, for a caller who may spend. Raises NotAllowed, MandateRefused, ValidationFailed."""
    from market import mandate_book
    from market.sealing import Sealer
    from tools.authority import NO_MANDATE_STEP

    if condition.kind not in ("price_below", "available"):
        raise ValidationFailed(
            "A limit order buys at `price_below` or when `available`.", next_step="Change `when`, or leave it out."
        )
    scope = capabilities()["book_quote"].scope
    if not ctx.caller.may(scope):
        raise NotAllowed(f"A limit order needs the scope `{scope}`.", next_step="Leave out `limit_order`.")
    store, settings = await ctx.market.store(), ctx.market.settings
    if not await mandate_book.for_caller(store, settings, ctx.caller, ctx.market.clock.now()):
        raise MandateRefused(
            "No mandate allows you to spend, so nothing could be booked.",
            next_step=NO_MANDATE_STEP,
            details={"violations": [], "mandates": 0},
        )
    return LimitOrder(
        max_total=terms.max_total,
        duration_hours=terms.duration_hours,
        count=terms.count,
        disk_gb=terms.disk_gb,
        sealed_launch=Sealer.of(settings).encrypt((terms.launch or LaunchRequest()).model_dump_json()),
    )


def _view(alert: Alert, reading: Reading) -> AlertView:
    priced = alert.condition.kind in ("price_below", "price_above", "price_move")
    stock = next((name for name, code in STOCK_CODES.items() if code == reading.stock), None)
    return AlertView(
        id=alert.id,
        what=alert.target.shown(),
        when=alert.condition.kind,
        threshold=alert.condition.threshold,
        state=alert.state,
        times_fired=alert.times_fired,
        last_fired_at=alert.last_fired_at,
        last_value=alert.last_value if priced or alert.condition.kind == "anomaly" else None,
        reference_value=alert.reference_value if alert.condition.kind in OF_PRICE else None,
        expires_at=alert.expires_at,
        created_at=alert.created_at,
        quiet_minutes=alert.quiet_minutes,
        books=True if alert.limit_order is not None else None,
        booking_id=alert.booking_id,
        note=alert.note,
        price_now=Decimal(reading.price).scaleb(-6) if reading.price >= 0 else None,
        availability_now=stock,
    )
