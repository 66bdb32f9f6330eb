"""Fulfilment: brings every booking on to where it should be, whoever began it and wherever that process died.

One step at a time, each written down before and after; whoever holds a booking's row does its steps, and renews the
hold while it works. A holder that dies is succeeded when its hold is over, and its successor looks before it asks.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from market.bookings import Booking
from market.context import Market
from market.errors import BrokerError

if TYPE_CHECKING:
    from market.store import Store
    from tools.work import Work

log = logging.getLogger("gpubroker.bookings")

HOLD = timedelta(seconds=10)
RENEW_SECONDS = 3.0
MOST_STEPS = 200
SIDE_BY_SIDE = 8


async def _passing(_moment: str) -> None:
    return None


class Fulfilment:
    """The hands of one process; `point` is told of every moment at which it may be killed."""

    def __init__(
        self, market: Market, *, runner: str | None = None, point: Callable[[str], Awaitable[None]] = _passing
    ) -> None:
        self._market = market
        self._runner = runner or secrets.token_hex(8)
        self._point = point
        self._at_work: dict[str, asyncio.Future[None]] = {}

    @property
    def runner(self) -> str:
        """The name under which this process holds bookings."""
        return self._runner

    async def aclose(self) -> None:
        """Nothing is kept open between two calls."""

    async def advance(self, booking_id: str) -> Booking | None:
        """Do for one booking what can be done now; the booking as it stands then.

        A provider's failure is written down and tried again later, never raised. Raises StorageFailed.
        """
        from market import booking_book

        store = await self._market.store()
        if (under_way := self._at_work.get(booking_id)) is not None:
            await asyncio.shield(under_way)
        now = self._market.clock.now()
        if await booking_book.take(store, booking_id, self._runner, now=now, until=now + HOLD):
            await self._held(store, booking_id, asyncio.Semaphore())
        return await booking_book.get(store, booking_id)

    async def sweep(self, limit: int = 20) -> int:
        """Go on with whatever is due and held by nobody, some side by side; how many that were."""
        from market import booking_book

        store = await self._market.store()
        now = self._market.clock.now()
        due = await booking_book.take_due(store, self._runner, now=now, until=now + HOLD, limit=limit)
        gate = asyncio.Semaphore(SIDE_BY_SIDE)

        works = [self._held(store, each, gate) for each in due if each not in self._at_work]
        for ended in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(ended, BrokerError):
                log.warning("a booking waits: %s", ended)
            elif isinstance(ended, BaseException):
                log.error("a booking could not be brought on", exc_info=ended)
        return len(due)

    async def _held(self, store: Store, booking_id: str, gate: asyncio.Semaphore) -> None:
        """Work on a booking that is held, renewing the hold beside it (also in the queue), and let go of it."""
        from market import booking_book

        done = self._at_work[booking_id] = asyncio.get_running_loop().create_future()
        renewing = asyncio.create_task(self._renewed(store, booking_id))
        try:
            async with gate:
                await self._steps(store, booking_id)
        except booking_book.LeaseLost as lost:
            log.warning("%s", lost)
        except BrokerError:
            raise
        except Exception:
            # A defect must not look like a refusal: the booking stands as it is written, and is tried again.
            log.exception("booking %s could not be brought on", booking_id)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with suppress(BrokerError):
                await booking_book.release(store, booking_id, self._runner)
            del self._at_work[booking_id]
            done.set_result(None)

    async def _renewed(self, store: Store, booking_id: str) -> None:
        from market import booking_book

        while True:
            await asyncio.sleep(RENEW_SECONDS)
            until = self._market.clock.now() + HOLD
            await booking_book.renew(store, booking_id, self._runner, until=until)

    async def _steps(self, store: Store, booking_id: str) -> None:
        from market import booking_book
        from tools.providers import provider
        from tools.work import Work

        booking = await booking_book.get(store, booking_id)
        for _ in range(MOST_STEPS):
            if booking is None or booking.is_final:
                return
            adapter = provider(self._market, booking.provider)
            work = Work(self._market, store, adapter, booking, self._runner, self._point)
            if not await _step(work):
                return
            booking = work.booking
        log.error("booking %s does not come to rest", booking_id)


def hands(market: Market) -> Fulfilment:
    """The one Fulfilment of this process."""
    found = market.kept.get("fulfilment")
    if not isinstance(found, Fulfilment):
        found = market.kept["fulfilment"] = Fulfilment(market)
    return found


async def _step(work: Work) -> bool:
    """One step of the state the booking is in; False when only time helps."""
    from tools import ending, launching, minding

    state = work.booking.state
    if state in ("terminating", "stuck"):
        return await ending.step(work)
    if state == "pending" or any(one.state in ("planned", "launching") for one in work.booking.machines):
        return await launching.step(work)
    return await minding.step(work)
