"""A market over a real database in a temporary folder, with a few offers of its own or the published tables."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from market import catalogue
from market.catalogue import ProviderHealth
from market.context import Context, Market
from market.offers import Offer
from market.settings import Settings
from tests.conftest import ManualClock
from tests.tools.math_door import Door, filled, opened_door
from tools.capability import capabilities
from tools.sync import seed

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
async def market(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Market]:
    """An open market with nothing in it."""
    opened = Market(Settings(data_dir=tmp_path), clock=clock, version_check_seconds=0)
    yield opened
    await opened.close()


@pytest.fixture
async def seeded(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Market]:
    """A market as a first start leaves it: the published tables."""
    opened = Market(Settings(data_dir=tmp_path), clock=clock, seed=seed)
    yield opened
    await opened.close()


async def stocked(market: Market, *offers: Offer) -> Market:
    """The market with these offers, each provider read whole just now."""
    store, now = await market.store(), market.clock.now()
    for provider in sorted({offer.provider for offer in offers}):
        listed = [offer for offer in offers if offer.provider == provider]
        await catalogue.record(store, provider, listed, seen_at=now, complete=True)
        health = ProviderHealth(
            name=provider, title=provider.title(), state="healthy", stale_after=timedelta(minutes=30)
        )
        await catalogue.note_health(store, health)
    await market.refresh()
    return market


async def ask(market: Market, capability: str, /, **arguments: Any) -> Any:
    """A capability called as every door calls it: raw arguments through the gate."""
    return await capabilities()[capability].call(Context(market), arguments)


@pytest.fixture(scope="session")
def published_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose catalogue holds the published prices."""
    return filled(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def door(published_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The HTTP application over a copy of them, so that what a module keeps stays its own."""
    folder = tmp_path_factory.mktemp("door")
    shutil.copytree(published_folder, folder, dirs_exist_ok=True)
    with opened_door(folder) as opened:
        yield opened
