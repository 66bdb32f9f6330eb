"""What to loosen when nothing matches, and that doing so finds exactly what was promised."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

from market.offers import Offer
from market.query import Query
from market.relaxation import Relaxation
from market.snapshot_builder import from_offers
from tests.market import naive_search
from tests.market.offer_samples import made, offers, queries, token_offer

STALE = frozenset({"vast"})
DEFAULTS = Query()


def followed(query: Query, advice: Relaxation) -> Query:
    """The query after taking the advice."""
    fields = advice.constraint.split(", ")
    values = (advice.suggested,) if len(fields) == 1 else advice.suggested
    assert isinstance(values, tuple)
    changes: dict[str, Any] = {
        name: getattr(DEFAULTS, name) if value is None else value for name, value in zip(fields, values, strict=True)
    }
    if "pricing" in changes:
        changes["pricing"] = ("on_demand", "spot", "reserved", "token")
    return replace(query, limit=100, **changes)


@settings(max_examples=300, deadline=None)
@given(offers(), queries())
def test_taking_the_advice_finds_what_it_promised(catalogue: list[Offer], query: Query) -> None:
    if naive_search.matching(catalogue, query, STALE):
        return
    for advice in from_offers(catalogue).relaxations(query, stale_providers=STALE):
        then = naive_search.matching(catalogue, replace(followed(query, advice), sort="price"), STALE)
        assert advice.total == naive_search.machines(then, catalogue) > 0
        assert advice.cheapest_per_hour == then[0].price_per_hour_usd


def test_a_price_is_raised_just_enough() -> None:
    snapshot = from_offers([made("aws:a:x", "2.99"), made("aws:b:x", "2.99"), made("aws:c:x", "5")])
    [advice] = snapshot.relaxations(Query(gpu=("h100",), provider=("aws",), price_max=Decimal(2)))[:1]
    assert (advice.constraint, advice.asked, advice.suggested) == ("price_max", Decimal(2), Decimal("2.99"))
    assert (advice.change, advice.total, advice.cheapest_per_hour) == ("raise to 2.99", 2, Decimal("2.99"))


def test_a_set_of_values_is_left_out() -> None:
    snapshot = from_offers([made("aws:a:x", "1.49"), made("aws:b:x", "9")])
    found = snapshot.relaxations(Query(gpu=("h100",), region=("asia",)))
    assert [(way.constraint, way.change, way.total, way.cheapest_per_hour) for way in found] == [
        ("region", "leave it out", 2, Decimal("1.49"))
    ]


def test_a_minimum_nobody_states_is_left_out_and_one_that_is_stated_lowered() -> None:
    unstated = from_offers([made(ram_gb=None)]).relaxations(Query(ram_gb_min=64))
    assert [(way.constraint, way.suggested, way.change) for way in unstated] == [("ram_gb_min", None, "leave it out")]
    stated = from_offers([made(ram_gb=32.0), made("aws:b:x", ram_gb=16.0)]).relaxations(Query(ram_gb_min=64))
    assert [(way.suggested, way.change, way.total) for way in stated] == [(32.0, "lower to 32", 1)]


def test_two_constraints_are_named_when_no_single_one_helps() -> None:
    snapshot = from_offers([made("aws:a:x", "3")])
    [advice] = snapshot.relaxations(Query(price_max=Decimal(1), region=("asia",), gpu=("h100",)))
    assert (advice.constraint, advice.suggested) == ("price_max, region", (Decimal(3), None))
    assert advice.change == "`price_max`: raise to 3; `region`: leave it out"


def test_a_machine_sold_twice_counts_once_in_the_advice() -> None:
    direct = made("lambda:a:x", "3", provider="lambda")
    resold = made("shadeform:a:x", "3", provider="shadeform", direct_offer_id="lambda:a:x")
    [advice] = from_offers([direct, resold]).relaxations(Query(price_max=Decimal(1)))
    assert advice.total == 1


@pytest.mark.parametrize("query", [Query(), Query(gpu=("zzz",), tags=("q",), text="nothing")])
def test_there_is_no_advice_when_nothing_would_help(query: Query) -> None:
    assert from_offers([]).relaxations(query) == []
    assert from_offers([token_offer()]).relaxations(query) == []
