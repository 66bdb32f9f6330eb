"""What is configured, what can be reached, what is stale, who watches what was bought: for a person who wonders."""

from __future__ import annotations

import asyncio
import platform
import shutil
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from market.context import opened
from market.errors import BrokerError
from market.settings import Settings
from server.app import make_market, providers
from server.version import product_version

if TYPE_CHECKING:
    from market.catalogue import ProviderHealth
    from market.context import Market
    from market.store import Store
    from tools.sync import Provider

CONNECT_SECONDS = 4.0
ENOUGH_DISK_BYTES = 200 * 1024 * 1024

_STRAY = {"orphan": "of no booking of ours", "ghost": "in our book and not in its list"}

Reach = Callable[[str, int], Awaitable[bool]]


async def reachable(host: str, port: int) -> bool:
    """Whether a connection can be opened within a few seconds."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def examine(
    settings: Settings, *, reach: Reach = reachable, enough_disk_bytes: int = ENOUGH_DISK_BYTES
) -> dict[str, Any]:
    """Configuration, purchases, providers, names nobody knows, and a list of problems with what to do about each."""
    adapters, broken = providers()
    problems = [f"provider module `{one.name}` cannot be imported: {one.reason}" for one in broken]
    configuration = _configuration(settings)
    states: Mapping[str, ProviderHealth] = {}
    counts: Mapping[str, int] = {}
    unmapped: list[str] = []
    purchases: dict[str, str] = {}
    market = make_market(settings)
    now = market.clock.now()
    try:
        _look_at_disk(settings, enough_disk_bytes, problems)
        async with opened(market):
            snapshot = await market.snapshot()
            states, counts = await market.provider_states(), snapshot.counts_by_provider()
            configuration["offers"] = str(snapshot.count)
            unmapped = sorted(raw for gpu, raw in snapshot.frame.cards.values if gpu is None and raw)
            purchases = await _purchases(market, problems)
    except BrokerError as problem:
        problems.append(str(problem))
    wanted = settings.chosen_providers
    asked = {name: one for name, one in adapters.items() if one.has_api() and (wanted is None or name in wanted)}
    reached = await _reached(asked, reach)
    lines = [
        _line(name, states.get(name), counts.get(name, 0), now, live=name in asked, reached=reached.get(name))
        for name in adapters
    ]
    needed = [line for line in lines if line["live"] and (line["reachable"] or not adapters[line["provider"]].optional)]
    problems += _provider_problems(needed)
    return {
        "configuration": configuration,
        "purchases": purchases,
        "providers": lines,
        "unmapped_gpus": unmapped,
        "problems": problems,
    }


async def _purchases(market: Market, problems: list[str]) -> dict[str, str]:
    """Who watches, what is open or astray, what may be spent, and whether the audit log holds its anchor."""
    from market import approvals, booking_book, leases, mandate_register, strays
    from tools.authority import WATCHDOG_LEASE

    store, settings, now = await market.store(), market.settings, market.clock.now()
    is_watched = await leases.held(store, WATCHDOG_LEASE, now)
    bookings = await booking_book.open_bookings(store)
    if bookings and not is_watched:
        problems.append(
            f"Open bookings: {len(bookings)}, and no watchdog runs. Unless an MCP client keeps a server running, "
            "nobody brings them on, meters or ends them. Run `gpubroker serve`."
        )
    stuck = [one for one in bookings if one.state == "stuck"]
    problems += [f"Booking {one.id} is stuck: {one.reason}. Look at the console of {one.provider}." for one in stuck]
    found = await strays.unresolved(store)
    problems += [
        f"A machine at {one.provider} ({one.provider_instance_id}) is {_STRAY[one.kind]}; {one.action}."
        for one in found
    ]
    mandates = await mandate_register.entries(store, settings)
    live = [one for one in mandates if one.standing.revoked_at is None and now < one.standing.expires_at]
    problems += [f"{one.refusal} What is bought under it stays." for one in live if one.refusal is not None]
    waiting = await approvals.listed(store, settings, now=now, waiting=True, limit=100)
    return {
        "watchdog": "runs" if is_watched else "none runs",
        "bookings open": f"{len(bookings)}, {len(stuck)} of them stuck",
        "strays": str(len(found)),
        "mandates in force": str(sum(one.refusal is None for one in live)),
        "approvals waiting": str(len(waiting)),
        "audit log": await _audited(store, settings, problems),
    }


async def _audited(store: Store, settings: Settings, problems: list[str]) -> str:
    """How far the audit log goes and is anchored; only `gpubroker audit verify` reads all of it."""
    from market import audit, audit_anchor

    head = await audit.head(store)
    if not head.seq:
        return "empty"
    anchor = await asyncio.to_thread(audit_anchor.read, settings.data_dir, audit.place(settings, store))
    if anchor is None:
        problems.append("The audit log has no anchor in this data folder. Run `gpubroker audit verify`.")
        return f"{head.seq} entries, no anchor"
    held = await audit.entries(store, after=anchor.seq - 1, limit=1)
    if anchor.seq and (not held or (held[0].seq, held[0].hash) != (anchor.seq, anchor.hash)):
        problems.append(
            f"The audit log does not hold entry {anchor.seq} as it was anchored; nothing more is spent. "
            "Run `gpubroker audit verify`."
        )
    return f"{head.seq} entries, anchored at entry {anchor.seq}"


def _configuration(settings: Settings) -> dict[str, str]:
    database = (
        "PostgreSQL (GPUBROKER_DATABASE_URL)" if settings.database_url else str(settings.data_dir / "gpubroker.db")
    )
    return {
        "version": product_version(),
        "python": platform.python_version(),
        "database": database,
        "sync": settings.sync,
        "providers": settings.providers or "all",
        "read only": "yes" if settings.read_only else "no",
    }


async def _reached(adapters: Mapping[str, Provider], reach: Reach) -> dict[str, bool]:
    """Whether the API of each of these providers can be connected to from here."""
    addresses = [urlsplit(adapter.address()) for adapter in adapters.values()]
    usual = {"http": 80, "https": 443}
    answers = await asyncio.gather(
        *(reach(one.hostname or "", one.port or usual.get(one.scheme, 443)) for one in addresses)
    )
    return dict(zip(adapters, answers, strict=True))


def _look_at_disk(settings: Settings, enough_bytes: int, problems: list[str]) -> None:
    folder = settings.data_dir.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    if shutil.disk_usage(folder).free < enough_bytes:
        problems.append(
            f"Less than {enough_bytes // 1024**2} MB are free where the data folder is ({settings.data_dir}). "
            "Free some space, or choose another folder with `GPUBROKER_DATA_DIR`."
        )


def _line(
    name: str, state: ProviderHealth | None, offers: int, now: datetime, *, live: bool, reached: bool | None
) -> dict[str, Any]:
    confirmed = state.last_complete_at if state else None
    return {
        "provider": name,
        "state": state.state if state else "unknown",
        "live": live,
        "reachable": reached,
        "offers": offers,
        "confirmed_at": f"{confirmed:%Y-%m-%d %H:%M}" if confirmed else None,
        "stale": state.is_stale(now) if state else live,
        "remarks": (state.last_error or state.notice) if state else "",
    }


def _provider_problems(lines: list[dict[str, Any]]) -> list[str]:
    """What is wrong with those that are asked for live prices; the same trouble of several is one problem."""
    silent = [line["provider"] for line in lines if not line["reachable"]]
    late = [line["provider"] for line in lines if line["stale"] and line["confirmed_at"] and line["reachable"]]
    problems = [
        f"{line['provider']} can be connected to, but: {line['remarks']}"
        for line in lines
        if line["reachable"] and line["state"] == "unhealthy"
    ]
    if late:
        problems.append(f"Not confirmed lately: {', '.join(late)}. Run `gpubroker sync {' '.join(late)}`.")
    if silent:
        problems.append(
            f"Cannot connect to {', '.join(silent)}; their published or last known prices stand. Is there a network?"
        )
    return problems
