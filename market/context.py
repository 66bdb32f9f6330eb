"""What a capability is given: the market (store, snapshot, clock), the caller, and the trace it belongs to.

Everything heavy (the database, numpy) is imported when it is first needed, so that a server answers `initialize`
without paying for either.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from market.errors import StorageFailed

if TYPE_CHECKING:
    from market.availability import Refused
    from market.catalogue import ProviderHealth
    from market.commitment import Commitment
    from market.settings import Settings
    from market.snapshot import Snapshot
    from market.store import Store

log = logging.getLogger("gpubroker")


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


VERSION_CHECK_SECONDS = 0.5
"""How often the database is asked whether another process has changed the catalogue."""


class Closable(Protocol):
    """Something this process keeps open for as long as its market, by name (`Market.kept`)."""

    async def aclose(self) -> None:
        """Close it."""
        ...


Connect = Callable[[Any], Any]
"""Makes the connection to a provider out of its adapter class; tests put a sandbox there."""
Seed = Callable[["Store", datetime], Awaitable[None]]
T = TypeVar("T")


class Market:
    """The shared state of one process: the store opened once, the newest snapshot, and who fills an empty catalogue.

    `seed` is called once with the open store, before anyone else sees it; it fills an empty catalogue. What many
    callers wait for is done by a task of its own, so that a caller who gives up takes nothing from the others.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        seed: Seed | None = None,
        connect: Connect | None = None,
        version_check_seconds: float = VERSION_CHECK_SECONDS,
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.connect = connect
        self.sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
        """How this process waits; tests move their clock instead."""
        self.kept: dict[str, Closable] = {}
        self._seed = seed
        self._version_check_seconds = version_check_seconds
        self._store: Store | None = None
        self._snapshot: Snapshot | None = None
        self._health: dict[str, ProviderHealth] = {}
        self._refused: dict[str, Refused] = {}
        self._confirmation = -1
        self._checked_at = float("-inf")
        self._opening: asyncio.Task[Store] | None = None
        self._building: asyncio.Task[Snapshot] | None = None

    async def store(self) -> Store:
        """The open database, migrated and seeded. Raises StorageFailed saying what to do."""
        if self._store is not None:
            return self._store
        opening = _running(self._opening)
        if opening is None:
            opening = self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(opening)

    async def snapshot(self) -> Snapshot:
        """The newest view of the catalogue; a change by any process shows within a second.

        The first call waits for the build; later ones get the present view while the next is built behind them, or
        while the database cannot be read.
        """
        if self._snapshot is None:
            return await asyncio.shield(self._build())
        elapsed = asyncio.get_running_loop().time()
        if elapsed - self._checked_at >= self._version_check_seconds:
            self._checked_at = elapsed
            try:
                await self._look_for_changes()
            except StorageFailed as problem:
                log.warning("the catalogue in memory stands: %s", problem)
        return self._snapshot

    async def provider_states(self) -> dict[str, ProviderHealth]:
        """Health and freshness of every provider, from memory."""
        await self.snapshot()
        return self._health

    async def refusals(self) -> Mapping[str, Refused]:
        """The offers that were refused within the last hour, by id, from memory."""
        await self.snapshot()
        return self._refused

    def look_again(self) -> None:
        """Something was written that the next call must see: it looks at once instead of within the second."""
        self._checked_at = float("-inf")

    async def refresh(self) -> Snapshot:
        """Look now instead of within the second, and wait for the newest view. Raises StorageFailed."""
        if self._snapshot is None:
            return await self.snapshot()
        wanted = await self._look_for_changes()
        while self._snapshot.version < wanted:
            await asyncio.shield(self._build())
        return self._snapshot

    async def close(self) -> None:
        """Let go of the database and of what was read from it."""
        for task in (self._building, self._opening):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        while self.kept:
            await self.kept.popitem()[1].aclose()
        store, self._store, self._snapshot, self._checked_at = self._store, None, None, float("-inf")
        if store is not None:
            await store.close()

    async def _open(self) -> Store:
        from market.store import Store

        store = await Store.open(self.settings.store_url)
        try:
            if self._seed is not None:
                await self._seed(store, self.clock.now())
        except BaseException:
            await store.close()
            raise
        self._store = store
        return store

    async def _look_for_changes(self) -> int:
        """The version of the catalogue now; a newer one is being built."""
        from market import availability, catalogue

        store = await self.store()
        state = await catalogue.current(store)
        self._refused = await availability.recent(store, self.clock.now())
        if (
            state.confirmation != self._confirmation
            or self._snapshot is None
            or state.version != self._snapshot.version
        ):
            self._health = await catalogue.provider_states(store)
            self._confirmation = state.confirmation
        if self._snapshot is None or state.version != self._snapshot.version:
            self._build()
        return state.version

    def _build(self) -> asyncio.Task[Snapshot]:
        """The build that runs, or a new one."""
        building = _running(self._building)
        if building is None:
            building = self._building = asyncio.create_task(self._built())
            building.add_done_callback(_noted)
        return building

    async def _built(self) -> Snapshot:
        from market import availability, catalogue
        from market.snapshot_builder import build

        store = await self.store()
        state = await catalogue.current(store)
        snapshot = await build(store)
        self._refused = await availability.recent(store, self.clock.now())
        self._health = await catalogue.provider_states(store)
        self._confirmation = state.confirmation
        self._checked_at = asyncio.get_running_loop().time()
        self._snapshot = snapshot
        return snapshot


def _running(task: asyncio.Task[T] | None) -> asyncio.Task[T] | None:
    return None if task is None or task.done() else task


def _noted(task: asyncio.Task[Snapshot]) -> None:
    """A build that failed behind the callers' backs is told in the log; the next look starts another."""
    if not task.cancelled() and (fault := task.exception()) is not None:
        log.warning(
            "the catalogue could not be read anew: %s", fault if isinstance(fault, StorageFailed) else repr(fault)
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may do."""

    name: str
    scopes: frozenset[str]
    agent_key_id: str | None = None
    """The agent key that was shown; mandates are bound to it. None for the person who runs the program."""

    @property
    def identity(self) -> str:
        """What is theirs is kept under this: the agent key, else the name."""
        return self.agent_key_id or self.name

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
    answers: Mapping[str, bool] = field(default_factory=dict)
    """What a person has said to our questions in this very call, by approval id."""
    idempotency_key: str | None = None
    """As the door was given it; a request that has a field of that name states it there."""
    commitment: Commitment | None = None
    """Set by the gate for whatever changes something; the capability begins it in its own transaction."""


@asynccontextmanager
async def opened(market: Market) -> AsyncIterator[Market]:
    """The market for as long as a block runs, closed afterwards."""
    try:
        yield market
    finally:
        await market.close()
