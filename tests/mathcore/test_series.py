"""Price series: statistics, anomalies and forecasts, and what they refuse."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.series import LARGEST, SMALLEST, anomalies, forecast, statistics

_prices = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=60)


def test_statistics_of_a_known_series() -> None:
    found = statistics([2.0, 4.0, 3.0, 6.0])
    assert (found.observations, found.lowest, found.highest) == (4, 2.0, 6.0)
    assert (found.mean, found.median, found.change) == (3.75, 3.5, 2.0)
    assert found.volatility == pytest.approx(np.std([1.0, -0.25, 1.0]))
    assert statistics([5.0]).volatility == 0.0


def test_a_price_that_stands_out_is_found_and_a_calm_series_has_none() -> None:
    assert anomalies([2.0, 2.1, 2.0, 2.05, 9.0, 2.0, 2.1]) == [4]
    assert anomalies([2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 8.0]) == [7]
    assert anomalies([2.0] * 10) == []
    assert anomalies([1.0, 9.0, 1.0, 9.0]) == []


def test_several_outliers_do_not_hide_one_another() -> None:
    assert anomalies([*([2.0, 2.1, 1.9, 2.05] * 5), 50.0, 60.0, 55.0]) == [20, 21, 22]


def test_a_trend_is_followed_only_where_it_beat_the_naive_forecast() -> None:
    rising = forecast([1 + 0.1 * day for day in range(60)], 7)
    assert rising.method == "damped trend"
    assert rising.backtest_ratio is not None
    assert rising.backtest_ratio < 1
    flat = forecast([2.0] * 60, 7)
    assert (flat.method, flat.values, flat.backtest_ratio) == ("naive", (2.0,) * 7, 1.0)


def test_a_short_series_says_the_last_price_again_with_some_doubt() -> None:
    found = forecast([2.0, 3.0], 3)
    assert (found.method, found.values, found.backtest_ratio) == ("naive", (3.0, 3.0, 3.0), None)
    assert found.low95[0] < 3.0 < found.high95[0]
    climbing = forecast([1.0, 2.0, 3.0, 4.0], 1)
    assert climbing.high95[0] > 4.9


@given(_prices, st.integers(1, 30))
def test_forecasts_are_finite_and_their_intervals_hold_one_another(prices: list[float], steps: int) -> None:
    found = forecast(prices, steps)
    for series in (found.values, found.low80, found.high80, found.low95, found.high95, found.naive):
        assert len(series) == steps
        assert all(math.isfinite(value) and value >= 0 for value in series)
    assert found.naive == (prices[-1],) * steps
    widths = []
    for at in range(steps):
        assert found.low95[at] <= found.low80[at] <= found.values[at] <= found.high80[at] <= found.high95[at]
        if found.values[at] > 0:
            widths.append(found.high95[at] - found.values[at])
    assert all(later >= earlier - 1e-9 * max(found.high95) for earlier, later in pairwise(widths))


@given(_prices)
def test_statistics_stay_within_the_series(prices: list[float]) -> None:
    found = statistics(prices)
    assert found.lowest <= found.median <= found.highest
    assert found.lowest * (1 - 1e-9) <= found.mean <= found.highest * (1 + 1e-9)
    assert found.volatility >= 0
    assert all(0 <= at < len(prices) for at in anomalies(prices))


@pytest.mark.parametrize("prices", [[], [0.0], [-1.0], [math.nan], [math.inf], [1.0, math.nan], [1e300], [1e-300]])
def test_what_is_no_price_is_refused(prices: list[float]) -> None:
    for ask in (statistics, anomalies, lambda values: forecast(values, 1)):
        with pytest.raises(ValueError, match="prices"):
            ask(prices)


def test_the_extremes_that_are_taken_stay_finite() -> None:
    assert math.isfinite(statistics([SMALLEST, LARGEST]).volatility)
    with pytest.raises(ValueError, match="steps"):
        forecast([1.0], 0)
