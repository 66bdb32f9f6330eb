"""The ranking methods against pymcdm and scikit-criteria, on 1,000 random problems each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mathcore.borda import borda, places_of_order
from mathcore.outranking import electre1
from mathcore.promethee import Form, Preference, promethee
from mathcore.scaling import Floats, Scaling
from mathcore.scoring import vikor, wpm, wsm
from mathcore.topsis import topsis
from mathcore.weights import RANDOM_INDEX, ahp_weights, critic_weights, entropy_weights
from tests.oracles.peer import peer

pymcdm = peer("pymcdm")
methods = peer("pymcdm.methods")
normalizations = peer("pymcdm.normalizations")
their_weights = peer("pymcdm.weights")
their_ahp = peer("pymcdm.weights.subjective")
skc_topsis = peer("skcriteria.agg.topsis")
skc_electre = peer("skcriteria.agg.electre")
skc_simple = peer("skcriteria.agg.simple")
skc_vikor = peer("skcriteria.agg.vikor")
skc_weighters = peer("skcriteria.preprocessing.weighters")

PROBLEMS = 1_000
TOLERANCE = 1e-9

Problem = tuple[Floats, Floats, list[bool]]


def problems(seed: int, costs: bool = True) -> Iterator[Problem]:
    """Columns of every size and unit, weights that sum to one, directions."""
    dice = np.random.default_rng(seed)
    for _ in range(PROBLEMS):
        criteria, alternatives = int(dice.integers(2, 8)), int(dice.integers(3, 30))
        columns = dice.uniform(0.5, 100, (criteria, alternatives)) * 10.0 ** dice.integers(-3, 6, criteria)[:, None]
        weights = dice.uniform(0.05, 1, criteria)
        benefit = (dice.random(criteria) < 0.6).tolist() if costs else [True] * criteria
        yield columns, weights / weights.sum(), benefit


def types(benefit: list[bool]) -> Any:
    """1 for a benefit, −1 for a cost, as both peers write it."""
    return np.where(benefit, 1, -1)


def apart(ours: Any, theirs: Any) -> float:
    """The largest difference."""
    return float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())


def test_closeness_is_that_of_both_peers() -> None:
    # pymcdm turns costs round while normalising; given the normalised matrix it does what Hwang and Yoon say.
    plain = methods.TOPSIS(lambda values, cost=False: -values if cost else values)
    worst = 0.0
    for columns, weights, benefit in problems(1):
        found = topsis(columns, weights, benefit)
        normal = columns / np.sqrt((columns**2).sum(axis=1, keepdims=True))
        theirs = plain(normal.T, weights, types(benefit), validation=False)
        _, ideal, anti_ideal, similarity = skc_topsis.topsis(normal.T, types(benefit), weights)
        worst = max(worst, apart(found.scores, theirs), apart(found.scores, similarity))
        worst = max(worst, apart(found.ideal, ideal), apart(found.anti_ideal, anti_ideal))
    assert worst < TOLERANCE


@pytest.mark.parametrize(
    ("scaling", "theirs"),
    [
        ("minmax", "minmax_normalization"),
        ("max", "max_normalization"),
        ("sum", "sum_normalization"),
        ("vector", "vector_normalization"),
        ("ratio", "linear_normalization"),
    ],
)
def test_weighted_sums_are_those_of_pymcdm_by_every_scaling(scaling: Scaling, theirs: str) -> None:
    method = methods.WSM(getattr(normalizations, theirs))
    worst = 0.0
    for columns, weights, benefit in problems(2):
        expected = method(columns.T, weights, types(benefit), validation=False)
        worst = max(worst, apart(wsm(columns, weights, benefit, scaling).scores, expected))
    assert worst < TOLERANCE


@pytest.mark.parametrize(("scaling", "theirs"), [("sum", "sum_normalization"), ("ratio", "linear_normalization")])
def test_weighted_products_are_those_of_pymcdm(scaling: Scaling, theirs: str) -> None:
    method = methods.WPM(getattr(normalizations, theirs))
    worst = 0.0
    for columns, weights, benefit in problems(3):
        expected = method(columns.T, weights, types(benefit), validation=False)
        worst = max(worst, apart(wpm(columns, weights, benefit, scaling).scores, expected))
    assert worst < TOLERANCE


def test_sums_and_products_of_benefits_are_those_of_scikit_criteria() -> None:
    worst = 0.0
    for columns, weights, benefit in problems(4, costs=False):
        shares = columns / columns.sum(axis=1, keepdims=True)
        _, total = skc_simple.wsm(shares.T, weights)
        _, logarithm = skc_simple.wpm(columns.T, weights)
        product = wpm(columns, weights, benefit, "none").scores
        worst = max(worst, apart(wsm(columns, weights, benefit, "sum").scores, total))
        worst = max(worst, apart(np.log10(product), logarithm))
    assert worst < TOLERANCE


def test_the_compromise_is_that_of_both_peers() -> None:
    mcdm, skc = methods.VIKOR(), skc_vikor.VIKOR()
    worst = 0.0
    for columns, weights, benefit in problems(5):
        found = vikor(columns, weights, benefit)
        theirs = mcdm(columns.T, weights, types(benefit), validation=False)
        _, extra = skc._evaluate_data(matrix=columns.T, objectives=types(benefit), weights=weights)
        worst = max(worst, apart(found.compromise_index, theirs), apart(found.compromise_index, extra["q_k"]))
        worst = max(worst, apart(found.utility, extra["s_k"]), apart(found.regret, extra["r_k"]))
        assert (found.advantage, found.stable) == (extra["acceptable_advantage"], extra["acceptable_stability"])
        assert sorted(found.compromise.tolist()) == sorted(extra["compromise_set"].tolist())
    assert worst < TOLERANCE


@pytest.mark.parametrize(
    ("form", "theirs"),
    [
        ("usual", "usual"),
        ("u-shape", "ushape"),
        ("v-shape", "vshape"),
        ("level", "level"),
        ("linear", "vshape_2"),
    ],
)
def test_flows_are_those_of_pymcdm(form: Form, theirs: str) -> None:
    worst = 0.0
    dice = np.random.default_rng(6)
    for columns, weights, benefit in problems(6):
        width = np.ptp(columns, axis=1)
        q, p = width * dice.uniform(0, 0.3), width * dice.uniform(0.4, 1.1)
        preferences = [Preference(form, q=float(low), p=float(high)) for low, high in zip(q, p, strict=True)]
        method = methods.PROMETHEE_II(theirs, p=p, q=q)
        found = promethee(columns, weights, benefit, preferences)
        *_, positive, negative, net = method._method(columns.T, weights, types(benefit))
        worst = max(worst, apart(found.positive, positive), apart(found.negative, negative), apart(found.net, net))
    assert worst < TOLERANCE


def test_outranking_is_that_of_scikit_criteria() -> None:
    worst = 0.0
    for columns, weights, benefit in problems(7):
        found = electre1(columns, weights, benefit, 0.6, 0.4)
        shares = columns / columns.sum(axis=1, keepdims=True)
        undefeated, outranks, agreed, against = skc_electre.electre1(shares.T, types(benefit), weights, 0.6, 0.4)
        pairs = ~np.eye(len(agreed), dtype=bool)
        worst = max(worst, apart(found.concordance[pairs], agreed[pairs]))
        worst = max(worst, apart(found.discordance[pairs], against[pairs]))
        assert (found.outranks == outranks).all()
        assert found.undefeated.tolist() == np.flatnonzero(undefeated).tolist()
    assert worst < TOLERANCE


def test_entropy_weights_are_those_of_both_peers() -> None:
    worst = 0.0
    for columns, _, _ in problems(8):
        found = entropy_weights(columns)
        worst = max(worst, apart(found, their_weights.entropy_weights(columns.T)))
        worst = max(worst, apart(found, skc_weighters.entropy_weights(columns.T)))
    assert worst < TOLERANCE


def test_critic_weights_are_those_of_both_peers() -> None:
    worst = 0.0
    for columns, _, benefit in problems(9):
        worst = max(
            worst, apart(critic_weights(columns, benefit), skc_weighters.critic_weights(columns.T, types(benefit)))
        )
        # pymcdm takes no directions: all are benefits there.
        plain = critic_weights(columns, [True] * len(columns))
        worst = max(worst, apart(plain, their_weights.critic_weights(columns.T)))
    assert worst < TOLERANCE


def test_comparisons_weigh_as_in_pymcdm_whose_random_indices_are_not_saatys() -> None:
    dice = np.random.default_rng(10)
    worst = 0.0
    for _ in range(PROBLEMS):
        things = int(dice.integers(3, 10))
        upper = np.triu(dice.integers(1, 10, (things, things)) ** dice.choice([-1.0, 1.0], (things, things)), 1)
        matrix = upper + np.eye(things) + np.divide(1, upper.T, out=np.zeros_like(upper), where=upper.T > 0)
        found, theirs = ahp_weights(matrix), their_ahp.AHP(matrix=matrix)
        worst = max(worst, apart(found.weights, theirs()))
        to_saaty = their_ahp.AHP.RI_M[things - 1] / RANDOM_INDEX[things - 1]
        worst = max(worst, apart(found.consistency_ratio, theirs.get_cr() * to_saaty))
    assert worst < TOLERANCE


def test_points_order_as_the_mean_place_does() -> None:
    dice = np.random.default_rng(11)
    for _ in range(PROBLEMS):
        alternatives, rankings = int(dice.integers(2, 20)), int(dice.integers(1, 6))
        places = np.array([places_of_order(dice.permutation(alternatives)) for _ in range(rankings)])
        found = borda(places)
        mean = pymcdm.helpers.rankdata(places.mean(axis=0))
        assert pymcdm.helpers.rankdata(found.points, reverse=True).tolist() == mean.tolist()
        assert apart(found.points, rankings * (alternatives - 1) - places.sum(axis=0)) < TOLERANCE
