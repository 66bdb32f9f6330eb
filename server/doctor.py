"""What is configured, what can be reached, what is stale: for a person whose server does not do what they expect."""

from __future__ import annotations

import asyncio
import platform
import shutil
from typing import Any
from urllib.parse import urlsplit

from market.context import Market, opened
from market.errors import BrokerError
from market.settings import Settings
from server.app import make_market, providers
from server.mcp_door import product_version

CONNECT_SECONDS = 4.0
LOW_DISK_BYTES = 200 * 1024 * 1024


async def examine(settings: Settings) -> dict[str, Any]:
    """Configuration, database, providers, names nobody knows, and a list of problems with what to do about each."""
    problems: list[str] = []
    found: dict[str, Any] = {
        "configuration": _configuration(settings),
        "providers": [],
        "unmapped_gpus": [],
        "problems": problems,
    }
    _look_at_disk(settings, problems)
    problems += [f"provider module `{broken.name}` cannot be imported: {broken.reason}" for broken in providers()[1]]
    try:
        async with opened(make_market(settings)) as market:
            await _look_at_market(market, found)
            await _look_at_network(found)
    except BrokerError as problem:
        problems.append(str(problem))
    return found


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
        "read only": str(settings.read_only).lower(),
    }


async def _look_at_network(found: dict[str, Any]) -> None:
    """Whether the API of each provider that has one can be connected to from here."""
    hosts = {
        name: urlsplit(adapter.base_url).hostname or "" for name, adapter in providers()[0].items() if adapter.has_api()
    }
    reached = await asyncio.gather(*(_reachable(host) for host in hosts.values()))
    answers = dict(zip(hosts, reached, strict=True))
    for provider in found["providers"]:
        provider["reachable"] = answers.get(provider["provider"])
    for provider in found["providers"]:
        if provider["state"] == "unhealthy" and provider["reachable"]:
            found["problems"].append(f"{provider['provider']} can be connected to, but: {provider['remarks']}")
    silent = [name for name, answered in answers.items() if not answered]
    if silent:
        found["problems"].append(
            f"cannot connect to {', '.join(silent)}; their published or last known prices stand. Is there a network?"
        )


async def _reachable(host: str) -> bool:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, 443)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _look_at_disk(settings: Settings, problems: list[str]) -> None:
    folder = settings.data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if shutil.disk_usage(folder).free < LOW_DISK_BYTES:
        problems.append(f"less than 200 MB are free where the data folder is: {settings.data_dir}")


async def _look_at_market(market: Market, found: dict[str, Any]) -> None:
    snapshot = await market.snapshot()
    states = await market.provider_states()
    now = market.clock.now()
    found["configuration"]["offers"] = str(snapshot.count)
    for name, state in sorted(states.items()):
        stale = state.is_stale(now)
        confirmed = state.last_complete_at
        found["providers"].append(
            {
                "provider": name,
                "state": state.state,
                "offers": snapshot.counts("provider").get(name, 0),
                "confirmed_at": f"{confirmed:%Y-%m-%d %H:%M}" if confirmed else None,
                "stale": stale,
                "remarks": state.last_error or state.notice,
            }
        )
    found["unmapped_gpus"] = sorted(raw for gpu, raw in snapshot.frame.cards.values if gpu is None and raw)
