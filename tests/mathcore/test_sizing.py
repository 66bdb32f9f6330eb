"""Memory of models, held to the exact count of their parameters and to published files and caches."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.sizing import (
    BYTES_PER_WEIGHT,
    GB,
    GIB,
    ModelShape,
    adapter_parameters,
    counted_parameters,
    encoding_memory,
    kv_bytes_per_token,
    kv_cache_bytes,
    serving_memory,
    training_memory,
    weight_bytes,
)
from tests.mathcore.shapes import DEEPSEEK, SHAPES, TIED

LLAMA_8B = SHAPES["Llama 3.1 8B"]
LLAMA_70B = SHAPES["Llama 3.1 70B"]
IMAGE_TOWER = 0.42e9
"""What Gemma 3 has beside its language model, the same in each size: published sizes count it."""


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("precision", "width"), [("fp32", 4.0), ("bf16", 2.0), ("fp8", 1.0)])
def test_weights_are_within_five_percent_of_the_exact_count(name: str, precision: str, width: float) -> None:
    exact = counted_parameters(SHAPES[name], tied=name in TIED) + IMAGE_TOWER * name.startswith("Gemma 3")
    assert serving_memory(SHAPES[name], precision, 1, 1).weights_gb == pytest.approx(exact * width / GB, rel=0.05)
    assert SHAPES[name].parameters == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.experts])
def test_the_active_part_of_a_mixture_is_what_its_experts_leave(name: str) -> None:
    counted = counted_parameters(replace(SHAPES[name], experts=SHAPES[name].experts_used))
    assert SHAPES[name].active == pytest.approx(counted, rel=0.015)


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("parameters", "precision", "file_bytes"),
    [
        (8.03e9, "q4_k_m", 4.58 * GIB),
        (70.55e9, "q4_k_m", 39.59 * GIB),
        (8.03e9, "bf16", 16_063_177_687),
        (6.74e9, "fp16", 13_561_359_237),
        (68.98e9, "q4_0", 39_051_990_138),
        (671e9, "fp8", 671e9),
    ],
)
def test_weights_are_within_five_percent_of_published_files(
    parameters: float, precision: str, file_bytes: float
) -> None:
    assert weight_bytes(parameters, precision) == pytest.approx(file_bytes, rel=0.05)


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("name", "kib"),
    [
        ("Llama 3.1 8B", 128),
        ("Llama 3.1 70B", 320),
        ("Llama 3.1 405B", 504),
        ("Llama 2 7B", 512),
        ("Mistral 7B", 128),
        ("Qwen2.5 7B", 56),
        ("Qwen2.5 32B", 256),
        ("Qwen2.5 72B", 320),
        ("Qwen3 8B", 144),
        ("Qwen3 32B", 256),
        ("Phi-4", 200),
    ],
)
def test_the_cache_of_a_token_is_exact_with_grouped_queries(name: str, kib: int) -> None:
    assert kv_bytes_per_token(SHAPES[name]) == kib * 1024
    assert kv_cache_bytes(SHAPES[name], 1_000) == kib * 1024 * 1_000


@pytest.mark.requirement("FR-MATH-007")
def test_the_cache_of_a_token_is_exact_with_latent_attention() -> None:
    assert kv_bytes_per_token(DEEPSEEK) == 70_272
    grouped = replace(DEEPSEEK, latent_width=None)
    assert kv_bytes_per_token(grouped) / kv_bytes_per_token(DEEPSEEK) == pytest.approx(57, abs=0.2)


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("name", "everywhere", "window"),
    [("Gemma 2 9B", 21, 4096), ("Gemma 2 27B", 23, 4096), ("Gemma 3 4B", 5, 1024), ("Gemma 3 27B", 10, 1024)],
)
def test_layers_with_a_window_keep_no_more_than_it(name: str, everywhere: int, window: int) -> None:
    shape = SHAPES[name]
    layer = 2 * shape.kv_heads * shape.head_dim * 2
    kept = everywhere * 100_000 + (shape.layers - everywhere) * window
    assert kv_cache_bytes(shape, 100_000) == layer * kept
    assert kv_cache_bytes(shape, window) == kv_bytes_per_token(shape) * window
    assert kv_cache_bytes(shape, 100_000, 1.0) == kv_cache_bytes(shape, 100_000) / 2


def test_a_long_context_of_gemma_3_takes_a_fifth_of_what_its_layers_suggest() -> None:
    shape = SHAPES["Gemma 3 27B"]
    assert 5 < kv_bytes_per_token(shape) * 131_072 / kv_cache_bytes(shape, 131_072) < 6.5


def test_an_8b_model_with_8k_context_fits_24_gb_and_not_16() -> None:
    memory = serving_memory(LLAMA_8B, "bf16", 8_192, 1)
    assert memory.kv_cache_gb == pytest.approx(1.07, abs=0.01)
    assert 18 < memory.total_gb < 24
    # the plan of an engine: 0.90 of the card less 1 GiB
    planned = 0.9 * memory.total_gb - GIB / GB
    assert memory.weights_gb + memory.kv_cache_gb + memory.activations_gb == pytest.approx(planned)


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("shape", "how", "low", "high"),
    [
        (LLAMA_8B, "full", 129, 150),
        (LLAMA_8B, "lora", 18, 22),
        (LLAMA_8B, "qlora", 8, 10),
        (LLAMA_70B, "qlora", 42, 48 * 1.05),
    ],
)
def test_tuning_takes_what_people_measured(shape: ModelShape, how: Any, low: float, high: float) -> None:
    assert low < training_memory(shape, how, 2_048, 1).total_gb < high


def test_full_tuning_takes_eighteen_bytes_a_parameter_before_activations() -> None:
    parts = training_memory(LLAMA_8B, "full", 2_048, 1)
    assert parts.weights_gb + parts.optimiser_gb == pytest.approx(18 * 8.03)


def test_an_adapter_is_counted_from_the_matrices_it_sits_on() -> None:
    # rank 16 on q, k, v, o, gate, up and down of 32 layers
    each = (4096 + 4096) * 2 + (4096 + 1024) * 2 + (4096 + 14336) * 3
    assert adapter_parameters(LLAMA_8B, 16) == 32 * 16 * each
    unknown = replace(LLAMA_8B, heads=None, intermediate=None)
    assert adapter_parameters(unknown, 16) == pytest.approx(adapter_parameters(LLAMA_8B, 16), rel=0.13)


def test_an_embedding_model_of_0_6b_takes_under_two_gigabytes() -> None:
    parts = encoding_memory(SHAPES["Qwen3 0.6B"], "bf16", 512, 32)
    assert parts.weights_gb + parts.activations_gb < 2
    assert parts.kv_cache_gb == 0


@given(
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from(sorted(BYTES_PER_WEIGHT)),
    st.integers(1, 10_000_000),
    st.integers(1, 100_000),
)
def test_more_context_or_more_requests_never_take_less(name: str, precision: str, context: int, streams: int) -> None:
    shape = SHAPES[name]
    total = serving_memory(shape, precision, context, streams).total_gb
    assert math.isfinite(total)
    assert total > shape.parameters * BYTES_PER_WEIGHT[precision] / GB
    assert serving_memory(shape, precision, context + 1, streams).total_gb >= total
    assert serving_memory(shape, precision, context, streams + 1).total_gb >= total
    assert kv_cache_bytes(shape, context) <= kv_bytes_per_token(shape) * context


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize(
    "name", ["parameters", "layers", "hidden", "kv_heads", "head_dim", "active_parameters", "heads", "vocabulary"]
)
def test_a_shape_without_a_real_figure_is_refused(name: str, bad: float) -> None:
    figures: dict[str, Any] = {"parameters": 8e9, "layers": 32, "hidden": 4096, "kv_heads": 8, "head_dim": 128}
    figures[name] = bad
    with pytest.raises(ValueError, match=name):
        ModelShape(**figures)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"active_parameters": 9e9}, "active"),
        ({"window": 1024}, "global_every"),
        ({"experts": 8}, "experts_used"),
        ({"experts": 8, "experts_used": 9}, "experts_used"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ModelShape(parameters=8e9, layers=1, hidden=1, kv_heads=1, head_dim=1, **more)


def test_senseless_questions_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="precision"):
        serving_memory(LLAMA_8B, "fp5", 1, 1)
    with pytest.raises(ValueError, match="context_tokens"):
        serving_memory(LLAMA_8B, "bf16", 0, 1)
    with pytest.raises(ValueError, match="concurrency"):
        serving_memory(LLAMA_8B, "bf16", 1, 0)
    with pytest.raises(ValueError, match="how"):
        training_memory(LLAMA_8B, "guess", 1, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch"):
        training_memory(LLAMA_8B, "full", 1, 0)
    with pytest.raises(ValueError, match="bytes_per_value"):
        kv_bytes_per_token(LLAMA_8B, math.nan)
    with pytest.raises(ValueError, match="tokens"):
        kv_cache_bytes(LLAMA_8B, 0)
    with pytest.raises(ValueError, match="rank"):
        adapter_parameters(LLAMA_8B, 0)
    with pytest.raises(ValueError, match="heads"):
        counted_parameters(replace(LLAMA_8B, heads=None))
    with pytest.raises(ValueError, match="latent_width"):
        counted_parameters(replace(DEEPSEEK, intermediate=2048))
