"""Borda counts by their definition, with ties."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.borda import borda, places_of_order, places_of_scores
from tests.mathcore.decisions import untimed

_rankings = st.integers(1, 7).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, 3), min_size=size, max_size=size), min_size=1, max_size=5)
)


@pytest.mark.requirement("FR-MATH-012")
@untimed
@given(_rankings)
def test_all_points_are_given_out_whatever_the_ties(places: list[list[int]]) -> None:
    size = len(places[0])
    assert borda(places).points.sum() == pytest.approx(len(places) * size * (size - 1) / 2)


@untimed
@given(_rankings)
def test_points_count_those_behind_and_half_of_those_level(places: list[list[int]]) -> None:
    found = borda(places).points
    for at in range(len(places[0])):
        worth = sum(
            (other > ranking[at]) + 0.5 * (other == ranking[at]) for ranking in places for other in ranking
        ) - 0.5 * len(places)
        assert found[at] == pytest.approx(worth)


@untimed
@given(_rankings)
def test_who_is_nowhere_behind_another_is_not_behind_in_the_end(places: list[list[int]]) -> None:
    matrix, points = np.array(places), borda(places).points
    for one in range(matrix.shape[1]):
        for other in range(matrix.shape[1]):
            if (matrix[:, one] <= matrix[:, other]).all():
                assert points[one] >= points[other]


@untimed
@given(_rankings, st.randoms(use_true_random=False))
def test_neither_rankings_nor_alternatives_have_a_privileged_position(
    places: list[list[int]], dice: random.Random
) -> None:
    matrix = np.array(places)
    rows, columns = list(range(matrix.shape[0])), list(range(matrix.shape[1]))
    dice.shuffle(rows)
    dice.shuffle(columns)
    assert borda(matrix[rows][:, columns]).points == pytest.approx(borda(matrix).points[columns])


def test_ballots_count_a_ranking_as_often_as_they_say() -> None:
    assert borda([[0, 1], [1, 0]], [3, 1]).points.tolist() == [3, 1]
    assert borda([[0, 1], [1, 0]], [3, 1]).parts.tolist() == [[3, 0], [0, 1]]
    assert borda([[0, 1], [1, 0]], [1, 0]).points.tolist() == [1, 0]


def test_equal_points_keep_the_order_given() -> None:
    assert borda([[0, 1], [1, 0]]).order.tolist() == [0, 1]


def test_orders_and_scores_become_places() -> None:
    assert places_of_order([2, 0, 1]).tolist() == [1, 2, 0]
    assert places_of_scores([0.5, 0.9, 0.5 + 1e-15]).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("places", "ballots", "said"),
    [
        ([[0, 1], [0]], None, "as many"),
        ([], None, "at least one"),
        ([[0, 1]], [1, 2], "1 rankings and 2 ballots"),
        ([[0, 1]], [-1], "negative"),
        ([[0, 1]], [0], "zero"),
        ([[0, float("nan")]], None, "finite"),
    ],
)
def test_rankings_and_ballots_that_do_not_fit_are_refused(
    places: list[list[float]], ballots: list[int] | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        borda(places, ballots)


@pytest.mark.parametrize("order", [[], [0, 0], [1, 2], [-1, 0], [0.0, 1.0], [[0]]])
def test_an_order_that_is_none_is_refused(order: list[int]) -> None:
    with pytest.raises(ValueError, match="order"):
        places_of_order(order)
