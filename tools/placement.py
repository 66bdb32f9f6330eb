"""Sized work on the cards of the catalogue: whether it fits, how fast it goes there, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from market.errors import ValidationFailed

if TYPE_CHECKING:
    from market.gpus import Gpu
    from mathcore.card import Card
    from mathcore.roofline import Speed
    from mathcore.workload import Duration, Placement
    from tools.sizing import Sized


def with_measurement(sized: Sized, per_second: float, on: str | None) -> Sized:
    """The work with a speed somebody measured for it on one card, to be carried over to the others.

    Raises ValidationFailed when the figures of the card are not known, or the speed is above what it can do.
    """
    from market import gpus
    from mathcore.workload import Measured

    names = gpus.matching(on) if on else ()
    card = next((gpus.catalogue()[name] for name in sorted(names) if has_figures(gpus.catalogue()[name])), None)
    if card is None:
        raise ValidationFailed(
            "`measured_per_second` needs the card it was measured on, one whose bandwidth and peak are published.",
            next_step="Give `measured_on`, e.g. `A100-SXM4-80GB`.",
            details={"missing": ["measured_on"]},
        )
    possible = speed(sized, card, 1)
    if possible is not None and per_second > possible.ceiling:
        raise ValidationFailed(
            f"`measured_per_second` cannot be true: one {card.name} does at most {possible.ceiling:.4g} a second.",
            next_step="Check the card, the precision, and how many requests ran at once.",
            details={"field": "measured_per_second", "ceiling": possible.ceiling},
        )
    measured = Measured(per_second, card_of(card, card.memory_gb or max(card.memory_options)))
    said = f"{per_second:g} a second were measured on one {card.name}, carried over to other cards"
    return replace(sized, work=replace(sized.work, measured=measured), assumptions=[*sized.assumptions, said])


def has_figures(gpu: Gpu) -> bool:
    """Whether the bandwidth and the 16-bit peak of a card are published."""
    return bool(gpu.memory_bandwidth_gbps and (gpu.bf16_tflops or gpu.fp16_tflops))


def card_of(gpu: Gpu, memory_gb: float) -> Card:
    """A card of the catalogue with so much memory. Figures nobody published are one: placing looks at memory alone."""
    from mathcore.card import Card

    return Card(
        memory_gb,
        gpu.memory_bandwidth_gbps or 1.0,
        gpu.bf16_tflops or gpu.fp16_tflops or 1.0,
        fp8_tflops=gpu.fp8_tflops,
        fp32_tflops=gpu.fp32_tflops,
    )


def placed(sized: Sized, gpu: Gpu, memory_gb: float | None, count: int) -> Placement | None:
    """The work on so many cards of this memory (the most they are sold with, unless said); None where it is unknown."""
    from mathcore.workload import place

    each = memory_gb or max(gpu.memory_options, default=0.0)
    return place(sized.work, card_of(gpu, each), count) if each else None


def speed(sized: Sized, gpu: Gpu, count: int) -> Speed | None:
    """Tokens or items a second of all cards, never above the roofline; None where nothing is known of it."""
    from mathcore import workload
    from mathcore.roofline import Speed

    if not has_figures(gpu):
        return None
    card = card_of(gpu, gpu.memory_gb or 1.0)
    bound = _denoising(sized, card, count) or workload.speed(replace(sized.work, measured=None), card, count)
    lacks_fp32 = sized.work.kind == "rendering" and not gpu.fp32_tflops
    if sized.work.measured is None or lacks_fp32:
        return bound
    carried = workload.speed(sized.work, card, count)
    if carried is None or bound is None:
        return carried
    low, likely, high, top = (
        min(value, bound.ceiling) for value in (carried.low, carried.likely, carried.high, carried.ceiling)
    )
    return Speed(low, likely, high, top, carried.bound)


def _denoising(sized: Sized, card: Card, count: int) -> Speed | None:
    """Images a second of a diffusion transformer, from the operations it takes."""
    from mathcore.media import PIPELINES, denoising_speed, latent_tokens

    pipeline = PIPELINES.get(sized.work.pipeline or "")
    if sized.image is None or pipeline is None or pipeline.parameters is None:
        return None
    side, steps = sized.image
    peak = card.peak_flops(pipeline.precision) * count
    return denoising_speed(
        parameters=pipeline.parameters, tokens=latent_tokens(side, side), steps=steps, peak_flops=peak
    )


def hours(sized: Sized, gpu: Gpu, count: int) -> Duration | None:
    """Hours on so many cards, itemised: as asked for, else from the amount of work; None where they are not known."""
    from mathcore import workload

    work = sized.work
    if work.duration_hours is None and not has_figures(gpu):
        return None
    if work.duration_hours is not None or (work.measured is None and sized.image is None):
        return workload.hours(work, card_of(gpu, gpu.memory_gb or 1.0), count)
    found = speed(sized, gpu, count)
    if found is None or not work.amount:
        return None
    low, likely, high = (work.amount / rate / 3600 for rate in (found.high, found.likely, found.low))
    return workload.Duration((low, likely, high), {"computing": (low, likely, high)})
