"""A quote's sums are exact, never less than is owed, and grow with what is asked for."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.costs import ASSUMED_STORAGE_PER_GB_MONTH, DEAREST, Costs, Wanted, itemised
from market.errors import ValidationFailed
from market.money import MILLIONTH, exchange_rates
from market.offers import Offer, Pricing, offer_id
from tests.market.offer_samples import made, token_offer

HOURLY: list[Pricing] = [pricing for pricing in get_args(Pricing) if pricing != "token"]


def sold(pricing: Pricing = "on_demand", price: str = "2.5", **facts: Any) -> Offer:
    """An offer whose id says how it is sold."""
    return made(offer_id("aws", "a", "us-east-1", pricing), price, pricing=pricing, **facts)


def amounts(costs: Costs) -> dict[str, Decimal]:
    """Each item and what it comes to."""
    return {line.item: line.amount for line in costs.lines}


prices = st.decimals(min_value="0.000001", max_value=500, places=6, allow_nan=False, allow_infinity=False)
rentals = st.builds(
    Wanted,
    instance_count=st.integers(1, 64),
    duration_hours=st.floats(min_value=1e-4, max_value=8_760),
    disk_gb=st.one_of(st.just(0.0), st.floats(min_value=0.001, max_value=5_000)),
    egress_gb=st.one_of(st.just(0.0), st.floats(min_value=0.001, max_value=5_000)),
)


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    """Offers of every pricing and billing unit, in dollars and in other currencies."""
    currency = draw(st.sampled_from(["USD", *sorted(exchange_rates())[:3]]))
    return sold(
        draw(st.sampled_from(HOURLY)),
        str(max(draw(prices), Decimal("0.01"))),
        billing_unit=draw(st.sampled_from(["second", "minute", "hour", "month"])),
        min_rental_minutes=draw(st.one_of(st.none(), st.integers(0, 100_000))),
        storage_gb=draw(st.one_of(st.none(), st.floats(0, 2_000))),
        storage_price_per_gb_month=draw(st.one_of(st.none(), prices.filter(lambda price: price > 1))),
        egress_price_per_gb=draw(st.one_of(st.none(), prices.filter(lambda price: price > 1))),
        currency=currency,
    )


@given(offers(), rentals)
def test_the_lines_add_up_and_the_worst_is_never_below_the_expected(offer: Offer, wanted: Wanted) -> None:
    costs = itemised(offer, wanted)
    assert costs.expected_total == sum(line.amount for line in costs.lines)
    assert costs.worst_total >= costs.expected_total > 0
    for line in costs.lines:
        figures = (line.quantity, line.unit_price, line.amount)
        assert all(type(figure) is Decimal and figure == figure.quantize(MILLIONTH) for figure in figures)
        assert line.amount > 0
        assert abs(line.quantity * line.unit_price - line.amount) <= 2 * MILLIONTH * (1 + line.unit_price)


@given(offers(), rentals, st.floats(1, 4), st.integers(0, 10), st.floats(0, 1_000))
def test_more_hours_instances_or_disk_never_cost_less(
    offer: Offer, wanted: Wanted, longer: float, more: int, larger: float
) -> None:
    base = itemised(offer, wanted)
    for change in (
        {"duration_hours": min(wanted.duration_hours * longer, 8_760)},
        {"instance_count": min(wanted.instance_count + more, 64)},
        {"disk_gb": wanted.disk_gb + larger},
        {"egress_gb": wanted.egress_gb + larger},
    ):
        grown = itemised(offer, replace(wanted, **change))
        assert grown.expected_total >= base.expected_total, change
        assert grown.worst_total >= base.worst_total, change


@given(offers(), rentals)
def test_the_worst_covers_every_second_until_the_machines_are_gone(offer: Offer, wanted: Wanted) -> None:
    costs = itemised(offer, wanted)
    seconds = Decimal(repr(wanted.duration_hours)) * 3_600 + 600
    assert costs.worst_total >= (costs.hourly_total * seconds / 3_600).quantize(MILLIONTH) - MILLIONTH


def test_a_plain_rental_is_hours_times_price() -> None:
    costs = itemised(sold(billing_unit="second"), Wanted(instance_count=3, duration_hours=24))
    assert amounts(costs) == {"3 x 1 GPU, on demand": Decimal("180")}
    assert costs.worst_total == Decimal("2.5") * 3 * (24 * 60 + 10) / 60
    assert costs.hourly_total == Decimal("7.5")


def test_a_begun_hour_is_billed_whole_where_the_provider_bills_hours() -> None:
    costs = itemised(sold(price="3"), Wanted(duration_hours=1.25))
    assert amounts(costs) == {"1 x 1 GPU, on demand": Decimal("3.75"), "rounding up to the hour": Decimal("2.25")}
    assert itemised(sold(price="3"), Wanted(duration_hours=1.9)).worst_total == 9


def test_the_minimum_rental_is_an_item_of_its_own() -> None:
    costs = itemised(sold(min_rental_minutes=240, price="3"), Wanted(duration_hours=1))
    assert amounts(costs)["minimum rental"] == 9
    assert costs.worst_total == costs.expected_total == 12
    assert any("4.000000 hours are billed at least" in said for said in costs.assumptions)


def test_a_reserved_price_is_owed_for_its_whole_term() -> None:
    costs = itemised(sold("reserved_1w", "1"), Wanted(duration_hours=2))
    assert costs.expected_total == 7 * 24
    assert amounts(costs)["rest of the committed term"] == 7 * 24 - 2


def test_a_stated_storage_price_is_charged_by_the_hour_and_told_by_the_day_when_stopped() -> None:
    offer = sold(billing_unit="second", storage_price_per_gb_month=Decimal("0.073"))
    costs = itemised(offer, Wanted(instance_count=2, duration_hours=10, disk_gb=100))
    assert costs.storage_per_hour_usd == Decimal("0.01")
    assert amounts(costs)["disk while running, 100 GB each"] == Decimal("0.2")
    assert costs.stopped_per_day == Decimal("0.48")


def test_an_unknown_storage_price_is_assumed_and_said_never_zero() -> None:
    costs = itemised(sold(storage_gb=50.0), Wanted(duration_hours=730, disk_gb=100))
    assert amounts(costs)["disk while running, 100 GB each"] >= 100 * ASSUMED_STORAGE_PER_GB_MONTH
    assert any("no storage price" in said for said in costs.assumptions)
    inside = itemised(sold(storage_gb=100.0), Wanted(duration_hours=730, disk_gb=100))
    assert not inside.storage_per_hour_usd
    assert any("holds what was asked" in said for said in inside.assumptions)


def test_traffic_is_charged_as_stated_or_as_assumed() -> None:
    stated = itemised(sold(egress_price_per_gb=Decimal("0.05")), Wanted(duration_hours=1, egress_gb=200))
    assert amounts(stated)["traffic out"] == 10
    assumed = itemised(sold(), Wanted(duration_hours=1, egress_gb=100))
    assert amounts(assumed)["traffic out"] == 12
    assert any("no price of traffic out" in said for said in assumed.assumptions)


def test_another_currency_is_converted_at_a_dated_rate_that_is_named() -> None:
    rate = exchange_rates()["EUR"]
    costs = itemised(sold(price="2", currency="EUR"), Wanted(duration_hours=1))
    assert costs.price_per_hour_usd == (2 * rate.usd_per_unit).quantize(MILLIONTH)
    assert costs.currency == "EUR"
    assert any(f"{rate.as_of:%Y-%m-%d}" in said for said in costs.assumptions)


def test_a_live_price_takes_the_place_of_the_listed_one() -> None:
    costs = itemised(sold(price="2"), Wanted(duration_hours=1), live=(Decimal("3"), "USD"))
    assert costs.expected_total == 3


def test_a_spot_offer_is_priced_by_its_own_price_whatever_stands_beside_it() -> None:
    on_demand = sold(price="4", spot_price=Decimal("1"))
    assert itemised(on_demand, Wanted(duration_hours=1)).expected_total == 4
    spot = sold("spot", "1.5", spot_price=Decimal("1"))
    assert amounts(itemised(spot, Wanted(duration_hours=1))) == {"1 x 1 GPU, spot": Decimal("1.5")}


@pytest.mark.parametrize(
    "offer",
    [
        made("aws:a:us-east-1:spot", "1", pricing="on_demand"),
        made("aws:a:us-east-1", "1", pricing="spot"),
        made("aws:a:us-east-1:spot", "1", pricing="reserved_1y"),
    ],
)
def test_an_offer_that_says_two_things_of_its_pricing_is_refused(offer: Offer) -> None:
    with pytest.raises(ValidationFailed, match="contradict"):
        itemised(offer, Wanted(duration_hours=1))


def test_a_model_sold_by_the_token_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValidationFailed, match="sold by the token"):
        itemised(token_offer(), Wanted(duration_hours=1))


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(duration_hours=0),
        Wanted(duration_hours=-1),
        Wanted(duration_hours=float("nan")),
        Wanted(duration_hours=float("inf")),
        Wanted(duration_hours=8_760.1),
        Wanted(duration_hours=1, instance_count=0),
        Wanted(duration_hours=1, instance_count=65),
        Wanted(duration_hours=1, disk_gb=-1),
        Wanted(duration_hours=1, disk_gb=float("nan")),
        Wanted(duration_hours=1, egress_gb=float("inf")),
    ],
)
def test_an_amount_that_makes_no_sense_is_refused(wanted: Wanted) -> None:
    with pytest.raises(ValidationFailed):
        itemised(sold(), wanted)


def test_longer_than_the_provider_rents_is_refused_with_what_would_pass() -> None:
    with pytest.raises(ValidationFailed) as refused:
        itemised(sold(max_rental_minutes=90), Wanted(duration_hours=2))
    assert refused.value.details["max_duration_hours"] == 1.5


@pytest.mark.parametrize(
    "live",
    [
        (Decimal("1"), "ZZZ"),
        (Decimal("NaN"), "USD"),
        (Decimal("Infinity"), "USD"),
        (Decimal("0"), "USD"),
        (Decimal("-1"), "USD"),
    ],
)
def test_a_price_without_meaning_or_rate_is_refused(live: tuple[Decimal, str]) -> None:
    with pytest.raises(ValidationFailed):
        itemised(sold(), Wanted(duration_hours=1), live=live)


def test_a_total_that_a_json_number_cannot_hold_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="thousand million"):
        itemised(sold(price=str(DEAREST / 2)), Wanted(duration_hours=10))
