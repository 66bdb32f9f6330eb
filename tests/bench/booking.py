"""Measures booking: what `book_quote` takes beyond the provider's own time, and how many a second it sustains.

python -m tests.bench.booking [bookings]     100 unless said; exit code 1 when the p95 on SQLite is above the bound

The provider is the simulated cloud in this process, which answers at once; what passes inside its calls is taken off.
The floor is the same number of transactions that insert one row each, on the same database, by as many at once.
PostgreSQL is measured when one on 127.0.0.1:5432 lets us in.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
from sqlalchemy import text

from market.store import Store
from tests.buying import Buying, opened
from tests.conftest import ManualClock

BOOKINGS, AT_ONCE = 100, 8
BOUND_MS = 150.0


class ProviderTime:
    """Seconds that passed inside calls to the provider; those of calls side by side add up."""

    def __init__(self, buying: Buying) -> None:
        self.seconds = 0.0
        face = buying.world.face

        async def timed(*arguments: Any) -> None:
            began = time.perf_counter()
            try:
                await face(*arguments)
            finally:
                self.seconds += time.perf_counter() - began

        buying.world.face = timed  # type: ignore[assignment]


async def latencies(buying: Buying, bookings: int) -> list[float]:
    """Milliseconds from the call to its answer, the provider's own taken off, one booking after the other."""
    spent = ProviderTime(buying)
    offer = await buying.offer()
    found = []
    for _ in range(bookings):
        quote = await buying.quoted(offer)
        before, began = spent.seconds, time.perf_counter()
        booked = await buying.books(quote)
        took = time.perf_counter() - began - (spent.seconds - before)
        if booked.state != "provisioning":
            raise RuntimeError(f"a booking is {booked.state}: {booked.reason}")
        found.append(took * 1_000)
        await buying.asks("terminate_booking", booking_id=booked.id)
    return found


async def a_second(buying: Buying, bookings: int) -> float:
    """Bookings a second by several buyers at once; each order answered as provisioning."""
    offers = [await buying.offer(skip=number) for number in range(4)]
    quotes = [await buying.quoted(offers[number % 4]) for number in range(bookings)]
    waiting = iter(quotes)

    async def buyer() -> None:
        for quote in waiting:
            booked = await buying.books(quote)
            if booked.state != "provisioning":
                raise RuntimeError(f"a booking is {booked.state}: {booked.reason}")

    began = time.perf_counter()
    await asyncio.gather(*(buyer() for _ in range(AT_ONCE)))
    return bookings / (time.perf_counter() - began)


async def bare(store: Store, transactions: int) -> float:
    """Transactions a second that insert one row each."""
    async with store.write() as connection:
        await connection.execute(text("CREATE TABLE bench_floor (id INTEGER PRIMARY KEY, word TEXT NOT NULL)"))
    numbers = iter(range(transactions))

    async def writer() -> None:
        for number in numbers:
            async with store.write() as connection:
                await connection.execute(text("INSERT INTO bench_floor VALUES (:id, 'x')"), {"id": number})

    began = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(AT_ONCE)))
    return transactions / (time.perf_counter() - began)


@asynccontextmanager
async def postgres() -> AsyncIterator[str]:
    """A fresh database on this machine's server, dropped afterwards; empty when none lets us in."""
    name = f"gpubroker_bench_{secrets.token_hex(6)}"
    for user in ("postgres", "root"):
        try:
            admin = await asyncpg.connect(host="127.0.0.1", port=5432, user=user, database="postgres", timeout=5)
        except (OSError, asyncpg.PostgresError):
            continue
        break
    else:
        yield ""
        return
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"postgresql://{user}@127.0.0.1:5432/{name}"
        finally:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


async def measured(database_url: str, bookings: int) -> tuple[list[float], float, float]:
    """Latencies in order, bookings a second, bare transactions a second."""
    with TemporaryDirectory() as folder:
        async with opened(Path(folder), ManualClock(), database_url=database_url) as buying:
            buying.market._version_check_seconds = 0.5  # as in the product
            buying.world.cloud.temper.gpu_quota = 1_000_000
            for offer in buying.world.cloud.products():
                buying.world.cloud.pin_stock(offer[0], offer[1], 1_000_000)
            await latencies(buying, 5)
            found = sorted(await latencies(buying, bookings))
            rate = await a_second(buying, bookings)
            return found, rate, await bare(await buying.store(), bookings * 5)


async def report(name: str, database_url: str, bookings: int) -> float:
    """Print one database; its p95 in milliseconds."""
    found, rate, floor = await measured(database_url, bookings)
    p50, p95 = found[len(found) // 2], found[min(len(found) - 1, int(len(found) * 0.95))]
    print(f"{name}: book_quote to provisioning, beyond the provider's time: p50 {p50:.0f} ms, p95 {p95:.0f} ms")
    print(f"{name}: {rate:.1f} bookings a second by {AT_ONCE} buyers; {floor:.0f} bare transactions a second,", end=" ")
    print(f"one booking costs as much as {floor / rate:.1f} of them")
    return p95


async def run(bookings: int) -> int:
    """Both databases; 1 when the bound is broken."""
    p95 = await report("sqlite", "", bookings)
    async with postgres() as url:
        if url:
            await report("postgresql", url, bookings)
        else:
            print("postgresql: NOT MEASURED, no server on 127.0.0.1:5432 lets us in")
    if p95 > BOUND_MS:
        print(f"p95 on SQLite is above {BOUND_MS:.0f} ms")
        return 1
    return 0


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    return asyncio.run(run(int(arguments[0]) if arguments else BOOKINGS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
