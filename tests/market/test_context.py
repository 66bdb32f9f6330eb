"""The shared market: opened once, seeded once, and never behind by more than a second."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from market import catalogue
from market.context import Caller, Market, SystemClock, opened
from market.errors import StorageFailed
from market.settings import Settings
from market.store import Store
from tests.conftest import ManualClock
from tests.market.offer_samples import made


class Seeds:
    """Fills an empty catalogue with one offer, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.times = 0
        self.fails = False

    async def __call__(self, store: Store, now: datetime) -> None:
        self.times += 1
        await asyncio.sleep(0)
        if self.fails:
            raise StorageFailed("The disk is full.")
        await catalogue.record(store, "aws", [made()], seen_at=now, complete=True)


def _market(folder: Path, clock: ManualClock, seeds: Seeds | None = None, often: float = 0) -> Market:
    return Market(Settings(data_dir=folder), clock=clock, seed=seeds, version_check_seconds=often)


async def _grown(market: Market, clock: ManualClock, count: int) -> None:
    offers = [made(f"aws:{number}:us") for number in range(count)]
    await catalogue.record(await market.store(), "aws", offers, seen_at=clock.now(), complete=True)


async def test_fifty_first_callers_open_and_seed_once(tmp_path: Path, clock: ManualClock) -> None:
    seeds = Seeds()
    async with opened(_market(tmp_path, clock, seeds)) as market:
        snapshots = await asyncio.gather(*(market.snapshot() for _ in range(50)))
        assert len({id(snapshot) for snapshot in snapshots}) == 1
        assert (seeds.times, snapshots[0].count) == (1, 1)
        stores = await asyncio.gather(*(market.store() for _ in range(50)))
        assert len({id(store) for store in stores}) == 1


async def test_a_caller_who_gives_up_takes_nothing_from_the_others(tmp_path: Path, clock: ManualClock) -> None:
    seeds = Seeds()
    async with opened(_market(tmp_path, clock, seeds)) as market:
        callers = [asyncio.create_task(market.snapshot()) for _ in range(5)]
        await asyncio.sleep(0)
        callers[0].cancel()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert not any(isinstance(answer, BaseException) for answer in answers[1:])
        assert seeds.times == 1


async def test_a_change_by_another_process_shows_without_waiting(tmp_path: Path, clock: ManualClock) -> None:
    async with opened(_market(tmp_path, clock)) as here, opened(_market(tmp_path, clock)) as there:
        assert (await here.snapshot()).count == 0
        await _grown(there, clock, 3)
        # the first look finds the change and answers from what it has; the build follows behind
        assert (await here.snapshot()).count == 0
        assert (await here.refresh()).count == 3
        assert (await here.snapshot()).count == 3


async def test_health_alone_shows_without_a_new_snapshot(tmp_path: Path, clock: ManualClock) -> None:
    async with opened(_market(tmp_path, clock)) as here, opened(_market(tmp_path, clock)) as there:
        before = await here.snapshot()
        await catalogue.note_health(await there.store(), catalogue.ProviderHealth(name="vast", state="unhealthy"))
        assert (await here.provider_states())["vast"].state == "unhealthy"
        assert await here.snapshot() is before


async def test_between_two_looks_the_database_is_left_alone(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(_market(tmp_path, clock, often=3_600)) as market:
        await market.snapshot()
        looked = []

        async def look(store: Store) -> catalogue.State:
            looked.append(store)
            return catalogue.State(0, 0)

        monkeypatch.setattr(catalogue, "current", look)
        for _ in range(20):
            await market.snapshot()
        assert looked == []
        await market.refresh()
        assert len(looked) == 1


async def test_an_opening_that_failed_can_be_tried_again(tmp_path: Path, clock: ManualClock) -> None:
    folder = tmp_path / "data"
    folder.write_text("a file where the folder should be")
    async with opened(_market(folder, clock, Seeds())) as market:
        for _ in range(2):
            with pytest.raises(StorageFailed):
                await market.snapshot()
        folder.unlink()
        assert (await market.snapshot()).count == 1


async def test_a_seeding_that_failed_is_tried_again(tmp_path: Path, clock: ManualClock) -> None:
    seeds = Seeds()
    seeds.fails = True
    async with opened(_market(tmp_path, clock, seeds)) as market:
        with pytest.raises(StorageFailed, match="disk is full"):
            await market.snapshot()
        seeds.fails = False
        assert (await market.snapshot()).count == 1
        assert seeds.times == 2


async def test_the_view_in_memory_stands_while_the_database_cannot_be_read(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(_store: Store) -> catalogue.State:
        raise StorageFailed("The database is gone.")

    async with opened(_market(tmp_path, clock, Seeds())) as market:
        before = await market.snapshot()
        with monkeypatch.context() as patch:
            patch.setattr(catalogue, "current", down)
            assert await market.snapshot() is before
            with pytest.raises(StorageFailed):
                await market.refresh()
        await _grown(market, clock, 2)
        assert (await market.refresh()).count == 2


async def test_a_closed_market_lets_go_and_can_be_opened_again(tmp_path: Path, clock: ManualClock) -> None:
    market = _market(tmp_path, clock, Seeds())
    first = await market.store()
    await market.snapshot()
    await market.close()
    await market.close()
    assert await market.store() is not first
    assert (await market.snapshot()).count == 1
    await market.close()


def test_the_systems_clock_is_in_utc_and_a_caller_may_what_its_scopes_say() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert now - datetime.now(UTC) < timedelta(minutes=1)
    reader = Caller("reader", frozenset({"market:read"}))
    assert reader.may("market:read")
    assert not reader.may("booking:write")
    assert Caller("owner", frozenset({"*"})).may("booking:write")
