"""Figures no machine has, numbers no float holds, values whose squares overflow: refused by name, or counted right."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from mathcore import als, anomaly, auction, borda, explain, isolation, kpi, media, roofline, scoring, series, similarity
from mathcore.card import Card
from mathcore.ensemble import ensemble
from mathcore.figures import above_zero, not_negative, physical
from mathcore.grid import regular_grid
from mathcore.promethee import Preference
from mathcore.scaling import scaled
from mathcore.sizing import ModelShape
from mathcore.stability import linear_weight_ranges, weight_ranges
from mathcore.weights import ahp_weights, scaled_weights
from mathcore.workload import Workload, place, speed

HUGE = 10**400
LARGEST = 1.7e308
SHAPE = ModelShape(1e9, 2, 2, 2, 2)
CARD = Card(80, 2_000, 300)


def test_a_refusal_names_the_figure_and_what_it_was() -> None:
    for check in (above_zero, not_negative, physical):
        for wrong in (-2.5, float("nan"), float("inf"), HUGE):
            with pytest.raises(ValueError, match=r"^tokens must be .*, not (-2\.5|nan|inf|so large)$"):
                check(hours=1, tokens=wrong)
    not_negative(tokens=0)
    above_zero(tokens=5e-324)
    for wrong in (1e-31, 1e31):
        with pytest.raises(ValueError, match=re.escape(f"tokens must lie between 1e-30 and 1e+30, not be {wrong:g}")):
            physical(tokens=wrong)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: scaled([[1, HUGE]], [True]), "matrix needs numbers"),
        (lambda: scaled_weights([HUGE]), "weights must be numbers"),
        (lambda: series.statistics([HUGE]), "prices must be a list of numbers"),
        (lambda: kpi.cost_per_token(HUGE, kpi.measured(1, "")), "price_per_hour"),
        (lambda: ModelShape(HUGE, 1, 1, 1, 1), "parameters"),
        (lambda: Card(HUGE, 1, 1), "memory_gb"),
        (lambda: auction.surge_price(HUGE, 1), "base_price"),
        (lambda: similarity.cosine([HUGE], [1]), "vector"),
        (lambda: similarity.feature_space([[HUGE]]), "features"),
        (lambda: ensemble([HUGE]), "scores of topsis"),
        (lambda: als.factorise([[HUGE]]), "interactions"),
        (lambda: als.factorise([[1]], alpha=HUGE), "alpha"),
        (lambda: borda.borda([[1, 2]], [HUGE]), "ballots"),
        (lambda: isolation.isolation_scores([[HUGE], [1]]), "rows"),
        (lambda: anomaly.extreme_studentized([HUGE, 1, 2], 1), "values"),
        (lambda: regular_grid([HUGE], [1], 1), "times"),
        (lambda: regular_grid([1], [1], HUGE), "step"),
        (lambda: Preference("linear", p=HUGE), "p of a preference"),
        (lambda: explain.shapley(lambda profiles: profiles[0], [[1.0]], [HUGE]), "reference"),
        (lambda: explain.explain_wsm([[1, 2]], [1], [True], alternatives=[HUGE]), "among 0"),
        (lambda: place(Workload(kind="llm_inference", shape=SHAPE), CARD, HUGE), "count"),
        (lambda: Workload(kind="llm_inference", shape=SHAPE, concurrency=HUGE), "concurrency"),
        (lambda: Workload(kind="llm_inference", shape=SHAPE, context_tokens=HUGE), "context_tokens"),
    ],
)
def test_a_number_no_float_holds_is_refused_in_the_words_of_what_it_is(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: als.factorise([[1e-300, LARGEST], [1, 1]]), "alpha times a strength"),
        (lambda: als.factorise([[1e9]], alpha=1e9, solver="fast"), "alpha times a strength"),
        (lambda: als.factorise([[1.0]], regularization=LARGEST), "regularization"),
        (lambda: borda.borda([[1, 2], [1, 2]], [10**300, 1]), "ballots"),
        (lambda: ahp_weights([[1, 1e300], [1e300, 1]]), "reciprocal"),
        (lambda: scoring.wpm([[5e-324, 1]], [1], [False], "none"), "too large for a float"),
        (lambda: explain.explain_wsm([[LARGEST, -LARGEST]], [1], [True], "none"), "overflow"),
        (lambda: roofline.training_hours(parameters=LARGEST, tokens=1e300, peak_flops=1e15), "parameters"),
        (lambda: media.rendering_memory(1, LARGEST), "frame_megapixels"),
        (lambda: roofline.scaled_speed(1, peak_ratio=LARGEST, bandwidth_ratio=LARGEST), "peak_ratio"),
        (lambda: roofline.plausible_decode_claim(1, weight_bytes=1e-300, bandwidth_bytes=1e300), "weight_bytes"),
        (
            lambda: roofline.decode_tokens_per_second(
                active_weight_bytes=1, kv_bytes=LARGEST, flops_per_token=1, bandwidth_bytes=1, peak_flops=1,
                concurrency=8, narrow=False,
            ),
            "kv_bytes",
        ),
    ],
)  # fmt: skip
def test_what_would_come_out_as_no_number_is_refused_instead(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


def test_extremes_that_can_be_counted_are() -> None:
    assert scaled([[5e-324, 1.0]], [False], "sum").tolist() == [[1.0, 5e-324]]
    found, statistics = anomaly.extreme_studentized([1e308, -1e308, 1e308, 1e308, -1e308, 0], 1)
    assert found == []
    assert statistics == pytest.approx(anomaly.extreme_studentized([1, -1, 1, 1, -1, 0], 1)[1])
    for parts in ([[LARGEST, -LARGEST], [-LARGEST, LARGEST]], [[1.0, -1.0], [-1.0, 1.0]]):
        first, second = linear_weight_ranges(parts, [0.6, 0.4], 0)
        assert (first.low, first.high, second.low, second.high) == pytest.approx((0.5, 1, 0, 0.5))
    for one in weight_ranges([[1, -1e300], [-1e300, -1e300], [0, 1e300]], [2, 1, 1e-300], [False, True, False]):
        assert 0 <= one.low <= one.weight <= one.high <= 1


def test_a_speed_at_the_edge_of_what_is_taken_is_still_a_number() -> None:
    for low, high in ((1e-18, 1e30), (1e17, 1e-25)):
        work = Workload(kind="llm_inference", shape=ModelShape(high / 100, 2, 2, 2, 2), context_tokens=1)
        found = speed(work, Card(1, low, low), 1)
        assert is_dataclass(found)
        figures = [getattr(found, field.name) for field in fields(found) if field.name != "bound"]
        assert np.isfinite(figures).all()
