"""ELECTRE I: who outranks whom, the kernel, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.outranking import MOST_ALTERNATIVES, Discordance, electre1
from tests.mathcore.decisions import Drawn, counted, decisions, dominated_pairs, untimed

_own_scales: tuple[Discordance, ...] = ("global_range", "criterion_range")
_variants = st.sampled_from([*_own_scales, "hwang_yoon"])
_thresholds = st.floats(0.5, 1)


@pytest.mark.requirement("FR-MATH-012")
@untimed
@given(decisions(positive=True), _variants, _thresholds)
def test_an_alternative_outranks_all_it_dominates(decision: Drawn, variant: Discordance, agreed: float) -> None:
    columns, weights, benefit = decision
    # Also criteria without weight may veto: dominance here is on all of them.
    better = counted((columns, [1.0] * len(weights), benefit))
    found = electre1(columns, weights, benefit, agreed, 0.2, variant)
    for dominator, dominated in dominated_pairs(better):
        assert found.outranks[dominator, dominated]
        assert dominated not in found.undefeated


@untimed
@given(decisions(positive=True), st.sampled_from(_own_scales), _thresholds)
def test_nothing_dominated_is_in_the_kernel_without_a_circle_to_its_dominator(
    decision: Drawn, variant: Discordance, agreed: float
) -> None:
    columns, weights, benefit = decision
    found = electre1(columns, weights, benefit, agreed, 0.2, variant, "minmax")
    kernel = set(found.kernel.tolist())
    for dominator, dominated in dominated_pairs(counted((columns, [1.0] * len(weights), benefit))):
        assert dominated not in kernel or dominator in kernel


@untimed
@given(decisions(positive=True), _variants, _thresholds)
def test_outside_the_kernel_is_what_a_member_outranks(decision: Drawn, variant: Discordance, agreed: float) -> None:
    found = electre1(*decision, agreed, 0.3, variant)
    kernel = set(found.kernel.tolist())
    assert kernel
    assert set(found.undefeated.tolist()) <= kernel
    for outsider in set(range(len(decision[0][0]))) - kernel:
        beaten_by = set(np.flatnonzero(found.outranks[:, outsider]).tolist())
        # A member outranks it, or one of the circle it belongs to.
        assert beaten_by
        if not (found.outranks & found.outranks.T).any() and not _circular(found.outranks):
            assert beaten_by & kernel
            assert not found.outranks[np.ix_(found.kernel, found.kernel)].any()


def _circular(outranks: np.ndarray) -> bool:
    reach = outranks.copy()
    for _ in range(len(outranks)):
        reach |= (reach.astype(int) @ outranks.astype(int)) > 0
    return bool(np.diag(reach).any())


@untimed
@given(decisions(positive=True), _variants)
def test_indices_are_shares_and_the_diagonal_agrees_with_itself(decision: Drawn, variant: Discordance) -> None:
    found = electre1(*decision, discordance=variant)
    for index in (found.concordance, found.discordance):
        assert ((index >= 0) & (index <= 1 + 1e-12)).all()
    assert np.diag(found.concordance) == pytest.approx(1)
    assert (np.diag(found.discordance) == 0).all()


def test_a_circle_is_in_the_kernel_together() -> None:
    # Each beats the next on two of three criteria.
    found = electre1([[3, 2, 1], [1, 3, 2], [2, 1, 3]], [1, 1, 1], [True] * 3, 0.6, 1.0)
    assert found.kernel.tolist() == [0, 1, 2]
    assert found.undefeated.tolist() == []


def test_too_great_a_loss_on_one_criterion_vetoes_by_each_scale() -> None:
    columns, weights, benefit = [[9, 8], [9, 8], [1, 100]], [4, 4, 2], [True, True, True]
    for variant in ("global_range", "criterion_range", "hwang_yoon"):
        assert not electre1(columns, weights, benefit, 0.7, 0.3, variant, "vector").outranks[0, 1]
        assert electre1(columns, weights, benefit, 0.7, 1.0, variant, "vector").outranks[0, 1]


def test_one_alternative_and_equal_ones_are_their_own_kernel() -> None:
    assert electre1([[3]], [1], [True]).kernel.tolist() == [0]
    assert electre1([[3, 3], [0, 0]], [1, 1], [True, False]).kernel.tolist() == [0, 1]


def test_thresholds_are_met_in_spite_of_rounding() -> None:
    # 0.1 + 0.2 is a little more than 0.3, and 1 − 0.7 a little less than it.
    found = electre1([[2, 1], [2, 1], [1, 2]], [0.1, 0.2, 0.7], [True] * 3, 0.3, 1.0)
    assert found.outranks[0, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"concordance_at_least": 1.2}, "concordance threshold must be between 0 and 1, not 1.2"),
        ({"discordance_at_most": -0.1}, "discordance threshold"),
        ({"discordance": "guess"}, "unknown discordance 'guess'"),
        ({"scaling": "ratio"}, "unknown scaling 'ratio'"),
    ],
)
def test_unknown_variants_and_thresholds_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        electre1([[1, 2]], [1], [True], **change)  # type: ignore[arg-type]


def test_too_many_alternatives_are_refused_with_the_limit_and_another_way() -> None:
    with pytest.raises(ValueError, match=f"1000000 alternatives are too many.*{MOST_ALTERNATIVES}.*use topsis"):
        electre1(np.ones((1, 1_000_000)), [1], [True])
    with pytest.raises(ValueError, match="criterion 0 has some"):
        electre1([[-1, 2]], [1], [True])
