"""The watchdog: brings bookings on, ends leases, acts on revoked mandates, looks for strays, closes open accounts.

Every process that lives for a while runs one; only `serve` holds the lease that a booking may rely on.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from market.context import Market
from market.errors import BrokerError
from tools.authority import WATCHDOG_LEASE
from tools.fulfilment import hands

if TYPE_CHECKING:
    from market.bookings import Booking
    from market.store import Store

log = logging.getLogger("gpubroker.bookings")

TICK_SECONDS = 2.0
LEASE_TIME = timedelta(seconds=60)
CONSUMER = "watchdog"
STRAYS_LEASE = "strays"
STRAYS_EVERY = timedelta(seconds=60)
ACCOUNTS_EVERY = timedelta(minutes=15)
ACCOUNTS_OPEN_FOR = timedelta(days=3)
"""How long after a booking's end the provider is asked for the final figure it still owes us."""


class Watchdog:
    """One round after another. `serving` says that this process stays, so that bookings may rely on it."""

    def __init__(self, market: Market, *, serving: bool, holder: str | None = None) -> None:
        self._market = market
        self._serving = serving
        self._holder = holder or secrets.token_hex(8)
        self._strays_at: datetime | None = None
        self._accounts_at: datetime | None = None

    async def run(self) -> None:
        """Round after round until cancelled, then give the lease back."""
        from market import leases

        try:
            while True:
                try:
                    await self.tick()
                except BrokerError as problem:
                    log.warning("the watchdog waits: %s", problem)
                except Exception:
                    log.exception("a round of the watchdog failed")
                await self._market.sleep(TICK_SECONDS)
        finally:
            with suppress(BrokerError):
                if self._serving:
                    await leases.release(await self._market.store(), WATCHDOG_LEASE, self._holder)

    async def tick(self) -> None:
        """One round. Raises StorageFailed."""
        from market import leases

        market = self._market
        store, now = await market.store(), market.clock.now()
        if self._serving:
            await leases.take(store, WATCHDOG_LEASE, self._holder, LEASE_TIME, now)
        await self._revoked(store)
        await hands(market).sweep()
        if self._strays_at is None or now - self._strays_at >= STRAYS_EVERY:
            self._strays_at = now
            if await leases.take(store, STRAYS_LEASE, self._holder, LEASE_TIME, now):
                from tools import strays

                await strays.search(market)
        if self._accounts_at is None or now - self._accounts_at >= ACCOUNTS_EVERY:
            self._accounts_at = now
            await self._accounts(store, now)

    async def _revoked(self, store: Store) -> None:
        """End what was booked under mandates that were revoked with that policy; told by the outbox, in order."""
        from market import booking_book, outbox

        for event in await outbox.read_after(store, CONSUMER):
            if event.kind == "mandate.revoked" and event.payload.get("policy") == "terminate":
                for one in await booking_book.open_bookings(store):
                    ends = one.mandate_id == event.subject and one.state not in ("terminating", "stuck")
                    if ends and not await self._ended(store, one, "its mandate was revoked"):
                        return  # somebody works on it: the same event again in the next round
            await outbox.advance(store, CONSUMER, event.position)

    async def _ended(self, store: Store, booking: Booking, reason: str) -> bool:
        """Begin its end; False while somebody else holds it."""
        from market import booking_book
        from tools.providers import provider
        from tools.work import begin_end

        now, runner = self._market.clock.now(), f"{self._holder}-revoked"
        if not await booking_book.take(store, booking.id, runner, now=now, until=now + timedelta(seconds=10)):
            return False
        try:
            async with store.write() as connection:
                fresh = await booking_book.read(connection, booking.id)
                if fresh is None or fresh.is_final or fresh.state in ("terminating", "stuck"):
                    return True
                adapter = provider(self._market, fresh.provider)
                await begin_end(connection, fresh, adapter, runner, now, reason)
            return True
        finally:
            await booking_book.release(store, booking.id, runner)

    async def _accounts(self, store: Store, now: datetime) -> None:
        """Ask again for the final figures of bookings that ended without one."""
        from market import booking_book

        since = now - ACCOUNTS_OPEN_FOR
        for booking in await booking_book.of_caller(store, None, states=("terminated", "compensated"), limit=200):
            if booking.provider_cost is None and booking.ended_at is not None and booking.ended_at >= since:
                with suppress(BrokerError):
                    await self._settled(store, booking, now)

    async def _settled(self, store: Store, booking: Booking, now: datetime) -> None:
        """The provider's figure has come: the difference to ours goes into the ledger, the mandate and the note."""
        from market import booking_book, mandate_book, usage
        from tools import ending
        from tools.providers import provider
        from tools.work import announce

        adapter = provider(self._market, booking.provider)
        machines = [one for one in booking.machines if one.provider_instance_id]
        bills = {one.label: await adapter.bill(one.provider_instance_id or "") for one in machines}
        charged = ending.charged(list(bills.values())) if bills else None
        if charged is None:
            return
        before = booking.final_cost or Decimal(0)
        async with store.write() as connection:
            said = ending.explained(before, charged, bills)
            if not await booking_book.reconcile(connection, booking.id, cost=charged, note=said):
                return  # another watchdog was quicker
            if charged != before:
                note = "difference to the provider's final bill"
                await usage.adjust(connection, booking, machines[-1].label, "adjustment", charged - before, now, note)
                if charged < before:
                    await mandate_book.refund(connection, booking.mandate_id, before - charged)
                else:
                    nothing = Decimal(0)
                    await mandate_book.settle(
                        connection,
                        booking.mandate_id,
                        claimed=nothing,
                        hourly=nothing,
                        instances=0,
                        spent=charged - before,
                    )
            await announce(connection, booking, "booking.reconciled", now, {"final_cost": charged, "counted": before})
