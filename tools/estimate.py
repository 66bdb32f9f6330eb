"""Size a workload: words or fields in; memory, GPUs that fit, hours and an itemised cost range out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field

from market.context import Context
from market.errors import ValidationFailed
from market.money import Money
from tools.capability import Request, Result, capability
from tools.fits import Fit, Limits, counts_sold, fits_of
from tools.intake import Method, Quality, Reading, Workload, read
from tools.offer_view import Number
from tools.placement import with_measurement
from tools.search import HTTP_ONLY, SomeDollars, known_region
from tools.sizing import TOO_MANY_PARAMETERS_B, Job, Sized, size

if TYPE_CHECKING:
    from mathcore.sizing import Memory

SLOWEST = 1e-6

Precision = Literal["fp32", "bf16", "fp16", "fp8", "int8", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "int4"]


def _worth_waiting_for(rate: float) -> float:
    if rate < SLOWEST:
        raise ValueError(f"must be at least {SLOWEST:f}: one item in twelve days")
    return rate


Rate = Annotated[float, Field(gt=0, le=1e12), AfterValidator(_worth_waiting_for)]


class EstimateWorkload(Request):
    """A workload in words, in fields, or both; a field wins over the words."""

    text: str = Field(default="", max_length=2_000, description="The workload in plain words.")
    workload: Workload | None = Field(default=None, validation_alias=AliasChoices("workload", "workload_type"))
    model: str | None = Field(
        default=None,
        max_length=120,
        validation_alias=AliasChoices("model", "model_name"),
        description="e.g. `Llama 3.1 8B`.",
    )
    parameters_b: float | None = Field(
        default=None, gt=0, lt=TOO_MANY_PARAMETERS_B, description="Size of an unknown model, in billions."
    )
    precision: Precision | None = None
    quality: Quality | None = Field(default=None, description="Weights in 4, 8 or 16 bits.")
    method: Method | None = None
    context_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    concurrency: int | None = Field(default=None, ge=1, le=100_000, description="Requests served at once.")
    quantity: float | None = Field(
        default=None, gt=0, le=1e16, description="Requests, tokens, examples, images, frames or hours of sound."
    )
    unit: Literal["example", "request", "token"] | None = None
    scene_gb: float | None = Field(default=None, gt=0, le=10_000)
    measured_per_second: Rate | None = Field(
        default=None,
        description="Tokens or items a second somebody measured for this work on one `measured_on`.",
        json_schema_extra=HTTP_ONLY,
    )
    measured_on: str | None = Field(default=None, max_length=60, json_schema_extra=HTTP_ONLY)
    duration_hours: float | None = Field(default=None, gt=0, le=87_600)
    region: str | None = Field(default=None, max_length=60)
    max_price: SomeDollars | None = Field(default=None, description="US dollars an hour for the instance.")
    pricing: Literal["on_demand", "spot", "reserved"] | None = Field(default=None, description="Default: on_demand.")


class Understood(Result):
    """What was understood; correct a field and send again when it is not what was meant."""

    workload: str
    model: str | None = None
    parameters_b: Number | None = None
    precision: str | None = None
    quality: str | None = None
    method: str | None = None
    context_tokens: int | None = None
    concurrency: int | None = None
    quantity: Number | None = None
    unit: str | None = None
    scene_gb: Number | None = None
    duration_hours: Number | None = None
    region: str | None = None
    max_price: Money | None = None
    pricing: str = "on_demand"
    gpu: str | None = None
    gpu_count: int | None = None


class WorkloadEstimate(Result):
    """The sizing, with every assumption said."""

    understood: Understood
    min_vram_gb: Number
    recommended_vram_gb: Number
    memory_gb: dict[str, Number] | None = Field(default=None, description="The parts of `min_vram_gb`.")
    fits: list[Fit] = Field(description="Cheapest first.")
    recommended_gpu_tiers: list[str]
    estimated_cost_range: list[Money] | None = Field(
        default=None, description="Lowest and highest of the fits, US dollars."
    )
    assumptions: list[str]
    missing: list[str] | None = Field(
        default=None, description="What the words did not say and would sharpen the estimate."
    )
    warnings: list[str] | None = None


@capability("POST /math/estimate-workload", scope="market:read", effect="read")
async def estimate_workload(ctx: Context, query: EstimateWorkload) -> WorkloadEstimate:
    """Size a workload: memory, GPUs that fit, hours and an itemised cost range at today's prices."""
    understood = understand(query)
    snapshot = await ctx.market.snapshot()
    if understood.region:
        known_region(snapshot, understood.region)
    job = job_of(understood, assume_model=not query.text)
    sized = size(job)
    if query.measured_per_second is not None:
        sized = with_measurement(sized, query.measured_per_second, query.measured_on)
    limits = Limits(
        gpu=understood.gpu,
        gpu_count=understood.gpu_count,
        region=understood.region,
        max_price=understood.max_price,
        pricing=understood.pricing,
    )
    # A search or two for every GPU on offer: in a thread, so that others are answered meanwhile.
    fits = await asyncio.to_thread(fits_of, snapshot, sized, limits)
    return WorkloadEstimate(
        understood=understood,
        min_vram_gb=round(sized.min_memory_gb, 1),
        recommended_vram_gb=round(sized.recommended_memory_gb, 1),
        memory_gb=_parts(sized.memory),
        fits=fits,
        recommended_gpu_tiers=[f"{fit.gpu_count}x {fit.gpu}" for fit in fits[:3]],
        estimated_cost_range=_range(fits),
        assumptions=sized.assumptions,
        missing=_missing(job, fits) or None,
        warnings=None if fits else [_nothing_fits(limits, sized, max(counts_sold(snapshot, limits), default=0))],
    )


def _range(fits: Sequence[Fit]) -> list[Decimal] | None:
    lows = [fit.cost_low for fit in fits if fit.cost_low is not None]
    highs = [fit.cost_high for fit in fits if fit.cost_high is not None]
    return [min(lows), max(highs)] if lows and highs else None


def _nothing_fits(limits: Limits, sized: Sized, most: int) -> str:
    """Which of the limits that were given could give way."""
    given = {name: value for name, value in limits.given().items() if name != "pricing" or value != "on_demand"}
    limited = ", ".join(f"{name} {value}" for name, value in given.items())
    needed = f"No offer of up to {most} GPUs holds {sized.min_memory_gb:.0f} GB"
    if limited:
        return f"{needed} within {limited}; loosen one of them, or take a smaller `precision`."
    return f"{needed}; take a smaller `precision`, a shorter `context_tokens` or a smaller model."


def understand(query: EstimateWorkload) -> Understood:
    """The fields, filled in from the words. Raises ValidationFailed when even the kind of work is not clear."""
    heard = read(query.text)
    workload = query.workload or heard.workload
    if workload is None:
        raise ValidationFailed(
            "The kind of work is not clear from the words."
            if query.text
            else "Neither words nor a workload were given.",
            next_step="Give `workload` (llm_inference, fine_tuning, …) or say more, e.g. `serve Llama 3.1 8B in bf16`.",
            details={"missing": ["workload"]},
        )
    return Understood(
        workload=workload,
        **_model(query, heard),
        precision=query.precision or heard.precision,
        quality=query.quality or heard.quality,
        method=query.method or heard.method,
        context_tokens=query.context_tokens or heard.context_tokens,
        concurrency=query.concurrency or heard.concurrency,
        quantity=query.quantity or heard.quantity,
        unit=query.unit or heard.unit,
        scene_gb=query.scene_gb or heard.scene_gb,
        duration_hours=query.duration_hours or heard.duration_hours,
        region=query.region or heard.region,
        max_price=query.max_price or heard.max_price_per_hour,
        pricing=query.pricing or heard.pricing or "on_demand",
        gpu=heard.gpu,
        gpu_count=heard.gpu_count,
    )


def _model(query: EstimateWorkload, heard: Reading) -> dict[str, Any]:
    """The model and its size from one place each: a field is never mixed with what the words say of another model."""
    if query.model is not None:
        return {"model": query.model, "parameters_b": query.parameters_b}
    if query.parameters_b is not None:
        return {"parameters_b": query.parameters_b}
    return {"model": heard.model, "parameters_b": heard.parameters_b}


def job_of(understood: Understood, *, assume_model: bool = False) -> Job:
    """What of it decides the size. Words may name a model we do not know: then none is assumed in its place."""
    known: Any = understood
    named = {name: getattr(known, name) for name in Job.__dataclass_fields__ if name != "assume_model"}
    return Job(**named, assume_model=assume_model)


def _parts(parts: Memory) -> dict[str, float]:
    named = {
        "weights": parts.weights_gb,
        "kv_cache": parts.kv_cache_gb,
        "activations": parts.activations_gb,
        "optimiser": parts.optimiser_gb,
        "overhead": parts.overhead_gb,
    }
    return {name: round(value, 2) for name, value in named.items() if value > 0}


def _missing(job: Job, fits: Sequence[Fit]) -> list[str]:
    missing = []
    if job.model is None and job.parameters_b is None and job.workload != "rendering":
        missing.append("model")
    if job.workload == "rendering" and job.scene_gb is None:
        missing.append("scene_gb")
    if job.duration_hours is None and job.quantity is None:
        missing.append("duration_hours or quantity (for hours and cost)")
    elif fits and not any(fit.hours for fit in fits):
        missing.append("duration_hours, or measured_per_second and measured_on (nobody published a speed)")
    if job.workload == "llm_inference" and job.concurrency is None:
        missing.append("concurrency")
    return missing
