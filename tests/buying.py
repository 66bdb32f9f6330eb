"""A market with a simulated cloud to buy from, on a clock moved by hand: quote, book and let time pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters.sandbox import Sandbox
from adapters.sandbox_cloud import Temper
from market import booking_book, mandate_register
from market.bookings import Booking
from market.context import LOCAL_OWNER, Caller, Context, Market
from market.settings import Settings
from market.store import Store
from tests.conftest import ManualClock
from tests.sandbox import SandboxWorld
from tools.capability import capabilities
from tools.sync import sync
from tools.watchdog import Watchdog


class Buying:
    """One process of the marketplace beside one cloud; `asks` calls a capability through the gate."""

    def __init__(self, market: Market, world: SandboxWorld, clock: ManualClock) -> None:
        self.market, self.world, self.clock = market, world, clock
        self.watchdog = Watchdog(market, serving=False, holder="watchdog-of-the-test")
        self._keys = 0

    async def asks(self, capability: str, /, caller: Caller = LOCAL_OWNER, **arguments: Any) -> Any:
        """A capability called as every door calls it."""
        return await capabilities()[capability].call(Context(self.market, caller), arguments)

    async def offer(self, pricing: str = "on_demand", *, skip: int = 0) -> str:
        """An offer of the cloud that can be had, the cheapest first."""
        wanted: dict[str, Any] = {"provider": ["sandbox"], "pricing": [pricing], "availability": ["available"]}
        found = await self.asks("search_offers", **wanted)
        return str(found.items[skip].id)

    async def quoted(self, offer_id: str | None = None, **wanted: Any) -> Any:
        """A quote of four hours on an available offer."""
        arguments = {"offer_id": offer_id or await self.offer(), "duration_hours": 4, **wanted}
        return await self.asks("quote_offer", **arguments)

    async def books(self, quote: Any = None, **wanted: Any) -> Any:
        """That quote bought, under a fresh key."""
        self._keys += 1
        quote = quote or await self.quoted()
        arguments = {"quote_id": quote.quote_id, "idempotency_key": f"key-{self._keys}", "max_total": 100_000}
        return await self.asks("book_quote", **{**arguments, **wanted})

    async def store(self) -> Store:
        """The database."""
        return await self.market.store()

    async def booking(self, booking_id: str) -> Booking:
        """The booking as it is written."""
        found = await booking_book.get(await self.store(), booking_id)
        assert found is not None
        return found

    async def passes(self, span: timedelta) -> None:
        """Let time pass, with the watchdog looking every five seconds, or twenty times when that is too often."""
        until = self.clock.now() + span
        step = max(timedelta(seconds=5), span / 20)
        while self.clock.now() < until:
            self.clock.advance(min(step, until - self.clock.now()))
            await self.watchdog.tick()

    async def active(self, **wanted: Any) -> Booking:
        """A booking whose machines run."""
        booked = await self.books(**wanted)
        await self.passes(timedelta(minutes=5))
        found = await self.booking(booked.id)
        assert found.state == "active", (found.state, found.reason)
        return found

    def running(self) -> list[str]:
        """The labels of the machines that are not over at the cloud."""
        return [one.label for one in self.world.cloud.machines.values() if one.state != "ended"]

    async def held(self) -> Decimal:
        """What mandates hold for bookings that are not over."""
        entries = await mandate_register.entries(await self.store(), self.market.settings)
        return sum((one.standing.committed for one in entries), Decimal(0))

    async def spent(self) -> Decimal:
        """What was spent for good under all mandates."""
        entries = await mandate_register.entries(await self.store(), self.market.settings)
        assert all(one.standing.overrun == 0 for one in entries)
        return sum((one.standing.spent for one in entries), Decimal(0))


@asynccontextmanager
async def opened(
    folder: Path, clock: ManualClock, *, database_url: str = "", seed: int = 1, temper: Temper | None = None,
    enforce_end: bool = True, world: SandboxWorld | None = None, agent_key: str = "",
) -> AsyncIterator[Buying]:  # fmt: skip
    """A market with the cloud's offers in its catalogue; `agent_key` makes the process an agent's."""
    world = world or SandboxWorld(clock, seed=seed, temper=temper, enforce_end=enforce_end)
    settings = Settings(data_dir=folder, database_url=database_url, sync="off", agent_key=agent_key)
    market = Market(settings, clock=clock, connect=world.connect, version_check_seconds=0)

    async def sleep(seconds: float) -> None:
        clock.advance(timedelta(seconds=seconds))

    market.sleep = sleep
    try:
        await sync(market, [Sandbox], connect=world.connect)
        await market.refresh()
        yield Buying(market, world, clock)
    finally:
        await market.close()


async def balanced(buying: Buying) -> None:
    """The mandate holds what open bookings claim, and has spent what closed ones cost; machines have an owner."""
    all_of_them = await booking_book.of_caller(await buying.store(), None)
    assert await buying.held() == sum(one.claimed for one in all_of_them)
    assert await buying.spent() == sum(one.final_cost or 0 for one in all_of_them)
    owned = {machine.label for one in all_of_them if not one.is_final for machine in one.machines}
    assert set(buying.running()) <= owned
    assert len(buying.running()) == len(set(buying.running()))
