"""What a capability is given: the market (store, snapshot, clock), the caller, and the trace it belongs to.

Everything heavy (the database, numpy) is imported when it is first needed, so that a server answers `initialize`
without paying for either.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from market.catalogue import ProviderHealth
    from market.settings import Settings
    from market.snapshot import Snapshot
    from market.store import Store


class Clock(Protocol):
    """Where the time comes from; tests move it by hand."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return datetime.now(UTC)


_VERSION_CHECK_SECONDS = 0.5


class Market:
    """The shared state of one process: the store opened once, the newest snapshot, and who fills an empty catalogue.

    `seed` is called once with the open store, before anyone else sees it; it fills an empty catalogue.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, seed: Callable[[Store, datetime], Awaitable[None]] | None = None
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self._seed = seed
        self._store: Store | None = None
        self._snapshot: Snapshot | None = None
        self._health: dict[str, ProviderHealth] = {}
        self._confirmation = -1
        self._checked_at = float("-inf")
        self._opening = asyncio.Lock()
        self._refreshing = asyncio.Lock()
        self._rebuild: asyncio.Task[None] | None = None

    async def store(self) -> Store:
        """The open database, migrated and seeded. Raises StorageFailed saying what to do."""
        if self._store is None:
            async with self._opening:
                if self._store is None:
                    from market.store import Store

                    store = await Store.open(self.settings.store_url)
                    try:
                        if self._seed is not None:
                            await self._seed(store, self.clock.now())
                    except BaseException:
                        await store.close()
                        raise
                    self._store = store
        return self._store

    async def snapshot(self) -> Snapshot:
        """The newest view of the catalogue; a change by any process shows within a second.

        The first call waits for the build; later ones get the present view while the next is built behind them.
        """
        await self._look_for_changes()
        if self._snapshot is None:
            async with self._refreshing:
                if self._snapshot is None:
                    await self._build()
        assert self._snapshot is not None
        return self._snapshot

    async def provider_states(self) -> dict[str, ProviderHealth]:
        """Health and freshness of every provider, from memory."""
        await self.snapshot()
        return self._health

    async def refresh(self) -> Snapshot:
        """Look now instead of within the second, and wait for the newest view."""
        self._checked_at = float("-inf")
        await self._look_for_changes()
        if self._rebuild is not None:
            await self._rebuild
        return await self.snapshot()

    async def close(self) -> None:
        """Let go of the database."""
        if self._rebuild is not None:
            self._rebuild.cancel()
            await asyncio.gather(self._rebuild, return_exceptions=True)
        if self._store is not None:
            await self._store.close()
            self._store = None

    async def _look_for_changes(self) -> None:
        elapsed = asyncio.get_running_loop().time()
        if self._snapshot is None or elapsed - self._checked_at < _VERSION_CHECK_SECONDS:
            return
        self._checked_at = elapsed
        from market import catalogue

        state = await catalogue.current(await self.store())
        if state.confirmation != self._confirmation or state.version != self._snapshot.version:
            self._confirmation = state.confirmation
            self._health = await catalogue.provider_states(await self.store())
        if state.version != self._snapshot.version and (self._rebuild is None or self._rebuild.done()):
            self._rebuild = asyncio.create_task(self._build())

    async def _build(self) -> None:
        from market import catalogue
        from market.snapshot_builder import build

        store = await self.store()
        state = await catalogue.current(store)
        self._snapshot = await build(store)
        self._health = await catalogue.provider_states(store)
        self._confirmation = state.confirmation
        self._checked_at = asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may do."""

    name: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether the caller holds this scope."""
        return scope in self.scopes or "*" in self.scopes


LOCAL_OWNER = Caller("local-owner", frozenset({"*"}))
"""Whoever runs the program on their own machine."""


async def _silence(_done: float, _total: float | None, _message: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Context:
    """One call: the market, the caller, the trace id, and where progress may be told."""

    market: Market
    caller: Caller = LOCAL_OWNER
    trace_id: str = ""
    progress: Callable[[float, float | None, str], Awaitable[None]] = field(default=_silence)


@asynccontextmanager
async def opened(market: Market) -> AsyncIterator[Market]:
    """The market for as long as a block runs, closed afterwards."""
    try:
        yield market
    finally:
        await market.close()
