"""Normalisation: bring criteria of different units to one scale on which more is always better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

Scaling = Literal["none", "ratio", "max", "minmax", "sum", "vector"]

# Beyond these powers of two squares of values, and sums of squares, could overflow or vanish.
_ORDINARY = 2.0**400
_PIECE = 8_000


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """Of each criterion the lowest and the highest value, and the sum of squares (of values of ordinary size)."""

    lowest: Floats
    highest: Floats
    squares: Floats

    @classmethod
    def of(cls, matrix: Floats) -> Extent:
        """One pass over the matrix, row by row, so that a row is read from memory once."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.array([_measured(values) for values in matrix]).T
        return cls(found[0], found[1], found[2])


def _measured(values: Floats) -> tuple[float, float, float]:
    # In pieces: of longer products the linear algebra library makes threads, and waits for them on a busy machine.
    even = values.size - values.size % _PIECE
    pieces = values[:even].reshape(-1, _PIECE)
    squares = float(np.vecdot(pieces, pieces).sum()) + float(np.dot(values[even:], values[even:]))
    return float(np.minimum.reduce(values)), float(np.maximum.reduce(values)), squares


def finite_matrix(columns: ArrayLike) -> Floats:
    """Criteria × alternatives as contiguous floats, each criterion one row.

    Raises ValueError when the matrix is ragged, empty, or has a value that is not a finite number, naming the first.
    O(n·m).
    """
    return bounded_matrix(columns)[0]


def bounded_matrix(columns: ArrayLike) -> tuple[Floats, Extent]:
    """The same with its extent, by which it was checked."""
    try:
        matrix = np.ascontiguousarray(columns, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as problem:
        raise ValueError(
            f"the matrix needs numbers, and as many alternatives for each criterion ({problem})"
        ) from problem
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError("the matrix needs at least one criterion and one alternative")
    extent = Extent.of(matrix)
    if not (np.isfinite(extent.lowest).all() and np.isfinite(extent.highest).all()):
        criterion, alternative = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(
            f"every value of the matrix must be a finite number: criterion {criterion} of alternative {alternative} "
            f"is {matrix[criterion, alternative]}"
        )
    return matrix, extent


def directions(benefit: Sequence[bool], criteria: int) -> Flags:
    """For each criterion whether more is better. Raises ValueError unless there is one direction for each."""
    flags = np.asarray(benefit, dtype=bool)
    if flags.shape != (criteria,):
        raise ValueError(f"{criteria} criteria and {flags.size} directions do not match")
    return flags


def signed(matrix: Floats, more_is_better: Flags) -> Floats:
    """The matrix with costs negated, so that more is better everywhere."""
    return np.where(more_is_better, 1.0, -1.0)[:, None] * matrix


def ordinary(matrix: Floats, extent: Extent, together: bool = False) -> tuple[Floats, Extent]:
    """Huge and tiny criteria multiplied by a power of two, which is exact, so that squares neither overflow nor vanish.

    Values of ordinary size are handed back as they are, not copied. `together`: all criteria by the same power.
    """
    largest = np.maximum(np.abs(extent.lowest), np.abs(extent.highest))
    extreme = (largest > _ORDINARY) | ((largest > 0) & (largest < 1 / _ORDINARY))
    if not extreme.any():
        return matrix, extent
    exponents = -np.frexp(largest)[1]
    exponents = np.full_like(exponents, exponents.min()) if together else np.where(extreme, exponents, 0)
    moved = np.ldexp(matrix, exponents[:, None])
    return moved, Extent.of(moved)


def scaled(columns: ArrayLike, benefit: Sequence[bool], scaling: Scaling = "minmax") -> Floats:
    """Criteria × alternatives on a common scale, more always better.

    `columns`: criteria × alternatives. `scaling`, x a benefit and y a cost:
    - none: x, and −y;
    - ratio (linear ratio): x / max and min / y; positive values only;
    - max: x / max and 1 − y / max; no negative values;
    - minmax: (x − min) / (max − min) and (max − y) / (max − min); 1 for all where all are equal;
    - sum: x / Σx and (1/y) / Σ(1/y); positive values only;
    - vector: x / ‖x‖ and 1 − y / ‖y‖.
    A criterion that is zero for all stays 0 (max, vector: a benefit 0, a cost 1). Every one keeps the order of the
    values, also after rounding. Raises ValueError naming the value that does not fit. Definitions as in Jahan and
    Edwards (2015). O(n·m).
    """
    if scaling not in get_args(Scaling):
        raise ValueError(f"unknown scaling {scaling!r}; there are {', '.join(get_args(Scaling))}")
    matrix, extent = bounded_matrix(columns)
    more_is_better = directions(benefit, matrix.shape[0])
    if scaling == "none":
        return signed(matrix, more_is_better)
    matrix, extent = ordinary(matrix, extent)
    _refuse_below(extent.lowest, {"ratio": "positive", "sum": "positive", "max": "not negative"}.get(scaling))
    out = np.empty_like(matrix)
    sizes = np.sqrt(extent.squares)
    for at, values in enumerate(matrix):
        one = _Criterion(
            values, float(extent.lowest[at]), float(extent.highest[at]), float(sizes[at]), bool(more_is_better[at])
        )
        out[at] = _SCALED[scaling](one)
    return out


def _refuse_below(lowest: Floats, needed: str | None) -> None:
    wrong = lowest <= 0 if needed == "positive" else lowest < 0
    if needed and wrong.any():
        criterion = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"this scaling needs values that are {needed}; criterion {criterion} has {lowest[criterion]:g}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Criterion:
    values: Floats
    lowest: float
    highest: float
    norm: float
    benefit: bool


def _ratio(one: _Criterion) -> Floats:
    return one.values / one.highest if one.benefit else one.lowest / one.values


def _minmax(one: _Criterion) -> Floats:
    width = one.highest - one.lowest
    if width == 0:
        return np.ones_like(one.values)
    return (one.values - one.lowest) / width if one.benefit else (one.highest - one.values) / width


def _sum(one: _Criterion) -> Floats:
    # Of a cost 1 / y and the lowest y / y are the same shares, and the latter never overflow.
    shares = one.values if one.benefit else one.lowest / one.values
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def _by(one: _Criterion, size: float) -> Floats:
    shares = one.values / size if size > 0 else np.zeros_like(one.values)
    return shares if one.benefit else 1 - shares


_SCALED: dict[str, Callable[[_Criterion], Floats]] = {
    "ratio": _ratio,
    "minmax": _minmax,
    "sum": _sum,
    "max": lambda one: _by(one, one.highest),
    "vector": lambda one: _by(one, one.norm),
}
