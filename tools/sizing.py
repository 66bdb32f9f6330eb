"""A typed workload to memory, work and assumptions: the bridge from what people say to what the mathematics takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from market.errors import ValidationFailed
from market.offers import clean_text
from tools.intake import Method, Workload
from tools.models import named_in, resident_in, shape_from_size, shape_of, size_in

if TYPE_CHECKING:
    from market.gpus import Gpu
    from mathcore.roofline import Speed
    from mathcore.sizing import Memory, ModelShape

TOKENS_PER_EXAMPLE = 512
EPOCHS = 3
CONTEXT_TOKENS = 8_192
SEQUENCE_TOKENS = 2_048
DISK_GB = 100
T = TypeVar("T")
TOO_MANY_PARAMETERS_B = 10_000.0

_RESIDENT_GB: dict[str, tuple[float, float, str]] = {
    "SD 1.5": (4, 8, "Stable Diffusion 1.5 at 512²"),
    "SDXL": (8, 12, "SDXL in 16 bit at 1024²"),
    "FLUX.1": (24, 36, "FLUX.1 in bf16, text encoder offloaded at the least"),
    "Wan 2.1": (24, 80, "Wan 2.1 14B at 720p; 24 GB only in fp8 with offloading"),
    "HunyuanVideo": (24, 80, "HunyuanVideo 13B at 720p; 24 GB only in fp8 with offloading"),
    "Whisper": (5, 10, "Whisper large; 5 GB with an int8 or faster engine"),
}
_TYPICAL_GB: dict[str, tuple[float, float, str]] = {
    "image_generation": (8, 24, "an SDXL-class model at 1024²"),
    "video_generation": (24, 80, "a 13–14B video model at 720p"),
    "speech": (5, 10, "Whisper large"),
    "embeddings": (4, 16, "an embedding model of up to 0.6B parameters"),
    "notebook": (16, 24, "exploration with models of up to about 7B in 16 bit"),
}
"""Memory at least and comfortably, and for what: peaks that users of each model published."""


@dataclass(slots=True)
class Job:
    """What to size: the workload and whatever is known of it; None means not said."""

    workload: Workload
    model: str | None = None
    parameters_b: float | None = None
    precision: str | None = None
    method: Method | None = None
    context_tokens: int | None = None
    concurrency: int | None = None
    quantity: float | None = None
    unit: str | None = None
    duration_hours: float | None = None


@dataclass(slots=True)
class Sized:
    """Memory wanted at least and comfortably, its parts, the model's shape when there is one, and what was assumed."""

    min_memory_gb: float
    recommended_memory_gb: float
    parts: Memory | None = None
    shape: ModelShape | None = None
    assumptions: list[str] = field(default_factory=list)


def size(job: Job) -> Sized:
    """Memory for a job. Raises ValidationFailed naming what is missing or out of range."""
    if job.workload not in ("llm_inference", "fine_tuning", "training"):
        return _resident(job)
    from mathcore.sizing import serving_memory, training_memory

    sized = Sized(0, 0)
    sized.shape = _shape(job, sized.assumptions)
    if job.workload == "llm_inference":
        precision = job.precision or _assumed(sized, "16-bit weights", "bf16")
        context = job.context_tokens or _assumed(sized, f"a context of {CONTEXT_TOKENS} tokens", CONTEXT_TOKENS)
        streams = job.concurrency or _assumed(sized, "one request at a time", 1)
        sized.parts = serving_memory(sized.shape, precision, context, streams)
    else:
        how: Method = job.method or ("full" if job.workload == "training" else "lora")
        sequence = job.context_tokens or _assumed(sized, f"sequences of {SEQUENCE_TOKENS} tokens", SEQUENCE_TOKENS)
        sized.assumptions.append(f"{how} training with AdamW, batch of one sequence a step, activations recomputed")
        sized.parts = training_memory(sized.shape, how, sequence, 1)
    sized.min_memory_gb = sized.parts.total_gb
    sized.recommended_memory_gb = sized.min_memory_gb * 1.2
    return sized


def _assumed(sized: Sized, what: str, value: T) -> T:
    sized.assumptions.append(what)
    return value


def _shape(job: Job, assumptions: list[str]) -> ModelShape:
    if job.model:
        model = named_in(job.model)
        if model is not None:
            return shape_of(model)
    stated = job.parameters_b
    active = None
    if stated is None and job.model:
        found = size_in(job.model)
        if found is None:
            raise ValidationFailed(
                f"The model `{clean_text(job.model, 80)}` is not known and its name carries no size.",
                next_step="Give `parameters_b`, the parameters in thousand millions (8 for an 8B model).",
                details={"missing": ["parameters_b"]},
            )
        stated, active = found
    if stated is None:
        raise ValidationFailed(
            f"Sizing `{job.workload}` needs a model.",
            next_step="Give `model` (e.g. `Llama 3.1 8B`) or `parameters_b`.",
            details={"missing": ["model"]},
        )
    if not 0 < stated < TOO_MANY_PARAMETERS_B:
        raise ValidationFailed(
            f"`parameters_b` must be above 0 and below {TOO_MANY_PARAMETERS_B:.0f} (ten trillion parameters).",
            next_step="Check the size of the model; 8 stands for an 8B model.",
            details={"field": "parameters_b"},
        )
    assumptions.append(f"the layers and width usual for {stated:g}B parameters")
    return shape_from_size(stated, active)


def _resident(job: Job) -> Sized:
    named = resident_in(job.model) if job.model else None
    low, comfortable, what = _RESIDENT_GB[named] if named else _TYPICAL_GB[job.workload]
    return Sized(low, comfortable, assumptions=[what])


def decode_speed(job: Job, sized: Sized, card: Gpu, count: int) -> Speed | None:
    """Tokens a second of a served model on `count` cards, or None when the card's figures are not published."""
    if job.workload != "llm_inference" or sized.shape is None or not card.memory_bandwidth_gbps:
        return None
    peak = card.bf16_tflops or card.fp16_tflops
    if not peak:
        return None
    from mathcore.roofline import decode_tokens_per_second, weight_bytes_read
    from mathcore.sizing import BYTES_PER_WEIGHT, kv_bytes_per_token

    precision = job.precision or "bf16"
    active = sized.shape.active_parameters or sized.shape.parameters
    context = job.context_tokens or CONTEXT_TOKENS
    bytes_each = BYTES_PER_WEIGHT[precision]
    streams = job.concurrency or 1
    return decode_tokens_per_second(
        active_weight_bytes=weight_bytes_read(sized.shape.parameters * bytes_each, active * bytes_each, streams),
        kv_bytes=kv_bytes_per_token(sized.shape) * context / 2,
        flops_per_token=2 * active,
        bandwidth_bytes=card.memory_bandwidth_gbps * 1e9 * count,
        peak_flops=peak * 1e12 * count,
        concurrency=streams,
        narrow=bytes_each < 1,
    )


def hours(job: Job, sized: Sized, card: Gpu, count: int, speed: Speed | None) -> tuple[float, float, float] | None:
    """Hours (low, likely, high) on `count` cards: as asked for, else from the amount of work; None if not known."""
    if job.duration_hours is not None:
        return job.duration_hours, job.duration_hours, job.duration_hours
    if job.quantity is None or sized.shape is None:
        return None
    if job.workload == "llm_inference" and speed is not None:
        tokens = job.quantity * (1 if job.unit == "token" else TOKENS_PER_EXAMPLE)
        return tokens / speed.high / 3600, tokens / speed.likely / 3600, tokens / speed.low / 3600
    peak = card.bf16_tflops or card.fp16_tflops
    if job.workload == "llm_inference" or not peak:
        return None
    from mathcore.roofline import training_hours

    epochs = EPOCHS if job.workload == "fine_tuning" else 1
    tokens = job.quantity * epochs * (1 if job.unit == "token" else TOKENS_PER_EXAMPLE)
    active = sized.shape.active_parameters or sized.shape.parameters
    return training_hours(parameters=active, tokens=tokens, peak_flops=peak * 1e12 * count)
