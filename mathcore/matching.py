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
order leaves no trace. An order costs O(log distinct prices) and O(1) a fill, under pro rata O(n log n) of the orders on
each level it reaches; a cancel costs O(1), over time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from heapq import heappop, heappush
from typing import Literal, NamedTuple

Side = Literal["buy", "sell"]
Rule = Literal["price_time", "pro_rata"]
Pricing = Literal["maker", "midpoint"]
SelfTrade = Literal["cancel_resting", "cancel_incoming"]

Fill = tuple[int, int, int, int]
"""So many units change hands: id of the incoming order, id of the resting order, quantity, price in ticks.

Plain tuples, these two: with named ones the book matches a third fewer orders a second.
"""

Outcome = tuple[Sequence[Fill], int, int, Sequence[tuple[int, int]]]
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
    """One side of the book. Its keys are prices, of bids minus the price, so that on both sides lower is better."""

    __slots__ = ("keys", "queues")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.queues: dict[int, deque[Order]] = {}

    def sweep(self, left: dict[int, int]) -> None:
        """Drop the orders that are no longer live."""
        live = {key: deque(order for order in queue if order.id in left) for key, queue in self.queues.items()}
        self.queues = {key: queue for key, queue in live.items() if queue}
        self.keys = sorted(self.queues)


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
        "_match",
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
        self._match = self._in_proportion if rule == "pro_rata" else self._in_turn
        self._at_midpoint = pricing == "midpoint"
        self._stops_at_own = self_trade == "cancel_incoming"
        self._bids, self._asks = _Half(), _Half()
        self._left: dict[int, int] = {}
        self._dead = 0
        self._last_id = self._last_at = -1

    def submit(self, order: Order) -> Outcome:
        """Match a new order, and rest what is left of it.

        Ids rise from order to order: they are the sequence, and none can come twice. Raises ValueError, and leaves the
        book as it was, for an id or time that goes back, a price or quantity that is no whole number above zero, an
        owner without a name and an unknown side.
        """
        order_id, owner, side, price_ticks, quantity, at = order
        if not (
            type(order_id) is type(price_ticks) is type(quantity) is type(at) is int
            and price_ticks > 0
            and quantity > 0
            and order_id > self._last_id
            and at >= self._last_at
            and type(owner) is str
            and owner
        ):
            raise ValueError(self._complaint(order))
        if side == "buy":
            own, other, key = self._bids, self._asks, -price_ticks
        elif side == "sell":
            own, other, key = self._asks, self._bids, price_ticks
        else:
            raise ValueError(f"side must be 'buy' or 'sell', not {side!r}")
        self._last_id, self._last_at = order_id, at
        keys = other.keys
        outcome: Outcome = ((), quantity, 0, ())
        if keys and keys[0] <= -key:
            outcome = self._match(order, -key, other)
        if resting := outcome[1]:
            self._left[order_id] = resting
            queue = own.queues.get(key)
            if queue is None:
                queue = own.queues[key] = deque()
                heappush(own.keys, key)
            queue.append(order)
        return outcome

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
            (order.id, key, order.owner, self._left[order.id])
            for key in sorted(half.queues)
            for order in half.queues[key]
            if order.id in self._left
        ]

    def _in_turn(self, order: Order, limit: int, other: _Half) -> Outcome:
        """Fill from the order that came first, level by level."""
        order_id, owner, _, _, wanted, _ = order
        keys, queues, left = other.keys, other.queues, self._left
        fills: list[Fill] = []
        withdrawn: list[tuple[int, int]] = []
        while keys and keys[0] <= limit:
            queue = queues[keys[0]]
            price = self._price(order, keys[0]) if self._at_midpoint else abs(keys[0])
            while queue:
                first = queue[0]
                first_id = first[0]
                there = left.get(first_id, 0)
                if there and first[1] == owner:
                    if self._stops_at_own:
                        return fills, 0, wanted, withdrawn
                    withdrawn.append((first_id, left.pop(first_id)))
                    there = 0
                elif there > wanted:
                    left[first_id] = there - wanted
                    fills.append((order_id, first_id, wanted, price))
                    return fills, 0, 0, withdrawn
                queue.popleft()
                if there:
                    fills.append((order_id, first_id, there, price))
                    del left[first_id]
                    wanted -= there
                    if not wanted:
                        return fills, 0, 0, withdrawn
            del queues[heappop(keys)]
        return fills, wanted, 0, withdrawn

    def _in_proportion(self, order: Order, limit: int, other: _Half) -> Outcome:
        """Share the order among all of a level, level by level."""
        wanted, left = order.quantity, self._left
        fills: list[Fill] = []
        withdrawn: list[tuple[int, int]] = []
        while wanted and other.keys and other.keys[0] <= limit:
            price, queue = self._price(order, other.keys[0]), other.queues[other.keys[0]]
            live = [each for each in queue if each[0] in left]
            same = [each[0] for each in live if each[1] == order.owner]
            if same and self._stops_at_own:
                return fills, 0, wanted, withdrawn
            withdrawn += [(each, left.pop(each)) for each in same]
            there = [each[0] for each in live if each[0] in left] if same else [each[0] for each in live]
            claims = [left[each] for each in there]
            for each, claim, share in zip(there, claims, pro_rata(wanted, claims), strict=True):
                if share:
                    fills.append((order.id, each, share, price))
                    wanted -= share
                    left[each] = claim - share
                    if share == claim:
                        del left[each]
            if wanted:
                del other.queues[heappop(other.keys)]
            elif len(live) < len(queue) or any(each not in left for each in there):
                queue.clear()
                queue.extend(each for each in live if each[0] in left)
        return fills, wanted, 0, withdrawn

    def _price(self, order: Order, key: int) -> int:
        """What both pay at the level of this key; half a tick goes to the resting order."""
        if not self._at_midpoint:
            return abs(key)
        return (order.price_ticks + abs(key) + (order.side == "buy")) // 2

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


def pro_rata(quantity: int, claims: Sequence[int]) -> list[int]:
    """Share whole units in proportion to whole claims, none getting more than its claim: O(n log n).

    Rounded down, then one unit each to the largest remainders (Hamilton), ties to the claim that comes first. A
    quantity as large as all claims together, or larger, gives each its claim. Raises ValueError for negative numbers.
    """
    if quantity < 0 or (claims and min(claims) < 0):
        raise ValueError(f"quantity ({quantity}) and claims must not be negative")
    total = sum(claims)
    if quantity >= total:
        return list(claims)
    shares = [quantity * claim // total for claim in claims]
    by_remainder = sorted(range(len(claims)), key=lambda at: -(quantity * claims[at] % total))
    for at in by_remainder[: quantity - sum(shares)]:
        shares[at] += 1
    return shares


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
