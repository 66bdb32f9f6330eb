"""Measures the snapshot: filtered search with an exact total, beside gpuhunt on the same rows; the build; the memory.

python -m tests.bench.search [rows ...]     100,000 and 1,000,000 unless said
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from market import catalogue, gpus
from market.offers import Offer
from market.query import Query
from market.rows import AT, Row, to_offer
from market.snapshot import Snapshot
from market.snapshot_builder import CHUNK, build, gathered
from market.store import Store
from tests.bench._rows import SEEN, data_folder, real_offers, rows

T = TypeVar("T")
ROUNDS = 60
PEER_ROUNDS = 3
BUILDS = 3
STORED = 100_000
GPUS = ("h100", "a100", "a10g", "t4", "v100", "l4", "rtx 4090", "a100-80gb", "l40", "k80", "h100-sxm", "trainium")
REGIONS = ("eu", "us-east", "germany", "asia", "us", "eu-west-1", "japan", "canada")
WORDS = ("h100", "standard", "g5", "rev3 a100", "sxm", "xlarge", "n1 t4", "gpu")


def shapes(dice: random.Random, snapshot: Snapshot) -> dict[str, Query]:
    """The eight shapes in rotation, each time with other values."""
    gpu, region, text = dice.choice(GPUS), dice.choice(REGIONS), dice.choice(WORDS)
    low = Decimal(dice.randrange(10, 400)) / 100
    cursor = snapshot.search(Query(gpu=(gpu,), limit=dice.randrange(20, 200))).next_position
    by_gpu = Query(gpu=(gpu,))
    return {
        "gpu": by_gpu,
        "gpu, region, price range": Query(gpu=(gpu,), region=(region,), price_min=low, price_max=low * 6),
        "memory range, availability": Query(memory_gb_min=24, memory_gb_max=80, availability=("available", "limited")),
        "tag, price": Query(tags=(dice.choice(("gdpr", "hipaa", "soc2")),), price_max=low * 4),
        "words": Query(text=text),
        "availability, offset 10,000": Query(availability=("available",), offset=10_000),
        "gpu, next page": by_gpu.after(cursor) if cursor else by_gpu,
        "everything at once": Query(
            gpu=(gpu,),
            region=(region,),
            price_max=low * 20,
            availability=("available", "limited"),
            memory_gb_min=16,
            gpu_count_min=1,
            cpu_cores_min=4,
            ram_gb_min=8,
            tags=(dice.choice(("gdpr", "hipaa", "soc2")),),
            text="rev",
            sort="price_per_gpu",
        ),
    }


def common_shapes(dice: random.Random) -> dict[str, Query]:
    """What gpuhunt can be asked too: no region, stock, tags, words, order or pages there."""
    gpu, low = dice.choice(GPUS), Decimal(dice.randrange(10, 400)) / 100
    return {
        "gpu": Query(gpu=(gpu,)),
        "gpu, price range": Query(gpu=(gpu,), price_min=low, price_max=low * 6),
        "memory range": Query(memory_gb_min=24, memory_gb_max=80),
        "price": Query(price_max=low * 4),
        "provider, gpu": Query(provider=("aws", "gcp"), gpu=(gpu,)),
        "gpu, price, count, memory, cpu, ram": Query(
            gpu=(gpu,), price_max=low * 20, gpu_count_min=2, memory_gb_min=16, cpu_cores_min=8, ram_gb_min=32
        ),
    }


def timed(work: Callable[..., object], *given: object) -> float:
    """Milliseconds one call takes."""
    start = time.perf_counter()
    work(*given)
    return (time.perf_counter() - start) * 1e3


def page(snapshot: Snapshot, query: Query) -> list[Offer]:
    """Search, count, and make the twenty offers of the page."""
    return snapshot.search(query).offers


def quantiles(taken: Sequence[float]) -> str:
    """Median and 95th percentile."""
    return f"p50 {statistics.median(taken):8.3f} ms   p95 {float(np.quantile(taken, 0.95)):8.3f} ms"


def measure_search(snapshot: Snapshot) -> None:
    """Every shape in rotation, and the first time each was asked at all."""
    dice = random.Random(1)
    first = {name: timed(page, snapshot, query) for name, query in shapes(dice, snapshot).items()}
    taken: dict[str, list[float]] = {name: [] for name in first}
    for _ in range(ROUNDS):
        for name, query in shapes(dice, snapshot).items():
            taken[name].append(timed(page, snapshot, query))
    for name, times in taken.items():
        print(f"  {name:36} {quantiles(times)}   first ever {first[name]:7.3f} ms")
    every = [each for times in taken.values() for each in times]
    print(f"  {'all eight':36} {quantiles(every)}   exact total and 20 offers each")
    relaxed = [timed(snapshot.relaxations, impossible(dice)) for _ in range(ROUNDS)]
    print(f"  {'ways out of an empty answer':36} {quantiles(relaxed)}")


def impossible(dice: random.Random) -> Query:
    """A query nothing meets."""
    return Query(gpu=(dice.choice(GPUS),), region=(dice.choice(REGIONS),), price_max=Decimal("0.0001"), tags=("gdpr",))


def peer_terms(query: Query) -> dict[str, Any]:
    """The query as the fields of gpuhunt's filter."""
    return {
        "provider": list(query.provider) or None,
        "gpu_name": [name for word in query.gpu for name in gpus.matching(word)] or None,
        "min_price": None if query.price_min is None else float(query.price_min),
        "max_price": None if query.price_max is None else float(query.price_max),
        "min_gpu_memory": query.memory_gb_min,
        "max_gpu_memory": query.memory_gb_max,
        "min_gpu_count": query.gpu_count_min,
        "min_cpu": None if query.cpu_cores_min is None else int(query.cpu_cores_min),
        "min_memory": query.ram_gb_min,
    }


def measure_peer(snapshot: Snapshot, catalogued: Sequence[Row]) -> None:
    """The shapes both can answer, on the same rows, with the totals compared."""
    try:
        constraints = import_module("gpuhunt._internal.constraints")
        models = import_module("gpuhunt._internal.models")
    except ImportError:
        print("  gpuhunt is not installed: no comparison. Install the `bench` extra.")
        return
    matches = constraints.matches
    items = [
        models.CatalogItem(
            provider=row[AT["provider"]], instance_name=row[AT["external_id"]], location=row[AT["region"]],
            price=row[AT["price_per_hour_usd"]] / 1e6, cpu=row[AT["cpu_cores"]] or 0, memory=row[AT["ram_gb"]] or 0,
            gpu_count=row[AT["gpu_count"]], gpu_name=row[AT["gpu"]] or row[AT["gpu_raw"]],
            gpu_memory=row[AT["memory_gb"]], spot=row[AT["pricing"]] == "spot", disk_size=None,
            gpu_vendor=models.AcceleratorVendor.NVIDIA,
        )
        for row in catalogued
    ]  # fmt: skip
    dice = random.Random(2)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(PEER_ROUNDS):
        for name, query in common_shapes(dice).items():
            asked = models.QueryFilter(**peer_terms(query))
            start = time.perf_counter()
            total = sum(matches(item, asked) for item in items)
            theirs.append((time.perf_counter() - start) * 1e3)
            ours += [timed(page, snapshot, query) for _ in range(5)]
            found = snapshot.search(query).listed
            if found != total:
                print(f"  totals differ on {name}: {found} here, {total} there")
    print(f"  {'gpuhunt, matching alone':36} {quantiles(theirs)}")
    print(f"  {'here, total and 20 offers':36} {quantiles(ours)}")
    print(f"  ratio of the medians: {statistics.median(theirs) / statistics.median(ours):.0f}x")


async def longest_pause(work: Callable[[], Awaitable[T]]) -> tuple[T, float, float]:
    """What the work returns, its seconds, and the longest time in milliseconds another task had to wait."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            worst, last = max(worst, now - last), now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    start = time.perf_counter()
    found = await work()
    seconds = time.perf_counter() - start
    ticking.cancel()
    return found, seconds, worst * 1e3


async def chunked(catalogued: Sequence[Row]) -> AsyncIterator[Sequence[Row]]:
    """Rows as the store hands them over."""
    for start in range(0, len(catalogued), CHUNK):
        yield catalogued[start : start + CHUNK]


async def measure_build(catalogued: Sequence[Row]) -> Snapshot:
    """Build with another task running, from memory and, where that is quick to fill, from SQLite."""
    gc.collect()
    gc.freeze()  # the bench's own million rows would make every collection long
    before = resident()
    snapshot = await measure_builds("rows in memory", lambda: gathered(chunked(catalogued), 1))
    gc.collect()
    held = column_bytes(snapshot)
    print(f"  memory: {held / 1e6:.0f} MB of columns, process grew by {(resident() - before) / 1e6:.0f} MB")
    if len(catalogued) <= STORED:
        with TemporaryDirectory() as folder:
            store = await Store.open(f"sqlite+aiosqlite:///{Path(folder) / 'bench.db'}")
            for provider in sorted({row[AT["provider"]] for row in catalogued}):
                mine = (to_offer(row) for row in catalogued if row[AT["provider"]] == provider)
                await catalogue.record(store, provider, mine, seen_at=SEEN, complete=True)
            await measure_builds("from SQLite", lambda: build(store))
            await store.close()
    _, _, idle = await longest_pause(lambda: asyncio.sleep(1))
    print(f"  longest pause with nothing to do {idle:.1f} ms")
    return snapshot


async def measure_builds(source: str, work: Callable[[], Awaitable[Snapshot]]) -> Snapshot:
    """Build a few times: the quickest, and the longest pause of each."""
    snapshot, seconds, pause = await longest_pause(work)
    taken, pauses = [seconds], [pause]
    for _ in range(BUILDS - 1):
        snapshot, seconds, pause = await longest_pause(work)
        taken.append(seconds)
        pauses.append(pause)
    said = ", ".join(f"{each:.1f}" for each in pauses)
    print(f"  built in {min(taken):.2f} s; another task waited at most {said} ms ({source})")
    return snapshot


def column_bytes(snapshot: Snapshot) -> int:
    """Bytes of every array the snapshot holds."""
    frame = snapshot.frame
    columns = [*frame.columns.values(), frame.cards, frame.places]
    arrays = [column.codes for column in columns] + [frame.ids, frame.id_rank, frame.row_of_id, *frame.amounts.values()]
    for ordering in frame.orderings.values():
        arrays += [ordering.rank, ordering.keys, ordering.starts]
    return sum(array.nbytes for array in arrays)


def resident() -> int:
    """Bytes of memory the process holds."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run every measurement for each number of rows."""
    if not (data_folder() / "catalogue").is_dir():
        print(f"Skipped: no catalogue rows in {data_folder().name}/catalogue; set GPUBROKER_TEST_DATA.")
        return 0
    print(f"{len(real_offers()):,} real GPU offers, repeated with other prices, places, sellers, stock and tags")
    for count in [int(each) for each in arguments] or [100_000, 1_000_000]:
        catalogued = rows(count)
        print(f"\n{len(catalogued):,} rows")
        snapshot = asyncio.run(measure_build(catalogued))
        gc.collect()
        measure_search(snapshot)
        if count <= STORED:
            measure_peer(snapshot, catalogued)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
