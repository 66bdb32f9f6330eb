"""Everything that follows from the outbox, by one process at a time: alerts, limit orders, webhooks, mail.

Each has a loop of its own, so that a slow mail server or a receiver that hangs holds up none of the others.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

from market.context import Market
from market.errors import BrokerError
from tools.alerting import Alerting
from tools.delivery import Courier, queue_events
from tools.limit_orders import LimitOrders
from tools.mail import Postman

log = logging.getLogger("gpubroker.dispatch")

LEASE = "dispatch"
LEASE_TIME = timedelta(minutes=1)
ROUND_SECONDS = 1.0
RENEW_EVERY = LEASE_TIME / 4
TIDY_EVERY = timedelta(hours=24)

Sleep = Callable[[float], Awaitable[None]]
Round = Callable[[], Awaitable[int]]


class Dispatcher:
    """Holds the dispatch lease, or waits for its holder to go, while a server runs."""

    def __init__(
        self,
        market: Market,
        *,
        courier: Courier | None = None,
        holder: str | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._market = market
        self._holder = holder or secrets.token_hex(8)
        self._sleep = sleep
        self.alerting = Alerting(market)
        self._rounds: dict[str, Round] = {
            "alerts": self.alerting.round,
            "limit orders": LimitOrders(market).round,
            "webhooks": lambda: queue_events(market),
            "calls": (courier or Courier(market)).round,
            "mail": Postman(market).round,
        }
        self._taken_at: datetime | None = None
        self._tidied_at: datetime | None = None
        self._taking = asyncio.Lock()

    async def run(self) -> None:
        """Work until cancelled, then give the lease back."""
        try:
            async with asyncio.TaskGroup() as group:
                for name in self._rounds:
                    group.create_task(self._loop(name))
        finally:
            with suppress(BrokerError):
                await self._release()

    async def tick(self) -> int:
        """One round of each until nothing follows any more; how much was done. 0 while another process has the lease.

        Raises StorageFailed when nothing can be kept.
        """
        done = 0
        while await self._held():
            # Rounds later in the list follow from events of the earlier ones.
            now_done = sum([await one() for one in self._rounds.values()])
            done += now_done
            if not now_done:
                await self._tidy()
                break
        return done

    async def _loop(self, name: str) -> None:
        one = self._rounds[name]
        while True:
            done = 0
            try:
                if await self._held():
                    done = await one()
                    await self._tidy()
            except BrokerError as problem:
                log.warning("%s wait: %s", name, problem)
            except Exception:
                log.exception("a round of %s failed", name)
            await self._sleep(0 if done else ROUND_SECONDS)

    async def _held(self) -> bool:
        """Whether the lease is ours, renewed in time; after a gap the alerts are read anew."""
        from market import leases

        async with self._taking:
            now = self._market.clock.now()
            if self._taken_at is not None and timedelta(0) <= now - self._taken_at < RENEW_EVERY:
                return True
            store = await self._market.store()
            if not await leases.take(store, LEASE, self._holder, LEASE_TIME, now):
                self._taken_at = None
                return False
            if self._taken_at is None or not timedelta(0) <= now - self._taken_at < LEASE_TIME:
                # Another process may have held it in between.
                self.alerting.forget()
            self._taken_at = now
            return True

    async def _release(self) -> None:
        from market import leases

        await leases.release(await self._market.store(), LEASE, self._holder)

    async def _tidy(self) -> None:
        now = self._market.clock.now()
        if self._tidied_at is not None and now - self._tidied_at < TIDY_EVERY:
            return
        from market import alert_book, webhook_book

        self._tidied_at = now
        store = await self._market.store()
        async with store.write() as connection:
            await webhook_book.prune(connection, now)
            await alert_book.prune(connection, now)
