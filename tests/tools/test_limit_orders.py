"""A limit order books once, within its owner's mandate, and says why when it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.sandbox_dial import Fault
from market import agent_keys, alert_book, booking_book, catalogue
from market.alerts import Alert
from market.context import LOCAL_OWNER, Caller
from market.errors import StorageFailed
from tests.buying import Buying, opened
from tests.conftest import ManualClock
from tests.tools.receivers import Receivers
from tools.delivery import Courier
from tools.dispatcher import Dispatcher
from tools.limit_orders import LimitOrders

TERMS: dict[str, Any] = {"max_total": 1000, "duration_hours": 4}


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buying]:
    """A calm cloud beside an empty database."""
    async with opened(tmp_path, clock) as found:
        yield found


@pytest.fixture
def dispatcher(buying: Buying) -> Dispatcher:
    return Dispatcher(buying.market, courier=Courier(buying.market, callout=Receivers()))


async def order(buying: Buying, caller: Caller = LOCAL_OWNER, **arguments: Any) -> str:
    """A limit order on an offer that can be had now, at up to any price."""
    wanted = {"offer_id": await buying.offer(), "when": "price_below", "threshold": 100, "limit_order": TERMS}
    made = await buying.asks("create_alert", caller, **{**wanted, **arguments})
    return str(made.id)


async def alert(buying: Buying, alert_id: str) -> Alert:
    (found,) = await alert_book.some(await buying.store(), [alert_id])
    return found


async def told(buying: Buying, owner: str = "local-owner") -> list[str]:
    events = await alert_book.told(await buying.store(), owner)
    return [event.kind for event in events if event.kind != "alert.created"]


async def test_an_order_that_is_hit_books_once_and_is_spent(buying: Buying, dispatcher: Dispatcher) -> None:
    launch = {"image": "ubuntu", "environment": {"TOKEN": "hunter2"}}
    alert_id = await order(buying, limit_order={**TERMS, "launch": launch, "disk_gb": 50})
    await dispatcher.tick()
    (booking,) = await booking_book.of_caller(await buying.store(), None)
    found = await alert(buying, alert_id)
    assert (found.state, found.booking_id, found.note, found.is_ordering) == ("spent", booking.id, None, False)
    assert (booking.caller, booking.disk_gb) == ("local-owner", 50)
    assert await told(buying) == ["alert.fired", "alert.booked"]
    for _ in range(3):
        buying.clock.advance(timedelta(hours=2))
        await dispatcher.tick()
    assert len(buying.running()) == 1
    (shown,) = (await buying.asks("list_alerts")).items
    assert (shown.state, shown.booking_id, shown.books) == ("spent", booking.id, True)


async def test_an_order_books_on_postgresql_too(tmp_path: Path, clock: ManualClock, postgres_url: str) -> None:
    async with opened(tmp_path, clock, database_url=postgres_url) as buying:
        alert_id = await order(buying)
        await Dispatcher(buying.market).tick()
        assert (await alert(buying, alert_id)).state == "spent"
        assert len(buying.running()) == 1


async def test_what_is_launched_rests_encrypted(buying: Buying) -> None:
    alert_id = await order(
        buying, threshold=0.0001, limit_order={**TERMS, "launch": {"environment": {"TOKEN": "hunter2"}}}
    )
    found = (await alert(buying, alert_id)).limit_order
    assert found is not None
    assert "hunter2" not in found.text()


async def test_a_process_that_dies_after_buying_does_not_buy_again(
    buying: Buying, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert_id = await order(buying)
    whole = alert_book.tell_order

    async def dies(*_arguments: Any, **_named: Any) -> None:
        raise StorageFailed("The disk is full.")

    monkeypatch.setattr(alert_book, "tell_order", dies)
    with pytest.raises(StorageFailed):
        await dispatcher.tick()
    assert len(buying.running()) == 1
    assert (await alert(buying, alert_id)).is_ordering
    monkeypatch.setattr(alert_book, "tell_order", whole)
    await Dispatcher(buying.market, holder=dispatcher._holder).tick()
    assert (await alert(buying, alert_id)).state == "spent"
    assert len(buying.running()) == 1
    assert len(await booking_book.of_caller(await buying.store(), None)) == 1


async def test_a_process_that_dies_between_quote_and_booking_goes_on_with_the_same_quote(
    buying: Buying, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert_id = await order(buying)

    def dies(*_arguments: Any) -> dict[str, Any]:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(LimitOrders, "_purchase", dies)
        with suppress(MemoryError):
            await dispatcher.tick()
    before = (await alert(buying, alert_id)).limit_order
    assert before is not None
    assert before.quote_id is not None
    assert not buying.running()
    await dispatcher.tick()
    (booking,) = await booking_book.of_caller(await buying.store(), None)
    assert booking.quote_id == before.quote_id


async def test_an_order_above_its_cap_buys_nothing_and_tries_again_only_after_a_while(
    buying: Buying, dispatcher: Dispatcher
) -> None:
    alert_id = await order(buying, quiet_minutes=0, limit_order={**TERMS, "max_total": 0.01})
    await dispatcher.tick()
    found = await alert(buying, alert_id)
    assert found.state == "armed"
    assert "above your cap" in (found.note or "")
    assert not buying.running()
    assert await buying.held() == 0
    assert await told(buying) == ["alert.fired", "alert.refused"]
    buying.clock.advance(timedelta(minutes=4))
    await dispatcher.tick()
    assert await told(buying) == ["alert.fired", "alert.refused"]
    buying.clock.advance(timedelta(minutes=1))
    await dispatcher.tick()
    assert await told(buying) == ["alert.fired", "alert.refused"] * 2


async def test_without_capacity_it_is_tried_again_and_then_books(buying: Buying, dispatcher: Dispatcher) -> None:
    alert_id = await order(buying, quiet_minutes=0)
    buying.world.dial.script("launch", [Fault("refusal", "no_capacity")])
    await dispatcher.tick()
    assert "nothing could be had" in ((await alert(buying, alert_id)).note or "")
    assert not buying.running()
    buying.clock.advance(timedelta(minutes=10))
    await dispatcher.tick()
    assert (await alert(buying, alert_id)).state == "spent"
    assert len(buying.running()) == 1


async def test_the_limit_holds_for_the_price_asked_for_at_the_moment_of_buying(
    buying: Buying, dispatcher: Dispatcher
) -> None:
    offer_id = await buying.offer()
    listed = (await buying.market.snapshot()).get(offer_id)
    assert listed is not None
    assert listed.price_per_hour is not None
    old = Decimal("0.0001")
    stale = replace(listed, price_per_hour=old, price_per_hour_usd=old)
    await catalogue.record(
        await buying.store(), "sandbox", [stale], seen_at=buying.clock.now() + timedelta(seconds=1), complete=False
    )
    alert_id = await order(buying, offer_id=offer_id, threshold=0.001)
    await dispatcher.tick()
    found = await alert(buying, alert_id)
    assert "above the limit" in (found.note or "")
    assert not buying.running()


async def agent(buying: Buying, **mandate: Any) -> Caller:
    key = await buying.asks("create_key", name="buyer")
    await buying.asks("create_mandate", agent=key.id, **{"budget": 1000, **mandate})
    return await agent_keys.caller_behind(await buying.store(), key.id, buying.clock.now())


async def test_an_agents_order_is_bound_by_its_mandate_when_it_is_hit(buying: Buying, dispatcher: Dispatcher) -> None:
    buyer = await agent(buying, max_hours=2)
    alert_id = await order(buying, buyer)
    await dispatcher.tick()
    found = await alert(buying, alert_id)
    assert (found.state, found.is_ordering) == ("fired", False)
    assert (found.note or "").startswith("MANDATE_REFUSED")
    assert await told(buying, buyer.identity) == ["alert.fired", "alert.refused"]
    assert not buying.running()


async def test_a_revoked_key_buys_nothing(buying: Buying, dispatcher: Dispatcher) -> None:
    buyer = await agent(buying)
    alert_id = await order(buying, buyer)
    await buying.asks("revoke_key", key=buyer.identity)
    await dispatcher.tick()
    assert "revoked" in ((await alert(buying, alert_id)).note or "")
    assert not buying.running()


async def test_over_the_threshold_a_person_is_asked_once_and_then_it_books(
    buying: Buying, dispatcher: Dispatcher
) -> None:
    buyer = await agent(buying, approval_above=0)
    alert_id = await order(buying, buyer)
    await dispatcher.tick()
    for _ in range(3):
        buying.clock.advance(timedelta(seconds=31))
        await dispatcher.tick()
    assert await told(buying, buyer.identity) == ["alert.fired", "alert.waiting"]
    assert not buying.running()
    (question,) = (await buying.asks("list_approvals")).items
    await buying.asks("decide_approval", approval_id=question.id, approved=True)
    buying.clock.advance(timedelta(seconds=31))
    await dispatcher.tick()
    assert (await alert(buying, alert_id)).state == "spent"
    assert len(buying.running()) == 1


async def test_an_order_that_a_person_declines_is_over(buying: Buying, dispatcher: Dispatcher) -> None:
    buyer = await agent(buying, approval_above=0)
    alert_id = await order(buying, buyer)
    await dispatcher.tick()
    (question,) = (await buying.asks("list_approvals")).items
    await buying.asks("decide_approval", approval_id=question.id, approved=False)
    buying.clock.advance(timedelta(minutes=1))
    await dispatcher.tick()
    found = await alert(buying, alert_id)
    assert (found.state, found.is_ordering) == ("fired", False)
    assert "declined" in (found.note or "")


async def test_an_order_that_is_deleted_before_it_is_tried_buys_nothing(buying: Buying) -> None:
    from tools.alerting import Alerting

    alert_id = await order(buying)
    await Alerting(buying.market).round()
    assert (await alert(buying, alert_id)).is_ordering
    await buying.asks("delete_alert", alert_id=alert_id)
    await LimitOrders(buying.market).round()
    assert not buying.running()
