"""Measures forecasts of the mean price of the next 30 days on published histories, and their speed beside peers.

python -m tests.bench.forecast [--write]     --write puts the table into docs/forecast.md
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathcore.anomaly import isolated
from mathcore.backtest import MENU, positive_paths
from mathcore.forecast import Forecast, forecast
from tests.bench._forecast_tables import (
    LEVELS,
    Outcome,
    coverage_table,
    errors_table,
    others_table,
    ratio,
    score,
)
from tests.bench._prices import DailySeries, aws_spot, gcp

HORIZON = 30
FIRST_KNOWN = 30
AWS_EVERY, GCP_EVERY = 15, 30
GCP_OF_EACH = 25
REPEATS = 5
PAGE = Path(__file__).parents[2] / "docs" / "forecast.md"
METHODS = ("drift", "linear", "ses", "theta", "damped_holt")
"""Shown beside auto, on a part of the origins: fitting takes its time."""
SHOWN_EVERY = 9
OTHER_DISTANCES = (1, 7, 14, 60)
HALF_WAY = date(2023, 9, 1)
"""Half of the AWS days; in that month spot prices began to move all over the world."""


def folder() -> Path:
    """Where the histories lie: `GPUBROKER_TEST_DATA`, else beside the repository."""
    named = os.environ.get("GPUBROKER_TEST_DATA")
    return (Path(named) if named else Path(__file__).parents[3] / "shared" / "data") / "price_history"


def judged(series: Sequence[DailySeries], every: int) -> dict[str, list[Outcome]]:
    """Forecast each series from every so many days on, knowing only the days before; outcomes by market class."""
    segments: dict[str, list[Outcome]] = defaultdict(list)
    for one in series:
        aws = one.classes[0].startswith("AWS")
        for turn, known in enumerate(range(FIRST_KNOWN, one.prices.size - HORIZON + 1, every)):
            outcome = _judge(one, known, turn % SHOWN_EVERY == 0)
            names = [*one.classes]
            if aws:
                names.append("AWS spot")
                names.append("AWS spot, constants chosen on" if one.tuned_on else "AWS spot, held out")
                if not one.tuned_on:
                    late = outcome.day >= HALF_WAY.toordinal()
                    names.append(f"AWS spot, held out, {'from' if late else 'before'} {HALF_WAY:%B %Y}")
            for name in names:
                segments[name].append(outcome)
    return segments


def _judge(one: DailySeries, known: int, with_others: bool) -> Outcome:
    seen, came = one.prices[:known], one.prices[known : known + HORIZON]
    found = forecast(seen, HORIZON)
    mean, end, last = float(came.mean()), float(came[-1]), float(seen[-1])
    now = np.array([known - 1])
    # Without the backtest that a call by name brings along, which would take most of the time here.
    others = {name: _mean(seen, MENU[name](seen, now, HORIZON, 0)) for name in METHODS} if with_others else {}
    intervals = _intervals(found, mean, end)
    walks = [(*bounds, value) for bounds, value in zip(_walk(seen), (mean, mean, end, end), strict=True)]
    slack = 1e-9 * mean
    held, walk_held = (
        tuple(low - slack <= value <= high + slack for low, high, value in of) for of in (intervals, walks)
    )
    scores, walk_scores = (
        tuple(score(low, high, value, LEVELS[at % 2]) for at, (low, high, value) in enumerate(of))
        for of in (intervals, walks)
    )
    return Outcome(
        series=f"{one.classes[0]} {one.name}",
        day=one.first_day.toordinal() + known - 1,
        auto=abs(found.mean / mean - 1),
        naive=abs(last / mean - 1),
        end_auto=abs(found.values[-1] / end - 1),
        end_naive=abs(last / end - 1),
        held=held,
        scores=scores,
        walk_held=walk_held,
        walk_scores=walk_scores,
        fell_back=found.fell_back,
        still=bool(np.ptp(came) == 0 and came[0] == last),
        others={name: (abs(said / mean - 1), abs(last / mean - 1)) for name, said in others.items()},
    )


def distances_table(series: Sequence[DailySeries]) -> list[str]:
    """Coverage at other distances, of the mean and of the last day, on every fourth series of the spot markets."""
    lines = [
        "| market class | days ahead | forecasts | floor | 80 %, 95 % hold | last day: 80 %, 95 % |",
        "|" + "---|" * 6,
    ]
    for market in ("AWS spot", "GCP spot"):
        some = [one for one in series if one.classes[0].startswith(market)][::4]
        for days in OTHER_DISTANCES:
            held: list[list[bool]] = []
            for one in some:
                for known in range(FIRST_KNOWN, one.prices.size - days + 1, AWS_EVERY):
                    held.append(_held(one.prices[:known], one.prices[known : known + days]))
            shares = [f"{share:.1%}" for share in np.mean(held, axis=0)]
            cells = [market, f"{days}", f"{len(held):,}", shares[4], ", ".join(shares[:2]), ", ".join(shares[2:4])]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _held(seen: NDArray[np.float64], came: NDArray[np.float64]) -> list[bool]:
    """Whether the mean's intervals held, the last day's, and whether the price stood still."""
    found = forecast(seen, came.size)
    mean, end, slack = float(came.mean()), float(came[-1]), 1e-9 * float(came.mean())
    return [
        *(low - slack <= value <= high + slack for low, high, value in _intervals(found, mean, end)),
        bool((came == seen[-1]).all()),
    ]


def _intervals(found: Forecast, mean: float, end: float) -> list[tuple[float, float, float]]:
    """Low, high and what came: the mean at 80 and 95 %, the last day at 80 and 95 %."""
    return [
        (*found.mean_interval80, mean),
        (*found.mean_interval95, mean),
        (found.low80[-1], found.high80[-1], end),
        (found.low95[-1], found.high95[-1], end),
    ]


def _walk(seen: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Intervals of a random walk with normal steps: of the mean over the horizon and of its last day, 80 and 95 %."""
    spread = float(np.std(np.diff(np.log(seen))))
    mean = np.sqrt((HORIZON + 1) * (2 * HORIZON + 1) / (6 * HORIZON))
    halves = [z * spread * factor for factor in (mean, np.sqrt(HORIZON)) for z in (1.2816, 1.9600)]
    return [(float(seen[-1] * np.exp(-half)), float(seen[-1] * np.exp(half))) for half in halves]


def _mean(seen: NDArray[np.float64], paths: NDArray[np.float64]) -> float:
    return float(positive_paths(seen, paths)[0].mean())


def hourly(points: int = 720) -> NDArray[np.float64]:
    """A made-up hourly price with a day in it, for the speed."""
    dice = np.random.default_rng(0)
    noise = np.zeros(points)
    for at in range(1, points):
        noise[at] = 0.9 * noise[at - 1] + 0.1 * dice.normal()
    return np.asarray(10 + np.sin(2 * np.pi * np.arange(points) / 24) + noise, dtype=np.float64)


def _milliseconds(work: Callable[[], Any]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def speed() -> list[str]:
    """Our calls on 720 points beside the peers that are installed."""
    prices = hourly()
    ours = {
        "ours, auto": _milliseconds(lambda: forecast(prices, 30)),
        "ours, auto with a season of 24": _milliseconds(lambda: forecast(prices, 30, season=24)),
        "ours, ets by name, season 24, with its backtest": _milliseconds(lambda: forecast(prices, 30, "ets", 24)),
        "ours, arima by name, order searched, with its backtest": _milliseconds(lambda: forecast(prices, 30, "arima")),
        "ours, isolation forest": _milliseconds(lambda: isolated(prices)),
    }
    auto = ours["ours, auto"]
    lines = [f"{name}: {taken:.1f} ms" for name, taken in ours.items()]
    for name, taken in _peers(prices):
        against = ours["ours, isolation forest"] if "forest" in name else auto
        lines.append(f"{name}: {taken:.1f} ms, {taken / against:.1f} × ours" + ("" if "forest" in name else " (auto)"))
    return lines


def _peers(prices: NDArray[np.float64]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    try:
        models = import_module("statsforecast.models")
        found.append(
            ("statsforecast AutoETS", _milliseconds(lambda: models.AutoETS(season_length=1).forecast(prices, 30)))
        )
        found.append(("statsforecast AutoARIMA", _milliseconds(lambda: models.AutoARIMA().forecast(prices, 30))))
    except ImportError:
        print("statsforecast is not installed: no comparison with it")
    try:
        arima = import_module("statsmodels.tsa.arima.model")
        winters = import_module("statsmodels.tsa.holtwinters")
        found.append(("statsmodels ARIMA(1,1,1)", _milliseconds(lambda: arima.ARIMA(prices, order=(1, 1, 1)).fit())))
        found.append(
            (
                "statsmodels Holt-Winters, season 24",
                _milliseconds(
                    lambda: winters.ExponentialSmoothing(
                        prices, seasonal="add", seasonal_periods=24, initialization_method="heuristic"
                    ).fit()
                ),
            )
        )
    except ImportError:
        print("statsmodels is not installed: no comparison with it")
    try:
        ensemble = import_module("sklearn.ensemble")
        rows = prices[:, None]
        found.append(
            (
                "scikit-learn isolation forest",
                _milliseconds(lambda: ensemble.IsolationForest(random_state=0).fit(rows).score_samples(rows)),
            )
        )
    except ImportError:
        print("scikit-learn is not installed: no comparison with it")
    return found


def page(segments: dict[str, list[Outcome]], series: Sequence[DailySeries]) -> str:
    """The text of docs/forecast.md."""
    cuts = {
        name: (
            min(one.first_day for one in series if one.classes[0].startswith(name)),
            max(_last_day(one) for one in series if one.classes[0].startswith(name)),
        )
        for name in ("AWS", "GCP")
    }
    classes, parts = split(segments)
    whole = segments["AWS spot"]
    within = {name: f"{np.mean([getattr(one, name) <= 0.1 for one in whole]):.0%}" for name in ("auto", "naive")}
    return TEXT.format(
        aws_from=cuts["AWS"][0],
        aws_to=cuts["AWS"][1],
        gcp_from=cuts["GCP"][0],
        gcp_to=cuts["GCP"][1],
        aws_series=sum(one.classes[0].startswith("AWS") for one in series),
        of_each=GCP_OF_EACH,
        aws_every=AWS_EVERY,
        gcp_every=GCP_EVERY,
        ratio=f"{ratio([one.auto for one in whole], [one.naive for one in whole]):.3f}",
        within=within["auto"],
        within_naive=within["naive"],
        errors="\n".join(errors_table(classes)),
        coverages="\n".join(coverage_table(classes)),
        part_errors="\n".join(errors_table(parts)),
        part_coverages="\n".join(coverage_table(parts)),
        distances="\n".join(distances_table(series)),
        others="\n".join(others_table(classes, METHODS)),
    )


def split(segments: Mapping[str, list[Outcome]]) -> tuple[dict[str, list[Outcome]], dict[str, list[Outcome]]]:
    """The market classes, and their parts: families, parts of the world, and what the constants saw or not."""
    classes = {name: found for name, found in sorted(segments.items()) if "," not in name}
    return classes, {name: found for name, found in sorted(segments.items()) if "," in name}


def _last_day(one: DailySeries) -> date:
    return one.first_day + timedelta(days=int(one.prices.size) - 1)


TEXT = """# Forecasts, measured

What `auto` says of the mean price of the next 30 days, and of the price on day 30, beside the naive forecast (the last
price again), on published price histories. Written by `python -m tests.bench.forecast --write`.

- AWS spot: {aws_series} series (a machine in a zone), days {aws_from} to {aws_to}, a forecast every {aws_every} days.
- GCP: {of_each} series of each kind, drawn with a fixed seed, days {gcp_from} to {gcp_to}, a forecast every {gcp_every}
  days.
- Every forecast knows at least 30 days and nothing later than its own day. Errors are absolute, relative to what came,
  and averaged over forecasts. The histories are snapshots carried forward to the next one.
- "±" is a standard error by drawing whole clusters with replacement: "± series" draws series, "± days" draws blocks of
  30 days of the calendar. Prices of one provider move together, so the second is the larger one and still too small
  where there are few blocks; in the errors table it is the larger of both.

## Errors, by market class

{errors}

On AWS spot the ratio is {ratio}: the gain over repeating the last price is small. Within 10 % of what came were
{within} of the forecasts, and {within_naive} of the naive ones: on this market that bound says little about a method.
List prices stand still most of the time: the naive forecast is then exact and `auto` stays with it. A step in a list
price is foreseen by no method.

## Intervals, by market class

{coverages}

"within 3?" is yes where an interval holds within 3 points of what it says. `floor`: it holds more, and must. `noise`:
it is further off, but by less than 1.96 of the larger standard errors beyond the 3 points. `one event`: every forecast
was made on the same days. `no`: it is off.

The floor is the share of forecasts after which the price stood still for 30 days. An interval that holds the last price
holds each of these, however narrow it is; so an interval around a forecast that is the last price cannot hold less than
the floor, and where that is above the nominal share, coverage is too high by at least the difference. No width cures
it: at 80 % the interval of a price that stood for long is a point, the last price.

Beside ours is what is usual with the naive forecast: the interval of a random walk with normal steps, as wide as the
past steps say. The last column is our interval score (Gneiting and Raftery 2007: the mean width, and 2/(1 − level) of
the distance for each miss, in logarithms) over that of the random walk: below 1 is better, narrow and right at once.
Above 1 stands GCP on demand: hardly any of those prices moved, so an interval that is a point at once, after
whatever short history, was never fined for it.

## What was chosen on what

The constants of the intervals were chosen on every second series of three AWS families ("constants chosen on"); "held
out" is every other AWS series. Zones of one machine are alike, so this alone is a mild test; GCP spot is the harder
one, a market of another kind. No constant was fitted to a family, a region or a class. The results of held-out series
were seen meanwhile; that a price stands the longer the longer it stood was seen on AWS and on GCP series other than
those above. Little hangs on them: shortly before the last small change to them, each of the ten was halved and doubled
in turn, and what every second forecast of AWS spot held moved by at most 1.7 points at 80 % and 1.1 at 95 %, on
chosen-on and held-out series alike. The settings of the damped trend and the bars a method must pass were chosen after
looking at all of AWS and a sample of GCP: the ratios are not those of data never seen. Bars from 0.90 to 1.00 and
damped trends alone gave 0.95 to 0.98 on AWS spot.

## By family, part of the world, and half

{part_errors}

{part_coverages}

Coverage over time is not even. In September 2023 AWS spot prices that had stood for months began to move all over the
world: forecasts of that autumn held too little, whatever the method, and those before and after hold more. An interval
from past errors cannot know a change before it has begun; it can only be wide again soon after.

## Intervals at other distances

The constants were chosen at 30 days. Every fourth series of the spot markets, a forecast every {aws_every} days:

{distances}

## Other methods, error against naive

Below 1 is better than naive; parameters fitted anew each time, on every ninth of the same moments. A method asked for
by name is used whatever its backtest says; the answer tells the ratio.

{others}
"""


def main(arguments: Sequence[str]) -> None:
    """Print the tables and the speed; write the page when asked."""
    place = folder()
    if not (place / "aws_spot_daily.csv.gz").is_file():
        print(f"NOT MEASURED: the price histories are not in {place.name} (GPUBROKER_TEST_DATA)")
    else:
        aws, google = aws_spot(place), gcp(place, GCP_OF_EACH)
        segments = judged(aws, AWS_EVERY) | judged(google, GCP_EVERY)
        for part in split(segments):
            print("\n".join([*errors_table(part), "", *coverage_table(part), "", *others_table(part, METHODS), ""]))
        if "--write" in arguments:
            PAGE.write_text(page(segments, [*aws, *google]), encoding="utf-8")
            print(f"written: docs/{PAGE.name}")
    print("\n".join(speed()))


if __name__ == "__main__":
    main(sys.argv[1:])
