"""The three opinions on candidate offers: criteria, similar users, likeness to the profile; and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from market.errors import ValidationFailed
from tools.criteria import AVAILABILITY_SCORE
from tools.intake import Workload
from tools.sizing import Job, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mathcore.ensemble import Recommendation
    from tools.math_recommend import Breakdown, Candidate, EnsembleAsked, EnsembleRecommendation, Learnt, Profile

USUAL_PARAMETERS_B = 8.0
BENEFIT = (True, False, True, True)
Scores = list[float | None]


def recommended(query: EnsembleAsked, listed: Mapping[str, int], learnt: Learnt | None) -> EnsembleRecommendation:
    """The candidates within the budget, best first. `listed`: live offers of each GPU; `learnt`: who used what.

    Raises ValueError when none is within the budget.
    """
    from mathcore.ensemble import ensemble
    from tools.math_recommend import EnsembleRecommendation, RecommendedOffer

    profile = query.workload_profile
    affordable = [
        at
        for at, one in enumerate(query.candidate_offers)
        if profile.budget_per_hour is None or one.price_per_hour <= profile.budget_per_hour
    ]
    if not affordable:
        cheapest = min(one.price_per_hour for one in query.candidate_offers)
        raise ValueError(f"no candidate is within budget_per_hour; the cheapest costs {cheapest:g}")
    offers = [query.candidate_offers[at] for at in affordable]
    notes: list[str] = []
    if len(offers) < len(query.candidate_offers):
        dear = len(query.candidate_offers) - len(offers)
        notes.append(f"{dear} of {len(query.candidate_offers)} candidates cost more than the budget: left out")
    own, popular = _usage(offers, query.user_id, learnt, listed, notes)
    content = _content(offers, profile, notes)
    found = ensemble(_criteria(offers, notes), own, content, popularity=popular)
    order = found.order.tolist()[: query.top_k]
    used = _breakdown(found.weights.mean(axis=1).tolist())
    return EnsembleRecommendation(
        recommendations=[
            RecommendedOffer(
                **_fields(offers[at]),
                ensemble_score=float(found.scores[at]),
                score_breakdown=_parts(found, at),
                confidence=float(found.confidence[at]),
            )
            for at in order
        ],
        final_rankings=[affordable[at] for at in order],
        algorithm_contributions=used,
        algorithm_weights=used,
        confidence=float(found.confidence[order].mean()),
        notes=[*notes, *found.notes],
    )


def _fields(offer: Candidate) -> dict[str, Any]:
    """What came in, less the names of our own answer."""
    ours = {"ensemble_score", "score_breakdown", "confidence"}
    return {name: value for name, value in offer.model_dump(exclude_unset=True).items() if name not in ours}


def _breakdown(values: Sequence[float | None]) -> Breakdown:
    from tools.math_recommend import Breakdown

    return Breakdown(topsis=values[0], collaborative=values[1], content_based=values[2])


def _parts(found: Recommendation, at: int) -> Breakdown:
    """Each part's own score: its contribution over its weight."""
    weights, brought = found.weights[:, at].tolist(), found.contributions[:, at].tolist()
    return _breakdown([part / weight if weight else None for part, weight in zip(brought, weights, strict=True)])


def _usage(
    offers: Sequence[Candidate],
    user: str | None,
    learnt: Learnt | None,
    listed: Mapping[str, int],
    notes: list[str],
) -> tuple[Scores | None, Scores | None]:
    """What the user's history says of each offer, and what popularity says; None where there is nothing to go by."""
    if learnt is not None:
        own, popular = learnt.scores(user)
        known: Scores = [own.get(one.id or "") for one in offers]
        return known if any(value is not None for value in known) else None, [
            popular.get(one.id or "", 0.0) for one in offers
        ]
    counts = [listed.get(_gpu(one) or "", 0) for one in offers]
    most = max(counts)
    if not most:
        return None, None
    notes.append("nobody's usage is known: popularity is how many offers list the GPU now")
    return None, [count / most for count in counts]


def _gpu(offer: Candidate) -> str | None:
    from market import gpus

    if not offer.gpu:
        return None
    found = gpus.identify(offer.gpu, memory_gb=offer.memory_gb).gpu
    return found.name if found is not None else None


def _tflops(offer: Candidate) -> float | None:
    """Dense 16-bit TFLOPS of the whole instance, where published."""
    from market import gpus

    card = gpus.catalogue().get(_gpu(offer) or "")
    peak = (card.fp16_tflops or card.bf16_tflops) if card is not None else None
    return None if peak is None else peak * offer.gpu_count


def _criteria(offers: Sequence[Candidate], notes: list[str]) -> list[float | None]:
    """TOPSIS closeness by performance, price, availability and reliability at the weights of the efficiency score."""
    from mathcore.kpi import EFFICIENCY_WEIGHTS
    from mathcore.topsis import topsis

    peaks = _filled("performance", [_tflops(one) for one in offers], notes)
    sure = _filled("reliability", [one.reliability for one in offers], notes)
    columns = [
        peaks,
        [one.price_per_hour for one in offers],
        [AVAILABILITY_SCORE[one.availability] for one in offers],
        sure,
    ]
    return list(topsis(columns, list(EFFICIENCY_WEIGHTS.values()), BENEFIT).scores.tolist())


def _filled(name: str, values: Sequence[float | None], notes: list[str]) -> list[float]:
    """What is not stated counts as the lowest that is."""
    known = [value for value in values if value is not None]
    missing = len(values) - len(known)
    if missing and known:
        notes.append(f"{name} of {missing} of {len(values)} offers is not stated: the lowest stated one stands in")
    lowest = min(known, default=1.0)
    return [lowest if value is None else value for value in values]


def _content(offers: Sequence[Candidate], profile: Profile, notes: list[str]) -> list[float | None] | None:
    """The cosine of each offer with the profile; None when the profile says nothing."""
    memory = _memory_wanted(profile.workload_type, notes) if profile.workload_type else None
    if profile.budget_per_hour is None and memory is None and profile.region_preference is None:
        return None
    from mathcore.similarity import cosines, feature_space, feature_vectors

    numbers = [[one.price_per_hour, _total_memory(one)] for one in offers]
    wanted = [profile.budget_per_hour, memory]
    labels = [{one.region.casefold()} if one.region else set() for one in offers]
    liked = {profile.region_preference.casefold()} if profile.region_preference else set()
    space = feature_space([*numbers, wanted], [*labels, liked])
    query = feature_vectors(space, [wanted], [liked])[0]
    return list(cosines(query, feature_vectors(space, numbers, labels)).tolist())


def _total_memory(offer: Candidate) -> float | None:
    from market import gpus

    card = gpus.catalogue().get(_gpu(offer) or "")
    each = offer.memory_gb or (card.memory_gb if card is not None else None)
    return None if each is None else each * offer.gpu_count


def _memory_wanted(workload: Workload, notes: list[str]) -> float | None:
    """GB the kind of work usually takes; a language model is taken to have 8 billion parameters."""
    try:
        sized = size(Job(workload=workload, parameters_b=USUAL_PARAMETERS_B))
    except ValidationFailed:
        return None
    notes.append(f"{workload} is taken to want {sized.recommended_memory_gb:.0f} GB: {'; '.join(sized.assumptions)}")
    return sized.recommended_memory_gb
