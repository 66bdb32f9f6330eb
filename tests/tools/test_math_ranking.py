"""Ranking over HTTP: TOPSIS by the contract, several methods with a Borda count, and how firm the order is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mathcore.published import published
from tests.tools.math_door import Door
from tools.math_ranking import MOST_COMPARED_IN_PAIRS, STANDARD

FOUR: dict[str, Any] = {
    "decision_matrix": [[5, 8, 4], [7, 6, 8], [8, 8, 6], [7, 4, 6]],
    "weights": [0.3, 0.4, 0.3],
    "criteria_types": ["benefit", "benefit", "benefit"],
}
FREE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def golden(method: str) -> list[dict[str, Any]]:
    """The published cases of a method."""
    return [case for case in published("golden_math.json") if case["method"] == method]


@pytest.mark.requirement("FR-MATH-004")
def test_the_published_cases_of_topsis_hold_over_http(door: Door) -> None:
    seen = 0
    for case in golden("topsis"):
        inputs, expected = dict(case["inputs"]), case["expected"]
        if inputs.pop("normalisation", "vector") != "vector":
            assert "sum to 1.0" in door.refused("/math/topsis", **inputs)["message"]
            continue
        found = door.asked("/math/topsis", **inputs)
        assert found["scores"] == pytest.approx(expected["closeness"], abs=case["tolerance"])
        assert found["rankings"] == expected["ranking_0_indexed_best_first"]
        seen += 1
    assert seen


@pytest.mark.requirement("FR-MATH-004")
def test_the_answer_has_the_fields_of_the_contract_and_no_other(door: Door) -> None:
    found = door.asked("/math/topsis", **FOUR)
    assert list(found) == ["rankings", "scores", "ideal_solution", "anti_ideal_solution"]
    assert sorted(found["rankings"]) == [0, 1, 2, 3]
    assert len(found["ideal_solution"]) == len(found["anti_ideal_solution"]) == 3


@pytest.mark.requirement("FR-MATH-004")
@pytest.mark.parametrize(("weights", "fine"), [([0.3, 0.4, 0.3009], True), ([0.3, 0.4, 0.302], False)])
def test_weights_sum_to_one_within_a_thousandth(door: Door, weights: list[float], fine: bool) -> None:
    status, body = door.post("/math/topsis", **(FOUR | {"weights": weights}))
    assert (status == 200) is fine
    assert fine or body["error"]["message"] == "Weights must sum to 1.0."


@pytest.mark.requirement("FR-MATH-004")
@given(
    matrix=st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=2, max_size=8),
    share=st.floats(0.05, 0.95),
)
@FREE
def test_more_of_a_benefit_and_less_of_a_cost_wins(door: Door, matrix: list[tuple[float, float]], share: float) -> None:
    best = [max(row[0] for row in matrix) + 1, min(row[1] for row in matrix) / 2]
    rows = [*map(list, matrix), best]
    found = door.asked(
        "/math/topsis", decision_matrix=rows, weights=[share, 1 - share], criteria_types=["benefit", "cost"]
    )
    assert found["rankings"][0] == len(matrix)
    assert found["scores"][-1] == pytest.approx(1)
    assert all(0 <= score <= 1 for score in found["scores"])
    assert found["ideal_solution"][0] >= found["anti_ideal_solution"][0]
    assert found["ideal_solution"][1] <= found["anti_ideal_solution"][1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"criteria_types": ["benefit", "benefit", "profit"]}, "Invalid criteria type"),
        ({"criteria_types": ["benefit", "cost"]}, "directions do not match"),
        ({"decision_matrix": [[5, 8, 4], [7, 6]]}, "Row 1 of the matrix has 2 values"),
        ({"decision_matrix": []}, "at least 1"),
        ({"decision_matrix": [[1, 2, 3]] * 10_001}, "at most 10000"),
        ({"decision_matrix": [[1, 2, "x"]]}, "must be a number"),
        ({"decision_matrix": [[]]}, "at least 1"),
        ({"weights": [2, -0.5, -0.5]}, "not negative"),
        ({"weights": [0, 0, 0]}, "Weights must sum to 1.0"),
        ({"weights": []}, "at least 1"),
        ({"wieghts": [1]}, "no argument `wieghts`"),
    ],
)
def test_a_matrix_that_is_none_is_refused_by_name(door: Door, wrong: dict[str, Any], said: str) -> None:
    for path in ("/math/topsis", "/math/mcda-rank"):
        assert said in door.refused(path, **(FOUR | wrong))["message"]


@pytest.mark.requirement("FR-MATH-012")
def test_every_method_ranks_and_borda_counts_them_all(door: Door) -> None:
    found = door.asked("/math/mcda-rank", **FOUR)
    assert [one["method"] for one in found["methods"]] == list(STANDARD)
    for one in found["methods"]:
        assert sorted(one["rankings"]) == [0, 1, 2, 3]
        ordered = [one["scores"][at] for at in one["rankings"]]
        assert ordered == sorted(ordered, reverse=True)
        assert one["rankings"][0] == 2
    assert found["borda"]["rankings"] == found["rankings"]
    assert sum(found["borda"]["points"]) == pytest.approx(len(STANDARD) * (3 + 2 + 1))
    given_by = found["borda"]["points_by_method"]
    assert list(given_by) == list(STANDARD)
    assert [sum(points) for points in zip(*given_by.values(), strict=True)] == found["borda"]["points"]
    assert found["rankings"][0] == 2


@pytest.mark.requirement("FR-MATH-012")
def test_ahp_takes_comparisons_and_says_how_consistent_they_are(door: Door) -> None:
    case = next(case for case in golden("ahp") if len(case["inputs"]["pairwise_matrix"]) == 7)
    size = len(case["inputs"]["pairwise_matrix"])
    # Alternative i is the only one with anything of criterion i to speak of, so its score is that criterion's weight.
    matrix = [[1.0 if at == other else 1e-9 for at in range(size)] for other in range(size)]
    found = door.asked(
        "/math/mcda-rank",
        decision_matrix=matrix,
        weights=[1 / size] * size,
        criteria_types=["benefit"] * size,
        methods=["ahp"],
        pairwise_matrix=case["inputs"]["pairwise_matrix"],
    )
    assert found["methods"][0]["scores"] == pytest.approx(case["expected"]["weights"], abs=0.001)
    assert found["consistency_ratio"] == pytest.approx(case["expected"]["consistency_ratio"], abs=0.001)


def test_a_method_the_values_do_not_allow_is_left_out_with_the_reason_unless_it_was_asked_for(door: Door) -> None:
    zero = FOUR | {"decision_matrix": [[0, 8, 4], [7, 6, 8], [8, 8, 6]]}
    found = door.asked("/math/mcda-rank", **zero)
    assert [one["method"] for one in found["left_out"]] == ["wpm", "ahp"]
    assert all("positive" in one["reason"] for one in found["left_out"])
    assert (
        "Wpm: a weighted product needs positive" in door.refused("/math/mcda-rank", **zero, methods=["wpm"])["message"]
    )
    assert len(door.asked("/math/mcda-rank", **zero, methods=["topsis", "vikor"])["methods"]) == 2


def test_a_cost_of_nearly_nothing_is_still_shared_out(door: Door) -> None:
    tiny = FOUR | {"decision_matrix": [[2, 8, 1], [1, 6, 1], [3, 8, 1e-320]], "criteria_types": ["cost"] * 3}
    scores = door.asked("/math/mcda-rank", **tiny, methods=["ahp"])["methods"][0]["scores"]
    assert sum(scores) == pytest.approx(1)
    assert max(scores) == scores[2]


@pytest.mark.parametrize("method", ["topsis", "wsm", "wpm", "promethee"])
def test_a_weight_next_to_nothing_leaves_the_stability_told(door: Door, method: str) -> None:
    asked = {"alternatives": [[1, 5, 3], [3, 5, 2]], "weights": [0.5, 0.5, 1e-300], "criteria_types": ["benefit"] * 3}
    found = door.asked("/math/sensitivity-analysis", **asked, method=method)
    assert found["winner"] == 1
    assert all(0 <= one["low"] <= one["weight"] <= one["high"] <= 1 for one in found["winner_stays"])


def test_pairs_of_too_many_alternatives_are_refused_with_the_limit_and_another_way(door: Door) -> None:
    many = FOUR | {"decision_matrix": [[1 + at, 2, 3] for at in range(MOST_COMPARED_IN_PAIRS + 1)]}
    said = door.refused("/math/mcda-rank", **many, methods=["electre"])["message"]
    assert str(MOST_COMPARED_IN_PAIRS) in said
    assert "promethee" in said
    assert [one["method"] for one in door.asked("/math/mcda-rank", **many)["left_out"]] == ["electre"]


@given(
    matrix=st.lists(st.lists(st.floats(0.1, 100), min_size=3, max_size=3), min_size=2, max_size=6),
    worse=st.lists(st.floats(0.5, 1), min_size=3, max_size=3),
)
@FREE
def test_a_dominated_alternative_never_stands_above_its_dominator(
    door: Door, matrix: list[list[float]], worse: list[float]
) -> None:
    dominated = [value * factor for value, factor in zip(matrix[0], worse, strict=True)]
    found = door.asked(
        "/math/mcda-rank",
        decision_matrix=[dominated, *matrix],
        weights=[0.2, 0.3, 0.5],
        criteria_types=["benefit"] * 3,
        methods=["topsis", *STANDARD, "vikor"],
    )
    for order in (found["rankings"], *(one["rankings"] for one in found["methods"])):
        if dominated != matrix[0]:
            assert order.index(1) < order.index(0)


@pytest.mark.requirement("FR-MATH-013")
@pytest.mark.parametrize("method", ["topsis", "wsm", "wpm", "promethee"])
def test_stability_says_what_moving_each_weight_does(door: Door, method: str) -> None:
    close = {
        "alternatives": [[9, 1.0], [1, 9.2]],
        "weights": [0.5, 0.5],
        "criteria_types": ["benefit", "benefit"],
        "method": method,
    }
    found = door.asked("/math/sensitivity-analysis", **close, perturbation=0.2)
    assert found["rankings"][0] == found["winner"]
    assert [(trial["criterion"], trial["factor"]) for trial in found["trials"]] == [
        (0, 0.8), (0, 1.2), (1, 0.8), (1, 1.2),
    ]  # fmt: skip
    kept = [trial["winner_kept"] for trial in found["trials"]]
    assert found["winner_kept"] == sum(kept) / 4
    assert 0 < found["winner_kept"] < 1
    assert found["critical_criteria"] == [0, 1]
    assert -1 <= found["least_rank_correlation"] <= found["mean_rank_correlation"] <= 1
    assert found["most_critical"]["winner"] == 1 - found["winner"]
    assert found["most_critical"]["relative_change"] < 0.2
    assert all(one["low"] <= one["weight"] <= one["high"] for one in found["winner_stays"])


@pytest.mark.requirement("FR-MATH-013")
def test_what_nothing_comes_near_stays_whatever_the_weights(door: Door) -> None:
    found = door.asked(
        "/math/sensitivity-analysis",
        alternatives=[[9, 9], [1, 1], [2, 1]],
        weights=[0.5, 0.5],
        criteria_types=["benefit", "benefit"],
        perturbation=0.9,
    )
    assert (found["winner_kept"], found["critical_criteria"]) == (1, [])
    assert "most_critical" not in found


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"perturbation": 1}, "below 1"),
        ({"perturbation": 0}, "above 0"),
        ({"method": "electre"}, "must be one of"),
        ({"weights": [0.5, 0.4]}, "Weights must sum to 1.0"),
        ({"alternatives": [[1] * 50] * 1_000, "weights": [0.02] * 50, "criteria_types": ["cost"] * 50}, "too many"),
    ],
)
def test_a_perturbation_that_is_none_is_refused(door: Door, wrong: dict[str, Any], said: str) -> None:
    asked = {"alternatives": [[1, 2], [2, 1]], "weights": [0.5, 0.5], "criteria_types": ["cost", "cost"]} | wrong
    assert said in door.refused("/math/sensitivity-analysis", **asked)["message"]
