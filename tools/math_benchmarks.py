"""What is known of each GPU: published dense figures of the catalogue, and throughputs somebody measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import AliasChoices, Field, StringConstraints

from market.context import Context
from market.errors import NotFound, ValidationFailed
from market.offers import clean_text
from tools.capability import Request, Result, capability
from tools.estimate import Precision
from tools.math_door import HTTP_ONLY, READ, TOOLSET, Time
from tools.models import named_in
from tools.offer_view import Moment, Number
from tools.throughput import EstimatedThroughput, check_claim, estimate

if TYPE_CHECKING:
    from market.benchmarks import Throughput
    from market.gpus import Gpu

ADMIN = "admin:benchmarks"
REFERENCE_MODEL = "Llama 2 7B"
FASTEST_ANYONE_MEASURED = 10_000_000.0

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class MeasuredThroughput(Result):
    """Tokens a second of one GPU, all requests together, as somebody measured it."""

    model: str
    precision: str
    batch: int = Field(description="Requests served at once.")
    engine: str
    tokens_per_second: Number
    source: str
    measured_at: Moment
    recorded_at: Moment


class Benchmark(Result):
    """A GPU: dense peaks as published, memory, and throughputs. Absent means nobody published it.

    `tokens_per_second` is the highest measured one, with its conditions in `measured`; absent when none was.
    """

    gpu_type: str
    vendor: str
    architecture: str | None = None
    tflops_fp32: Number | None = None
    tflops_tf32: Number | None = None
    tflops_fp16: Number | None = Field(default=None, description="Dense, 32-bit sums; never the sparse figure.")
    tflops_fp8: Number | None = None
    tflops_int8: Number | None = Field(default=None, description="TOPS.")
    memory_bandwidth_gbps: Number | None = None
    vram_gb: Number | None = None
    tdp_watts: Number | None = None
    specs_source: str | None = None
    tokens_per_second: Number | None = None
    measured: list[MeasuredThroughput] = Field(description="The newest first.")
    estimated: EstimatedThroughput | None = None


class Benchmarks(Result):
    """Every GPU whose figures are published."""

    items: list[Benchmark]
    total: int


class BenchmarksAsked(Request):
    """Which GPUs to list."""

    gpu: str | None = Field(
        default=None,
        max_length=60,
        validation_alias=AliasChoices("gpu", "gpu_type"),
        description="Any part of a name. Default: all.",
    )


class BenchmarkNamed(Request):
    """Which GPU."""

    gpu: str = Field(min_length=1, max_length=60, description="Its name, e.g. `H100-SXM`.")


class BenchmarkPut(BenchmarkNamed):
    """A measured throughput of one GPU. It takes the place of the one under the same conditions."""

    model: Words = Field(description="e.g. `Llama 2 7B`.")
    precision: Precision
    batch: int = Field(ge=1, le=100_000, description="Requests served at once.")
    engine: Words = Field(description="With its version, e.g. `vllm 0.6.3`.")
    tokens_per_second: float = Field(
        gt=0,
        le=FASTEST_ANYONE_MEASURED,
        allow_inf_nan=False,
        description="Generated, all requests together, of one GPU.",
    )
    source: Words = Field(description="Who measured it and where it is published.")
    measured_at: Time = Field(description="Date or time, ISO 8601.")


class BenchmarkUpdated(Result):
    """What was kept, and what it replaced."""

    updated: bool
    gpu_type: str
    kept: MeasuredThroughput
    replaced: MeasuredThroughput | None = None


def card_named(name: str) -> Gpu:
    """The GPU a person means. Raises NotFound with the nearest names."""
    from market import gpus

    by_name = {known.casefold(): card for known, card in gpus.catalogue().items()}
    found = by_name.get(name.strip().casefold()) or gpus.identify(name).gpu
    if found is None:
        nearest = gpus.nearest(name)
        raise NotFound(
            f"There is no GPU `{clean_text(name, 60)}`.",
            next_step=f"Nearest: {', '.join(f'`{one}`' for one in nearest)}." if nearest else "See the list of all.",
            details={"nearest": nearest},
        )
    return found


def canonical_model(name: str) -> str:
    """The name a known model has here, whatever spelling it came in; any other as it came."""
    known = named_in(name)
    return known.name if known is not None else clean_text(name, 200)


@capability("GET /math/benchmarks", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def list_benchmarks(ctx: Context, query: BenchmarksAsked) -> Benchmarks:
    """List the published figures and measured throughputs of every GPU."""
    from market import benchmarks, gpus

    wanted = gpus.matching(query.gpu) if query.gpu else None
    if query.gpu and not wanted:
        wanted = frozenset({card_named(query.gpu).name})
    rows = await benchmarks.measured(await ctx.market.store(), wanted)
    by_gpu: dict[str, list[Throughput]] = {}
    for row in rows:
        by_gpu.setdefault(row.gpu, []).append(row)
    items = [
        _sheet(card, by_gpu.get(card.name, []))
        for card in gpus.catalogue().values()
        if (wanted is None or card.name in wanted) and (card.specs_source or card.name in by_gpu)
    ]
    return Benchmarks(items=items, total=len(items))


@capability("GET /math/benchmarks/{gpu}", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def get_benchmark(ctx: Context, query: BenchmarkNamed) -> Benchmark:
    """Show the published figures of a GPU, its measured throughputs, and an estimate where there is none."""
    from market import benchmarks

    card = card_named(query.gpu)
    rows = await benchmarks.measured(await ctx.market.store(), [card.name])
    sheet = _sheet(card, rows)
    if rows:
        return sheet
    guess = await estimate(card, REFERENCE_MODEL)
    return sheet.model_copy(update={"estimated": guess})


@capability("PUT /math/benchmarks/{gpu}", scope=ADMIN, effect="write", doors=HTTP_ONLY, toolset=TOOLSET)
async def put_benchmark(ctx: Context, query: BenchmarkPut) -> BenchmarkUpdated:
    """Keep a measured throughput of a GPU with its conditions, source and date. For administrators."""
    from market import benchmarks
    from market.benchmarks import Throughput

    card = card_named(query.gpu)
    now = ctx.market.clock.now()
    if query.measured_at > now:
        raise ValidationFailed(
            "`measured_at` lies in the future.", next_step="Give the day it was measured.", details={"now": str(now)}
        )
    await check_claim(card, query.model, query.precision, query.batch, query.tokens_per_second)
    kept = Throughput(
        gpu=card.name,
        model=canonical_model(query.model),
        precision=query.precision,
        engine=clean_text(query.engine, 200),
        batch=query.batch,
        tokens_per_second=query.tokens_per_second,
        source=clean_text(query.source, 200),
        measured_at=query.measured_at,
        recorded_at=now,
        recorded_by=ctx.caller.name,
    )
    replaced = await benchmarks.record(await ctx.market.store(), kept, ctx.commitment)
    return BenchmarkUpdated(
        updated=True,
        gpu_type=card.name,
        kept=_measured(kept),
        replaced=None if replaced is None else _measured(replaced),
    )


def _sheet(card: Gpu, rows: Iterable[Throughput]) -> Benchmark:
    measured = [_measured(row) for row in rows]
    return Benchmark(
        gpu_type=card.name,
        vendor=card.vendor,
        architecture=card.architecture,
        tflops_fp32=card.fp32_tflops,
        tflops_tf32=card.tf32_tflops,
        tflops_fp16=card.fp16_tflops or card.bf16_tflops,
        tflops_fp8=card.fp8_tflops,
        tflops_int8=card.int8_tops,
        memory_bandwidth_gbps=card.memory_bandwidth_gbps,
        vram_gb=card.memory_gb or min(card.memory_options, default=None),
        tdp_watts=card.tdp_watts,
        specs_source=card.specs_source,
        tokens_per_second=max((one.tokens_per_second for one in measured), default=None),
        measured=measured,
    )


def _measured(row: Throughput) -> MeasuredThroughput:
    return MeasuredThroughput(**{name: getattr(row, name) for name in MeasuredThroughput.model_fields})
