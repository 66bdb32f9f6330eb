"""Fixtures of the doors: a market filled once from the published tables, and its MCP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from market.context import Context, Market
from market.settings import Settings
from server.mcp_door import MarketDoor, build
from tools import capability as registry
from tools.capability import Request, Result, capability
from tools.sync import seed


async def _filled(settings: Settings) -> None:
    market = Market(settings, seed=seed)
    await market.snapshot()
    await market.close()


@pytest.fixture(scope="session")
def filled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose catalogue holds the published prices."""
    folder = tmp_path_factory.mktemp("market")
    asyncio.run(_filled(Settings(data_dir=folder, sync="off")))
    return folder


@pytest.fixture
def settings(filled_folder: Path) -> Settings:
    """Settings over the filled folder."""
    return Settings(data_dir=filled_folder, sync="off", read_only=False, toolsets="", request_state_key="")


@pytest.fixture
async def market(settings: Settings) -> AsyncIterator[Market]:
    """The filled market."""
    opened = Market(settings)
    yield opened
    await opened.close()


@pytest.fixture
def door(market: Market, settings: Settings) -> MarketDoor:
    """The MCP server over the filled market."""
    return build(market, settings)


@pytest.fixture(params=["auto", "legacy"])
def era(request: pytest.FixtureRequest) -> str:
    """How a client connects: 2026-07-28, then the handshake of 2025."""
    return str(request.param)


class Nothing(Request):
    """No arguments."""


class Done(Result):
    """That it was done."""

    done: bool


async def _done(_ctx: Context, _query: Nothing) -> Done:
    """Do it."""
    return Done(done=True)


@pytest.fixture
def declare() -> Iterator[Callable[..., None]]:
    """Declares capabilities of the test's own, and takes them back afterwards."""
    registry.capabilities()
    before = set(registry._REGISTRY)

    def declared(name: str, run: Any = _done, *routes: str, **how: Any) -> None:
        run.__name__ = name
        capability(*routes, **{"scope": "market:read", "effect": "read", **how})(run)

    yield declared
    for name in set(registry._REGISTRY) - before:
        del registry._REGISTRY[name]
