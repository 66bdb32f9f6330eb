"""Image, video and speech models and rendering: published peaks, weights that must fit, ceilings nobody beats."""

from __future__ import annotations

import math

import pytest

from mathcore.media import (
    PIPELINES,
    WHISPER_SPEED,
    denoising_speed,
    latent_tokens,
    pipeline_memory,
    plausible_memory_claim,
    rendering_memory,
)


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_takes_its_published_peak_and_never_less_than_its_weights(name: str) -> None:
    memory, (least, most) = pipeline_memory(name), PIPELINES[name].peak_gb
    assert least <= memory.total_gb <= most * 1.0738
    assert min(memory.weights_gb, memory.activations_gb) >= 0
    assert memory.total_gb > memory.weights_gb


def test_a_memory_figure_below_the_weights_is_refused() -> None:
    # "FLUX fp16: 14 GB" is in circulation
    assert not plausible_memory_claim(12e9, "fp16", 14)
    assert plausible_memory_claim(12e9, "fp8", 14)
    # 22 GB were measured, in GiB: 12e9 · 2 bytes are 22.4 GiB
    assert plausible_memory_claim(11.8e9, "fp16", 22)


def test_an_image_in_six_seconds_on_a_4090_would_beat_its_arithmetic_at_1024_squared() -> None:
    tokens = latent_tokens(1024, 1024)
    assert tokens == 4096
    speed = denoising_speed(parameters=12e9, tokens=tokens, steps=30, peak_flops=165.2e12)
    assert 1 / speed.ceiling == pytest.approx(17.9, abs=0.1)
    assert 0 < speed.low < speed.likely < speed.high < speed.ceiling


def test_rendering_holds_the_whole_scene_on_each_card() -> None:
    memory = rendering_memory(10, 8.3)
    assert 10 < memory.total_gb < 12
    assert rendering_memory(20, 8.3).total_gb == pytest.approx(memory.total_gb + 10)


def test_every_published_speed_of_whisper_has_its_memory() -> None:
    assert all(f"whisper-{size}" in PIPELINES for size in WHISPER_SPEED)


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_figures_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="scene_gb"):
        rendering_memory(bad, 1)
    with pytest.raises(ValueError, match="steps"):
        denoising_speed(parameters=1, tokens=1, steps=bad, peak_flops=1)
    with pytest.raises(ValueError, match="claimed_gb"):
        plausible_memory_claim(1, "bf16", bad)


def test_unknown_pipelines_and_images_of_no_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"flux\.1"):
        pipeline_memory("flux.9")
    with pytest.raises(ValueError, match="16"):
        latent_tokens(8, 1024)
