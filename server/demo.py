"""`gpubroker demo`: the main job, shown: a real MCP client over stdio asks for compute and gets an explained answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.types import TextContent
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from market.errors import InternalFault
from market.settings import Settings
from server.terminal import console

REQUEST = "fine-tune Llama 3 8B on 50k examples, EU only, under $3 an hour"
LIVE_WAIT_SECONDS = 20.0
POLL_SECONDS = 0.5
_TOOLS_SHOWN = 90


async def run(settings: Settings, *, as_json: bool = False) -> int:
    """Start the server as a client would, hold a short conversation with it, and print what was said."""
    out = Console(file=sys.stderr, width=120, highlight=False) if as_json else console()
    server = StdioServerParameters(command=sys.executable, args=_server_command(settings))
    said: dict[str, Any] = {}
    async with Client(server) as client:
        out.rule("GPUBroker: what a client sees")
        await _introduce(client, out)
        await _wait_for_live(client, out)
        said["estimate"] = await _estimate(client, out)
        said["search"] = await _search(client, out, said["estimate"])
        said["ranking"] = await _rank(client, out)
        said["offer"] = await _look_closer(client, out, said["ranking"])
        said["market"] = await _sources(client, out)
    out.print("\n[dim]Add it to your own client: see README, “Use it”.[/]")
    if as_json:
        sys.stdout.write(json.dumps(said) + "\n")
    return 0


def _server_command(settings: Settings) -> list[str]:
    """`gpubroker stdio` of this very installation, on the same data folder."""
    code = "import sys; sys.path[:0] = {!r}; from server.commands import main; sys.exit(main(sys.argv[1:]))"
    command = ["-c", code.format(sys.path), "stdio", "--data-dir", str(settings.data_dir)]
    return [*command, "--no-sync"] if settings.sync == "off" else command


async def _introduce(client: Client, out: Console) -> None:
    tools = (await client.list_tools()).tools
    table = Table(title=f"{len(tools)} tools", title_justify="left", show_header=False, box=None)
    for tool in tools:
        table.add_row(f"[bold]{tool.name}[/]", escape((tool.description or "").split("\n")[0][:_TOOLS_SHOWN]))
    out.print(table)


async def _wait_for_live(client: Client, out: Console) -> None:
    """Give the first fetch a moment, so that live prices are in the answers where there is a network."""
    asked = [p for p in await _providers(client) if p["state"] == "unknown"]
    if not asked:
        return
    out.print(f"\n[dim]asking {len(asked)} live sources in the background, {LIVE_WAIT_SECONDS:.0f} s at most …[/]")
    with anyio.move_on_after(LIVE_WAIT_SECONDS):
        for _ in range(int(LIVE_WAIT_SECONDS / POLL_SECONDS)):
            if all(provider["state"] != "unknown" for provider in await _providers(client)):
                return
            await anyio.sleep(POLL_SECONDS)


async def _providers(client: Client) -> list[dict[str, Any]]:
    result = await client.call_tool("market_overview", {"gpus": 1})
    return list((result.structured_content or {}).get("provider_health", []))


async def _ask(client: Client, out: Console, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Call a tool and show the call. Raises InternalFault with the server's words when it refuses."""
    out.print(f"\n[bold cyan]→ {tool}[/] {escape(json.dumps(arguments))}")
    result = await client.call_tool(tool, dict(arguments))
    if result.is_error or result.structured_content is None:
        words = [block.text for block in result.content if isinstance(block, TextContent)]
        raise InternalFault(f"The demo stopped at `{tool}`: {' '.join(words)[:500]}")
    return dict(result.structured_content)


async def _estimate(client: Client, out: Console) -> dict[str, Any]:
    out.print(f"\n[bold]A person asks:[/] “{REQUEST}”")
    sized = await _ask(client, out, "estimate_workload", {"text": REQUEST})
    understood = ", ".join(f"{name} {value}" for name, value in sized["understood"].items())
    out.print(f"  understood: {escape(understood)}")
    parts = ", ".join(f"{name} {value:g}" for name, value in sized.get("memory_gb", {}).items())
    out.print(f"  needs {sized['min_vram_gb']:g} GB of GPU memory ({parts})")
    for fit in sized["fits"][:4]:
        took, cost = fit.get("hours"), (fit.get("cost_low"), fit.get("cost_high"))
        hours = f"{took[0]:.1f}–{took[2]:.1f} h" if took else ""
        money = f"${cost[0]:.2f}–{cost[1]:.2f}" if cost[0] is not None else ""
        out.print(f"  {fit['gpu_count']}x {fit['gpu']:<18} ${fit['price_per_hour']:.3f}/h  {hours}  {money}")
    out.print(f"  [dim]assumed: {escape('; '.join(sized['assumptions']))}[/]")
    return sized


async def _search(client: Client, out: Console, sized: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {
        "total_memory_gb_min": sized["min_vram_gb"],
        "region": [sized["understood"]["region"]],
        "max_price": sized["understood"]["max_price"],
        "pricing": ["on_demand"],
        "limit": 6,
    }
    found = await _ask(client, out, "search_offers", wanted)
    out.print(_offers(found["items"], f"{found['total']} offers match, cheapest first"))
    for warning in found.get("warnings", []):
        out.print(f"  [yellow]note[/] {escape(warning)}")
    return found


async def _rank(client: Client, out: Console) -> dict[str, Any]:
    ranking = await _ask(client, out, "rank_offers", {"workload": REQUEST, "limit": 4})
    out.print(
        f"  {ranking['method']} over {ranking['compared']} offers, weights {escape(json.dumps(ranking['weights']))}"
    )
    for item in ranking["items"]:
        price, card = (
            f"${item['price_per_hour']:.3f}/h",
            f"{item['gpu_count']}x {item.get('gpu') or item.get('gpu_raw')}",
        )
        out.print(f"  [bold]{item['rank']}.[/] {escape(item['id'])}  {card}  {price}  score {item['score']:.3f}")
        out.print(f"     [dim]{escape(item['why'])}[/]")
    for held in ranking.get("winner_stays", [])[:2]:
        out.print(f"  the first stays first for a {held['criterion']} weight from {held['low']:g} to {held['high']:g}")
    return ranking


async def _look_closer(client: Client, out: Console, ranking: Mapping[str, Any]) -> dict[str, Any]:
    offer = await _ask(client, out, "get_offer", {"id": ranking["items"][0]["id"]})
    shown = ("name", "gpu", "memory_gb", "cpu_cores", "ram_gb", "region", "country", "pricing", "price_per_hour")
    for name in (*shown, "availability", "price_source", "price_as_of", "source_url"):
        if name in offer:
            out.print(f"  {name:<15} {escape(str(offer[name]))}")
    return offer


async def _sources(client: Client, out: Console) -> dict[str, Any]:
    market = await _ask(client, out, "market_overview", {"gpus": 8})
    states: dict[str, list[str]] = {}
    for provider in market["provider_health"]:
        states.setdefault(provider["state"], []).append(provider["provider"])
    live = [p["provider"] for p in market["provider_health"] if p.get("live")]
    out.print(f"  {market['offers']} offers of {market['providers']} providers")
    out.print(f"  live sources that answered: {', '.join(live) or 'none (prices are the published ones, as dated)'}")
    for state, names in sorted(states.items()):
        out.print(f"  {state}: {escape(', '.join(names))}")
    return market


def _offers(items: list[dict[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left", pad_edge=False)
    table.add_column("$/h", justify="right")
    for name in ("GPU", "stock", "region", "source, as of", "id"):
        table.add_column(name, overflow="fold")
    for item in items:
        card = f"{item['gpu_count']}x {item.get('gpu') or item.get('gpu_raw')}"
        dated = f"{item['price_source']}, {item['price_as_of'][:10]}"
        price = f"{item['price_per_hour']:.3f}"
        table.add_row(price, escape(card), item["availability"], escape(item["region"]), dated, escape(item["id"]))
    return table
