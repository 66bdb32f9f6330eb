"""Prices noted at any moments, on even steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.grid import LONGEST, regular_grid


def test_a_gap_holds_the_price_that_stood() -> None:
    found = regular_grid([0, 1, 4], [2.0, 3.0, 5.0], 1.0)
    assert found.values.tolist() == [2, 3, 3, 3, 5]
    assert (found.filled, found.superseded, found.reordered) == (2, 0, False)
    assert regular_grid([0, 1], [2.0, 3.0], 1.0, until=3.5).values.tolist() == [2, 3, 3, 3]


def test_of_two_prices_of_one_moment_the_later_given_stands() -> None:
    found = regular_grid([0, 1, 1, 2], [2.0, 3.0, 4.0, 5.0], 1.0)
    assert found.values.tolist() == [2, 4, 5]
    assert found.superseded == 1


def test_order_does_not_matter_and_is_told() -> None:
    found = regular_grid([2, 0, 1], [5.0, 2.0, 3.0], 1.0)
    assert found.values.tolist() == [2, 3, 5]
    assert found.reordered


def test_nothing_of_the_future_reaches_a_point() -> None:
    found = regular_grid([0.0, 0.9, 2.1], [1.0, 2.0, 9.0], 1.0)
    assert found.values.tolist() == [1, 2, 2]


def test_a_step_with_rounding_still_meets_its_observations() -> None:
    times = [0.1 * at for at in range(1000)]
    assert regular_grid(times, np.arange(1.0, 1001.0), 0.1).values.tolist() == list(range(1, 1001))


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 100)), min_size=1, max_size=40),
    st.floats(0.5, 20),
)
def test_each_point_is_the_last_observation_before_it(points: list[tuple[float, float]], step: float) -> None:
    times, prices = [one[0] for one in points], [one[1] for one in points]
    found = regular_grid(times, prices, step)
    assert np.allclose(np.diff(found.times), step)
    for at, value in zip(found.times, found.values, strict=True):
        latest = max(time for time in times if time <= at + 1e-9 * step)
        assert value in [price for time, price in points if time == latest]


@pytest.mark.parametrize(
    ("times", "prices", "step", "until", "said"),
    [
        ([0], [1.0, 2.0], 1.0, None, "times"),
        ([0, float("nan")], [1.0, 2.0], 1.0, None, "times"),
        ([0, 1], [1.0, -2.0], 1.0, None, "prices"),
        ([0, 1], [1.0, 2.0], 0.0, None, "step"),
        ([0, 1], [1.0, 2.0], float("nan"), None, "step"),
        ([0, 1], [1.0, 2.0], 1.0, -5.0, "until"),
        ([0, 1], [1.0, 2.0], 1e-9, None, f"at most {LONGEST}"),
    ],
)
def test_what_makes_no_grid_is_refused(
    times: list[float], prices: list[float], step: float, until: float | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        regular_grid(times, prices, step, until)
