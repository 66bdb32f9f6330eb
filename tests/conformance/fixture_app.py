"""The product's own MCP server with the conformance suite's surface added: `python -m tests.conformance.fixture_app`.

`--product` leaves the additions out. The port is chosen by the system and printed, then the server runs until killed.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
import warnings
from pathlib import Path
from typing import Any

import uvicorn
from mcp import MCPDeprecationWarning
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import (
    EmptyResult,
    JSONRPCMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)
from starlette.applications import Starlette

from market.context import Market
from market.settings import Settings
from server.mcp_door import MarketDoor, build, http_route
from tests.conformance.fixture_content import add_prompts, add_resources, add_tools, add_tools_with_notices
from tests.conformance.fixture_questions import add_questions, add_single_round_questions, add_stateful_questions
from tools.sync import seed


class Replay(EventStore):
    """Events kept in memory, so that a client that lost its stream can ask for the rest."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep one event; its id is its place in the list."""
        self._events.append((stream_id, message))
        return str(len(self._events) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what came later on the same stream."""
        if not last_event_id.isdigit() or int(last_event_id) >= len(self._events):
            return None
        last = int(last_event_id)
        stream = self._events[last][0]
        for place, (stream_id, message) in enumerate(self._events[last + 1 :], last + 1):
            if stream_id == stream and message is not None:
                await send_callback(EventMessage(message, str(place)))
        return stream


def add_fixtures(door: MarketDoor) -> None:
    """Everything the suite looks for that the product has no reason to offer."""
    for add in (
        add_tools,
        add_tools_with_notices,
        add_resources,
        add_prompts,
        add_questions,
        add_single_round_questions,
        add_stateful_questions,
    ):
        add(door)

    async def accepted(_ctx: Any, _params: Any) -> EmptyResult:
        return EmptyResult()

    handlers: dict[str, type[Any]] = {
        "resources/subscribe": SubscribeRequestParams,
        "resources/unsubscribe": UnsubscribeRequestParams,
        "logging/setLevel": SetLevelRequestParams,
    }
    for method, params in handlers.items():
        door._lowlevel_server.add_request_handler(method, params, accepted)


def application(settings: Settings, *, product: bool) -> Starlette:
    """The door as an HTTP application."""
    door = build(Market(settings, seed=seed), settings)
    if product:
        route, lifespan = http_route(door, settings)
    else:
        add_fixtures(door)
        route, lifespan = http_route(door, settings, event_store=Replay(), retry_interval=100)
    return Starlette(routes=[route], lifespan=lambda _app: lifespan())


async def serve(product: bool) -> None:
    """Listen on a free loopback port and say which."""
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    listener = socket.create_server(("127.0.0.1", 0))
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), sync="off", log_level="ERROR")
        app = application(settings, product=product)
        print(listener.getsockname()[1], flush=True)
        await uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none")).serve(sockets=[listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--product", action="store_true")
    asyncio.run(serve(parser.parse_args().product))
