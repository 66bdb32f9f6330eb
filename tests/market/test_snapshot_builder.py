"""Building from the store: everything it holds, as it holds it, with others getting their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from market import catalogue
from market.query import Query
from market.rows import Row, encode
from market.snapshot_builder import build, from_offers, gathered
from market.store import Store
from tests.market.offer_samples import NOON, made, token_offer

EVERYTHING = made(
    "aws:full:us-east-1",
    "17.25",
    form_factor="SXM5",
    interconnect="NVLink",
    cpu_cores=26.0,
    cpu_arch="x86_64",
    ram_gb=200.5,
    storage_gb=1000.0,
    storage_type="nvme",
    network_gbps=3200.0,
    node_count=2,
    currency="EUR",
    price_per_hour=Decimal("15.1"),
    exchange_rate=Decimal("1.1424"),
    exchange_rate_as_of=NOON.date(),
    spot_price=Decimal("4.000001"),
    min_rental_minutes=60,
    max_rental_minutes=600,
    storage_price_per_gb_month=Decimal("0.05"),
    egress_price_per_gb=Decimal("0.01"),
    availability_zone="us-east-1a",
    availability="available",
    availability_evidence="stock 3",
    availability_as_of=NOON,
    security_tier="datacenter",
    reliability=0.995,
    sla_uptime=0.99,
    interruption_band="<5%",
    tokens_per_second=12.5,
    tags=("gdpr", 'gr\u00fcn "quoted"', "hipaa"),
    bookable=True,
)
OFFERS = [EVERYTHING, made(), made("aws:b:x", "1", gpu=None, gpu_raw="Mystery", memory_gb=None), token_offer()]


async def stored(folder: Path) -> Store:
    store = await Store.open(f"sqlite+aiosqlite:///{folder / 'market.db'}")
    for provider in ("aws", "deepinfra"):
        mine = [offer for offer in OFFERS if offer.provider == provider]
        await catalogue.record(store, provider, mine, seen_at=NOON, complete=True)
    return store


async def test_a_snapshot_of_the_store_gives_back_every_offer_as_it_was_recorded(tmp_path: Path) -> None:
    store = await stored(tmp_path)
    try:
        snapshot = await build(store)
        assert snapshot.version == (await catalogue.current(store)).version
    finally:
        await store.close()
    assert snapshot.count == len(OFFERS)
    for offer in OFFERS:
        assert snapshot.get(offer.id) == offer


async def test_what_a_provider_no_longer_lists_is_not_in_the_next_snapshot(tmp_path: Path) -> None:
    store = await stored(tmp_path)
    try:
        before = await build(store)
        dearer = replace(made(), price_per_hour=Decimal(3), price_per_hour_usd=Decimal(3))
        await catalogue.record(store, "aws", [dearer], seen_at=NOON, complete=True)
        after = await build(store)
    finally:
        await store.close()
    assert [offer.id for offer in after.search(Query()).offers] == [dearer.id]
    assert after.version > before.version
    assert before.count == len(OFFERS)


@pytest.mark.requirement("FR-1.4")
async def test_others_get_their_turn_after_every_chunk() -> None:
    turns = 0

    async def chunks() -> AsyncIterator[Sequence[Row]]:
        for number in range(20):
            yield [encode(made(f"aws:{number}:x", "1")).values]

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    snapshot = await gathered(chunks(), 5)
    waiting.cancel()
    assert (snapshot.count, snapshot.version) == (20, 5)
    assert turns >= 20


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1_000])
def test_chunks_join_without_losing_a_row(count: int) -> None:
    offers = [made(f"aws:sku-{number:04}:x", str(1 + number % 7), name=f"box {number}") for number in range(count)]
    snapshot = from_offers(offers)
    assert snapshot.search(Query()).total == count
    assert snapshot.search(Query(text=str(count - 1))).offers[0].name.startswith(f"box {count - 1}"[:5])
    assert snapshot.get(offers[-1].id) == offers[-1]
