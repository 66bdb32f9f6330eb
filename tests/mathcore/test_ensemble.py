"""Weights that sum to one whatever is missing, and departures that are said."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mathcore.ensemble import WEIGHTS, ensemble

_share = st.none() | st.floats(0, 1)
_parts = st.integers(1, 6).flatmap(
    lambda size: st.fixed_dictionaries(
        {
            "topsis": st.none() | st.lists(_share, min_size=size, max_size=size),
            "collaborative": st.none() | st.lists(st.none() | st.floats(-2, 2), min_size=size, max_size=size),
            "content": st.none() | st.lists(st.none() | st.floats(-1, 1), min_size=size, max_size=size),
            "popularity": st.none() | st.lists(_share, min_size=size, max_size=size),
        }
    )
)


@pytest.mark.requirement("PROP-11")
@given(_parts)
def test_the_weights_of_every_offer_sum_to_one(parts: dict[str, Any]) -> None:
    given_ = [scores for scores in parts.values() if scores is not None]
    assume(given_ and all(any(score is not None for score in offer) for offer in zip(*given_, strict=True)))
    found = ensemble(**parts)
    assert found.weights.sum(axis=0) == pytest.approx(np.ones(len(found.scores)), abs=1e-12)
    assert (found.weights >= 0).all()
    assert found.contributions.sum(axis=0) == pytest.approx(found.scores, abs=1e-12)
    assert ((found.scores >= 0) & (found.scores <= 1 + 1e-12)).all()
    assert ((found.confidence >= 0) & (found.confidence <= 1 + 1e-12)).all()
    assert sorted(found.order.tolist()) == list(range(len(found.scores)))


@pytest.mark.requirement("PROP-11")
@pytest.mark.requirement("FR-MATH-006")
def test_the_agreed_weights_are_four_three_and_three_tenths() -> None:
    assert dict(WEIGHTS) == {"topsis": 0.4, "collaborative": 0.3, "content": 0.3}
    assert sum(WEIGHTS.values()) == 1.0
    found = ensemble([0.5, 1.0], [1.0, 0.0], [1.0, -1.0])
    assert found.parts == ("topsis", "collaborative", "content")
    assert found.weights[:, 0].tolist() == pytest.approx([0.4, 0.3, 0.3])
    assert found.contributions[:, 0].tolist() == pytest.approx([0.2, 0.3, 0.3])
    assert found.scores.tolist() == pytest.approx([0.8, 0.4])
    assert found.order.tolist() == [0, 1]
    assert found.notes == ()


@pytest.mark.requirement("FR-MATH-006")
def test_a_part_without_data_leaves_its_weight_to_the_others_and_it_is_said() -> None:
    found = ensemble([0.5, 0.6], None, [0.0, 0.0])
    assert found.weights[:, 0].tolist() == pytest.approx([4 / 7, 0, 3 / 7])
    assert any("collaborative has no data for every offer" in note for note in found.notes)
    only = ensemble([0.5, None], [0.5, 0.5])
    assert only.weights[:, 1].tolist() == [0, 1, 0]
    assert any("topsis has no data for 1 of 2 offers" in note for note in only.notes)


@pytest.mark.requirement("FR-MATH-006")
def test_without_a_history_popularity_stands_in_and_confidence_falls() -> None:
    known = ensemble([0.5, 0.5], [0.5, 0.5], [0.0, 0.0])
    cold = ensemble([0.5, 0.5], None, [0.0, 0.0], popularity=[1.0, 0.0])
    assert cold.order.tolist() == [0, 1]
    assert cold.weights[:, 0].tolist() == pytest.approx([0.4, 0.3, 0.3])
    assert any("popularity stands in" in note for note in cold.notes)
    assert known.confidence.tolist() == pytest.approx([1.0, 1.0])
    assert (cold.confidence < 0.7 + 1e-12).all()
    one = ensemble([0.5, 0.5], [0.9, None], [0.0, 0.0], popularity=[0.1, 1.0])
    assert one.contributions[1].tolist() == pytest.approx([0.27, 0.3])


def test_parts_that_disagree_are_believed_less() -> None:
    found = ensemble([1.0, 1.0], [1.0, 0.0], [1.0, -1.0])
    assert found.confidence.tolist() == pytest.approx([1.0, 1 - 4 * 0.4 * 0.6])
    assert ensemble([1.0], None, [-1.0], weights={"topsis": 1, "collaborative": 0, "content": 1}).agreement[0] == 0.0


def test_equal_scores_keep_the_order_given() -> None:
    assert ensemble([0.3, 0.7, 0.7]).order.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("parts", "options", "said"),
    [
        ([[0.5, math.nan]], {}, "topsis"),
        ([[1.1]], {}, "topsis"),
        ([None, [math.inf]], {}, "collaborative"),
        ([None, None, [-1.1]], {}, "content"),
        ([[0.5]], {"popularity": [2.0]}, "every score of popularity"),
        ([[0.5], [0.5, 0.5]], {}, "same offers"),
        ([[]], {}, "same offers"),
        ([], {}, "same offers"),
        ([[0.5, None]], {}, "offer 1"),
        ([[0.5]], {"weights": {"topsis": 1.0}}, "weights must be of"),
        ([[0.5]], {"weights": {"topsis": -1.0, "collaborative": 1, "content": 1}}, "negative"),
        ([[0.5]], {"weights": {"topsis": 0.0, "collaborative": 0, "content": 0}}, "zero"),
        ([[0.5]], {"weights": {"topsis": 0.0, "collaborative": 1, "content": 0}}, "offer 0"),
    ],
)
def test_opinions_that_make_no_sense_are_refused(parts: list[Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ensemble(*parts, **options)
