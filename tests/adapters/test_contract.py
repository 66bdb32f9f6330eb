"""What every provider module must do, checked for each one found; a new module is checked without an edit here.

A provider with an API brings a sample of its answers, as the class attribute `sample` or as
`tests/samples/<name>.json`. It is either one answer, given to whatever is asked, or
`{"routes": {"/path": answer, "POST /path": answer, "/pages": [first, second]}}`: answers by path, with the method where
it matters; a list of objects is given out one by one (pages), text is sent as it is (CSV files).
A provider known from its published table alone is checked by its rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters import discover
from adapters.base import Adapter
from market.errors import ProviderFailed
from market.offers import Offer
from tests.adapters.served import NOW, SAMPLES, Served, by_id, sample, sound, synced

FOUND, BROKEN = discover()
WITH_API = [name for name, adapter in FOUND.items() if adapter.has_api() and adapter.price_source != "static_table"]
TABLE_ONLY = [name for name in FOUND if name not in WITH_API]
BAD_ROWS: tuple[Any, ...] = (None, "n/a", {}, [], {"id": None, "price": None})


def served(adapter: type[Adapter]) -> Any:
    """What answers in the provider's place."""
    answers = sample(adapter.name) if (SAMPLES / f"{adapter.name}.json").exists() else adapter.sample
    assert answers is not None, f"`{adapter.name}` has no sample of its API's answers"
    if isinstance(answers, dict) and "routes" in answers:
        return Served(answers["routes"])
    return lambda _request: httpx.Response(200, content=_text(answers))


def _text(answers: Any) -> bytes:
    return answers.encode() if isinstance(answers, str) else httpx.Response(200, json=_plain(answers)).content


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return float(value) if isinstance(value, Decimal) else value


def _own_scheme(adapter: type[Adapter]) -> str:
    """How its addresses begin: with TLS, but for what runs on this machine."""
    return "http://127.0.0.1:" if adapter.on_this_machine else "https://"


def assert_honest(offers: Iterable[Offer], adapter: type[Adapter], unknown_gpus: set[str]) -> None:
    """Every offer is whole, has a real price, and says where and when that comes from."""
    offers = list(offers)
    by_id(offers)
    for offer in offers:
        assert offer.provider == adapter.name
        assert re.fullmatch(r"[a-z0-9._:-]+", offer.id), offer.id
        assert offer.external_id
        assert offer.name
        assert offer.region
        assert sound(offer), offer.id
        assert offer.source_url.startswith(_own_scheme(adapter)), offer.id
        assert offer.price_as_of.tzinfo is not None
        assert offer.price_as_of <= offer.last_updated
        assert offer.gpu or offer.pricing == "token" or offer.gpu_raw in unknown_gpus, offer.id
        assert offer.availability == "unknown" or offer.availability_evidence, offer.id
        assert offer.bookable is False or hasattr(adapter, "launch")
        if offer.pricing == "token":
            assert offer.price_source == "token_equivalent"
            continue
        assert offer.price_per_hour is not None
        assert offer.price_per_hour_usd is not None
        assert offer.price_per_gpu_hour is not None
        assert abs(offer.price_per_gpu_hour * offer.gpu_count - offer.price_per_hour) <= offer.gpu_count * Decimal(
            "1e-6"
        )


@pytest.mark.parametrize("name", FOUND)
def test_a_provider_says_who_it_is(name: str) -> None:
    adapter = FOUND[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert adapter.__module__ == f"adapters.{name}", "the module is called as the provider"
    assert adapter.title
    assert adapter.website.startswith("https://")
    assert adapter.__doc__
    assert not adapter.base_url or adapter.base_url.startswith(_own_scheme(adapter))
    assert adapter.interval <= adapter.stale_after <= adapter.drop_after
    assert adapter.per_second > 0
    assert adapter.concurrency >= 1
    assert 0 < adapter.timeout_seconds <= 120


@pytest.mark.requirement("FR-PROV-003")
@pytest.mark.parametrize("name", WITH_API)
async def test_its_sample_becomes_honest_offers(name: str) -> None:
    adapter = FOUND[name]
    offers, report = await synced(adapter, served(adapter))
    assert offers, f"the sample of `{name}` holds no offer"
    assert report.offers == len(offers)
    assert_honest(offers, adapter, report.unknown_gpus)
    assert {offer.price_source for offer in offers} <= {"live_api", "price_list", "marketplace", "token_equivalent"}


@pytest.mark.parametrize("name", WITH_API)
async def test_bad_rows_are_counted_and_never_lose_the_page(name: str) -> None:
    adapter = FOUND[name]

    class Spoiled(adapter):  # type: ignore[valid-type, misc]
        def rows(self, page: Any) -> Iterable[Any]:
            return [*BAD_ROWS, *super().rows(page), *BAD_ROWS]

    offers, report = await synced(adapter, served(adapter))
    spoiled_offers, spoiled_report = await synced(Spoiled, served(adapter))
    assert [offer.id for offer in spoiled_offers] == [offer.id for offer in offers]
    added = spoiled_report.rows - report.rows
    assert added >= 2 * len(BAD_ROWS)
    assert sum(spoiled_report.rejects.values()) - sum(report.rejects.values()) == added


@pytest.mark.requirement("FR-PROV-003")
@pytest.mark.parametrize("name", TABLE_ONLY)
def test_its_published_rows_are_honest_offers_or_it_says_why_there_are_none(name: str) -> None:
    adapter = FOUND[name]
    offers = list(adapter.published(NOW))
    assert_honest(offers, adapter, {offer.gpu_raw for offer in offers})
    assert {(offer.price_source, offer.availability) for offer in offers} <= {("static_table", "unknown")}
    assert offers or adapter.notice


@pytest.mark.parametrize("name", TABLE_ONLY)
async def test_a_provider_without_an_api_is_never_asked(name: str) -> None:
    adapter = FOUND[name]
    assert not adapter.has_api()
    unasked = Served({})
    with pytest.raises(ProviderFailed, match="has no API"):
        await synced(adapter, unasked)
    assert unasked.asked == []


def test_every_module_of_ours_can_be_imported() -> None:
    assert BROKEN == ()


@pytest.mark.requirement("F1")
def test_more_than_twenty_providers_have_offers() -> None:
    assert len(WITH_API) + sum(any(FOUND[name].published(NOW)) for name in TABLE_ONLY) > 20
