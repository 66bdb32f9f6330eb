"""Cosines within their bounds, and features placed where they belong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.similarity import cosine, cosines, feature_space, feature_vectors, top_k

_value = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1e-320, 1e-200, 1e200, 1e308])
_pairs = st.integers(1, 6).flatmap(
    lambda size: st.tuples(*(st.lists(_value, min_size=size, max_size=size) for _ in range(2)))
)


@pytest.mark.requirement("PROP-10")
@given(_pairs)
def test_a_cosine_is_between_minus_one_and_one_and_one_with_itself(pair: tuple[list[float], list[float]]) -> None:
    one, other = pair
    assert -1.0 <= cosine(one, other) <= 1.0
    assert cosine(one, other) == cosine(other, one)
    assert cosine(one, one) == pytest.approx(1.0, abs=1e-12)
    if any(one):
        assert cosine(one, [-value for value in one]) == pytest.approx(-1.0, abs=1e-12)


@pytest.mark.requirement("PROP-10")
def test_zero_is_like_zero_and_like_nothing_else() -> None:
    assert cosine([0, 0], [0, 0]) == 1.0
    assert cosine([0, 0], [1, 2]) == 0.0
    assert cosines([0, 0], [[0.0, 0.0], [0.0, 5e-324]]).tolist() == [1.0, 0.0]


@pytest.mark.requirement("FR-MATH-005")
@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=1, max_size=8))
def test_the_formula_is_that_of_the_textbook(rows: list[list[int]]) -> None:
    query = [1, 2, -2]
    for row, found in zip(rows, cosines(query, rows), strict=True):
        lengths = 3 * math.sqrt(sum(value * value for value in row))
        expected = sum(a * b for a, b in zip(query, row, strict=True)) / lengths if lengths else 0.0
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.requirement("FR-MATH-005")
def test_the_nearest_come_first_and_equal_ones_in_the_order_given() -> None:
    found = top_k([1, 1], [[1.0, 0.0], [3.0, 3.0], [0.0, 7.0], [-1.0, -1.0], [0.5, 0.5]], k=4)
    assert found.indices.tolist() == [1, 4, 0, 2]
    assert found.scores.tolist() == pytest.approx([1, 1, math.sqrt(0.5), math.sqrt(0.5)])
    assert top_k([1], [[2.0]], k=9).indices.tolist() == [0]


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_neither_huge_nor_tiny_values_change_an_angle(scale: float) -> None:
    assert cosine([3 * scale, 4 * scale], [4, 3]) == pytest.approx(0.96)


@pytest.mark.parametrize(
    ("query", "rows", "said"),
    [
        ([], [[]], "at least one"),
        ([math.nan], [[1]], "finite"),
        ([1], [[math.inf]], "finite"),
        ([1, 2], [[1]], "do not fit"),
        ([1], [1], "do not fit"),
        ([[1]], [[1]], "vector"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(query: list[float], rows: list[list[float]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cosines(query, rows)
    with pytest.raises(ValueError, match="k must"):
        top_k([1], [[1]], k=0)


_OFFERS: list[list[float | None]] = [[80.0, 2.0], [80.0, 4.0], [24.0, 0.5], [16.0, None]]
_LABELS: list[set[str]] = [{"h100", "eu"}, {"h100", "us"}, {"4090", "us"}, {"t4"}]


def test_the_offer_most_like_the_wish_is_found() -> None:
    space = feature_space(_OFFERS, _LABELS)
    offers = feature_vectors(space, _OFFERS, _LABELS)
    wish = feature_vectors(space, [[80.0, 3.8]], [{"h100", "us"}])[0]
    assert top_k(wish, offers).indices[0] == 1
    cheap = feature_vectors(space, [[24.0, None]], [{"us"}])[0]
    assert top_k(cheap, offers).indices[0] == 2


def test_numbers_span_minus_one_to_one_by_ratio_and_what_is_unknown_says_nothing() -> None:
    space = feature_space([[1.0], [4.0], [16.0]])
    placed = feature_vectors(space, [[1.0], [4.0], [16.0], [999.0], [None]])
    assert placed[:, 0].tolist() == pytest.approx([-1, 0, 1, 1, 0])
    by_difference = feature_space([[0.0], [4.0], [-4.0]], logarithmic=[False])
    assert feature_vectors(by_difference, [[2.0]])[0, 0] == pytest.approx(0.5)


def test_a_feature_that_is_the_same_for_all_or_known_of_none_says_nothing() -> None:
    space = feature_space([[5.0, None], [5.0, None]])
    assert feature_vectors(space, [[5.0, 3.0], [9.0, None]]).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_label_nobody_has_makes_a_wish_less_like_everything() -> None:
    space = feature_space(_OFFERS, _LABELS)
    offers = feature_vectors(space, _OFFERS, _LABELS)
    plain, strange = (
        feature_vectors(space, [[None, None]], [labels])[0] for labels in ({"h100"}, {"h100", "quantum", "moon"})
    )
    assert cosine(strange, offers[0]) < cosine(plain, offers[0])
    assert np.linalg.norm(strange) == pytest.approx(1.0)


def test_numbers_of_any_size_stay_in_bounds() -> None:
    space = feature_space([[-1.7e308], [1.7e308]], logarithmic=[False])
    assert feature_vectors(space, [[1.7e308], [-1.7e308], [0.0]])[:, 0].tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("numbers", "labels", "options", "said"),
    [
        ([], [], {}, "at least one row"),
        ([[1.0], [1.0, 2.0]], [], {}, "as long as"),
        ([[math.inf]], [], {}, "finite"),
        ([[math.nan]], [], {}, "finite"),
        ([[0.0]], [], {}, "ratio"),
        ([[1.0]], [{"a"}, {"b"}], {}, "labels"),
        ([[1.0]], [], {"logarithmic": [True, False]}, "flags"),
        ([[1.0]], [], {"label_weight": -1.0}, "label_weight"),
    ],
)
def test_features_that_make_no_sense_are_refused(
    numbers: list[list[float | None]], labels: list[set[str]], options: dict[str, float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        feature_space(numbers, labels, **options)  # type: ignore[arg-type]


def test_a_wish_of_another_shape_than_the_space_is_refused() -> None:
    space = feature_space([[1.0, 2.0]])
    with pytest.raises(ValueError, match="space has 2"):
        feature_vectors(space, [[1.0]])
    with pytest.raises(ValueError, match="labels"):
        feature_vectors(space, [[1.0, 2.0]], [set(), set()])
