"""Weights from data and from comparisons, by their definitions and on what they cannot tell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.weights import RANDOM_INDEX, ahp_weights, critic_weights, entropy_weights, scaled_weights
from tests.mathcore.decisions import Drawn, decisions, untimed

_shares = st.lists(st.floats(0.05, 1), min_size=1, max_size=8)


@untimed
@given(decisions(fewest=2))
def test_weights_drawn_from_data_sum_to_one_and_are_never_negative(decision: Drawn) -> None:
    columns, _, benefit = decision
    for weights in (entropy_weights(columns), critic_weights(columns, benefit)):
        assert (weights >= 0).all()
        assert math.fsum(weights) == pytest.approx(1)


@untimed
@given(decisions(positive=True, fewest=2), st.floats(0.01, 100))
def test_the_unit_of_a_criterion_does_not_change_its_weight(decision: Drawn, unit: float) -> None:
    columns, _, benefit = decision
    # Spread far above rounding, so that the weights are defined by the values and not by what is left of them.
    columns = [[float(round(value) % 97 + 1 + at) for at, value in enumerate(values)] for values in columns]
    moved = np.array(columns) * unit
    assert entropy_weights(moved) == pytest.approx(entropy_weights(columns), abs=1e-7)
    assert critic_weights(moved, benefit) == pytest.approx(critic_weights(columns, benefit), abs=1e-7)


def test_a_criterion_that_tells_nothing_apart_weighs_nothing() -> None:
    assert entropy_weights([[1, 2, 4], [5, 5, 5], [0, 0, 0]]).tolist() == [1, 0, 0]
    assert critic_weights([[1, 2, 4], [5, 5, 5]], [True, False]).tolist() == [1, 0]
    assert entropy_weights([[5, 5], [7, 7]]).tolist() == [0.5, 0.5]
    assert critic_weights([[5, 5], [7, 7]], [True, True]).tolist() == [0.5, 0.5]


def test_criteria_that_say_the_same_share_what_one_that_differs_has_alone() -> None:
    same, again, other = critic_weights([[1, 2, 3, 4], [10, 20, 30, 40], [2, 1, 4, 3]], [True, True, True])
    assert same == pytest.approx(again)
    assert other > same


@untimed
@given(_shares)
def test_consistent_comparisons_give_back_the_weights_they_were_made_of(given_shares: list[float]) -> None:
    weights = np.array(given_shares)
    found = ahp_weights(weights[:, None] / weights)
    assert found.weights == pytest.approx(weights / weights.sum(), rel=1e-6)
    assert found.consistency_ratio == pytest.approx(0, abs=1e-9)
    assert found.consistent


def test_comparisons_that_contradict_each_other_are_called_inconsistent() -> None:
    found = ahp_weights([[1.0, 9.0, 1 / 9], [1 / 9, 1.0, 9.0], [9.0, 1 / 9, 1.0]])
    assert not found.consistent
    assert found.weights == pytest.approx([1 / 3] * 3)
    assert found.consistency_ratio == pytest.approx(found.consistency_index / 0.58)


def test_the_random_indices_are_those_saaty_printed() -> None:
    assert RANDOM_INDEX[:10] == (0, 0, 0.58, 0.90, 1.12, 1.24, 1.32, 1.41, 1.45, 1.49)


def test_two_things_are_always_consistent_and_one_has_all_the_weight() -> None:
    assert ahp_weights([[1.0, 4.0], [0.25, 1.0]]).weights == pytest.approx([0.8, 0.2])
    assert ahp_weights([[1.0, 4.0], [0.25, 1.0]]).consistency_ratio == 0
    assert ahp_weights([[1]]).weights.tolist() == [1]


@pytest.mark.parametrize(
    ("comparisons", "said"),
    [
        ([[1, 2]], "square"),
        ([[1, 0], [1, 1]], r"\(0, 1\) is 0"),
        ([[1, -2], [-0.5, 1]], "positive"),
        ([[1, 3], [3, 1]], r"\(0, 1\) and \(1, 0\) must be reciprocal"),
        ([[1, math.nan], [1, 1]], "finite"),
        (np.ones((16, 16)), "table ends at 15"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused(comparisons: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ahp_weights(comparisons)


def test_one_alternative_and_negative_values_tell_no_weights() -> None:
    with pytest.raises(ValueError, match="at least two alternatives"):
        entropy_weights([[1], [2]])
    with pytest.raises(ValueError, match="at least two alternatives"):
        critic_weights([[1], [2]], [True, True])
    with pytest.raises(ValueError, match="criterion 1 has -1"):
        entropy_weights([[1, 2], [-1, 2]])


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1, -2], "number 1 is -2"),
        ([math.nan], "number 0 is nan"),
        ([math.inf, 1], "number 0 is inf"),
        ([0, 0], "all be zero"),
        ([], "at least one"),
    ],
)
def test_weights_that_are_none_are_refused_naming_the_value(weights: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        scaled_weights(weights)


def test_huge_and_tiny_weights_keep_their_proportion() -> None:
    assert scaled_weights([1e308, 1e308]).tolist() == [0.5, 0.5]
    assert scaled_weights([1e-320, 3e-320]) == pytest.approx([0.25, 0.75], rel=1e-3)
