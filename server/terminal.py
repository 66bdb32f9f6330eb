"""What people see in a terminal: tables, progress, and plain JSON for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from market.context import Market
    from tools.search import OfferPage
    from tools.sync import ProviderRun

Facts = Mapping[str, Any]

PIPE_WIDTH = 180
ROOMY = 140
"""Below this width the id of an offer stands under it, not beside it."""

_REACHED: dict[bool | None, str] = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}
_STATE_STYLE = {"healthy": "green", "degraded": "yellow", "unhealthy": "red", "unknown": "dim"}
_SOURCES = {
    "live_api": "live",
    "price_list": "price list",
    "static_table": "published",
    "marketplace": "marketplace",
    "token_equivalent": "from tokens",
}


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Let the command line end it: whoever read our output has had enough."""
        raise BrokenPipeError


def console(*, file: Any = None, width: int | None = None) -> Console:
    """Stdout as it is: coloured on a terminal, plain and wide in a pipe."""
    out = file or sys.stdout
    if width is None and not out.isatty() and not os.environ.get("COLUMNS"):
        width = PIPE_WIDTH
    return _Terminal(file=out, width=width, highlight=False)


def print_json(value: object) -> None:
    """Indented JSON."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(value, default=_plain, option=options).decode() + "\n")


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else str(value)


def print_facts(title: str, facts: Facts) -> None:
    """Names and values, one a line."""
    out = console()
    out.print(f"[bold]{escape(title)}[/]")
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        out.print(f"  {escape(name):<{width}}  {escape(str(value))}", soft_wrap=True)


def print_offers(page: OfferPage) -> None:
    """A page of offers, or what to loosen when there is none."""
    out = console()
    if page.items:
        out.print(f"[bold]{_offers(page.total)}[/]")
        out.print(offer_table([item.model_dump(mode="json", exclude_none=True) for item in page.items], out.width))
        if page.total > len(page.items):
            more = "; `limit=50` shows more" if len(page.items) < 50 else ""
            out.print(f"[dim]The first {len(page.items)}{more}.[/]")
    else:
        out.print("Nothing matches." + (" What to loosen:" if page.relax else ""))
    for way in page.relax or []:
        price = f", from ${way.cheapest_per_hour:.3f} an hour" if way.cheapest_per_hour is not None else ""
        out.print(f"  [bold]{escape(way.constraint)}[/]: {escape(way.change)}: {_offers(way.total)}{price}")
    for warning in page.warnings or []:
        out.print(f"[yellow]note[/] {escape(warning)}")


def offer_table(offers: Sequence[Facts], width: int) -> Table:
    """Offers in US dollars; where a price comes from and its date stand beside it."""
    roomy = width >= ROOMY
    table = _table()
    for name in ("$/h", "$/GPU h"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("GPU", "pricing", "region", "stock", "price from", "id") if roomy else ("offer", "price from"):
        table.add_column(name, overflow="fold")
    for offer in offers:
        facts = [_card(offer), str(offer["pricing"]).replace("_", " "), str(offer["region"])]
        source = f"{_SOURCES.get(offer['price_source'], offer['price_source'])} {str(offer['price_as_of'])[:10]}"
        if roomy:
            cells = [*facts, str(offer["availability"]), source, str(offer["id"])]
        else:
            stock = [] if offer["availability"] == "unknown" else [str(offer["availability"])]
            cells = [", ".join([*facts, *stock]) + "\n" + str(offer["id"]), source]
        table.add_row(*_dollars(offer), *map(escape, cells))
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _dollars(offer: Facts) -> tuple[str, str]:
    """Price an hour of the whole and of one GPU, in US dollars; a hosted model is sold by the million tokens."""
    listed = offer.get("price_per_hour")
    if listed is None:
        tokens = [offer.get(f"price_per_million_{way}_tokens") for way in ("input", "output")]
        return " / ".join(f"{price:g}" for price in tokens if price is not None), "per M tokens"
    price, each = offer.get("price_per_hour_usd", listed), offer.get("price_per_gpu_hour")
    return _three(price), _three(each * price / listed) if each is not None and listed else ""


def _three(price: float) -> str:
    """Three decimals, a half rounded as it is written and not as it is stored."""
    return f"{Decimal(f'{price:.6f}'):.3f}"


def _card(offer: Facts) -> str:
    card = offer.get("gpu") or offer.get("gpu_raw") or offer.get("name", "")
    share = f"{offer['gpu_fraction']:g} of " if "gpu_fraction" in offer else ""
    memory = f" {offer['memory_gb']:g} GB" if offer.get("memory_gb") else ""
    nodes = f", {offer['node_count']} nodes" if "node_count" in offer else ""
    return f"{share}{offer['gpu_count']}x {card}{memory}{nodes}"


async def follow_sync(market: Market, names: frozenset[str] | None) -> list[ProviderRun]:
    """Fetch with a progress bar, then a table of what each provider gave and why rows were refused."""
    from tools.sync import chosen, sync

    adapters = chosen(names)
    out = console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task("providers", total=len(adapters))

        async def told(run: ProviderRun) -> None:
            progress.update(task, advance=1, description=escape(f"{run.provider}: {run.offers} offers"))

        runs = await sync(market, adapters, told=told)
    print_runs(runs, out)
    return runs


def print_runs(runs: Sequence[ProviderRun], out: Console) -> None:
    """What one sync did, provider by provider, and what each refused or failed at."""
    rows, seconds = sum(run.rows for run in runs), max((run.seconds for run in runs), default=0.0)
    out.print(f"[bold]{rows} rows, {sum(run.offers for run in runs)} offers in {seconds:.1f} s[/]")
    table = _table()
    for name in ("provider", "source"):
        table.add_column(name)
    for name in ("rows", "offers", "new", "changed", "gone", "s", "rows/s"):
        table.add_column(name, justify="right")
    ordered = sorted(runs, key=lambda run: run.provider)
    for run in ordered:
        counts = (run.rows, run.offers, run.inserted, run.changed, run.gone)
        speed = (f"{run.seconds:.1f}", f"{run.rows_per_second:.0f}")
        table.add_row(escape(run.provider), escape(run.source), *map(str, counts), *speed)
    out.print(table)
    for run in ordered:
        refused = sorted(run.rejects.items(), key=lambda one: -one[1])
        said = [f"{count} rows refused: {reason}" for reason, count in refused[:4]] + list(run.warnings[:2])
        if run.error:
            out.print(f"[red]{escape(run.provider)}[/] {escape(run.error)}", soft_wrap=True)
        if said:
            out.print(f"[yellow]{escape(run.provider)}[/] {escape('; '.join(said))}", soft_wrap=True)


def print_examination(found: Facts) -> None:
    """What `doctor` found: what is configured, who is asked, who is known from a table, and last what is wrong."""
    print_facts("GPUBroker", found["configuration"])
    out = console()
    if found["purchases"]:
        out.print()
        print_facts("Purchases", found["purchases"])
    live = [provider for provider in found["providers"] if provider["live"]]
    if live:
        out.print("\n[bold]Asked for live prices[/]")
        out.print(_live_table(live))
        for provider in live:
            if provider["remarks"]:
                out.print(f"  {escape(provider['provider'])}: [dim]{escape(provider['remarks'])}[/]")
    grouped: dict[tuple[str, str], list[str]] = {}
    for provider in found["providers"]:
        if not provider["live"]:
            name = f"{provider['provider']} {provider['offers']}" if provider["offers"] else provider["provider"]
            grouped.setdefault((provider["state"], provider["remarks"]), []).append(name)
    if grouped:
        out.print("\n[bold]Known from published tables, or not at all[/] (name and offers)")
    for (_, remarks), names in sorted(grouped.items(), key=lambda one: -len(one[1])):
        out.print(f"  {escape(', '.join(names))}: [dim]{escape(remarks)}[/]", soft_wrap=False)
    if found["unmapped_gpus"]:
        out.print(f"[bold]GPU names nobody knows yet:[/] {escape(', '.join(found['unmapped_gpus'][:20]))}")
    out.print()
    for problem in found["problems"]:
        out.print(f"[red]problem[/] {escape(problem)}")
    if not found["problems"]:
        out.print("[green]All is well.[/]")


def _live_table(providers: Sequence[Facts]) -> Table:
    table = _table()
    for name in ("  provider", "state", "reached", "offers", "confirmed"):
        table.add_column(name, overflow="fold", justify="right" if name == "offers" else "left")
    for provider in providers:
        state = "not asked yet" if provider["state"] == "unknown" else provider["state"]
        late = " (stale)" if provider["stale"] and provider["confirmed_at"] else ""
        table.add_row(
            f"  {escape(provider['provider'])}",
            f"[{_STATE_STYLE.get(provider['state'], 'dim')}]{state}{late}[/]",
            _REACHED[provider["reachable"]],
            str(provider["offers"]),
            provider["confirmed_at"] or "never",
        )
    return table


def _offers(count: int) -> str:
    return "1 offer" if count == 1 else f"{count} offers"
