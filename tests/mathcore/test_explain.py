"""Parts sum to the whole, and point the way the values do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.explain import MOST_CRITERIA, MOST_EXPLAINED, explain_topsis, explain_wsm, shapley
from mathcore.scoring import wsm
from mathcore.topsis import topsis
from tests.mathcore.decisions import Drawn, decisions, untimed

_values = st.lists(st.floats(-10, 10), min_size=3, max_size=3)


@untimed
@given(decisions())
def test_the_parts_of_a_closeness_sum_to_it_and_the_losses_to_the_lead_of_the_winner(decision: Drawn) -> None:
    found, ranked = explain_topsis(*decision), topsis(*decision)
    nothing = 0.5 if (ranked.ideal == ranked.anti_ideal).all() else 0.0
    assert found.winner == ranked.order[0]
    assert found.scores.tolist() == ranked.scores.tolist()
    assert found.contributions.sum(axis=0) == pytest.approx(ranked.scores - nothing, abs=1e-9)
    assert found.losses.sum(axis=0) == pytest.approx(ranked.scores[found.winner] - ranked.scores, abs=1e-9)


@untimed
@given(decisions())
def test_a_criterion_is_lost_on_only_where_the_winner_is_better_on_it(decision: Drawn) -> None:
    columns, _, benefit = decision
    better = np.array(columns) * np.where(benefit, 1.0, -1.0)[:, None]
    for found in (explain_topsis(*decision), explain_wsm(*decision)):
        ahead = better[:, [found.winner]] - better
        assert (found.losses[ahead > 0] >= -1e-12).all()
        assert (found.losses[ahead < 0] <= 1e-12).all()
        assert np.abs(found.losses[ahead == 0]).max(initial=0.0) <= 1e-12


@untimed
@given(decisions())
def test_the_parts_of_a_weighted_sum_are_those_of_its_shapley_values(decision: Drawn) -> None:
    columns, weights, benefit = decision
    found, ranked = explain_wsm(columns, weights, benefit), wsm(columns, weights, benefit)
    shares = np.array(weights) / sum(weights)
    by_subsets = shapley(lambda profiles: shares @ profiles, ranked.parts, ranked.parts.min(axis=1))
    assert found.contributions == pytest.approx(by_subsets, abs=1e-9)
    assert found.losses.sum(axis=0) == pytest.approx(ranked.scores[found.winner] - ranked.scores, abs=1e-9)


@untimed
@given(_values, _values)
def test_parts_of_any_score_sum_to_the_difference_it_makes(profile: list[float], reference: list[float]) -> None:
    def score(profiles: np.ndarray) -> np.ndarray:
        return np.asarray(profiles[0] * profiles[1] + np.maximum(profiles[1], profiles[2]))

    parts = shapley(score, np.array(profile)[:, None], reference)
    whole = score(np.array(profile)[:, None]) - score(np.array(reference)[:, None])
    assert parts.sum(axis=0) == pytest.approx(whole, abs=1e-9)


def test_two_that_only_count_together_share_alike_and_a_third_gets_nothing() -> None:
    parts = shapley(lambda profiles: profiles[0] * profiles[1], [[1], [1], [5]], [0, 0, 0])
    assert parts[:, 0].tolist() == [0.5, 0.5, 0]


def test_only_the_alternatives_asked_for_are_explained() -> None:
    columns = np.random.default_rng(0).uniform(1, 9, (4, 20_000))
    found = explain_topsis(columns, [1] * 4, [True, False, True, True], alternatives=[7, 3])
    assert found.alternatives.tolist() == [7, 3]
    assert found.losses.shape == (4, 2)
    assert explain_wsm(columns, [1] * 4, [True] * 4, "ratio", [5]).scores.shape == (1,)


def test_what_cannot_be_explained_is_refused_with_the_limit() -> None:
    with pytest.raises(ValueError, match=f"13 criteria are too many to explain.*{MOST_CRITERIA}"):
        explain_topsis(np.ones((13, 2)), [1] * 13, [True] * 13)
    with pytest.raises(ValueError, match=f"1001 alternatives are too many to explain.*{MOST_EXPLAINED}"):
        explain_topsis(np.ones((2, 1001)), [1, 1], [True, True])
    with pytest.raises(ValueError, match="among 0 … 1"):
        explain_wsm([[1, 2]], [1], [True], alternatives=[2])
    with pytest.raises(ValueError, match="reference of 1"):
        shapley(lambda profiles: profiles[0], [[1], [2]], [0])
