"""Scalings keep the order and forget the unit; what they cannot take is named."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.scaling import Scaling, finite_matrix, scaled
from tests.mathcore.decisions import Drawn, decisions, dominated_pairs, untimed

_scalings: tuple[Scaling, ...] = get_args(Scaling)


@untimed
@given(decisions(positive=True), st.sampled_from(_scalings))
def test_every_scaling_keeps_the_order_of_the_values_with_more_better(decision: Drawn, scaling: Scaling) -> None:
    columns, _, benefit = decision
    better = np.array(columns) * np.where(benefit, 1.0, -1.0)[:, None]
    for before, after in zip(better, scaled(columns, benefit, scaling), strict=True):
        by_value = np.argsort(before, kind="stable")
        assert (np.diff(after[by_value]) >= 0).all()


@untimed
@given(decisions(positive=True), st.sampled_from(_scalings[1:]), st.floats(1e-3, 1e3))
def test_no_scaling_but_none_heeds_the_unit(decision: Drawn, scaling: Scaling, unit: float) -> None:
    columns, _, benefit = decision
    scaled_once = scaled(columns, benefit, scaling)
    assert scaled(np.array(columns) * unit, benefit, scaling) == pytest.approx(scaled_once, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("scaling", "benefit", "cost"),
    [
        ("none", [1, 2, 4], [-1, -2, -4]),
        ("ratio", [0.25, 0.5, 1], [1, 0.5, 0.25]),
        ("max", [0.25, 0.5, 1], [0.75, 0.5, 0]),
        ("minmax", [0, 1 / 3, 1], [1, 2 / 3, 0]),
        ("sum", [1 / 7, 2 / 7, 4 / 7], [4 / 7, 2 / 7, 1 / 7]),
        ("vector", [1 / math.sqrt(21), 2 / math.sqrt(21), 4 / math.sqrt(21)], None),
    ],
)
def test_a_benefit_and_a_cost_are_scaled_as_documented(
    scaling: Scaling, benefit: list[float], cost: list[float] | None
) -> None:
    found = scaled([[1, 2, 4], [1, 2, 4]], [True, False], scaling)
    assert found[0].tolist() == pytest.approx(benefit)
    assert found[1].tolist() == pytest.approx(cost if cost is not None else [1 - value for value in benefit])


def test_a_criterion_equal_or_zero_for_all_has_a_defined_scale() -> None:
    assert scaled([[3, 3]], [True], "minmax").tolist() == [[1, 1]]
    assert scaled([[0, 0], [0, 0]], [True, False], "vector").tolist() == [[0, 0], [1, 1]]
    assert scaled([[0, 0]], [True], "max").tolist() == [[0, 0]]


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_huge_and_tiny_values_neither_overflow_nor_vanish(size: float) -> None:
    for scaling in _scalings[1:]:
        assert scaled([[1 * size, 2 * size]], [True], scaling) == pytest.approx(scaled([[1, 2]], [True], scaling))


@pytest.mark.parametrize(
    ("columns", "scaling", "said"),
    [
        ([[1, 0]], "ratio", "criterion 0 has 0"),
        ([[1, 2], [1, -3]], "sum", "criterion 1 has -3"),
        ([[-1, 2]], "max", "not negative; criterion 0 has -1"),
        ([[1, 2]], "cubic", "unknown scaling 'cubic'"),
    ],
)
def test_values_a_scaling_cannot_take_are_named(columns: list[list[float]], scaling: Scaling, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        scaled(columns, [True] * len(columns), scaling)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([[1, 2], [1]], "as many alternatives"),
        ([[1, None]], "criterion 0 of alternative 1 is nan"),
        ([[1, "two"]], "needs numbers"),
        ([], "at least one"),
        ([[1, 2], [3, math.nan]], "criterion 1 of alternative 1 is nan"),
        ([[-math.inf, 2]], "criterion 0 of alternative 0 is -inf"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused_naming_the_value(columns: list[list[float]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        finite_matrix(columns)


def test_the_pairs_used_to_check_dominance_are_those_of_its_definition() -> None:
    assert list(dominated_pairs(np.array([[1.0, 1.0, 2.0], [1.0, 0.0, 0.0]]))) == [(0, 1), (2, 1)]
