"""Models by the names people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.media import PIPELINES
from tests.mathcore.shapes import DEEPSEEK, SHAPES
from tools.models import (
    ALL_RESIDENT,
    MEDIA_MODELS,
    known_models,
    media_in,
    named_in,
    shape_from_size,
    shape_of,
    size_in,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("llama 3.1 8b", "Llama 3.1 8B"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "Llama 3.1 8B"),
        ("llama3:8b", "Llama 3.1 8B"),
        ("Llama-3.3-70B", "Llama 3.1 70B"),
        ("mixtral", "Mixtral 8x7B"),
        ("Mixtral-8x22B-Instruct", "Mixtral 8x22B"),
        ("qwen3-4b", "Qwen3 4B"),
        ("Qwen3 30B A3B", "Qwen3 30B-A3B"),
        ("gemma-3-27b-it", "Gemma 3 27B"),
        ("google/gemma-2-9b-it", "Gemma 2 9B"),
        ("deepseek r1", "DeepSeek V3/R1"),
        ("DeepSeek-R1-Distill-Llama-8B", "Llama 3.1 8B"),
        ("phi 3 mini", "Phi-3 mini"),
        ("qwen3-4bit", None),
        ("llama-3-8bit", None),
        ("qwen3 in 4bit", None),
        ("llama-3-80b", None),
        ("llama 38b", None),
        ("DeepSeek-R1-Distill-Qwen-32B", None),
        ("phi-3-medium", None),
        ("phi-4-mini", None),
        ("qwen2.5-coder-7b", None),
        ("gemma-2-2b", None),
        ("", None),
    ],
)
def test_a_name_means_the_model_it_names_and_no_other(text: str, name: str | None) -> None:
    found = named_in(text)
    assert (found.name if found else None) == name


def test_every_model_is_found_by_its_name_and_each_alias() -> None:
    for model in known_models():
        for alias in (model.name, *model.aliases):
            assert named_in(alias) is model, alias
        assert shape_of(model).parameters == model.parameters_b * 1e9


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("70B", (70, None)),
        ("a 13 billion parameter model", (13, None)),
        ("350M", (0.35, None)),
        ("8x7B", (47.6, 14)),
        ("Foo-30B-A3B", (30, 3)),
        ("10T model", (10_000, None)),
        ("2x 7b", (7, None)),
        ("1.5 million rows", None),
        ("50M tokens", None),
        ("2T tokens", None),
        ("$3M", None),
        ("4bit", None),
        ("80GB", None),
        ("no size", None),
    ],
)
def test_a_size_is_read_from_a_name_and_from_nothing_else(text: str, size: tuple[float, float | None] | None) -> None:
    found = size_in(text)
    if size is None or found is None:
        assert found == size
    else:
        assert found[0] == pytest.approx(size[0])
        assert found[1] == size[1]


@pytest.mark.parametrize(
    ("text", "name"),
    [("FLUX.1-dev", "FLUX.1"), ("stable diffusion xl", "SDXL"), ("sd1.5", "SD 1.5"), ("Wan2.1", "Wan 2.1"),
     ("openai/whisper-large-v3", "Whisper"), ("whisper-large-v3-turbo", "Whisper turbo"),
     ("whisper small", "Whisper small"),
     ("faster-whisper large-v3", "Faster Whisper"), ("whisper on a small card", "Whisper"), ("taiwan llm", None),
     ("influx", None)],
)  # fmt: skip
def test_image_video_and_speech_models_are_known_by_name(text: str, name: str | None) -> None:
    found = media_in(text)
    assert (found.name if found else None) == name


@pytest.mark.requirement("FR-MATH-007")
def test_shapes_are_those_that_were_published() -> None:
    shapes = {model.name: shape_of(model) for model in known_models()}
    assert {name: shape for name, shape in shapes.items() if name in SHAPES} == SHAPES
    (rest,) = set(shapes) - set(SHAPES)
    assert (shapes[rest].latent_width, shapes[rest].heads) == (DEEPSEEK.latent_width, DEEPSEEK.heads)
    assert (shapes[rest].experts, shapes[rest].experts_used) == (256, 8)


def test_every_way_to_run_a_media_model_has_a_published_figure() -> None:
    ways = {pipeline for model in MEDIA_MODELS for pipeline in model.pipelines.values()}
    assert ways | set(ALL_RESIDENT.values()) == set(PIPELINES)
    assert all(16 in model.pipelines for model in MEDIA_MODELS)
    assert MEDIA_MODELS[2].nearest(4) == (4, "flux.1-int4")
    assert MEDIA_MODELS[3].nearest(4) == (8, "wan-2.1-14b-fp8")


@given(st.floats(0.01, 9_999))
def test_a_shape_can_be_made_of_any_size(parameters_b: float) -> None:
    shape = shape_from_size(parameters_b)
    assert shape.parameters == parameters_b * 1e9
    assert shape.layers >= 16


@given(st.text(max_size=80))
def test_no_text_breaks_the_reading_of_names(text: str) -> None:
    named_in(text)
    media_in(text)
    found = size_in(text)
    assert found is None or found[0] >= 0.01
