"""Rank any alternatives by any criteria: TOPSIS, and several methods with a Borda count over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from market.context import Context
from tools.capability import Request, Result, capability
from tools.math_door import (
    HTTP_ONLY,
    MOST_ALTERNATIVES,
    MOST_CRITERIA,
    READ,
    TOOLSET,
    Real,
    check_sum_of_one,
    computed,
)

if TYPE_CHECKING:
    from mathcore.decision import Decision, Places
    from mathcore.scaling import Floats

MOST_COMPARED_IN_PAIRS = 1_000
MOST_COMPARED_THINGS = 15

Method = Literal["topsis", "wsm", "wpm", "ahp", "electre", "promethee", "vikor"]
STANDARD: tuple[Method, ...] = ("wsm", "wpm", "ahp", "electre", "promethee")
_HOW: dict[Method, str] = {
    "topsis": "closeness to the ideal, vector normalisation",
    "wsm": "weighted sum of criteria scaled to 0 … 1 by their range",
    "wpm": "weighted product of ratios to the best",
    "ahp": "weights of the comparisons (or those given), each criterion shared out in proportion",
    "electre": "ELECTRE I, concordance 0.65 and discordance 0.35: how many it outranks less how many outrank it",
    "promethee": "PROMETHEE II, usual preference: net flow",
    "vikor": "compromise of group utility and regret, v 0.5: 1 − Q",
}


def _criterion_type(value: object) -> object:
    if value not in ("benefit", "cost"):
        raise ValueError("Invalid criteria type: give `benefit` or `cost`")
    return value


CriterionType = Annotated[Literal["benefit", "cost"], BeforeValidator(_criterion_type)]
Weights = Annotated[list[Real], Field(min_length=1, max_length=MOST_CRITERIA)]
Matrix = Annotated[
    list[Annotated[list[Real], Field(min_length=1, max_length=MOST_CRITERIA)]],
    Field(min_length=1, max_length=MOST_ALTERNATIVES),
]


class Choice(Request):
    """Alternatives by criteria, how much each criterion counts, and whether more of it is better."""

    decision_matrix: Matrix = Field(description="Alternatives × criteria.")
    weights: Weights = Field(description="One for each criterion; they must sum to 1.0 (± 0.001).")
    criteria_types: list[CriterionType] = Field(
        min_length=1, max_length=MOST_CRITERIA, description="`benefit` (more is better) or `cost`, for each criterion."
    )


class TopsisRanking(Result):
    """Positions of the alternatives, 0-indexed and best first, and what they follow from."""

    rankings: list[int]
    scores: list[float] = Field(description="Closeness to the ideal, 0 to 1, in the order of the alternatives.")
    ideal_solution: list[float] = Field(description="The best of each criterion, normalised and weighted.")
    anti_ideal_solution: list[float]


@capability("POST /math/topsis", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def topsis_rank(ctx: Context, query: Choice) -> TopsisRanking:
    """Rank alternatives by TOPSIS."""
    check_sum_of_one(query.weights)

    def work() -> TopsisRanking:
        from mathcore.topsis import topsis

        found = topsis(*problem(query))
        return TopsisRanking(
            rankings=found.order.tolist(),
            scores=found.scores.tolist(),
            ideal_solution=found.ideal.tolist(),
            anti_ideal_solution=found.anti_ideal.tolist(),
        )

    return await computed(work)


def problem(query: Choice) -> tuple[Floats, list[float], list[bool]]:
    """Criteria × alternatives, weights and directions. Raises ValueError for rows of different lengths."""
    import numpy as np

    return (
        np.ascontiguousarray(_columns(query.decision_matrix)),
        query.weights,
        [kind == "benefit" for kind in query.criteria_types],
    )


def _columns(rows: Sequence[Sequence[float]]) -> Any:
    import numpy as np

    width = len(rows[0])
    ragged = next((at for at, row in enumerate(rows) if len(row) != width), None)
    if ragged is not None:
        raise ValueError(f"row {ragged} of the matrix has {len(rows[ragged])} values where row 0 has {width}")
    return np.array(rows, dtype=np.float64).T


class ManyMethods(Choice):
    """What to rank, and by which methods."""

    methods: list[Method] = Field(
        default_factory=list,
        max_length=len(get_args(Method)),
        description=f"Default: {', '.join(STANDARD)}, less those the values do not allow.",
    )
    pairwise_matrix: list[Annotated[list[Real], Field(max_length=MOST_COMPARED_THINGS)]] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_COMPARED_THINGS,
        description="For ahp: how many times more each criterion counts than each other one. Default: from `weights`.",
    )


class MethodRanking(Result):
    """One method's order, 0-indexed and best first, and its scores, more being better."""

    method: str
    definition: str
    rankings: list[int]
    scores: list[float]


class BordaRanking(Result):
    """The count over all methods: n − 1 points for the first of n places, ties shared."""

    rankings: list[int]
    points: list[float]
    points_by_method: dict[str, list[float]] | None = Field(default=None, description="What each method gave.")


class LeftOut(Result):
    """A method that does not fit the values, and why."""

    method: str
    reason: str


class ManyRankings(Result):
    """The order by each method, and the one that takes them all together."""

    methods: list[MethodRanking]
    borda: BordaRanking
    rankings: list[int] = Field(description="Those of the Borda count.")
    left_out: list[LeftOut] | None = None
    consistency_ratio: float | None = Field(
        default=None, description="Of the comparisons, by Saaty's table; up to 0.1 is consistent."
    )


@capability("POST /math/mcda-rank", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def mcda_rank(ctx: Context, query: ManyMethods) -> ManyRankings:
    """Rank alternatives by several multi-criteria methods, and by a Borda count over them."""
    check_sum_of_one(query.weights)
    return await computed(lambda: _by_all(query))


def _by_all(query: ManyMethods) -> ManyRankings:
    from mathcore.borda import borda, places_of_scores
    from mathcore.decision import Decision, best_first

    columns, weights, benefit = problem(query)
    decision = Decision.checked(columns, weights, benefit)
    comparisons = _compared(query.pairwise_matrix, len(weights))
    asked = tuple(dict.fromkeys(query.methods)) or STANDARD
    found: list[MethodRanking] = []
    left: list[LeftOut] = []
    for method in asked:
        chosen = comparisons[0] if method == "ahp" and comparisons else weights
        try:
            scores, order = scored(method, columns, chosen, benefit)
        except ValueError as unfit:
            if query.methods:
                raise ValueError(f"{method}: {unfit}") from unfit
            left.append(LeftOut(method=method, reason=str(unfit)))
            continue
        found.append(
            MethodRanking(method=method, definition=_HOW[method], rankings=order.tolist(), scores=scores.tolist())
        )
    if not found:
        raise ValueError("no method fits these values: " + "; ".join(f"{one.method}: {one.reason}" for one in left))
    count = borda([places_of_scores(one.scores) for one in found])
    order = best_first(count.points, decision.counted())
    given = {one.method: part for one, part in zip(found, count.parts.tolist(), strict=True)}
    together = BordaRanking(rankings=order.tolist(), points=count.points.tolist(), points_by_method=given)
    return ManyRankings(
        methods=found,
        borda=together,
        rankings=together.rankings,
        left_out=left or None,
        consistency_ratio=comparisons[1] if comparisons else None,
    )


def _compared(matrix: list[list[float]] | None, criteria: int) -> tuple[list[float], float] | None:
    """Weights and consistency ratio of pairwise comparisons, where there are any."""
    if matrix is None:
        return None
    from mathcore.weights import ahp_weights

    _columns(matrix)
    if len(matrix) != criteria:
        raise ValueError(f"pairwise_matrix compares {len(matrix)} things where there are {criteria} criteria")
    found = ahp_weights(matrix)
    return found.weights.tolist(), found.consistency_ratio


def scored(method: Method, columns: Floats, weights: Sequence[float], benefit: list[bool]) -> tuple[Floats, Places]:
    """Scores, more being better, and the order best first."""
    if method == "electre":
        return _electre(columns, weights, benefit)
    if method == "vikor":
        from mathcore.scoring import vikor

        agreed = vikor(columns, weights, benefit)
        return 1.0 - agreed.compromise_index, agreed.order
    if method == "promethee":
        from mathcore.promethee import promethee

        flows = promethee(columns, weights, benefit)
        return flows.net, flows.order
    if method == "topsis":
        from mathcore.topsis import topsis

        closeness = topsis(columns, weights, benefit)
        return closeness.scores, closeness.order
    from mathcore.scoring import wpm, wsm

    if method == "wpm":
        product = wpm(columns, weights, benefit)
        return product.scores, product.order
    total = wsm(columns, weights, benefit, "sum" if method == "ahp" else "minmax")
    return total.scores, total.order


def _electre(columns: Floats, weights: Sequence[float], benefit: list[bool]) -> tuple[Floats, Places]:
    import numpy as np

    from mathcore.decision import Decision, best_first
    from mathcore.outranking import electre1

    if columns.shape[1] > MOST_COMPARED_IN_PAIRS:
        raise ValueError(
            f"{columns.shape[1]} alternatives are too many to compare in pairs (at most {MOST_COMPARED_IN_PAIRS}): "
            "take promethee, or the leaders of topsis"
        )
    decision: Decision = Decision.checked(columns, weights, benefit)
    outranks = electre1(columns, weights, benefit, scaling="minmax").outranks
    net = np.asarray(outranks.sum(axis=1) - outranks.sum(axis=0), dtype=np.float64)
    return net, best_first(net, decision.counted())
