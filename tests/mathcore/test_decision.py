"""The order of scores, ties in it, and a decision that does not fit together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.decision import Decision, best_first
from tests.mathcore.decisions import untimed

_scores = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.5 + 1e-14, 1.0]), min_size=1, max_size=12)


@untimed
@given(_scores)
def test_the_order_is_by_score_then_by_standing_then_by_position(scores: list[float]) -> None:
    standing = np.array([[float(at * 7 % 3) for at in range(len(scores))]])
    found = best_first(np.array(scores), standing).tolist()
    expected = sorted(range(len(scores)), key=lambda at: (-round(scores[at], 12), -standing[0][at], at))
    assert found == expected


def test_scores_of_any_size_tie_by_what_is_left_after_rounding() -> None:
    large = np.array([1e9, 1e9 + 1e-6, 2e9])
    assert best_first(large, np.ones((1, 3))).tolist() == [2, 0, 1]
    assert best_first(np.array([1e300, -1e300]), np.ones((1, 2))).tolist() == [0, 1]


@pytest.mark.parametrize(("weights", "benefit"), [([1], [True, True]), ([1, 1], [True]), ([1, 1, 1], [True, True])])
def test_a_decision_needs_a_weight_and_a_direction_for_each_criterion(
    weights: list[float], benefit: list[bool]
) -> None:
    with pytest.raises(ValueError, match="2 criteria"):
        Decision.checked([[1, 2], [3, 4]], weights, benefit)
