"""The theta method by its definition."""

from __future__ import annotations

import numpy as np
import pytest

from mathcore.smoothing import simple
from mathcore.theta import slopes, theta


def test_slopes_are_those_of_the_least_squares_line_of_each_beginning() -> None:
    values = np.random.default_rng(0).normal(5, 1, 40)
    found = slopes(values)
    assert found[0] == 0
    for known in (2, 3, 17, 40):
        assert found[known - 1] == pytest.approx(np.polyfit(np.arange(known), values[:known], 1)[0])


def test_theta_is_simple_smoothing_with_half_the_slope_as_its_drift() -> None:
    values = np.random.default_rng(1).normal(5, 1, 60) + 0.1 * np.arange(60)
    found = theta(values, 0.4)
    drift = 0.5 * np.polyfit(np.arange(60), values, 1)[0]
    lead = np.arange(5) + (1 - 0.6**60) / 0.4
    assert found.ahead(5)[0] == pytest.approx(simple(values, 0.4).ahead(1)[0, 0] + drift * lead)


def test_a_level_series_gets_no_drift() -> None:
    assert theta(np.full(20, 3.0)).ahead(4)[0] == pytest.approx([3.0] * 4)


def test_forecasts_from_past_origins_know_nothing_later() -> None:
    values = np.cumsum(np.random.default_rng(2).normal(0, 1, 50)) + 30
    origins = np.array([5, 25, 48])
    whole = theta(values, 0.7).ahead(6, origins)
    for row, origin in enumerate(origins):
        assert whole[row] == pytest.approx(theta(values[: origin + 1], 0.7).ahead(6)[0], rel=1e-9)
