"""Offers put in order by one method or by all: scores, what each criterion brought, and how firm the first place is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from market.errors import ValidationFailed
from tools.criteria import BENEFIT, CRITERIA, Criterion
from tools.math_ranking import scored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mathcore.decision import Places
    from mathcore.scoring import Compromise
    from mathcore.stability import WeightRange

    Floats = NDArray[np.float64]

Single = Literal["topsis", "wsm", "wpm", "vikor", "promethee"]
Method = Literal["topsis", "wsm", "wpm", "vikor", "promethee", "borda"]
SINGLE: tuple[Single, ...] = ("topsis", "wsm", "wpm", "vikor", "promethee")
SOLVED = "Each range is solved for, not sampled; at an end another offer scores as high."
_NEEDS_POSITIVE = "a weighted product needs values above zero"


@dataclass(frozen=True, slots=True)
class Range:
    """The first stays first while this criterion's weight is from `low` to `high`."""

    criterion: Criterion
    weight: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Turn:
    """The weight whose smallest relative change makes another offer the first: where it must be, and which offer."""

    criterion: Criterion
    weight: float
    offer: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The order, best first, of all offers; and of those shown what the order follows from.

    `contributions` and `losses` (to the first) are by offer, then criterion; VIKOR's are parts of 1 − S, and
    `regrets` names the criterion of its R, and R; those of the count are by method, and it has no losses. `places` are
    those the single methods give. `dominators` name for an offer one that equals or beats it everywhere.
    """

    order: list[int]
    scores: list[float]
    dominators: dict[int, int]
    stability: str | None = None
    ranges: list[Range] | None = None
    turn: Turn | None = None
    contributions: dict[int, dict[str, float]] = field(default_factory=dict)
    losses: dict[int, dict[str, float]] = field(default_factory=dict)
    regrets: dict[int, tuple[str, float]] = field(default_factory=dict)
    places: dict[int, dict[str, int]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def decide(columns: Mapping[str, Sequence[float]], weights: Mapping[str, float], method: Method, shown: int) -> Verdict:
    """Rank all offers and explain the first `shown`; criteria that do not count are left out.

    Raises ValidationFailed for a method the values do not allow.
    """
    choice = _Choice(columns, weights)
    zero = choice.not_positive()
    if method == "wpm" and zero:
        raise ValidationFailed(
            f"`method`: {_NEEDS_POSITIVE}; {zero} is 0 for some.", next_step="Take `topsis`, or narrow the filters."
        )
    singles: tuple[Single, ...] = SINGLE if not zero else tuple(one for one in SINGLE if one != "wpm")
    order, scores, places = choice.ordered(method, singles)
    first = [int(at) for at in order[:shown]]
    contributions, losses = choice.explained(method, first, int(order[0]))
    if method == "borda":
        contributions = choice.counted(places, first)
    ranges = choice.ranges(method, int(order[0])) if len(scores) > 1 else None
    stability = None
    if len(scores) > 1:
        stability = SOLVED if ranges is not None else choice.shaken(method, singles)
    return Verdict(
        order=[int(at) for at in order],
        scores=[float(score) for score in scores],
        dominators=choice.dominators(first, order),
        stability=stability,
        ranges=choice.named(ranges) if ranges is not None else None,
        turn=choice.turn(ranges or []),
        contributions=contributions,
        losses=losses,
        regrets=choice.regrets(first) if method == "vikor" else {},
        places={at: {name: int(given[at]) + 1 for name, given in places.items()} for at in first} if places else {},
        warnings=(f"wpm is not counted: {_NEEDS_POSITIVE}; {zero} is 0 for some.",)
        if method == "borda" and zero
        else (),
    )


class _Choice:
    """The criteria that count, as a matrix, with their weights and directions."""

    def __init__(self, columns: Mapping[str, Sequence[float]], weights: Mapping[str, float]) -> None:
        import numpy as np

        self.names: list[Criterion] = [name for name in CRITERIA if weights[name] > 0]
        self.matrix: Floats = np.array([columns[name] for name in self.names], dtype=np.float64)
        self.shares = [weights[name] for name in self.names]
        self.benefit = [BENEFIT[CRITERIA.index(name)] for name in self.names]

    def not_positive(self) -> str | None:
        """A criterion that is not above zero for some offer."""
        return next((name for name, row in zip(self.names, self.matrix, strict=True) if row.min() <= 0), None)

    def ordered(
        self, method: Method, singles: Sequence[Single], shares: Any = None
    ) -> tuple[Places, Floats, dict[str, Places]]:
        """Order, scores, and for the count the places by each method."""
        weights = self.shares if shares is None else shares
        if method != "borda":
            scores, order = scored(method, self.matrix, weights, self.benefit)
            return order, scores, {}
        from mathcore.borda import borda, places_of_scores
        from mathcore.decision import Decision, best_first

        places: dict[str, Places] = {
            name: places_of_scores(scored(name, self.matrix, weights, self.benefit)[0]) for name in singles
        }
        points = borda(list(places.values())).points
        most = len(places) * max(1, points.size - 1)
        decision = Decision.checked(self.matrix, weights, self.benefit)
        return best_first(points, decision.counted()), points / most, places

    def explained(
        self, method: Method, shown: Sequence[int], winner: int
    ) -> tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]]:
        """What each criterion brought each shown offer, and what it cost it against the winner."""
        from mathcore.explain import explain_topsis, explain_wsm

        if method == "borda":
            return {}, {}
        if method == "topsis" or method == "wsm":
            explain = explain_topsis if method == "topsis" else explain_wsm
            found = explain(self.matrix, self.shares, self.benefit, alternatives=shown)
            brought, lost = found.contributions, found.losses
        else:
            if method == "vikor":
                weighted = self._column_of_shares() - self._compromise().parts
            else:
                weighted = self._parts(method) * self._column_of_shares()
            brought, lost = weighted[:, list(shown)], weighted[:, [winner]] - weighted[:, list(shown)]
        return self._by_offer(brought, shown), self._by_offer(lost, shown)

    def regrets(self, shown: Sequence[int]) -> dict[int, tuple[str, float]]:
        """The criterion of each shown offer's greatest regret, and that regret; none for one best on all of them."""
        found = self._compromise()
        return {
            at: (self.names[found.regretted[at]], float(found.regret[at])) for at in shown if found.regretted[at] >= 0
        }

    def counted(self, places: Mapping[str, Places], shown: Sequence[int]) -> dict[int, dict[str, float]]:
        """What each method's ranking brought each shown offer; they sum to its score."""
        from mathcore.borda import borda

        parts = borda(list(places.values())).parts
        parts = parts / (len(places) * max(1, parts.shape[1] - 1))
        return {at: dict(zip(places, parts[:, at].tolist(), strict=True)) for at in shown}

    def _compromise(self) -> Compromise:
        from mathcore.scoring import vikor

        return vikor(self.matrix, self.shares, self.benefit)

    def _column_of_shares(self) -> Floats:
        from mathcore.weights import scaled_weights

        return scaled_weights(self.shares)[:, None]

    def _by_offer(self, values: Floats, shown: Sequence[int]) -> dict[int, dict[str, float]]:
        return {at: dict(zip(self.names, values[:, column].tolist(), strict=True)) for column, at in enumerate(shown)}

    def _parts(self, method: Method) -> Floats:
        """What of a score does not depend on the weights, where it is a weighted sum."""
        from mathcore.promethee import promethee
        from mathcore.scoring import wpm, wsm

        if method == "promethee":
            return promethee(self.matrix, self.shares, self.benefit).parts
        return (wpm if method == "wpm" else wsm)(self.matrix, self.shares, self.benefit).parts

    def ranges(self, method: Method, winner: int) -> list[WeightRange] | None:
        """The range of each weight that keeps the winner; None where it cannot be solved for."""
        from mathcore.stability import linear_weight_ranges, weight_ranges

        if method in ("vikor", "borda"):
            return None
        if method == "topsis":
            return weight_ranges(self.matrix, self.shares, self.benefit)
        return linear_weight_ranges(self._parts(method), self.shares, winner)

    def named(self, ranges: Sequence[WeightRange]) -> list[Range]:
        """The ranges by the names of the criteria."""
        return [Range(self.names[one.criterion], one.weight, one.low, one.high) for one in ranges]

    def turn(self, ranges: Sequence[WeightRange]) -> Turn | None:
        """The critical criterion of the ranges."""
        from mathcore.stability import critical_criterion

        found = critical_criterion(ranges)
        if found is None:
            return None
        return Turn(self.names[found.criterion], self.shares[found.criterion] + found.change, found.winner)

    def shaken(self, method: Method, singles: Sequence[Single]) -> str:
        """What becomes of the first place when the weights are tried a tenth larger and smaller."""
        from mathcore.stability import perturbation

        found = perturbation(lambda shares: self.ordered(method, singles, shares)[0], self.shares)
        kept = sum(bool(trial.kept) for trial in found.trials)
        critical = ", ".join(self.names[at] for at in found.critical)
        return (
            f"Tried, not solved for: each weight a tenth larger and smaller keeps the first in {kept} of "
            f"{len(found.trials)} trials{f'; {critical} decides it' if critical else ''}."
        )

    def dominators(self, shown: Sequence[int], order: Places) -> dict[int, int]:
        """For each shown offer that another equals or beats everywhere, and beats somewhere, the best placed such."""
        import numpy as np

        from mathcore.pareto import undominated

        front = undominated(self.matrix, self.benefit)
        better = self.matrix * np.where(self.benefit, 1.0, -1.0)[:, None]
        found = {}
        for at in shown:
            if not front[at]:
                ahead = better[:, order] - better[:, [at]]
                beats = np.flatnonzero((ahead.min(axis=0) >= 0) & (ahead.max(axis=0) > 0))
                found[at] = int(order[beats[0]])
        return found
