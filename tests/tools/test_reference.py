"""GPUs and providers looked up by name."""

from __future__ import annotations

from decimal import Decimal

import pytest

from market import catalogue
from market.context import Market
from market.errors import NotFound
from tests.market.offer_samples import made
from tests.tools.conftest import ask, stocked


async def test_gpus_are_listed_with_their_price_on_demand(market: Market) -> None:
    await stocked(market, made(price="4", gpu_count=2), made("aws:t4:us:spot", "0.2", gpu="T4", pricing="spot"))
    listed = {line.name: line for line in (await ask(market, "list_gpus")).gpus}
    assert len(listed) > 80
    assert (listed["H100-SXM"].offers, listed["H100-SXM"].cheapest_per_gpu_hour) == (1, Decimal(2))
    assert (listed["T4"].offers, listed["T4"].cheapest_per_gpu_hour) == (1, None)
    assert listed["V100-SXM2-16GB"].offers == 0


async def test_one_gpu_shows_dense_figures_and_its_cheapest_offers(market: Market) -> None:
    await stocked(market, *(made(f"aws:n{price}:us", str(price)) for price in range(1, 9)))
    sheet = await ask(market, "get_gpu", name=" h100-sxm ")
    assert (sheet.name, sheet.bf16_tflops, sheet.memory_bandwidth_gbps) == ("H100-SXM", 989.4, 3350)
    assert [item.price_per_hour for item in sheet.cheapest] == [1, 2, 3, 4, 5]
    assert sheet.offers == 8
    with pytest.raises(NotFound, match="H100"):
        await ask(market, "get_gpu", name="H1OO")


async def test_providers_are_listed_and_shown_with_their_health(market: Market) -> None:
    await stocked(market, made(), made("vast:a:de", "3", provider="vast"))
    sick = catalogue.ProviderHealth(name="vast", title="Vast.ai", state="unhealthy", last_error="down", notice="Dated.")
    await catalogue.note_health(await market.store(), sick)
    await market.refresh()
    assert [line.provider for line in (await ask(market, "list_providers")).providers] == ["aws", "vast"]
    sheet = await ask(market, "get_provider", name="Vast")
    assert (sheet.title, sheet.state, sheet.last_error, sheet.notice) == ("Vast.ai", "unhealthy", "down", "Dated.")
    assert [item.id for item in sheet.cheapest] == ["vast:a:de"]
    with pytest.raises(NotFound) as caught:
        await ask(market, "get_provider", name="vasst")
    assert caught.value.next_step.startswith("Nearest: `vast`")
