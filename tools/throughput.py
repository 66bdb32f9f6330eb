"""Tokens a second of a model on a GPU: the measured figure where the store has one, else the roofline's interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pydantic import Field

from market.errors import ValidationFailed
from market.offers import clean_text
from tools.capability import Result
from tools.math_door import computed
from tools.models import named_in, shape_from_size, shape_of, size_in
from tools.offer_view import Number

if TYPE_CHECKING:
    from market.benchmarks import Throughput
    from market.gpus import Gpu
    from mathcore.card import Card
    from mathcore.kpi import Figure
    from mathcore.sizing import ModelShape
    from mathcore.workload import Workload

CONTEXT_TOKENS = 4_096
PRECISION: Final = "fp16"
ROOFLINE = "estimate by the roofline of the published dense peak and bandwidth, checked against measured decode speeds"
ENGINE = "any: no engine was run"

SIZES = {"7b": "Llama 2 7B", "13b": "Llama 2 13B", "70b": "Llama 2 70B"}
"""The model that stands for each size the contract names."""
NARROWING = ("fp16", "int8", "int4")
NOMINAL = 1.25
"""A name rounds its size, upwards too: a model of unknown shape is held to a ceiling so much higher."""


class EstimatedThroughput(Result):
    """Tokens a second of one GPU by the roofline; nobody measured it."""

    model: str
    precision: str
    batch: int
    engine: str
    low: Number
    likely: Number
    high: Number
    ceiling: Number = Field(description="No engine can be faster: memory bandwidth or arithmetic.")
    source: str


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens a second of what is bought, and the conditions it holds under."""

    figure: Figure
    model: str
    precision: str
    batch: int
    engine: str
    measured_at: str | None = None


def shape_named(model: str) -> ModelShape:
    """The shape of a model by name, or the usual one of the size in its name. Raises ValidationFailed for neither."""
    known = named_in(model)
    if known is not None:
        return shape_of(known)
    size = size_in(model)
    if size is None:
        raise ValidationFailed(
            f"The model `{clean_text(model, 80)}` is not known and its name carries no size.",
            next_step="Write the size into the name, e.g. `my-model-8B`.",
        )
    return shape_from_size(*size)


def _card(card: Gpu) -> Card | None:
    """The figures the mathematics takes; None when the peak, the bandwidth or the memory is not published."""
    from mathcore.card import Card

    memory = card.memory_gb or min(card.memory_options, default=None)
    peak = card.bf16_tflops or card.fp16_tflops
    if not (memory and peak and card.memory_bandwidth_gbps):
        return None
    return Card(memory, card.memory_bandwidth_gbps, peak, card.fp8_tflops, card.fp32_tflops)


def _work(shape: ModelShape, precision: str, batch: int) -> Workload:
    from mathcore.workload import Workload

    return Workload(
        kind="llm_inference", shape=shape, precision=precision, context_tokens=CONTEXT_TOKENS, concurrency=batch
    )


async def estimate(card: Gpu, model: str, batch: int = 1) -> EstimatedThroughput | None:
    """The roofline's interval for one GPU at the widest of `NARROWING` weights that fit on it.

    None when its figures are not published or the model fits in none of them.
    """

    def work() -> EstimatedThroughput | None:
        from mathcore.workload import place, speed

        figures = _card(card)
        if figures is None:
            return None
        works = (_work(shape_named(model), precision, batch) for precision in NARROWING)
        wanted = next((one for one in works if place(one, figures, 1).fits), None)
        found = None if wanted is None else speed(wanted, figures, 1)
        if wanted is None or found is None:
            return None
        return EstimatedThroughput(
            model=model,
            precision=wanted.precision,
            batch=batch,
            engine=ENGINE,
            low=found.low,
            likely=found.likely,
            high=found.high,
            ceiling=found.ceiling,
            source=f"{ROOFLINE}; bound by {found.bound}",
        )

    return await computed(work)


async def check_claim(card: Gpu, model: str, precision: str, batch: int, claimed: float) -> None:
    """Raise ValidationFailed for a throughput no engine can reach on this card, as far as its figures are published."""

    def ceiling() -> float | None:
        from mathcore.workload import speed

        figures = _card(card)
        known = named_in(model) is not None
        if figures is None or not (known or size_in(model)):
            return None
        # The least cache to read, and twice the peak for 8-bit arithmetic or 16-bit sums: the highest there is.
        wanted = replace(_work(shape_named(model), precision, batch), context_tokens=1)
        found = speed(wanted, replace(figures, tflops=2 * figures.tflops), 1)
        return None if found is None else found.ceiling * (1 if known else NOMINAL)

    most = await computed(ceiling)
    if most is not None and claimed > most:
        raise ValidationFailed(
            f"`tokens_per_second` {claimed:g} is above what one {card.name} can reach at batch {batch}: {most:.0f}.",
            next_step="Give the rate of one GPU, and the batch and precision it was measured at.",
            details={"ceiling": round(most, 1)},
        )


async def rate(
    card: Gpu, rows: Iterable[Throughput], model: str, *, precision: str, batch: int | None, count: int
) -> Rate:
    """The rate of `count` GPUs together: measured under these conditions on one, else estimated, else unknown.

    `batch` None takes the highest measured rate whatever its batch, and estimates a single request. Raises
    ValidationFailed when the model does not fit.
    """
    found = _best(rows, model, precision, batch)
    if found is not None:
        return await computed(lambda: _of_row(found, count))
    return await computed(lambda: _estimated(card, model, precision, batch or 1, count))


def _best(rows: Iterable[Throughput], model: str, precision: str, batch: int | None) -> Throughput | None:
    """Of the measurements of this very model the fastest, else of any model of the same nominal size."""
    same = [row for row in rows if row.precision == precision and (batch is None or row.batch == batch)]
    exact = [row for row in same if row.model == model]
    size = size_in(model)
    alike = exact or [row for row in same if size is not None and size_in(row.model) == size]
    return max(alike, key=lambda row: row.tokens_per_second, default=None)


def _of_row(row: Throughput, count: int) -> Rate:
    from mathcore.kpi import measured

    copies = f"; measured on one GPU, {count} copies that share nothing" if count > 1 else ""
    figure = measured(row.tokens_per_second * count, row.source + copies)
    return Rate(figure, row.model, row.precision, row.batch, row.engine, f"{row.measured_at:%Y-%m-%d}")


def _estimated(card: Gpu, model: str, precision: str, batch: int, count: int) -> Rate:
    from mathcore.kpi import estimated, unknown
    from mathcore.workload import fewest, place, speed

    figures = _card(card)
    if figures is None:
        missing = f"no measurement is kept, and peak or bandwidth of {card.name} is not published"
        return Rate(unknown(missing), model, precision, batch, ENGINE)
    wanted = _work(shape_named(model), precision, batch)
    placed = place(wanted, figures, count)
    found = speed(wanted, figures, count) if placed.fits else None
    if found is None:
        enough = fewest(wanted, figures)
        raise ValidationFailed(
            f"{model} in {precision} at batch {batch} does not fit on {count}x {card.name}: {placed.reason}.",
            next_step=f"Give `gpu_count` {enough.count}, a smaller `precision` or a smaller model."
            if enough is not None
            else "Give a smaller `precision`, a smaller `batch` or a smaller model.",
            details={"field": "gpu_count", "least": enough.count if enough is not None else None},
        )
    # Whole tokens, as the contract has them: the interval is far wider than the rounding.
    likely = max(1.0, float(round(found.likely)))
    figure = estimated(min(found.low, likely), likely, max(found.high, likely), f"{ROOFLINE}; bound by {found.bound}")
    return Rate(figure, model, precision, batch, ENGINE)
