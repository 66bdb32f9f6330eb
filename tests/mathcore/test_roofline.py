"""Speed bounds, held to published measurements, published training runs and claims that cannot be true."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.roofline import (
    TRAINING_SHARES,
    compute_bound_batch,
    decode_tokens_per_second,
    plausible_decode_claim,
    prefill_tokens_per_second,
    scaled_speed,
    training_hours,
    training_shares,
    weight_bytes_read,
)
from tests.mathcore.decode_points import estimated, is_narrow
from tests.mathcore.published import published

H100_FLOPS, H100_BANDWIDTH = 989.4e12, 3350e9
_size = st.floats(1e6, 1e13)


def _points() -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = published("decode_throughput_points.json")["points"]
    assert len(points) == 23
    return points


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("with_depth", "wide_percent", "narrow_percent"), [(True, 12.5, 20), (False, 12.5, 22)], ids=["depth", "no depth"]
)
def test_estimates_are_near_what_was_published(with_depth: bool, wide_percent: float, narrow_percent: float) -> None:
    errors: dict[bool, list[float]] = {True: [], False: []}
    for point in _points():
        error = estimated(point, with_depth=with_depth).likely / point["measured_tokens_per_s"] - 1
        errors[is_narrow(point)].append(100 * abs(error))
    assert statistics.mean(errors[False]) <= wide_percent
    assert statistics.mean(errors[True]) <= narrow_percent


@pytest.mark.requirement("FR-MATH-007")
def test_no_published_measurement_beats_the_ceiling_and_all_lie_in_the_interval() -> None:
    for point in _points():
        speed, measured = estimated(point), point["measured_tokens_per_s"]
        assert speed.likely < speed.ceiling
        assert measured <= speed.ceiling, point
        assert speed.low <= measured <= speed.high, point


def test_eight_streams_share_the_weights_as_one_published_run_did() -> None:
    # vLLM on an A100-40 with Llama 3.1 8B: 495 tokens/s from eight streams, 1,024 tokens of prompt and 128 of answer
    eight = decode_tokens_per_second(
        active_weight_bytes=16.06e9,
        kv_bytes=1_088 * 131_072,
        flops_per_token=16.06e9,
        bandwidth_bytes=1555e9,
        peak_flops=312e12,
        concurrency=8,
        narrow=False,
        layers=32,
    )
    assert eight.low < 495 < eight.high


@given(
    _size, st.floats(0, 1e10), _size, _size, st.integers(1, 100_000), st.booleans(), st.none() | st.integers(1, 1_000)
)
def test_no_estimate_passes_its_ceiling(
    weights: float, cache: float, bandwidth: float, peak: float, streams: int, narrow: bool, layers: int | None
) -> None:
    speed = decode_tokens_per_second(
        active_weight_bytes=weights,
        kv_bytes=cache,
        flops_per_token=weights,
        bandwidth_bytes=bandwidth,
        peak_flops=peak,
        concurrency=streams,
        narrow=narrow,
        layers=layers,
    )
    assert 0 < speed.low <= speed.likely <= speed.high <= speed.ceiling
    assert speed.ceiling <= peak / weights * (1 + 1e-9)


@given(_size, st.floats(0.001, 1), st.integers(1, 10_000), st.booleans())
def test_a_mixture_reads_at_least_what_one_stream_hits_and_at_most_everything(
    total: float, share: float, streams: int, counted: bool
) -> None:
    experts = (128, 8) if counted and share >= 8 / 128 else (None, None)
    read = weight_bytes_read(total, total * share, streams, *experts)
    assert total * share * (1 - 1e-9) <= read <= total * (1 + 1e-9)
    assert weight_bytes_read(total, total * share, streams + 1, *experts) >= read * (1 - 1e-12)


def test_a_dense_model_reads_all_of_itself_and_a_crowded_mixture_too() -> None:
    assert weight_bytes_read(16e9, 16e9, 1) == 16e9
    for experts in ((None, None), (256, 8)):
        assert weight_bytes_read(671e9, 37e9, 1, *experts) == pytest.approx(37e9)
        assert weight_bytes_read(671e9, 37e9, 2_000, *experts) == pytest.approx(671e9)
    # Mixtral 8x7B: 45.1 of 46.7 thousand million lie in experts; two streams miss (3/4)² of them
    assert weight_bytes_read(46.7, 12.88, 2, 8, 2) == pytest.approx(46.7 - (46.7 - 12.88) / 0.75 * 0.75**2)


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("peak", "bandwidth", "streams"), [(989.4e12, 3350e9, 295), (312e12, 2039e9, 153), (165.2e12, 1008e9, 164)]
)
def test_arithmetic_bounds_from_the_published_batch_on(peak: float, bandwidth: float, streams: int) -> None:
    found = compute_bound_batch(peak_flops=peak, bandwidth_bytes=bandwidth, bytes_per_weight=2)
    assert found == pytest.approx(streams, abs=0.6)
    for concurrency, bound in ((int(found), "memory bandwidth"), (int(found) + 1, "arithmetic")):
        speed = decode_tokens_per_second(
            active_weight_bytes=16e9,
            kv_bytes=0,
            flops_per_token=16e9,
            bandwidth_bytes=bandwidth,
            peak_flops=peak,
            concurrency=concurrency,
            narrow=False,
        )
        assert speed.bound == bound


def test_prompts_are_read_at_two_operations_a_parameter() -> None:
    figures: dict[str, float] = {"peak_flops": H100_FLOPS, "bandwidth_bytes": H100_BANDWIDTH, "weight_bytes": 16.06e9}
    long = prefill_tokens_per_second(active_parameters=8.03e9, batch_tokens=8_192, **figures)
    assert (long.low, long.high) == pytest.approx((0.4 * H100_FLOPS / 16.06e9, 0.6 * H100_FLOPS / 16.06e9))
    single = prefill_tokens_per_second(active_parameters=8.03e9, batch_tokens=1, **figures)
    assert single.high == single.ceiling == pytest.approx(H100_BANDWIDTH / 16.06e9)
    assert single.bound == "memory bandwidth"


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_a_measurement_carried_over_lies_between_the_two_ratios(measured: float, peak: float, bandwidth: float) -> None:
    speed = scaled_speed(measured, peak_ratio=peak, bandwidth_ratio=bandwidth)
    assert speed.low <= speed.likely * (1 + 1e-12)
    assert speed.likely <= speed.high * (1 + 1e-12)
    assert scaled_speed(measured, peak_ratio=1, bandwidth_ratio=1).likely == pytest.approx(measured)


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("parameters", "tokens", "published_hours"),
    [(405.85e9, 15.6e12, 30.84e6), (70.55e9, 15e12, 7.0e6), (8.03e9, 15e12, 1.46e6)],
    ids=["405B", "70B", "8B"],
)
def test_published_training_runs_lie_in_the_range(parameters: float, tokens: float, published_hours: float) -> None:
    fast, likely, slow = training_hours(parameters=parameters, tokens=tokens, peak_flops=H100_FLOPS, recompute=False)
    assert fast < likely < slow
    assert fast <= published_hours <= slow


def test_the_405b_model_at_forty_percent_takes_26_6_million_hours() -> None:
    fast, likely, _ = training_hours(parameters=405e9, tokens=15.6e12, peak_flops=989e12, recompute=False)
    assert fast == pytest.approx(26.6e6, rel=0.01)
    assert likely == pytest.approx(30.84e6, rel=0.05)


@given(st.floats(1e6, 1e14))
def test_shares_of_the_peak_are_in_order_and_grow_with_the_model(parameters: float) -> None:
    slow, likely, fast = training_shares(parameters)
    assert TRAINING_SHARES[0][1][0] <= slow < likely < fast <= 0.40 + 1e-12
    assert 0.25 - 1e-12 <= likely <= 0.35 + 1e-12
    assert training_shares(parameters * 2)[1] >= likely - 1e-12


def test_an_adapter_spares_the_gradients_of_frozen_weights() -> None:
    full = training_hours(parameters=8e9, tokens=1e9, peak_flops=1e15)[1]
    assert training_hours(parameters=8e9, tokens=1e9, peak_flops=1e15, adapter=True)[1] == pytest.approx(full * 6 / 8)


LLAMA_2_70B, LLAMA_2_7B = 140e9, 13.5e9


@pytest.mark.parametrize(
    ("claimed", "weights", "bandwidth", "memory", "ceiling"),
    [
        # "H100 ~85 tok/s, H200 155 tok/s, Llama-2-70B FP16, batch 1"
        (85, LLAMA_2_70B, 3350e9, 80e9, 24),
        (155, LLAMA_2_70B, 4800e9, 141e9, 34),
        # a table of "tokens/s (7B)" without a batch
        (150, LLAMA_2_7B, 320e9, 16e9, 24),
        (3500, LLAMA_2_7B, 3350e9, 80e9, 248),
    ],
)
def test_claims_in_circulation_above_the_ceiling_are_refused(
    claimed: float, weights: float, bandwidth: float, memory: float, ceiling: float
) -> None:
    verdict = plausible_decode_claim(claimed, weight_bytes=weights, bandwidth_bytes=bandwidth, memory_bytes=memory)
    assert not verdict.plausible
    assert verdict.ceiling == pytest.approx(ceiling, abs=0.6)
    assert "above the ceiling" in verdict.reason


def test_a_slow_enough_claim_is_still_refused_where_the_weights_do_not_fit() -> None:
    figures: dict[str, Any] = {"weight_bytes": LLAMA_2_70B, "bandwidth_bytes": 3350e9, "memory_bytes": 80e9}
    verdict = plausible_decode_claim(20, **figures)
    assert not verdict.plausible
    assert verdict.reason == "140 GB do not fit in 80 GB"
    assert plausible_decode_claim(20, **figures, cards=2).plausible


def test_every_published_measurement_is_a_plausible_claim() -> None:
    for point in _points():
        verdict = plausible_decode_claim(
            point["measured_tokens_per_s"],
            weight_bytes=point["weight_bytes"],
            bandwidth_bytes=point["bandwidth_gb_s"] * 1e9,
            kv_bytes=point["kv_bytes_per_token"] * point["context_tokens"] / 2,
        )
        assert verdict.plausible, verdict.reason


@given(_size, _size, st.floats(0, 1e10), st.integers(1, 64), st.floats(0.01, 100))
def test_a_claim_is_plausible_up_to_the_ceiling_and_not_above(
    weights: float, bandwidth: float, cache: float, cards: int, share: float
) -> None:
    ceiling = cards * bandwidth / (weights + cache)
    verdict = plausible_decode_claim(
        ceiling * share, weight_bytes=weights, bandwidth_bytes=bandwidth, kv_bytes=cache, cards=cards
    )
    assert verdict.plausible is (ceiling * share <= ceiling)


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_figures_that_are_none_are_refused(bad: float) -> None:
    for name in ("active_weight_bytes", "flops_per_token", "bandwidth_bytes", "peak_flops", "kv_bytes", "layers"):
        figures: dict[str, Any] = {
            "active_weight_bytes": 1e9,
            "kv_bytes": 1.0,
            "flops_per_token": 1e9,
            "bandwidth_bytes": 1e12,
            "peak_flops": 1e14,
            "concurrency": 1,
            "narrow": False,
        }
        if name == "kv_bytes" and bad == 0:
            continue
        figures[name] = bad
        with pytest.raises(ValueError, match=name):
            decode_tokens_per_second(**figures)
    with pytest.raises(ValueError, match="tokens"):
        training_hours(parameters=1e9, tokens=bad, peak_flops=1e14)
    with pytest.raises(ValueError, match="total_bytes"):
        weight_bytes_read(bad, 1, 1)
    with pytest.raises(ValueError, match="tokens_per_second"):
        plausible_decode_claim(bad, weight_bytes=1, bandwidth_bytes=1)
    with pytest.raises(ValueError, match="peak_ratio"):
        scaled_speed(1, peak_ratio=bad, bandwidth_ratio=1)
    with pytest.raises(ValueError, match="batch_tokens"):
        prefill_tokens_per_second(
            active_parameters=1, peak_flops=1, weight_bytes=1, bandwidth_bytes=1, batch_tokens=bad
        )


def test_more_experts_used_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="experts_used"):
        weight_bytes_read(10, 5, 1, 8, 9)
    with pytest.raises(ValueError, match="kv_bytes"):
        plausible_decode_claim(1, weight_bytes=1, bandwidth_bytes=1, kv_bytes=-1)
