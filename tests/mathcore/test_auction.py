"""The auction and the surge price: nobody pays above the bid, nothing is sold twice."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.auction import Award, Bid, PriceRule, clear, surge_price

_bids = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 9), st.integers(0, 2)), max_size=12).map(
    lambda rows: [Bid(number, *row) for number, row in enumerate(rows)]
)
_price_rules = st.sampled_from(get_args(PriceRule))


@given(_bids, st.integers(0, 40), st.integers(1, 6), _price_rules)
def test_nobody_pays_above_the_bid_and_nothing_is_sold_twice(
    bids: list[Bid], capacity: int, reserve: int, price_rule: PriceRule
) -> None:
    found = clear(bids, capacity, reserve_ticks=reserve, price_rule=price_rule)
    by_id = {bid.id: bid for bid in bids}
    assert len({award.id for award in found.awards}) == len(found.awards)
    for award in found.awards:
        assert 0 < award.quantity <= by_id[award.id].quantity
        assert reserve <= found.price_ticks <= by_id[award.id].price_ticks
    assert found.sold == sum(award.quantity for award in found.awards) <= capacity
    assert found.unsold == capacity - found.sold
    wanted = sum(bid.quantity for bid in bids if bid.price_ticks >= reserve)
    assert found.rejected == wanted - found.sold
    assert not (found.unsold and found.rejected)


@given(_bids, st.integers(0, 40), _price_rules)
def test_no_higher_or_earlier_bid_goes_short_while_a_later_one_is_served(
    bids: list[Bid], capacity: int, price_rule: PriceRule
) -> None:
    served = {award.id: award.quantity for award in clear(bids, capacity, price_rule=price_rule).awards}
    for one in bids:
        for other in bids:
            before = (-one.price_ticks, one.at, one.id) < (-other.price_ticks, other.at, other.id)
            if before and served.get(other.id):
                assert served.get(one.id) == one.quantity


@given(_bids, st.integers(0, 40))
def test_the_first_price_rejected_is_never_above_the_last_accepted(bids: list[Bid], capacity: int) -> None:
    low, high = (clear(bids, capacity, price_rule=rule) for rule in ("highest_rejected", "lowest_accepted"))
    assert low.awards == high.awards
    assert not low.awards or low.price_ticks <= high.price_ticks


def test_bids_are_served_from_the_top_at_one_price() -> None:
    bids = [Bid(1, 30, 4), Bid(2, 50, 4), Bid(3, 20, 4), Bid(4, 40, 4)]
    found = clear(bids, 10)
    assert found.awards == (Award(2, 4), Award(4, 4), Award(1, 2))
    assert (found.price_ticks, found.sold, found.unsold, found.rejected) == (30, 10, 0, 6)
    assert clear(bids, 12).price_ticks == 20
    assert clear(bids, 12, price_rule="lowest_accepted").price_ticks == 30
    assert clear(bids, 99, reserve_ticks=25).price_ticks == 25
    assert clear(bids, 99, reserve_ticks=25, price_rule="lowest_accepted").price_ticks == 30
    assert clear(bids, 99, reserve_ticks=60).awards == ()


def test_equal_bids_are_served_by_time_then_by_place() -> None:
    bids = [Bid(1, 30, 1, 5), Bid(2, 30, 1, 4), Bid(3, 30, 1, 4)]
    assert [award.id for award in clear(bids, 2).awards] == [2, 3]


@pytest.mark.parametrize(("utilisation", "times"), [(0, 1), (0.5, 1.5), (0.9, 2.62), (1, 3), (-1, 1), (7, 3)])
def test_the_price_rises_with_the_square_of_utilisation_to_three_times(utilisation: float, times: float) -> None:
    assert surge_price(2.0, utilisation) == pytest.approx(2.0 * times, rel=1e-15)


@given(st.floats(1e-6, 1e6), st.floats(0, 1), st.floats(0, 1))
def test_a_fuller_market_is_never_cheaper(base: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert base <= surge_price(base, low) <= surge_price(base, high) <= 3 * base


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: clear([Bid(1, 0, 1)], 1), "above zero"),
        (lambda: clear([Bid(1, 1, 0)], 1), "above zero"),
        (lambda: clear([Bid(1, 1, -2)], 1), "above zero"),
        (lambda: clear([Bid(1, 1.5, 1)], 1), "whole"),  # type: ignore[arg-type]
        (lambda: clear([Bid(1, 1, 1), Bid(1, 2, 1)], 1), "id of its own"),
        (lambda: clear([], -1), "capacity"),
        (lambda: clear([], 1.5), "capacity"),  # type: ignore[arg-type]
        (lambda: clear([], 1, reserve_ticks=0), "reserve_ticks"),
        (lambda: clear([], 1, price_rule="pay_as_bid"), "pay_as_bid"),  # type: ignore[arg-type]
        (lambda: surge_price(0.0, 0.5), "base_price"),
        (lambda: surge_price(math.nan, 0.5), "base_price"),
        (lambda: surge_price(1e308, 1.0), "too large"),
        (lambda: surge_price(1.0, math.nan), "utilisation"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(wrong: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        wrong()
