"""Workloads of every kind on real cards: what fits where, how it is cut up, how fast and how long."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.card import Card
from mathcore.roofline import LAYER_SECONDS
from mathcore.workload import Kind, Measured, Workload, fewest, hours, kv_share, memory, place, speed
from tests.mathcore.shapes import DEEPSEEK, SHAPES

H100 = Card(80, 3350, 989.4, fp8_tflops=1978.9, fp32_tflops=66.9)
H200 = Card(141, 4800, 989, fp8_tflops=1979, fp32_tflops=67)
RTX_4090 = Card(24, 1008, 165.2, fp8_tflops=330.3, fp32_tflops=82.6)
T4 = Card(16, 320, 65, fp32_tflops=8.1)
CARDS = (H100, H200, RTX_4090, T4)
EIGHT_B, SEVENTY_B = SHAPES["Llama 3.1 8B"], SHAPES["Llama 3.1 70B"]

SERVED = Workload(kind="llm_inference", shape=EIGHT_B, amount=1e6)
EACH: dict[str, Workload] = {
    "llm_inference": SERVED,
    "fine_tuning": Workload(kind="fine_tuning", shape=EIGHT_B, method="lora", context_tokens=2_048, amount=1e8),
    "training": Workload(kind="training", shape=SHAPES["Llama 3.2 1B"], context_tokens=2_048, amount=1e9),
    "embeddings": Workload(kind="embeddings", shape=SHAPES["Qwen3 0.6B"], context_tokens=512, batch=32, amount=1e6),
    "image_generation": Workload(kind="image_generation", pipeline="sdxl", amount=100),
    "video_generation": Workload(kind="video_generation", pipeline="wan-2.1-14b", amount=10),
    "speech": Workload(kind="speech", pipeline="whisper-large", amount=3_600),
    "rendering": Workload(kind="rendering", scene_gb=10, amount=240),
    "notebook": Workload(kind="notebook", shape=SHAPES["Mistral 7B"], duration_hours=3),
}


@pytest.mark.requirement("PROP-13")
@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_workload_fits_some_card(kind: str) -> None:
    placement = fewest(EACH[kind], H100)
    assert placement is not None
    assert placement.fits
    assert 0 < placement.needed_gb <= placement.budget_gb
    assert memory(EACH[kind]).total_gb > 0


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("name", "precision", "card", "count"),
    [
        ("Llama 3.1 8B", "bf16", RTX_4090, 1),
        ("Llama 3.1 8B", "q4_k_m", T4, 1),
        ("Llama 3.1 70B", "bf16", H100, 4),
        ("Llama 3.1 70B", "bf16", H200, 2),
        ("Llama 3.1 70B", "q4_k_m", H100, 1),
        ("Llama 3.1 70B", "q4_k_m", RTX_4090, 4),
        ("Llama 3.1 405B", "fp8", H100, 8),
        ("Llama 3.1 405B", "bf16", H100, 16),
        ("Llama 3.1 405B", "bf16", H200, 8),
    ],
)
def test_served_models_need_the_cards_people_rent_for_them(name: str, precision: str, card: Card, count: int) -> None:
    found = fewest(replace(SERVED, shape=SHAPES[name], precision=precision), card)
    assert found is not None
    assert (found.count, found.split) == (count, "tensor")


def test_671b_in_8_bit_fits_eight_h200_and_not_eight_h100() -> None:
    work = replace(SERVED, shape=DEEPSEEK, precision="fp8")
    assert place(work, H200, 8).fits
    refused = place(work, H100, 8)
    assert not refused.fits
    assert "GB on a card that takes 70.9" in refused.reason


@pytest.mark.parametrize(
    ("name", "count", "share"),
    [
        ("Llama 3.1 70B", 4, 1 / 4),
        ("Llama 3.1 70B", 8, 1 / 8),
        ("Llama 3.1 70B", 16, 1 / 8),
        ("Qwen2.5 7B", 4, 1 / 4),
        ("Qwen2.5 7B", 8, None),
        ("Phi-4", 4, None),
        ("Phi-4", 2, 1 / 2),
        ("Llama 3.1 8B", 3, None),
    ],
)
def test_kv_heads_are_dealt_out_repeated_or_refused(name: str, count: int, share: float | None) -> None:
    assert kv_share(SHAPES[name], count) == share


def test_latent_attention_is_kept_whole_on_every_card() -> None:
    assert kv_share(DEEPSEEK, 8) == 1.0


def test_what_cards_hold_twice_is_told() -> None:
    work = replace(SERVED, shape=SEVENTY_B, concurrency=16)
    eight, sixteen = place(work, H100, 8), place(work, H100, 16)
    assert eight.replicated_gb == pytest.approx(7 * eight.each.activations_gb)
    assert sixteen.replicated_gb == pytest.approx(15 * sixteen.each.activations_gb + memory(work).kv_cache_gb)


def test_heads_that_do_not_divide_are_cut_by_layers_at_the_speed_of_one_card() -> None:
    work = replace(SERVED, shape=SHAPES["Phi-4"])
    placement = place(work, RTX_4090, 4)
    assert placement.split == "layers"
    assert placement.fits
    by_layers, alone = speed(work, RTX_4090, 4), speed(work, RTX_4090, 1)
    assert by_layers is not None
    assert alone is not None
    assert by_layers.likely == pytest.approx(alone.likely)
    assert not place(work, RTX_4090, 41).fits


def test_two_cards_answer_one_stream_less_than_twice_as_fast() -> None:
    one, two = speed(SERVED, H100, 1), speed(SERVED, H100, 2)
    assert one is not None
    assert two is not None
    assert one.likely < two.likely < 2 * one.likely
    assert 1 / two.likely - 1 / two.ceiling == pytest.approx(32 * LAYER_SECONDS)


@pytest.mark.requirement("FR-MATH-007")
def test_a_mixture_reads_its_active_part_alone_and_everything_in_a_crowd() -> None:
    work = replace(SERVED, shape=SHAPES["Qwen3 30B-A3B"], context_tokens=2)
    alone = speed(work, H100, 1)
    crowd = speed(replace(work, concurrency=100), H100, 1)
    assert alone is not None
    assert crowd is not None
    assert alone.ceiling == pytest.approx(3350e9 / (2 * 3.3e9), rel=0.01)
    assert crowd.ceiling == pytest.approx(100 * 3350e9 / (2 * 30.5e9), rel=0.02)


@given(
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from(CARDS),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.integers(1, 256),
    st.sampled_from(["bf16", "fp8", "q4_k_m"]),
)
def test_no_speed_passes_its_ceiling_and_what_fits_leaves_room_for_its_streams(
    name: str, card: Card, count: int, streams: int, precision: str
) -> None:
    work = replace(SERVED, shape=SHAPES[name], concurrency=streams, precision=precision, context_tokens=1_000)
    found, placement = speed(work, card, count), place(work, card, count)
    assert found is not None
    assert 0 < found.low <= found.likely <= found.high <= found.ceiling
    assert placement.fits is (placement.needed_gb <= placement.budget_gb and count <= SHAPES[name].layers)
    assert placement.most_streams is not None
    assert placement.fits is (placement.most_streams >= streams) or count > SHAPES[name].layers
    assert placement.replicated_gb >= -1e-9


@given(st.sampled_from(sorted(EACH)), st.sampled_from(CARDS), st.sampled_from([1, 2, 4, 8]))
def test_more_cards_never_hold_more_each(kind: str, card: Card, count: int) -> None:
    assert place(EACH[kind], card, 2 * count).needed_gb <= place(EACH[kind], card, count).needed_gb * (1 + 1e-12)


def test_training_is_sharded_and_copies_are_not() -> None:
    full = replace(EACH["fine_tuning"], method="full")
    placement = fewest(full, H100)
    assert placement is not None
    assert (placement.split, placement.count) == ("shards", 2)
    images = place(EACH["video_generation"], T4, 8)
    assert images.split == "copies"
    assert not images.fits


def test_hours_are_itemised_and_add_up() -> None:
    duration = hours(replace(SERVED, prompt_tokens=5e7), H100, 1)
    assert duration is not None
    assert list(duration.parts) == ["reading prompts", "generating"]
    assert [sum(part) for part in zip(*duration.parts.values(), strict=True)] == pytest.approx(duration.total)
    assert duration.total[0] < duration.total[1] < duration.total[2]


@pytest.mark.parametrize("kind", ["fine_tuning", "training", "embeddings", "llm_inference"])
def test_twice_the_work_takes_twice_as_long_and_more_cards_less(kind: str) -> None:
    work = EACH[kind]
    once, twice = hours(work, H100, 2), hours(replace(work, amount=2 * work.amount), H100, 2)
    more = hours(work, H100, 8)
    assert once is not None
    assert twice is not None
    assert more is not None
    assert twice.total == pytest.approx([2 * each for each in once.total])
    assert more.total[1] < once.total[1]


def test_hours_that_were_asked_for_stay() -> None:
    duration = hours(EACH["notebook"], H100, 1)
    assert duration is not None
    assert duration.total == (3, 3, 3)


@pytest.mark.parametrize("kind", ["image_generation", "video_generation", "speech", "rendering"])
def test_without_a_measurement_no_speed_is_made_up(kind: str) -> None:
    assert speed(EACH[kind], H100, 1) is None
    assert hours(EACH[kind], H100, 1) is None


def test_a_measured_speed_is_carried_over_and_multiplied() -> None:
    work = replace(EACH["image_generation"], measured=Measured(0.5, RTX_4090))
    here, there = speed(work, RTX_4090, 1), speed(work, H100, 4)
    assert here is not None
    assert there is not None
    assert (here.low, here.high) == pytest.approx((0.5, 0.5))
    assert (there.low, there.high) == pytest.approx((2 * 3350 / 1008, 2 * 989.4 / 165.2))
    duration = hours(work, RTX_4090, 1)
    assert duration is not None
    assert duration.total == pytest.approx((100 / 0.5 / 3600,) * 3)


def test_rendering_scales_with_32_bit_arithmetic() -> None:
    work = replace(EACH["rendering"], measured=Measured(1.0, T4))
    found = speed(work, RTX_4090, 1)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((1008 / 320, 82.6 / 8.1))
    with pytest.raises(ValueError, match="fp32_tflops"):
        speed(work, Card(24, 1008, 165.2), 1)


def test_nothing_to_do_takes_no_time() -> None:
    assert hours(replace(SERVED, amount=0), H100, 1) is None
    assert hours(replace(EACH["training"], amount=0), H100, 1) is None
    assert speed(EACH["training"], H100, 1) is None


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"kind": "baking"}, "kind"),
        ({"kind": "llm_inference"}, "shape"),
        ({"kind": "speech"}, "pipeline"),
        ({"kind": "rendering"}, "scene_gb"),
        ({"kind": "llm_inference", "shape": EIGHT_B, "amount": -1}, "amount"),
        ({"kind": "llm_inference", "shape": EIGHT_B, "prompt_tokens": math.nan}, "prompt_tokens"),
        ({"kind": "notebook", "shape": EIGHT_B, "duration_hours": 0}, "duration_hours"),
    ],
)
def test_a_workload_that_lacks_what_decides_it_is_refused(figures: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Workload(**figures)


def test_senseless_counts_and_measurements_are_refused() -> None:
    for refused in (place, speed):
        with pytest.raises(ValueError, match="count"):
            refused(SERVED, H100, 0)
    with pytest.raises(ValueError, match="count"):
        hours(SERVED, H100, 0)
    with pytest.raises(ValueError, match="precision"):
        place(replace(SERVED, precision="fp5"), H100, 1)
    for bad in (0, -1, math.nan):
        with pytest.raises(ValueError, match="items_per_second"):
            Measured(bad, T4)
