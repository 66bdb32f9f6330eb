"""The isolation forest on points whose place is known."""

from __future__ import annotations

import numpy as np
import pytest

from mathcore.isolation import MOST_ROWS, isolation_scores


def test_what_lies_far_out_in_any_direction_has_the_highest_scores() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 3))
    rows[7] = (9, 0, 0)
    rows[70] = (0, -9, 0)
    rows[170] = (5, 5, 5)
    scores = isolation_scores(rows)
    assert set(np.argsort(scores)[-3:]) == {7, 70, 170}
    assert scores[7] > 0.65
    assert np.median(scores) < 0.5


def test_two_points_and_equal_points_are_ordinary() -> None:
    assert isolation_scores([[1.0], [2.0]]).tolist() == [0.5, 0.5]
    assert isolation_scores(np.ones((40, 2))) == pytest.approx(np.full(40, 0.5))


def test_scores_do_not_depend_on_the_scale_of_a_feature() -> None:
    rows = np.random.default_rng(0).normal(size=(100, 2))
    assert isolation_scores(rows * [1.0, 1024.0]) == pytest.approx(isolation_scores(rows))


@pytest.mark.parametrize(
    ("rows", "said"),
    [([[1.0]], "two rows"), ([1.0, 2.0], "matrix"), ([[np.nan], [1.0]], "finite"), (np.empty((5, 0)), "matrix")],
)
def test_what_is_no_matrix_is_refused(rows: list[list[float]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        isolation_scores(rows)


def test_limits_are_named() -> None:
    with pytest.raises(ValueError, match=f"at most {MOST_ROWS}"):
        isolation_scores(np.zeros((MOST_ROWS + 1, 1)))
    with pytest.raises(ValueError, match="one tree"):
        isolation_scores([[1.0], [2.0]], trees=0)
