"""Image, video and speech models and rendering: the memory people measured, and what bounds their speed.

A pipeline of several networks has no one formula: what must be resident depends on what is kept on the card and at
which resolution, and published figures differ twofold where they leave that out. So each figure here says both.
"""

from __future__ import annotations

from dataclasses import dataclass

from mathcore.figures import physical
from mathcore.roofline import PREFILL_SHARES, Speed
from mathcore.sizing import CONTEXT_GB, GB, GIB, Memory, weight_bytes


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One way to run a model: parameters of its largest network, peak memory in GB (least, most), and under what.

    `parameters` None: not published with the figure, so weights and the rest are not told apart.
    """

    parameters: float | None
    precision: str
    peak_gb: tuple[float, float]
    policy: str
    source: str


_SITES = "willitrunai.com and gigagpu.com"
_WHISPER = "openai/whisper README"
_WHISPER_GB = (("tiny", 1), ("base", 1), ("small", 2), ("medium", 5), ("large", 10), ("turbo", 6))
_USERS = "published by users, unverified"
PIPELINES: dict[str, Pipeline] = {
    "sd-1.5": Pipeline(0.86e9, "fp16", (4, 4), "512²", _USERS),
    "sdxl": Pipeline(2.6e9, "fp16", (7, 8), "1024²", _USERS),
    "flux.1": Pipeline(12e9, "bf16", (33, 35), "all resident", _SITES),
    "flux.1-offloaded": Pipeline(12e9, "bf16", (22, 24), "text encoder offloaded", _SITES),
    "flux.1-fp8": Pipeline(12e9, "fp8", (13, 15), "offloading unsaid", _SITES),
    "flux.1-int4": Pipeline(12e9, "int4", (7, 9), "offloading unsaid", _SITES),
    "wan-2.1-14b": Pipeline(14e9, "bf16", (60, 80), "720p, 5 s, all resident", _USERS),
    "wan-2.1-14b-fp8": Pipeline(14e9, "fp8", (24, 24), "720p, 5 s, offloaded", _USERS),
    "hunyuanvideo": Pipeline(13e9, "bf16", (60, 80), "720p, 5 s, all resident", _USERS),
    "hunyuanvideo-fp8": Pipeline(13e9, "fp8", (24, 24), "720p, 5 s, offloaded", _USERS),
    "whisper-large-v3-faster": Pipeline(1.55e9, "fp16", (4.5, 4.5), "faster-whisper", "deepdml on huggingface.co"),
    "whisper-large-v3-int8": Pipeline(1.55e9, "int8", (3, 3), "faster-whisper", "deepdml on huggingface.co"),
    **{f"whisper-{size}": Pipeline(None, "fp16", (gb, gb), "reference engine", _WHISPER) for size, gb in _WHISPER_GB},
}
"""Figures read in November 2026. The parameters of a pipeline are those of the network that must be resident."""

WHISPER_SPEED = {"tiny": 10, "base": 7, "small": 4, "medium": 2, "large": 1, "turbo": 8}
"""Speed beside `large` on an A100 (openai/whisper README)."""


def pipeline_memory(name: str) -> Memory:
    """Memory of a named pipeline: its weights, and the rest of the highest published peak as activations.

    A peak below the weights was stated in GiB and is read so. Raises ValueError for a name that is not in `PIPELINES`.
    """
    try:
        known = PIPELINES[name]
    except KeyError:
        raise ValueError(f"pipeline must be one of {', '.join(PIPELINES)}") from None
    if known.parameters is None:
        return Memory(0.0, 0.0, known.peak_gb[1], 0.0, 0.0)
    weights = weight_bytes(known.parameters, known.precision) / GB
    peak = known.peak_gb[1] if known.peak_gb[0] >= weights else known.peak_gb[1] * GIB / GB
    return Memory(weights, 0.0, peak - weights, 0.0, 0.0)


def rendering_memory(scene_gb: float, frame_megapixels: float, buffers: int = 4) -> Memory:
    """Memory to render: the scene whole on every card, and `buffers` of four 32-bit values for each pixel.

    Nobody can tell the size of a scene from its name, so it is asked for. Raises ValueError for values not positive.
    """
    physical(scene_gb=scene_gb, frame_megapixels=frame_megapixels, buffers=buffers)
    return Memory(scene_gb, 0.0, frame_megapixels * 1e6 * 16 * buffers / GB, 0.0, CONTEXT_GB)


def plausible_memory_claim(parameters: float, precision: str, claimed_gb: float) -> bool:
    """Whether so many GB, or GiB called GB, can hold the weights alone. Raises ValueError for values not positive."""
    physical(claimed_gb=claimed_gb)
    return claimed_gb * GIB >= weight_bytes(parameters, precision)


def latent_tokens(width: int, height: int) -> int:
    """Tokens an image is to a diffusion transformer of the FLUX kind: sides over 8 in the autoencoder, then 2 × 2.

    Source: the packing of latents in the diffusers FLUX pipelines. Raises ValueError for a side below 16.
    """
    if min(width, height) < 16:
        raise ValueError("width and height must be at least 16")
    return (width // 16) * (height // 16)


def denoising_speed(*, parameters: float, tokens: float, steps: float, peak_flops: float) -> Speed:
    """Images or clips a second of a diffusion transformer: 2·N operations a token and step at 0.4 to 0.6 of the peak.

    For transformers alone: in a U-Net weights are used a different number of times at each resolution. Raises
    ValueError for values not positive.
    """
    physical(parameters=parameters, tokens=tokens, steps=steps, peak_flops=peak_flops)
    ceiling = peak_flops / (2 * parameters * tokens * steps)
    low, likely, high = (share * ceiling for share in PREFILL_SHARES)
    return Speed(low, likely, high, ceiling, "arithmetic")
