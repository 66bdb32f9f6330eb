"""The outbox: told if and only if it happened, in one order, to every consumer, however late it commits."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from market import outbox
from market.outbox import KEPT, Event
from market.store import Store
from tests.conftest import ManualClock


async def _publish(store: Store, clock: ManualClock, *subjects: str, **payload: Any) -> None:
    async with store.write() as connection:
        for subject in subjects:
            await _tell(connection, clock, subject, **payload)


async def _tell(connection: Any, clock: ManualClock, subject: str, **payload: Any) -> None:
    await outbox.publish(
        connection, at=clock.now(), kind="booking.active", subject=subject, owner="local-owner", payload=payload
    )


async def _drained(store: Store, consumer: str, limit: int = 500) -> list[str]:
    """The subjects a consumer is given until nothing is left."""
    seen: list[str] = []
    while events := await outbox.read_after(store, consumer, limit):
        seen += [event.subject for event in events]
        await outbox.advance(store, consumer, events[-1].position)
    return seen


async def test_an_event_is_read_as_it_was_published(store: Store, clock: ManualClock) -> None:
    await _publish(store, clock, "booking-1", spent="1.25", machines=["a", "b"])
    (event,) = await outbox.read_after(store, "mail")
    assert event == Event(
        id=event.id,
        at=clock.now(),
        kind="booking.active",
        subject="booking-1",
        owner="local-owner",
        payload={"spent": "1.25", "machines": ["a", "b"]},
    )


async def test_what_did_not_happen_is_not_told(store: Store, clock: ManualClock) -> None:
    async def fail() -> None:
        async with store.write() as connection:
            await _tell(connection, clock, "never")
            raise LookupError("after the event")

    with pytest.raises(LookupError):
        await fail()
    await _publish(store, clock, "real")
    assert await _drained(store, "mail") == ["real"]


@pytest.mark.requirement("NFR-S3")
async def test_events_come_again_until_the_consumer_has_dealt_with_them(store: Store, clock: ManualClock) -> None:
    await _publish(store, clock, "a", "b", "c")
    first = await outbox.read_after(store, "mail", limit=2)
    assert [event.subject for event in first] == ["a", "b"]
    assert await outbox.read_after(store, "mail", limit=2) == first
    await outbox.advance(store, "mail", first[0].position)
    assert [event.subject for event in await outbox.read_after(store, "mail")] == ["b", "c"]


async def test_each_consumer_has_a_place_of_its_own(store: Store, clock: ManualClock) -> None:
    await _publish(store, clock, "a", "b")
    assert await _drained(store, "mail") == ["a", "b"]
    assert await _drained(store, "webhooks", limit=1) == ["a", "b"]
    await _publish(store, clock, "c")
    assert await _drained(store, "mail") == ["c"]


async def test_a_place_never_moves_back(store: Store, clock: ManualClock) -> None:
    await _publish(store, clock, "a", "b")
    first, second = await outbox.read_after(store, "mail")
    await outbox.advance(store, "mail", second.position)
    await outbox.advance(store, "mail", first.position)
    assert await outbox.read_after(store, "mail") == []


async def test_a_place_is_kept_with_what_was_done_or_not_at_all(store: Store, clock: ManualClock) -> None:
    await _publish(store, clock, "a")
    (event,) = await outbox.read_after(store, "mail")

    async def fail() -> None:
        async with store.write() as connection:
            await outbox.advance(connection, "mail", event.position)
            raise LookupError("after the place")

    with pytest.raises(LookupError):
        await fail()
    assert await outbox.read_after(store, "mail") == [event]


async def test_events_cannot_be_changed(store: Store, clock: ManualClock) -> None:
    await _publish(store, clock, "a")
    with pytest.raises(IntegrityError):
        async with store.write() as connection:
            await connection.execute(text("UPDATE outbox SET subject = 'b'"))


async def test_a_row_that_commits_after_a_later_one_was_read_is_not_skipped(
    postgres_url: str, clock: ManualClock
) -> None:
    store = await Store.open(postgres_url)
    async with store.write() as late:
        await _tell(late, clock, "took the lower number")
        await _publish(store, clock, "was committed first")
        assert await _drained(store, "mail") == []  # held back: the lower number may still appear
    assert await _drained(store, "mail") == ["took the lower number", "was committed first"]
    await store.close()


async def test_what_came_before_a_slow_publisher_is_not_held_back(postgres_url: str, clock: ManualClock) -> None:
    store = await Store.open(postgres_url)
    await _publish(store, clock, "before")
    async with store.write() as slow:
        await _tell(slow, clock, "slow")
        await _publish(store, clock, "after")
        assert await _drained(store, "mail") == ["before"]
        await _tell(slow, clock, "slow again")
        await _publish(store, clock, "last")
        assert await _drained(store, "mail") == []
    assert await _drained(store, "mail") == ["slow", "after", "slow again", "last"]
    await store.close()


async def test_a_writer_that_has_not_published_holds_nobody_up_and_is_not_skipped(
    postgres_url: str, clock: ManualClock
) -> None:
    store = await Store.open(postgres_url)
    async with store.write() as old:
        await old.execute(text("SELECT pg_current_xact_id()"))  # an older transaction than the one that follows
        await _publish(store, clock, "younger")
        assert await _drained(store, "mail") == ["younger"]
        await _tell(old, clock, "older")
    assert await _drained(store, "mail") == ["older"]
    await store.close()


async def test_publishers_of_another_database_hold_nobody_up(postgres_url: str, clock: ManualClock) -> None:
    store = await Store.open(postgres_url)
    maintenance = create_async_engine(make_url(postgres_url).set(database="postgres"))
    async with maintenance.connect() as elsewhere, elsewhere.begin():
        await elsewhere.execute(text(f"SELECT pg_advisory_xact_lock_shared({0x6F75}::bigint << 48)"))
        await _publish(store, clock, "here")
        assert await _drained(store, "mail") == ["here"]
    await maintenance.dispose()
    await store.close()


async def test_a_transaction_that_fails_holds_nobody_up_afterwards(postgres_url: str, clock: ManualClock) -> None:
    store = await Store.open(postgres_url)

    async def fail() -> None:
        async with store.write() as connection:
            await _tell(connection, clock, "never")
            await _publish(store, clock, "real")
            raise LookupError("at the end")

    with pytest.raises(LookupError):
        await fail()
    assert await _drained(store, "mail") == ["real"]
    await store.close()


@pytest.mark.requirement("NFR-S3")
@pytest.mark.parametrize("seed", range(3))
async def test_a_reader_among_many_writers_sees_every_event_once(store: Store, clock: ManualClock, seed: int) -> None:
    chance = random.Random(seed)
    published: set[str] = set()
    seen: list[str] = []

    async def write(number: int) -> None:
        async with store.write() as connection:
            for part in range(chance.randrange(1, 4)):
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                await _tell(connection, clock, f"{number}-{part}")
                published.add(f"{number}-{part}")

    async def read(writers: asyncio.Task[Any]) -> None:
        while not writers.done():
            seen.extend(await _drained(store, "mail", limit=3))
        seen.extend(await _drained(store, "mail"))

    writers = asyncio.ensure_future(asyncio.gather(*(write(number) for number in range(30))))
    await read(writers)  # type: ignore[arg-type]  # a gathering future is waited for like a task
    await writers
    assert len(seen) == len(set(seen))
    assert set(seen) == published


async def _count(store: Store) -> int:
    async with store.read() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM outbox"))).scalar_one())


async def _pruned(store: Store, clock: ManualClock) -> int:
    async with store.write() as connection:
        return await outbox.prune(connection, clock.now())


async def test_old_events_stay_until_every_consumer_has_dealt_with_them(store: Store, clock: ManualClock) -> None:
    await _publish(store, clock, "a")
    await _publish(store, clock, "b")
    await _publish(store, clock, "c")
    events = await outbox.read_after(store, "mail")
    await outbox.advance(store, "mail", events[-1].position)
    await outbox.advance(store, "webhooks", events[0].position)
    assert await _pruned(store, clock) == 0
    clock.advance(KEPT + timedelta(seconds=1))
    await _publish(store, clock, "new")
    assert await _pruned(store, clock) == 1
    assert await _drained(store, "webhooks") == ["b", "c", "new"]
    assert await _pruned(store, clock) == 2
    assert await _drained(store, "mail") == ["new"]


async def test_the_number_of_a_pruned_event_is_never_given_again(store: Store, clock: ManualClock) -> None:
    await _publish(store, clock, "a", "b")
    assert await _drained(store, "mail") == ["a", "b"]
    clock.advance(2 * KEPT)
    assert await _pruned(store, clock) == 1
    assert await _count(store) == 1
    await _publish(store, clock, "c")
    assert await _drained(store, "mail") == ["c"]


async def test_without_consumers_age_alone_counts(store: Store, clock: ManualClock) -> None:
    await _publish(store, clock, "a", "b", "c")
    clock.advance(KEPT + timedelta(seconds=1))
    await _publish(store, clock, "new")
    assert await _pruned(store, clock) == 3
