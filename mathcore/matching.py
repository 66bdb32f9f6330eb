"""An order book for GPU hours: who trades with whom, how much, at what price, and always the same for the same journal.

Prices are whole ticks and quantities whole units: nothing is ever rounded away. An incoming order meets the best price
first, and trades while the two limits cross; what is left of it rests. Inside one price level the rule decides:

- `price_time` (the default): the order that came first is filled first (Harris 2003, "Trading and Exchanges", ch. 6).
- `pro_rata`: the level is shared in proportion to the quantities resting there, rounded down; the units left over go
  one each to the largest remainders (Hamilton's method), ties to the order that came first.

Pricing: `maker` trades at the price of the resting order; `midpoint` half-way between the two limits, half a tick going
to the resting order. With `midpoint` in a continuous book the same orders in another sequence trade at other prices,
even where the same parties trade: the order that comes later no longer gets the whole of the better price. Only an
auction (`mathcore.auction`) is free of that.

Self-trade: an order never trades with one of the same owner. `cancel_resting` (the default) takes the owner's resting
orders off the level that is reached and goes on; `cancel_incoming` stops there and drops what is left of the new one.

Time priority is the sequence in which orders reach the book. Their time stamps may be equal, never go back. A refused
order leaves no trace. An order costs O(1) a fill, under pro rata O(n log n) of the orders on each level it reaches; one
that opens a level costs O(log distinct prices) and a move of the list of prices; a cancel costs O(1), over time.

An order alone on its level, the common case, is filled here under both rules; `mathcore.levels` has the rules for more.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, NamedTuple

from mathcore.levels import Fill, Left, SharedQueue, TimeQueue, Withdrawn

Side = Literal["buy", "sell"]
Rule = Literal["price_time", "pro_rata"]
Pricing = Literal["maker", "midpoint"]
SelfTrade = Literal["cancel_resting", "cancel_incoming"]

Outcome = tuple[Sequence[Fill], int, int, Sequence[Withdrawn]]
"""What became of an order: its fills, how much now rests, how much was dropped, and what was withdrawn.

The first three add up to its quantity. Dropped is what the self-trade rule kept from trading; withdrawn are the owner's
resting orders that it took off the book, by id, and how much was left of each.
"""

DEAD_ORDERS = 1024
"""So many cancelled orders, and as many as are live, may lie in the queues before they are swept."""


class Order(NamedTuple):
    """A limit order as it reaches the book: buy at `price_ticks` or lower, or sell at it or higher."""

    id: int
    owner: str
    side: Side
    price_ticks: int
    quantity: int
    at: int = 0


class Cancel(NamedTuple):
    """Take what is left of an order off the book."""

    id: int
    at: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """All orders resting at one price."""

    price_ticks: int
    quantity: int
    orders: int


class _Half:
    """One side of the book. Its keys are prices, of asks minus the price, so that on both sides the last is the best.

    At each key the id and owner of the order that rests there alone, or a queue of several.
    """

    __slots__ = ("keys", "levels")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.levels: dict[int, tuple[int, str] | TimeQueue | SharedQueue] = {}

    def entries(self, key: int) -> list[tuple[int, str]]:
        """Id and owner of each order at a key, by time, live or not."""
        level = self.levels[key]
        return [level] if isinstance(level, tuple) else list(level)

    def sweep(self, left: Left) -> None:
        """Drop the orders that are no longer live, and the levels without any."""
        swept: dict[int, tuple[int, str] | TimeQueue | SharedQueue] = {}
        for key, level in self.levels.items():
            live = [entry for entry in self.entries(key) if entry[0] in left]
            if live:
                swept[key] = live[0] if isinstance(level, tuple) else type(level)(live)
        self.levels, self.keys = swept, sorted(swept)


class OrderBook:
    """A limit order book for one product; one writer at a time."""

    __slots__ = (
        "_asks",
        "_at_midpoint",
        "_bids",
        "_dead",
        "_last_at",
        "_last_id",
        "_left",
        "_queue",
        "_stops_at_own",
        "pricing",
        "rule",
        "self_trade",
    )

    def __init__(
        self, rule: Rule = "price_time", pricing: Pricing = "maker", self_trade: SelfTrade = "cancel_resting"
    ) -> None:
        for name, value, known in (
            ("rule", rule, ("price_time", "pro_rata")),
            ("pricing", pricing, ("maker", "midpoint")),
            ("self_trade", self_trade, ("cancel_resting", "cancel_incoming")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        self.rule, self.pricing, self.self_trade = rule, pricing, self_trade
        self._queue = SharedQueue if rule == "pro_rata" else TimeQueue
        self._at_midpoint = pricing == "midpoint"
        self._stops_at_own = self_trade == "cancel_incoming"
        self._bids, self._asks = _Half(), _Half()
        self._left: Left = {}
        self._dead = 0
        self._last_id = self._last_at = -1

    def submit(self, order: Order) -> Outcome:
        """Match a new order, and rest what is left of it.

        Ids rise from order to order: they are the sequence, and none can come twice. Raises ValueError, and leaves the
        book as it was, for an id or time that goes back, a price or quantity that is no whole number above zero, an
        owner without a name and an unknown side.
        """
        outcome: Outcome
        order_id, owner, side, price_ticks, quantity, at = order
        if not (
            type(order_id) is int
            and type(price_ticks) is int
            and type(quantity) is int
            and type(at) is int
            and price_ticks > 0
            and quantity > 0
            and order_id > self._last_id
            and at >= self._last_at
            and type(owner) is str
            and owner
        ):
            raise ValueError(self._complaint(order))
        if side == "buy":
            own, other = self._bids, self._asks
            key, limit = price_ticks, -price_ticks
        elif side == "sell":
            own, other = self._asks, self._bids
            key, limit = -price_ticks, price_ticks
        else:
            raise ValueError(f"side must be 'buy' or 'sell', not {side!r}")
        self._last_id, self._last_at = order_id, at
        keys = other.keys
        if keys and keys[-1] >= limit:
            outcome = self._match(order_id, owner, quantity, limit, other)
            quantity = outcome[1]
            if not quantity:
                return outcome
        else:
            outcome = (), quantity, 0, ()
        self._left[order_id] = quantity
        if key not in own.levels:
            own.levels[key] = order_id, owner
            keys = own.keys
            if keys and key < keys[-1]:
                insort(keys, key)
            else:
                keys.append(key)
        elif isinstance(level := own.levels[key], tuple):
            own.levels[key] = self._queue((level, (order_id, owner)))
        else:
            level.append((order_id, owner))
        return outcome

    def _match(self, order_id: int, owner: str, wanted: int, limit: int, other: _Half) -> Outcome:
        """Fill an order level by level, from the best to the last within its limit."""
        keys, levels = other.keys, other.levels
        left, at_midpoint = self._left, self._at_midpoint
        fills: list[Fill] = []
        withdrawn: list[Withdrawn] = []
        while keys and (best := keys[-1]) >= limit:
            # One of the keys is minus its price: their sum is halved towards the limit of the order that rests.
            price = abs((best + limit) >> 1 if at_midpoint else best)
            level = levels[best]
            if not isinstance(level, tuple):
                incoming = order_id, owner, wanted
                wanted, dropped = level.take(left, self._stops_at_own, incoming, price, fills, withdrawn)
                if not wanted:
                    return fills, 0, dropped, withdrawn
            elif level[0] in left:
                first_id, whose = level
                there = left[first_id]
                if whose == owner:
                    if self._stops_at_own:
                        return fills, 0, wanted, withdrawn
                    withdrawn.append((first_id, there))
                elif there > wanted:
                    left[first_id] = there - wanted
                    fills.append((order_id, first_id, wanted, price))
                    return fills, 0, 0, withdrawn
                else:
                    fills.append((order_id, first_id, there, price))
                    wanted -= there
                del left[first_id]
            keys.pop()
            del levels[best]
            if not wanted:
                break
        return fills, wanted, 0, withdrawn

    def cancel(self, cancel: Cancel) -> int:
        """Take what is left of an order off the book, and say how much that was; 0 when nothing was left.

        Raises ValueError for an id that cannot have come yet or a time that goes back. Whether the caller owns the
        order is the caller's to check.
        """
        order_id, at = cancel
        if not (type(order_id) is type(at) is int and 0 <= order_id <= self._last_id and at >= self._last_at):
            raise ValueError(
                f"id ({order_id!r}) must be one from 0 to {self._last_id}, time ({at!r}) not before {self._last_at}"
            )
        self._last_at = at
        left = self._left.pop(order_id, 0)
        self._dead += 1
        if self._dead > DEAD_ORDERS + len(self._left):
            self._bids.sweep(self._left)
            self._asks.sweep(self._left)
            self._dead = 0
        return left

    def depth(self, side: Side, levels: int = 10) -> list[Level]:
        """What rests on one side, best price first: O(orders on the side)."""
        if side not in ("buy", "sell") or levels < 1:
            raise ValueError(f"side ({side!r}) must be 'buy' or 'sell', levels ({levels}) at least 1")
        found: dict[int, list[int]] = {}
        for _, key, _, left in self._live(self._bids if side == "buy" else self._asks):
            found.setdefault(abs(key), []).append(left)
        return [Level(price, sum(lefts), len(lefts)) for price, lefts in list(found.items())[:levels]]

    def digest(self) -> str:
        """A hash of the whole state: equal after the same journal under the same rules, on any machine."""
        rules = (self.rule, self.pricing, self.self_trade, self._last_id, self._last_at)
        return sha256(repr((rules, self._live(self._bids), self._live(self._asks))).encode()).hexdigest()

    def _live(self, half: _Half) -> list[tuple[int, int, str, int]]:
        """Id, key, owner and what is left of every order of one side, best price first, then by time."""
        return [
            # Minus the price of a bid, the price of an ask: as the state has always been hashed.
            (order_id, -key, owner, self._left[order_id])
            for key in reversed(half.keys)
            for order_id, owner in half.entries(key)
            if order_id in self._left
        ]

    def _complaint(self, order: Order) -> str:
        for name, value, least in (
            ("id", order.id, self._last_id + 1),
            ("price_ticks", order.price_ticks, 1),
            ("quantity", order.quantity, 1),
            ("at", order.at, self._last_at),
        ):
            if type(value) is not int or value < least:
                return f"{name} must be a whole number of at least {least}, not {value!r}"
        return f"owner must be a name, not {order.owner!r}"


def replay(book: OrderBook, journal: Iterable[Order | Cancel]) -> list[Fill]:
    """Put a journal through a book, and return what was traded: the same for the same journal and an equal book.

    Raises ValueError at the first entry that the book refuses.
    """
    fills: list[Fill] = []
    for entry in journal:
        if isinstance(entry, Order):
            fills.extend(book.submit(entry)[0])
        else:
            book.cancel(entry)
    return fills
