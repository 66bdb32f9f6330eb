"""DeepInfra's token prices."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given

from adapters.deepinfra import DeepInfra
from market.errors import ProviderFailed
from tests.adapters.served import NOW, by_id, read, sample, sound, spoiled, synced, untimed

ROWS = sample("deepinfra")


def model(pricing: Any, **more: Any) -> Any:
    return {"model_name": "example/model", "type": "text-generation", "pricing": pricing, **more}


def tokens(cents_in: object, cents_out: object) -> dict[str, object]:
    return {"type": "tokens", "cents_per_input_token": cents_in, "cents_per_output_token": cents_out}


@pytest.mark.requirement("FR-PROV-003")
async def test_a_whole_pass_lists_the_priced_models_and_counts_why_the_others_are_left_out() -> None:
    offers, report = await synced(DeepInfra, lambda request: httpx.Response(200, json=sample_floats()))
    assert set(by_id(offers)) == {
        "deepinfra:meta-llama-llama-3.3-70b-instruct-turbo:global:token",
        "deepinfra:example-leaving-2099:global:token",
        "deepinfra:example-embedder:global:token",
    }
    assert report.rejects == {
        "priced by time, not by the token": 1,
        "priced by image_units, not by the token": 1,
        "deprecated model": 1,
        "no price": 1,
        "free model": 1,
        "no price of output tokens": 1,
        "token price is not positive": 1,
        "private model": 1,
        "unreadable row (TypeError)": 1,
    }


def sample_floats() -> Any:
    return json.loads(json.dumps(sample("deepinfra"), default=float))


@pytest.mark.requirement("PROP-2")
@pytest.mark.parametrize(("cents", "dollars"), [("9e-06", "0.09"), (Decimal("0.00001"), "0.1"), ("0.000032", "0.32")])
def test_cents_per_token_become_dollars_per_million(cents: object, dollars: str) -> None:
    offer = read(DeepInfra, [model(tokens(cents, cents))])[0][0]
    assert offer.price_per_million_input_tokens == Decimal(dollars)
    assert offer.price_source == "token_equivalent"
    assert offer.currency == "USD"


def test_the_cached_rate_is_a_multiplier_and_changes_no_price() -> None:
    pricing = tokens("0.00001", "0.00002") | {"rate_per_input_token_cached": 0.2}
    assert read(DeepInfra, [model(pricing)])[0][0].price_per_million_input_tokens == Decimal("0.1")


def test_a_model_retired_a_second_ago_is_dropped_and_one_to_retire_tomorrow_is_kept_with_the_day() -> None:
    gone = model(tokens("0.00001", "0.00002"), deprecated=int(NOW.timestamp()) - 1)
    going = model(tokens("0.00001", "0.00002"), deprecated=int((NOW + timedelta(days=1)).timestamp()))
    offers, report = read(DeepInfra, [gone, going])
    assert report.rejects == {"deprecated model": 1}
    assert "deprecated-2026-11-22" in offers[0].tags


@pytest.mark.parametrize("deprecated", [10**30, "9999999999999"])
def test_a_retirement_beyond_the_calendar_is_kept_without_a_day(deprecated: object) -> None:
    offers, _ = read(DeepInfra, [model(tokens("0.00001", "0.00002"), deprecated=deprecated)])
    assert "deprecated-later" in offers[0].tags


def test_an_embedding_model_needs_no_price_of_output_tokens() -> None:
    offer = by_id(read(DeepInfra, sample("deepinfra"))[0])["deepinfra:example-embedder:global:token"]
    assert offer.price_per_million_input_tokens == Decimal("0.01")
    assert offer.price_per_million_output_tokens == 0
    assert "embeddings" in offer.tags


def test_a_discount_is_told_and_not_taken() -> None:
    offer = by_id(read(DeepInfra, sample("deepinfra"))[0])["deepinfra:example-leaving-2099:global:token"]
    assert "discount-not-counted" in offer.tags
    assert offer.price_per_million_input_tokens == Decimal("0.09")


@pytest.mark.parametrize("answer", [{"detail": "not now"}, {"models": []}])
async def test_an_object_instead_of_the_list_is_a_failure_of_the_provider(answer: object) -> None:
    with pytest.raises(ProviderFailed):
        await synced(DeepInfra, lambda request: httpx.Response(200, json=answer))


@pytest.mark.requirement("PROP-2")
@untimed
@given(row=spoiled(ROWS))
def test_a_spoiled_row_is_listed_with_a_real_price_or_refused_and_never_raises(row: Any) -> None:
    offers, report = read(DeepInfra, [row])
    assert all(sound(offer) for offer in offers)
    assert report.offers == len(offers)
