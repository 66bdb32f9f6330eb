"""Size a workload: words or fields in; memory, GPUs that fit, hours and an itemised cost range out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import ValidationFailed
from market.money import Money
from tools.capability import Request, Result, capability
from tools.intake import Method, Reading, Workload, read
from tools.offer_view import Number
from tools.search import SomeDollars, known_region
from tools.sizing import (
    DISK_GB,
    EPOCHS,
    TOKENS_PER_EXAMPLE,
    TOO_MANY_PARAMETERS_B,
    Job,
    Sized,
    decode_speed,
    hours,
    size,
)

if TYPE_CHECKING:
    from market.gpus import Gpu
    from market.offers import Offer
    from market.snapshot import Snapshot

COUNTS = (1, 2, 4, 8)
SHOWN = 6
_LOOKED_THROUGH = 25

Precision = Literal["fp32", "bf16", "fp16", "fp8", "int8", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "int4"]


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
    method: Method | None = Field(default=None, description="How to fine-tune.")
    context_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    concurrency: int | None = Field(default=None, ge=1, le=100_000, description="Requests served at once.")
    quantity: float | None = Field(default=None, gt=0, le=1e16, description="Examples, requests or tokens to process.")
    unit: Literal["example", "request", "token"] | None = None
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
    method: str | None = None
    context_tokens: int | None = None
    concurrency: int | None = None
    quantity: Number | None = None
    unit: str | None = None
    duration_hours: Number | None = None
    region: str | None = None
    max_price: Money | None = None
    pricing: str = "on_demand"
    gpu: str | None = None
    gpu_count: int | None = None


class CostItem(Result):
    """One line of a cost range in US dollars."""

    item: str
    low: Money
    high: Money


class Fit(Result):
    """A GPU and count that hold the work, the cheapest offer of it, and what the job would take and cost there."""

    gpu: str
    gpu_count: int
    total_memory_gb: Number
    offer_id: str
    price_per_hour: Money
    availability: str
    tokens_per_second: list[Number] | None = Field(
        default=None, description="Low, likely, high; all requests together."
    )
    hours: list[Number] | None = Field(default=None, description="Low, likely, high.")
    cost: list[CostItem] | None = None
    cost_low: Money | None = None
    cost_high: Money | None = None


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
    job = job_of(understood)
    sized = size(job)
    fits = _fits(snapshot, job, sized, understood)
    costs = [fit for fit in fits if fit.cost_low is not None and fit.cost_high is not None]
    return WorkloadEstimate(
        understood=understood,
        min_vram_gb=round(sized.min_memory_gb, 1),
        recommended_vram_gb=round(sized.recommended_memory_gb, 1),
        memory_gb=_parts(sized),
        fits=fits,
        recommended_gpu_tiers=[f"{fit.gpu_count}x {fit.gpu}" for fit in fits[:3]],
        estimated_cost_range=_range(fits),
        assumptions=[*sized.assumptions, *_work_assumed(job, any_cost=bool(costs))],
        missing=_missing(job) or None,
        warnings=None if fits else [_nothing_fits(understood, sized)],
    )


def _range(fits: Sequence[Fit]) -> list[Decimal] | None:
    lows = [fit.cost_low for fit in fits if fit.cost_low is not None]
    highs = [fit.cost_high for fit in fits if fit.cost_high is not None]
    return [min(lows), max(highs)] if lows and highs else None


def _work_assumed(job: Job, *, any_cost: bool) -> list[str]:
    """What the hours take for granted, where there are any."""
    if job.quantity is None or job.duration_hours is not None or not any_cost:
        return []
    assumed = []
    if job.unit != "token":
        assumed.append(f"{TOKENS_PER_EXAMPLE} tokens for each {job.unit or 'piece of work'}")
    if job.workload == "fine_tuning":
        assumed.append(f"{EPOCHS} passes over the examples")
    if job.workload == "llm_inference":
        assumed.append("generated tokens alone take time; reading the prompts is not counted")
    return assumed


def _nothing_fits(understood: Understood, sized: Sized) -> str:
    """Which of the limits that were given could give way."""
    given = {
        "region": understood.region,
        "max_price": understood.max_price,
        "gpu": understood.gpu,
        "gpu_count": understood.gpu_count,
        "pricing": understood.pricing if understood.pricing != "on_demand" else None,
    }
    limits = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
    needed = f"No offer of up to {max(COUNTS)} GPUs holds {sized.min_memory_gb:.0f} GB"
    if limits:
        return f"{needed} within {limits}; loosen one of them, or take a smaller `precision`."
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
        method=query.method or heard.method,
        context_tokens=query.context_tokens or heard.context_tokens,
        concurrency=query.concurrency or heard.concurrency,
        quantity=query.quantity or heard.quantity,
        unit=query.unit or heard.unit,
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


def job_of(understood: Understood) -> Job:
    """What of it decides the size."""
    known: Any = understood
    return Job(**{name: getattr(known, name) for name in Job.__dataclass_fields__})


def _parts(sized: Sized) -> dict[str, float] | None:
    if sized.parts is None:
        return None
    parts = sized.parts
    named = {
        "weights": parts.weights_gb,
        "kv_cache": parts.kv_cache_gb,
        "activations": parts.activations_gb,
        "optimiser": parts.optimiser_gb,
        "overhead": parts.overhead_gb,
    }
    return {name: round(value, 2) for name, value in named.items() if value > 0}


def _missing(job: Job) -> list[str]:
    missing = []
    if job.duration_hours is None and job.quantity is None:
        missing.append("duration_hours or quantity (for hours and cost)")
    if job.workload == "llm_inference" and job.concurrency is None:
        missing.append("concurrency")
    return missing


def _fits(snapshot: Snapshot, job: Job, sized: Sized, understood: Understood) -> list[Fit]:
    """The cheapest offer of each GPU at the smallest count that holds the work, cheapest total (else hour) first."""
    fits = [_fit(job, sized, card, offer, price) for card, offer, price in _candidates(snapshot, sized, understood)]
    return sorted(fits, key=lambda fit: (fit.cost_low is None, fit.cost_low or 0, fit.price_per_hour, fit.offer_id))[
        :SHOWN
    ]


def _candidates(snapshot: Snapshot, sized: Sized, understood: Understood) -> Iterator[tuple[Gpu, Offer, Decimal]]:
    from market import gpus
    from market.query import Query

    wanted = gpus.matching(understood.gpu) if understood.gpu else None
    counts = (understood.gpu_count,) if understood.gpu_count else COUNTS
    query = Query(
        region=(understood.region,) if understood.region else (),
        total_memory_gb_min=sized.min_memory_gb,
        price_max=understood.max_price,
        availability=("available", "limited", "unknown"),
        pricing=(understood.pricing,),
        include_fractions=False,
        limit=_LOOKED_THROUGH,
    )
    for name in snapshot.gpus:
        card = gpus.catalogue().get(name)
        if card is None or (wanted is not None and name not in wanted):
            continue
        for count in counts:
            if max(card.memory_options, default=0.0) * count < sized.min_memory_gb:
                continue
            hits = snapshot.search(replace(query, gpu=(name,), gpu_count_min=count, gpu_count_max=count))
            # A name may stand for several cards (`H100` for every form); only its own offers count here.
            found = next((offer for offer in hits.offers if offer.gpu == name and offer.price_per_hour_usd), None)
            if found is not None and found.price_per_hour_usd is not None:
                yield card, found, found.price_per_hour_usd
                break


def _fit(job: Job, sized: Sized, card: Gpu, offer: Offer, price: Decimal) -> Fit:
    speed = decode_speed(job, sized, card, offer.gpu_count)
    took = hours(job, sized, card, offer.gpu_count, speed)
    items = _cost(offer, price, took) if took else None
    return Fit(
        gpu=card.name,
        gpu_count=offer.gpu_count,
        total_memory_gb=(offer.memory_gb or card.memory_gb or 0) * offer.gpu_count,
        offer_id=offer.id,
        price_per_hour=price,
        availability=offer.availability,
        tokens_per_second=[round(value, 2) for value in (speed.low, speed.likely, speed.high)] if speed else None,
        hours=[round(value, 3) for value in took] if took else None,
        cost=items,
        cost_low=sum((item.low for item in items), Decimal(0)) if items else None,
        cost_high=sum((item.high for item in items), Decimal(0)) if items else None,
    )


def _cost(offer: Offer, price: Decimal, took: tuple[float, float, float]) -> list[CostItem]:
    """At least the shortest rental, and never nothing: amounts are rounded up to a hundredth of a cent."""
    least = (offer.min_rental_minutes or 0) / 60
    low, _, high = (Decimal(str(max(value, least))) for value in took)

    def item(name: str, hourly: Decimal) -> CostItem:
        return CostItem(item=name, low=_rounded_up(hourly * low), high=_rounded_up(hourly * high))

    items = [item("GPU time", price)]
    if offer.storage_price_per_gb_month:
        items.append(item(f"{DISK_GB} GB disk", offer.storage_price_per_gb_month * DISK_GB / 730))
    return items


def _rounded_up(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.0001"), rounding=ROUND_UP)
