"""Statistics, trend and volatility of known series, and what is no price."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.anomaly import robust_z_scores
from mathcore.forecast import forecast
from mathcore.series import LARGEST, SMALLEST, statistics, trend, volatility

_prices = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=60)


@pytest.mark.requirement("FR-MATH-009")
def test_statistics_of_a_known_series() -> None:
    found = statistics([2.0, 4.0, 3.0, 6.0])
    assert (found.observations, found.lowest, found.highest) == (4, 2.0, 6.0)
    assert (found.mean, found.median, found.change) == (3.75, 3.5, 2.0)
    assert found.volatility == pytest.approx(np.std([1.0, -0.25, 1.0]))
    assert statistics([5.0]).volatility == 0.0


@pytest.mark.requirement("FR-MATH-009")
def test_a_steady_rise_has_its_rate_and_a_wander_has_no_direction() -> None:
    rising = trend([1.02**day for day in range(40)])
    assert rising.direction == "rising"
    assert rising.change_per_step == pytest.approx(0.02)
    assert rising.change == pytest.approx(1.02**39 - 1)
    assert rising.r_squared == pytest.approx(1.0)
    assert trend([3.0 - 0.02 * day for day in range(40)]).direction == "falling"
    assert trend([2.0] * 10).direction == "flat"
    assert trend([2.0, 9.0]).direction == "flat"
    noise = np.random.default_rng(0).normal(0, 0.01, 200)
    assert trend(np.exp(noise)).direction == "flat"


def test_errors_that_follow_one_another_are_not_taken_for_a_trend() -> None:
    directions = [
        trend(np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, 300)) * 0.2)).direction for seed in range(40)
    ]
    independent = sum(
        abs(np.polyfit(np.arange(300), walk, 1)[0]) > 0
        for walk in (np.cumsum(np.random.default_rng(seed).normal(0, 1, 300)) for seed in range(40))
    )
    assert independent == 40
    assert directions.count("flat") >= 20


@pytest.mark.requirement("FR-MATH-009")
def test_volatility_tells_moves_of_late_from_moves_of_old() -> None:
    found = volatility([1.0, 1.1, 1.1, 0.99], steps_per_period=4)
    returns = np.diff(np.log([1.0, 1.1, 1.1, 0.99]))
    assert found.per_step == pytest.approx(returns.std(ddof=1))
    assert found.over_period == pytest.approx(2 * found.per_step)
    assert found.share_of_steps_moved == pytest.approx(2 / 3)
    assert [found.largest_rise, found.largest_fall] == pytest.approx([0.1, -0.1])
    assert found.deepest_drawdown == pytest.approx(-0.1)
    calm_then_wild = [1.0] * 50 + [1.0, 1.5] * 10
    assert volatility(calm_then_wild).recent_per_step > volatility(calm_then_wild[::-1]).recent_per_step
    assert volatility([3.0]).per_step == 0.0
    with pytest.raises(ValueError, match="steps_per_period"):
        volatility([1.0, 2.0], 0)


@given(_prices)
def test_statistics_stay_within_the_series(prices: list[float]) -> None:
    found = statistics(prices)
    assert found.lowest <= found.median <= found.highest
    assert found.lowest * (1 - 1e-9) <= found.mean <= found.highest * (1 + 1e-9)
    assert found.volatility >= 0


@given(_prices, st.floats(0.1, 10))
def test_trend_and_volatility_do_not_depend_on_the_currency(prices: list[float], rate: float) -> None:
    converted = [price * rate for price in prices]
    assert trend(converted).change == pytest.approx(trend(prices).change, rel=1e-6, abs=1e-6)
    assert volatility(converted).per_step == pytest.approx(volatility(prices).per_step, rel=1e-6, abs=1e-6)
    assert all(math.isfinite(value) for value in (trend(prices).standard_error, volatility(prices).recent_per_step))


@pytest.mark.parametrize("prices", [[], [0.0], [-1.0], [math.nan], [math.inf], [1.0, math.nan], [1e300], [1e-300]])
def test_what_is_no_price_is_refused(prices: list[float]) -> None:
    for ask in (statistics, trend, volatility, robust_z_scores, lambda values: forecast(values, 1)):
        with pytest.raises(ValueError, match="prices"):
            ask(prices)


def test_the_wrong_price_is_named_and_ragged_prices_are_refused() -> None:
    with pytest.raises(ValueError, match="number 2 is -3"):
        statistics([1.0, -3.0])
    with pytest.raises(ValueError, match="list of numbers"):
        statistics([[1.0], [1.0, 2.0]])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="shape"):
        statistics(np.ones((2, 2)))


def test_the_extremes_that_are_taken_stay_finite() -> None:
    assert math.isfinite(statistics([SMALLEST, LARGEST]).volatility)
    assert math.isfinite(trend([SMALLEST, LARGEST, SMALLEST]).change)
    with pytest.raises(ValueError, match="steps"):
        forecast([1.0], 0)
