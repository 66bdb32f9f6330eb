"""How far a weight may move before another alternative wins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.stability import undominated, weight_ranges
from mathcore.topsis import topsis

_column = st.lists(st.floats(0.1, 100), min_size=4, max_size=4)
_untimed = settings(deadline=None, max_examples=25)


def _with(shares: list[float], criterion: int, weight: float) -> list[float]:
    rest = sum(share for at, share in enumerate(shares) if at != criterion)
    return [weight if at == criterion else share / rest * (1 - weight) for at, share in enumerate(shares)]


@_untimed
@given(st.lists(_column, min_size=3, max_size=3), st.lists(st.floats(0.05, 1), min_size=3, max_size=3))
def test_the_winner_stays_at_both_ends_and_between(columns: list[list[float]], weights: list[float]) -> None:
    benefit = [False, True, True]
    shares = [weight / sum(weights) for weight in weights]
    winner = topsis(columns, shares, benefit).order[0]
    for found in weight_ranges(columns, weights, benefit):
        assert 0 <= found.low <= found.weight <= found.high <= 1
        for weight in (found.low, (found.low + found.weight) / 2, found.high):
            if weight in (found.low, found.high):
                assert topsis(columns, _with(shares, found.criterion, weight), benefit).order[0] == winner


def test_beyond_the_range_another_wins() -> None:
    columns, benefit = [[1.0, 2.0], [1.0, 3.0]], [False, True]
    cheap, _fast = weight_ranges(columns, [0.8, 0.2], benefit)
    assert topsis(columns, [0.8, 0.2], benefit).order[0] == 0
    assert 0 < cheap.low < 0.8
    assert cheap.high == 1.0
    below = cheap.low - 0.01
    assert topsis(columns, [below, 1 - below], benefit).order[0] == 1


def test_a_criterion_that_stands_alone_decides_at_any_weight() -> None:
    (only,) = weight_ranges([[1, 2]], [3], [True])
    assert (only.low, only.weight, only.high) == (0.0, 1.0, 1.0)


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        weight_ranges([[1, 2], [2, 1]], [0, 0], [True, True])


@given(st.lists(_column, min_size=2, max_size=2))
def test_the_undominated_are_those_no_other_beats(columns: list[list[float]]) -> None:
    kept = undominated(columns, [True, False])
    assert kept.any()
    matrix = np.array(columns)
    for at in range(4):
        beaten = any(
            matrix[0, other] >= matrix[0, at]
            and matrix[1, other] <= matrix[1, at]
            and (matrix[0, other] > matrix[0, at] or matrix[1, other] < matrix[1, at])
            for other in range(4)
        )
        assert kept[at] == (not beaten)


@pytest.mark.parametrize("columns", [[[1, math.nan]], [[1, math.inf]], [], [[]]])
def test_values_that_are_no_numbers_dominate_nothing(columns: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"finite|at least one"):
        undominated(columns, [True])
    with pytest.raises(ValueError, match="match"):
        undominated([[1, 2]], [True, True])
