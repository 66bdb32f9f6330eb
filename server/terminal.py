"""What people see in a terminal: tables, progress, and plain JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from market.context import Market
    from tools.offer_view import OfferLine
    from tools.search import OfferPage
    from tools.sync import ProviderRun, Providers

_REACHED: dict[bool | None, str] = {True: "[green]reached[/]", False: "[red]not reached[/]", None: ""}
_STATE_STYLE = {"healthy": "green", "degraded": "yellow", "unhealthy": "red", "unknown": "dim"}


def console() -> Console:
    """Stdout as it is: coloured on a terminal, plain in a pipe, never cut in a pipe."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def print_json(value: object) -> None:
    """Indented JSON."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(value, default=str, option=options).decode() + "\n")


def print_facts(title: str, facts: Mapping[str, object]) -> None:
    """Names and values, one a line."""
    table = Table(title=title, show_header=False, box=None, title_justify="left")
    for name, value in facts.items():
        table.add_row(f"[bold]{escape(name)}[/]", escape(str(value)))
    console().print(table)


def print_offers(page: OfferPage) -> None:
    """A page of offers, or what to loosen when there is none."""
    out = console()
    if page.items:
        out.print(offer_table(page.items, f"{page.total} offers"))
        if page.total > len(page.items):
            out.print(f"[dim]The first {len(page.items)}; `limit=50` shows more.[/]")
    else:
        out.print("Nothing matches.")
    for way in page.relax or []:
        price = f", from ${way.cheapest_per_hour:g}/h" if way.cheapest_per_hour is not None else ""
        out.print(f"  [bold]{escape(way.constraint)}[/]: {escape(way.change)} → {way.total} offers{price}")
    for warning in page.warnings or []:
        out.print(f"[yellow]note[/] {escape(warning)}")


def offer_table(offers: list[OfferLine], title: str) -> Table:
    """Offers as a table; where a price comes from and its date stand beside it."""
    table = Table(title=title, title_justify="left", pad_edge=False)
    for name in ("$/h", "$/GPU·h"):
        table.add_column(name, justify="right")
    for name in ("GPU", "pricing", "stock", "region", "source, as of", "id"):
        table.add_column(name, overflow="fold")
    for offer in offers:
        price = offer.price_per_hour_usd or offer.price_per_hour
        memory = f" {offer.memory_gb:g} GB" if offer.memory_gb else ""
        table.add_row(
            f"{price:.3f}" if price is not None else "",
            f"{offer.price_per_gpu_hour:.3f}" if offer.price_per_gpu_hour is not None else "",
            escape(f"{offer.gpu_count}x {offer.gpu or offer.gpu_raw or offer.name}{memory}"),
            offer.pricing,
            offer.availability,
            escape(offer.region),
            f"{offer.price_source}, {offer.price_as_of:%Y-%m-%d}",
            escape(offer.id),
        )
    return table


async def follow_sync(market: Market, adapters: Providers) -> list[ProviderRun]:
    """Fetch with a progress bar, then a table of what each provider gave and why rows were refused."""
    from tools.sync import sync

    out = console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task("providers", total=len(adapters))

        async def told(run: ProviderRun) -> None:
            progress.advance(task)

        runs = await sync(market, adapters, told=told)
    out.print(run_table(runs))
    return runs


def run_table(runs: list[ProviderRun]) -> Table:
    """What one sync did, provider by provider."""
    rows, seconds = sum(run.rows for run in runs), max((run.seconds for run in runs), default=0.0)
    title = f"{rows} rows, {sum(run.offers for run in runs)} offers in {seconds:.1f} s"
    table = Table(title=title, title_justify="left", pad_edge=False)
    table.add_column("provider")
    table.add_column("source")
    for name in ("rows", "offers", "new", "changed", "gone", "s", "rows/s"):
        table.add_column(name, justify="right")
    table.add_column("refused, and why", overflow="fold")
    for run in sorted(runs, key=lambda run: run.provider):
        table.add_row(
            run.provider,
            run.source,
            *(str(count) for count in (run.rows, run.offers, run.inserted, run.changed, run.gone)),
            f"{run.seconds:.1f}",
            f"{run.rows_per_second:.0f}",
            escape(_remarks(run)),
        )
    return table


def _remarks(run: ProviderRun) -> str:
    said = [run.error] if run.error else []
    said += [f"{count}x {reason}" for reason, count in sorted(run.rejects.items(), key=lambda one: -one[1])[:4]]
    said += run.warnings[:2]
    return "; ".join(said)


def print_examination(found: Mapping[str, Any]) -> None:
    """What `doctor` found."""
    out = console()
    print_facts("GPUBroker", found["configuration"])
    table = Table(title="Providers", title_justify="left", pad_edge=False)
    for name in ("provider", "state", "API", "offers", "confirmed", "remarks"):
        table.add_column(name, overflow="fold")
    for provider in found["providers"]:
        style = _STATE_STYLE.get(provider["state"], "dim")
        table.add_row(
            provider["provider"],
            f"[{style}]{provider['state']}[/]{' (stale)' if provider['stale'] else ''}",
            _REACHED[provider.get("reachable")],
            str(provider["offers"]),
            provider["confirmed_at"] or "never",
            escape(provider["remarks"]),
        )
    out.print(table)
    if found["unmapped_gpus"]:
        out.print(f"GPU names nobody knows yet: {escape(', '.join(found['unmapped_gpus'][:20]))}")
    for problem in found["problems"]:
        out.print(f"[red]problem[/] {escape(problem)}")
    if not found["problems"]:
        out.print("[green]All is well.[/]")
