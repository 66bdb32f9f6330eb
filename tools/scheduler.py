"""One clock for all providers: each is asked again when its own interval has passed, by one process at a time."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from market.context import Market
from market.errors import BrokerError, Unavailable
from tools.sync import Connect, ProviderRun, chosen, sync

if TYPE_CHECKING:
    from adapters.base import Adapter
    from market.catalogue import ProviderHealth

log = logging.getLogger("gpubroker.sync")

LEASE = "sync"
LEASE_TIME = timedelta(minutes=3)
"""A holder that dies is succeeded after this; one that works renews it, so that a long pass never loses it."""
RENEW_SECONDS = 45.0
TICK_SECONDS = 15.0
TIDY_EVERY = timedelta(hours=24)

Sleep = Callable[[float], Awaitable[None]]


class LeaseLost(Unavailable):
    """Another process holds the sync lease now: whatever this one still does must stop."""


class Scheduler:
    """Keeps the catalogue fresh while a server runs; holds the sync lease or waits for its holder to go."""

    def __init__(
        self,
        market: Market,
        *,
        connect: Connect | None = None,
        holder: str | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._market = market
        self._connect = connect
        self._holder = holder or secrets.token_hex(8)
        self._sleep = sleep
        self._tidied_at: datetime | None = None

    async def run(self) -> None:
        """Tick until cancelled, then give the lease back."""
        try:
            while True:
                try:
                    await self.tick()
                except BrokerError as problem:
                    log.warning("sync waits: %s", problem)
                except Exception:
                    log.exception("a round of the sync failed")
                await self._sleep(TICK_SECONDS)
        finally:
            with suppress(BrokerError):
                await self._release()

    async def tick(self) -> list[ProviderRun]:
        """Ask whoever is due, when the lease is ours; then drop what nobody has confirmed for too long.

        Raises LeaseLost when another process took over meanwhile, StorageFailed when nothing can be kept.
        """
        from market import catalogue

        store = await self._market.store()
        if not await self._take():
            return []
        now = self._market.clock.now()
        states = await catalogue.provider_states(store)
        adapters = await asyncio.to_thread(chosen, self._market.settings.chosen_providers)
        due = [one for one in adapters if is_due(one, states.get(one.name), now)]
        runs = await self._while_held(sync(self._market, due, connect=self._connect)) if due else []
        await catalogue.drop_stale(store, self._market.clock.now())
        await self._tidy(self._market.clock.now())
        return runs

    async def _while_held(self, work: Coroutine[Any, Any, list[ProviderRun]]) -> list[ProviderRun]:
        """The work, with the lease renewed beside it and the work stopped when the lease is lost."""
        working = asyncio.create_task(work)
        renewing = asyncio.create_task(self._renewed_until_lost())
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                # Ends with what went wrong: the lease or the database.
                await renewing
            return await working
        finally:
            for task in (working, renewing):
                task.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)

    async def _renewed_until_lost(self) -> None:
        while True:
            await self._sleep(RENEW_SECONDS)
            if not await self._take():
                raise LeaseLost("Another process has taken over the sync.", next_step="It goes on there.")

    async def _take(self) -> bool:
        from market import leases

        store = await self._market.store()
        return await leases.take(store, LEASE, self._holder, LEASE_TIME, self._market.clock.now())

    async def _release(self) -> None:
        from market import leases

        await leases.release(await self._market.store(), LEASE, self._holder)

    async def _tidy(self, now: datetime) -> None:
        if self._tidied_at is not None and now - self._tidied_at < TIDY_EVERY:
            return
        from market import retention

        await retention.tidy(await self._market.store(), now)
        self._tidied_at = now


def is_due(adapter: type[Adapter], state: ProviderHealth | None, now: datetime) -> bool:
    """Whether its interval has passed since it was last asked."""
    return state is None or state.last_attempt_at is None or now - state.last_attempt_at >= adapter.interval
