"""The published price tables: whole, dated, sourced, one row a product, and what a start without network shows."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files

import pytest

from adapters import discover
from adapters.base import Adapter
from adapters.published import PublishedOnly, providers, published, table
from market.offers import Offer

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NEWEST = date(2026, 11, 21)
FOUND = discover()[0]


@pytest.fixture(scope="module")
def offers() -> list[Offer]:
    return [offer for name in providers() for offer in FOUND[name].published(NOW)]


def test_every_row_belongs_to_a_provider_we_have() -> None:
    assert set(providers()) <= set(FOUND)
    assert sum(len(rows) for rows in table().values()) > 2300


def test_every_row_becomes_one_offer_with_an_id_of_its_own(offers: list[Offer]) -> None:
    ids = Counter(offer.id for offer in offers)
    assert [offer for offer, times in ids.items() if times > 1] == []
    assert len(offers) == sum(len(rows) for rows in table().values())


def test_no_price_is_free_live_or_from_the_future(offers: list[Offer]) -> None:
    for offer in offers:
        assert offer.price_per_hour is not None
        assert Decimal("0.005") < offer.price_per_hour < 1000, offer.id
        assert offer.price_source == "static_table"
        assert offer.availability == "unknown"
        assert date(2023, 1, 1) <= offer.price_as_of.date() <= NEWEST


def test_every_source_is_a_page_a_person_can_open() -> None:
    for rows in table().values():
        for row in rows:
            assert row.source.startswith("https://"), row
            assert " " not in row.source


def test_a_price_of_one_gpu_is_plausible_for_its_card(offers: list[Offer]) -> None:
    bounds = {
        "H100": (Decimal("0.5"), Decimal(20)),
        "A100": (Decimal("0.2"), Decimal(9)),
        "B200": (Decimal(1), Decimal(30)),
    }
    for offer in offers:
        price = offer.price_per_gpu_hour_usd
        assert price is not None
        low, high = bounds.get((offer.gpu or "").split("-")[0], (Decimal("0.01"), Decimal(40)))
        assert low <= price <= high, offer.id


def test_no_machine_is_priced_without_its_gpus(offers: list[Offer]) -> None:
    listed = [offer for offer in offers if offer.provider == "google_compute" and offer.pricing == "on_demand"]
    dearest: dict[str, Decimal] = {}
    for offer in listed:
        price = offer.price_per_hour_usd or Decimal(0)
        dearest[offer.external_id] = max(price, dearest.get(offer.external_id, price))
    for offer in listed:
        assert (offer.price_per_hour_usd or 0) > dearest[offer.external_id] * Decimal("0.45"), offer.id


def test_cards_are_known_but_for_a_few_old_ones(offers: list[Offer]) -> None:
    unknown = {offer.gpu_raw for offer in offers if offer.gpu is None}
    assert all(name.startswith("GTX 1") for name in unknown), unknown


def test_a_slice_of_a_card_is_not_sold_as_a_whole_one(offers: list[Offer]) -> None:
    by_id = {offer.id: offer for offer in offers}
    eighth = by_id["google_compute:g4-standard-6:us-central1"]
    assert (eighth.gpu, eighth.gpu_count, eighth.gpu_fraction) == ("RTX-PRO-6000-Server", 1, 0.125)
    assert by_id["azure_ml:standard_nv6ads_a10_v5:eastus"].gpu_fraction == pytest.approx(1 / 6, abs=0.01)


def test_figures_are_carried_over_as_written(offers: list[Offer]) -> None:
    by_id = {offer.id: offer for offer in offers}
    h100 = by_id["azure_ml:standard_nd96isr_h100_v5:eastus"]
    assert (h100.price_per_hour, h100.gpu_count, h100.currency) == (Decimal("98.32"), 8, "USD")
    assert h100.price_as_of == datetime(2026, 6, 18, tzinfo=UTC)
    spot = by_id["google_compute:a2-ultragpu-1g:europe-west4:spot"]
    assert (spot.price_per_hour, spot.pricing, spot.country, spot.ram_gb) == (Decimal("2.945207"), "spot", "NL", 170.0)
    euro = by_id["seeweb:ecs1gpu8:global"]
    assert (euro.price_per_hour, euro.currency) == (Decimal("1.89"), "EUR")
    assert (euro.price_per_hour_usd or 0) > Decimal("1.89")


def test_regions_are_placed_in_countries(offers: list[Offer]) -> None:
    unplaced = {(offer.provider, offer.region) for offer in offers if offer.region != "global" and not offer.country}
    assert unplaced == set()


def test_a_provider_without_rows_has_none() -> None:
    class Nobody(PublishedOnly):
        name = "nobody"

    assert list(published(Nobody, NOW)) == []


def test_free_defunct_and_unrelated_providers_say_so_and_offer_nothing() -> None:
    for name, word in (("kaggle", "free"), ("spell", "Defunct"), ("scaleai", "not GPU time")):
        adapter: type[Adapter] = FOUND[name]
        assert list(adapter.published(NOW)) == []
        assert word in adapter.notice


def test_the_table_stays_small_enough_to_ship() -> None:
    assert len(files("adapters").joinpath("published_prices.csv").read_bytes()) < 600_000
