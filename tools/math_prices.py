"""What prices did and where they may go: analysis, forecast and anomalies of any series."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from market.context import Context
from market.errors import ValidationFailed
from tools.capability import Request, Result, capability
from tools.math_door import HTTP_ONLY, MOST_ALTERNATIVES, READ, TOOLSET, Price, Prices, Real, Time, computed
from tools.offer_view import Number

if TYPE_CHECKING:
    from mathcore.forecast import Forecast

MOST_STEPS = 1_000
SHORTEST_INTERVAL = 0.001
ROBUST_BOUND = 3.5
Known = Literal["naive", "drift", "linear", "ses", "holt", "damped_holt", "ets", "theta", "arima", "auto"]
Asked = Literal[
    "auto", "arima", "exponential_smoothing", "linear", "naive", "drift", "ses", "holt", "damped_holt", "ets", "theta"
]


def _long_enough(hours: float) -> float:
    if hours < SHORTEST_INTERVAL:
        raise ValueError(f"must be at least {SHORTEST_INTERVAL} hours")
    return hours


class SeriesAsked(Request):
    """A price series, oldest first."""

    prices: Prices
    times: list[Time] | None = Field(
        default=None,
        max_length=MOST_ALTERNATIVES,
        description="When each price was noted; then the series is brought onto even steps of `interval_hours` first.",
    )
    interval_hours: Annotated[float, AfterValidator(_long_enough)] = Field(
        default=1.0, gt=0, le=8_784, allow_inf_nan=False, description="Hours from one to the next."
    )


class PriceTrend(Result):
    """A straight line through the logarithm; rising or falling only where it can be told from none."""

    direction: Literal["rising", "falling", "flat"]
    change_per_step_percent: float
    change_percent: float
    r_squared: float


class PriceStatistics(Result):
    """Of the prices themselves."""

    observations: int
    lowest: float
    highest: float
    mean: float
    median: float
    change_percent: float


class PriceVolatility(Result):
    """Of the steps, in percent."""

    per_step_percent: float = Field(description="Standard deviation of log returns.")
    recent_per_step_percent: float = Field(description="The same, the latest weighing most.")
    per_day_percent: float
    share_of_steps_moved: float
    largest_rise_percent: float
    largest_fall_percent: float
    deepest_drawdown_percent: float


class PriceAnomaly(Result):
    """A price that stands out (robust z-score above 3.5)."""

    position: int
    price: float
    score: float


class Shift(Result):
    """From this position on the price stays at another level."""

    position: int
    before: float
    after: float
    change_percent: float


class PriceAnalysis(Result):
    """A price series described."""

    trend: PriceTrend
    statistics: PriceStatistics
    anomalies: list[PriceAnomaly]
    level_shifts: list[Shift]
    volatility: PriceVolatility
    warnings: list[str] | None = None


@capability("POST /math/analyze-prices", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def analyze_prices(ctx: Context, query: SeriesAsked) -> PriceAnalysis:
    """Describe a price series: trend, statistics, anomalies, level shifts and volatility."""
    return await computed(lambda: _analysed(query))


def _analysed(query: SeriesAsked) -> PriceAnalysis:
    import numpy as np

    from mathcore.anomaly import level_shifts, robust_z_scores
    from mathcore.series import statistics, trend, volatility

    prices, warnings = _even(query)
    told, line, moves = statistics(prices), trend(prices), volatility(prices, 24 / query.interval_hours)
    scores = robust_z_scores(prices)
    return PriceAnalysis(
        trend=PriceTrend(
            direction=_direction(line.direction),
            change_per_step_percent=100 * line.change_per_step,
            change_percent=100 * line.change,
            r_squared=line.r_squared,
        ),
        statistics=PriceStatistics(
            observations=told.observations,
            lowest=told.lowest,
            highest=told.highest,
            mean=told.mean,
            median=told.median,
            change_percent=100 * told.change,
        ),
        anomalies=[
            PriceAnomaly(position=int(at), price=prices[at], score=float(scores[at]))
            for at in np.flatnonzero(np.abs(scores) > ROBUST_BOUND)
        ],
        level_shifts=[
            Shift(position=one.position, before=one.before, after=one.after, change_percent=100 * one.change)
            for one in level_shifts(prices)
        ],
        volatility=PriceVolatility(
            per_step_percent=100 * moves.per_step,
            recent_per_step_percent=100 * moves.recent_per_step,
            per_day_percent=100 * moves.over_period,
            share_of_steps_moved=moves.share_of_steps_moved,
            largest_rise_percent=100 * moves.largest_rise,
            largest_fall_percent=100 * moves.largest_fall,
            deepest_drawdown_percent=100 * moves.deepest_drawdown,
        ),
        warnings=warnings or None,
    )


def _direction(word: str) -> Literal["rising", "falling", "flat"]:
    return "rising" if word == "rising" else "falling" if word == "falling" else "flat"


def _even(query: SeriesAsked) -> tuple[list[float], list[str]]:
    """The prices at even steps, and what had to be done for it."""
    if query.times is None:
        return query.prices, []
    from mathcore.grid import regular_grid

    if len(query.times) != len(query.prices):
        raise ValueError(f"there are {len(query.prices)} prices and {len(query.times)} times")
    seconds = [time.timestamp() for time in query.times]
    hours = (max(seconds) - min(seconds)) / 3600
    if hours / query.interval_hours >= MOST_ALTERNATIVES:
        raise ValueError(
            f"steps of {query.interval_hours:g} hours over {hours:.0f} hours are more than {MOST_ALTERNATIVES}: "
            "widen interval_hours"
        )
    grid = regular_grid(seconds, query.prices, 3600 * query.interval_hours)
    warnings = []
    if grid.filled:
        warnings.append(f"{grid.filled} steps without news keep the price that stood.")
    if grid.superseded:
        warnings.append(f"{grid.superseded} prices were followed by another within their step and are not used.")
    if grid.reordered:
        warnings.append("The times were not in order; they are now.")
    return grid.values.tolist(), warnings


class ForecastAsked(SeriesAsked):
    """A price series, and how far ahead to look."""

    horizon_hours: float = Field(default=24.0, gt=0, le=87_600, allow_inf_nan=False)
    method: Asked = Field(default="auto", description="`auto` takes what did best in the past, naive included.")
    season_hours: float = Field(
        default=0.0, ge=0, le=8_784, allow_inf_nan=False, description="Length of a season (24: a day); 0 none."
    )


class Ahead(Result):
    """One step ahead, with its intervals."""

    step: int
    hours_ahead: Number
    price: float
    low_80: float
    high_80: float
    low_95: float
    high_95: float


class Tried(Result):
    """A method's past error against the last price again; below 1 beat it."""

    method: str
    parameters: str
    error_against_naive: float | None = None


class ForecastTold(Result):
    """Which method, why, and how it did in the past beside the naive forecast."""

    method: str
    parameters: str
    reason: str
    fell_back: bool = Field(description="The choice was automatic and ended at the last price again.")
    naive: float
    error_against_naive: float | None = None
    past_moments: int
    tried: list[Tried]


class PriceForecast(ForecastTold):
    """Prices ahead with 80 and 95 % intervals."""

    forecast: list[Ahead]
    predicted_price: float = Field(description="At the end of the horizon.")
    confidence_interval: list[float] = Field(description="95 %, at the end of the horizon.")
    mean_price: float = Field(description="Over the horizon.")
    mean_interval_95: list[float]
    warnings: list[str] | None = None


@capability(
    "POST /math/forecast-price",
    "POST /math/predict-price",
    scope=READ,
    effect="read",
    doors=HTTP_ONLY,
    toolset=TOOLSET,
)
async def forecast_price(ctx: Context, query: ForecastAsked) -> PriceForecast:
    """Forecast a price series with intervals, by a method of choice or by what did best in the past."""
    steps = ceil(query.horizon_hours / query.interval_hours - 1e-9)
    if steps > MOST_STEPS:
        raise ValidationFailed(
            f"`horizon_hours` is {steps} steps of `interval_hours`; at most {MOST_STEPS} are forecast.",
            next_step="Shorten the horizon or widen the interval.",
        )
    method: Known = "ets" if query.method == "exponential_smoothing" else query.method
    season = round(query.season_hours / query.interval_hours)

    def work() -> PriceForecast:
        from mathcore.forecast import forecast

        prices, warnings = _even(query)
        found = forecast(prices, max(1, steps), method, season)
        ahead = _ahead(found, query.interval_hours)
        return PriceForecast(
            **told(found),
            forecast=ahead,
            predicted_price=ahead[-1].price,
            confidence_interval=[ahead[-1].low_95, ahead[-1].high_95],
            mean_price=found.mean,
            mean_interval_95=list(found.mean_interval95),
            warnings=warnings or None,
        )

    return await computed(work)


def _ahead(found: Forecast, hours: float) -> list[Ahead]:
    rows = zip(found.values, found.low80, found.high80, found.low95, found.high95, strict=True)
    return [
        Ahead(
            step=step, hours_ahead=step * hours, price=price, low_80=low80, high_80=high80, low_95=low95, high_95=high95
        )
        for step, (price, low80, high80, low95, high95) in enumerate(rows, start=1)
    ]


def told(found: Forecast) -> dict[str, Any]:
    """The fields of `ForecastTold`."""
    return {
        "method": found.method,
        "parameters": found.parameters,
        "reason": found.reason,
        "fell_back": found.fell_back,
        "naive": found.naive[-1],
        "error_against_naive": found.backtest_ratio,
        "past_moments": found.origins,
        "tried": [
            Tried(method=one.method, parameters=one.parameters, error_against_naive=one.ratio)
            for one in found.candidates
        ],
    }


class AnomalyAsked(Request):
    """A price, and those before it."""

    current_price: Price
    historical_prices: Annotated[Prices, Field(description="Oldest first; at least 5.")]
    threshold_z: Real = Field(default=3.0, gt=0, le=100)


class MethodVerdict(Result):
    """What one method says: its score, the bound it was held against, and whether it is beyond it."""

    score: float
    bound: float
    is_anomaly: bool


class AnomalyVerdict(Result):
    """Whether the price stands out: at least two methods say so."""

    is_anomaly: bool
    z_score: float
    method_results: dict[str, MethodVerdict]
    details: dict[str, MethodVerdict] = Field(description="The same as `method_results`.")


@capability("POST /math/detect-anomaly", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def detect_anomaly(ctx: Context, query: AnomalyAsked) -> AnomalyVerdict:
    """Tell whether a price stands out from those before it: z-score, robust z-score, IQR and isolation forest."""

    def work() -> AnomalyVerdict:
        from mathcore.anomaly import detect

        found = detect(query.current_price, query.historical_prices, query.threshold_z)
        results = {
            one.method: MethodVerdict(score=one.score, bound=one.bound, is_anomaly=one.is_anomaly)
            for one in found.verdicts
        }
        return AnomalyVerdict(
            is_anomaly=found.is_anomaly, z_score=found.z_score, method_results=results, details=results
        )

    return await computed(work)
