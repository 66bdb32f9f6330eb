"""The Pareto front against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore import pareto
from mathcore.pareto import undominated
from mathcore.topsis import topsis
from tests.mathcore.decisions import Drawn, decisions, dominated_pairs, untimed


@untimed
@given(decisions())
def test_the_undominated_are_those_no_other_beats(decision: Drawn) -> None:
    columns, _, benefit = decision
    better = np.array(columns) * np.where(benefit, 1.0, -1.0)[:, None]
    beaten = {dominated for _, dominated in dominated_pairs(better)}
    assert np.flatnonzero(~undominated(columns, benefit)).tolist() == sorted(beaten)


@pytest.mark.parametrize(("criteria", "values"), [(1, 50), (2, 50), (3, 8), (4, 6), (6, 1000)])
def test_many_alternatives_have_the_front_of_the_definition(criteria: int, values: int) -> None:
    better = np.random.default_rng(criteria).integers(0, values, (criteria, 700)).astype(float)
    beaten = {dominated for _, dominated in dominated_pairs(better)}
    assert np.flatnonzero(~undominated(better, [True] * criteria)).tolist() == sorted(beaten)


@untimed
@given(decisions())
def test_the_first_by_weights_on_everything_is_undominated(decision: Drawn) -> None:
    columns, _, benefit = decision
    assert undominated(columns, benefit)[topsis(columns, [1.0] * len(columns), benefit).order[0]]


def test_equal_alternatives_do_not_dominate_each_other() -> None:
    assert undominated([[1, 1, 0], [2, 2, 2]], [True, False]).tolist() == [True, True, False]
    assert undominated([[0.0, -0.0], [1.0, 1.0], [1.0, 1.0]], [False, True, True]).tolist() == [True, True]


def test_a_front_too_large_to_find_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pareto, "MOST_COMPARISONS", 1_000)
    along = np.arange(2_000.0)
    with pytest.raises(ValueError, match=r"2000 alternatives on 3 criteria are too many.*rank first"):
        undominated([along, -along, along * 0], [True, True, True])


@pytest.mark.parametrize("columns", [[[1, math.nan]], [[1, math.inf]], [], [[]]])
def test_values_that_are_no_numbers_dominate_nothing(columns: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"finite|at least one"):
        undominated(columns, [True])


@untimed
@given(st.booleans())
def test_directions_must_match(direction: bool) -> None:
    with pytest.raises(ValueError, match="match"):
        undominated([[1, 2]], [direction, True])
