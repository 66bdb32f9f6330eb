"""The composition root: the one place where settings, market, providers and doors are put together."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from market.context import Market, opened
from market.errors import BrokerError, ValidationFailed
from market.settings import Settings
from server import rest
from server.local_guard import LOOPBACK_NAMES, LocalGuard


def make_market(settings: Settings) -> Market:
    """The market of this process; its database opens, and is seeded when empty, on the first question."""
    from tools.sync import seed

    return Market(settings, seed=seed)


async def keep_fresh(market: Market) -> None:
    """Fetch prices in the background until cancelled, unless the settings say not to."""
    if market.settings.sync == "off":
        return
    from tools.scheduler import Scheduler

    await Scheduler(market).run()


def http_app(settings: Settings, market: Market) -> ASGIApp:
    """REST, MCP, health and the OpenAPI document in one application for the local owner.

    Raises ValidationFailed for an address that others could reach: there is no sign-in yet.
    """
    if settings.host not in LOOPBACK_NAMES:
        raise ValidationFailed(
            f"`serve` without sign-in listens on this machine only, not on `{settings.host}`.",
            next_step="Leave out `--host`, or use 127.0.0.1.",
        )
    from server.mcp_door import build, http_route, product_version

    door = build(market, settings)
    mcp_route, mcp_running = http_route(door, settings)
    version = product_version()
    health = _Health(market, version)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        import asyncio

        async with opened(market), mcp_running():
            background = asyncio.create_task(keep_fresh(market))
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
            *rest.routes(market),
        ],
        exception_handlers={404: rest.not_routed, 405: rest.not_routed, 500: rest.failed},
        lifespan=lifespan,
    )
    return LocalGuard(app)


class _Health:
    """`/health`: the state of this process, its catalogue and its providers, from memory."""

    def __init__(self, market: Market, version: str) -> None:
        self._market = market
        self._version = version
        self._since = time.monotonic()

    async def answer(self, request: Request) -> Response:
        """200 while questions can be answered, 503 with the reason when not."""
        try:
            body = await self._state()
        except BrokerError as problem:
            return rest.refused(problem, rest.trace_of(request))
        return Response(orjson.dumps(body), media_type=rest.JSON)

    async def _state(self) -> dict[str, Any]:
        snapshot = await self._market.snapshot()
        states = await self._market.provider_states()
        now = self._market.clock.now()
        providers = {
            name: {
                "state": state.state,
                "offers": state.offers,
                "confirmed_at": state.last_complete_at,
                "stale": state.is_stale(now),
            }
            for name, state in sorted(states.items())
        }
        well = all(state.state not in ("unhealthy", "degraded") for state in states.values())
        return {
            "status": "healthy" if well else "degraded",
            "version": self._version,
            "uptime_seconds": round(time.monotonic() - self._since),
            "catalogue": {"offers": snapshot.count, "version": snapshot.version, "built_at": snapshot.built_at},
            "providers": providers,
            "timestamp": now,
        }


def _openapi(version: str) -> Any:
    async def answer(_request: Request) -> Response:
        from server.openapi import document

        return Response(orjson.dumps(document(version)), media_type=rest.JSON)

    return answer
