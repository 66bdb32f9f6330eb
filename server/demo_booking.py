"""The second half of `gpubroker demo`: an agent buys in a simulated cloud, and a person holds the purse.

Everything is real but the cloud: the commands are run as a person types them, the agent is an MCP client over stdio,
and the data folder is a fresh one that is thrown away.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.types import TextContent
from rich.console import Console
from rich.markup import escape

from market.errors import Unavailable
from server.demo_client import ask, command, conversation

WANTED = {"provider": ["sandbox"], "gpu": ["H100"], "pricing": ["on_demand"], "region": ["eu"], "limit": 1}
HOURS = 2
SMALL_BUDGET, RAISED_BUDGET = "1", "25"
BOOTED_SECONDS, WORKED_SECONDS = 120, 1_800
POLL_SECONDS, MOST_POLLS = 1.0, 40


async def show(out: Console) -> dict[str, Any]:
    """Quote, refusal, a raised mandate, booking, watch, extension, end, account, audit; what was said last."""
    out.rule("GPUBroker: an agent buys, a person holds the purse")
    with tempfile.TemporaryDirectory(prefix="gpubroker-demo-") as folder:
        async with _cloud() as address:
            out.print(
                f"\n[bold]$ gpubroker sandbox[/]  [dim]a simulated cloud on {address}; nothing here costs money[/]"
            )
            person = _Person(out, folder, address)
            await person.types("sync", "sandbox")
            key = await person.types("keys", "create", "demo-agent")
            limits = ["--agent", key["id"], "--budget", SMALL_BUDGET, "--provider", "sandbox", "--expires", "1d"]
            limits += ["--currency", "USD", "--currency", "EUR", "--currency", "SEK"]
            mandate = await person.types("mandate", "create", *limits)
            budget = float(mandate["constraints"]["budget"])
            out.print(f"  signed: {mandate['id']}, ${budget:.2f} in all, in the sandbox only, for a day")
            said: dict[str, Any] = {}
            await conversation(
                person.server(key["secret"]), lambda client: _buy(client, out, said, person, mandate["id"], address)
            )
            verified = await person.types("audit", "verify")
            out.print(f"  [green]{verified['entries']} entries, every link holds[/]")
            return {**said, "audit": verified}


async def _buy(client: Client, out: Console, said: dict[str, Any], person: _Person, mandate: str, address: str) -> None:
    """The agent's conversation, with the person stepping in where only a person can."""
    found = await ask(client, out, "search_offers", WANTED)
    offer = found["items"][0]
    out.print(f"  {escape(offer['id'])}: ${offer['price_per_hour']:.2f} an hour, {offer['availability']}")
    wanted = {"offers": [offer["id"]], "duration_hours": HOURS, "disk_gb": 100}
    quote = await ask(client, out, "quote_offer", wanted)
    _show_quote(out, quote)
    order = {"quote_id": quote["quote_id"], "idempotency_key": "demo-1", "max_total": 20}
    refused = await _refused(client, out, "book_quote", order)
    out.print(f"  [yellow]{escape(refused)}[/]")
    out.print("\n[bold]The person decides that this is worth it:[/]")
    await person.types("mandate", "raise", mandate, "--budget", RAISED_BUDGET)
    booking = await ask(client, out, "book_quote", order)
    out.print(f"  booking {booking['id']} is {booking['state']}; held for it: ${booking['held']:.2f}")
    await _advance(address, BOOTED_SECONDS)
    booking = await _until(client, out, booking["id"], "active")
    login = booking["ssh"][0]
    out.print(f"  [green]active[/]: {escape(login)}   [dim]answers: {escape(await _greeting(login))}[/]")
    longer = {"booking_id": booking["id"], "hours": 1, "max_total": 5, "idempotency_key": "demo-2"}
    extended = await ask(client, out, "extend_booking", longer)
    out.print(f"  one hour more for ${extended['additional_cost']:.2f}, until {extended['new_end_time']}")
    out.print("\n[dim]… half an hour of work passes in the cloud …[/]")
    await _advance(address, WORKED_SECONDS)
    ended = await ask(client, out, "terminate_booking", {"booking_id": booking["id"]})
    out.print(f"  {ended['state']}; final cost ${ended['spent']:.4f}")
    out.print(f"  {escape(ended.get('cost_note', ''))}")
    out.print("  [dim](The cloud's clock was put forward, ours was not: that is the difference.)[/]")
    said |= {"quote": quote, "booking": ended, "spend": await ask(client, out, "spend_status", {})}


class _Person:
    """Somebody at a terminal: commands of this installation, on the demo's own data folder."""

    def __init__(self, out: Console, folder: str, address: str) -> None:
        self._out = out
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GPUBROKER_")},
            "GPUBROKER_DATA_DIR": folder,
            "GPUBROKER_SANDBOX_URL": address,
            "GPUBROKER_SYNC": "off",
        }

    async def types(self, *words: str) -> dict[str, Any]:
        """Run a command and show it; what it printed as JSON. Raises Unavailable with its words when it fails."""
        shown = " ".join(words)
        self._out.print(f"\n[bold]$ gpubroker {escape(shown)}[/]")
        process = await asyncio.create_subprocess_exec(
            *command(*words, "--json"), env=self._environment, stdout=-1, stderr=-1
        )
        said, wrong = await process.communicate()
        if process.returncode:
            raise Unavailable(f"The demo stopped at `gpubroker {shown}`: {(wrong or said).decode()[:1_000]}")
        read = json.loads(said)
        return read if isinstance(read, dict) else {"items": read}

    def server(self, secret: str) -> StdioServerParameters:
        """`gpubroker stdio` as a desktop client starts it, with the agent's key."""
        program, *words = command("stdio", "--no-sync")
        return StdioServerParameters(
            command=program, args=words, env={**self._environment, "GPUBROKER_AGENT_KEY": secret}
        )


@asynccontextmanager
async def _cloud() -> AsyncIterator[str]:
    """The simulated cloud as a process of its own; its address."""
    cloud = command("sandbox", "--port", "0", "--calm", "--json", "--seed", "7")
    process = await asyncio.create_subprocess_exec(*cloud, stdout=asyncio.subprocess.PIPE)
    try:
        first = await asyncio.wait_for(process.stdout.readline(), 60) if process.stdout else b""
        if not first:
            raise Unavailable("The simulated cloud did not start.", next_step="Run `gpubroker sandbox` to see why.")
        yield str(json.loads(first)["address"])
    finally:
        process.terminate()
        await process.wait()


async def _refused(client: Client, out: Console, tool: str, arguments: Mapping[str, Any]) -> str:
    """Call a tool that is to be refused; the words of the refusal. Raises Unavailable when it is not."""
    out.print(f"\n[bold cyan]> {tool}[/] {escape(json.dumps(arguments))}")
    result = await client.call_tool(tool, dict(arguments))
    if not result.is_error:
        raise Unavailable(f"The demo stopped: `{tool}` should have been refused by the small mandate.")
    return next((block.text.split("\n")[0] for block in result.content if isinstance(block, TextContent)), "")


def _show_quote(out: Console, quote: Mapping[str, Any]) -> None:
    for item in quote["legs"][0]["lines"]:
        out.print(f"  {escape(item['item']):<28} {item['quantity']:>10g} {item['unit']:<16} ${item['amount']:.4f}")
    out.print(f"  expected ${quote['expected_total']:.2f}, at worst ${quote['worst_total']:.2f}")
    verdict = quote["mandate"]
    if not verdict["allowed"]:
        out.print(f"  [yellow]the mandate says no: {escape(verdict['violations'][0]['message'])}[/]")


async def _until(client: Client, out: Console, booking_id: str, state: str) -> dict[str, Any]:
    """Look at a booking until it is so far. Raises Unavailable when it does not get there."""
    booking: dict[str, Any] = {}
    for _ in range(MOST_POLLS):
        await anyio.sleep(POLL_SECONDS)
        result = await client.call_tool("list_bookings", {"booking_id": booking_id})
        booking = (result.structured_content or {})["items"][0]
        if booking["state"] == state:
            out.print(f"\n[bold cyan]> list_bookings[/] {json.dumps({'booking_id': booking_id})}")
            return booking
    raise Unavailable(f"The demo stopped: booking {booking_id} is {booking.get('state')} ({booking.get('reason')}).")


async def _advance(address: str, seconds: int) -> None:
    """Let time pass in the cloud alone, so that nobody has to wait for it."""
    body = json.dumps({"advance_seconds": seconds}).encode()
    asked = urllib.request.Request(f"{address}/_clock", data=body, headers={"Content-Type": "application/json"})  # noqa: S310 - our own process
    await asyncio.to_thread(lambda: urllib.request.urlopen(asked, timeout=10).close())  # noqa: S310


async def _greeting(login: str) -> str:
    """The first line of what listens where the login leads."""
    _, _, port, target = login.split()
    reader, writer = await asyncio.wait_for(asyncio.open_connection(target.partition("@")[2], int(port)), 10)
    try:
        return (await asyncio.wait_for(reader.readline(), 10)).decode("ascii", "replace").strip()
    finally:
        writer.close()
