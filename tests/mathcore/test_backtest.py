"""Replays know nothing later than their origin."""

from __future__ import annotations

import numpy as np
import pytest

from mathcore.backtest import CONTENDERS, MENU, SEASONAL_CONTENDERS, linear, naive, past_origins, replayed
from tests.mathcore.price_worlds import DAY, hourly_world, walk


@pytest.mark.parametrize("name", MENU)
def test_a_replay_from_a_past_moment_does_not_change_with_what_came_later(name: str) -> None:
    values = walk(1, 160)
    other = np.concatenate([values[:121], values[121:] * 3])
    origins = np.array([40, 80, 120])
    before = MENU[name](values, origins, 5, 0)
    assert MENU[name](other, origins, 5, 0) == pytest.approx(before)


@pytest.mark.parametrize("at", range(len(CONTENDERS) + len(SEASONAL_CONTENDERS)))
def test_no_contender_looks_ahead(at: int) -> None:
    contender = (*CONTENDERS, *SEASONAL_CONTENDERS)[at]
    values = hourly_world(1, 240)
    other = np.concatenate([values[:151], values[151:] * 3])
    origins = np.array([50, 100, 150])
    assert contender.method(other, origins, 5, DAY) == pytest.approx(contender.method(values, origins, 5, DAY))


def test_origins_are_few_spread_and_leave_something_to_come() -> None:
    assert past_origins(11).tolist() == []
    assert past_origins(13).tolist() == [10, 11]
    many = past_origins(5000)
    assert (many.size, many[0], many[-1]) == (120, 10, 4998)


def test_what_has_not_come_yet_is_not_counted() -> None:
    values = np.arange(1.0, 21.0)
    replay = replayed(values, naive, np.array([10, 17, 18]), 3)
    assert replay.actual[0].tolist() == [12, 13, 14]
    assert np.isnan(replay.actual[1]).tolist() == [False, False, True]
    assert replay.mean_errors(3).tolist() == [2.0]
    assert replay.mean_errors(1).tolist() == [1.0, 1.0, 1.0]


def test_a_line_is_continued_by_the_line_and_never_below_zero() -> None:
    falling = np.linspace(10, 1, 19)
    assert linear(falling, np.array([18]), 1)[0] == pytest.approx([0.5])
    assert (replayed(falling, linear, np.array([17]), 30).paths > 0).all()
