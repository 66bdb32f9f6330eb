"""How many offers a minute the catalogue takes in, with price history and indexes: `python -m tests.bench.ingest`.

Each figure stands beside a floor measured in the same run: as many rows put into one bare table without an index by
sqlite3's own `executemany`. PostgreSQL is measured when it answers on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import os
import random
import sqlite3
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg

from market import catalogue
from market.offers import Offer
from market.rows import ROW_FIELDS, encode
from market.store import Store

SEEN = datetime(2026, 1, 15, 12, tzinfo=UTC)
_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "catalogue"
_CENT = Decimal("0.01")


def real_rows() -> list[dict[str, str]]:
    """Rows of real price lists when the data folder is beside the repository, else a handful of made-up ones."""
    folder = Path(os.environ.get("GPUBROKER_BENCH_DATA", _DATA))
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob("*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows += [row for row in csv.DictReader(file) if row["AcceleratorName"] and row["Price"]]
    if rows:
        return rows
    made_up = [("H100", "8"), ("A100-80GB", "4"), ("L4", "1"), ("MI300X", "8")]
    return [
        {"InstanceType": f"vm-{n}", "AcceleratorName": gpu, "AcceleratorCount": count, "vCPUs": "16", "MemoryGiB": "64",
         "Region": f"region-{n % 36}", "Price": str(1 + n / 100)}
        for n in range(500)
        for gpu, count in made_up
    ]  # fmt: skip


def offers(count: int, seed: int = 7) -> list[Offer]:
    """`count` different offers of one provider, drawn from the real rows."""
    chance = random.Random(seed)
    source = real_rows()
    return [_offer(source[n % len(source)], n, chance) for n in range(count)]


def _offer(row: dict[str, str], number: int, chance: random.Random) -> Offer:
    price = (Decimal(row["Price"] or "1") + Decimal(chance.randrange(1, 500)) / 100).quantize(Decimal("0.000001"))
    region = row["Region"] or "global"
    return Offer(
        id=f"bench:{row['InstanceType'].lower()}-{number}:{region.lower()}",
        provider="bench",
        external_id=f"{row['InstanceType']}-{number}",
        name=f"{row['AcceleratorCount']}x {row['AcceleratorName']} {row['InstanceType']}",
        gpu=row["AcceleratorName"],
        gpu_raw=row["AcceleratorName"],
        gpu_count=max(1, int(float(row["AcceleratorCount"] or 1))),
        memory_gb=float(chance.choice((16, 24, 40, 48, 80, 141, 192))),
        cpu_cores=float(row["vCPUs"] or 0),
        ram_gb=float(row["MemoryGiB"] or 0),
        price_per_hour=price,
        price_per_hour_usd=price,
        region=region,
        country=chance.choice(("US", "DE", "FR", None)),
        availability=chance.choice(("available", "limited", "unknown")),
        tags=tuple(sorted(chance.sample(("spot", "nvlink", "infiniband", "eu", "green"), 2))),
        price_as_of=SEEN,
        source_url="https://provider.example/prices",
        last_updated=SEEN,
    )


def _dearer(found: list[Offer], share: float) -> list[Offer]:
    every = round(1 / share)
    return [_dearer_one(offer) if n % every == 0 else offer for n, offer in enumerate(found)]


def _dearer_one(offer: Offer) -> Offer:
    price = (offer.price_per_hour or _CENT) + _CENT
    return replace(offer, price_per_hour=price, price_per_hour_usd=price)


def floor(found: list[Offer]) -> float:
    """Seconds of sqlite3 for as many ready rows in one table without an index, in one transaction."""
    rows = [(*encoded.values, encoded.content_hash, 0, 0, None) for encoded in map(encode, found)]
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(Path(folder) / "floor.db", isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(f"CREATE TABLE bare ({', '.join(ROW_FIELDS)})")
        started = time.perf_counter()
        database.execute("BEGIN")
        database.executemany(f"INSERT INTO bare VALUES ({', '.join('?' * len(ROW_FIELDS))})", rows)  # noqa: S608
        database.execute("COMMIT")
        elapsed = time.perf_counter() - started
        database.close()
    return elapsed


async def passes(url: str, found: list[Offer]) -> list[tuple[str, float]]:
    """Seconds of each kind of pass over a fresh database."""
    store = await Store.open(url)
    kinds = [
        ("first load", found),
        ("all changed", _dearer(found, 1)),
        ("5 % changed", _dearer(_dearer(found, 1), 0.05)),
        ("unchanged", _dearer(_dearer(found, 1), 0.05)),
    ]
    taken: list[tuple[str, float]] = []
    for number, (kind, batch) in enumerate(kinds):
        started = time.perf_counter()
        await catalogue.record(store, "bench", batch, seen_at=SEEN + timedelta(hours=number), complete=True)
        taken.append((kind, time.perf_counter() - started))
    await store.close()
    return taken


async def postgres(found: list[Offer]) -> list[tuple[str, float]] | None:
    """The same passes on a database made and dropped for the purpose; None when no server answers."""
    for user in ("postgres", "root"):
        with suppress(OSError, asyncpg.PostgresError):
            admin = await asyncpg.connect(host="127.0.0.1", port=5432, user=user, database="postgres", timeout=5)
            name = f"gpubroker_test_bench_{os.getpid()}"
            await admin.execute(f'CREATE DATABASE "{name}"')
            try:
                return await passes(f"postgresql://{user}@127.0.0.1:5432/{name}", found)
            finally:
                await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
                await admin.close()
    return None


def show(title: str, taken: list[tuple[str, float]], count: int, bare: float) -> None:
    """One block of the report."""
    print(f"\n{title}: {count:,} offers")
    for kind, seconds in taken:
        print(f"  {kind:<12} {count / seconds * 60:>12,.0f} records/min   {seconds / bare:5.1f} x the floor's time")


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    count = parser.parse_args().count
    found = offers(count)
    bare = floor(found)
    print(f"floor (bare sqlite3, no index, rows ready): {count / bare * 60:,.0f} records/min")
    with tempfile.TemporaryDirectory() as folder:
        show("SQLite", await passes(f"sqlite:///{folder}/bench.db", found), count, bare)
    on_postgres = await postgres(found)
    if on_postgres is None:
        print("\nPostgreSQL: not measured, no server on 127.0.0.1:5432")
    else:
        show("PostgreSQL", on_postgres, count, bare)


if __name__ == "__main__":
    asyncio.run(main())
