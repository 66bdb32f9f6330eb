"""PROMETHEE: flows without pairs equal those of the pairs, and dominance is kept."""

from __future__ import annotations

import random
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.promethee import (
    MOST_GAUSSIAN_VALUES,
    MOST_PAIRED,
    Form,
    Preference,
    partial_order,
    preference_indices,
    promethee,
)
from tests.mathcore.decisions import Drawn, counted, decisions, dominated_pairs, untimed

_preferences = st.builds(
    lambda form, q, wider, s: Preference(form, q=q, p=q + wider, s=s),
    st.sampled_from(get_args(Form)),
    st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0]),
    st.sampled_from([0.2, 0.5, 2.0, 1e6]),
    st.sampled_from([0.3, 2.0, 1e5]),
)
_one_each = st.lists(_preferences, min_size=5, max_size=5)


@pytest.mark.requirement("FR-MATH-012")
@untimed
@given(decisions(), _one_each)
def test_flows_without_pairs_are_those_of_the_pairs(decision: Drawn, preferences: list[Preference]) -> None:
    chosen = preferences[: len(decision[0])]
    indices, found = preference_indices(*decision, chosen), promethee(*decision, chosen)
    others = max(1, len(indices) - 1)
    # Where thresholds are tiny beside the values, the pairs themselves are only so exact.
    assert found.positive == pytest.approx(indices.sum(axis=1) / others, abs=2e-4)
    assert found.negative == pytest.approx(indices.sum(axis=0) / others, abs=2e-4)


@pytest.mark.parametrize("form", get_args(Form))
@pytest.mark.parametrize("decimals", [0, 1, 15])
def test_flows_are_exact_where_values_and_thresholds_are_of_one_size(form: Form, decimals: int) -> None:
    dice = np.random.default_rng(3)
    preference = Preference(form, q=0.2, p=0.7, s=0.4)
    for _ in range(20):
        columns = np.round(dice.uniform(0, 3, (2, 60)), decimals)
        indices = preference_indices(columns, [2, 1], [True, False], [preference] * 2)
        found = promethee(columns, [2, 1], [True, False], [preference] * 2)
        assert found.positive == pytest.approx(indices.sum(axis=1) / 59, abs=1e-13)
        assert found.negative == pytest.approx(indices.sum(axis=0) / 59, abs=1e-13)


@untimed
@given(decisions(), _one_each)
def test_nothing_dominated_comes_before_what_dominates_it(decision: Drawn, preferences: list[Preference]) -> None:
    found = promethee(*decision, preferences[: len(decision[0])])
    place = {int(at): rank for rank, at in enumerate(found.order)}
    for dominator, dominated in dominated_pairs(counted(decision)):
        assert place[dominator] < place[dominated]
        assert found.positive[dominator] >= found.positive[dominated]
        assert found.negative[dominator] <= found.negative[dominated]


@untimed
@given(decisions(), _one_each)
def test_net_flows_sum_to_zero_and_are_the_weighted_sum_of_their_parts(
    decision: Drawn, preferences: list[Preference]
) -> None:
    found = promethee(*decision, preferences[: len(decision[0])])
    shares = np.array(decision[1]) / sum(decision[1])
    assert found.net.sum() == pytest.approx(0, abs=1e-3)
    assert found.net == pytest.approx(shares @ found.parts, abs=1e-12)


@untimed
@given(decisions(), st.randoms(use_true_random=False))
def test_the_position_of_an_alternative_does_not_change_its_flow(decision: Drawn, dice: random.Random) -> None:
    columns, weights, benefit = decision
    shuffled = list(range(len(columns[0])))
    dice.shuffle(shuffled)
    moved = promethee(np.array(columns)[:, shuffled], weights, benefit)
    assert moved.net.tolist() == promethee(*decision).net[shuffled].tolist()


@untimed
@given(decisions(), st.sampled_from([2.0**-30, 0.5, 8.0, 2.0**40]))
def test_the_unit_does_not_matter_when_thresholds_are_in_it(decision: Drawn, unit: float) -> None:
    columns, weights, benefit = decision
    plain = [Preference("linear", q=0.5, p=2.0)] * len(columns)
    moved = [Preference("linear", q=0.5 * unit, p=2.0 * unit)] * len(columns)
    found = promethee(np.array(columns) * unit, weights, benefit, moved)
    assert found.net.tolist() == promethee(*decision, plain).net.tolist()


@untimed
@given(decisions())
def test_the_partial_order_says_of_each_pair_exactly_one_thing(decision: Drawn) -> None:
    found = partial_order(promethee(*decision))
    total = found.preferred.astype(int) + found.preferred.T + found.indifferent + found.incomparable
    assert (total == 1).all()
    assert np.diag(found.indifferent).all()
    for dominator, dominated in dominated_pairs(counted(decision)):
        assert not found.preferred[dominated, dominator]
        assert not found.incomparable[dominator, dominated]


def test_flows_that_disagree_make_a_pair_incomparable() -> None:
    # The first beats and loses to many, the second little of either.
    columns = [[10, 5, 4, 9], [0, 5, 4, 6]]
    preferences = [Preference("v-shape", p=10), Preference("v-shape", p=10)]
    found = partial_order(promethee(columns, [1, 1], [True, True], preferences))
    assert found.incomparable.any()


@pytest.mark.parametrize(
    ("preference", "worth"),
    [
        (Preference(), [0, 0, 1, 1, 1, 1]),
        (Preference("u-shape", q=1), [0, 0, 0, 0, 1, 1]),
        (Preference("v-shape", p=2), [0, 0, 0.25, 0.5, 1, 1]),
        (Preference("level", q=0.5, p=2), [0, 0, 0, 0.5, 0.5, 1]),
        (Preference("linear", q=0.5, p=2), [0, 0, 0, 1 / 3, 1, 1]),
        (Preference("gaussian", s=1), [0, 0, 1 - np.exp(-0.125), 1 - np.exp(-0.5), 1 - np.exp(-2), 1 - np.exp(-4.5)]),
    ],
)
def test_the_six_preference_functions_are_those_of_brans_and_vincke(preference: Preference, worth: list[float]) -> None:
    assert preference.of(np.array([-1, 0, 0.5, 1, 2, 3.0])) == pytest.approx(worth)


def test_one_alternative_alone_has_no_flow() -> None:
    found = promethee([[3], [4]], [1, 1], [True, False])
    assert (found.positive.tolist(), found.negative.tolist(), found.order.tolist()) == ([0], [0], [0])


def test_prices_that_differ_by_the_threshold_as_subtraction_sees_it_are_counted_alike() -> None:
    columns = [[0.1 * at for at in range(60)]]
    for form in ("u-shape", "level"):
        preference = [Preference(form, q=0.3, p=0.7)]
        indices = preference_indices(columns, [1], [True], preference)
        assert promethee(columns, [1], [True], preference).positive.tolist() == (indices.sum(axis=1) / 59).tolist()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"form": "linear", "q": 2, "p": 1}, "p must not be below q; they are 1 and 2"),
        ({"form": "v-shape"}, "p above 0"),
        ({"form": "gaussian"}, "s above 0"),
        ({"form": "u-shape", "q": -1}, "q of a preference must be a finite number, zero or above, not -1"),
        ({"form": "u-shape", "q": float("nan")}, "not nan"),
        ({"form": "bumpy"}, "unknown preference 'bumpy'"),
    ],
)
def test_preferences_that_make_no_sense_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Preference(**wrong)  # type: ignore[arg-type]


def test_what_would_take_too_long_or_overflow_is_refused_with_another_way() -> None:
    many = np.arange(1_000_000.0)[None]
    with pytest.raises(ValueError, match=f"1000000 alternatives.*{MOST_PAIRED}.*use the flows"):
        preference_indices(many, [1], [True])
    with pytest.raises(ValueError, match=f"1000000 different values.*{MOST_GAUSSIAN_VALUES}.*use a linear one"):
        promethee(many, [1], [True], [Preference("gaussian", s=1)])
    with pytest.raises(ValueError, match="criterion 0 has a value of size 1e"):
        promethee([[1e200, -1e200]], [1], [True])
    with pytest.raises(ValueError, match="1 criteria and 2 preferences"):
        promethee([[1, 2]], [1], [True], [Preference(), Preference()])
