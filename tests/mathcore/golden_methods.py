"""For each method of the published cases, how our function is asked and held against what was printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mathcore.als import factorise
from mathcore.borda import borda, places_of_order
from mathcore.outranking import electre1
from mathcore.promethee import Preference, preference_indices, promethee
from mathcore.scaling import Floats, Scaling
from mathcore.scoring import wsm
from mathcore.topsis import topsis
from mathcore.weights import ahp_weights
from tests.mathcore.golden_series import anomaly_case, arima_case, smoothing_case

Case = dict[str, Any]


def _decision(inputs: Case) -> tuple[Floats, list[float], list[bool]]:
    columns = np.array(inputs["decision_matrix"], dtype=float).T
    return columns, inputs["weights"], [kind == "benefit" for kind in inputs["criteria_types"]]


def _topsis(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    found = topsis(*_decision(inputs), inputs.get("normalisation", "vector"))
    assert found.scores == pytest.approx(expected["closeness"], abs=case["tolerance"])
    if "ranking_0_indexed_best_first" in expected:
        assert found.order.tolist() == expected["ranking_0_indexed_best_first"]
    if "ideal" in expected:
        # Printed for weights of one each; ours sum to one.
        scale = sum(inputs["weights"])
        assert (found.ideal * scale).tolist() == pytest.approx(expected["ideal"])
        assert (found.anti_ideal * scale).tolist() == pytest.approx(expected["anti_ideal"])


def _wsm(case: Case) -> None:
    expected = case["expected"]
    scaling: Scaling = "none" if case["inputs"]["normalisation"] == "none" else "ratio"
    found = wsm(*_decision(case["inputs"]), scaling)
    assert found.scores == pytest.approx(expected["scores"], abs=case["tolerance"])
    if "ranking_0_indexed_best_first" in expected:
        assert found.order.tolist() == expected["ranking_0_indexed_best_first"]
    if "tie" in expected:
        assert found.order.tolist()[: len(expected["tie"])] == expected["tie"]


def _ahp(case: Case) -> None:
    expected = case["expected"]
    found = ahp_weights(case["inputs"]["pairwise_matrix"])
    assert found.weights == pytest.approx(expected["weights"], abs=case["tolerance"])
    assert found.consistency_ratio == pytest.approx(expected["consistency_ratio"], abs=case["tolerance"])
    assert found.consistency_index / found.consistency_ratio == pytest.approx(expected["random_index"])
    assert found.consistent == expected["consistent"]


def _electre1(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    found = electre1(*_decision(inputs), inputs["p"], inputs["q"], "global_range", "sum")
    printed = np.array(expected["concordance"], dtype=float)
    pairs = ~np.isnan(printed)
    assert found.concordance[pairs] == pytest.approx(printed[pairs], abs=case["tolerance"])
    assert found.kernel.tolist() == expected["kernel_indices"]


def _promethee2(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    preferences = [
        Preference(one["type"], q=one.get("q", 0.0), p=one.get("p", 0.0), s=one.get("s", 0.0))
        for one in inputs["functions"]
    ]
    indices = preference_indices(*_decision(inputs), preferences)
    assert indices == pytest.approx(np.array(expected["preference_index"]), abs=case["tolerance"])
    found = promethee(*_decision(inputs), preferences)
    assert found.net == pytest.approx(expected["net_flow_mean_form"], abs=case["tolerance"])
    assert found.order.tolist() == expected["ranking_0_indexed_best_first"]


def _borda(case: Case) -> None:
    profiles, expected = case["inputs"]["profiles"], case["expected"]
    places = [places_of_order(profile["order_best_first"]) for profile in profiles]
    found = borda(np.array(places), [profile["count"] for profile in profiles])
    assert found.points.tolist() == expected["points"]
    assert found.order.tolist() == expected["ranking_0_indexed_best_first"]


def _als(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    found = factorise(
        inputs["R"],
        factors=len(inputs["X0"][0]),
        regularization=inputs["regularization"],
        alpha=inputs["alpha"],
        iterations=inputs["iterations"],
        start=(inputs["X0"], inputs["Y0"]),
    )
    assert found.losses == pytest.approx(expected["loss_after_each_half_step"], rel=1e-6)
    assert found.users @ found.items.T == pytest.approx(np.array(expected["reconstruction"]), abs=case["tolerance"])


METHODS: dict[str, Callable[[Case], None]] = {
    "topsis": _topsis,
    "wsm": _wsm,
    "ahp": _ahp,
    "electre1": _electre1,
    "promethee2": _promethee2,
    "borda": _borda,
    "als_implicit": _als,
    "exponential_smoothing": smoothing_case,
    "arima": arima_case,
    "anomaly": anomaly_case,
}
