"""TOPSIS against published cases and against its own definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.topsis import topsis
from tests.mathcore.published import published

_value = st.floats(0, 1e12, allow_nan=False, allow_infinity=False)
_weight = st.floats(0, 1e6, allow_nan=False)


@st.composite
def _decisions(draw: st.DrawFn) -> tuple[list[list[float]], list[float], list[bool]]:
    criteria, alternatives = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    few = st.sampled_from([0.0, 1.0, 2.0, 2.5, 1e-9, 1e9])
    columns = [draw(st.lists(few | _value, min_size=alternatives, max_size=alternatives)) for _ in range(criteria)]
    weights = draw(st.lists(_weight, min_size=criteria, max_size=criteria).filter(lambda all_: max(all_) > 1e-9))
    return columns, weights, draw(st.lists(st.booleans(), min_size=criteria, max_size=criteria))


@pytest.mark.requirement("FR-MATH-004")
def test_published_cases_come_out_at_their_printed_precision() -> None:
    cases = [case for case in published("golden_math.json") if case["method"] == "topsis"]
    assert cases
    for case in cases:
        inputs, expected = case["inputs"], case["expected"]
        columns = np.array(inputs["decision_matrix"], dtype=float).T
        benefit = [kind == "benefit" for kind in inputs["criteria_types"]]
        found = topsis(columns, inputs["weights"], benefit, inputs.get("normalisation", "vector"))
        assert found.scores == pytest.approx(expected["closeness"], abs=case["tolerance"]), case["name"]
        if "ranking_0_indexed_best_first" in expected:
            assert found.order.tolist() == expected["ranking_0_indexed_best_first"]
        if "ideal" in expected:
            scale = sum(inputs["weights"])
            assert (found.ideal * scale).tolist() == pytest.approx(expected["ideal"])
            assert (found.anti_ideal * scale).tolist() == pytest.approx(expected["anti_ideal"])


@pytest.mark.requirement("PROP-7")
@given(_decisions())
def test_the_same_decision_is_always_ranked_the_same(
    decision: tuple[list[list[float]], list[float], list[bool]],
) -> None:
    first, second = topsis(*decision), topsis(*decision)
    assert first.order.tolist() == second.order.tolist()
    assert first.scores.tolist() == second.scores.tolist()


@pytest.mark.requirement("PROP-8")
@given(_decisions())
def test_the_ideal_is_the_best_weighted_value_of_each_criterion(
    decision: tuple[list[list[float]], list[float], list[bool]],
) -> None:
    found = topsis(*decision)
    for criterion, more_is_better in enumerate(decision[2]):
        values = found.weighted[criterion]
        best, worst = (values.max(), values.min()) if more_is_better else (values.min(), values.max())
        assert (found.ideal[criterion], found.anti_ideal[criterion]) == (best, worst)


@pytest.mark.requirement("FR-MATH-004")
@given(_decisions())
def test_scores_are_shares_and_order_is_a_permutation(
    decision: tuple[list[list[float]], list[float], list[bool]],
) -> None:
    found = topsis(*decision)
    assert np.isfinite(found.scores).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert sorted(found.order.tolist()) == list(range(found.scores.size))
    ranked = found.scores[found.order]
    assert (np.diff(ranked) <= 1e-11).all()


@given(_decisions())
def test_nothing_dominated_comes_before_what_dominates_it(
    decision: tuple[list[list[float]], list[float], list[bool]],
) -> None:
    columns, weights, benefit = decision
    counted = np.array([weight > 0 for weight in np.array(weights) / max(weights)])
    better = (np.array(columns) * np.where(benefit, 1.0, -1.0)[:, None])[counted]
    place = {int(at): rank for rank, at in enumerate(topsis(*decision).order)}
    for one in range(better.shape[1]):
        for other in range(better.shape[1]):
            if (better[:, one] >= better[:, other]).all() and (better[:, one] > better[:, other]).any():
                assert place[one] < place[other]


@given(_decisions(), st.floats(1e-3, 1e3))
def test_the_unit_of_the_weights_does_not_matter(
    decision: tuple[list[list[float]], list[float], list[bool]], unit: float
) -> None:
    columns, weights, benefit = decision
    scaled = topsis(columns, [weight * unit for weight in weights], benefit)
    assert scaled.scores == pytest.approx(topsis(*decision).scores, abs=1e-9)


def test_a_criterion_that_is_zero_for_all_contributes_nothing() -> None:
    with_it = topsis([[1, 2, 3], [0, 0, 0]], [0.5, 0.5], [True, True])
    assert with_it.scores.tolist() == pytest.approx(topsis([[1, 2, 3]], [1], [True]).scores.tolist())


def test_equal_alternatives_and_a_single_one_score_a_half_in_the_order_given() -> None:
    assert topsis([[2, 2, 2], [5, 5, 5]], [1, 1], [True, False]).scores.tolist() == [0.5, 0.5, 0.5]
    assert topsis([[2, 2, 2], [5, 5, 5]], [1, 1], [True, False]).order.tolist() == [0, 1, 2]
    assert topsis([[7]], [1], [False]).scores.tolist() == [0.5]


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1.0, 1e150, 1e300])
def test_huge_and_tiny_values_rank_like_ordinary_ones(scale: float) -> None:
    found = topsis([[1 * scale, 2 * scale, 4 * scale]], [1], [True])
    assert found.order.tolist() == [2, 1, 0]
    assert found.scores.tolist() == pytest.approx([0, 1 / 3, 1])


def test_huge_weights_do_not_vanish() -> None:
    assert topsis([[1, 2], [2, 1]], [1e308, 1e308], [True, True]).scores.tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("columns", "weights", "benefit", "said"),
    [
        ([[1, math.nan]], [1], [True], "finite"),
        ([[1, math.inf]], [1], [True], "finite"),
        ([[1, 2]], [math.nan], [True], "weights"),
        ([[1, 2]], [math.inf], [True], "weights"),
        ([[1, 2]], [-1], [True], "weights"),
        ([[1, 2]], [0], [True], "weights"),
        ([[1, 2]], [1, 1], [True], "match"),
        ([[1, 2]], [1], [True, False], "match"),
        ([], [1], [True], "at least one"),
        ([[]], [1], [True], "at least one"),
        ([1, 2], [1], [True], "at least one"),
    ],
)
def test_senseless_input_is_refused_in_words(
    columns: list[list[float]], weights: list[float], benefit: list[bool], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        topsis(columns, weights, benefit)
