from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.sizing import BYTES_PER_WEIGHT, GB, ModelShape, kv_bytes_per_token, serving_memory, training_memory

LLAMA_8B = ModelShape(parameters=8.03e9, layers=32, hidden=4096, kv_heads=8, head_dim=128)
LLAMA_70B = ModelShape(parameters=70.55e9, layers=80, hidden=8192, kv_heads=8, head_dim=128)
LLAMA_405B = ModelShape(parameters=405.85e9, layers=126, hidden=16384, kv_heads=8, head_dim=128)
DEEPSEEK = ModelShape(
    parameters=671e9, layers=61, hidden=7168, kv_heads=128, head_dim=128, active_parameters=37e9, latent_width=576
)


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("shape", "expected"),
    [(LLAMA_8B, 128 * 1024), (LLAMA_70B, 320 * 1024), (LLAMA_405B, 504 * 1024), (DEEPSEEK, 70_272)],
)
def test_the_cache_of_a_token_is_exact(shape: ModelShape, expected: int) -> None:
    assert kv_bytes_per_token(shape) == expected


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("shape", "precision", "published_gb"),
    [(LLAMA_8B, "bf16", 16.06), (LLAMA_8B, "q4_k_m", 4.92), (LLAMA_70B, "q4_k_m", 42.5), (DEEPSEEK, "fp8", 671.0)],
)
def test_weights_are_within_five_percent_of_the_published_files(
    shape: ModelShape, precision: str, published_gb: float
) -> None:
    assert serving_memory(shape, precision, 1_024, 1).weights_gb == pytest.approx(published_gb, rel=0.05)


def test_an_8b_model_with_8k_context_fits_24_gb_and_not_16() -> None:
    memory = serving_memory(LLAMA_8B, "bf16", 8_192, 1)
    assert memory.kv_cache_gb == pytest.approx(1.07, abs=0.01)
    assert 18 < memory.total_gb < 24
    # weights + cache stay within 90 % of the card less 1 GiB, as engines plan
    assert memory.weights_gb + memory.kv_cache_gb <= 0.9 * memory.total_gb


@pytest.mark.parametrize(("how", "low", "high"), [("full", 129, 150), ("lora", 18, 22), ("qlora", 7, 10)])
def test_tuning_an_8b_model_takes_what_people_measured(how: Any, low: float, high: float) -> None:
    assert low < training_memory(LLAMA_8B, how, 2_048, 1).total_gb < high


@given(st.sampled_from(sorted(BYTES_PER_WEIGHT)), st.integers(1, 10_000_000), st.integers(1, 100_000))
def test_more_context_or_more_requests_never_take_less(precision: str, context: int, streams: int) -> None:
    total = serving_memory(LLAMA_8B, precision, context, streams).total_gb
    assert math.isfinite(total)
    assert total > LLAMA_8B.parameters * BYTES_PER_WEIGHT[precision] / GB
    assert serving_memory(LLAMA_8B, precision, context + 1, streams).total_gb >= total
    assert serving_memory(LLAMA_8B, precision, context, streams + 1).total_gb >= total


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["parameters", "layers", "hidden", "kv_heads", "head_dim", "active_parameters"])
def test_a_shape_without_a_real_figure_is_refused(name: str, bad: float) -> None:
    figures: dict[str, Any] = {"parameters": 8e9, "layers": 32, "hidden": 4096, "kv_heads": 8, "head_dim": 128}
    figures[name] = bad
    with pytest.raises(ValueError, match=name):
        ModelShape(**figures)


def test_no_more_parameters_are_active_than_there_are() -> None:
    with pytest.raises(ValueError, match="active"):
        ModelShape(parameters=8e9, layers=1, hidden=1, kv_heads=1, head_dim=1, active_parameters=9e9)


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
