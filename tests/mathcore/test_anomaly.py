"""What stands out, by each method, and what does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.anomaly import (
    detect,
    extreme_studentized,
    fences,
    isolated,
    level_shifts,
    robust_z_scores,
    z_scores,
)

_prices = st.lists(st.floats(0.01, 1e4), min_size=5, max_size=60)
CALM = [2.0, 2.1, 1.9, 2.05, 2.0, 1.95, 2.1, 2.0, 1.9, 2.05] * 3


@pytest.mark.requirement("FR-MATH-011")
def test_an_outlier_is_found_by_every_method_and_a_usual_price_by_none() -> None:
    jump = detect(9.0, CALM)
    assert jump.is_anomaly
    assert {one.method: one.is_anomaly for one in jump.verdicts} == {
        "z_score": True,
        "robust_z_score": True,
        "iqr": True,
        "isolation_forest": True,
    }
    assert jump.z_score == pytest.approx((9.0 - np.mean(CALM)) / np.std(CALM))
    usual = detect(2.0, CALM)
    assert not usual.is_anomaly
    assert not any(one.is_anomaly for one in usual.verdicts)


def test_the_threshold_is_the_callers() -> None:
    price = float(np.mean(CALM) + 3.5 * np.std(CALM))
    assert detect(price, CALM, threshold_z=3.0).verdicts[0].is_anomaly
    assert not detect(price, CALM, threshold_z=4.0).verdicts[0].is_anomaly


def test_from_a_price_that_never_moved_any_other_stands_out() -> None:
    assert not detect(2.0, [2.0] * 20).is_anomaly
    found = detect(2.1, [2.0] * 20)
    assert found.is_anomaly
    assert math.isfinite(found.z_score)


def test_equal_prices_have_no_scores() -> None:
    for scores in (z_scores([0.1] * 10), robust_z_scores([0.1] * 10)):
        assert scores.tolist() == [0.0] * 10
    assert isolated([0.1] * 10) == pytest.approx(np.full(10, 0.5))
    assert robust_z_scores([1.0, 9.0, 1.0, 9.0]).tolist() == [0.0] * 4
    assert z_scores([4.0]).tolist() == [0.0]


def test_several_outliers_do_not_hide_one_another_from_the_robust_score() -> None:
    prices = [*([2.0, 2.1, 1.9, 2.05] * 5), 50.0, 60.0, 55.0]
    assert np.flatnonzero(np.abs(robust_z_scores(prices)) > 3.5).tolist() == [20, 21, 22]
    assert np.abs(z_scores(prices)).max() < 3
    assert sorted(extreme_studentized(prices, 5)[0]) == [20, 21, 22]


def test_when_most_prices_are_equal_the_mean_deviation_stands_in() -> None:
    assert np.flatnonzero(np.abs(robust_z_scores([2.0] * 7 + [8.0])) > 3.5).tolist() == [7]


def test_the_fences_name_their_quartiles() -> None:
    # Definition 7: of 1, 2, 3, 4 the quartiles are 1.75 and 3.25.
    assert fences([1.0, 2.0, 3.0, 4.0]) == (1.75 - 1.5 * 1.5, 3.25 + 1.5 * 1.5)


def test_the_forest_says_the_same_for_the_same_seed_and_sees_the_outlier() -> None:
    prices = [*CALM, 9.0, *CALM]
    first = isolated(prices, seed=3)
    assert first.tolist() == isolated(prices, seed=3).tolist()
    assert first.tolist() != isolated(prices, seed=4).tolist()
    # The step back down stands out as much as the step up.
    assert set(np.argsort(first)[-2:]) == {len(CALM), len(CALM) + 1}
    assert ((first > 0) & (first < 1)).all()


def test_a_lasting_shift_is_one_and_an_outlier_is_none() -> None:
    prices = [98.32] * 40 + [55.04] * 40
    (shift,) = level_shifts(prices)
    assert shift.position == 40
    assert [shift.before, shift.after] == pytest.approx([98.32, 55.04])
    assert shift.change == pytest.approx(55.04 / 98.32 - 1)
    assert level_shifts([2.0] * 20 + [9.0] + [2.0] * 20) == []
    assert level_shifts([2.0] * 5 + [3.0] * 5) == []
    noise = np.random.default_rng(1).normal(0, 0.01, 100)
    noisy = np.exp(noise + np.where(np.arange(100) < 60, 0.0, 0.5))
    assert [shift.position for shift in level_shifts(noisy)] == [60]
    twice = [1.0] * 30 + [2.0] * 30 + [1.5] * 30
    assert [shift.position for shift in level_shifts(twice)] == [30, 60]


@given(_prices, st.floats(0.01, 1e4))
def test_a_verdict_is_always_a_number(prices: list[float], current: float) -> None:
    found = detect(current, prices)
    assert math.isfinite(found.z_score)
    assert all(math.isfinite(one.score) and math.isfinite(one.bound) for one in found.verdicts)
    assert found.is_anomaly == (sum(one.is_anomaly for one in found.verdicts) >= 2)
    for shift in level_shifts(prices):
        assert 0 < shift.position < len(prices)


@given(_prices)
def test_scores_have_no_mean_and_no_currency(prices: list[float]) -> None:
    scores = z_scores(prices)
    assert abs(scores.mean()) < 1e-6
    assert z_scores([7 * price for price in prices]) == pytest.approx(scores, abs=1e-6)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 5"):
        detect(1.0, [1.0] * 4)
    with pytest.raises(ValueError, match="prices"):
        detect(-1.0, CALM)
    with pytest.raises(ValueError, match="threshold_z"):
        detect(1.0, CALM, threshold_z=0)
    with pytest.raises(ValueError, match="window"):
        level_shifts(CALM, window=1)
    with pytest.raises(ValueError, match="most"):
        extreme_studentized(CALM, len(CALM))
    with pytest.raises(ValueError, match="three finite"):
        extreme_studentized([1.0, math.nan, 2.0], 1)
