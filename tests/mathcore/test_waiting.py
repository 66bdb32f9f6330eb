"""Buy now or wait, on prices whose next move is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.waiting import buy_or_wait
from tests.mathcore.price_worlds import DAY, hourly_world, walk


def test_a_price_that_falls_steadily_is_waited_for_and_a_rising_one_is_bought() -> None:
    falling = [10 * 0.99**day for day in range(120)]
    found = buy_or_wait(falling, [1, 7, 14])
    assert (found.advice, found.best.steps) == ("wait", 14)
    assert found.best.expected_saving == pytest.approx(1 - 0.99**14, abs=0.05)
    assert found.best.probability_dearer < 0.05
    assert "saves" in found.reason
    rising = buy_or_wait(falling[::-1], [1, 7, 14])
    assert rising.advice == "buy_now"
    assert rising.best.steps == 1
    assert rising.waits[-1].probability_dearer > 0.95
    assert rising.waits[-1].expected_saving < 0


def test_a_price_that_stands_still_makes_no_difference() -> None:
    found = buy_or_wait([2.0] * 90, [1, 7])
    assert found.advice == "no_difference"
    assert found.best.probability_dearer == found.best.probability_cheaper == 0


def test_on_a_wandering_price_waiting_is_as_likely_to_cost_more_as_to_save() -> None:
    dearer = [buy_or_wait(walk(seed), [7]).best.probability_dearer for seed in range(20)]
    cheaper = [buy_or_wait(walk(seed), [7]).best.probability_cheaper for seed in range(20)]
    assert 0.3 < np.mean(dearer) < 0.65
    assert 0.3 < np.mean(cheaper) < 0.65


def test_probabilities_come_true_as_often_as_they_say() -> None:
    said, came = [], []
    for seed in range(30):
        prices = walk(seed, 430)
        found = buy_or_wait(prices[:400], [7]).best
        said.append(found.probability_dearer)
        came.append(prices[406] > prices[399] * 1.005)
    assert np.mean(said) == pytest.approx(np.mean(came), abs=0.2)


def test_the_cheap_hours_of_a_day_are_waited_for() -> None:
    # The season peaks six hours into the day and is lowest twelve hours later.
    prices = hourly_world(4, steps=0)[: 20 * DAY + 7]
    found = buy_or_wait(prices, [1, 12, 24], duration_steps=2, season=DAY)
    assert found.advice == "wait"
    assert found.best.steps == 12
    assert found.best.expected_saving > 0.1


def test_the_cost_of_waiting_is_taken_off() -> None:
    falling = [10 * 0.99**day for day in range(120)]
    free, dear = buy_or_wait(falling, [7]), buy_or_wait(falling, [7], cost_of_waiting_per_step=1.0)
    assert dear.best.saving_per_hour == pytest.approx(free.best.saving_per_hour - 7.0)
    assert dear.advice == "buy_now"


def test_too_little_history_is_told_by_no_surprises_and_even_odds() -> None:
    found = buy_or_wait([2.0, 2.1, 2.0], [3])
    assert found.best.surprises == 0
    assert found.advice == "buy_now"
    assert found.best.probability_dearer == pytest.approx(found.best.probability_cheaper, abs=0.1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.01, 1e3), min_size=1, max_size=80),
    st.lists(st.integers(1, 20), min_size=1, max_size=3),
    st.integers(1, 10),
)
def test_every_answer_is_made_of_numbers_that_agree(prices: list[float], waits: list[int], duration: int) -> None:
    found = buy_or_wait(prices, waits, duration)
    for one in found.waits:
        assert math.isfinite(one.expected_saving)
        assert 0 <= one.probability_dearer + one.probability_cheaper <= 1 + 1e-9
        assert one.saving_low <= one.saving_high
        assert one.saving_per_hour == pytest.approx(one.expected_saving * prices[-1], rel=1e-6, abs=1e-9)
    assert found.best.expected_saving == max(one.expected_saving for one in found.waits)


@pytest.mark.parametrize(
    ("waits", "duration", "cost", "said"),
    [
        ([], 1, 0.0, "waits"),
        ([0], 1, 0.0, "waits"),
        ([1], 0, 0.0, "duration"),
        ([1], 1, -1.0, "cost"),
        ([999], 9, 0.0, "1000"),
    ],
)
def test_what_cannot_be_answered_is_refused(waits: list[int], duration: int, cost: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        buy_or_wait([1.0, 2.0], waits, duration, cost_of_waiting_per_step=cost)
