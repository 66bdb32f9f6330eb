"""One clock for all providers: each is asked again when its own interval has passed, by one process at a time."""

from __future__ import annotations

import asyncio
import logging
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from market.context import Market
from market.errors import BrokerError
from tools.sync import Connect, ProviderRun, chosen, sync

if TYPE_CHECKING:
    from adapters.base import Adapter
    from market.catalogue import ProviderHealth

log = logging.getLogger("gpubroker.sync")

LEASE = "sync"
LEASE_TIME = timedelta(minutes=20)
TICK_SECONDS = 15.0
TIDY_EVERY = timedelta(hours=24)


class Scheduler:
    """Keeps the catalogue fresh while a server runs; holds the sync lease or waits for its holder to go."""

    def __init__(self, market: Market, *, connect: Connect | None = None, holder: str | None = None) -> None:
        self._market = market
        self._connect = connect
        self._holder = holder or secrets.token_hex(8)
        self._tidied_at: datetime | None = None

    async def run(self) -> None:
        """Tick until cancelled, then give the lease back."""
        from market import leases

        try:
            while True:
                try:
                    await self.tick()
                except BrokerError as problem:
                    log.warning("sync waits: %s", problem)
                await asyncio.sleep(TICK_SECONDS)
        finally:
            await leases.release(await self._market.store(), LEASE, self._holder)

    async def tick(self) -> list[ProviderRun]:
        """Ask whoever is due, when the lease is ours; then drop what nobody has confirmed for too long."""
        from market import catalogue, leases

        store = await self._market.store()
        now = self._market.clock.now()
        if not await leases.take(store, LEASE, self._holder, LEASE_TIME, now):
            return []
        states = await catalogue.provider_states(store)
        adapters = await asyncio.to_thread(chosen, self._market.settings.chosen_providers)
        runs = await sync(
            self._market, [one for one in adapters if is_due(one, states.get(one.name), now)], connect=self._connect
        )
        await catalogue.drop_stale(store, now)
        await self._tidy(now)
        return runs

    async def _tidy(self, now: datetime) -> None:
        if self._tidied_at is not None and now - self._tidied_at < TIDY_EVERY:
            return
        from market import retention

        await retention.tidy(await self._market.store(), now)
        self._tidied_at = now


def is_due(adapter: type[Adapter], state: ProviderHealth | None, now: datetime) -> bool:
    """Whether its interval has passed since it was last asked."""
    return state is None or state.last_attempt_at is None or now - state.last_attempt_at >= adapter.interval
