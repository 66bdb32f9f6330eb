"""The composition root: the one place where settings, market, providers and doors are put together."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from market.context import Market, opened
from market.errors import BrokerError, StorageFailed, ValidationFailed
from market.settings import Settings
from server import approval_page, rest
from server.bearer_keys import BearerKeys
from server.local_guard import LOOPBACK_NAMES, LocalGuard
from server.version import product_version

if TYPE_CHECKING:
    from adapters import Broken
    from adapters.base import Adapter
    from adapters.sandbox_cloud import SandboxCloud
    from adapters.sandbox_http import SandboxFace, Wire

log = logging.getLogger("gpubroker")


def make_market(settings: Settings) -> Market:
    """The market of this process; its database opens, and is seeded when empty, on the first question."""
    from tools.sync import seed

    return Market(settings, seed=seed)


def practice_cloud(
    *, seed: int | None, enforce_end: bool, calm: bool, state: Path | None, wire_of: Callable[[Scope], Wire]
) -> tuple[SandboxCloud, SandboxFace]:
    """The simulated cloud and its HTTP face, going on from a state file when there is one. Raises StorageFailed."""
    from adapters.sandbox_cloud import SandboxCloud, Temper
    from adapters.sandbox_http import SandboxFace
    from adapters.sandbox_state import StateFile
    from market.context import SystemClock

    temper = Temper.calm() if calm else Temper()
    cloud = SandboxCloud(SystemClock().now, seed=seed or 0, enforce_end=enforce_end, temper=temper)
    if state is None:
        return cloud, SandboxFace(cloud, wire_of=wire_of)
    kept = StateFile(state, cloud)
    if kept.load() and seed not in (None, cloud.seed):
        raise StorageFailed(
            f"`{state.name}` was begun with seed {cloud.seed}.", next_step="Leave `--seed` out, or name another file."
        )
    kept.save()
    return cloud, SandboxFace(cloud, wire_of=wire_of, changed=kept.save)


def providers() -> tuple[dict[str, type[Adapter]], tuple[Broken, ...]]:
    """Every provider by name, and the modules that could not be imported: for the doors, which know no adapters."""
    from adapters import discover

    return discover()


async def keep_going(market: Market, *, serving: bool) -> None:
    """What goes on beside the answers until it is cancelled: prices fetched, bookings watched, events delivered.

    `serving` says that this process stays: bookings may then rely on its watchdog.
    """
    # Half a second of imports: in a thread, so that a client that asks for the lists is not kept waiting.
    await asyncio.to_thread(_import_what_fetching_needs)
    from tools.dispatcher import Dispatcher
    from tools.watchdog import Watchdog

    running = [Watchdog(market, serving=serving).run(), Dispatcher(market).run()]
    if market.settings.sync == "on":
        from tools.scheduler import Scheduler

        running.append(Scheduler(market).run())
    # A group ends when all of them have ended, and cancels each once: none is torn from the database half-way.
    async with asyncio.TaskGroup() as group:
        for one in running:
            group.create_task(_told(one))


async def _told(running: Coroutine[Any, Any, None]) -> None:
    try:
        await running
    except BrokerError as problem:
        log.warning("background work has ended: %s", problem)


def _import_what_fetching_needs() -> None:
    providers()
    for name in (
        "adapters.transport",
        "market.catalogue",
        "market.leases",
        "market.retention",
        "market.snapshot_builder",
        "market.booking_book",
        "market.outbox",
    ):
        importlib.import_module(name)


def http_app(settings: Settings, market: Market) -> ASGIApp:
    """REST, MCP, health and the OpenAPI document in one application for the local owner.

    Raises ValidationFailed for an address that others could reach: there is no sign-in yet.
    """
    if settings.host not in LOOPBACK_NAMES:
        raise ValidationFailed(
            f"`serve` without sign-in listens on this machine only, not on `{settings.host}`.",
            next_step="Leave out `--host`, or use 127.0.0.1.",
        )
    from server.mcp_door import build, http_route

    door = build(market, settings)
    mcp_route, mcp_running = http_route(door, settings)
    version = product_version()
    health = _Health(market, version)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with opened(market), mcp_running():
            background = asyncio.create_task(keep_going(market, serving=True))
            background.add_done_callback(_tell_failure)
            try:
                yield
            finally:
                background.cancel()
                await asyncio.gather(background, return_exceptions=True)

    app = Starlette(
        routes=[
            mcp_route,
            Route("/health", health.answer),
            Route("/openapi.json", _openapi(version)),
            approval_page.route(market),
            *rest.routes(market),
        ],
        exception_handlers={404: rest.not_routed, 405: rest.not_routed, 500: rest.failed},
        lifespan=lifespan,
    )
    return LocalGuard(BearerKeys(app, market))


def _tell_failure(background: asyncio.Task[None]) -> None:
    """The server goes on answering from what is stored; whoever reads the log should know why nothing new comes."""
    if not background.cancelled() and (problem := background.exception()) is not None:
        log.error("prices are not fetched and bookings not watched any more", exc_info=problem)


class _Health:
    """`/health`: the state of this process, its catalogue and its providers, from memory."""

    def __init__(self, market: Market, version: str) -> None:
        self._market = market
        self._version = version
        self._since = time.monotonic()

    async def answer(self, request: Request) -> Response:
        """200 while questions can be answered, 503 with the reason when not."""
        trace_id = rest.trace_of(request)
        try:
            return rest.answered(await self._state(), trace_id)
        except BrokerError as problem:
            return rest.refused(problem, trace_id)

    async def _state(self) -> dict[str, Any]:
        snapshot = await self._market.snapshot()
        states = await self._market.provider_states()
        now = self._market.clock.now()
        counts = snapshot.counts_by_provider()
        told = {
            name: {
                "state": state.state,
                "offers": counts.get(name, 0),
                "confirmed_at": state.last_complete_at,
                "stale": state.is_stale(now),
            }
            for name, state in sorted(states.items())
        }
        for broken in (await asyncio.to_thread(providers))[1]:
            told[broken.name] = {"state": "unhealthy", "offers": 0, "confirmed_at": None, "stale": True}
        well = all(one["state"] not in ("unhealthy", "degraded") for one in told.values())
        return {
            "status": "healthy" if well else "degraded",
            "version": self._version,
            "uptime_seconds": round(time.monotonic() - self._since),
            "catalogue": {"offers": snapshot.count, "version": snapshot.version, "built_at": snapshot.built_at},
            "providers": told,
            "timestamp": now,
        }


def _openapi(version: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        from server.openapi import document

        return rest.answered(document(version), rest.trace_of(request))

    return answer
