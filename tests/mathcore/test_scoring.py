"""Weighted sum, weighted product and VIKOR: what holds for every decision, and the cases at the edge."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.scaling import Scaling
from mathcore.scoring import vikor, wpm, wsm
from tests.mathcore.decisions import Drawn, counted, decisions, dominated_pairs, untimed

_methods = st.sampled_from([wsm, wpm, vikor])


@pytest.mark.requirement("FR-MATH-012")
@untimed
@given(decisions(positive=True), _methods)
def test_nothing_dominated_comes_before_what_dominates_it(decision: Drawn, method: type) -> None:
    place = {int(at): rank for rank, at in enumerate(method(*decision).order)}
    for dominator, dominated in dominated_pairs(counted(decision)):
        assert place[dominator] < place[dominated]


@untimed
@given(decisions(positive=True), st.sampled_from(["none", "ratio", "max", "sum", "vector"]))
def test_a_weighted_sum_never_favours_the_dominated_whatever_the_scaling(decision: Drawn, scaling: Scaling) -> None:
    place = {int(at): rank for rank, at in enumerate(wsm(*decision, scaling).order)}
    assert all(place[dominator] < place[dominated] for dominator, dominated in dominated_pairs(counted(decision)))


@untimed
@given(decisions(positive=True), _methods)
def test_the_same_decision_is_always_ranked_the_same(decision: Drawn, method: type) -> None:
    assert method(*decision).order.tolist() == method(*decision).order.tolist()


@untimed
@given(decisions(positive=True), st.randoms(use_true_random=False))
def test_the_position_of_an_alternative_does_not_change_its_score(decision: Drawn, dice: random.Random) -> None:
    columns, weights, benefit = decision
    shuffled = list(range(len(columns[0])))
    dice.shuffle(shuffled)
    moved = np.array(columns)[:, shuffled]
    for method in (wsm, wpm):
        assert method(moved, weights, benefit).scores.tolist() == method(*decision).scores[shuffled].tolist()
    assert vikor(moved, weights, benefit).regret.tolist() == vikor(*decision).regret[shuffled].tolist()


@untimed
@given(decisions(positive=True), st.lists(st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**30]), min_size=5, max_size=5))
def test_the_unit_of_a_criterion_does_not_change_the_order(decision: Drawn, units: list[float]) -> None:
    columns, weights, benefit = decision
    scaled = np.array(columns) * np.array(units[: len(columns)])[:, None]
    for method in (wsm, vikor):
        assert method(scaled, weights, benefit).order.tolist() == method(*decision).order.tolist()
    assert wpm(scaled, weights, benefit).scores == pytest.approx(wpm(*decision).scores, rel=1e-9)


@untimed
@given(decisions(positive=True))
def test_a_weighted_product_is_the_product_of_powers(decision: Drawn) -> None:
    columns, weights, benefit = decision
    shares = np.array(weights) / sum(weights)
    powers = np.array(columns) ** (np.where(benefit, 1.0, -1.0) * shares)[:, None]
    assert wpm(*decision, "none").scores == pytest.approx(powers.prod(axis=0), rel=1e-9)
    assert wpm(*decision, "sum").parts.shape == (len(weights), len(columns[0]))


def test_products_too_small_for_a_float_still_rank() -> None:
    found = wpm([[1e-300, 1e-200, 1.0]], [1], [True], "none")
    assert found.order.tolist() == [2, 1, 0]
    tiny = wpm([[1e-300, 1e300]], [1], [True], "ratio")
    assert tiny.scores.tolist() == [0.0, 1.0]
    assert tiny.order.tolist() == [1, 0]


def test_equal_scores_keep_the_order_given() -> None:
    assert wsm([[3, 3, 3]], [1], [True]).order.tolist() == [0, 1, 2]
    assert vikor([[3, 3, 3]], [1], [True]).compromise.tolist() == [0, 1, 2]
    assert wpm([[3]], [1], [False]).order.tolist() == [0]


def test_an_alternative_best_by_far_is_the_only_compromise() -> None:
    found = vikor([[10, 2, 1], [10, 1, 2]], [0.5, 0.5], [True, True])
    assert (found.advantage, found.stable) == (True, True)
    assert found.compromise.tolist() == [0]
    assert found.compromise_index[0] == 0


def test_a_close_second_belongs_to_the_compromise() -> None:
    found = vikor([[10, 9.9, 1, 0], [9.9, 10, 2, 0]], [0.5, 0.5], [True, True])
    assert not found.advantage
    assert sorted(found.compromise.tolist()) == [0, 1]


@untimed
@given(decisions())
def test_the_regrets_of_a_compromise_sum_to_its_utility_and_the_greatest_is_named(decision: Drawn) -> None:
    found = vikor(*decision)
    assert found.parts.sum(axis=0) == pytest.approx(found.utility)
    assert found.parts.max(axis=0).tolist() == found.regret.tolist()
    for at, criterion in enumerate(found.regretted.tolist()):
        assert found.regret[at] == (found.parts[criterion, at] if criterion >= 0 else 0)


def test_one_alternative_is_its_own_compromise() -> None:
    found = vikor([[4], [2]], [1, 1], [True, False])
    assert (found.compromise_index.tolist(), found.compromise.tolist()) == ([0], [0])


@pytest.mark.parametrize(("v", "rank_by"), [(1.0, "utility"), (0.0, "regret")])
def test_the_strategy_weight_chooses_between_utility_and_regret(v: float, rank_by: str) -> None:
    found = vikor([[1, 5, 9], [9, 6, 1]], [0.6, 0.4], [True, True], v)
    assert found.order[0] == np.argmin(getattr(found, rank_by))


def test_what_a_method_cannot_take_is_refused_naming_it() -> None:
    with pytest.raises(ValueError, match="criterion 1 has 0"):
        wpm([[1, 2], [0, 1]], [1, 1], [True, True])
    with pytest.raises(ValueError, match="not 'minmax'"):
        wpm([[1, 2]], [1], [True], "minmax")
    with pytest.raises(ValueError, match=r"v must be between 0 and 1, not 1\.5"):
        vikor([[1, 2]], [1], [True], 1.5)


def test_values_near_the_largest_float_are_summed_without_overflow() -> None:
    found = wsm([[1e308, 1], [1e308, 1], [-1e308, 1]], [1, 1, 1], [True, True, False], "none")
    assert np.isfinite(found.scores).all()
    assert found.order.tolist() == [0, 1]
