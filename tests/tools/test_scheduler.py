"""One scheduler at a time, each provider by its own interval."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.base import Adapter
from market import catalogue, leases
from market.context import Market
from market.settings import Settings
from tests.conftest import ManualClock
from tests.tools.providers import Answers, provider, row
from tools import scheduler
from tools.scheduler import LEASE, LEASE_TIME, RENEW_SECONDS, LeaseLost, Scheduler, is_due

Chosen = Callable[..., None]


class Pauses:
    """A sleep that lasts until the test ends it."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._begun = asyncio.Condition()
        self._released = 0

    async def __call__(self, seconds: float) -> None:
        async with self._begun:
            self.asked.append(seconds)
            mine = len(self.asked)
            self._begun.notify_all()
            await self._begun.wait_for(lambda: self._released >= mine)

    async def reached(self, count: int) -> None:
        """Wait until somebody sleeps for the so manieth time."""
        async with self._begun:
            await self._begun.wait_for(lambda: len(self.asked) >= count)

    async def end(self, count: int) -> None:
        """Let the first so many sleeps end."""
        async with self._begun:
            self._released = count
            self._begun.notify_all()


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Chosen:
    """Choose which providers there are."""

    def choose(*adapters: type[Adapter]) -> None:
        monkeypatch.setattr(scheduler, "chosen", lambda _names: list(adapters))

    return choose


@pytest.fixture
async def other(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Market]:
    """Another process on the same file."""
    opened = Market(Settings(data_dir=tmp_path), clock=clock, version_check_seconds=0)
    yield opened
    await opened.close()


async def test_each_provider_is_asked_again_after_its_own_interval(
    market: Market, clock: ManualClock, known: Chosen
) -> None:
    known(provider("often", interval=timedelta(minutes=5)), provider("seldom", interval=timedelta(hours=1)))
    answers = Answers({"often": [row("a")], "seldom": [row("a")]})
    keeper = Scheduler(market, connect=answers.connect)
    await keeper.tick()
    await keeper.tick()
    assert sorted(answers.asked) == ["often", "seldom"]
    clock.advance(timedelta(minutes=5))
    assert [run.provider for run in await keeper.tick()] == ["often"]
    clock.advance(timedelta(minutes=55))
    assert {run.provider for run in await keeper.tick()} == {"often", "seldom"}


async def test_one_holder_works_and_the_other_takes_over_when_it_is_gone(
    market: Market, other: Market, clock: ManualClock, known: Chosen
) -> None:
    known(provider("acme", interval=timedelta(seconds=1)))
    answers = Answers({"acme": [row("a")]})
    first, second = Scheduler(market, connect=answers.connect), Scheduler(other, connect=answers.connect)
    assert len(await first.tick()) == 1
    clock.advance(LEASE_TIME / 2)
    assert await second.tick() == []
    assert len(await first.tick()) == 1
    clock.advance(LEASE_TIME * 0.9)
    assert await second.tick() == []
    clock.advance(LEASE_TIME * 0.2)
    assert len(await second.tick()) == 1
    assert await first.tick() == []


async def test_a_long_pass_keeps_the_lease_by_renewing_it(
    market: Market, other: Market, clock: ManualClock, known: Chosen
) -> None:
    known(provider("acme"))
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        asked.set()
        await answer.wait()

    pauses = Pauses()
    answers = Answers({"acme": [row("a")]}, waits={"acme": slowly})
    working = asyncio.create_task(Scheduler(market, connect=answers.connect, sleep=pauses).tick())
    await asked.wait()
    for renewal in range(1, 9):
        await pauses.reached(renewal)
        clock.advance(timedelta(seconds=RENEW_SECONDS))
        await pauses.end(renewal)
    await pauses.reached(9)
    # twice the lease has passed, and it is still held
    assert timedelta(seconds=8 * RENEW_SECONDS) >= 2 * LEASE_TIME
    assert not await leases.take(await other.store(), LEASE, "other", LEASE_TIME, clock.now())
    answer.set()
    assert [run.error for run in await working] == [None]


async def test_a_pass_whose_lease_is_lost_stops_at_once(
    market: Market, other: Market, clock: ManualClock, known: Chosen
) -> None:
    known(provider("acme"))
    asked = asyncio.Event()

    async def never() -> None:
        asked.set()
        await asyncio.Event().wait()

    pauses = Pauses()
    answers = Answers({"acme": [row("a")]}, waits={"acme": never})
    working = asyncio.create_task(Scheduler(market, connect=answers.connect, sleep=pauses).tick())
    await asked.wait()
    await pauses.reached(1)
    clock.advance(LEASE_TIME)
    assert await leases.take(await other.store(), LEASE, "other", LEASE_TIME, clock.now())
    await pauses.end(1)
    with pytest.raises(LeaseLost):
        await working
    assert "acme" not in await catalogue.provider_states(await market.store())


async def test_a_scheduler_that_ends_gives_the_lease_back_and_survives_a_bad_round(
    market: Market, other: Market, clock: ManualClock, known: Chosen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "chosen", lambda _names: 1 / 0)
    pauses = Pauses()
    answers = Answers({"acme": [row("a")]})
    running = asyncio.create_task(Scheduler(market, connect=answers.connect, sleep=pauses).run())
    await pauses.reached(1)
    known(provider("acme"))
    await pauses.end(1)
    # the second sleep is that of the renewal beside the pass, the third that after it
    await pauses.reached(3)
    assert answers.asked == ["acme"]
    assert not await leases.take(await other.store(), LEASE, "other", LEASE_TIME, clock.now())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await leases.take(await other.store(), LEASE, "other", LEASE_TIME, clock.now())


async def test_what_nobody_confirms_is_dropped_in_time(market: Market, clock: ManualClock, known: Chosen) -> None:
    known(provider("acme", drop_after=timedelta(days=7)))
    answers = Answers({"acme": [row("a")]})
    keeper = Scheduler(market, connect=answers.connect)
    await keeper.tick()
    answers.rows["acme"] = 500
    clock.advance(timedelta(days=7))
    await keeper.tick()
    assert (await market.refresh()).count == 1
    clock.advance(timedelta(minutes=6))
    await keeper.tick()
    assert (await market.refresh()).count == 0


def test_a_provider_never_asked_is_due(clock: ManualClock) -> None:
    acme = provider("acme", interval=timedelta(minutes=5))
    assert is_due(acme, None, clock.now())
    assert is_due(acme, catalogue.ProviderHealth(name="acme"), clock.now())
    asked = catalogue.ProviderHealth(name="acme", last_attempt_at=clock.now())
    assert not is_due(acme, asked, clock.now() + timedelta(minutes=4))
    assert is_due(acme, asked, clock.now() + timedelta(minutes=5))
