"""The MCP door over stdin and stdout: what a desktop client starts.

Nothing that costs time runs before the first answer is out; background work begins a moment later and ends with stdin.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult

from market.context import Market, opened
from market.settings import Settings
from server.mcp_door import MarketDoor, build

log = logging.getLogger("gpubroker")

HANDSHAKE_SECONDS = 0.25
"""How long a client is left alone after its first answer: it asks for the lists right away, and those come first."""

_CLOSING_SECONDS = 0.8


async def run_stdio(
    market: Market, settings: Settings, *, on_first_answer: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Serve one client until it closes stdin, then cancel what runs in the background and close the market.

    `on_first_answer` is started once, after the first request was answered (the sync, in practice).
    """
    door = build(market, settings)
    background = _Background(on_first_answer)
    door.middleware.append(background.watch)
    async with opened(market):
        try:
            await _serve(door)
        finally:
            await background.stop()


async def _serve(door: MarketDoor) -> None:
    try:
        await door.run_stdio_async()
    except* (BrokenPipeError, ConnectionResetError):
        log.debug("the client closed its end of the pipe")


class _Background:
    """Starts one piece of work after the first answer, and stops it."""

    def __init__(self, work: Callable[[], Awaitable[None]] | None) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def watch(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """SDK middleware: sees every message pass."""
        answer = await call_next(ctx)
        if self._task is None and self._work is not None and ctx.request_id is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(self._work))
        return answer

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(HANDSHAKE_SECONDS)
        try:
            await work()
        except Exception:  # the last handler: the server goes on answering from what is stored
            log.exception("background work failed")

    async def stop(self) -> None:
        """Cancel the work and wait a moment for it to let go."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(asyncio.wait([self._task]), _CLOSING_SECONDS)
