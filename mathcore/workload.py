"""A typed workload on a card and count: what each card must hold, whether it does, how fast, and how long.

How a workload spreads: a served model is cut through its matrices (tensor parallel) where its KV heads allow, else by
layers; training shards weights and optimiser state, each card keeping the activations of its own batch; everything
else runs a whole copy on each card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from mathcore.card import Card
from mathcore.figures import physical
from mathcore.media import pipeline_memory, rendering_memory
from mathcore.roofline import (
    Speed,
    decode_tokens_per_second,
    prefill_tokens_per_second,
    scaled_speed,
    training_hours,
    weight_bytes_read,
)
from mathcore.sizing import (
    ENGINE_GB,
    GB,
    SERVING_SHARE,
    Memory,
    ModelShape,
    Training,
    bytes_per_weight,
    encoding_memory,
    kv_cache_bytes,
    serving_memory,
    training_memory,
)

Kind = Literal[
    "llm_inference", "fine_tuning", "training", "embeddings", "image_generation", "video_generation", "speech",
    "rendering", "notebook",
]  # fmt: skip
Split = Literal["tensor", "layers", "shards", "copies"]
Range = tuple[float, float, float]
_COPIES: Split = "copies"
_SHARDS: Split = "shards"

COUNTS = (1, 2, 4, 8, 16, 32, 64)
LANGUAGE: tuple[Kind, ...] = ("llm_inference", "fine_tuning", "training", "embeddings", "notebook")
MEDIA: tuple[Kind, ...] = ("image_generation", "video_generation", "speech")


@dataclass(frozen=True, slots=True)
class Measured:
    """Items a second that somebody measured for this very work on one card."""

    items_per_second: float
    card: Card

    def __post_init__(self) -> None:
        physical(items_per_second=self.items_per_second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is to run. Language work needs `shape`; images, video and speech a `pipeline`; rendering `scene_gb`.

    `amount`: generated tokens, trained tokens, sequences, images, clips, seconds of sound or frames, by kind;
    `prompt_tokens`: those read, over all requests. `batch`: sequences at once on a card. Raises ValueError naming what
    is missing or out of range.
    """

    kind: Kind
    shape: ModelShape | None = None
    pipeline: str | None = None
    precision: str = "bf16"
    method: Training = "full"
    context_tokens: int = 8_192
    concurrency: int = 1
    batch: int = 1
    kv_bytes_per_value: float = 2.0
    lora_rank: int = 16
    amount: float = 0.0
    prompt_tokens: float = 0.0
    scene_gb: float | None = None
    frame_megapixels: float = 8.3
    measured: Measured | None = None
    duration_hours: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in (*LANGUAGE, *MEDIA, "rendering"):
            raise ValueError(f"kind must be one of {', '.join((*LANGUAGE, *MEDIA, 'rendering'))}")
        needed = "shape" if self.kind in LANGUAGE else "pipeline" if self.kind in MEDIA else "scene_gb"
        if getattr(self, needed) is None:
            raise ValueError(f"{needed} is needed to size {self.kind}")
        for name in ("context_tokens", "concurrency", "batch", "kv_bytes_per_value", "lora_rank", "frame_megapixels"):
            physical(**{name: getattr(self, name)})
        for name in ("amount", "prompt_tokens"):
            if getattr(self, name) != 0:
                physical(**{name: getattr(self, name)})
        if self.duration_hours is not None:
            physical(duration_hours=self.duration_hours)


@dataclass(frozen=True, slots=True)
class Placement:
    """A workload on so many cards: what each must hold and may hold, in GB, and why it does not fit if it does not.

    `replicated_gb`: what all cards together hold more than once. `most_streams`: requests of this context that fit at
    the same time, for a served model.
    """

    count: int
    split: Split
    each: Memory
    needed_gb: float
    budget_gb: float
    replicated_gb: float
    reason: str
    most_streams: int | None = None

    @property
    def fits(self) -> bool:
        """Whether each card holds its part."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Duration:
    """Hours (low, likely, high), and of what: each part with its own three."""

    total: Range
    parts: dict[str, Range]


def memory(work: Workload) -> Memory:
    """Memory of one copy of the workload on one card.

    A notebook is the model loaded for one reader. Raises ValueError for an unknown precision, pipeline or count.
    """
    if work.kind == "rendering":
        return rendering_memory(work.scene_gb or 0.0, work.frame_megapixels)
    if work.kind in MEDIA:
        return pipeline_memory(work.pipeline or "")
    shape = _shape(work)
    if work.kind == "embeddings":
        return encoding_memory(shape, work.precision, work.context_tokens, work.batch)
    if work.kind in ("fine_tuning", "training"):
        how: Training = work.method if work.kind == "fine_tuning" else "full"
        return training_memory(shape, how, work.context_tokens, work.batch, work.lora_rank)
    return serving_memory(shape, work.precision, work.context_tokens, work.concurrency, work.kv_bytes_per_value)


def kv_share(shape: ModelShape, count: int) -> float | None:
    """Share of the KV cache each of `count` tensor-parallel cards keeps, or None where the heads cannot be dealt out.

    KV heads are dealt out evenly, or each repeated on as many cards where there are more cards than heads; latent
    attention has one latent for all heads, so every card keeps it whole. Query heads must divide too. O(1).
    """
    _count(count)
    if shape.heads is not None and shape.heads % count:
        return None
    if shape.latent_width is not None:
        return 1.0
    if shape.kv_heads % count == 0:
        return 1.0 / count
    return 1.0 / shape.kv_heads if count % shape.kv_heads == 0 else None


def place(work: Workload, card: Card, count: int) -> Placement:
    """Spread a workload over `count` cards and see whether it fits. Raises ValueError for a count below one. O(1)."""
    _count(count)
    whole = memory(work)
    if work.kind in ("llm_inference", "notebook"):
        return _served(work, whole, card, count)
    each, split = whole, _COPIES
    if work.kind in ("fine_tuning", "training"):
        split = _SHARDS
        held, states = whole.weights_gb / count, whole.optimiser_gb / count
        each = Memory(held, 0.0, whole.activations_gb, states, whole.overhead_gb)
    needed, budget = each.total_gb, card.memory_gb
    twice = count * needed - whole.total_gb
    return Placement(count, split, each, needed, budget, twice, _too_much(needed, budget))


def fewest(work: Workload, card: Card, counts: Sequence[int] = COUNTS) -> Placement | None:
    """The fewest cards of `counts` that hold the workload; None when none do."""
    placements = (place(work, card, count) for count in sorted(counts))
    return next((placement for placement in placements if placement.fits), None)


def speed(work: Workload, card: Card, count: int) -> Speed | None:
    """Items a second of all cards together: generated tokens, sequences, or what was measured; None where unknown.

    In a model cut by layers the cards take turns: weights pass at the bandwidth of one card, and with enough streams
    the caches are read side by side. Training has hours, not items. O(1).
    """
    _count(count)
    if work.measured is not None:
        return _times(_carried(work.measured, card, by_fp32=work.kind == "rendering"), count)
    if work.kind == "embeddings":
        tokens = _reading(work, card, 1, _shape(work).active, float(work.context_tokens * work.batch))
        return _times(tokens, count / work.context_tokens)
    if work.kind not in ("llm_inference", "notebook"):
        return None
    shape, each = _shape(work), bytes_per_weight(work.precision)
    share = kv_share(shape, count)
    side_by_side = count if share is not None else min(count, work.concurrency)
    copies = share * count if share is not None else 1.0 / side_by_side
    kv = kv_cache_bytes(shape, max(1.0, work.context_tokens / 2), work.kv_bytes_per_value)
    read = weight_bytes_read(
        shape.parameters * each, shape.active * each, work.concurrency, shape.experts, shape.experts_used
    )
    return decode_tokens_per_second(
        active_weight_bytes=read,
        kv_bytes=kv * copies,
        flops_per_token=2 * shape.active,
        bandwidth_bytes=card.bandwidth_bytes * (count if share is not None else 1),
        peak_flops=card.peak_flops(work.precision) * side_by_side,
        concurrency=work.concurrency,
        narrow=each < 1,
        layers=shape.layers,
    )


def hours(work: Workload, card: Card, count: int) -> Duration | None:
    """Hours of the whole amount on `count` cards, itemised; as long as asked for when that was said.

    None where neither an amount nor a duration was given, or nobody measured the speed. O(1).
    """
    if work.duration_hours is not None:
        asked = (work.duration_hours, work.duration_hours, work.duration_hours)
        return Duration(asked, {"as asked": asked})
    parts: dict[str, Range] = {}
    if work.kind in ("fine_tuning", "training"):
        if work.amount:
            parts["training"] = training_hours(
                parameters=_shape(work).active,
                tokens=work.amount,
                peak_flops=card.tflops * 1e12 * count,
                adapter=work.kind == "fine_tuning" and work.method != "full",
            )
    else:
        if work.prompt_tokens and work.kind == "llm_inference":
            reading = _reading(work, card, count, _shape(work).active, float(work.context_tokens))
            parts["reading prompts"] = _lasting(work.prompt_tokens, reading)
        found = speed(work, card, count) if work.amount else None
        if work.amount and found is None:
            return None
        if found is not None:
            parts["generating" if work.kind == "llm_inference" else "computing"] = _lasting(work.amount, found)
    if not parts:
        return None
    low, likely, high = (sum(part[index] for part in parts.values()) for index in range(3))
    return Duration((low, likely, high), parts)


def _served(work: Workload, whole: Memory, card: Card, count: int) -> Placement:
    """By tensor where the heads allow, else by layers; held to 0.90 of the card less 1 GiB."""
    shape = _shape(work)
    share = kv_share(shape, count)
    split: Split = "tensor"
    part = 1.0 / count
    if share is None:
        split = "layers"
        part = share = ceil(shape.layers / count) / shape.layers
    budget = SERVING_SHARE * card.memory_gb - ENGINE_GB
    kv, fixed = whole.kv_cache_gb * share, whole.weights_gb * part + whole.activations_gb
    reason = f"{count} cards for {shape.layers} layers" if count > shape.layers else _too_much(fixed + kv, budget)
    each = Memory(whole.weights_gb * part, kv, whole.activations_gb, 0.0, card.memory_gb - max(budget, 0.0))
    one = kv_cache_bytes(shape, work.context_tokens, work.kv_bytes_per_value) / GB * share
    return Placement(
        count=count,
        split=split,
        each=each,
        needed_gb=fixed + kv,
        budget_gb=budget,
        replicated_gb=count * (fixed + kv) - (whole.weights_gb + whole.kv_cache_gb + whole.activations_gb),
        reason=reason,
        most_streams=max(0, int((budget - fixed) / one)),
    )


def _reading(work: Workload, card: Card, count: int, active: float, batch_tokens: float) -> Speed:
    each = bytes_per_weight(work.precision)
    return prefill_tokens_per_second(
        active_parameters=active,
        peak_flops=card.peak_flops(work.precision) * count,
        weight_bytes=active * each,
        bandwidth_bytes=card.bandwidth_bytes * count,
        batch_tokens=batch_tokens,
    )


def _carried(measured: Measured, card: Card, *, by_fp32: bool) -> Speed:
    peaks = (card.fp32_tflops, measured.card.fp32_tflops) if by_fp32 else (card.tflops, measured.card.tflops)
    if peaks[0] is None or peaks[1] is None:
        raise ValueError("fp32_tflops of both cards is needed to carry over a measured rendering speed")
    return scaled_speed(
        measured.items_per_second,
        peak_ratio=peaks[0] / peaks[1],
        bandwidth_ratio=card.bandwidth_gb_s / measured.card.bandwidth_gb_s,
    )


def _times(one: Speed, factor: float) -> Speed:
    return Speed(one.low * factor, one.likely * factor, one.high * factor, one.ceiling * factor, one.bound)


def _lasting(amount: float, at: Speed) -> Range:
    return amount / at.high / 3600, amount / at.likely / 3600, amount / at.low / 3600


def _shape(work: Workload) -> ModelShape:
    if work.shape is None:
        raise ValueError(f"shape is needed to size {work.kind}")
    return work.shape


def _too_much(needed_gb: float, budget_gb: float) -> str:
    return "" if needed_gb <= budget_gb else f"{needed_gb:.1f} GB on a card that takes {max(budget_gb, 0):.1f}"


def _count(count: int) -> None:
    physical(count=count)
    if count < 1:
        raise ValueError(f"count must be at least one, not {count}")
