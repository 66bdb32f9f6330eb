"""The order book against a slow one, written from the rules alone, after every entry of long journals."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.levels import pro_rata
from mathcore.matching import Cancel, Order, OrderBook, Pricing, Rule, SelfTrade

Numbers = tuple[tuple[int, ...], ...]

_RULES = [
    (rule, pricing, self_trade)
    for rule in get_args(Rule)
    for pricing in get_args(Pricing)
    for self_trade in get_args(SelfTrade)
]


def hamilton(quantity: int, claims: Sequence[int]) -> list[int]:
    """Largest remainders in exact fractions, ties to the first."""
    exact = [Fraction(min(quantity, sum(claims)) * claim, max(1, sum(claims))) for claim in claims]
    shares = [int(each) for each in exact]
    by_remainder = sorted(range(len(claims)), key=lambda at: (shares[at] - exact[at], at))
    for at in by_remainder[: int(sum(exact)) - sum(shares)]:
        shares[at] += 1
    return shares


class SlowBook:
    """All live orders in one list, by time; each incoming order looks through all of it for the next level."""

    def __init__(self, rule: Rule, pricing: Pricing, self_trade: SelfTrade) -> None:
        self.rules = (rule, pricing, self_trade)
        self.left: dict[int, int] = {}
        self.orders: dict[int, Order] = {}
        self.last = (-1, -1)

    def level(self, order: Order) -> list[Order]:
        """The orders at the best price that the order crosses."""
        others = [self.orders[each] for each in self.left if self.orders[each].side != order.side]
        sign = 1 if order.side == "buy" else -1
        crossed = [each for each in others if sign * (order.price_ticks - each.price_ticks) >= 0]
        best = min((sign * each.price_ticks for each in crossed), default=0)
        return sorted(each for each in crossed if sign * each.price_ticks == best)

    def submit(self, order: Order) -> tuple[Numbers, int, int, Numbers]:
        """What `OrderBook.submit` answers."""
        rule, _, self_trade = self.rules
        self.orders[order.id], self.last = order, (order.id, order.at)
        fills: list[tuple[int, ...]] = []
        withdrawn: list[tuple[int, ...]] = []
        wanted = order.quantity
        while wanted and (level := self.level(order)):
            own = [each for each in level if each.owner == order.owner]
            if rule == "price_time":
                level, own = level[:1], [each for each in level[:1] if each in own]
            if own and self_trade == "cancel_incoming":
                return tuple(fills), 0, wanted, tuple(withdrawn)
            withdrawn += [(each.id, self.left.pop(each.id)) for each in own]
            level = [each for each in level if each not in own]
            for each, share in zip(level, hamilton(wanted, [self.left[each.id] for each in level]), strict=True):
                if share:
                    fills.append((order.id, each.id, share, self.price(order, each)))
                    self.reduce(each.id, share)
                    wanted -= share
        if wanted:
            self.left[order.id] = wanted
        return tuple(fills), wanted, 0, tuple(withdrawn)

    def reduce(self, order_id: int, share: int) -> None:
        """Take a fill off what is left."""
        self.left[order_id] -= share
        if not self.left[order_id]:
            del self.left[order_id]

    def price(self, order: Order, resting: Order) -> int:
        """Half a tick goes to the order that rests: up where it sells, down where it buys."""
        if self.rules[1] == "maker":
            return resting.price_ticks
        return (order.price_ticks + resting.price_ticks + (resting.side == "sell")) // 2

    def cancel(self, cancel: Cancel) -> int:
        """What `OrderBook.cancel` answers."""
        self.last = (self.last[0], cancel.at)
        return self.left.pop(cancel.id, 0)

    def digest(self) -> str:
        """The hash of the state as it has been since the first release: a bid is known by minus its price."""
        sides: list[list[tuple[int, int, str, int]]] = []
        for side, sign in (("buy", -1), ("sell", 1)):
            rows = [self.orders[each] for each in self.left if self.orders[each].side == side]
            rows.sort(key=lambda order: (sign * order.price_ticks, order.id))
            sides.append([(each.id, sign * each.price_ticks, each.owner, self.left[each.id]) for each in rows])
        return sha256(repr(((*self.rules, *self.last), *sides)).encode()).hexdigest()


@st.composite
def _journals(draw: st.DrawFn) -> list[Order | Cancel]:
    """Entries on so few prices that levels fill up, with quantities that tie, and cancels of any earlier order."""
    prices = draw(st.integers(1, 4))
    largest = draw(st.sampled_from([2, 12, 60, 2**70]))
    owners = draw(st.sampled_from(["ab", "abcdefgh"]))
    drawn = st.tuples(
        st.sampled_from(["buy", "sell", "buy", "sell", "cancel"]),
        st.sampled_from(owners),
        st.integers(10, 9 + prices),
        st.integers(1, largest),
        st.integers(0, 119),
    )
    entries: list[Order | Cancel] = []
    orders = 0
    for at, (kind, owner, price, quantity, target) in enumerate(draw(st.lists(drawn, min_size=20, max_size=120))):
        if kind == "cancel":
            if orders:
                entries.append(Cancel(target % orders, at))
            continue
        entries.append(Order(orders, owner, "buy" if kind == "buy" else "sell", price, quantity, at))
        orders += 1
    return entries


@pytest.mark.parametrize("rules", _RULES, ids="-".join)
@settings(deadline=None, max_examples=40)
@given(journal=_journals(), sweeps=st.booleans())
def test_every_answer_and_every_state_are_those_of_the_slow_book(
    rules: tuple[Rule, Pricing, SelfTrade], journal: list[Order | Cancel], sweeps: bool
) -> None:
    book, slow = OrderBook(*rules), SlowBook(*rules)
    with pytest.MonkeyPatch.context() as patched:
        if sweeps:
            patched.setattr("mathcore.matching.DEAD_ORDERS", -1000)
        for entry in journal:
            if isinstance(entry, Cancel):
                assert book.cancel(entry) == slow.cancel(entry)
            else:
                fills, rests, dropped, withdrawn = book.submit(entry)
                assert (tuple(fills), rests, dropped, tuple(withdrawn)) == slow.submit(entry)
            assert book.digest() == slow.digest()


@settings(deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 9) | st.integers(0, 10**20), max_size=40))
def test_shares_are_those_of_exact_fractions(quantity: int, claims: list[int]) -> None:
    assert pro_rata(quantity, claims) == hamilton(quantity, claims)
