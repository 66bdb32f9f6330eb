"""Forecasts on prices of known truth, and on any others."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.backtest import MENU
from mathcore.forecast import METHODS, Forecast, forecast
from tests.mathcore.price_worlds import DAY, hourly_world, momentum, walk

_prices = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=60)


def _is_sound(found: Forecast, steps: int) -> None:
    for series in (found.values, found.low80, found.high80, found.low95, found.high95, found.naive):
        assert len(series) == steps
        assert all(math.isfinite(value) and value > 0 for value in series)
    for at in range(steps):
        assert found.low95[at] <= found.low80[at] <= found.values[at] <= found.high80[at] <= found.high95[at]
    widths = [high / value for high, value in zip(found.high95, found.values, strict=True)]
    assert all(later >= earlier * (1 - 1e-9) for earlier, later in pairwise(widths))
    (low80, high80), (low95, high95) = found.mean_interval80, found.mean_interval95
    assert low95 <= low80 <= found.mean <= high80 <= high95


@given(_prices, st.integers(1, 30))
def test_forecasts_are_finite_and_their_intervals_hold_one_another(prices: list[float], steps: int) -> None:
    found = forecast(prices, steps)
    _is_sound(found, steps)
    assert found.naive == (prices[-1],) * steps


@pytest.mark.requirement("FR-MATH-010")
@settings(max_examples=15, deadline=None)
@given(prices=_prices, season=st.sampled_from([0, 7]))
@pytest.mark.parametrize("method", METHODS)
def test_every_method_answers_for_any_prices(method: str, prices: list[float], season: int) -> None:
    found = forecast(prices, 5, method, season)
    _is_sound(found, 5)
    assert method == "auto" or found.method == method
    assert found.backtest_ratio is None or math.isfinite(found.backtest_ratio)


@pytest.mark.requirement("FR-MATH-010")
def test_a_trend_is_followed_only_where_it_beat_the_naive_forecast() -> None:
    rising = forecast([1 + 0.1 * day for day in range(60)], 7)
    assert not rising.fell_back
    assert rising.backtest_ratio is not None
    assert rising.backtest_ratio < 0.5
    assert rising.values[-1] > 7
    assert "of the error of the last price" in rising.reason
    flat = forecast([2.0] * 60, 7)
    assert (flat.method, flat.values, flat.backtest_ratio, flat.fell_back) == ("naive", (2.0,) * 7, 1.0, True)
    assert "did not move" in flat.reason


def test_on_a_wandering_price_the_last_one_stands_and_the_answer_says_so() -> None:
    found = [forecast(walk(seed), 14) for seed in range(20)]
    fell_back = [one for one in found if one.fell_back]
    assert len(fell_back) >= 12
    assert all("the last price stands" in one.reason for one in fell_back)
    assert all(one.values == one.naive for one in fell_back)


def test_a_short_series_says_the_last_price_again_with_some_doubt() -> None:
    found = forecast([2.0, 3.0], 3)
    assert (found.method, found.values, found.backtest_ratio) == ("naive", (3.0, 3.0, 3.0), None)
    assert "too short" in found.reason
    assert found.low95[0] < 3.0 < found.high95[0]
    climbing = forecast([1.0, 2.0, 3.0, 4.0], 1)
    assert climbing.high95[0] > 4.9
    assert forecast([5.0], 2).values == (5.0, 5.0)


def _trials(worlds: list[np.ndarray], steps: int, season: int) -> tuple[float, float, list[bool], list[bool]]:
    """Mean absolute errors of the mean over the horizon, auto and naive, and whether the intervals of auto held it."""
    errors, naive, held80, held95 = [], [], [], []
    for prices in worlds:
        for known in range(prices.size - 10 * steps, prices.size - steps + 1, 2 * steps + 7):
            came = float(prices[known : known + steps].mean())
            found = forecast(prices[:known], steps, season=season)
            errors.append(abs(found.mean - came))
            naive.append(abs(prices[known - 1] - came))
            held80.append(found.mean_interval80[0] <= came <= found.mean_interval80[1])
            held95.append(found.mean_interval95[0] <= came <= found.mean_interval95[1])
    return float(np.mean(errors)), float(np.mean(naive)), held80, held95


@pytest.mark.requirement("FR-MATH-010")
def test_on_prices_of_known_truth_auto_is_near_the_best_of_the_menu() -> None:
    # The slowest to fit are left out; docs/forecast.md and the oracles have them.
    names = ("naive", "drift", "linear", "ses", "ets", "theta")
    errors: dict[str, list[float]] = {name: [] for name in ("auto", *names)}
    for seed in range(10):
        prices = hourly_world(seed)
        for known in (420, 680):
            came = float(prices[known : known + 30].mean())
            now = np.array([known - 1])
            errors["auto"].append(abs(forecast(prices[:known], 30, season=DAY).mean - came))
            for name in names:
                errors[name].append(abs(float(MENU[name](prices[:known], now, 30, DAY).mean()) - came))
    by_method = {name: float(np.mean(found)) for name, found in errors.items()}
    assert by_method["auto"] <= 0.5 * by_method["naive"]
    assert by_method["auto"] <= 1.05 * min(by_method.values())


def test_on_prices_of_known_truth_the_intervals_hold_what_they_say() -> None:
    auto, naive, held80, held95 = _trials([hourly_world(seed) for seed in range(20)], 30, DAY)
    assert auto <= 0.5 * naive
    assert 0.75 <= np.mean(held80) <= 0.97
    assert np.mean(held95) >= 0.92


def test_on_prices_with_momentum_auto_beats_naive_and_on_a_walk_it_loses_next_to_nothing() -> None:
    auto, naive, _, held95 = _trials([momentum(seed) for seed in range(10)], 14, 0)
    assert auto < 0.9 * naive
    assert np.mean(held95) >= 0.92
    auto, naive, held80, held95 = _trials([walk(seed) for seed in range(10)], 14, 0)
    assert auto <= 1.02 * naive
    assert 0.75 <= np.mean(held80) <= 0.95
    assert np.mean(held95) >= 0.92


def test_the_season_counts_when_it_was_seen_three_times() -> None:
    prices = hourly_world(1, with_season=True, steps=0)
    seasonal, blind = forecast(prices[:481], DAY, season=DAY), forecast(prices[:481], DAY)
    came = prices[481 : 481 + DAY]
    assert seasonal.method == "ets"
    assert np.abs(np.array(seasonal.values) - came).mean() < 0.5 * np.abs(np.array(blind.values) - came).mean()
    assert forecast(prices[:50], 5, season=DAY).values == forecast(prices[:50], 5).values


def test_forecasts_do_not_depend_on_the_currency() -> None:
    prices = momentum(3)
    ours, theirs = forecast(prices, 10), forecast(prices * 7.3, 10)
    assert theirs.method == ours.method
    assert np.array(theirs.values) == pytest.approx(7.3 * np.array(ours.values))
    assert np.array(theirs.low80) == pytest.approx(7.3 * np.array(ours.low80))


def test_a_method_asked_for_is_used_and_told_when_naive_did_better() -> None:
    found = forecast(walk(2), 14, "linear")
    assert found.method == "linear"
    assert found.backtest_ratio is not None
    assert found.backtest_ratio > 1
    assert "did better" in found.reason


@pytest.mark.parametrize(
    ("steps", "method", "season", "said"),
    [(0, "auto", 0, "steps"), (1001, "auto", 0, "1000"), (5, "prophet", 0, "arima"), (5, "auto", 1, "season")],
)
def test_what_cannot_be_forecast_is_refused(steps: int, method: str, season: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        forecast([1.0, 2.0], steps, method, season)
