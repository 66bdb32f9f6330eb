"""The isolation forest: what few random cuts separate from the rest stands out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mathcore.figures import numbers

EULER = 0.5772156649015329
MOST_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees in heap order (the children of node k are 2k + 1 and 2k + 2), trees × nodes.

    `feature` is −1 where a tree ends; `length` is then the depth plus what the rows left there would still take.
    """

    feature: NDArray[np.int64]
    cut: NDArray[np.float64]
    length: NDArray[np.float64]
    rows: int


def isolation_scores(rows: ArrayLike, trees: int = 100, sample: int = 256, seed: int = 0) -> NDArray[np.float64]:
    """Anomaly scores in (0, 1) of the rows of a matrix by the isolation forest of Liu, Ting and Zhou (2008).

    2^(−E[h]/c(ψ)), ψ the smaller of `sample` and the rows: towards 1 stands out, 0.5 is ordinary. Features are cut
    where they lie, so scale them as you mean them. O(trees·(ψ log ψ + n log ψ)). Equal rows have the score 0.5.
    Raises ValueError unless the matrix is finite, has at least two rows and at most 1,000,000.
    """
    matrix = numbers(rows, "rows")
    if matrix.ndim != 2 or matrix.shape[0] < 2 or matrix.shape[1] < 1 or not np.isfinite(matrix).all():
        raise ValueError("rows must be a matrix of finite numbers with at least two rows")
    if matrix.shape[0] > MOST_ROWS:
        raise ValueError(f"at most {MOST_ROWS} rows are taken, not {matrix.shape[0]}: score a sample")
    if trees < 1 or sample < 2:
        raise ValueError(f"there must be at least one tree on two rows, not {trees} on {sample}")
    forest = grown(matrix, trees, min(sample, matrix.shape[0]), np.random.default_rng(seed))
    depth = np.zeros(matrix.shape[0])
    for tree in range(trees):
        depth += _path_lengths(forest, tree, matrix)
    return np.asarray(2.0 ** (-depth / trees / _usual_length(np.array([float(forest.rows)]))[0]), dtype=np.float64)


def grown(matrix: NDArray[np.float64], trees: int, size: int, dice: np.random.Generator) -> Forest:
    """Grow all trees level by level, each on `size` rows drawn without replacement, to the height log2(size)."""
    height = max(1, int(np.ceil(np.log2(size))))
    nodes = 2 ** (height + 1) - 1
    # Tree by tree: of many rows the lots of all trees would take more memory than the rows.
    drawn = np.array([np.argsort(dice.random(matrix.shape[0]))[:size] for _ in range(trees)])
    flat = matrix[drawn.ravel()]
    place = np.repeat(np.arange(trees) * nodes, size)
    feature = np.full(trees * nodes, -1)
    cut, length = np.zeros(trees * nodes), np.zeros(trees * nodes)
    alive = np.arange(flat.shape[0])
    for depth in range(height + 1):
        order = alive[np.argsort(place[alive], kind="stable")]
        if order.size == 0:
            break
        here, first, count = np.unique(place[order], return_index=True, return_counts=True)
        low = np.minimum.reduceat(flat[order], first, axis=0)
        high = np.maximum.reduceat(flat[order], first, axis=0)
        # A cut is drawn among the features that still differ; without one, or at the bottom, the tree ends.
        chosen = np.where(high > low, dice.random(low.shape), -1.0).argmax(axis=1)
        line = np.arange(here.size)
        splits = (high > low)[line, chosen] & (depth < height)
        at = low[line, chosen] + dice.random(here.size) * (high - low)[line, chosen]
        feature[here] = np.where(splits, chosen, -1)
        cut[here] = at
        length[here] = depth + _usual_length(count.astype(np.float64))
        alive = order[np.repeat(splits, count)]
        root = place[alive] // nodes * nodes
        right = flat[alive, feature[place[alive]]] >= cut[place[alive]]
        place[alive] = root + 2 * (place[alive] - root) + 1 + right
    shape = (trees, nodes)
    return Forest(feature.reshape(shape), cut.reshape(shape), length.reshape(shape), size)


def _path_lengths(forest: Forest, tree: int, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    feature, cut = forest.feature[tree], forest.cut[tree]
    node = np.zeros(matrix.shape[0], dtype=np.int64)
    going = np.arange(matrix.shape[0])
    while going.size:
        at = node[going]
        going = going[feature[at] >= 0]
        at = node[going]
        node[going] = 2 * at + 1 + (matrix[going, feature[at]] >= cut[at])
    return np.asarray(forest.length[tree][node], dtype=np.float64)


def _usual_length(count: NDArray[np.float64]) -> NDArray[np.float64]:
    """c(n) = 2·H(n − 1) − 2·(n − 1)/n, the mean path of an unsuccessful search in a tree of n; 1 of two, 0 of one."""
    safe = np.maximum(count, 3.0)
    many = 2 * (np.log(safe - 1) + EULER) - 2 * (safe - 1) / safe
    return np.asarray(np.where(count > 2, many, np.where(count == 2, 1.0, 0.0)), dtype=np.float64)
