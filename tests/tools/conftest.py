"""A market over a real database in a temporary folder, with a few offers of its own or the published tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
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
