"""One recommendation from several opinions: what the criteria say, what similar users chose, what the offer is like.

A weighted sum of scores in [0, 1]: TOPSIS closeness 0.4, collaborative preference 0.3, content similarity 0.3. Where an
opinion has no data, for all offers or for one, its weight goes to the others in proportion, and the result says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.figures import numbers

Floats = NDArray[np.float64]
Scores = Sequence[float | None]

WEIGHTS: Mapping[str, float] = {"topsis": 0.4, "collaborative": 0.3, "content": 0.3}


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Scores in [0, 1] of each offer and the order best first.

    `parts` names the rows of `weights` and `contributions` (parts × offers): each offer's weights sum to one, its
    contributions to its score. `agreement`: 1 when its parts give the same score, 0 when half of the weight says 0 and
    half says 1. `confidence`: agreement times the share of the agreed weights that rests on data of its own; popularity
    in place of a history is not. `notes`: every departure from the agreed weights, in words.
    """

    scores: Floats
    order: NDArray[np.intp]
    parts: tuple[str, ...]
    weights: Floats
    contributions: Floats
    agreement: Floats
    confidence: Floats
    notes: tuple[str, ...]


def ensemble(
    topsis: Scores | None = None,
    collaborative: Scores | None = None,
    content: Scores | None = None,
    *,
    popularity: Scores | None = None,
    weights: Mapping[str, float] = WEIGHTS,
) -> Recommendation:
    """Combine the opinions on the same offers, in the same order; None for one that has no data, for all or for one.

    `topsis` and `popularity` are in [0, 1]. `collaborative` estimates a preference that is 0 or 1 and is clipped to
    [0, 1]; where there is none, `popularity` takes its place and its weight. `content` is a cosine in [−1, 1], shown as
    (1 + cosine) / 2. Equal scores keep the order given. Raises ValueError for scores out of range or not finite,
    lengths that differ, an offer nobody has an opinion on, and weights that are negative, all zero or of other names.
    O(offers log offers).
    """
    names = tuple(WEIGHTS)
    agreed = _agreed(weights, names)
    given = {"topsis": topsis, "collaborative": collaborative, "content": content}
    size = _size([*given.values(), popularity])
    opinions = np.vstack([_opinion(name, given[name], size) for name in names])
    own = ~np.isnan(opinions)
    notes: list[str] = []
    if popularity is not None and agreed[1] and not own[1].all():
        stand_in = ~own[1]
        opinions[1, stand_in] = _opinion("popularity", popularity, size)[stand_in]
        notes.append(f"popularity stands in for collaborative for {_count(stand_in)}: no history")
    known = ~np.isnan(opinions)
    used = np.where(known, agreed[:, None], 0.0)
    totals = used.sum(axis=0)
    if (totals == 0).any():
        raise ValueError(f"offer {int(np.argmin(totals))} has no score of any part that has a weight")
    notes += [
        f"{name} has no data for {_count(~known[row])}: its weight of {agreed[row]:.3g} goes to the others"
        for row, name in enumerate(names)
        if agreed[row] and not known[row].all()
    ]
    used /= totals
    values = np.where(known, opinions, 0.0)
    contributions = used * values
    scores = contributions.sum(axis=0)
    agreement = 1.0 - 2.0 * (used * np.abs(values - scores)).sum(axis=0)
    return Recommendation(
        scores=scores,
        order=np.argsort(-np.round(scores, 12), kind="stable"),
        parts=names,
        weights=used,
        contributions=contributions,
        agreement=np.clip(agreement, 0.0, 1.0),
        confidence=np.clip(agreement, 0.0, 1.0) * (agreed[:, None] * own).sum(axis=0),
        notes=tuple(notes),
    )


def _agreed(weights: Mapping[str, float], names: tuple[str, ...]) -> Floats:
    if set(weights) != set(names):
        raise ValueError(f"weights must be of {', '.join(names)}, not of {', '.join(sorted(weights)) or 'nothing'}")
    shares = numbers([weights[name] for name in names], "weights")
    if not np.isfinite(shares).all() or (shares < 0).any() or not (shares > 0).any():
        raise ValueError("weights must be finite, not negative, and not all zero")
    shares = shares / shares.max()
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def _size(opinions: Sequence[Scores | None]) -> int:
    sizes = {len(scores) for scores in opinions if scores is not None}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"every part must score the same offers, at least one: lengths {sorted(sizes)}")
    return sizes.pop()


def _opinion(name: str, scores: Scores | None, size: int) -> Floats:
    """A part's scores in [0, 1], NaN where it has none."""
    if scores is None:
        return np.full(size, np.nan)
    if not np.isfinite(numbers([score for score in scores if score is not None], f"scores of {name}")).all():
        raise ValueError(f"every score of {name} must be a finite number, or None where there is none")
    values = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
    if name == "collaborative":
        return np.asarray(np.clip(values, 0.0, 1.0), dtype=np.float64)
    lowest = -1.0 if name == "content" else 0.0
    if (values < lowest).any() or (values > 1.0).any():
        raise ValueError(f"every score of {name} must be from {lowest:g} to 1")
    return (1.0 + values) / 2.0 if name == "content" else values


def _count(flags: NDArray[np.bool_]) -> str:
    return "every offer" if flags.all() else f"{int(flags.sum())} of {flags.size} offers"
