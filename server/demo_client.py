"""How the demo talks to the product: commands of this very installation, and an MCP client over stdio."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcp import Client, MCPError, StdioServerParameters
from mcp.types import TextContent
from rich.console import Console
from rich.markup import escape

from market.errors import BrokerError, Unavailable

_PROGRAM = "import sys; sys.path[:0] = {!r}; from server.commands import main; sys.exit(main(sys.argv[1:]))"


def command(*words: str) -> list[str]:
    """The command line of this installation with these words."""
    return [sys.executable, "-c", _PROGRAM.format(sys.path), *words]


async def conversation(server: StdioServerParameters, talk: Callable[[Client], Awaitable[None]]) -> None:
    """Start a server, connect a client and let it talk. Raises what was refused, Unavailable when the server ends."""
    refusal: BrokerError | None = None
    try:
        async with Client(server) as client:
            try:
                await talk(client)
            except BrokerError as problem:
                refusal = problem
    except* MCPError:
        refusal = Unavailable(
            "The server that the demo started has ended.", next_step="It says why above; or run `gpubroker doctor`."
        )
    if refusal is not None:
        raise refusal


async def ask(client: Client, out: Console, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Call a tool and show the call. Raises Unavailable with the server's words when it refuses."""
    out.print(f"\n[bold cyan]> {tool}[/] {escape(json.dumps(arguments))}")
    result = await client.call_tool(tool, dict(arguments))
    if result.is_error or result.structured_content is None:
        words = [block.text.split("\n")[0] for block in result.content if isinstance(block, TextContent)]
        raise Unavailable(f"The demo stopped at `{tool}`: {' '.join(words)[:1_000]}")
    return dict(result.structured_content)
