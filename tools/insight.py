"""What prices did and what the market looks like now."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import NotFound, ValidationFailed
from market.money import Money, amount
from market.offers import clean_text
from tools.capability import Request, Result, capability
from tools.offer_facts import no_such_offer
from tools.offer_view import Moment, Number
from tools.outlook import Ahead, BuyOrWait, SeriesStatistics, Shift, ahead, described
from tools.search import SearchOffers, market_query

if TYPE_CHECKING:
    from market.catalogue import PricePoint, ProviderHealth, Stored
    from market.offers import Offer
    from market.snapshot import CheapestGpu, Snapshot

_DAY = timedelta(days=1)
_OFFERS_IN_A_SERIES = 200
_POINTS_SHOWN = 60
_WEEK = timedelta(days=7)
_OFFERS_IN_A_CHANGE = 10
_CHANGES: WeakKeyDictionary[Snapshot, tuple[date, dict[str, float | None]]] = WeakKeyDictionary()
_FORECAST_FROM = timedelta(days=90)
"""A forecast looks back so far at least, however few days are asked for: what is shown is too short to try it on."""


class PriceHistory(Request):
    """One offer, or the cheapest of a GPU."""

    offer_id: str | None = Field(default=None, max_length=300, validation_alias=AliasChoices("offer_id", "id"))
    gpu: str | None = Field(default=None, max_length=60, validation_alias=AliasChoices("gpu", "gpu_type"))
    region: str | None = Field(default=None, max_length=60)
    provider: str | None = Field(default=None, max_length=60)
    days: int = Field(default=30, ge=1, le=730)
    forecast_days: int = Field(default=7, ge=0, le=90)


class DayPrice(Result):
    """A day and its price in US dollars."""

    day: str
    price: Money


class PriceSeries(Result):
    """A price by day, what stands out in it, and where it may go."""

    of: str
    measure: str = Field(description="What the price is of.")
    points: list[DayPrice]
    statistics: SeriesStatistics | None = None
    anomalies: list[str] = Field(description="Days whose price stands out by at least two of four methods.")
    anomaly_methods: dict[str, list[str]] | None = Field(default=None, description="For each of them which.")
    level_shifts: list[Shift] | None = None
    forecast: Ahead | None = None
    buy_or_wait: BuyOrWait | None = Field(default=None, description="Only where the history is long enough to tell.")
    warnings: list[str] | None = None


@capability("GET /analytics/price-history", scope="market:read", effect="read")
async def price_history(ctx: Context, query: PriceHistory) -> PriceSeries:
    """Show a price over time: daily series, statistics, anomalies, a forecast beside the naive one, buy now or wait."""
    from market import catalogue

    store = await ctx.market.store()
    now = ctx.market.clock.now()
    since = now - timedelta(days=query.days)
    subject = await _subject(ctx, query)
    looked_back = since if not query.forecast_days else min(since, now - _FORECAST_FROM)
    histories = await catalogue.product_history(store, list(subject.gpus), looked_back)
    days, prices = daily_lowest(
        [
            [
                (point.recorded_at, price / count)
                for point in histories.get(offer_id, ())
                if (price := subject.of(point))
            ]
            for offer_id, count in subject.gpus.items()
        ],
        looked_back,
        min(now, subject.until or now),
    )
    return await asyncio.to_thread(_series, subject, query.forecast_days, days, prices, since)


def _series(
    subject: _Subject, forecast_days: int, days: Sequence[str], prices: Sequence[float], since: datetime
) -> PriceSeries:
    """The series from a day on, described, and forecast from all that is known."""
    first = bisect_left(days, since.astimezone(UTC).date().isoformat())
    shown, asked = days[first:], prices[first:]
    warnings = list(subject.warnings)
    if len(prices) < 2:
        warnings.append("Only one day is known so far; the history grows with every sync.")
    elif len(asked) > _POINTS_SHOWN:
        warnings.append(f"The last {_POINTS_SHOWN} of {len(asked)} days are listed; the figures are of all of them.")
    said = described(shown, asked) if asked else None
    forecast = waiting = None
    if len(prices) > 1 and forecast_days:
        forecast, waiting = ahead(prices, forecast_days)
        if subject.until is not None:
            waiting = None
        elif waiting is None:
            warnings.append(f"{len(prices)} days of history do not tell whether waiting {forecast_days} days pays.")
    return PriceSeries(
        of=subject.name,
        measure=subject.measure,
        points=[DayPrice(day=day, price=amount(price)) for day, price in zip(shown, asked, strict=True)][
            -_POINTS_SHOWN:
        ],
        statistics=said.statistics if said else None,
        anomalies=list(said.unusual) if said else [],
        anomaly_methods=(said.unusual or None) if said else None,
        level_shifts=(said.shifts or None) if said else None,
        forecast=forecast,
        buy_or_wait=waiting,
        warnings=warnings or None,
    )


@dataclass(frozen=True, slots=True)
class _Subject:
    """What the series is of: offers with their number of GPUs to divide by, the price meant, and when it ended."""

    name: str
    measure: str
    gpus: dict[str, int]
    field: str = "price_per_hour_usd"
    until: datetime | None = None
    warnings: tuple[str, ...] = ()

    def of(self, point: PricePoint) -> float | None:
        """The price of a point; None when it holds another kind of price."""
        price: Decimal | None = getattr(point, self.field)
        return float(price) if price else None


async def _subject(ctx: Context, query: PriceHistory) -> _Subject:
    snapshot = await ctx.market.snapshot()
    if query.offer_id is not None:
        from market import catalogue

        stored = await catalogue.offer(await ctx.market.store(), query.offer_id)
        if stored is None:
            raise no_such_offer(query.offer_id, snapshot)
        return _of_offer(stored)
    if query.gpu is None:
        raise ValidationFailed("Neither `offer_id` nor `gpu` was given.", next_step="Give one of them.")
    search = SearchOffers(
        gpu=[query.gpu],
        region=[query.region] if query.region else [],
        provider=[query.provider] if query.provider else [],
        pricing=["on_demand"],
        sort="price_per_gpu",
    )
    wanted = market_query(search, snapshot, await ctx.market.provider_states())
    hits = snapshot.search(replace(wanted, limit=_OFFERS_IN_A_SERIES, include_fractions=False))
    if not hits.offers:
        narrower = [name for name in ("region", "provider") if getattr(query, name)]
        raise NotFound(
            f"No on-demand offer of `{clean_text(query.gpu, 60)}` matches.",
            next_step=f"Leave out {' or '.join(f'`{name}`' for name in narrower)}."
            if narrower
            else "Look with `search_offers` for how else it is sold.",
        )
    more = hits.listed - len(hits.offers)
    return _Subject(
        name=query.gpu,
        measure="lowest on-demand US dollars an hour for one GPU",
        gpus={offer.id: offer.gpu_count for offer in hits.offers},
        warnings=(f"Of the {len(hits.offers)} offers cheapest now; {more} dearer ones are left out.",) if more else (),
    )


def _of_offer(stored: Stored) -> _Subject:
    offer, gone = stored.offer, stored.gone_at
    field, measure = "price_per_hour_usd", "US dollars an hour for the whole instance"
    if offer.pricing == "token":
        sold = "output" if offer.price_per_million_output_tokens else "input"
        field, measure = f"price_per_million_{sold}_tokens", f"{offer.currency} for a million {sold} tokens"
    warnings = (f"The provider has not listed it since {gone:%Y-%m-%d}.",) if gone else ()
    return _Subject(offer.id, measure, {offer.id: 1}, field, gone, warnings)


Steps = Sequence[tuple[datetime, float]]
"""Prices with the moment each began to stand, oldest first."""


def daily_lowest(histories: Sequence[Steps], since: datetime, until: datetime) -> tuple[list[str], list[float]]:
    """The lowest of several step-wise prices at the end of each UTC day, each standing until the next change."""
    first = min((steps[0][0] for steps in histories if steps), default=None)
    if first is None or first > until:
        return [], []
    days: list[str] = []
    lowest: list[float] = []
    at = [0] * len(histories)
    day = max(first, since).astimezone(UTC).date()
    while day <= until.astimezone(UTC).date():
        midnight = datetime.combine(day + _DAY, time(), UTC)
        standing = []
        for place, steps in enumerate(histories):
            while at[place] < len(steps) and steps[at[place]][0] < midnight:
                at[place] += 1
            if at[place]:
                standing.append(steps[at[place] - 1][1])
        if standing:
            days.append(day.isoformat())
            lowest.append(min(standing))
        day += _DAY
    return days, lowest


class MarketOverview(Request):
    """How much of the market to show."""

    gpus: int = Field(default=15, ge=1, le=100, description="How many GPUs.")


class GpuLine(Result):
    """A GPU and its cheapest offer, on demand where it is sold so."""

    gpu: str
    offers: int
    cheapest_per_gpu_hour: Money
    pricing: str | None = Field(default=None, description="When it is not sold on demand.")
    offer_id: str
    change_7d_percent: Number | None = Field(
        default=None, description="Of the lowest price of those cheapest now, since 7 days ago; absent when not known."
    )


class ProviderLine(Result):
    """How a provider is and how fresh what it says."""

    provider: str
    state: str
    offers: int
    live: bool | None = Field(default=None, description="True when its API answered the last time it was asked.")
    confirmed_at: Moment | None = None
    stale: bool | None = None


class Overview(Result):
    """The market at a glance."""

    offers: int
    providers: int
    gpus: list[GpuLine] = Field(description="Cheapest per GPU, the most offered first.")
    provider_health: list[ProviderLine]
    catalogue_version: int
    generated_at: Moment
    warnings: list[str] | None = None


@capability("GET /market/overview", scope="market:read", effect="read")
async def market_overview(ctx: Context, query: MarketOverview) -> Overview:
    """Show the market at a glance: cheapest price per GPU and its week, provider health and freshness."""
    from market.query import SIMULATED

    snapshot = await ctx.market.snapshot()
    states = await ctx.market.provider_states()
    now = ctx.market.clock.now()
    shown = sorted(snapshot.cheapest_by_gpu().values(), key=lambda one: (-one.offers, one.gpu))[: query.gpus]
    changes = await _week_changes(ctx, snapshot, shown, now)
    counts = snapshot.counts("provider")
    real = {name: state for name, state in states.items() if name not in SIMULATED}
    silent = sorted(name for name, state in real.items() if state.state in ("unhealthy", "degraded"))
    return Overview(
        offers=snapshot.count,
        providers=len(counts),
        gpus=[
            GpuLine(
                gpu=one.gpu,
                offers=one.offers,
                cheapest_per_gpu_hour=one.price_per_gpu_hour,
                pricing=None if one.pricing == "on_demand" else one.pricing,
                offer_id=one.offer_id,
                change_7d_percent=changes.get(one.gpu),
            )
            for one in shown
        ],
        provider_health=[provider_line(state, counts.get(name, 0), now) for name, state in sorted(real.items())],
        catalogue_version=snapshot.version,
        generated_at=now,
        warnings=[f"Not answering: {', '.join(silent)}; their last known prices stand."] if silent else None,
    )


async def _week_changes(
    ctx: Context, snapshot: Snapshot, shown: Sequence[CheapestGpu], now: datetime
) -> Mapping[str, float | None]:
    """By GPU, in percent, what the lowest price did over a week; read once for each snapshot, GPU and day."""
    from market import catalogue
    from market.query import Query

    today = now.astimezone(UTC).date()
    day, known = _CHANGES.get(snapshot, (today, {}))
    if day != today:
        known = {}
    offers: dict[str, list[Offer]] = {}
    for one in shown:
        if one.gpu not in known:
            cheap = Query(gpu=(one.gpu,), pricing=(one.pricing,), sort="price_per_gpu", include_fractions=False)
            found = snapshot.search(replace(cheap, limit=_OFFERS_IN_A_CHANGE)).offers
            offers[one.gpu] = [offer for offer in found if offer.gpu == one.gpu]
    if offers:
        ids = [offer.id for some in offers.values() for offer in some]
        histories = await catalogue.product_history(await ctx.market.store(), ids, now - _WEEK)
        known = known | {gpu: _change(some, histories, now) for gpu, some in offers.items()}
        _CHANGES[snapshot] = (today, known)
    return known


def _change(offers: Sequence[Offer], histories: Mapping[str, Sequence[PricePoint]], now: datetime) -> float | None:
    """The change of the lowest price of one GPU over the week; None unless it was known when the week began."""
    steps = [
        [
            (point.recorded_at, float(point.price_per_hour_usd) / offer.gpu_count)
            for point in histories.get(offer.id, ())
            if point.price_per_hour_usd
        ]
        for offer in offers
    ]
    _, prices = daily_lowest(steps, now - _WEEK, now)
    return round(100 * (prices[-1] / prices[0] - 1), 1) if len(prices) > _WEEK.days else None


def provider_line(state: ProviderHealth, offers: int, now: datetime) -> ProviderLine:
    """Health of one provider."""
    return ProviderLine(
        provider=state.name,
        state=state.state,
        offers=offers,
        live=True if state.response_time_ms is not None and state.state in ("healthy", "degraded") else None,
        confirmed_at=state.last_complete_at,
        stale=True if state.is_stale(now) else None,
    )
