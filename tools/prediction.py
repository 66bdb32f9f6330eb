"""What a GPU will cost over the next 30 days, by its own price history, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import NotFound
from market.offers import clean_text
from tools.capability import Request, Result, capability
from tools.insight import daily_lowest
from tools.math_door import HTTP_ONLY, READ, TOOLSET, computed
from tools.math_prices import ForecastTold, told
from tools.offer_view import Number
from tools.search import SearchOffers, market_query

if TYPE_CHECKING:
    from mathcore.forecast import Forecast

AHEAD_DAYS = 30
LOOKED_BACK = timedelta(days=365)
OFFERS_IN_A_SERIES = 200
FEW_DAYS = 60


class Predict(Request):
    """Which GPU, for how long, and where."""

    gpu: str = Field(min_length=1, max_length=60, validation_alias=AliasChoices("gpu", "gpu_type"))
    hours: float = Field(default=1.0, gt=0, le=87_600, allow_inf_nan=False, description="GPU hours of the workload.")
    region: str | None = Field(default=None, max_length=60, description="An area, a country, or a provider's region.")
    pricing: Literal["on_demand", "spot", "reserved"] = "on_demand"


class DayAhead(Result):
    """A day: the price of one GPU hour, and what the hours would cost then, in US dollars."""

    date: str
    price_per_gpu_hour: float
    low_80: float
    high_80: float
    low_95: float
    high_95: float
    cost: float
    cost_low_95: float
    cost_high_95: float


class Prediction(ForecastTold):
    """The lowest price of one GPU over the next 30 days, and what the workload would cost."""

    gpu: str
    region: str | None = None
    hours: Number
    measure: str
    current_price_per_gpu_hour: float
    forecast: list[DayAhead]
    expected_cost: float = Field(description="At the mean price over the 30 days.")
    expected_cost_interval_80: list[float]
    expected_cost_interval_95: list[float]
    past_error_percent: float | None = Field(
        default=None,
        description="Mean absolute error of the mean price over as many days ahead as the history allows.",
    )
    history_days: int
    offers: int
    warnings: list[str] | None = None


@capability("POST /predict", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def predict(ctx: Context, query: Predict) -> Prediction:
    """Forecast what a workload will cost over the next 30 days: GPU, hours and region in, a price a day out."""
    history = await _history(ctx, query)
    today = ctx.market.clock.now().date()

    def work() -> Prediction:
        from mathcore.forecast import forecast

        found = forecast(history.prices, AHEAD_DAYS)
        mean = sum(history.prices) / len(history.prices)
        error = None if found.naive_error is None else found.naive_error * (found.backtest_ratio or 0.0)
        return Prediction(
            **told(found),
            gpu=query.gpu,
            region=query.region,
            hours=query.hours,
            measure=f"lowest {query.pricing.replace('_', '-')} US dollars an hour for one GPU",
            current_price_per_gpu_hour=history.prices[-1],
            forecast=_days(found, today, query.hours),
            expected_cost=found.mean * query.hours,
            expected_cost_interval_80=[end * query.hours for end in found.mean_interval80],
            expected_cost_interval_95=[end * query.hours for end in found.mean_interval95],
            past_error_percent=None if error is None else round(100 * error / mean, 2),
            history_days=len(history.prices),
            offers=history.offers,
            warnings=history.warnings or None,
        )

    return await computed(work)


@dataclass(frozen=True, slots=True)
class _History:
    prices: Sequence[float]
    offers: int
    warnings: list[str]


async def _history(ctx: Context, query: Predict) -> _History:
    """The lowest price of one whole GPU at the end of each day. Raises NotFound when nobody sells it so."""
    from market import catalogue

    snapshot = await ctx.market.snapshot()
    now = ctx.market.clock.now()
    search = SearchOffers(
        gpu=[query.gpu], region=[query.region] if query.region else [], pricing=[query.pricing], sort="price_per_gpu"
    )
    wanted = market_query(search, snapshot, await ctx.market.provider_states())
    hits = snapshot.search(replace(wanted, limit=OFFERS_IN_A_SERIES, include_fractions=False))
    counts = {offer.id: offer.gpu_count for offer in hits.offers}
    since = now - LOOKED_BACK
    points = await catalogue.product_history(await ctx.market.store(), list(counts), since)
    steps = [
        [
            (point.recorded_at, float(point.price_per_hour_usd) / count)
            for point in points.get(offer_id, ())
            if point.price_per_hour_usd
        ]
        for offer_id, count in counts.items()
    ]
    _, prices = daily_lowest(steps, since, now)
    if not prices:
        raise NotFound(
            f"No {query.pricing.replace('_', '-')} price of `{clean_text(query.gpu, 60)}` is known.",
            next_step="Leave out `region`." if query.region else "Give another `pricing`: spot or reserved.",
        )
    warnings = []
    if len(prices) < FEW_DAYS:
        warnings.append(
            f"Only {len(prices)} days of prices are known: the forecast is little more than the last price, and its"
            " interval is a guess from how far prices usually move."
        )
    if hits.listed > len(hits.offers):
        warnings.append(
            f"Of the {len(hits.offers)} offers cheapest now; {hits.listed - len(hits.offers)} dearer ones are left out."
        )
    return _History(prices, len(hits.offers), warnings)


def _days(found: Forecast, today: date, hours: float) -> list[DayAhead]:
    rows = zip(found.values, found.low80, found.high80, found.low95, found.high95, strict=True)
    return [
        DayAhead(
            date=(today + timedelta(days=ahead)).isoformat(),
            price_per_gpu_hour=price,
            low_80=low80,
            high_80=high80,
            low_95=low95,
            high_95=high95,
            cost=price * hours,
            cost_low_95=low95 * hours,
            cost_high_95=high95 * hours,
        )
        for ahead, (price, low80, high80, low95, high95) in enumerate(rows, start=1)
    ]
