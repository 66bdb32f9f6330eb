"""Measured throughputs in the database: tokens a second of one GPU under stated conditions, with source and date.

The specifications of the cards are not here (`market.gpus`, read only), and nothing here is an estimate.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from market.store import Store
from market.tables import benchmarks

if TYPE_CHECKING:
    from market.commitment import Commitment

_CONDITIONS = ("gpu", "model", "precision", "engine", "batch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Tokens a second that one GPU generated for all `batch` requests together, who said so, and when it was measured.

    `gpu` is a canonical name; `recorded_at` and `recorded_by`: when and by whom it was put here.
    """

    gpu: str
    model: str
    precision: str
    engine: str
    batch: int
    tokens_per_second: float
    source: str
    measured_at: datetime
    recorded_at: datetime
    recorded_by: str


async def record(store: Store, found: Throughput, commitment: Commitment | None = None) -> Throughput | None:
    """Keep a measurement in place of the one under the same conditions, which is returned.

    The commitment of the call, when there is one, is begun in the same transaction.
    """
    values: dict[str, Any] = {name: getattr(found, name) for name in found.__slots__}
    news = {name: value for name, value in values.items() if name not in _CONDITIONS}
    conditions = [benchmarks.c[name] == values[name] for name in _CONDITIONS]
    async with store.write() as connection:
        row = (await connection.execute(select(benchmarks).where(*conditions))).one_or_none()
        insert = sqlite.insert if store.dialect == "sqlite" else postgresql.insert
        statement = insert(benchmarks).values(**values)
        await connection.execute(statement.on_conflict_do_update(index_elements=_CONDITIONS, set_=news))
        if commitment is not None:
            measured_under = {name: values[name] for name in _CONDITIONS}
            details = {**measured_under, "tokens_per_second": found.tokens_per_second, "source": found.source}
            await commitment.begin(
                connection, action="benchmark.recorded", subject=f"benchmark:{found.gpu}", details=details
            )
    return None if row is None else Throughput(**row._mapping)


async def measured(store: Store, gpus: Collection[str] | None = None) -> list[Throughput]:
    """Every measurement, or those of the GPUs named; by GPU, then the newest first."""
    query = select(benchmarks)
    if gpus is not None:
        query = query.where(benchmarks.c.gpu.in_(list(gpus)))
    order = (benchmarks.c.gpu, benchmarks.c.measured_at.desc(), *(benchmarks.c[name] for name in _CONDITIONS[1:]))
    async with store.read() as connection:
        return [Throughput(**row._mapping) for row in await connection.execute(query.order_by(*order))]
