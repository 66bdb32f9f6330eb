"""OpenRouter's token prices."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given

from adapters.openrouter import OpenRouter
from market.errors import ProviderFailed
from tests.adapters.served import Served, by_id, read, sample, sound, spoiled, synced, untimed

ROWS = sample("openrouter")["data"]


def one(pricing: Any, **more: Any) -> Any:
    return {"data": [{"id": "example/model", "name": "Example", "pricing": pricing, **more}]}


@pytest.mark.requirement("FR-PROV-003")
async def test_a_whole_pass_lists_the_priced_models_and_counts_why_the_others_are_left_out() -> None:
    served = Served({"/api/v1/models": sample("openrouter")})
    offers, report = await synced(OpenRouter, served)
    assert set(by_id(offers)) == {
        "openrouter:openai-gpt-oss-120b:global:token",
        "openrouter:example-number-prices:global:token",
        "openrouter:example-embedder:global:token",
    }
    assert (report.rows, report.offers) == (9, 3)
    assert report.rejects == {
        "free model": 1,
        "price varies with the model chosen": 1,
        "not priced by the token": 1,
        "no token price": 1,
        "unreadable row (KeyError)": 1,
        "unreadable row (InvalidOperation)": 1,
    }
    assert [str(request.url) for request in served.asked] == ["https://openrouter.ai/api/v1/models"]


@pytest.mark.requirement("PROP-2")
def test_text_in_dollars_per_token_becomes_dollars_per_million_exactly() -> None:
    offer = read(OpenRouter, one({"prompt": "0.00000015", "completion": "0.0000006"}))[0][0]
    assert offer.price_per_million_input_tokens == Decimal("0.15")
    assert offer.price_per_million_output_tokens == Decimal("0.6")
    assert (offer.pricing, offer.billing_unit, offer.price_source) == ("token", "token", "token_equivalent")
    assert offer.price_per_hour is None
    assert offer.gpu is None


@pytest.mark.parametrize("price", [Decimal("1.5e-7"), "0.00000015", 1.5e-7])
def test_a_price_counts_the_same_as_number_or_text(price: object) -> None:
    offer = read(OpenRouter, one({"prompt": price, "completion": price}))[0][0]
    assert offer.price_per_million_input_tokens == Decimal("0.15")


def test_a_negative_price_on_either_side_is_no_offer() -> None:
    for pricing in ({"prompt": "-1", "completion": "0.000001"}, {"prompt": "0.000001", "completion": "-1"}):
        offers, report = read(OpenRouter, one(pricing))
        assert not offers
        assert report.rejects == {"price varies with the model chosen": 1}


def test_whatever_else_costs_money_is_tagged() -> None:
    offers = by_id(read(OpenRouter, sample("openrouter"))[0])
    tags = offers["openrouter:example-number-prices:global:token"].tags
    assert {"fee-per-request", "price-differs-by-use", "context-32768", "credit-fee-5.5-percent"} <= set(tags)


def test_a_person_is_sent_to_the_page_of_the_model_and_a_strange_id_stays_inside_the_path() -> None:
    page = {"data": [{"id": "a/b?x=1 #y", "pricing": {"prompt": "0.000001", "completion": "0.000001"}}]}
    offer = read(OpenRouter, page)[0][0]
    assert offer.source_url == "https://openrouter.ai/a/b%3Fx%3D1%20%23y"


@pytest.mark.parametrize("answer", [{"error": {"code": 500}}, [], {"data": None}])
async def test_an_answer_in_another_shape_is_a_failure_of_the_provider(answer: object) -> None:
    with pytest.raises(ProviderFailed):
        await synced(OpenRouter, lambda request: httpx.Response(200, json=answer))


def test_it_is_asked_once_an_hour() -> None:
    assert OpenRouter.interval == timedelta(hours=1)
    assert not OpenRouter.secrets


@pytest.mark.requirement("PROP-2")
@untimed
@given(row=spoiled(ROWS))
def test_a_spoiled_row_is_listed_with_a_real_price_or_refused_and_never_raises(row: Any) -> None:
    offers, report = read(OpenRouter, {"data": [row]})
    assert all(sound(offer) for offer in offers)
    assert report.offers == len(offers)
