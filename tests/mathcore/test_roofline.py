from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.roofline import decode_tokens_per_second, training_hours, weight_bytes_read
from tests.mathcore.published import published

_size = st.floats(1e6, 1e13)


def _is_narrow(point: dict[str, Any]) -> bool:
    return "q4" in point["weights"].lower()


def _speed(point: dict[str, Any]) -> Any:
    weights = point["weight_bytes"]
    narrow = _is_narrow(point)
    return decode_tokens_per_second(
        active_weight_bytes=weights,
        kv_bytes=point["kv_bytes_per_token"] * point["context_tokens"] / 2,
        flops_per_token=weights / (0.61 if narrow else 2.0) * 2,
        bandwidth_bytes=point["bandwidth_gb_s"] * 1e9,
        peak_flops=1e15,
        concurrency=1,
        narrow=narrow,
    )


def test_no_published_measurement_beats_the_ceiling_and_the_estimate_is_near() -> None:
    errors: dict[bool, list[float]] = {True: [], False: []}
    inside = 0
    points = published("decode_throughput_points.json")["points"]
    for point in points:
        speed, measured = _speed(point), point["measured_tokens_per_s"]
        assert measured <= speed.ceiling, point
        errors[_is_narrow(point)].append(abs(speed.likely / measured - 1))
        inside += speed.low <= measured <= speed.high
    wide, narrow = (100 * statistics.mean(errors[kind]) for kind in (False, True))
    print(f"mean error: 16 bit {wide:.1f} %, 4 bit {narrow:.1f} %; {inside} of {len(points)} inside the interval")
    assert wide < 15
    assert narrow < 35
    assert inside >= 0.6 * len(points)


@given(_size, st.floats(0, 1e10), _size, _size, st.integers(1, 100_000), st.booleans())
def test_no_estimate_passes_its_ceiling(
    weights: float, cache: float, bandwidth: float, peak: float, streams: int, narrow: bool
) -> None:
    speed = decode_tokens_per_second(
        active_weight_bytes=weights,
        kv_bytes=cache,
        flops_per_token=weights,
        bandwidth_bytes=bandwidth,
        peak_flops=peak,
        concurrency=streams,
        narrow=narrow,
    )
    assert 0 < speed.low <= speed.likely <= speed.high <= speed.ceiling
    assert speed.ceiling <= peak / weights * (1 + 1e-9)


@given(_size, st.floats(0.001, 1), st.integers(1, 10_000))
def test_a_mixture_reads_at_least_what_one_stream_hits_and_at_most_everything(
    total: float, share: float, streams: int
) -> None:
    read = weight_bytes_read(total, total * share, streams)
    assert total * share * (1 - 1e-9) <= read <= total
    assert weight_bytes_read(total, total * share, streams + 1) >= read * (1 - 1e-12)


def test_a_dense_model_reads_all_of_itself_and_a_crowded_mixture_too() -> None:
    assert weight_bytes_read(16e9, 16e9, 1) == 16e9
    assert weight_bytes_read(671e9, 37e9, 1) == pytest.approx(37e9)
    assert weight_bytes_read(671e9, 37e9, 500) == pytest.approx(671e9)


def test_training_the_405b_model_takes_about_what_was_published() -> None:
    fast, likely, slow = training_hours(parameters=405e9, tokens=15.6e12, peak_flops=989e12, recompute=False)
    assert fast < likely < slow
    assert fast == pytest.approx(26.6e6, rel=0.01)
    assert fast < 30.84e6 < slow


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_figures_that_are_none_are_refused(bad: float) -> None:
    for name in ("active_weight_bytes", "flops_per_token", "bandwidth_bytes", "peak_flops", "kv_bytes"):
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
