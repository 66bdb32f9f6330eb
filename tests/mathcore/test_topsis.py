"""TOPSIS against published cases and against its own definition."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.scaling import Floats
from mathcore.topsis import topsis
from tests.mathcore.decisions import Drawn, counted, decisions, dominated_pairs, untimed


@pytest.mark.requirement("PROP-7")
@untimed
@given(decisions())
def test_the_same_decision_is_always_ranked_the_same(
    decision: Drawn,
) -> None:
    first, second = topsis(*decision), topsis(*decision)
    assert first.order.tolist() == second.order.tolist()
    assert first.scores.tolist() == second.scores.tolist()


@pytest.mark.requirement("PROP-8")
@untimed
@given(decisions())
def test_the_ideal_is_the_best_weighted_value_of_each_criterion(
    decision: Drawn,
) -> None:
    found = topsis(*decision)
    for criterion, more_is_better in enumerate(decision[2]):
        values = found.weighted[criterion]
        best, worst = (values.max(), values.min()) if more_is_better else (values.min(), values.max())
        assert (found.ideal[criterion], found.anti_ideal[criterion]) == (best, worst)


@pytest.mark.requirement("FR-MATH-004")
@untimed
@given(decisions())
def test_scores_are_shares_and_order_is_a_permutation(
    decision: Drawn,
) -> None:
    found = topsis(*decision)
    assert np.isfinite(found.scores).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert sorted(found.order.tolist()) == list(range(found.scores.size))
    ranked = found.scores[found.order]
    assert (np.diff(ranked) <= 1e-11).all()


@untimed
@given(decisions())
def test_nothing_dominated_comes_before_what_dominates_it(
    decision: Drawn,
) -> None:
    found = topsis(*decision)
    place = {int(at): rank for rank, at in enumerate(found.order)}
    for dominator, dominated in dominated_pairs(counted(decision)):
        assert place[dominator] < place[dominated]
        assert found.scores[dominator] >= found.scores[dominated]


@untimed
@given(decisions(), st.randoms(use_true_random=False))
def test_the_position_of_an_alternative_does_not_change_its_score(decision: Drawn, dice: random.Random) -> None:
    columns, weights, benefit = decision
    shuffled = list(range(len(columns[0])))
    dice.shuffle(shuffled)
    moved = topsis(np.array(columns)[:, shuffled], weights, benefit)
    assert moved.scores == pytest.approx(topsis(*decision).scores[shuffled], abs=1e-9)


@untimed
@given(decisions(positive=True), st.lists(st.sampled_from([0.25, 1.0, 2.0**20]), min_size=5, max_size=5))
def test_the_unit_of_a_criterion_does_not_matter(decision: Drawn, units: list[float]) -> None:
    columns, weights, benefit = decision
    scaled = topsis(np.array(columns) * np.array(units[: len(columns)])[:, None], weights, benefit)
    assert scaled.scores == pytest.approx(topsis(*decision).scores, abs=1e-12)


@untimed
@given(decisions(), st.floats(1e-3, 1e3))
def test_the_unit_of_the_weights_does_not_matter(decision: Drawn, unit: float) -> None:
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


_FIELDS: dict[str, Callable[[np.random.Generator], Floats]] = {
    "spread": lambda dice: dice.uniform(1, 100, (6, 30_000)),
    "skewed": lambda dice: dice.lognormal(0, 1, (6, 30_000)),
    "tied": lambda dice: dice.integers(1, 5, (6, 30_000)).astype(float),
    "far from zero": lambda dice: 1e9 + dice.uniform(0, 1, (6, 30_000)),
    "one point": lambda dice: np.ones((6, 30_000)),
    "huge": lambda dice: dice.uniform(1, 100, (6, 30_000)) * 1e250,
}


@pytest.mark.parametrize("field", _FIELDS)
@pytest.mark.parametrize("top_k", [1, 100, 1_000])
def test_the_first_of_many_are_those_of_the_whole_ranking(field: str, top_k: int) -> None:
    columns = _FIELDS[field](np.random.default_rng(7))
    weights, benefit = [0.3, 0.2, 0.1, 0.2, 0.1, 0.1], [False, True, True, True, False, True]
    whole, first = topsis(columns, weights, benefit), topsis(columns, weights, benefit, top_k=top_k)
    assert first.order.tolist() == whole.order[:top_k].tolist()
    assert first.scores.tolist() == whole.scores.tolist()


def test_asking_for_more_than_there_are_gives_all_and_for_none_is_refused() -> None:
    assert topsis([[1, 2]], [1], [True], top_k=5).order.tolist() == [1, 0]
    with pytest.raises(ValueError, match="top_k"):
        topsis([[1, 2]], [1], [True], top_k=0)
    with pytest.raises(ValueError, match="unknown normalisation"):
        topsis([[1, 2]], [1], [True], "cubic")  # type: ignore[arg-type]


def test_values_that_are_in_order_already_are_not_copied() -> None:
    columns = np.array([[1.0, 2.0], [3.0, 1.0]])
    found = topsis(columns, [1, 1], [True, True])
    assert found.separation.matrix is columns
    assert columns.tolist() == [[1.0, 2.0], [3.0, 1.0]]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_without_normalisation_the_criteria_keep_their_common_unit(scale: float) -> None:
    columns = np.array([[1.0, 0.0], [0.0, 5.0], [3.0, 6.0]])
    plain = topsis(columns, [1, 1, 1], [True] * 3, "none")
    assert topsis(columns * scale, [1, 1, 1], [True] * 3, "none").scores == pytest.approx(plain.scores)
