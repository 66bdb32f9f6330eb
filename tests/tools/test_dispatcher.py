"""What follows from the outbox is done by one process at a time, in one round when nothing hinders it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from market import outbox
from market.context import Market
from market.errors import StorageFailed
from market.settings import Settings
from tests.conftest import ManualClock
from tests.market.offer_samples import made
from tests.tools.conftest import ask, stocked
from tests.tools.receivers import Receivers
from tests.tools.test_scheduler import Pauses
from tools.delivery import Courier
from tools.dispatcher import LEASE_TIME, ROUND_SECONDS, Dispatcher

OFFER = "aws:a:us-east-1"


@pytest.fixture
async def other(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Market]:
    """Another process on the same file."""
    opened = Market(Settings(data_dir=tmp_path), clock=clock, version_check_seconds=0)
    yield opened
    await opened.close()


@pytest.fixture
async def priced(market: Market) -> Market:
    await stocked(market, made(OFFER, "3"))
    return market


def dispatcher(market: Market, receivers: Receivers) -> Dispatcher:
    return Dispatcher(market, courier=Courier(market, callout=receivers))


async def test_an_alert_that_fires_has_reached_the_webhook_in_the_same_tick(priced: Market) -> None:
    receivers = Receivers()
    await ask(priced, "create_webhook", url="https://hooks.example/in", events=["alert.fired"])
    await ask(priced, "create_alert", offer_id=OFFER, when="price_below", threshold=3)
    await dispatcher(priced, receivers).tick()
    (body,) = receivers.bodies()
    assert (body["type"], body["data"]["new"]) == ("alert.fired", "3")


async def test_one_process_works_and_the_other_goes_on_when_it_is_gone(
    priced: Market, other: Market, clock: ManualClock
) -> None:
    receivers = Receivers()
    first, second = dispatcher(priced, receivers), dispatcher(other, receivers)
    await first.tick()
    await ask(priced, "create_webhook", url="https://hooks.example/in")
    await ask(priced, "create_alert", offer_id=OFFER, when="price_below", threshold=3)
    assert await second.tick() == 0
    assert receivers.calls == []
    clock.advance(LEASE_TIME)
    assert await second.tick() > 0
    assert await first.tick() == 0
    assert sorted(one["type"] for one in receivers.bodies()) == ["alert.created", "alert.fired"]


async def test_whoever_gets_the_lease_back_reads_the_alerts_anew(
    priced: Market, other: Market, clock: ManualClock
) -> None:
    receivers = Receivers()
    first, second = dispatcher(priced, receivers), dispatcher(other, receivers)
    await first.tick()
    clock.advance(LEASE_TIME)
    alert = await ask(other, "create_alert", offer_id=OFFER, when="price_below", threshold=2, quiet_minutes=0)
    await second.tick()
    clock.advance(LEASE_TIME)
    await stocked(priced, made(OFFER, "1"))
    await first.tick()
    (shown,) = (await ask(priced, "list_alerts")).items
    assert (shown.id, shown.times_fired) == (alert.id, 1)


async def test_the_loops_go_on_after_a_failure_and_give_the_lease_back(
    priced: Market, other: Market, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses, receivers = Pauses(), Receivers()
    runner = Dispatcher(priced, courier=Courier(priced, callout=receivers), sleep=pauses)
    whole = outbox.read_after
    failing = True

    async def fails(*arguments: object) -> list[outbox.Event]:
        if failing:
            raise StorageFailed("The disk is full.")
        return await whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(outbox, "read_after", fails)
    await ask(priced, "create_webhook", url="https://hooks.example/in")
    await ask(priced, "create_alert", offer_id=OFFER, when="price_below", threshold=3)
    running = asyncio.create_task(runner.run())
    await pauses.reached(5)
    assert set(pauses.asked) == {ROUND_SECONDS}
    assert receivers.calls == []
    failing = False
    for reached in range(5, 60, 5):
        if len(receivers.calls) == 2:
            break
        await pauses.end(reached)
        await pauses.reached(reached + 5)
    assert {one["type"] for one in receivers.bodies()} == {"alert.created", "alert.fired"}
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "The disk is full" in caplog.text
    await dispatcher(other, receivers).tick()


async def test_old_deliveries_are_removed_once_a_day(priced: Market, clock: ManualClock) -> None:
    receivers = Receivers()
    runner = dispatcher(priced, receivers)
    hook = await ask(priced, "create_webhook", url="https://hooks.example/in")
    await ask(priced, "create_alert", offer_id=OFFER, when="price_below", threshold=1)
    await runner.tick()
    assert len((await ask(priced, "list_deliveries", webhook_id=hook.id)).items) == 1
    clock.advance(timedelta(days=31))
    await runner.tick()
    kinds = [one.kind for one in (await ask(priced, "list_deliveries", webhook_id=hook.id)).items]
    assert kinds == ["alert.expired"]
