"""`gpubroker demo`: the main job, shown: a real MCP client over stdio asks for compute and gets an explained answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from market.settings import Settings
from server import demo_booking
from server.demo_client import ask, command, conversation
from server.terminal import console, offer_table

REQUEST = "fine-tune Llama 3 8B on 50k examples, EU only, under $3 an hour"
LIVE_WAIT_SECONDS = 20.0
POLL_SECONDS = 0.5
MOST_COLUMNS = 120


async def run(settings: Settings, *, as_json: bool = False, part: str | None = None) -> int:
    """Start the server as a client would, hold a short conversation with it, and print what was said.

    `part` is `market` or `booking` for one half of it. Raises the server's refusal, and Unavailable when it does not
    start.
    """
    out = console(file=sys.stderr if as_json else None)
    out.width = min(out.width, MOST_COLUMNS)
    said: dict[str, Any] = {}
    if part != "booking":
        await conversation(_server(settings), lambda client: _converse(client, out, said, settings))
    if part != "market":
        said["purchase"] = await demo_booking.show(out)
    out.print("\n[dim]Add it to your own client: see README, “Use it”.[/]")
    if as_json:
        sys.stdout.write(json.dumps(said) + "\n")
    return 0


async def _converse(client: Client, out: Console, said: dict[str, Any], settings: Settings) -> None:
    out.rule("GPUBroker: what a client sees")
    await _introduce(client, out)
    if settings.sync == "on":
        await _wait_for_live(client, out, settings.chosen_providers)
    said["estimate"] = await _estimate(client, out)
    said["search"] = await _search(client, out, said["estimate"])
    said["ranking"] = await _rank(client, out)
    if said["ranking"]["items"]:
        said["offer"] = await _look_closer(client, out, said["ranking"]["items"][0]["id"])
    said["market"] = await _sources(client, out)


def _server(settings: Settings) -> StdioServerParameters:
    """`gpubroker stdio` with these settings, on the same data folder."""
    program, *words = command("stdio", "--data-dir", str(settings.data_dir))
    if settings.sync == "off":
        words.append("--no-sync")
    return StdioServerParameters(command=program, args=words, env=dict(os.environ))


async def _introduce(client: Client, out: Console) -> None:
    tools = (await client.list_tools()).tools
    out.print(f"[bold]{len(tools)} tools[/]")
    table = Table(show_header=False, box=None)
    for tool in tools:
        table.add_row(f"[bold]{escape(tool.name)}[/]", escape((tool.description or "").split("\n")[0]))
    out.print(table)


async def _wait_for_live(client: Client, out: Console, wanted: frozenset[str] | None) -> None:
    """Give the first fetch a moment, so that live prices are in the answers where there is a network."""
    asked = await _unasked(client, wanted)
    if not asked:
        return
    out.print(f"\n[dim]Asking {asked} live sources in the background, {LIVE_WAIT_SECONDS:.0f} s at most …[/]")
    with anyio.move_on_after(LIVE_WAIT_SECONDS):
        for _ in range(int(LIVE_WAIT_SECONDS / POLL_SECONDS)):
            if await _unasked(client, wanted) == 0:
                return
            await anyio.sleep(POLL_SECONDS)


async def _unasked(client: Client, wanted: frozenset[str] | None) -> int:
    """How many of the wanted providers have not been asked yet."""
    result = await client.call_tool("market_overview", {"gpus": 1})
    providers = (result.structured_content or {}).get("provider_health", [])
    return sum(one["state"] == "unknown" and (wanted is None or one["provider"] in wanted) for one in providers)


async def _estimate(client: Client, out: Console) -> dict[str, Any]:
    out.print(f"\n[bold]A person asks:[/] “{REQUEST}”")
    sized = await ask(client, out, "estimate_workload", {"text": REQUEST})
    understood = ", ".join(f"{name} {value}" for name, value in sized["understood"].items())
    out.print(f"  understood: {escape(understood)}")
    parts = ", ".join(f"{name} {value:g}" for name, value in sized.get("memory_gb", {}).items())
    out.print(f"  needs {sized['min_vram_gb']:g} GB of GPU memory ({parts})")
    table = Table(show_header=False, box=None)
    for fit in sized["fits"][:4]:
        took, low, high = fit.get("hours"), fit.get("cost_low"), fit.get("cost_high")
        price = f"${fit['price_per_hour']:.3f} an hour" if "price_per_hour" in fit else ""
        hours = f"{took[0]:.1f}–{took[-1]:.1f} hours" if took else ""
        cost = f"${low:.2f}–{high:.2f} in all" if low is not None and high is not None else ""
        table.add_row(f" {fit['gpu_count']}x {fit['gpu']}", price, hours, cost)
    out.print(table)
    out.print(f"  [dim]assumed: {escape('; '.join(sized['assumptions']))}[/]")
    return sized


async def _search(client: Client, out: Console, sized: Mapping[str, Any]) -> dict[str, Any]:
    understood = sized["understood"]
    wanted = {"total_memory_gb_min": sized["min_vram_gb"], "pricing": [understood["pricing"]], "limit": 6}
    wanted |= {name: understood[name] for name in ("region", "max_price") if name in understood}
    found = await ask(client, out, "search_offers", wanted)
    out.print(f"  {found['total']} offers match, cheapest first:")
    out.print(offer_table(found["items"], out.width))
    for warning in found.get("warnings", []):
        out.print(f"  [yellow]note[/] {escape(warning)}")
    return found


async def _rank(client: Client, out: Console) -> dict[str, Any]:
    ranking = await ask(client, out, "rank_offers", {"workload": REQUEST, "limit": 4})
    weights = ", ".join(f"{name} {weight:g}" for name, weight in ranking["weights"].items() if weight)
    out.print(f"  {escape(ranking['method'])} over {ranking['compared']} offers; weights: {escape(weights)}")
    for item in ranking["items"]:
        card = f"{item['gpu_count']}x {item.get('gpu') or item.get('gpu_raw')}"
        price = f"${item.get('price_per_hour_usd', item.get('price_per_hour')):.3f} an hour"
        out.print(
            f"  [bold]{item['rank']}. {escape(card)}[/], {price}, score {item['score']:.3f}: {escape(item['id'])}"
        )
        out.print(f"     [dim]{escape(item['why'])}[/]")
    for held in ranking.get("winner_stays", [])[:2]:
        low, high = held["low"], held["high"]
        out.print(f"  The first stays first while {held['criterion']} weighs {low:g} to {high:g}.")
    return ranking


async def _look_closer(client: Client, out: Console, offer_id: str) -> dict[str, Any]:
    offer = await ask(client, out, "get_offer", {"id": offer_id})
    shown = ("name", "gpu", "memory_gb", "cpu_cores", "ram_gb", "region", "country", "pricing", "price_per_hour")
    for name in (*shown, "currency", "availability", "price_source", "price_as_of", "source_url"):
        if name in offer:
            out.print(f"  {name:<15} {escape(str(offer[name]))}")
    return offer


async def _sources(client: Client, out: Console) -> dict[str, Any]:
    market = await ask(client, out, "market_overview", {"gpus": 8})
    states: dict[str, list[str]] = {}
    for provider in market["provider_health"]:
        states.setdefault(provider["state"], []).append(provider["provider"])
    live = [p["provider"] for p in market["provider_health"] if p.get("live")]
    out.print(f"  {market['offers']} offers of {market['providers']} providers")
    out.print(f"  live sources that answered: {', '.join(live) or 'none (prices are the published ones, as dated)'}")
    for state, names in sorted(states.items()):
        out.print(f"  {'not asked yet' if state == 'unknown' else state}: {escape(', '.join(names))}")
    return market
