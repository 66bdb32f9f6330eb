"""How firm a ranking is: what becomes of it when weights move, and which criterion decides it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from market.context import Context
from market.errors import ValidationFailed
from tools.capability import Request, Result, capability
from tools.math_door import (
    HTTP_ONLY,
    MOST_ALTERNATIVES,
    MOST_CRITERIA,
    READ,
    TOOLSET,
    check_sum_of_one,
    computed,
)
from tools.math_ranking import Choice, CriterionType, Matrix, Weights, problem, scored

if TYPE_CHECKING:
    from mathcore.decision import Places
    from mathcore.scaling import Floats
    from mathcore.stability import WeightRange

Stable = Literal["topsis", "wsm", "wpm", "promethee"]


class Shaken(Request):
    """What to rank, and how far to move the weights."""

    alternatives: Matrix = Field(description="Alternatives × criteria.")
    weights: Weights = Field(description="One for each criterion; they must sum to 1.0 (± 0.001).")
    criteria_types: list[CriterionType] = Field(min_length=1, max_length=MOST_CRITERIA)
    method: Stable = "topsis"
    perturbation: float = Field(
        default=0.1, gt=0, lt=1, description="Share by which each weight in turn is made larger and smaller."
    )


class WeightTrial(Result):
    """One weight multiplied by `factor`, all scaled to sum to one again."""

    criterion: int
    factor: float
    winner: int
    winner_kept: bool
    rank_correlation: float = Field(description="Spearman's, of the order before and after.")
    most_places_moved: int


class WinnerRange(Result):
    """The winner stays while this weight is within the range, the others in proportion; solved, not sampled."""

    criterion: int
    weight: float
    low: float
    high: float
    below: int | None = Field(default=None, description="Who wins below `low`.")
    above: int | None = Field(default=None, description="Who wins above `high`.")


class Criticality(Result):
    """The criterion whose weight needs the smallest relative change for another to win."""

    criterion: int
    change: float
    relative_change: float
    winner: int


class Stability(Result):
    """How firm a ranking is."""

    rankings: list[int]
    winner: int
    winner_kept: float = Field(description="Share of the trials that keep the winner.")
    mean_rank_correlation: float
    least_rank_correlation: float
    critical_criteria: list[int] = Field(description="Criteria whose perturbation changes the winner.")
    most_critical: Criticality | None = None
    winner_stays: list[WinnerRange]
    trials: list[WeightTrial]


@capability("POST /math/sensitivity-analysis", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def sensitivity_analysis(ctx: Context, query: Shaken) -> Stability:
    """Test how stable a ranking is when weights move, and which criterion decides it."""
    check_sum_of_one(query.weights)
    if len(query.alternatives) * len(query.weights) ** 2 > MOST_ALTERNATIVES * MOST_CRITERIA:
        raise ValidationFailed(
            f"{len(query.alternatives)} alternatives by {len(query.weights)} criteria are too many to shake.",
            next_step=f"Alternatives × criteria² may be {MOST_ALTERNATIVES * MOST_CRITERIA}: take the leaders alone.",
        )
    return await computed(lambda: _shaken(query))


def _shaken(query: Shaken) -> Stability:
    from mathcore.stability import critical_criterion, perturbation

    columns, weights, benefit = problem(
        Choice.model_construct(
            decision_matrix=query.alternatives, weights=query.weights, criteria_types=query.criteria_types
        )
    )

    def order_of(shares: Any) -> Places:
        return scored(query.method, columns, shares, benefit)[1]

    moved = perturbation(order_of, weights, query.perturbation)
    ranges = _ranges(query.method, columns, weights, benefit)
    critical = critical_criterion(ranges)
    return Stability(
        rankings=order_of(weights).tolist(),
        winner=moved.winner,
        winner_kept=moved.winner_kept,
        mean_rank_correlation=moved.mean_correlation,
        least_rank_correlation=moved.least_correlation,
        critical_criteria=list(moved.critical),
        most_critical=None
        if critical is None
        else Criticality(
            criterion=critical.criterion,
            change=critical.change,
            relative_change=critical.relative,
            winner=critical.winner,
        ),
        winner_stays=[WinnerRange(**{name: getattr(one, name) for name in WinnerRange.model_fields}) for one in ranges],
        trials=[
            WeightTrial(
                criterion=trial.criterion,
                factor=trial.factor,
                winner=trial.winner,
                winner_kept=bool(trial.kept),
                rank_correlation=trial.correlation,
                most_places_moved=trial.moved,
            )
            for trial in moved.trials
        ],
    )


def _ranges(method: Stable, columns: Floats, weights: list[float], benefit: list[bool]) -> list[WeightRange]:
    from mathcore.promethee import promethee
    from mathcore.scoring import wpm, wsm
    from mathcore.stability import linear_weight_ranges, weight_ranges

    if method == "topsis":
        return weight_ranges(columns, weights, benefit)
    ranked: dict[str, Callable[..., Any]] = {"wsm": wsm, "wpm": wpm, "promethee": promethee}
    found = ranked[method](columns, weights, benefit)
    return linear_weight_ranges(found.parts, weights, int(found.order[0]))
