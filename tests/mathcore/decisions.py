"""Decisions drawn at random, many of them with ties, constants and extreme values, and who dominates whom in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from mathcore.scaling import Floats

untimed = settings(deadline=None)
"""A machine that is busy elsewhere is no fault of a property's."""

Drawn = tuple[list[list[float]], list[float], list[bool]]

_few = st.sampled_from([1.0, 2.0, 2.5, 3.0, 1e-9, 1e9])
_any = st.floats(0, 1e12, allow_nan=False, allow_infinity=False)
_weight = st.floats(0, 1e6, allow_nan=False)


@st.composite
def decisions(draw: st.DrawFn, positive: bool = False, fewest: int = 1) -> Drawn:
    """Columns, weights and directions; `positive` values, or zeros too."""
    criteria, alternatives = draw(st.integers(1, 5)), draw(st.integers(fewest, 8))
    value = _few | (st.floats(1e-3, 1e6) if positive else _any | st.just(0.0))
    columns = [draw(st.lists(value, min_size=alternatives, max_size=alternatives)) for _ in range(criteria)]
    weights = draw(st.lists(_weight, min_size=criteria, max_size=criteria).filter(lambda all_: sum(all_) > 0))
    return columns, weights, draw(st.lists(st.booleans(), min_size=criteria, max_size=criteria))


def counted(decision: Drawn) -> Floats:
    """The criteria that have a weight, more always better."""
    columns, weights, benefit = decision
    kept = np.array(weights) / max(weights) > 0
    return np.asarray((np.array(columns) * np.where(benefit, 1.0, -1.0)[:, None])[kept], dtype=np.float64)


def dominated_pairs(better: Floats) -> Iterator[tuple[int, int]]:
    """Each pair of a dominator and what it dominates."""
    for one in range(better.shape[1]):
        for other in range(better.shape[1]):
            if (better[:, one] >= better[:, other]).all() and (better[:, one] > better[:, other]).any():
                yield one, other
