"""Ranges of weights are tried at both sides of each end; perturbation is tried against them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.decision import Places
from mathcore.promethee import promethee
from mathcore.scaling import Floats
from mathcore.scoring import wpm, wsm
from mathcore.stability import WeightRange, critical_criterion, linear_weight_ranges, perturbation, weight_ranges
from mathcore.topsis import topsis
from tests.mathcore.decisions import untimed

_column = st.lists(st.floats(0.1, 100), min_size=4, max_size=4)
_three = st.lists(_column, min_size=3, max_size=3)
_shares = st.lists(st.floats(0.05, 1), min_size=3, max_size=3)
_BENEFIT = [False, True, True]
_BESIDE = 1e-7


def _with(shares: Floats, criterion: int, weight: float) -> Floats:
    rest = shares.copy()
    rest[criterion] = 0.0
    rest *= (1 - weight) / rest.sum()
    rest[criterion] = weight
    return rest


def _first(method: Callable[..., Any], columns: Floats, benefit: list[bool], shares: Floats) -> int:
    return int(method(columns, shares, benefit).order[0])


def _hold(found: list[WeightRange], shares: Floats, first: Callable[[Floats], int]) -> int:
    """Inside each range the winner wins, just outside another does; how many ends were tried."""
    tried, winner = 0, first(shares)
    for one in found:
        assert 0 <= one.low <= one.weight <= one.high <= 1
        inside = np.linspace(one.low, one.high, 23)[1:-1] if one.high - one.low > 1e-3 else np.empty(0)
        assert all(first(_with(shares, one.criterion, float(weight))) == winner for weight in inside), one
        for end, outwards, rival in ((one.low, -_BESIDE, one.below), (one.high, _BESIDE, one.above)):
            if _BESIDE < end < 1 - _BESIDE and rival is not None:
                tried += 1
                assert first(_with(shares, one.criterion, end + outwards)) != winner, one
    return tried


@pytest.mark.requirement("FR-MATH-013")
@pytest.mark.parametrize("field", ["even", "few values", "many units", "far from zero"])
def test_the_ends_of_a_range_are_where_topsis_changes_its_winner(field: str) -> None:
    dice = np.random.default_rng(11)
    tried = 0
    for _ in range(60):
        criteria, alternatives = int(dice.integers(2, 6)), int(dice.integers(2, 12))
        columns = dice.uniform(0.1, 10, (criteria, alternatives))
        if field == "few values":
            columns = np.round(columns) + 1
        elif field == "many units":
            columns *= 10.0 ** dice.integers(-6, 6, criteria)[:, None]
        elif field == "far from zero":
            columns += 1000
        shares = dice.uniform(0.05, 1, criteria)
        shares /= shares.sum()
        benefit = (dice.random(criteria) < 0.5).tolist()
        first = partial(_first, topsis, columns, benefit)
        tried += _hold(weight_ranges(columns, shares, benefit), shares, first)
    assert tried > 30


@pytest.mark.parametrize("method", [wsm, wpm, promethee])
def test_the_ends_of_a_range_are_exact_for_weighted_sums(method: Callable[..., Any]) -> None:
    dice = np.random.default_rng(12)
    tried = 0
    for _ in range(40):
        columns = dice.uniform(1, 10, (4, 8))
        shares = dice.uniform(0.05, 1, 4)
        shares /= shares.sum()
        benefit = [True, False, True, True]
        found = method(columns, shares, benefit)
        first = partial(_first, method, columns, benefit)
        tried += _hold(linear_weight_ranges(found.parts, shares, int(found.order[0])), shares, first)
    assert tried > 20


@untimed
@given(_three, _shares)
def test_at_each_end_the_winner_shares_its_score_with_the_one_that_takes_over(
    columns: list[list[float]], weights: list[float]
) -> None:
    shares = np.array(weights) / sum(weights)
    winner = int(topsis(columns, shares, _BENEFIT).order[0])
    for found in weight_ranges(columns, weights, _BENEFIT):
        for end, rival in ((found.low, found.below), (found.high, found.above)):
            if rival is None:
                assert end in (0.0, 1.0)
            elif 0 < end < 1:
                scores = topsis(columns, _with(shares, found.criterion, end), _BENEFIT).scores
                assert scores[winner] == pytest.approx(scores[rival], abs=1e-7)
                assert scores[winner] == pytest.approx(scores.max(), abs=1e-7)


def test_a_range_known_by_hand_is_found() -> None:
    # Alternative 0 is best on the first criterion, 1 on the second, by as much: they are equal at half and half.
    first, second = weight_ranges([[1, 0], [0, 1]], [0.8, 0.2], [True, True])
    assert [first.low, first.high] == pytest.approx([0.5, 1.0])
    assert [second.low, second.high] == pytest.approx([0.0, 0.5])
    assert (first.below, first.above, second.above) == (1, None, 1)
    by_sum = linear_weight_ranges([[1, 0], [0, 1]], [0.8, 0.2], 0)
    assert [by_sum[0].low, by_sum[1].high] == pytest.approx([0.5, 0.5])


def test_a_tie_at_the_given_weights_ends_the_range_there() -> None:
    first, second = weight_ranges([[1, 0], [0, 1]], [0.5, 0.5], [True, True])
    assert (first.low, first.high) == (0.5, 1.0)
    assert (second.low, second.high) == (0.0, 0.5)


def test_a_criterion_that_stands_alone_or_tells_nothing_decides_at_any_weight() -> None:
    (only,) = weight_ranges([[1, 2]], [3], [True])
    assert (only.low, only.weight, only.high) == (0.0, 1.0, 1.0)
    for found in weight_ranges([[1, 2], [5, 5]], [1, 1], [True, True]):
        assert (found.low, found.high, found.below, found.above) == (0.0, 1.0, None, None)
    assert linear_weight_ranges([[1, 2]], [1], 1)[0].low == 0.0


def test_twins_of_the_winner_bound_nothing() -> None:
    for found in weight_ranges([[2, 2, 1], [3, 3, 1]], [0.6, 0.4], [True, True]):
        assert (found.low, found.high) == (0.0, 1.0)


def test_the_critical_criterion_needs_the_smallest_relative_change() -> None:
    ranges = [
        WeightRange(0, 0.5, 0.2, 1.0, below=2),
        WeightRange(1, 0.3, 0.0, 0.36, above=1),
        WeightRange(2, 0.2, 0.0, 1.0),
    ]
    found = critical_criterion(ranges)
    assert found is not None
    assert (found.criterion, found.winner) == (1, 1)
    assert [found.change, found.relative] == pytest.approx([0.06, 0.2])
    assert critical_criterion(ranges[2:]) is None


@pytest.mark.requirement("FR-MATH-013")
def test_perturbed_weights_show_who_wins_then_and_how_alike_the_orders_are() -> None:
    columns = [[1.0, 0.0, 0.4], [0.0, 1.0, 0.4]]

    def order(shares: Floats) -> Places:
        return wsm(columns, shares, [True, True]).order

    found = perturbation(order, [0.52, 0.48], 0.2)
    assert found.winner == 0
    assert [trial.kept for trial in found.trials] == [False, True, True, False]
    assert (found.winner_kept, found.critical) == (0.5, (0, 1))
    assert found.trials[0].winner == 1
    assert found.trials[1].correlation == 1.0
    assert found.least_correlation == pytest.approx(found.trials[0].correlation)
    assert perturbation(order, [0.9, 0.1], 0.05).winner_kept == 1.0
    assert perturbation(order, [0.52, 0.48], 0.2) == found


@untimed
@given(_three, _shares, st.floats(0.01, 0.5))
def test_perturbation_changes_the_winner_just_where_the_range_ends(
    columns: list[list[float]], weights: list[float], size: float
) -> None:
    ranges = weight_ranges(columns, weights, _BENEFIT)
    found = perturbation(lambda shares: topsis(columns, shares, _BENEFIT).order, weights, size)
    for trial in found.trials:
        moved = np.array(weights) / sum(weights)
        moved[trial.criterion] *= trial.factor
        weight, own = float((moved / moved.sum())[trial.criterion]), ranges[trial.criterion]
        if min(abs(weight - own.low), abs(weight - own.high)) > 1e-6:
            assert trial.kept or not own.low < weight < own.high


def test_one_alternative_is_perfectly_stable() -> None:
    found = perturbation(lambda shares: topsis([[1], [2]], shares, [True, True]).order, [1, 1])
    assert (found.winner_kept, found.mean_correlation, found.critical) == (1.0, 1.0, ())


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        weight_ranges([[1, 2], [2, 1]], [0, 0], [True, True])
    with pytest.raises(ValueError, match="alternative 0 does not win"):
        linear_weight_ranges([[1, 2]], [1], 0)
    with pytest.raises(ValueError, match="winner 5: no fit"):
        linear_weight_ranges([[1, 2]], [1], 5)
    with pytest.raises(ValueError, match=r"between 0 and 1, not 1\.0"):
        perturbation(lambda shares: np.array([0]), [1], 1.0)
