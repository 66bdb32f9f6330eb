"""A typed workload to what the mathematics takes: memory, amounts, and every assumption said.

`quality` decides the bits of weights (draft 4, standard 8, high 16; as published where it is not said), how a model is
fine-tuned (QLoRA, LoRA, all weights), the steps and side of an image, and the frame that is rendered.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from market.errors import ValidationFailed
from market.offers import clean_text
from tools.intake import Method, Quality, Workload
from tools.models import ALL_RESIDENT, MEDIA_MODELS, media_in, named_in, shape_from_size, shape_of, size_in

if TYPE_CHECKING:
    from mathcore.sizing import Memory, ModelShape
    from mathcore.workload import Workload as Work

TOKENS_PER_EXAMPLE = 512
EPOCHS = 3
DISK_GB = 100
ROOM = 1.2
TOO_MANY_PARAMETERS_B = 10_000.0
_CONTEXT = {"llm_inference": 8_192, "notebook": 8_192, "fine_tuning": 2_048, "training": 2_048, "embeddings": 512}
_BATCH = 32
_SCENE_GB = 8.0
_TYPICAL = {
    "llm_inference": "Llama 3.1 8B", "fine_tuning": "Llama 3.1 8B", "training": "Llama 3.2 1B",
    "embeddings": "Qwen3 0.6B", "notebook": "Mistral 7B", "image_generation": "SDXL", "video_generation": "Wan 2.1",
    "speech": "Whisper",
}  # fmt: skip
_MUST_BE_NAMED = ("llm_inference", "fine_tuning", "training")
_MEDIA = ("image_generation", "video_generation", "speech")
_BITS: dict[Quality | None, int] = {None: 16, "high": 16, "standard": 8, "draft": 4}
_WEIGHTS: dict[Quality | None, str] = {None: "bf16", "high": "bf16", "standard": "int8", "draft": "int4"}
_METHODS: dict[Quality | None, Method] = {None: "lora", "high": "full", "standard": "lora", "draft": "qlora"}
_IMAGES: dict[Quality | None, tuple[int, int]] = {"high": (1024, 50), "draft": (512, 15)}
_USUAL_IMAGE = (1024, 30)
_FRAMES: dict[Quality | None, float] = {"high": 8.3, "draft": 0.9}
_USUAL_FRAME = 2.1
_BITS_OF_PRECISION = {"fp8": 8, "int8": 8, "q8_0": 8, "q6_k": 8, "q5_k_m": 8, "q4_k_m": 4, "int4": 4}
_TRANSFORMERS = ("flux.1",)
"""Image models whose every weight meets every part of the image: their arithmetic can be counted."""
T = TypeVar("T")


@dataclass(slots=True)
class Job:
    """What to size: the workload and whatever is known of it; None means not said.

    `assume_model`: whether a typical model may stand in for one that nobody named.
    """

    workload: Workload
    model: str | None = None
    parameters_b: float | None = None
    precision: str | None = None
    method: Method | None = None
    quality: Quality | None = None
    context_tokens: int | None = None
    concurrency: int | None = None
    quantity: float | None = None
    unit: str | None = None
    duration_hours: float | None = None
    scene_gb: float | None = None
    assume_model: bool = False


@dataclass(slots=True)
class Sized:
    """The work as the mathematics takes it, its memory, and what was assumed; `image` is its side and steps."""

    work: Work
    memory: Memory
    recommended_memory_gb: float
    assumptions: list[str]
    image: tuple[int, int] | None = None

    @property
    def min_memory_gb(self) -> float:
        """Memory of one copy on one card."""
        return self.memory.total_gb


@dataclass(slots=True)
class _Said:
    """Collects what was assumed while values are chosen."""

    assumptions: list[str] = field(default_factory=list)

    def assumed(self, what: str, value: T) -> T:
        self.assumptions.append(what)
        return value


def size(job: Job) -> Sized:
    """Memory for a job. Raises ValidationFailed naming what is missing or out of range."""
    said = _Said()
    make = _rendering if job.workload == "rendering" else _media if job.workload in _MEDIA else _language
    if job.quality:
        said.assumptions.append(f"quality {job.quality}: {_changed(job)}")
    try:
        sized = make(job, said)
        amount, prompts = _amounts(job, said)
        sized.work = replace(sized.work, amount=amount, prompt_tokens=prompts, duration_hours=job.duration_hours)
    except ValueError as refusal:
        raise ValidationFailed(f"The work cannot be sized: {refusal}.", next_step="Check that figure.") from None
    return sized


def _changed(job: Job) -> str:
    """What the quality changes for this work, a field that was given aside."""
    if job.workload == "rendering":
        return "the size of a frame"
    if job.workload == "training":
        return "changes nothing in training from scratch"
    if job.workload == "fine_tuning":
        return f"gives way to `method` {job.method}" if job.method else f"{_METHODS[job.quality]} training"
    return f"gives way to `precision` {job.precision}" if job.precision else f"{_BITS[job.quality]}-bit weights"


def _sized(work: Work, said: _Said, whole: Work | None = None) -> Sized:
    from mathcore.workload import memory

    least = memory(work)
    return Sized(work, least, max(ROOM * least.total_gb, memory(whole or work).total_gb), said.assumptions)


def _rendering(job: Job, said: _Said) -> Sized:
    from mathcore.workload import Workload

    scene = job.scene_gb or said.assumed(f"a scene of {_SCENE_GB:g} GB", _SCENE_GB)
    megapixels = _FRAMES.get(job.quality, _USUAL_FRAME)
    said.assumptions.append(f"frames of {megapixels:g} megapixels, the whole scene on each card")
    return _sized(Workload(kind="rendering", scene_gb=scene, frame_megapixels=megapixels), said)


def _media(job: Job, said: _Said) -> Sized:
    from mathcore.media import PIPELINES
    from mathcore.workload import Workload

    name = job.model or said.assumed(f"{_TYPICAL[job.workload]}, as no model was named", _TYPICAL[job.workload])
    model = media_in(name)
    if model is None or model.kind != job.workload:
        known = [each.name for each in MEDIA_MODELS if each.kind == job.workload]
        why = "is not known" if model is None else f"is for {model.kind}, not {job.workload}"
        raise ValidationFailed(
            f"The model `{clean_text(name, 80)}` {why}; its size does not tell the memory of such a model.",
            next_step=f"Give one of {', '.join(known)}, or leave `model` out for a typical one.",
            details={"missing": ["model"], "known": known},
        )
    wanted = _BITS_OF_PRECISION.get(job.precision, 16) if job.precision else _BITS[job.quality]
    bits, pipeline = model.nearest(wanted)
    ran = PIPELINES[pipeline]
    said.assumptions.append(f"{model.name} in {ran.precision}: {ran.policy}; memory: {ran.source}")
    if bits != wanted:
        said.assumptions.append(f"no figure is published for {wanted} bits, so {bits} were taken")
    work = partial(Workload, kind=job.workload)
    whole = ALL_RESIDENT.get(pipeline)
    sized = _sized(work(pipeline=pipeline), said, work(pipeline=whole) if whole else None)
    if pipeline.startswith(_TRANSFORMERS):
        sized.image = side, steps = _IMAGES.get(job.quality, _USUAL_IMAGE)
        said.assumptions.append(f"images of {side}² in {steps} steps, speed from their arithmetic")
    return sized


def _language(job: Job, said: _Said) -> Sized:
    from mathcore.workload import Workload

    shape = _shape(job, said)
    model = named_in(job.model or "")
    usual = min(_CONTEXT[job.workload], model.context_tokens if model else _CONTEXT[job.workload])
    what = f"a context of {usual} tokens" if job.workload == "llm_inference" else f"sequences of {usual} tokens"
    context = job.context_tokens or said.assumed(what, usual)
    if model and context > model.context_tokens:
        said.assumptions.append(f"{model.name} was made for contexts of up to {model.context_tokens} tokens")
    known: dict[str, Any] = {"kind": job.workload, "shape": shape, "context_tokens": context}
    if job.workload in ("fine_tuning", "training"):
        how: Method = job.method or ("full" if job.workload == "training" else _METHODS[job.quality])
        said.assumptions.append(f"{how} training with AdamW, batch of one sequence a step, activations recomputed")
        return _sized(Workload(**known, method=how), said)
    precision = job.precision or said.assumed(f"weights in {_WEIGHTS[job.quality]}", _WEIGHTS[job.quality])
    if job.workload == "embeddings":
        batch = said.assumed(f"batches of {_BATCH} texts", _BATCH)
        return _sized(Workload(**known, precision=precision, batch=batch), said)
    streams = job.concurrency or said.assumed("one request at a time", 1)
    said.assumptions.append("speeds are estimates from bandwidth and peak, not measurements; the engine is left open")
    return _sized(Workload(**known, precision=precision, concurrency=streams), said)


def _shape(job: Job, said: _Said) -> ModelShape:
    name, stated, active = job.model, job.parameters_b, None
    may_assume = job.assume_model or job.workload not in _MUST_BE_NAMED
    if name is None and stated is None and may_assume:
        name = said.assumed(f"{_TYPICAL[job.workload]}, as no model was named", _TYPICAL[job.workload])
    model = named_in(name) if name else None
    if model is not None:
        return shape_of(model)
    if stated is None and name:
        found = size_in(name)
        if found is None:
            raise ValidationFailed(
                f"The model `{clean_text(name, 80)}` is not known and its name carries no size.",
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
    said.assumptions.append(f"the layers and width usual for {stated:g}B parameters")
    return shape_from_size(stated, active)


def _amounts(job: Job, said: _Said) -> tuple[float, float]:
    """Tokens, texts, images, clips, seconds or frames to make, and tokens of prompts to read."""
    if job.quantity is None or job.workload == "notebook":
        return 0.0, 0.0
    in_tokens, told = job.unit == "token", job.duration_hours is None
    note = said.assumptions.append if told else lambda _: None
    piece = job.unit or "piece of work"
    if job.workload == "speech":
        note("quantity in hours of sound")
        return job.quantity * 3_600, 0.0
    if job.workload == "embeddings":
        return job.quantity / (job.context_tokens or _CONTEXT["embeddings"]) if in_tokens else job.quantity, 0.0
    if job.workload not in _MUST_BE_NAMED:
        return job.quantity, 0.0
    if job.workload == "llm_inference":
        if in_tokens:
            note("generated tokens alone take time; reading the prompts is not counted")
            return job.quantity, 0.0
        note(f"{TOKENS_PER_EXAMPLE} tokens read and {TOKENS_PER_EXAMPLE} tokens generated for each {piece}")
        return job.quantity * TOKENS_PER_EXAMPLE, job.quantity * TOKENS_PER_EXAMPLE
    epochs = EPOCHS if job.workload == "fine_tuning" else 1
    if epochs > 1:
        note(f"{EPOCHS} passes over the examples")
    if not in_tokens:
        note(f"{TOKENS_PER_EXAMPLE} tokens for each {piece}")
    return job.quantity * epochs * (1 if in_tokens else TOKENS_PER_EXAMPLE), 0.0
