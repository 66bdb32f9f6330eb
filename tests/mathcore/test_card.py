"""The figures of a card: those that cannot be true are named, and every card we list gives tokens."""

from __future__ import annotations

import math
from typing import Any

import pytest

from market import gpus
from mathcore.card import Card, figure_faults
from mathcore.roofline import decode_tokens_per_second

_SEVEN_B: dict[str, Any] = {
    "active_weight_bytes": 13.5e9,
    "kv_bytes": 0.0,
    "flops_per_token": 13.5e9,
    "concurrency": 1,
    "narrow": False,
    "layers": 32,
}
LISTED = [gpu for gpu in gpus.catalogue().values() if gpu.architecture]
MEASURABLE = [gpu for gpu in LISTED if gpu.memory_bandwidth_gbps and (gpu.bf16_tflops or gpu.fp16_tflops)]


@pytest.mark.parametrize("gpu", LISTED, ids=lambda gpu: gpu.name)
def test_the_figures_of_our_own_cards_have_no_fault(gpu: gpus.Gpu) -> None:
    assert not figure_faults(
        gpu.architecture or "",
        fp32=gpu.fp32_tflops,
        tf32=gpu.tf32_tflops,
        bf16=gpu.bf16_tflops,
        fp16=gpu.fp16_tflops,
        fp8=gpu.fp8_tflops,
        int8=gpu.int8_tops,
    )


@pytest.mark.parametrize("gpu", MEASURABLE, ids=lambda gpu: gpu.name)
def test_a_card_with_published_figures_has_flops_and_tokens_above_zero(gpu: gpus.Gpu) -> None:
    assert gpu.fp32_tflops is None or gpu.fp32_tflops > 0
    speed = decode_tokens_per_second(
        **_SEVEN_B,
        bandwidth_bytes=(gpu.memory_bandwidth_gbps or 0) * 1e9,
        peak_flops=(gpu.bf16_tflops or gpu.fp16_tflops or 0) * 1e12,
    )
    assert 0 < speed.low <= speed.likely < speed.ceiling


@pytest.mark.parametrize(
    ("name", "bandwidth", "ceiling"),
    [("T4", 320, 24), ("V100", 900, 67), ("4090", 1008, 75), ("A100-80", 2039, 151), ("H100-SXM", 3350, 248)],
)
def test_a_7b_model_in_16_bit_has_the_known_ceiling(name: str, bandwidth: float, ceiling: float) -> None:
    speed = decode_tokens_per_second(**_SEVEN_B, bandwidth_bytes=bandwidth * 1e9, peak_flops=65e12)
    assert speed.ceiling == pytest.approx(ceiling, abs=0.7), name


@pytest.mark.parametrize(
    ("architecture", "figures", "said"),
    [
        ("Hopper", {"fp16": 133, "fp8": 1979}, "fp8 1979 is not 2 times"),
        ("Hopper", {"fp16": 835, "fp8": 1671, "sparse": 266}, "sparse 266"),
        ("CDNA3", {"fp16": 2615, "fp8": 2614.9}, "fp8 2614.9 is not 2 times"),
        ("CDNA3", {"bf16": 1307.4, "fp8": 2614.9, "sparse": 1307}, "sparse 1307"),
        ("Blackwell", {"bf16": 2250, "fp8": 9000}, "fp8 9000"),
        ("NeuronCore-v3", {"bf16": 420, "sparse": 2563}, "sparse 2563 is not 4 times"),
        ("Volta", {"fp16": 125, "bf16": 125}, "Volta has no bf16"),
        ("Volta", {"fp16": 125, "int8": 250}, "no int8"),
        ("Turing", {"fp16": 65, "tf32": 32}, "no tf32"),
        ("Ampere", {"bf16": 312, "fp8": 624}, "no fp8"),
        ("Gaudi3", {"bf16": 1835, "fp8": 3670}, "not 1 times"),
        ("Hopper", {"fp32": 0.0}, "fp32 must be above zero"),
        ("Hopper", {"bf16": math.nan}, "bf16 must be above zero"),
        ("Ampere", {"bf16": 312, "fp16": 624}, "differ"),
    ],
)
def test_figures_that_cannot_be_true_are_named(architecture: str, figures: dict[str, float], said: str) -> None:
    assert any(said in fault for fault in figure_faults(architecture, **figures))


def test_sparse_figures_beside_dense_ones_pass_when_twice_as_high() -> None:
    assert not figure_faults("Hopper", bf16=989.4, fp8=1978.9, sparse=1979)
    assert not figure_faults("NeuronCore-v3", bf16=667, sparse=2563)
    assert not figure_faults("an architecture of tomorrow", bf16=100, fp8=400)


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["memory_gb", "bandwidth_gb_s", "tflops", "fp8_tflops", "fp32_tflops"])
def test_a_card_without_a_real_figure_is_refused(name: str, bad: float) -> None:
    figures: dict[str, Any] = {"memory_gb": 80, "bandwidth_gb_s": 3350, "tflops": 989.4}
    figures[name] = bad
    with pytest.raises(ValueError, match=name):
        Card(**figures)


def test_only_eight_bit_floats_reach_the_eight_bit_peak() -> None:
    card = Card(80, 3350, 989.4, fp8_tflops=1978.9)
    assert card.peak_flops("fp8") == 1978.9e12
    assert card.peak_flops("int4") == card.peak_flops("bf16") == 989.4e12
    assert Card(80, 2039, 312).peak_flops("fp8") == 312e12
