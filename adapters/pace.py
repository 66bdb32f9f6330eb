"""Politeness towards one provider: so many calls at once, and so many a second."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio


class Pace:
    """Spaces calls evenly and bounds those in flight; whoever comes first goes first."""

    def __init__(
        self,
        per_second: float,
        concurrency: int,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._gap_seconds = 1.0 / per_second
        self._in_flight = anyio.Semaphore(concurrency)
        self._monotonic = monotonic
        self._sleep = sleep
        self._next_at = monotonic()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place among the calls in flight, entered when it is this call's turn."""
        async with self._in_flight:
            await self.turn()
            yield

    async def turn(self) -> None:
        """Wait until the next call may start."""
        now = self._monotonic()
        at = max(now, self._next_at)
        self._next_at = at + self._gap_seconds
        if at > now:
            await self._sleep(at - now)
