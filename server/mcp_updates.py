"""Resource updates for MCP clients that listen: a booking that moved, an alert that fired, out of the outbox.

Each process reads the outbox for its own listeners, from the moment somebody listens; nobody listening costs nothing.
Clients before 2026-07-28 have no such stream: they ask `list_bookings` and `list_alerts`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent

from market.context import Market
from market.errors import BrokerError

if TYPE_CHECKING:
    from market.outbox import Event

log = logging.getLogger("gpubroker")

LOOK_SECONDS = 1.0


class OutboxBus(InMemorySubscriptionBus):
    """The SDK's bus, fed by the outbox while somebody listens."""

    def __init__(self, market: Market) -> None:
        super().__init__()
        self._market = market
        self._listening = 0
        self._feeding: asyncio.Task[None] | None = None

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Register a listener; the first one starts the reading, the last one to go ends it."""
        unsubscribe = super().subscribe(listener)
        self._listening += 1
        if self._feeding is None or self._feeding.done():
            self._feeding = asyncio.get_running_loop().create_task(self._feed())
        gone = False

        def leave() -> None:
            nonlocal gone
            unsubscribe()
            if not gone:
                gone = True
                self._listening -= 1
            if self._listening == 0 and self._feeding is not None:
                self._feeding.cancel()

        return leave

    async def _feed(self) -> None:
        from market import outbox

        position: int | None = None
        while True:
            try:
                store = await self._market.store()
                if position is None:
                    position = await outbox.newest(store)
                for event in await outbox.since(store, position):
                    position = event.id
                    if (uri := address_of(event)) is not None:
                        await self.publish(ResourceUpdated(uri=uri))
            except BrokerError as problem:
                log.warning("resource updates wait: %s", problem)
            await asyncio.sleep(LOOK_SECONDS)


def address_of(event: Event) -> str | None:
    """The resource an event is about; None for one that is not shown as a resource."""
    kind = event.kind.partition(".")[0]
    return f"{kind}://{event.subject}" if kind in ("booking", "alert") else None
