"""Measured throughputs are kept with their conditions, source and date, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from market import benchmarks
from market.benchmarks import Throughput
from market.store import Store
from market.tables import benchmarks as table

MEASURED = Throughput(
    gpu="A100-SXM4-80GB",
    model="Llama 2 7B",
    precision="fp16",
    engine="vllm 0.6",
    batch=8,
    tokens_per_second=495.5,
    source="https://measured.example/a100",
    measured_at=datetime(2026, 1, 2, tzinfo=UTC),
    recorded_at=datetime(2026, 1, 15, 12, tzinfo=UTC),
    recorded_by="admin",
)


async def test_a_measurement_comes_back_as_it_was_put(store: Store) -> None:
    assert await benchmarks.record(store, MEASURED) is None
    assert await benchmarks.measured(store) == [MEASURED]
    assert await benchmarks.measured(store, ["A100-SXM4-80GB"]) == [MEASURED]
    assert await benchmarks.measured(store, ["T4"]) == []


async def test_the_same_conditions_hold_one_measurement_and_others_another(store: Store) -> None:
    await benchmarks.record(store, MEASURED)
    newer = replace(MEASURED, tokens_per_second=600.0, measured_at=MEASURED.measured_at + timedelta(days=9))
    assert await benchmarks.record(store, newer) == MEASURED
    other = replace(MEASURED, batch=1, tokens_per_second=75.0)
    assert await benchmarks.record(store, other) is None
    assert await benchmarks.measured(store) == [newer, other]


@pytest.mark.parametrize("wrong", [{"tokens_per_second": 0.0}, {"batch": 0}])
async def test_the_database_refuses_a_rate_or_a_batch_that_is_none(store: Store, wrong: dict[str, float]) -> None:
    values = {name: getattr(MEASURED, name) for name in MEASURED.__slots__} | wrong
    with pytest.raises(IntegrityError):
        async with store.write() as connection:
            await connection.execute(insert(table).values(**values))
