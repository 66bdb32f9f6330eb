"""The queue of deliveries on both databases: taken by one, in turn, and over after three days."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from market import favourites, outbox, webhook_book
from market.favourites import Favourite, SavedSearch
from market.store import Store
from market.webhook_book import Delivery, Webhook, new_delivery
from tests.conftest import ManualClock

SEALED, RESEALED = "v1.sealed", "v1.b"


def hook(number: int, clock: ManualClock, **facts: object) -> Webhook:
    made = Webhook(
        id=f"webhook-{number}",
        owner="me",
        url=f"https://h{number}.example/",
        sealed_secret=SEALED,
        events=("alert.fired", "booking.*"),
        created_at=clock.now(),
    )
    return replace(made, **facts)  # type: ignore[arg-type]  # a test names what differs


async def queued(store: Store, clock: ManualClock, hooks: int, each: int) -> list[Delivery]:
    """So many webhooks with so many deliveries each."""
    found = [hook(number, clock) for number in range(hooks)]
    deliveries = [
        new_delivery(one.id, number, "alert.fired", "{}", clock.now()) for number in range(each) for one in found
    ]
    async with store.write() as connection:
        for one in found:
            await webhook_book.add(connection, one)
        await webhook_book.queue(connection, deliveries)
    return deliveries


def test_what_concerns_everybody_is_sent_to_those_who_name_it(clock: ManualClock) -> None:
    named, everything = hook(1, clock), hook(2, clock, events=("*",))
    assert named.wants("alert.fired", concerns_everybody=False)
    assert named.wants("booking.active", concerns_everybody=False)
    assert not named.wants("alert.created", concerns_everybody=False)
    assert everything.wants("alert.created", concerns_everybody=False)
    assert not everything.wants("prices.changed", concerns_everybody=True)
    assert hook(3, clock, events=("prices.*",)).wants("prices.changed", concerns_everybody=True)


async def test_a_webhook_reads_back_as_it_was_kept_and_is_its_owners(store: Store, clock: ManualClock) -> None:
    made = hook(1, clock)
    async with store.write() as connection:
        await webhook_book.add(connection, made)
    assert await webhook_book.of_owner(store, "me") == [made]
    assert await webhook_book.of_owner(store, "other", made.id) == []
    async with store.write() as connection:
        assert not await webhook_book.rotate(
            connection, "other", made.id, sealed_secret=RESEALED, sealed_previous_secret=None
        )
        assert not await webhook_book.remove(connection, "other", made.id)
        assert await webhook_book.remove(connection, "me", made.id)


async def test_each_webhook_has_its_turn_however_much_waits_for_another(store: Store, clock: ManualClock) -> None:
    await queued(store, clock, hooks=1, each=50)
    late = hook(9, clock)
    async with store.write() as connection:
        await webhook_book.add(connection, late)
        await webhook_book.queue(
            connection, [new_delivery(late.id, 99, "alert.fired", "{}", clock.now() + timedelta(seconds=1))]
        )
    clock.advance(timedelta(seconds=2))
    due = await webhook_book.due(store, clock.now())
    assert [(one.webhook_id, one.event_id) for one, _ in due] == [("webhook-0", 0), ("webhook-0", 1), ("webhook-9", 99)]


async def test_of_many_who_claim_a_delivery_one_has_it_until_its_time_is_over(store: Store, clock: ManualClock) -> None:
    deliveries = await queued(store, clock, hooks=5, each=2)
    ids = [one.id for one in deliveries]
    now = clock.now()

    async def claims() -> set[str]:
        async with store.write() as connection:
            return await webhook_book.claim(connection, ids, now, now + timedelta(minutes=2))

    taken = await asyncio.gather(*[claims() for _ in range(8)])
    assert sorted(one for some in taken for one in some) == sorted(ids)
    assert await webhook_book.due(store, now) == []
    assert len(await webhook_book.due(store, now + timedelta(minutes=2))) == 10


async def test_a_webhook_is_disabled_once_and_what_waits_is_given_up(store: Store, clock: ManualClock) -> None:
    first, *_ = await queued(store, clock, hooks=1, each=3)
    later = clock.advance(webhook_book.GIVEN_UP_AFTER)
    async with store.write() as connection:
        assert await webhook_book.missed(
            connection, first, status=500, error="status 500", now=later, next_attempt_at=later
        )
        assert not await webhook_book.disable(connection, first.webhook_id, "again", later)
    assert {one.state for one in await webhook_book.deliveries_of(store, first.webhook_id)} == {"given_up"}
    told = [event for event in await outbox.read_after(store, "test") if event.kind == "webhook.disabled"]
    assert [(event.owner, event.subject) for event in told] == [("me", first.webhook_id)]
    assert await webhook_book.due(store, later) == []
    async with store.write() as connection:
        assert await webhook_book.replay(connection, first.webhook_id, later, delivery_id=first.id, since=None) == 1
    ((again, enabled),) = await webhook_book.due(store, later)
    assert (again.event_id, again.attempts, enabled.disabled_at) == (first.event_id, 0, None)


async def test_one_that_took_something_lately_is_not_disabled_for_one_it_never_takes(
    store: Store, clock: ManualClock
) -> None:
    first, second = await queued(store, clock, hooks=1, each=2)
    later = clock.advance(webhook_book.GIVEN_UP_AFTER)
    async with store.write() as connection:
        await webhook_book.arrived(connection, second, 200, later - timedelta(days=1))
        assert not await webhook_book.missed(
            connection, first, status=400, error="status 400", now=later, next_attempt_at=later
        )
    (kept,) = await webhook_book.of_owner(store, "me")
    assert kept.disabled_at is None


async def test_a_delivery_to_a_webhook_that_is_gone_is_left_out(store: Store, clock: ManualClock) -> None:
    async with store.write() as connection:
        await webhook_book.queue(connection, [new_delivery("webhook-none", 1, "alert.fired", "{}", clock.now())])
    assert await webhook_book.due(store, clock.now()) == []


async def test_what_is_over_is_removed_after_thirty_days_and_what_waits_stays(store: Store, clock: ManualClock) -> None:
    first, second = await queued(store, clock, hooks=1, each=2)
    async with store.write() as connection:
        await webhook_book.arrived(connection, first, 200, clock.now())
        assert await webhook_book.prune(connection, clock.now() + timedelta(days=31)) == 1
    assert [one.id for one in await webhook_book.deliveries_of(store, first.webhook_id)] == [second.id]


async def test_favourites_and_searches_are_kept_once_each(store: Store, clock: ManualClock) -> None:
    async with store.write() as connection:
        for note in ("a", "b"):
            await favourites.keep(connection, "me", Favourite("x:y:z", note, clock.now()))
            await favourites.save_search(connection, "me", SavedSearch("mine", f'{{"q": "{note}"}}', clock.now()))
    assert await favourites.kept(store, "me") == [Favourite("x:y:z", "b", clock.now())]
    assert await favourites.search_of(store, "me", "mine") == '{"q": "b"}'
    assert await favourites.search_of(store, "other", "mine") is None
