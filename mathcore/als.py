"""Collaborative filtering: who used what, factored so that it tells who would use what.

Implicit feedback after Hu, Koren and Volinsky (2008), "Collaborative filtering for implicit feedback datasets":
preference p = 1 where there is an interaction r > 0, else 0; confidence c = 1 + α·r everywhere (so 1 where there is
none); loss = Σ c·(p − x·y)² + λ·(Σ|x|² + Σ|y|²) over every cell, minimised by turns over users and over items.

Each turn solves one small system a row. The exact solver does so in float64 by Cholesky: a turn is the minimum over
that side, so the loss never rises. The fast solver goes three steps of conjugate gradients in float32 from where the
row stands (Takács, Pilászy and Tikk 2011); each step lowers the loss but for rounding, and the fixed point is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mathcore.figures import LARGEST, above_zero, numbers
from mathcore.solvers import scipy_part

Floats = NDArray[np.float64]
Reals = NDArray[Any]
Whole = NDArray[np.intp]
Solver = Literal["exact", "fast"]

GRADIENT_STEPS = 3
MOST_CONFIDENCE = 1e15
"""Above it the fast solver's squares would leave the range of float32."""
BLOCK_BYTES = 1 << 20
"""Rows are solved together as long as their factors stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Factors:
    """What was learnt: one vector for each user (users × k) and item (items × k), in float64.

    `losses`: of the start and after each half turn; the fast solver's are sums of float32. `converged`: a whole turn
    gained less than the tolerance. `popularity`: users of each item, as a share of the most used one's.
    """

    users: Floats
    items: Floats
    losses: tuple[float, ...]
    converged: bool
    popularity: Floats
    regularization: float
    alpha: float
    gram: Floats


@dataclass(frozen=True, slots=True)
class Picks:
    """Items best first with their scores, and whether they follow the user's own history or mere popularity."""

    items: Whole
    scores: Floats
    basis: Literal["history", "popularity"]


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows of about the same length, padded to the longest: item numbers and α·r, 0 in the padding."""

    rows: Whole
    columns: Whole
    extra: Reals
    confidence: Reals


def factorise(
    interactions: Any,
    *,
    factors: int = 32,
    regularization: float = 0.1,
    alpha: float = 40.0,
    iterations: int = 15,
    tolerance: float = 1e-6,
    solver: Solver = "exact",
    seed: int = 0,
    start: tuple[ArrayLike, ArrayLike] | None = None,
) -> Factors:
    """Learn the factors of users and items.

    `interactions`: users × items, scipy.sparse or dense, strengths ≥ 0 in any unit (0: none). A turn (users, then
    items) is repeated until it lowers the loss by less than `tolerance` of it, or `iterations` times. `start`: both
    factor matrices to begin from, else seeded. Same input and seed, same factors.

    Raises ValueError for negative or not finite strengths, no interaction at all, or settings out of range. O(nnz·k² +
    (users + items)·k³) a turn exact, O(nnz·k + (users + items)·k²) fast; memory O(nnz + longest row·k).
    """
    _settings(factors, regularization, alpha, iterations, tolerance, solver)
    table = _table(interactions)
    _refuse_above(float(table.data.max()), alpha)
    kind = np.dtype(np.float64 if solver == "exact" else np.float32)
    users, items = _start(start, table.shape, factors, seed, kind)
    by_user = _blocks(table, alpha, factors, kind)
    by_item = _blocks(table.T.tocsr(), alpha, factors, kind)
    solve = _cholesky if solver == "exact" else _gradients
    every_confidence = float(table.nnz + alpha * table.data.sum())
    losses, converged = [_loss(table, users, items, regularization, alpha)], False
    for _ in range(iterations):
        for blocks, moving, fixed in ((by_user, users, items), (by_item, items, users)):
            explained = _half_turn(solve, blocks, moving, fixed, regularization)
            losses.append(every_confidence - explained + regularization * _squares(fixed))
        if losses[-3] - losses[-1] <= tolerance * losses[-3]:
            converged = True
            break
    counts = np.bincount(table.indices, minlength=table.shape[1])
    settled = items.astype(np.float64)
    return Factors(
        users=users.astype(np.float64),
        items=settled,
        losses=tuple(losses),
        converged=converged,
        popularity=counts / counts.max(),
        regularization=regularization,
        alpha=alpha,
        gram=settled.T @ settled,
    )


def loss(interactions: Any, users: ArrayLike, items: ArrayLike, *, regularization: float, alpha: float) -> float:
    """The loss of given factors over every cell, seen and unseen, in float64.

    Eq. 3 of Hu, Koren and Volinsky, the unseen cells through the Gram matrices: O(nnz·k + (users + items)·k²).
    """
    table = _table(interactions)
    left, right = np.asarray(users, dtype=np.float64), np.asarray(items, dtype=np.float64)
    _fitting(left, right, table.shape)
    return _loss(table, left, right, regularization, alpha)


def fold_in(model: Factors, items: Sequence[int], strengths: Sequence[float]) -> Floats:
    """The vector of a user who was not there when the factors were learnt, from what that user used: O(n·k² + k³).

    The exact half turn for this one row. No history: zeros. Raises ValueError for items unknown or named twice, or
    strengths not above zero.
    """
    linalg = scipy_part("linalg")
    at, strong = _history(model, items, strengths)
    near = model.items[at]
    system = model.gram + model.regularization * np.eye(model.gram.shape[0])
    system += near.T @ (near * (model.alpha * strong)[:, None])
    right = near.T @ (1.0 + model.alpha * strong)
    return np.asarray(linalg.cho_solve(linalg.cho_factor(system), right), dtype=np.float64)


def recommend(
    model: Factors, items: Sequence[int], strengths: Sequence[float], *, top_k: int = 10, repeat: bool = False
) -> Picks:
    """The best items for a user with this history, without those already in it unless `repeat`: O(items·k).

    No history: the most used items, and `basis` says so. Equal scores are ordered by popularity, then by number.
    """
    if top_k < 1:
        raise ValueError("top_k must be at least 1")
    at, strong = _history(model, items, strengths)
    scores = model.items @ fold_in(model, at.tolist(), strong.tolist()) if at.size else model.popularity.copy()
    order = np.lexsort((-model.popularity, -scores))
    if not repeat:
        order = order[~np.isin(order, at)]
    best = order[:top_k]
    return Picks(best, scores[best], "history" if at.size else "popularity")


def _half_turn(
    solve: Callable[[_Block, Reals, Reals, Reals], float],
    blocks: Sequence[_Block],
    moving: Reals,
    fixed: Reals,
    regularization: float,
) -> float:
    """Move one side to its minimum, or towards it; returns how far that brings the loss below the sum of confidences.

    At any x, Σ c·(p − x·y)² + λ|x|² = Σ c·p − x·b − x·(b − A·x), with A and b of the normal equations.
    """
    base = fixed.T @ fixed + regularization * np.eye(fixed.shape[1], dtype=fixed.dtype)
    return sum(solve(block, moving, fixed, base) for block in blocks)


def _cholesky(block: _Block, moving: Reals, fixed: Reals, base: Reals) -> float:
    solve: Any = scipy_part("linalg").get_lapack_funcs("posv", (base,))
    near = fixed[block.columns]
    across = near.transpose(0, 2, 1)
    systems = across @ (near * block.extra[:, :, None]) + base
    right = (across @ block.confidence[:, :, None])[:, :, 0]
    explained = 0.0
    for row, system, wanted in zip(block.rows, systems, right, strict=True):
        # Transposed, the symmetric system is in LAPACK's own order and is not copied.
        _, solution, failed = solve(system.T, wanted, 1)
        if failed:
            raise ValueError("the regularization is too small for these strengths: a system is singular")
        moving[row] = solution
        explained += float(wanted @ solution)
    return explained


def _gradients(block: _Block, moving: Reals, fixed: Reals, base: Reals) -> float:
    near = fixed[block.columns]
    across = near.transpose(0, 2, 1)
    extra = block.extra[:, :, None]

    def product(vectors: Reals) -> Reals:
        seen = near @ vectors[:, :, None]
        seen *= extra
        return np.asarray(vectors @ base + (across @ seen)[:, :, 0])

    right = (across @ block.confidence[:, :, None])[:, :, 0]
    rows = moving[block.rows]
    residual = right - product(rows)
    direction = residual.copy()
    size = _dots(residual, residual)
    for _ in range(GRADIENT_STEPS):
        moved = product(direction)
        curve = _dots(direction, moved)
        # A row that has arrived has nothing to divide by, and stays.
        step = np.divide(size, curve, out=np.zeros_like(size), where=curve > 0)[:, None]
        rows += step * direction
        residual -= step * moved
        after = _dots(residual, residual)
        direction *= np.divide(after, size, out=np.zeros_like(size), where=size > 0)[:, None]
        direction += residual
        size = after
    moving[block.rows] = rows
    return float((_dots(rows, right) + _dots(rows, residual)).sum(dtype=np.float64))


def _dots(left: Reals, right: Reals) -> Reals:
    return np.asarray(np.einsum("ij,ij->i", left, right))


def _squares(matrix: Reals) -> float:
    return float(np.einsum("ij,ij->", matrix, matrix, dtype=np.float64))


def _loss(table: Any, users: Reals, items: Reals, regularization: float, alpha: float) -> float:
    left, right = users.astype(np.float64), items.astype(np.float64)
    total = float(((left.T @ left) * (right.T @ right)).sum())
    for first in range(0, table.shape[0], 4096):
        part = table[first : first + 4096]
        owner = np.repeat(np.arange(first, first + part.shape[0]), np.diff(part.indptr))
        guess = _dots(left[owner], right[part.indices])
        total += float(((1.0 + alpha * part.data) * (1.0 - guess) ** 2 - guess**2).sum())
    return total + regularization * (_squares(left) + _squares(right))


def _blocks(table: Any, alpha: float, factors: int, kind: np.dtype[Any]) -> list[_Block]:
    """The rows by length, in blocks that fit the cache; rows without a cell come as well, their minimum is zero."""
    lengths = np.diff(table.indptr)
    order = np.argsort(lengths, kind="stable")
    return [_block(table, order[part], alpha, kind) for part in _cuts(lengths[order], factors * kind.itemsize)]


def _cuts(lengths: Whole, vector_bytes: int) -> Iterator[slice]:
    first = 0
    while first < lengths.size:
        last = first + 1
        while last < lengths.size and (last + 1 - first) * int(lengths[last]) * vector_bytes <= BLOCK_BYTES:
            last += 1
        yield slice(first, last)
        first = last


def _block(table: Any, rows: Whole, alpha: float, kind: np.dtype[Any]) -> _Block:
    starts, lengths = table.indptr[rows], table.indptr[rows + 1] - table.indptr[rows]
    width = np.arange(max(1, int(lengths.max())))
    there = width < lengths[:, None]
    at = np.where(there, starts[:, None] + width, 0)
    extra = np.where(there, alpha * table.data[at], 0.0).astype(kind)
    columns = np.where(there, table.indices[at], 0).astype(np.intp)
    return _Block(rows, columns, extra, (extra + there).astype(kind))


def _table(interactions: Any) -> Any:
    """The interactions as a clean CSR matrix of float64, zeros left out."""
    try:
        table: Any = scipy_part("sparse").csr_array(interactions, dtype=np.float64, copy=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("interactions must be a matrix of numbers, every row as long as the others") from error
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError("interactions must be a matrix of at least one user and one item")
    if not np.isfinite(table.data).all() or (table.data < 0).any():
        raise ValueError("every interaction must be a finite strength, zero or above")
    table.sum_duplicates()
    table.eliminate_zeros()
    if not table.nnz:
        raise ValueError("there is no interaction to learn from")
    return table


def _settings(
    factors: int, regularization: float, alpha: float, iterations: int, tolerance: float, solver: str
) -> None:
    if factors < 1 or iterations < 1:
        raise ValueError(f"factors ({factors}) and iterations ({iterations}) must be at least 1")
    above_zero(regularization=regularization, alpha=alpha)
    if regularization > MOST_CONFIDENCE:
        raise ValueError(f"regularization must be at most {MOST_CONFIDENCE:g}, not {regularization:g}")
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be at least 0 and below 1, not {tolerance}")
    if solver not in ("exact", "fast"):
        raise ValueError(f"solver must be 'exact' or 'fast', not {solver!r}")


def _refuse_above(strongest: float, alpha: float) -> None:
    if strongest > min(MOST_CONFIDENCE / alpha, LARGEST):
        raise ValueError(
            f"alpha times a strength must be at most {MOST_CONFIDENCE:g}, but they are {alpha:g} and {strongest:g}: "
            "state strengths in a larger unit"
        )


def _start(
    start: tuple[ArrayLike, ArrayLike] | None, shape: tuple[int, int], factors: int, seed: int, kind: np.dtype[Any]
) -> tuple[Reals, Reals]:
    if start is None:
        dice = np.random.default_rng(seed)
        users = dice.normal(0, 0.01, (shape[0], factors)).astype(kind)
        return users, dice.normal(0, 0.01, (shape[1], factors)).astype(kind)
    users, items = np.array(start[0], dtype=kind), np.array(start[1], dtype=kind)
    _fitting(users, items, shape)
    return users, items


def _fitting(users: Reals, items: Reals, shape: tuple[int, int]) -> None:
    if users.ndim != 2 or items.ndim != 2 or (len(users), len(items)) != shape or users.shape[1] != items.shape[1]:
        raise ValueError(f"factors of {users.shape} and {items.shape} do not fit interactions of {shape}")
    if not (np.isfinite(users).all() and np.isfinite(items).all()):
        raise ValueError("every factor must be a finite number")


def _history(model: Factors, items: Sequence[int], strengths: Sequence[float]) -> tuple[Whole, Floats]:
    at, strong = np.asarray(items, dtype=np.intp), numbers(strengths, "strengths")
    if at.ndim != 1 or at.shape != strong.shape:
        raise ValueError(f"{at.size} items and {strong.size} strengths do not match")
    if ((at < 0) | (at >= len(model.items))).any() or np.unique(at).size != at.size:
        raise ValueError(f"items must be different numbers from 0 to {len(model.items) - 1}")
    if not np.isfinite(strong).all() or (strong <= 0).any():
        raise ValueError("every strength of a history must be a finite number above zero")
    if strong.size:
        _refuse_above(float(strong.max()), model.alpha)
    return at, strong
