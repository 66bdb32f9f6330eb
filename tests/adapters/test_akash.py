"""Akash's bid statistics."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given

from adapters.akash import Akash
from market.errors import ProviderFailed
from tests.adapters.served import Served, by_id, read, sample, sound, spoiled, synced, untimed

ROWS = sample("akash")["models"]

H100 = "akash:nvidia-h100-80gi-sxm5:global"


def one(**more: Any) -> Any:
    return {"models": [{"vendor": "nvidia", "model": "h100", "ram": "80Gi", "interface": "SXM5", **more}]}


def bids(**more: Any) -> dict[str, Any]:
    return {"currency": "USD", "min": 1.5, "max": 3, "avg": 2.4, "weightedAverage": 2.6, "med": 2.7, **more}


@pytest.mark.requirement("FR-PROV-003")
@pytest.mark.requirement("FR-PROV-1")
@pytest.mark.requirement("FR-7.1")
async def test_a_whole_pass_lists_the_cards_with_bids_and_counts_the_rest() -> None:
    offers, report = await synced(Akash, Served({"/v1/gpu-prices": sample("akash")}))
    assert set(by_id(offers)) == {
        H100,
        "akash:nvidia-a100-40gi-pcie:global",
        "akash:nvidia-pro6000se-96gi-pcie:global",
        "akash:nvidia-zz9000---pcie:global",
    }
    assert report.rejects == {"no recent bids": 1, "price is not positive": 1, "unreadable row (KeyError)": 1}
    assert report.unknown_gpus == {"zz9000"}
    assert all(offer.price_source == "marketplace" for offer in offers)


@pytest.mark.requirement("PROP-2")
def test_memory_text_form_and_price_per_gpu_are_read() -> None:
    offer = by_id(read(Akash, sample("akash"))[0])[H100]
    assert (offer.gpu, offer.gpu_count, offer.memory_gb) == ("H100-SXM", 1, 80)
    assert offer.price_per_hour == Decimal("2.6")
    assert (offer.region, offer.billing_unit) == ("global", "second")


def test_the_price_says_that_it_is_an_average_of_bids_and_shows_their_spread() -> None:
    offer = by_id(read(Akash, sample("akash"))[0])[H100]
    assert "average bid" in offer.name
    assert "1.55 to 3.1" in offer.name
    assert {"auction", "price-estimate"} <= set(offer.tags)


def test_free_gpus_and_providers_are_the_evidence_and_none_free_is_unavailable() -> None:
    offers = by_id(read(Akash, sample("akash"))[0])
    assert offers[H100].availability == "available"
    assert offers[H100].availability_evidence == "9 of 88 GPUs free at 3 of 6 providers"
    assert offers["akash:nvidia-a100-40gi-pcie:global"].availability == "unavailable"


def test_without_a_weighted_average_the_median_is_the_price() -> None:
    for missing in (None, 0):
        offer = read(Akash, one(price=bids(weightedAverage=missing)))[0][0]
        assert offer.price_per_hour == Decimal("2.7")


def test_no_figure_of_free_gpus_means_not_known() -> None:
    offer = read(Akash, one(price=bids()))[0][0]
    assert (offer.availability, offer.availability_evidence) == ("unknown", None)


@pytest.mark.parametrize("price", [None, {}])
def test_a_card_nobody_bids_on_is_never_an_offer(price: object) -> None:
    assert read(Akash, one(price=price))[0] == []


async def test_an_answer_in_another_shape_is_a_failure_of_the_provider() -> None:
    with pytest.raises(ProviderFailed):
        await synced(Akash, lambda request: httpx.Response(200, json={"error": "busy"}))


@pytest.mark.requirement("PROP-2")
@untimed
@given(row=spoiled(ROWS))
def test_a_spoiled_row_is_listed_with_a_real_price_or_refused_and_never_raises(row: Any) -> None:
    offers, report = read(Akash, {"models": [row]})
    assert all(sound(offer) for offer in offers)
    assert report.offers == len(offers)
