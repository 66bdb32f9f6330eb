"""The MCP door over stdin and stdout: a process of its own, the SDK's client, and raw lines."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from market.context import Market
from market.settings import Settings
from server.mcp_stdio import HANDSHAKE_SECONDS, _Background

ROOT = Path(__file__).parents[2]
MODULE = "tests.server.stdio_server"
_HEAVY = ("numpy", "scipy", "sqlalchemy", "alembic", "httpx", "redis", "joserfc", "pydantic_ai", "openai", "adapters")


async def test_both_eras_list_call_and_read_over_stdio(filled_folder: Path, era: str) -> None:
    program = StdioServerParameters(command=sys.executable, args=["-m", MODULE, str(filled_folder)], cwd=str(ROOT))
    async with Client(program, mode=era) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        found = await client.call_tool("search_offers", {"gpu": "H100", "limit": 2})
        wrong = await client.call_tool("search_offers", {"max_pric": 2})
        card = await client.read_resource("gpu://H100-SXM")
    assert "search_offers" in names
    assert found.structured_content is not None
    assert len(found.structured_content["items"]) == 2
    assert wrong.is_error
    assert "H100-SXM" in getattr(card.contents[0], "text", "")


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The server as a bare process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        MODULE,
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate(b"")


async def asked(process: asyncio.subprocess.Process, number: int, method: str, **params: Any) -> dict[str, Any]:
    """Send one request and read its answer."""
    line = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
    return await answered(process, line.encode())


async def answered(process: asyncio.subprocess.Process, line: bytes) -> dict[str, Any]:
    """Send one line and read one line."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + b"\n")
    await process.stdin.drain()
    got: dict[str, Any] = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    return got


_HELLO: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


async def test_stdin_that_ends_ends_the_server_with_its_background_work(filled_folder: Path, tmp_path: Path) -> None:
    note = tmp_path / "note"
    async with started(str(filled_folder), str(note)) as process:
        hello = await asked(process, 1, "initialize", **_HELLO)
        assert hello["result"]["serverInfo"]["name"] == "gpubroker"
        while not note.exists():
            await asked(process, 2, "ping")
        out, err = await asyncio.wait_for(process.communicate(b""), 20)
    assert process.returncode == 0
    assert note.read_text() == "cancelled"
    assert (out, err) == (b"", b"")


async def test_stdin_that_ends_at_once_ends_the_server(filled_folder: Path) -> None:
    async with started(str(filled_folder)) as process:
        out, err = await asyncio.wait_for(process.communicate(b""), 30)
    assert process.returncode == 0
    assert (out, err) == (b"", b"")


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff\xfe\x00\x80", b"{half a json", b"[" * 20_000, b'"text"', b"\x00" * 100, b'{"jsonrpc":"2.0"}'],
)
async def test_a_line_of_garbage_does_not_end_the_server(filled_folder: Path, garbage: bytes) -> None:
    async with started(str(filled_folder)) as process:
        await asked(process, 1, "initialize", **_HELLO)
        assert process.stdin is not None
        process.stdin.write(garbage + b"\n")
        got = await asked(process, 2, "ping")
        while got.get("id") != 2:
            assert process.stdout is not None
            got = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    assert got["result"] == {}


async def test_nothing_heavy_is_imported_to_answer_initialize(filled_folder: Path) -> None:
    program = f"""
import asyncio, sys
from pathlib import Path
from market.context import Market
from market.settings import Settings
from server.mcp_stdio import run_stdio
settings = Settings(data_dir=Path({str(filled_folder)!r}), sync="off")
asyncio.run(run_stdio(Market(settings), settings))
print(sorted(set({_HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await asked(process, 1, "initialize", **_HELLO)
    _out, err = await asyncio.wait_for(process.communicate(b""), 30)
    assert err.decode().strip().splitlines()[-1] == "[]"


async def test_background_work_that_fails_is_logged_and_forgotten(
    market: Market, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("server.mcp_stdio.HANDSHAKE_SECONDS", 0)
    assert HANDSHAKE_SECONDS > 0

    async def broken() -> None:
        raise RuntimeError("no network")

    background = _Background(broken)
    await background._run(broken)
    await background.stop()
    assert "background work failed" in caplog.text
