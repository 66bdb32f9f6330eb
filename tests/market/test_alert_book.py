"""Alerts in the database: what fires is told in the same transaction, and only while it is as it was judged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from market import alert_book, outbox
from market.alerts import Alert, Condition, Firing, Target
from market.store import Store
from tests.conftest import ManualClock


def alert(number: int, clock: ManualClock) -> Alert:
    return Alert(
        id=f"alert-{number:016x}",
        owner=f"owner-{number % 3}",
        target=Target(offer_id=f"a:b:{number}"),
        condition=Condition("price_below", Decimal(2)),
        state="armed",
        quiet_minutes=0,
        times_fired=0,
        created_at=clock.now(),
        expires_at=clock.now() + timedelta(days=1),
    )


def firing(one: Alert) -> Firing:
    return Firing(alert=one, event="7", old=Decimal(3), new=Decimal("1.5"), offer_id=one.target.offer_id)


async def kept(store: Store, clock: ManualClock, count: int) -> list[Alert]:
    """So many alerts in the database, their making read."""
    made = [alert(number, clock) for number in range(count)]
    async with store.write() as connection:
        for one in made:
            await alert_book.add(connection, one)
    return made


async def told(store: Store) -> list[outbox.Event]:
    events = await outbox.read_after(store, "test", 10_000)
    return [event for event in events if event.kind == "alert.fired"]


async def test_alerts_read_back_as_they_were_kept(store: Store, clock: ManualClock) -> None:
    made = await kept(store, clock, 5)
    assert sorted(await alert_book.live(store), key=lambda one: one.id) == made
    assert await alert_book.of_owner(store, "owner-0", alert_id=made[3].id) == [made[3]]
    assert await alert_book.of_owner(store, "owner-1", alert_id=made[3].id) == []
    assert await alert_book.some(store, [made[1].id, "alert-none"]) == [made[1]]


async def test_firing_is_written_and_told_together_or_not_at_all(store: Store, clock: ManualClock) -> None:
    made = await kept(store, clock, 700)

    async def dies_before_the_end() -> None:
        async with store.write() as connection:
            await alert_book.fire(connection, [firing(one) for one in made], clock.now())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await dies_before_the_end()
    assert (await told(store), {one.state for one in await alert_book.live(store)}) == ([], {"armed"})
    async with store.write() as connection:
        written = await alert_book.fire(connection, [firing(one) for one in made], clock.now())
    assert len(written) == 700
    events = await told(store)
    assert {event.subject: event.owner for event in events} == {one.id: one.owner for one in made}
    assert {(one.state, one.times_fired, one.last_event) for one in await alert_book.live(store)} == {("fired", 1, "7")}


async def test_who_was_judged_by_an_old_state_is_left_alone(store: Store, clock: ManualClock) -> None:
    first, second, third = await kept(store, clock, 3)
    async with store.write() as connection:
        await alert_book.fire(connection, [firing(first)], clock.now())
        assert await alert_book.remove(connection, second.owner, second.id, clock.now())
    async with store.write() as connection:
        again = await alert_book.fire(connection, [firing(one) for one in (first, second, third)], clock.now())
        assert [one.id for one in again] == [third.id]
        assert await alert_book.rearm(connection, [first]) == []
        assert await alert_book.expire(connection, [first], clock.now()) == []
    assert [event.subject for event in await told(store)] == [first.id, third.id]


async def test_what_one_owner_is_told_goes_on_from_an_event(store: Store, clock: ManualClock) -> None:
    made = await kept(store, clock, 4)
    async with store.write() as connection:
        await alert_book.fire(connection, [firing(one) for one in made], clock.now())
    every = await alert_book.told(store, "owner-0")
    assert [(event.kind, event.subject) for event in every] == [
        (kind, made[number].id) for kind in ("alert.created", "alert.fired") for number in (0, 3)
    ]
    assert await alert_book.told(store, "owner-0", since=every[1].id) == every[2:]
    assert await alert_book.told(store, "nobody") == []


async def test_the_state_of_an_order_is_changed_by_one_only(store: Store, clock: ManualClock) -> None:
    (one,) = await kept(store, clock, 1)
    noted = replace(one, note="first")
    spent = replace(one, state="spent")
    async with store.write() as connection:
        assert await alert_book.note_order(connection, one, spent)
    async with store.write() as connection:
        assert not await alert_book.note_order(connection, one, noted)
    assert await alert_book.some(store, [one.id]) == [spent]


async def test_what_is_over_goes_after_ninety_days_and_what_is_live_stays(store: Store, clock: ManualClock) -> None:
    first, second, third = await kept(store, clock, 3)
    async with store.write() as connection:
        await alert_book.expire(connection, [first], clock.now())
        await alert_book.note_order(connection, second, replace(second, state="spent"))
        assert await alert_book.prune(connection, clock.now() + timedelta(days=91)) == 0
        assert await alert_book.prune(connection, clock.now() + timedelta(days=92)) == 2
    assert [one.id for one in await alert_book.some(store, [first.id, second.id, third.id])] == [third.id]
