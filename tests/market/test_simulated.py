"""Offers that are not real: a catalogue that holds some answers as if it held none, unless they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from market.cheapest import CheapestInPlaces
from market.offers import Offer
from market.query import SIMULATED, SORTS, Query, Sort
from market.snapshot_builder import from_offers
from tests.adapters.served import untimed
from tests.market.offer_samples import PLACES, made, offers, queries

PRACTICE = made("sandbox:h100-1:eu", "0.01", provider="sandbox", region="eu-frankfurt", country="DE", gpu_count=16)


def with_practice(catalogue: Sequence[Offer], copies: Sequence[Offer]) -> list[Offer]:
    """The catalogue with a simulated twin of some of its offers, cheaper than any, and one more."""
    twins = [
        replace(
            each,
            id=f"sandbox:{number}:x",
            provider="sandbox",
            price_per_hour=each.price_per_hour and Decimal("0.05"),
            price_per_hour_usd=each.price_per_hour_usd and Decimal("0.05"),
        )
        for number, each in enumerate(copies)
    ]
    return [*catalogue, *twins, PRACTICE]


catalogues = offers().flatmap(
    lambda found: st.tuples(st.just(found), st.lists(st.sampled_from(found), max_size=8) if found else st.just([]))
)


@given(catalogue=catalogues, query=queries())
@settings(parent=untimed)
def test_a_search_finds_what_it_would_find_without_them(
    catalogue: tuple[list[Offer], list[Offer]], query: Query
) -> None:
    real, both = from_offers(catalogue[0]), from_offers(with_practice(*catalogue))
    while True:
        expected, found = real.search(query), both.search(query)
        assert [offer.id for offer in found.offers] == [offer.id for offer in expected.offers]
        assert (found.total, found.listed) == (expected.total, expected.listed)
        assert found.next_position == expected.next_position
        if not expected.total:
            assert both.relaxations(query) == real.relaxations(query)
        if expected.next_position is None:
            break
        query = query.after(expected.next_position)


@given(catalogue=catalogues)
@settings(parent=untimed)
def test_counts_and_the_cheapest_are_those_of_what_is_really_sold(catalogue: tuple[list[Offer], list[Offer]]) -> None:
    real, both = from_offers(catalogue[0]), from_offers(with_practice(*catalogue))
    assert both.count == real.count
    assert both.cheapest_by_gpu() == real.cheapest_by_gpu()
    for field in ("provider", "gpu", "region", "availability", "gpu_count", "pricing"):
        assert both.counts(field) == real.counts(field)
    assert both.gpus == real.gpus
    assert both.counts_by_provider() == {**real.counts_by_provider(), "sandbox": len(catalogue[1]) + 1}
    places, expected = CheapestInPlaces(both.frame), CheapestInPlaces(real.frame)
    for gpu in ("h100", "a10"):
        for _, region, _, _ in PLACES:
            price, known = places.price(gpu, region, "on_demand"), expected.price(gpu, region, "on_demand")
            assert (price and price[0]) == (known and known[0])


@given(catalogue=catalogues, sort=st.sampled_from(SORTS), beside=st.sampled_from([(), ("aws",)]))
@settings(parent=untimed)
def test_whoever_names_the_provider_finds_all_of_them(
    catalogue: tuple[list[Offer], list[Offer]], sort: Sort, beside: tuple[str, ...]
) -> None:
    listed = with_practice(*catalogue)
    every = ("on_demand", "spot", "reserved", "token")
    query = Query(provider=("Sandbox", *beside), sort=sort, limit=100, pricing=every)
    shown = {offer.id for offer in from_offers(listed).search(query).offers}
    assert shown == {offer.id for offer in listed if offer.provider in ("sandbox", *beside)}


def test_one_is_found_by_its_id_and_its_name_is_known() -> None:
    snapshot = from_offers([made(), PRACTICE])
    assert {"sandbox"} == SIMULATED
    assert snapshot.get(PRACTICE.id) == PRACTICE
    assert snapshot.providers == ("aws", "sandbox")
    assert snapshot.search(Query(region=("eu-frankfurt",))).total == 0


def test_no_way_out_of_an_empty_answer_leads_to_them() -> None:
    snapshot = from_offers([made(price="9"), PRACTICE])
    ways = snapshot.relaxations(Query(price_max=Decimal(1)))
    assert [(way.constraint, way.suggested, way.total) for way in ways] == [("price_max", Decimal(9), 1)]
    named = snapshot.relaxations(Query(provider=("aws",), price_max=Decimal(1)))
    assert [way.constraint for way in named] == ["price_max"]
    asked = snapshot.relaxations(Query(provider=("sandbox",), price_max=Decimal("0.001")))
    assert [(way.constraint, way.suggested) for way in asked] == [("price_max", Decimal("0.01"))]
