"""Selling idle capacity: a sealed auction with one price for all, and a price that rises as capacity runs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

from mathcore.figures import above_zero

PriceRule = Literal["highest_rejected", "lowest_accepted"]

SURGE = 2.0


class Bid(NamedTuple):
    """Up to `quantity` units, each for `price_ticks` or less; whoever bids may also get fewer units."""

    id: int
    price_ticks: int
    quantity: int
    at: int = 0


@dataclass(frozen=True, slots=True)
class Award:
    """Units that a bid gets."""

    id: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Clearing:
    """Who gets how much, best bid first, and the one price each pays for a unit, in ticks.

    `unsold`: capacity that found no bid at the reserve or above. `rejected`: units bid for at the reserve or above that
    found no capacity.
    """

    price_ticks: int
    awards: tuple[Award, ...]
    sold: int
    unsold: int
    rejected: int


def clear(
    bids: Sequence[Bid], capacity: int, *, reserve_ticks: int = 1, price_rule: PriceRule = "highest_rejected"
) -> Clearing:
    """Give the capacity to the highest bids, everybody at one price: a sealed multi-unit uniform-price auction.

    Bids below the reserve are left out. At one price the earlier `at` is first, then the position in `bids`; the last
    bid served may get a part. `highest_rejected`: the price of the first unit that got nothing, the reserve when every
    unit got something; whoever wants a single unit then does best to bid what it is worth (Vickrey 1961).
    `lowest_accepted`: the price of the last unit served, which is what pay-as-cleared markets charge; the reserve when
    nothing is sold. Under both no award costs more than its bid.

    Raises ValueError for numbers that are not whole, a price or quantity not above zero, a capacity below zero, and
    ids that come twice. O(n log n).
    """
    _valid(bids, capacity, reserve_ticks, price_rule)
    ranked = sorted(
        (bid for bid in bids if bid.price_ticks >= reserve_ticks), key=lambda bid: (-bid.price_ticks, bid.at)
    )
    left = capacity
    awards: list[Award] = []
    accepted = rejected_at = reserve_ticks
    rejected = 0
    for bid in ranked:
        quantity = min(left, bid.quantity)
        if quantity:
            awards.append(Award(bid.id, quantity))
            left -= quantity
            accepted = bid.price_ticks
        if quantity < bid.quantity:
            rejected_at = max(rejected_at, bid.price_ticks)
            rejected += bid.quantity - quantity
    price = rejected_at if price_rule == "highest_rejected" else accepted
    return Clearing(price, tuple(awards), capacity - left, left, rejected)


def surge_price(base_price: float, utilisation: float) -> float:
    """base · (1 + 2·u²), u clamped to [0, 1]: once the base price when idle, three times when full; any currency.

    Raises ValueError for a base price that is not above zero or numbers that are not finite.
    """
    above_zero(base_price=base_price)
    if not -inf < utilisation < inf:
        raise ValueError(f"utilisation must be a finite number, not {utilisation}")
    share = min(1.0, max(0.0, utilisation))
    price = base_price * (1.0 + SURGE * share * share)
    if price == inf:
        raise ValueError(f"base_price is too large: {base_price}")
    return price


def _valid(bids: Sequence[Bid], capacity: int, reserve_ticks: int, price_rule: str) -> None:
    if price_rule not in ("highest_rejected", "lowest_accepted"):
        raise ValueError(f"price_rule must be 'highest_rejected' or 'lowest_accepted', not {price_rule!r}")
    for name, value, least in (("capacity", capacity, 0), ("reserve_ticks", reserve_ticks, 1)):
        if type(value) is not int or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    for bid in bids:
        if not all(type(value) is int for value in bid) or bid.price_ticks < 1 or bid.quantity < 1:
            raise ValueError(f"a bid needs whole numbers, price and quantity above zero: {bid}")
    if len({bid.id for bid in bids}) != len(bids):
        raise ValueError("every bid needs an id of its own")
