"""What is configured, what can be reached, what is stale: for a person whose server does not do what they expect."""

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
    from tools.sync import Provider

CONNECT_SECONDS = 4.0
ENOUGH_DISK_BYTES = 200 * 1024 * 1024

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
    """Configuration, database, providers, names nobody knows, and a list of problems with what to do about each."""
    adapters, broken = providers()
    problems = [f"provider module `{one.name}` cannot be imported: {one.reason}" for one in broken]
    configuration = _configuration(settings)
    states: Mapping[str, ProviderHealth] = {}
    counts: Mapping[str, int] = {}
    unmapped: list[str] = []
    market = make_market(settings)
    now = market.clock.now()
    try:
        _look_at_disk(settings, enough_disk_bytes, problems)
        async with opened(market):
            snapshot = await market.snapshot()
            states, counts = await market.provider_states(), snapshot.counts_by_provider()
            configuration["offers"] = str(snapshot.count)
            unmapped = sorted(raw for gpu, raw in snapshot.frame.cards.values if gpu is None and raw)
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
    return {"configuration": configuration, "providers": lines, "unmapped_gpus": unmapped, "problems": problems}


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
