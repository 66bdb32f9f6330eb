"""One offer in full."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from market import catalogue
from market.context import Market
from market.errors import NotFound
from tests.conftest import ManualClock
from tests.market.offer_samples import made, token_offer
from tests.tools.conftest import ask, stocked

DAY = timedelta(days=1)


@pytest.mark.requirement("FR-PROV-003")
async def test_one_offer_is_shown_in_full(market: Market) -> None:
    await stocked(market, made(sla_uptime=99.9, storage_price_per_gb_month=Decimal("0.08"), min_rental_minutes=60))
    sheet = await ask(market, "get_offer", id="aws:a:us-east-1")
    assert (sheet.gpu, sheet.gpu_raw, sheet.external_id) == ("H100-SXM", "NVIDIA H100 80GB HBM3", "p5.4xlarge")
    assert (sheet.price_per_hour, sheet.currency, sheet.source_url) == (Decimal("2.5"), "USD", "https://prices.example")
    assert (sheet.sla_uptime, sheet.min_rental_minutes) == (99.9, 60)
    assert (sheet.gpu_tflops_bf16_dense, sheet.gpu_memory_bandwidth_gbps) == (989.4, 3350)
    assert (sheet.gone_at, sheet.warnings) == (None, None)


async def test_an_offer_that_is_gone_is_still_shown_and_says_so(market: Market, clock: ManualClock) -> None:
    await stocked(market, made(), made("aws:b:us-east-1"))
    clock.advance(DAY)
    await stocked(market, made("aws:b:us-east-1"))
    sheet = await ask(market, "get_offer", id="aws:a:us-east-1")
    assert sheet.gone_at == clock.now()
    assert "has not listed it since 2026-01-16" in sheet.warnings[-1]


async def test_an_unknown_id_is_refused_with_the_nearest(market: Market) -> None:
    await stocked(market, made(), made("aws:b:us-east-1"))
    with pytest.raises(NotFound) as caught:
        await ask(market, "get_offer", offer_id="aws:a:us-est-1")
    assert "`aws:a:us-east-1`" in caught.value.next_step
    with pytest.raises(NotFound, match="search_offers"):
        await ask(market, "get_offer", id="\u202e\n" + "z" * 250)


async def test_the_price_history_counts_prices_not_stock(market: Market, clock: ManualClock) -> None:
    store = await market.store()
    for price, availability in [("9", "available"), ("2", "available"), ("2", "limited"), ("3", "limited")]:
        offer = made(price=price, availability=availability)
        await catalogue.record(store, "aws", [offer], seen_at=clock.now(), complete=True)
        clock.advance(20 * DAY)
    summary = (await ask(market, "get_offer", id="aws:a:us-east-1")).price_history
    # 30 days back the second price stood; the first was over by then
    assert (summary.changes, summary.lowest, summary.highest) == (1, Decimal(2), Decimal(3))


async def test_a_hosted_model_has_a_history_of_its_token_price(market: Market) -> None:
    await stocked(market, token_offer(price_per_million_output_tokens=Decimal("0.6")))
    summary = (await ask(market, "get_offer", id="deepinfra:llama:global:token")).price_history
    assert (summary.changes, summary.lowest) == (0, Decimal("0.6"))
