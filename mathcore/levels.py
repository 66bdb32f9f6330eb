"""Price levels on which several orders rest: who of them is filled, the one that came first or all in proportion.

An order that rests alone on its level is filled alike under both rules, and the order book does it itself; `take` fills
an incoming order from a level where orders have company. `left` is what is left of every live order of the book, by id:
a cancelled order is no longer in it, and lies on its level until it is met or swept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

Fill = tuple[int, int, int, int]
"""So many units change hands: id of the incoming order, id of the resting order, quantity, price in ticks.

Plain tuples, these two: with named ones the book matches a third fewer orders a second.
"""

Withdrawn = tuple[int, int]
"""An order taken off the book because its owner's own would have traded with it: id, and how much was left of it."""

Left = dict[int, int]


class TimeQueue(deque[tuple[int, str]]):
    """A level where the order that came first is filled first, ids and owners by time: O(1) a fill."""

    __slots__ = ()

    def take(
        self,
        left: Left,
        stops_at_own: bool,
        order: tuple[int, str, int],
        price: int,
        fills: list[Fill],
        withdrawn: list[Withdrawn],
    ) -> tuple[int, int]:
        """Fill an order (id, owner, quantity): how much it still wants, and what drops as it met its owner's own."""
        order_id, owner, wanted = order
        while self:
            first_id, whose = self[0]
            if first_id in left:
                there = left[first_id]
                if whose == owner:
                    if stops_at_own:
                        return 0, wanted
                    withdrawn.append((first_id, there))
                elif there > wanted:
                    left[first_id] = there - wanted
                    fills.append((order_id, first_id, wanted, price))
                    return 0, 0
                else:
                    fills.append((order_id, first_id, there, price))
                    wanted -= there
                del left[first_id]
            self.popleft()
            if not wanted:
                break
        return wanted, 0


class SharedQueue(deque[tuple[int, str]]):
    """A level that is shared in proportion to what is left of its orders, ids and owners by time.

    O(n log n) of them an incoming order.
    """

    __slots__ = ()

    def take(
        self,
        left: Left,
        stops_at_own: bool,
        order: tuple[int, str, int],
        price: int,
        fills: list[Fill],
        withdrawn: list[Withdrawn],
    ) -> tuple[int, int]:
        """Fill an order (id, owner, quantity): how much it still wants, and what drops as its owner rests here."""
        order_id, owner, wanted = order
        claims = []
        for each, whose in self:
            if each not in left or whose == owner:
                if not self._cleared(left, stops_at_own, owner, withdrawn):
                    return 0, wanted
                claims = [left[each] for each, _ in self]
                break
            claims.append(left[each])
        total = sum(claims)
        if wanted >= total:
            for (each, _), there in zip(self, claims):  # noqa: B905 - as long as each other, and checking costs.
                fills.append((order_id, each, there, price))
                del left[each]
            self.clear()
            return wanted - total, 0
        shares = shared(wanted, claims, total)
        filled = False
        for (each, _), there, share in zip(self, claims, shares):  # noqa: B905 - as above.
            if share:
                fills.append((order_id, each, share, price))
                if share == there:
                    del left[each]
                    filled = True
                else:
                    left[each] = there - share
        if filled:
            self._keep([entry for entry in self if entry[0] in left])
        return 0, 0

    def _cleared(self, left: Left, stops_at_own: bool, owner: str, withdrawn: list[Withdrawn]) -> bool:
        """Drop the dead and withdraw the owner's own; False, and all stays, where an own order stops the new one."""
        own = [each for each, whose in self if whose == owner and each in left]
        if own and stops_at_own:
            return False
        for each in own:
            withdrawn.append((each, left.pop(each)))
        self._keep([entry for entry in self if entry[0] in left])
        return True

    def _keep(self, entries: list[tuple[int, str]]) -> None:
        self.clear()
        self.extend(entries)


def pro_rata(quantity: int, claims: Sequence[int]) -> list[int]:
    """Share whole units in proportion to whole claims, none getting more than its claim: O(n log n).

    Rounded down, then one unit each to the largest remainders (Hamilton), ties to the claim that comes first. A
    quantity as large as all claims together, or larger, gives each its claim. Raises ValueError for negative numbers.
    """
    if quantity < 0 or (claims and min(claims) < 0):
        raise ValueError(f"quantity ({quantity}) and claims must not be negative")
    total = sum(claims)
    return list(claims) if quantity >= total else shared(quantity, claims, total)


def shared(quantity: int, claims: Sequence[int], total: int) -> list[int]:
    """`pro_rata` of less than all claims together, which sum to `total`; unchecked."""
    if len(claims) == 2:
        # The two remainders add up to one unit or none, so the larger is the one that rounds up; halves to the first.
        first = (2 * quantity * claims[0] + total) // (2 * total)
        return [first, quantity - first]
    shares, remainders, odd = [], [], quantity
    for claim in claims:
        product = quantity * claim
        share = product // total
        odd -= share
        shares.append(share)
        remainders.append(product - share * total)
    if odd < 4:
        # One by one is quicker than putting all in order; `index` finds the first of equals.
        while odd:
            at = remainders.index(max(remainders))
            shares[at] += 1
            remainders[at] = -1
            odd -= 1
        return shares
    least = sorted(remainders)[-odd]
    for at, remainder in enumerate(remainders):
        if remainder > least:
            shares[at] += 1
            odd -= 1
    at = -1
    for _ in range(odd):
        at = remainders.index(least, at + 1)
        shares[at] += 1
    return shares
