"""The MCP door over streamable HTTP: a real server on a loopback port, the SDK's client, and raw requests."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from mcp import Client
from starlette.applications import Starlette

from market.settings import Settings
from server.mcp_door import HTTP_PATH, MarketDoor, http_route

_ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@asynccontextmanager
async def served(door: MarketDoor, settings: Settings) -> AsyncIterator[str]:
    """The door in an application on a free port; gives its address."""
    route, lifespan = http_route(door, settings)
    app = Starlette(routes=[route], lifespan=lambda _app: lifespan())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}{HTTP_PATH}"
        finally:
            server.should_exit = True
            await running


@pytest.fixture
async def url(door: MarketDoor, settings: Settings) -> AsyncIterator[str]:
    """Address of the served door."""
    async with served(door, settings) as address:
        yield address


async def test_both_eras_list_call_and_read_over_http(url: str, era: str) -> None:
    async with Client(url, mode=era) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        found = await client.call_tool("search_offers", {"gpu": "H100", "limit": 2})
        wrong = await client.call_tool("search_offers", {"max_pric": 2})
        card = await client.read_resource("gpu://H100-SXM")
        prompt = await client.get_prompt("watch_price", {"gpu": "H100"})
    assert "search_offers" in names
    assert found.structured_content is not None
    assert len(found.structured_content["items"]) == 2
    assert wrong.is_error
    assert "H100-SXM" in getattr(card.contents[0], "text", "")
    assert "H100" in getattr(prompt.messages[0].content, "text", "")


def message(method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """A request of 2026-07-28 as it goes over the wire."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**(params or {}), "_meta": meta}}


async def test_a_web_page_of_another_origin_is_turned_away(url: str) -> None:
    async with httpx.AsyncClient(headers=_ACCEPT) as client:
        foreign = await client.post(url, json=message("tools/list"), headers={"origin": "https://evil.example"})
        rebound = await client.post(url, json=message("tools/list"), headers={"host": "evil.example"})
    assert foreign.status_code == 403
    assert rebound.status_code == 421


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{not json", 400),
        (b"\xff\xfe\x00", 400),
        (b"[" * 50_000, 400),
        (b'"' + b"x" * (5 * 1024 * 1024) + b'"', 413),
    ],
)
async def test_a_body_that_is_no_message_is_refused_and_the_server_lives_on(
    url: str, content: bytes, status: int
) -> None:
    async with httpx.AsyncClient(headers=_ACCEPT) as client:
        refused = await client.post(url, content=content)
    assert refused.status_code == status
    assert b"Traceback" not in refused.content
    async with Client(url) as client:
        assert (await client.list_tools()).tools


async def test_arguments_that_are_no_object_are_refused_without_foreign_text(url: str) -> None:
    headers = {**_ACCEPT, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "search_offers"}
    async with httpx.AsyncClient(headers=headers) as client:
        refused = await client.post(url, json=message("tools/call", {"name": "search_offers", "arguments": "gpu"}))
    error = json.loads(refused.text)["error"]
    assert error["code"] == -32602
    assert "pydantic" not in refused.text


async def test_white_space_around_a_header_value_is_taken_off(url: str) -> None:
    body = json.dumps(message("tools/call", {"name": "get_offer", "arguments": {"id": "a:b:c"}}))
    head = {**_ACCEPT, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "get_offer \t"}
    host = url.split("/")[2]
    lines = [f"{name}: {value}" for name, value in {**head, "host": host, "content-length": len(body)}.items()]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]))
    writer.write("\r\n".join([f"POST {HTTP_PATH} HTTP/1.1", *lines, "connection: close", "", body]).encode())
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"NOT_FOUND" in answer
