"""Costs to the last digit, scores by the agreed sum, and nothing made up."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.kpi import (
    EFFICIENCY_WEIGHTS,
    Figure,
    cost_per_gflop,
    cost_per_token,
    efficiency_score,
    estimated,
    measured,
    reference_set,
    unknown,
)

_shares = st.one_of(
    st.floats(0, 1).map(lambda value: measured(value, "a probe")),
    st.floats(0, 1).map(lambda value: estimated(value / 2, value, min(1.0, value * 1.5), "a guess")),
    st.just(unknown("nobody counts")),
)
_SET = reference_set("two offers", [2.0, 4.0], [500.0, 1000.0], "dense bf16 TFLOPS")


@pytest.mark.requirement("PROP-6")
@pytest.mark.requirement("FR-MATH-001")
@given(st.floats(0.01, 100.0), st.integers(100, 10_000) | st.floats(1e-3, 1e6))
def test_a_token_costs_the_price_over_the_tokens_of_an_hour(price: float, rate: float) -> None:
    found = cost_per_token(price, measured(rate, "a run"))
    assert found.cost_per_token == price / (rate * 3600)
    assert found.cost_per_million_tokens == round(price / (rate * 3600) * 1e6, 4)


@pytest.mark.requirement("FR-MATH-001")
def test_a_cheap_token_is_not_rounded_away() -> None:
    found = cost_per_token(2.0, measured(3500, "a run: 7B, bf16, batch 64"))
    assert found.cost_per_token == pytest.approx(1.5873e-7, rel=1e-4)
    assert found.cost_per_million_tokens == 0.1587
    assert found.tokens_per_second == 3500


@pytest.mark.requirement("FR-MATH-001")
def test_confidence_follows_from_how_the_rate_is_known() -> None:
    sure = cost_per_token(2.0, measured(100, "a run"))
    assert (sure.basis, sure.confidence, sure.low, sure.high) == ("measured", 1.0, 5.5556, 5.5556)
    guess = cost_per_token(2.0, estimated(65, 100, 115, "roofline"))
    assert (guess.basis, guess.confidence) == ("estimated", 65 / 115)
    assert (guess.low, guess.high) == (round(2e6 / (115 * 3600), 4), round(2e6 / (65 * 3600), 4))
    assert any("65 to 115: roofline" in told for told in guess.assumed)
    nothing = cost_per_token(2.0, unknown("no run of this model on this GPU"))
    assert (nothing.cost_per_token, nothing.cost_per_million_tokens) == (None, None)
    assert (nothing.basis, nothing.confidence) == ("unknown", 0.0)
    assert any("no run of this model" in told for told in nothing.assumed)


@pytest.mark.requirement("FR-MATH-002")
@given(st.floats(0.01, 100), st.floats(1, 5000), st.integers(1, 16))
def test_a_gflop_costs_the_price_over_the_dense_peak(price: float, peak: float, gpus: int) -> None:
    found = cost_per_gflop(price, measured(peak, "datasheet"), "bf16", gpu_count=gpus)
    assert found.cost_per_gflop == price / (peak * gpus * 1000)
    assert found.cost_per_tflop_hour == price / (peak * gpus)
    assert (found.dense_tflops, found.precision, found.confidence) == (peak, "bf16", 1.0)
    assert any("dense bf16" in told for told in found.assumed)


@pytest.mark.requirement("FR-MATH-002")
def test_without_a_dense_peak_there_is_no_cost_of_compute() -> None:
    found = cost_per_gflop(2.0, unknown("no bf16 on this GPU"), "bf16")
    assert (found.cost_per_gflop, found.cost_per_tflop_hour, found.confidence) == (None, None, 0.0)


@pytest.mark.requirement("FR-MATH-003")
def test_the_score_is_the_agreed_sum_of_its_parts() -> None:
    found = efficiency_score(
        4.0, measured(500.0, "datasheet"), measured(0.9, "a probe"), measured(0.99, "uptime"), _SET
    )
    assert {part.name: part.score for part in found.breakdown} == {
        "performance": 0.5,
        "price": 0.5,
        "availability": 0.9,
        "reliability": 0.99,
    }
    assert found.score == pytest.approx(0.4 * 0.5 + 0.35 * 0.5 + 0.15 * 0.9 + 0.1 * 0.99)
    assert found.basis == "measured"
    assert found.confidence == pytest.approx(1.0)
    assert any("2 offers of two offers, performance in dense bf16 TFLOPS" in told for told in found.assumed)


@pytest.mark.requirement("FR-MATH-003")
@given(st.floats(0.01, 100), _shares.filter(lambda figure: figure.value != 0), _shares, _shares)
def test_parts_add_up_and_weights_sum_to_one(
    price: float, performance: Figure, availability: Figure, reliability: Figure
) -> None:
    found = efficiency_score(price, performance, availability, reliability, _SET)
    assert sum(part.weight for part in found.breakdown) == pytest.approx(1.0)
    assert sum(part.contribution for part in found.breakdown) == pytest.approx(found.score)
    assert 0.0 <= found.score <= 1.0
    assert 0.0 <= found.confidence <= 1.0 + 1e-12
    for part in found.breakdown:
        assert (part.score is None) == (part.weight == 0) == (part.basis == "unknown")


@pytest.mark.requirement("FR-MATH-003")
def test_an_unknown_part_gives_its_weight_away_openly() -> None:
    found = efficiency_score(2.0, measured(1000.0, "datasheet"), unknown("list price"), unknown("no record"), _SET)
    assert found.score == pytest.approx(1.0)
    assert found.confidence == pytest.approx(0.75)
    assert found.basis == "unknown"
    assert [part.weight for part in found.breakdown] == pytest.approx([0.4 / 0.75, 0.35 / 0.75, 0, 0])
    assert any("availability is unknown: its weight of 0.15" in told for told in found.assumed)


def test_better_than_the_reference_is_as_good_as_its_best() -> None:
    found = efficiency_score(1.0, measured(9999.0, "x"), measured(1, "x"), measured(1, "x"), _SET)
    assert found.score == pytest.approx(1.0)
    assert sum(EFFICIENCY_WEIGHTS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_prices_and_rates_that_are_none_are_refused(bad: float) -> None:
    for wrong in (
        lambda: cost_per_token(bad, measured(100, "x")),
        lambda: cost_per_gflop(bad, measured(100, "x"), "bf16"),
        lambda: cost_per_token(1.0, measured(bad, "x")),
        lambda: cost_per_gflop(1.0, measured(bad, "x"), "bf16"),
        lambda: reference_set("x", [bad], [1.0], "TFLOPS"),
        lambda: efficiency_score(bad, unknown("x"), unknown("x"), unknown("x"), _SET),
        lambda: efficiency_score(1.0, measured(bad, "x"), unknown("x"), unknown("x"), _SET),
    ):
        with pytest.raises(ValueError, match="must be a finite number"):
            wrong()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: estimated(3, 2, 4, "x"), "within 3 and 4"),
        (lambda: estimated(0, 1, math.inf, "x"), "high"),
        (lambda: cost_per_token(1.0, estimated(0, 1, 2, "x")), "slowest"),
        (lambda: cost_per_token(1e300, measured(1e-300, "x")), "dearest"),
        (lambda: cost_per_token(1e-3, estimated(1, 1, 1e306, "x")), "cheapest"),
        (lambda: cost_per_gflop(1.0, measured(1, "x"), "int8"), "int8"),  # type: ignore[arg-type]
        (lambda: cost_per_gflop(1.0, measured(1, "x"), "fp8", gpu_count=0), "gpu_count"),
        (lambda: reference_set("x", [1.0], [], "TFLOPS"), "do not make a set"),
        (lambda: reference_set("x", [], [], "TFLOPS"), "do not make a set"),
        (lambda: efficiency_score(1.0, unknown("x"), measured(1.1, "x"), unknown("x"), _SET), "availability"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(wrong: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        wrong()
