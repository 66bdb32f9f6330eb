"""Collaborative filtering against implicit: the same factors from the same start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix

from mathcore.als import factorise, fold_in, loss
from tests.oracles.peer import peer

implicit_als = peer("implicit.cpu.als")

# They advise a single thread for speed, and warn without it; nothing is timed here.
pytestmark = pytest.mark.filterwarnings("ignore:OpenBLAS is configured:RuntimeWarning")

ALPHA = 40.0
REGULARIZATION = 0.1


def _theirs(table: Any, start: tuple[Any, Any], iterations: int, *, exact: bool) -> Any:
    """Their model from the same start; what they take is the confidence, so 1 + α·r is what they get."""
    confidence = csr_matrix(table)
    confidence.data = 1.0 + ALPHA * confidence.data
    model = implicit_als.AlternatingLeastSquares(
        factors=start[0].shape[1],
        regularization=REGULARIZATION,
        alpha=1.0,
        dtype=np.float64 if exact else np.float32,
        use_cg=not exact,
        iterations=iterations,
        num_threads=1,
    )
    model.user_factors, model.item_factors = (side.astype(model.dtype) for side in start)
    model.fit(confidence, show_progress=False)
    return model


def _problem(seed: int) -> tuple[Any, tuple[Any, Any]]:
    dice = np.random.default_rng(seed)
    users, items, factors = dice.integers(2, 20), dice.integers(2, 20), int(dice.integers(1, 6))
    # Whole strengths: they keep the confidences in float32.
    table = dice.poisson(dice.uniform(0.1, 1.0), (users, items)).astype(float)
    table[0, 0] += 1
    return csr_array(table), (dice.normal(0, 0.3, (users, factors)), dice.normal(0, 0.3, (items, factors)))


@pytest.mark.requirement("PROP-9")
def test_the_exact_factors_are_theirs_from_the_same_start() -> None:
    for seed in range(1000):
        table, start = _problem(seed)
        ours = factorise(
            table,
            factors=start[0].shape[1],
            iterations=3,
            start=start,
            alpha=ALPHA,
            regularization=REGULARIZATION,
            tolerance=0,
        )
        theirs = _theirs(table, start, 3, exact=True)
        assert ours.users == pytest.approx(theirs.user_factors, rel=1e-9, abs=1e-9), seed
        assert ours.items == pytest.approx(theirs.item_factors, rel=1e-9, abs=1e-9), seed


def test_a_user_folded_in_gets_their_vector() -> None:
    for seed in range(200):
        table, start = _problem(seed)
        theirs = _theirs(table, start, 2, exact=True)
        ours = factorise(table, factors=start[0].shape[1], iterations=2, start=start, tolerance=0)
        row = csr_matrix(table[[0]])
        confidence = row.copy()
        confidence.data = 1.0 + ALPHA * confidence.data
        expected = theirs.recalculate_user(0, confidence)
        assert fold_in(ours, row.indices.tolist(), row.data.tolist()) == pytest.approx(expected, abs=1e-9), seed


def test_the_fast_solver_gets_as_low_as_theirs() -> None:
    dice = np.random.default_rng(11)
    table = csr_array(dice.poisson(0.05, (400, 300)).astype(float))
    start = (dice.normal(0, 0.01, (400, 16)), dice.normal(0, 0.01, (300, 16)))
    theirs = _theirs(table, start, 10, exact=False)
    ours = factorise(table, factors=16, iterations=10, start=start, solver="fast", tolerance=0)
    reached, expected = (
        loss(table, users, items, regularization=REGULARIZATION, alpha=ALPHA)
        for users, items in ((ours.users, ours.items), (theirs.user_factors, theirs.item_factors))
    )
    assert reached == pytest.approx(expected, rel=1e-3)
