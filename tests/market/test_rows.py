"""Offers survive the database whole, and the hash tells a change from a new reading."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Text

from market import catalogue
from market.offers import Offer
from market.rows import OFFER_FIELDS, encode, from_micros, to_micros, to_offer
from market.store import Store
from market.tables import offers
from tests.market.examples import SEEN, an_offer, any_offer


def _hash(offer: Offer) -> int:
    return encode(offer).content_hash


@given(any_offer)
def test_an_offer_comes_back_from_its_row_as_it_was(offer: Offer) -> None:
    assert to_offer(encode(offer).values) == offer


@pytest.mark.requirement("NFR-SEC5")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_offer, min_size=1, max_size=5, unique_by=lambda offer: offer.id))
async def test_an_offer_comes_back_from_either_database_as_it_was(store: Store, found: list[Offer]) -> None:
    recorded = await catalogue.record(store, "acme", found, seen_at=SEEN, complete=True)
    assert recorded.refused == {}
    rows = [row async for chunk in catalogue.load_rows(store, chunk=2) for row in chunk]
    assert [to_offer(row) for row in rows] == sorted(found, key=lambda offer: offer.id)


@given(any_offer, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_reading_the_same_offer_later_does_not_change_its_hash(offer: Offer, later: timedelta) -> None:
    first = replace(offer, last_updated=SEEN, price_as_of=SEEN, availability_as_of=SEEN)
    moved = SEEN + later
    again = replace(offer, last_updated=moved, price_as_of=moved, availability_as_of=moved)
    assert _hash(first) == _hash(again)


def test_a_newer_edition_of_a_price_list_changes_the_hash() -> None:
    edition = replace(an_offer(), price_as_of=datetime(2025, 1, 1, tzinfo=UTC))
    newer = replace(edition, price_as_of=datetime(2025, 6, 1, tzinfo=UTC))
    assert _hash(edition) != _hash(newer)


@pytest.mark.parametrize("name", sorted(set(OFFER_FIELDS) - {"price_as_of", "availability_as_of", "last_updated"}))
def test_every_field_but_the_reading_times_counts_as_a_change(name: str) -> None:
    offer = an_offer(currency="EUR")
    values = list(encode(offer).values)
    position = OFFER_FIELDS.index(name)
    special = {"tags": '["other"]', "exchange_rate": "1.5", "exchange_rate_as_of": "2020-01-01"}
    is_text = isinstance(offers.c[name].type, Text)
    values[position] = special.get(name, "other") if is_text else (values[position] or 0) + 1
    if name == "bookable":
        values[position] = not offer.bookable
    assert _hash(to_offer(values)) != _hash(offer)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_keep_their_microsecond_and_their_order(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment
    if moment > datetime(1, 1, 2, tzinfo=UTC):
        assert to_micros(moment - timedelta(microseconds=1)) == to_micros(moment) - 1


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        to_micros(datetime(2026, 1, 1))
