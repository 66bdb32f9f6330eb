"""The sandbox beside the market: default answers are the same with its offers and without; its absence is no fault."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.sandbox import Sandbox
from market import catalogue
from market.context import Market
from market.settings import Settings
from tests.conftest import ManualClock
from tests.sandbox import SandboxWorld
from tests.tools.conftest import ask
from tools.sync import seed, sync_provider

ASKED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("search_offers", {"limit": 50}),
    ("search_offers", {"gpu": "H100", "sort": "performance_per_dollar", "limit": 50}),
    ("search_offers", {"gpu": "T4", "pricing": "spot", "limit": 50}),
    ("search_offers", {"q": "sandbox"}),
    ("search_offers", {"tags": "sandbox"}),
    ("search_offers", {"region": "eu", "availability": "available", "limit": 50}),
    ("search_offers", {"bookable": True}),
    ("search_offers", {"gpu": "MI300X", "max_price": 0.5}),
    ("rank_offers", {}),
    ("rank_offers", {"weights": {"price": 1, "availability": 1}, "gpu": "H100"}),
    ("rank_offers", {"workload": "serve Llama 3.1 8B", "region": "eu"}),
    ("estimate_workload", {"text": "fine-tune Llama 3 8B on 10 million tokens"}),
    ("estimate_workload", {"text": "serve Llama 3.1 70B", "region": "us"}),
    ("price_history", {"gpu": "H100"}),
    ("predict", {"gpu": "H100"}),
    ("market_overview", {"gpus": 100}),
    ("list_gpus", {}),
    ("get_gpu", {"name": "H100-SXM"}),
    ("map_workload_to_gpu", {"text": "serve Llama 3.1 8B"}),
)


@pytest.fixture
async def both(seeded: Market, clock: ManualClock, tmp_path: Path) -> AsyncIterator[tuple[Market, Market]]:
    """The published tables, and the same with the sandbox's offers read from a running one."""
    await seeded.snapshot()
    other = tmp_path / "other"
    await seeded.close()
    shutil.copytree(tmp_path, other, ignore=shutil.ignore_patterns("other"))
    practised = Market(Settings(data_dir=other), clock=clock, seed=seed)
    run = await sync_provider(practised, Sandbox, connect=SandboxWorld(clock).connect)
    assert run.offers == 94
    await practised.refresh()
    yield seeded, practised
    await practised.close()


def told(answer: Any) -> Any:
    """What an answer says, but for the version of the catalogue."""
    said = answer.model_dump(exclude={"catalogue_version", "cursor", "next_cursor", "generated_at"})
    assert "sandbox:" not in str(said)
    return said


async def test_no_default_answer_changes_when_the_sandbox_is_there(both: tuple[Market, Market]) -> None:
    without, within = both
    for name, arguments in ASKED:
        assert told(await ask(within, name, **arguments)) == told(await ask(without, name, **arguments)), name


async def test_whoever_names_the_sandbox_gets_it_alone(both: tuple[Market, Market]) -> None:
    within = both[1]
    page = await ask(within, "search_offers", provider="sandbox", gpu="H100", limit=50)
    assert page.total == 18
    assert {item.provider for item in page.items} == {"sandbox"}
    offer = await ask(within, "get_offer", id=page.items[0].id)
    assert offer.id == page.items[0].id
    ranking = await ask(within, "rank_offers", provider="sandbox", gpu="H100")
    assert {item.provider for item in ranking.items} == {"sandbox"}
    sheet = await ask(within, "get_provider", name="sandbox")
    assert (sheet.offers, len(sheet.cheapest)) == (94, 5)


async def test_a_sandbox_that_does_not_run_is_disabled_and_no_fault(market: Market, clock: ManualClock) -> None:
    world = SandboxWorld(clock)
    store = await market.store()
    world.down = True
    run = await sync_provider(market, Sandbox, connect=world.connect)
    assert (run.error, run.absent, run.source) == (None, True, "not running")
    assert "`gpubroker sandbox`" in run.warnings[0]
    health = (await catalogue.provider_states(store))["sandbox"]
    assert (health.state, health.last_error, health.last_success_at) == ("disabled", None, None)
    assert await catalogue.recent_runs(store, limit=9) == []
    world.down = False
    await sync_provider(market, Sandbox, connect=world.connect)
    assert (await catalogue.provider_states(store))["sandbox"].state == "healthy"
    clock.advance(timedelta(minutes=1))
    world.down = True
    await sync_provider(market, Sandbox, connect=world.connect)
    health = (await catalogue.provider_states(store))["sandbox"]
    assert (health.state, health.offers) == ("disabled", 94)


async def test_a_sandbox_that_runs_and_fails_is_unhealthy(market: Market, clock: ManualClock) -> None:
    world = SandboxWorld(clock)
    world.dial.set("server_error", endpoint="types")
    run = await sync_provider(market, Sandbox, connect=world.connect)
    assert run.error is not None
    assert not run.absent
    assert (await catalogue.provider_states(await market.store()))["sandbox"].state == "unhealthy"
