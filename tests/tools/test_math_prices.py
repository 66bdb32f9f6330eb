"""Prices over HTTP: analysis, forecasts by every method, anomalies; gaps, doubles and nonsense refused or told."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.math_door import Door

FREE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
WAVE = [2 + 0.2 * math.sin(at / 4) for at in range(120)]
RISING = [2 * 1.01**at for at in range(90)]
START = datetime(2026, 1, 1, tzinfo=UTC)
ANALYSE, FORECAST, DETECT = "/math/analyze-prices", "/math/forecast-price", "/math/detect-anomaly"


@pytest.mark.requirement("FR-MATH-009")
def test_an_analysis_has_trend_statistics_anomalies_and_volatility(door: Door) -> None:
    found = door.asked(ANALYSE, prices=RISING)
    assert found["trend"]["direction"] == "rising"
    assert found["trend"]["change_per_step_percent"] == pytest.approx(1)
    assert (found["statistics"]["lowest"], found["statistics"]["highest"]) == (RISING[0], RISING[-1])
    assert found["volatility"]["per_step_percent"] == pytest.approx(0, abs=1e-6)
    assert found["volatility"]["largest_rise_percent"] == pytest.approx(1)
    assert found["anomalies"] == []
    spiked = [*WAVE[:60], 9.0, *WAVE[61:]]
    assert [one["position"] for one in door.asked(ANALYSE, prices=spiked)["anomalies"]] == [60]
    stepped = door.asked(ANALYSE, prices=[4.0] * 30 + [2.5] * 30)["level_shifts"]
    assert [(one["position"], one["change_percent"]) for one in stepped] == [(30, pytest.approx(-37.5))]


@pytest.mark.requirement("FR-MATH-009")
@given(prices=st.lists(st.floats(0.01, 100), min_size=1, max_size=40))
@FREE
def test_whatever_the_prices_the_figures_are_finite_and_in_order(door: Door, prices: list[float]) -> None:
    found = door.asked(ANALYSE, prices=prices)
    told = found["statistics"]
    assert told["observations"] == len(prices)
    assert told["lowest"] <= told["median"] <= told["highest"]
    figures = [value for part in ("statistics", "volatility") for value in found[part].values()]
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in figures)


def test_gaps_and_doubles_in_time_are_mended_and_told(door: Door) -> None:
    moments = [(START + timedelta(hours=at)).isoformat() for at in (0, 5, 5, 2)]
    found = door.asked(ANALYSE, prices=[1, 2, 3, 4], times=moments)
    assert found["statistics"]["observations"] == 6
    assert found["statistics"]["highest"] == 4
    assert len(found["warnings"]) == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prices": []}, "at least 1"),
        ({"prices": [1, 0]}, "`prices.1` must be above 0"),
        ({"prices": [1, -2]}, "above 0"),
        ({"prices": [1, "x"]}, "must be a number"),
        ({"prices": [1.0] * 10_001}, "at most 10000"),
        ({"times": [START.isoformat()]}, "2 prices and 1 times"),
        ({"times": ["2026-01-01T00:00:00", "noon"]}, "times.1"),
        ({"times": ["2001-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]}, "more than 10000"),
        ({"times": ["2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00"]}, "`times.1` must lie within the years"),
        ({"times": ["9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00"]}, "`times.0` must lie within the years"),
        ({"interval_hours": 0}, "above 0"),
        ({"interval_hours": 5e-324}, "at least 0.001"),
    ],
)
def test_a_series_that_is_none_is_refused_by_value(door: Door, wrong: dict[str, Any], said: str) -> None:
    for path in (ANALYSE, FORECAST):
        assert said in door.refused(path, **({"prices": [1, 2]} | wrong))["message"]


@pytest.mark.requirement("FR-MATH-010")
@pytest.mark.parametrize("method", ["auto", "arima", "exponential_smoothing", "linear", "theta", "holt", "naive"])
def test_every_method_forecasts_with_nested_intervals_beside_the_naive(door: Door, method: str) -> None:
    found = door.asked(FORECAST, prices=WAVE, horizon_hours=6, method=method)
    assert [one["hours_ahead"] for one in found["forecast"]] == [1, 2, 3, 4, 5, 6]
    for one in found["forecast"]:
        assert 0 < one["low_95"] <= one["low_80"] <= one["price"] <= one["high_80"] <= one["high_95"]
    last = found["forecast"][-1]
    assert found["predicted_price"] == last["price"]
    assert found["confidence_interval"] == [last["low_95"], last["high_95"]]
    assert found["naive"] == WAVE[-1]
    assert found["reason"]
    expected = {"auto": found["method"], "exponential_smoothing": "ets"}.get(method, method)
    assert found["method"] == expected
    assert method in ("auto", "naive") or found["tried"][0]["method"] == expected


@pytest.mark.requirement("FR-MATH-010")
def test_the_choice_falls_back_to_the_last_price_and_says_so(door: Door) -> None:
    short = door.asked(FORECAST, prices=[2, 3], horizon_hours=3)
    assert (short["method"], short["fell_back"], short["predicted_price"]) == ("naive", True, 3)
    trending = door.asked(FORECAST, prices=RISING, horizon_hours=3)
    assert (trending["fell_back"], trending["predicted_price"] > RISING[-1]) == (False, True)
    assert trending["error_against_naive"] < 1


def test_the_older_name_of_the_route_answers_the_same(door: Door) -> None:
    asked: dict[str, Any] = {"prices": RISING, "horizon_hours": 48, "interval_hours": 24}
    found = door.asked("/math/predict-price", **asked)
    assert found == door.asked(FORECAST, **asked)
    assert [one["hours_ahead"] for one in found["forecast"]] == [24, 48]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"horizon_hours": 1_001}, "at most 1000"),
        ({"horizon_hours": 0}, "above 0"),
        ({"method": "prophet"}, "must be one of"),
        ({"season_hours": 1}, "Season must be 0"),
    ],
)
def test_a_horizon_or_method_that_is_none_is_refused(door: Door, wrong: dict[str, Any], said: str) -> None:
    assert said in door.refused(FORECAST, **({"prices": WAVE} | wrong))["message"]


@pytest.mark.requirement("FR-MATH-011")
def test_every_method_says_whether_a_price_stands_out(door: Door) -> None:
    found = door.asked(DETECT, current_price=9, historical_prices=WAVE)
    assert found["is_anomaly"]
    assert {"z_score", "iqr", "isolation_forest"} <= found["method_results"].keys()
    assert all(one["is_anomaly"] for one in found["method_results"].values())
    assert found["z_score"] == found["method_results"]["z_score"]["score"] > 3
    usual = door.asked(DETECT, current_price=2 + 0.2 * math.sin(30), historical_prices=WAVE)
    assert not usual["is_anomaly"]
    assert not any(one["is_anomaly"] for one in usual["method_results"].values())


@pytest.mark.requirement("FR-MATH-011")
def test_the_threshold_decides_about_the_z_score(door: Door) -> None:
    history = [2, 4, 4, 4, 5, 5, 7, 9]
    for threshold, beyond in ((1.9, True), (2.1, False)):
        found = door.asked(DETECT, current_price=9, historical_prices=history, threshold_z=threshold)
        assert found["z_score"] == pytest.approx(2)
        assert found["method_results"]["z_score"]["is_anomaly"] is beyond


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"historical_prices": [1]}, "at least 5"),
        ({"current_price": 0}, "above 0"),
        ({"threshold_z": 0}, "above 0"),
    ],
)
def test_too_short_a_history_or_no_price_is_refused(door: Door, wrong: dict[str, Any], said: str) -> None:
    asked = {"current_price": 2, "historical_prices": WAVE} | wrong
    assert said in door.refused(DETECT, **asked)["message"]
