"""How long collaborative filtering takes to learn, beside implicit's solver of the same kind in the same run.

10,000 users × 5,000 items, about 462,000 interactions, 50 factors, one thread each. Theirs is compiled; ours is numpy
and LAPACK. Whole fits are timed, preparation included, and divided by the number of turns.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

# Before numpy is loaded: with more threads both are slower on matrices this small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from mathcore.als import Solver, factorise, loss

USERS, ITEMS, CELLS, FACTORS = 10_000, 5_000, 478_000, 50
ALPHA, REGULARIZATION, TURNS, ROUNDS = 40.0, 0.1, 5, 3


def interactions() -> Any:
    """Users × items with few popular items and many rare ones; strengths 1 to 5."""
    dice = np.random.default_rng(1)
    users = dice.integers(0, USERS, CELLS)
    items = (dice.power(0.4, CELLS) * ITEMS).astype(int)
    table = csr_array((np.ones(CELLS), (users, items)), shape=(USERS, ITEMS))
    table.sum_duplicates()
    table.data = dice.integers(1, 6, table.nnz).astype(float)
    return table


def ours(table: Any, start: tuple[Any, Any], solver: Solver) -> tuple[Any, Any]:
    """Factors after so many turns."""
    found = factorise(
        table,
        factors=FACTORS,
        regularization=REGULARIZATION,
        alpha=ALPHA,
        iterations=TURNS,
        tolerance=0,
        solver=solver,
        start=start,
    )
    return found.users, found.items


def theirs(confidence: Any, start: tuple[Any, Any], solver: Solver, peer: Any) -> tuple[Any, Any]:
    """Factors of theirs after so many turns; they are given the confidence 1 + α·r."""
    model = peer(
        factors=FACTORS,
        regularization=REGULARIZATION,
        alpha=1.0,
        use_cg=solver == "fast",
        iterations=TURNS,
        num_threads=1,
    )
    model.user_factors, model.item_factors = (side.astype(np.float32) for side in start)
    model.fit(confidence, show_progress=False)
    return model.user_factors, model.item_factors


def best(run: Callable[[], tuple[Any, Any]]) -> tuple[float, tuple[Any, Any]]:
    """Least seconds a turn over the rounds, and what came out."""
    seconds, result = [], None
    for _ in range(ROUNDS):
        began = time.perf_counter()
        result = run()
        seconds.append((time.perf_counter() - began) / TURNS)
    assert result is not None
    return min(seconds), result


def multiply_floor(kind: type[np.floating[Any]]) -> float:
    """Multiplications and additions a second of one large matrix product, as the machine does them now."""
    dice = np.random.default_rng(2)
    square = dice.normal(size=(1500, 1500)).astype(kind)
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        np.matmul(square, square)
        seconds.append(time.perf_counter() - began)
    return 2 * 1500**3 / min(seconds)


def main() -> None:
    """Print seconds a turn of both solvers, ratios to the peer and to the floor, and the loss each reached."""
    table = interactions()
    dice = np.random.default_rng(0)
    start = dice.normal(0, 0.01, (USERS, FACTORS)), dice.normal(0, 0.01, (ITEMS, FACTORS))
    confidence = csr_matrix(table)
    confidence.data = 1.0 + ALPHA * confidence.data
    peer: Any = None
    try:
        peer = importlib.import_module("implicit.cpu.als").AlternatingLeastSquares
    except ImportError:
        print("als: implicit is not installed: our figures and the floor only", file=sys.stderr)
    print(f"als: {USERS} × {ITEMS}, {table.nnz} interactions, {FACTORS} factors, {TURNS} turns, best of {ROUNDS}")
    work = 2 * 2 * table.nnz * FACTORS**2 + (USERS + ITEMS) * (FACTORS**3 / 3 + 2 * FACTORS**2)
    solvers: tuple[tuple[Solver, str], ...] = (("exact", "Cholesky"), ("fast", "conjugate gradients"))
    for solver, name in solvers:
        seconds, factors = best(lambda solver=solver: ours(table, start, solver))  # type: ignore[misc]
        reached = loss(table, *factors, regularization=REGULARIZATION, alpha=ALPHA)
        told = f"als {name}: {seconds:.3f} s a turn, loss {reached:.4g}"
        if solver == "exact":
            told += f", {seconds / (work / multiply_floor(np.float64)):.1f} × the arithmetic alone"
        if peer is not None:
            compared, factors = best(lambda solver=solver: theirs(confidence, start, solver, peer))  # type: ignore[misc]
            counted = loss(table, *factors, regularization=REGULARIZATION, alpha=ALPHA)
            told += f"; implicit {compared:.3f} s, loss {counted:.4g}: ours takes {seconds / compared:.2f} of its time"
        print(told)


if __name__ == "__main__":
    main()
