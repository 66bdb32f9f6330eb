"""The order book against its invariants: conservation, priority, the same journal giving the same state."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.levels import pro_rata
from mathcore.matching import Cancel, Level, Order, OrderBook, Pricing, Rule, SelfTrade, replay

_RULES = [
    (rule, pricing, self_trade)
    for rule in get_args(Rule)
    for pricing in get_args(Pricing)
    for self_trade in get_args(SelfTrade)
]
_settings = st.sampled_from(_RULES)


@st.composite
def _journals(draw: st.DrawFn) -> list[Order | Cancel]:
    """Orders close to each other, by few owners, at times that stand still as often as not, and cancels among them."""
    entries: list[Order | Cancel] = []
    at = orders = 0
    for _ in range(draw(st.integers(1, 30))):
        at += draw(st.integers(0, 1))
        if orders and draw(st.integers(0, 3)) == 0:
            entries.append(Cancel(draw(st.integers(0, orders - 1)), at))
            continue
        side = draw(st.sampled_from(["buy", "sell"]))
        owner = draw(st.sampled_from("abc"))
        entries.append(Order(orders, owner, side, draw(st.integers(8, 12)), draw(st.integers(1, 20)), at))  # type: ignore[arg-type]
        orders += 1
    return entries


@settings(deadline=None)
@given(_journals(), _settings)
def test_nothing_is_traded_twice_and_nothing_is_lost(
    journal: list[Order | Cancel], rules: tuple[Any, Any, Any]
) -> None:
    book = OrderBook(*rules)
    orders: dict[int, Order] = {}
    left: Counter[int] = Counter()
    for entry in journal:
        if isinstance(entry, Cancel):
            assert book.cancel(entry) == left[entry.id]
            left[entry.id] = 0
            continue
        orders[entry.id] = entry
        fills, rests, dropped, withdrawn = book.submit(entry)
        assert entry.quantity == sum(fill[2] for fill in fills) + rests + dropped
        for incoming, resting, quantity, price in fills:
            assert (incoming, quantity > 0) == (entry.id, True)
            assert orders[resting].side != entry.side
            assert orders[resting].owner != entry.owner
            assert _within(entry, price)
            assert _within(orders[resting], price)
            left[resting] -= quantity
            assert left[resting] >= 0
        for own, quantity in withdrawn:
            assert orders[own].owner == entry.owner
            assert quantity == left[own] > 0
            left[own] = 0
        left[entry.id] = rests
        for side in ("buy", "sell"):
            expected: Counter[int] = Counter()
            for live, quantity in left.items():
                if orders[live].side == side:
                    expected[orders[live].price_ticks] += quantity
            shown = {level.price_ticks: level.quantity for level in book.depth(side, 99)}
            assert shown == {price: quantity for price, quantity in expected.items() if quantity}


def _within(order: Order, price: int) -> bool:
    return price <= order.price_ticks if order.side == "buy" else price >= order.price_ticks


@settings(deadline=None)
@given(_journals(), _settings)
def test_no_two_limits_that_cross_rest_side_by_side(journal: list[Order | Cancel], rules: tuple[Any, Any, Any]) -> None:
    book = OrderBook(*rules)
    replay(book, journal)
    bids, asks = book.depth("buy"), book.depth("sell")
    assert not bids or not asks or bids[0].price_ticks < asks[0].price_ticks


@settings(deadline=None)
@given(_journals(), st.sampled_from([rules for rules in _RULES if rules[0] == "price_time"]))
def test_whoever_offers_a_better_price_or_came_first_is_served_first(
    journal: list[Order | Cancel], rules: tuple[Any, Any, Any]
) -> None:
    book = OrderBook(*rules)
    left: dict[int, int] = {}
    orders: dict[int, Order] = {}
    for entry in journal:
        if isinstance(entry, Cancel):
            book.cancel(entry)
            left.pop(entry.id, None)
            continue
        orders[entry.id] = entry
        fills, rests, _, withdrawn = book.submit(entry)
        for own, _ in withdrawn:
            left.pop(own)
        for _, resting, quantity, _ in fills:
            rivals = [
                orders[live] for live in left if orders[live].side != entry.side and orders[live].owner != entry.owner
            ]
            best = min(rivals, key=lambda order: (order.price_ticks * (1 if order.side == "sell" else -1), order.id))
            assert resting == best.id
            left[resting] -= quantity
            if not left[resting]:
                del left[resting]
        if rests:
            left[entry.id] = rests


@settings(deadline=None)
@given(_journals(), _settings)
def test_the_same_journal_gives_the_same_trades_and_the_same_state(
    journal: list[Order | Cancel], rules: tuple[Any, Any, Any]
) -> None:
    one, same = OrderBook(*rules), OrderBook(*rules)
    assert replay(one, journal) == replay(same, journal)
    assert one.digest() == same.digest()
    later = Order(len(journal), "z", "buy", 100, 10_000, 999)
    assert replay(one, [later]) == replay(same, [later])
    assert one.digest() == same.digest()


def test_the_state_hash_does_not_change_between_releases_and_tells_states_apart() -> None:
    book = OrderBook()
    replay(book, [Order(0, "a", "buy", 10, 5), Order(1, "b", "sell", 11, 5, 3)])
    assert book.digest().startswith("ed4577d4d2aa")
    before = book.digest()
    book.cancel(Cancel(0, 3))
    assert book.digest() != before
    assert OrderBook("pro_rata").digest() != OrderBook().digest()


@settings(deadline=None)
@given(_journals(), _settings)
def test_sweeping_cancelled_orders_changes_nothing(journal: list[Order | Cancel], rules: tuple[Any, Any, Any]) -> None:
    lazy, keen = OrderBook(*rules), OrderBook(*rules)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mathcore.matching.DEAD_ORDERS", -1000)
        swept = replay(keen, journal)
    assert replay(lazy, journal) == swept
    assert lazy.digest() == keen.digest()


def test_cancelled_orders_do_not_pile_up() -> None:
    book = OrderBook()
    for number in range(10_000):
        book.submit(Order(number, "a", "buy", 1 + number % 50, 1))
        book.cancel(Cancel(number))
    assert sum(len(book._bids.entries(key)) for key in book._bids.levels) < 1100
    assert book.depth("buy") == []


def test_an_order_is_filled_at_the_price_of_who_was_there_first_or_half_way() -> None:
    resting, incoming = Order(0, "a", "sell", 10, 5), Order(1, "b", "buy", 15, 5)
    assert replay(OrderBook(), [resting, incoming]) == [(1, 0, 5, 10)]
    # Half a tick goes to the order that was there: the seller gets more, the buyer pays less.
    assert replay(OrderBook(pricing="midpoint"), [resting, incoming]) == [(1, 0, 5, 13)]
    turned = [Order(0, "b", "buy", 15, 5), Order(1, "a", "sell", 10, 5)]
    assert replay(OrderBook(), turned) == [(1, 0, 5, 15)]
    assert replay(OrderBook(pricing="midpoint"), turned) == [(1, 0, 5, 12)]
    assert replay(OrderBook(pricing="midpoint"), [resting, Order(1, "b", "buy", 14, 5)]) == [(1, 0, 5, 12)]


def test_with_midpoints_the_sequence_of_the_same_orders_moves_the_money() -> None:
    low, high, sale = ("b", "buy", 11, 1), ("c", "buy", 20, 1), ("s", "sell", 10, 1)
    last, between = (
        [Order(number, *each) for number, each in enumerate(each_time)]  # type: ignore[arg-type]
        for each_time in ((low, high, sale), (low, sale, high))
    )
    assert replay(OrderBook(pricing="midpoint"), last) == [(2, 1, 1, 15)]
    assert replay(OrderBook(pricing="midpoint"), between) == [(1, 0, 1, 10)]


def test_equal_times_are_told_apart_by_sequence() -> None:
    journal = [Order(0, "a", "sell", 10, 3, 7), Order(1, "b", "sell", 10, 3, 7), Order(2, "c", "buy", 10, 4, 7)]
    assert replay(OrderBook(), journal) == [(2, 0, 3, 10), (2, 1, 1, 10)]


def test_a_level_is_shared_in_proportion_with_the_odd_unit_to_the_largest_remainder() -> None:
    journal = [
        Order(0, "a", "sell", 10, 10),
        Order(1, "b", "sell", 10, 20),
        Order(2, "c", "sell", 10, 30),
        Order(3, "d", "buy", 10, 10),
    ]
    book = OrderBook("pro_rata")
    # 10/6, 20/6 and 30/6: 1, 3 and 5, and the odd unit to the remainder of two thirds.
    assert [fill[1:3] for fill in replay(book, journal)] == [(0, 2), (1, 3), (2, 5)]
    assert book.depth("sell") == [Level(10, 50, 3)]
    assert [fill[1:3] for fill in book.submit(Order(4, "d", "buy", 11, 60))[0]] == [(0, 8), (1, 17), (2, 25)]
    assert book.depth("buy") == [Level(11, 10, 1)]


def test_price_comes_before_proportion() -> None:
    journal = [Order(0, "a", "sell", 11, 100), Order(1, "b", "sell", 10, 2), Order(2, "c", "buy", 11, 4)]
    assert replay(OrderBook("pro_rata"), journal) == [(2, 1, 2, 10), (2, 0, 2, 11)]


@given(st.integers(0, 500), st.lists(st.integers(0, 60), max_size=12))
def test_shares_are_whole_add_up_and_lie_within_one_unit_of_proportion(quantity: int, claims: list[int]) -> None:
    shares, total = pro_rata(quantity, claims), sum(claims)
    assert sum(shares) == min(quantity, total)
    for share, claim in zip(shares, claims, strict=True):
        assert 0 <= share <= claim
        assert abs(share - Fraction(min(quantity, total) * claim, max(1, total))) < 1


def test_equal_remainders_go_to_who_came_first() -> None:
    assert pro_rata(2, [5, 5, 5]) == [1, 1, 0]
    assert pro_rata(1, [1, 1]) == [1, 0]
    with pytest.raises(ValueError, match="negative"):
        pro_rata(-1, [1])
    with pytest.raises(ValueError, match="negative"):
        pro_rata(1, [2, -1])


@pytest.mark.parametrize("rule", get_args(Rule))
def test_nobody_trades_with_themselves(rule: Rule) -> None:
    resting = [Order(0, "a", "sell", 10, 5), Order(1, "b", "sell", 10, 5)]
    book = OrderBook(rule)
    replay(book, resting)
    assert book.submit(Order(2, "a", "buy", 10, 7)) == ([(2, 1, 5, 10)], 2, 0, [(0, 5)])
    strict = OrderBook(rule, self_trade="cancel_incoming")
    replay(strict, resting)
    assert strict.submit(Order(2, "a", "buy", 10, 7)) == ([], 0, 7, [])
    assert strict.depth("sell") == [Level(10, 10, 2)]


def test_an_order_stops_at_its_owners_own_only_when_it_gets_there() -> None:
    strict = OrderBook(self_trade="cancel_incoming")
    replay(strict, [Order(0, "b", "sell", 10, 5), Order(1, "a", "sell", 10, 5)])
    assert strict.submit(Order(2, "a", "buy", 10, 7)) == ([(2, 0, 5, 10)], 0, 2, [])
    assert strict.submit(Order(3, "a", "buy", 9, 1)) == ((), 1, 0, ())


def test_what_is_cancelled_no_longer_trades() -> None:
    book = OrderBook()
    replay(book, [Order(0, "a", "sell", 10, 5), Order(1, "b", "sell", 10, 5)])
    assert book.cancel(Cancel(0)) == 5
    assert book.cancel(Cancel(0)) == 0
    assert book.submit(Order(2, "c", "buy", 10, 5))[0] == [(2, 1, 5, 10)]
    assert book.cancel(Cancel(1)) == 0
    assert book.depth("sell") == []


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (Order(5, "a", "buy", 10, 0), "quantity"),
        (Order(5, "a", "buy", 10, -1), "quantity"),
        (Order(5, "a", "buy", 0, 1), "price_ticks"),
        (Order(5, "a", "buy", 10.5, 1), "price_ticks"),  # type: ignore[arg-type]
        (Order(5, "a", "buy", 10, float("nan")), "quantity"),  # type: ignore[arg-type]
        (Order(5, "a", "buy", 10, True), "quantity"),
        (Order(4, "a", "buy", 10, 1), "id"),
        (Order(5, "a", "buy", 10, 1, 2), "at"),
        (Order(5, "", "buy", 10, 1, 9), "owner"),
        (Order(5, None, "buy", 10, 1, 9), "owner"),  # type: ignore[arg-type]
        (Order(5, "a", "hold", 10, 1, 9), "side"),  # type: ignore[arg-type]
    ],
)
def test_an_order_that_makes_no_sense_is_refused_and_leaves_no_trace(order: Order, said: str) -> None:
    book = OrderBook()
    book.submit(Order(4, "b", "sell", 12, 3, 3))
    before = book.digest()
    with pytest.raises(ValueError, match=said):
        book.submit(order)
    assert book.digest() == before


@pytest.mark.parametrize("cancel", [Cancel(5, 9), Cancel(-1, 9), Cancel(4, 2), Cancel(4.0, 9)])  # type: ignore[arg-type]
def test_a_cancel_of_what_never_came_is_refused(cancel: Cancel) -> None:
    book = OrderBook()
    book.submit(Order(4, "b", "sell", 12, 3, 3))
    with pytest.raises(ValueError, match="id"):
        book.cancel(cancel)
    assert book.depth("sell") == [Level(12, 3, 1)]


def test_rules_that_do_not_exist_are_refused_by_name() -> None:
    for options in ({"rule": "fifo"}, {"pricing": "last"}, {"self_trade": "allow"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            OrderBook(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="levels"):
        OrderBook().depth("buy", 0)
