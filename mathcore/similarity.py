"""How alike two offers are, by what they are: feature vectors and the cosine between them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mathcore import figures

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Matches:
    """The best candidates: their positions, best first, and their cosines."""

    indices: NDArray[np.intp]
    scores: Floats


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """What the features are measured against, so that a query is placed as the offers were.

    `low`, `high`: ends of each number over the offers, as logarithms where `logarithmic`. `labels`: each label's axis.
    `label_weight`: length of the labels' part of a vector that has any; a number's part is at most 1.
    """

    low: Floats
    high: Floats
    logarithmic: NDArray[np.bool_]
    labels: dict[str, int]
    label_weight: float


def feature_space(
    numbers: Sequence[Sequence[float | None]],
    labels: Sequence[Collection[str]] = (),
    *,
    logarithmic: Sequence[bool] | None = None,
    label_weight: float = 1.0,
) -> FeatureSpace:
    """Learn the ends of each number and the labels that occur.

    `numbers`: offers × features, None where unknown. `labels`: those of each offer (GPU, region, tags), if any.
    `logarithmic`: features that are compared by ratio (prices, memory), not by difference: every one unless said
    otherwise. Raises ValueError for ragged rows, infinite numbers, or one not above zero where ratios are compared.
    O(offers·features).
    """
    rows = _rows(numbers)
    flags = np.ones(rows.shape[1], dtype=bool) if logarithmic is None else np.asarray(logarithmic, dtype=bool)
    if flags.shape != rows.shape[1:]:
        raise ValueError(f"{flags.size} logarithmic flags for {rows.shape[1]} features")
    if labels and len(labels) != len(rows):
        raise ValueError(f"{len(labels)} rows of labels for {len(rows)} rows of numbers")
    if not (np.isfinite(label_weight) and label_weight >= 0):
        raise ValueError(f"label_weight must be a finite number, zero or above, not {label_weight}")
    scaled = _scaled(rows, flags)
    known = ~np.isnan(scaled)
    low = np.where(known, scaled, np.inf).min(axis=0)
    high = np.where(known, scaled, -np.inf).max(axis=0)
    never = ~known.any(axis=0)
    low[never] = high[never] = 0.0
    names = sorted({label for row in labels for label in row})
    return FeatureSpace(low, high, flags, {name: axis for axis, name in enumerate(names)}, label_weight)


def feature_vectors(
    space: FeatureSpace, numbers: Sequence[Sequence[float | None]], labels: Sequence[Collection[str]] = ()
) -> Floats:
    """Place offers or a query in the space: rows × (features + labels).

    A number lies between −1 at the lowest and 1 at the highest, clipped; one that is unknown, or the same for all, is 0
    and says nothing. Labels share `label_weight` equally; one the space has never seen takes its share and matches
    nothing.
    """
    rows = _rows(numbers)
    if rows.shape[1] != space.low.size:
        raise ValueError(f"{rows.shape[1]} features where the space has {space.low.size}")
    if labels and len(labels) != len(rows):
        raise ValueError(f"{len(labels)} rows of labels for {len(rows)} rows of numbers")
    # Halves, and clipped first: the distance of two huge numbers would overflow.
    reach, middle = space.high / 2 - space.low / 2, space.low / 2 + space.high / 2
    inside = np.clip(np.nan_to_num(_scaled(rows, space.logarithmic)), space.low, space.high)
    placed = np.divide(inside - middle, reach, out=np.zeros_like(rows), where=reach > 0)
    placed[np.isnan(rows)] = 0.0
    # The last axis holds what is unknown to the space.
    marks = np.zeros((len(rows), len(space.labels) + 1))
    for row, names in enumerate(labels):
        each = space.label_weight / np.sqrt(len(names)) if names else 0.0
        strange = sum(name not in space.labels for name in names)
        marks[row, [space.labels[name] for name in names if name in space.labels]] = each
        marks[row, -1] = each * np.sqrt(strange)
    return np.hstack([np.clip(placed, -1.0, 1.0), marks])


def cosine(one: ArrayLike, other: ArrayLike) -> float:
    """The cosine of the angle between two vectors, within [−1, 1].

    Two zero vectors are alike (1), a zero vector is like no other (0). Each is scaled by its largest value first, so
    that nothing overflows or vanishes. Raises ValueError for lengths that differ or values that are not finite. O(d).
    """
    query = _vector(one)
    return float(cosines(query, _vector(other)[None, :])[0])


def cosines(query: ArrayLike, candidates: ArrayLike) -> Floats:
    """The cosine of a vector with each row of a matrix, defined as for `cosine`: O(n·d)."""
    vector = _vector(query)
    rows = figures.numbers(candidates, "candidates")
    if rows.ndim != 2 or rows.shape[1] != vector.size:
        raise ValueError(f"candidates of shape {rows.shape} do not fit a query of {vector.size} values")
    if not np.isfinite(rows).all():
        raise ValueError("every value of a candidate must be a finite number")
    unit, units = _directions(vector[None, :])[0], _directions(rows)
    found = np.clip(units @ unit, -1.0, 1.0)
    if not unit.any():
        found[~units.any(axis=1)] = 1.0
    return np.asarray(found, dtype=np.float64)


def top_k(query: ArrayLike, candidates: ArrayLike, k: int = 10) -> Matches:
    """The k candidates nearest to the query by cosine, equal ones in the order given; all when there are fewer than k.

    O(n·d + n log n). Raises ValueError for k below 1, and as `cosines` does.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    found = cosines(query, candidates)
    # What is left of equal cosines behind the twelfth digit is rounding.
    best = np.argsort(-np.round(found, 12), kind="stable")[:k]
    return Matches(best, found[best])


def _directions(rows: Floats) -> Floats:
    """Each row at length one; a row of zeros stays."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    lengths = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    return np.asarray(np.divide(scaled, lengths, out=scaled, where=lengths > 0), dtype=np.float64)


def _vector(values: ArrayLike) -> Floats:
    vector = figures.numbers(values, "the values of a vector")
    if vector.ndim != 1 or vector.size == 0 or not np.isfinite(vector).all():
        raise ValueError("a vector must have at least one value, and every value must be a finite number")
    return vector


def _rows(features: Sequence[Sequence[float | None]]) -> Floats:
    """Rows of numbers, NaN where one is unknown; NaN itself is refused."""
    if not len(features) or len({len(row) for row in features}) != 1:
        raise ValueError("features need at least one row, and every row as long as the others")
    known = figures.numbers([value for row in features for value in row if value is not None], "features")
    if not np.isfinite(known).all():
        raise ValueError("every feature must be a finite number, or None where it is unknown")
    return np.array([[np.nan if value is None else value for value in row] for row in features], dtype=np.float64)


def _scaled(rows: Floats, logarithmic: NDArray[np.bool_]) -> Floats:
    if (rows[:, logarithmic] <= 0).any():
        raise ValueError("a feature that is compared by ratio must be above zero everywhere")
    scaled = rows.copy()
    scaled[:, logarithmic] = np.log(rows[:, logarithmic])
    return scaled
