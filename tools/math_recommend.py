"""Recommend offers by what they are like, by what similar users chose, by their criteria, and by all three."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field

from market.context import Context
from market.errors import ValidationFailed
from market.offers import clean_text
from tools.capability import Request, Result, capability
from tools.estimate import EstimateWorkload, Understood, WorkloadEstimate, estimate_workload
from tools.fits import Fit
from tools.math_door import HTTP_ONLY, MOST_ALTERNATIVES, READ, TOOLSET, Price, Real, computed
from tools.offer_view import Number

if TYPE_CHECKING:
    from mathcore.als import Factors, Picks

MOST_INTERACTIONS = 5_000
MOST_CANDIDATES = 500
FACTORS = 16
DEEPEST = 20

Named = Annotated[str, Field(min_length=1, max_length=120)]


def _not_deep(value: object) -> object:
    """Whatever else an offer holds comes back, so it must be such that an answer can be written of it."""
    layer, depth = [value], 0
    while layer:
        if depth > DEEPEST:
            raise ValueError(f"holds lists or objects more than {DEEPEST} deep")
        inner = [one.values() if isinstance(one, dict) else one for one in layer if isinstance(one, dict | list)]
        layer, depth = [part for parts in inner for part in parts], depth + 1
    return value


Vector = Annotated[list[Real], Field(min_length=1, max_length=1_000)]


class AlikeAsked(Request):
    """A vector, and those to find its like among."""

    query_vector: Vector
    candidate_vectors: list[Vector] = Field(min_length=1, max_length=MOST_ALTERNATIVES)
    top_k: int = Field(default=10, ge=1, le=MOST_ALTERNATIVES)


class Alike(Result):
    """Positions of the candidates most alike, best first, and their cosines in [-1, 1]."""

    matches: list[int]
    scores: list[float]
    cosine_scores: list[float] = Field(description="The same as `scores`.")


@capability("POST /math/content-similarity", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def content_similarity(ctx: Context, query: AlikeAsked) -> Alike:
    """Find the candidate vectors with the highest cosine to a query vector."""

    def work() -> Alike:
        from mathcore.similarity import top_k

        width = len(query.query_vector)
        odd = next((at for at, row in enumerate(query.candidate_vectors) if len(row) != width), None)
        if odd is not None:
            raise ValueError(f"candidate {odd} has {len(query.candidate_vectors[odd])} values, the query {width}")
        found = top_k(query.query_vector, query.candidate_vectors, query.top_k)
        scores = found.scores.tolist()
        return Alike(matches=found.indices.tolist(), scores=scores, cosine_scores=scores)

    return await computed(work)


class Interaction(Request):
    """That a user used an item, and how much (1: once)."""

    user_id: Named
    item_id: Named
    strength: float = Field(default=1.0, gt=0, le=1e6, allow_inf_nan=False)


Interactions = Annotated[list[Interaction], Field(max_length=MOST_INTERACTIONS)]


class CollaborativeAsked(Request):
    """Who used what, and for whom to recommend."""

    user_id: Named
    interactions: Interactions = Field(min_length=1)
    top_k: int = Field(default=10, ge=1, le=100)
    repeat: bool = Field(default=False, description="Recommend what the user has used already, too.")


class Pick(Result):
    """An item and the preference it is expected to meet; for popularity the share of the most used item's users."""

    item_id: str
    score: float


class CollaborativePicks(Result):
    """Items best first."""

    recommendations: list[Pick]
    similarity_scores: list[float] = Field(description="The scores alone, in the same order.")
    basis: Literal["history", "popularity"] = Field(description="popularity: the user has no history here.")
    users: int
    items: int


@capability("POST /math/collaborative-filter", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def collaborative_filter(ctx: Context, query: CollaborativeAsked) -> CollaborativePicks:
    """Recommend items by what similar users used (implicit-feedback ALS); without a history by popularity."""

    def work() -> CollaborativePicks:
        learnt = Learnt(query.interactions)
        found = learnt.picks(query.user_id, query.top_k, repeat=query.repeat)
        scores = found.scores.tolist()
        names = [learnt.items[at] for at in found.items.tolist()]
        return CollaborativePicks(
            recommendations=[Pick(item_id=name, score=score) for name, score in zip(names, scores, strict=True)],
            similarity_scores=scores,
            basis=found.basis,
            users=len(learnt.users),
            items=len(learnt.items),
        )

    return await computed(work)


class Learnt:
    """The factors of who used what, in names."""

    def __init__(self, interactions: list[Interaction]) -> None:
        from mathcore.als import factorise
        from mathcore.solvers import scipy_part

        self.users = list(dict.fromkeys(one.user_id for one in interactions))
        self.items = list(dict.fromkeys(one.item_id for one in interactions))
        rows = {name: at for at, name in enumerate(self.users)}
        columns = {name: at for at, name in enumerate(self.items)}
        self.history: dict[str, dict[int, float]] = {}
        for one in interactions:
            used = self.history.setdefault(one.user_id, {})
            used[columns[one.item_id]] = used.get(columns[one.item_id], 0.0) + one.strength
        strengths = [one.strength for one in interactions]
        at = [rows[one.user_id] for one in interactions], [columns[one.item_id] for one in interactions]
        table = scipy_part("sparse").coo_array((strengths, at), shape=(len(self.users), len(self.items)))
        self.factors: Factors = factorise(table, factors=min(FACTORS, len(self.users), len(self.items)))

    def picks(self, user: str | None, top_k: int, *, repeat: bool) -> Picks:
        """The best items of one user."""
        from mathcore.als import recommend

        used = self.history.get(user or "", {})
        return recommend(self.factors, list(used), list(used.values()), top_k=top_k, repeat=repeat)

    def scores(self, user: str | None) -> tuple[dict[str, float], dict[str, float]]:
        """Of every item what the user's history says, if there is one, and how popular it is."""
        own = self.picks(user, len(self.items), repeat=True)
        popular = dict(zip(self.items, self.factors.popularity.tolist(), strict=True))
        if own.basis == "popularity":
            return {}, popular
        named = (self.items[at] for at in own.items.tolist())
        return dict(zip(named, own.scores.tolist(), strict=True)), popular


class Profile(Request):
    """What the user wants."""

    budget_per_hour: float | None = Field(
        default=None, gt=0, le=1e6, allow_inf_nan=False, description="US dollars; dearer candidates are left out."
    )
    workload_type: (
        Literal[
            "llm_inference", "fine_tuning", "training", "embeddings", "image_generation", "video_generation", "speech",
            "rendering", "notebook",
        ]
        | None
    ) = None  # fmt: skip
    region_preference: str | None = Field(default=None, max_length=60)


class Candidate(Request):
    """An offer to consider; other fields of it are allowed and handed back."""

    model_config = ConfigDict(extra="allow")

    price_per_hour: Price = Field(description="US dollars, the whole instance.")
    id: str | None = Field(default=None, max_length=300)
    gpu: str | None = Field(default=None, max_length=60, validation_alias=AliasChoices("gpu", "gpu_type"))
    gpu_count: int = Field(default=1, ge=1, le=1_024)
    memory_gb: float | None = Field(default=None, gt=0, le=100_000, allow_inf_nan=False)
    availability: Literal["available", "limited", "unknown", "unavailable"] = "unknown"
    reliability: float | None = Field(default=None, ge=0, le=1)
    region: str | None = Field(default=None, max_length=60)


class EnsembleAsked(Request):
    """For whom, for what, and which offers to choose from."""

    user_id: str | None = Field(default=None, max_length=120)
    workload_profile: Profile = Field(default_factory=Profile)
    candidate_offers: list[Annotated[Candidate, BeforeValidator(_not_deep)]] = Field(
        min_length=1, max_length=MOST_CANDIDATES
    )
    top_k: int = Field(default=5, ge=1, le=20)
    interactions: Interactions = Field(
        default_factory=list, description="Who used which offer id; without it nobody's usage is known."
    )


class Breakdown(Result):
    """Score of each part in [0, 1], or weight of each; absent where the part has no data."""

    topsis: float | None = None
    collaborative: float | None = None
    content_based: float | None = None


class RecommendedOffer(Result):
    """The offer's own fields, and how it scored."""

    model_config = ConfigDict(extra="allow")

    ensemble_score: float
    score_breakdown: Breakdown
    confidence: float


class EnsembleRecommendation(Result):
    """Offers best first, how much each part counted, and how much to trust it."""

    recommendations: list[RecommendedOffer]
    final_rankings: list[int] = Field(description="Their positions among the candidates.")
    algorithm_contributions: Breakdown = Field(description="Weights used, over all candidates; they sum to one.")
    algorithm_weights: Breakdown = Field(description="The same.")
    confidence: float = Field(description="Agreement of the parts times the weight that rests on data of its own.")
    notes: list[str]


@capability("POST /math/ensemble-recommend", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def ensemble_recommend(ctx: Context, query: EnsembleAsked) -> EnsembleRecommendation:
    """Recommend offers by criteria (0.4), similar users (0.3) and content (0.3); by popularity without a history."""
    from tools.math_ensemble import recommended

    listed = (await ctx.market.snapshot()).counts("gpu")
    return await computed(
        lambda: recommended(query, listed, Learnt(query.interactions) if query.interactions else None)
    )


class WorkloadToMap(EstimateWorkload):
    """A workload in words, in fields, or both, and how many GPUs to name."""

    top_k: int = Field(default=5, ge=1, le=20)


class MappedGpus(Result):
    """GPUs and counts that hold the work, the cheapest first."""

    recommended_gpus: list[Fit]
    confidence: float = Field(
        description="How wide the estimate is: low / high of the first one's hours, else of its speed; 0: unknown."
    )
    min_vram_gb: Number
    recommended_vram_gb: Number
    understood: Understood
    assumptions: list[str]
    warnings: list[str] | None = None


@capability("POST /math/map-workload-to-gpu", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def map_workload_to_gpu(ctx: Context, query: WorkloadToMap) -> MappedGpus:
    """Name the GPUs, and how many of them, that hold a workload at the lowest cost now."""
    given: dict[str, Any] = {name: getattr(query, name) for name in EstimateWorkload.model_fields}
    sized = await estimate_workload(ctx, EstimateWorkload.model_construct(**given))
    fits = sized.fits[: query.top_k]
    if not fits:
        reasons = sized.warnings or ["No offer holds the work."]
        raise ValidationFailed(clean_text(reasons[0], 300), next_step="Loosen a limit, or take a smaller `precision`.")
    return MappedGpus(
        recommended_gpus=fits,
        confidence=_confidence(sized),
        min_vram_gb=sized.min_vram_gb,
        recommended_vram_gb=sized.recommended_vram_gb,
        understood=sized.understood,
        assumptions=sized.assumptions,
        warnings=sized.warnings,
    )


def _confidence(sized: WorkloadEstimate) -> float:
    first = sized.fits[0]
    asked = sized.understood.duration_hours is not None
    found = first.tokens_per_second if asked or not first.hours else first.hours
    return round(found[0] / found[-1], 4) if found and found[-1] > 0 else 0.0
