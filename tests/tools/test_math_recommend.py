"""Recommendations over HTTP: likeness, similar users, the ensemble of all, and GPUs for a workload."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.math_door import Door

FREE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
ENSEMBLE = "/math/ensemble-recommend"
OFFERS: list[dict[str, Any]] = [
    {"id": "x", "gpu": "H100-SXM", "price_per_hour": 2.5, "region": "us-east", "availability": "available", "mine": 7},
    {"id": "y", "gpu": "RTX 4090", "price_per_hour": 0.4, "region": "eu", "reliability": 0.99},
    {"id": "z", "gpu_type": "A100 80GB", "price_per_hour": 1.2, "region": "us-east", "reliability": 0.9},
]
USED = [{"user_id": user, "item_id": item} for user, item in ("ax", "ay", "bx", "by", "bz", "cw")]


def nested(levels: int) -> dict[str, Any]:
    """Objects in objects."""
    return {"in": nested(levels - 1)} if levels > 1 else {}


VECTORS = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3)


@pytest.mark.requirement("FR-MATH-005")
@pytest.mark.requirement("PROP-10")
@given(query=VECTORS, others=st.lists(VECTORS, min_size=1, max_size=6))
@FREE
def test_the_query_itself_is_most_alike_and_every_cosine_is_bounded(
    door: Door, query: list[float], others: list[list[float]]
) -> None:
    found = door.asked("/math/content-similarity", query_vector=query, candidate_vectors=[query, *others], top_k=9)
    assert sorted(found["matches"]) == list(range(len(others) + 1))
    # Equal to twelve digits is equal: candidates then stand in the order given.
    rounded = [round(score, 12) for score in found["scores"]]
    assert rounded == sorted(rounded, reverse=True)
    assert found["scores"] == found["cosine_scores"]
    assert all(-1 <= score <= 1 for score in found["scores"])
    assert found["scores"][found["matches"].index(0)] == pytest.approx(1)


@pytest.mark.requirement("FR-MATH-005")
def test_only_the_best_so_many_are_named(door: Door) -> None:
    found = door.asked(
        "/math/content-similarity", query_vector=[1, 0], candidate_vectors=[[0, 1], [2, 0], [1, 1]], top_k=2
    )
    assert found["matches"] == [1, 2]
    assert found["scores"] == pytest.approx([1, 0.5**0.5])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"candidate_vectors": [[1, 0], [1]]}, "Candidate 1 has 1 values, the query 2"),
        ({"candidate_vectors": []}, "at least 1"),
        ({"query_vector": []}, "at least 1"),
        ({"top_k": 0}, "at least 1"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(door: Door, wrong: dict[str, Any], said: str) -> None:
    asked = {"query_vector": [1, 0], "candidate_vectors": [[1, 0]]} | wrong
    assert said in door.refused("/math/content-similarity", **asked)["message"]


def test_a_user_is_shown_what_similar_users_used(door: Door) -> None:
    found = door.asked("/math/collaborative-filter", user_id="a", interactions=USED)
    assert [pick["item_id"] for pick in found["recommendations"]] == ["z", "w"]
    assert found["similarity_scores"] == [pick["score"] for pick in found["recommendations"]]
    assert (found["basis"], found["users"], found["items"]) == ("history", 3, 4)
    assert found == door.asked("/math/collaborative-filter", user_id="a", interactions=USED)


def test_a_new_user_is_shown_what_is_popular(door: Door) -> None:
    found = door.asked("/math/collaborative-filter", user_id="new", interactions=USED, top_k=2)
    assert (found["basis"], [pick["item_id"] for pick in found["recommendations"]]) == ("popularity", ["x", "y"])
    assert "at least 1" in door.refused("/math/collaborative-filter", user_id="a", interactions=[])["message"]


@pytest.mark.requirement("FR-MATH-006")
@pytest.mark.requirement("PROP-11")
@given(
    known=st.booleans(),
    profile=st.fixed_dictionaries(
        {},
        optional={
            "budget_per_hour": st.floats(3, 9),
            "region_preference": st.sampled_from(["eu", "mars"]),
            "workload_type": st.sampled_from(["llm_inference", "rendering"]),
        },
    ),
)
@FREE
def test_the_weights_used_sum_to_one_and_each_score_is_their_sum(
    door: Door, known: bool, profile: dict[str, Any]
) -> None:
    usage = {"user_id": "a", "interactions": USED} if known else {"user_id": None}
    found = door.asked(ENSEMBLE, candidate_offers=OFFERS, workload_profile=profile, **usage)
    used = found["algorithm_contributions"]
    assert sum(used.values()) == pytest.approx(1)
    assert used == found["algorithm_weights"]
    if known and profile:
        assert used == pytest.approx({"topsis": 0.4, "collaborative": 0.3, "content_based": 0.3})
    if not profile:
        assert used["content_based"] == 0
    for one in found["recommendations"]:
        told = sum(used[name] * score for name, score in one["score_breakdown"].items())
        assert one["ensemble_score"] == pytest.approx(told)
        assert 0 <= one["ensemble_score"] <= 1
    assert 0 <= found["confidence"] <= 1
    scores = [one["ensemble_score"] for one in found["recommendations"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.requirement("FR-MATH-006")
def test_without_a_history_popularity_stands_in_and_it_is_said(door: Door) -> None:
    cold = door.asked(ENSEMBLE, candidate_offers=OFFERS, user_id="new", interactions=USED)
    assert "popularity stands in for collaborative for every offer: no history" in cold["notes"]
    popularity = {one["id"]: one["score_breakdown"]["collaborative"] for one in cold["recommendations"]}
    assert popularity == pytest.approx({"x": 1, "y": 1, "z": 0.5})
    nobody = door.asked(ENSEMBLE, candidate_offers=OFFERS)
    assert nobody["notes"][0].startswith("nobody's usage is known")
    warm = door.asked(ENSEMBLE, candidate_offers=OFFERS, user_id="a", interactions=USED)
    assert warm["confidence"] > cold["confidence"]


@pytest.mark.requirement("FR-MATH-006")
def test_an_offer_comes_back_with_its_own_fields(door: Door) -> None:
    found = door.asked(ENSEMBLE, candidate_offers=OFFERS, top_k=3)["recommendations"]
    first = next(one for one in found if one["id"] == "x")
    assert (first["mine"], first["gpu"], first["price_per_hour"]) == (7, "H100-SXM", 2.5)
    assert len(door.asked(ENSEMBLE, candidate_offers=OFFERS, top_k=1)["recommendations"]) == 1


def test_what_the_budget_excludes_is_left_out(door: Door) -> None:
    found = door.asked(ENSEMBLE, candidate_offers=OFFERS, workload_profile={"budget_per_hour": 2})
    assert sorted(found["final_rankings"]) == [1, 2]
    assert "1 of 3 candidates cost more than the budget: left out" in found["notes"]
    error = door.refused(ENSEMBLE, candidate_offers=OFFERS, workload_profile={"budget_per_hour": 0.1})
    assert "the cheapest costs 0.4" in error["message"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"candidate_offers": []}, "at least 1"),
        ({"candidate_offers": [{"id": "x"}]}, "price_per_hour` is required"),
        ({"candidate_offers": [{"price_per_hour": 0}]}, "above 0"),
        ({"candidate_offers": [{"price_per_hour": 1, "deep": nested(200)}]}, "more than 20 deep"),
        ({"top_k": 21}, "at most 20"),
        ({"workload_profile": {"budget": 3}}, "workload_profile.budget` is not known here"),
    ],
)
def test_candidates_that_are_none_are_refused(door: Door, wrong: dict[str, Any], said: str) -> None:
    assert said in door.refused(ENSEMBLE, **({"candidate_offers": OFFERS} | wrong))["message"]


def test_what_else_an_offer_holds_comes_back_however_it_is_made_within_reason(door: Door) -> None:
    own = {"tree": nested(18), "tags": ["a", {"b": None}]}
    found = door.asked(ENSEMBLE, candidate_offers=[OFFERS[0] | own])["recommendations"][0]
    assert found["tree"] == own["tree"]
    assert found["tags"][0] == "a"


def test_a_workload_is_mapped_to_gpus_that_hold_it(door: Door) -> None:
    found = door.asked("/math/map-workload-to-gpu", text="serve Llama 3.1 8B in bf16", top_k=2)
    assert len(found["recommended_gpus"]) == 2
    assert all(one["total_memory_gb"] >= found["min_vram_gb"] for one in found["recommended_gpus"])
    assert 0 <= found["confidence"] <= 1
    small = door.refused("/math/map-workload-to-gpu", text="serve Llama 3.1 8B in bf16", max_price=0.01)
    assert "max_price" in small["message"]
