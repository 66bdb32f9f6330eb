"""What the targets of alerts are at now, read from the snapshot: a price, the stock, and which offer it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from market.alerts import STOCK_CODES, Target
from market.errors import ValidationFailed
from market.money import to_millionths
from tools.insight import daily_lowest
from tools.search import SearchOffers, market_query

if TYPE_CHECKING:
    from market.alert_index import Reading
    from market.cheapest import CheapestInPlaces
    from market.context import Market
    from market.query import Query
    from market.snapshot import Snapshot

ANOMALY_DAYS = 90
_POSSIBLE = ("available", "limited", "unknown")
_AT_HAND = ("available", "limited")
_LOWEST: WeakKeyDictionary[Snapshot, CheapestInPlaces] = WeakKeyDictionary()


class Readings:
    """Reads targets from one snapshot; `event` marks what made somebody look."""

    def __init__(self, snapshot: Snapshot, queries: dict[str, Query] | None = None) -> None:
        self._snapshot = snapshot
        self._queries = {} if queries is None else queries

    def of(self, target: Target, event: str) -> Reading:
        """The present price and stock; unknown where nothing is listed."""
        if target.offer_id is not None:
            return self._of_offer(target.offer_id, event)
        if target.gpu is not None:
            return self._of_gpu(target.gpu, target, event)
        return self._of_search(target.filters or "{}", event)

    def _of_offer(self, offer_id: str, event: str) -> Reading:
        from market.alert_index import Reading

        # Columns instead of an Offer: a hundred thousand may be read at once.
        frame = self._snapshot.frame
        row = frame.row(offer_id)
        if row is None:
            return Reading(stock=STOCK_CODES["unavailable"], offer_id=offer_id, event=event)
        stock = frame.columns["availability"]
        return Reading(
            price=int(frame.amounts["price_per_hour_usd"][row]),
            stock=STOCK_CODES[stock.values[stock.codes[row]]],
            offer_id=offer_id,
            event=event,
        )

    def _of_gpu(self, gpu: str, target: Target, event: str) -> Reading:
        import numpy as np

        from market.alert_index import UNKNOWN, Reading
        from market.cheapest import CheapestInPlaces

        lowest = _LOWEST.get(self._snapshot)
        if lowest is None:
            lowest = _LOWEST[self._snapshot] = CheapestInPlaces(self._snapshot.frame)
        found = lowest.price(gpu, target.region, target.pricing)
        at_hand = lowest.at_hand(gpu, target.region, target.pricing)
        row = found[1] if found is not None else at_hand
        return Reading(
            price=UNKNOWN if found is None else found[0],
            stock=STOCK_CODES["unavailable" if at_hand is None else "available"],
            offer_id=None if row is None else self._snapshot.frame.ids_of(np.array([row]))[0],
            event=event,
        )

    def _of_search(self, filters: str, event: str) -> Reading:
        from market.alert_index import UNKNOWN, Reading

        query = self._query(filters)
        if query is None:
            return Reading(event=event)
        stocks = query.availability or _POSSIBLE
        possible = self._snapshot.search(replace(query, availability=stocks)).offers
        had = tuple(stock for stock in stocks if stock in _AT_HAND)
        at_hand = self._snapshot.search(replace(query, availability=had)).offers if had else []
        price = possible[0].price_per_hour_usd if possible else None
        seen = (possible or at_hand)[:1]
        return Reading(
            price=UNKNOWN if price is None else to_millionths(price),
            stock=STOCK_CODES["available" if at_hand else "unavailable"],
            offer_id=seen[0].id if seen else None,
            event=event,
        )

    def _query(self, filters: str) -> Query | None:
        """The search of these filters, cheapest first; None while one of its words means nothing any more."""
        if filters not in self._queries:
            try:
                asked = SearchOffers.model_validate(json.loads(filters))
                found = market_query(asked, self._snapshot)
            except (ValidationFailed, ValueError):
                return None
            self._queries[filters] = replace(found, sort="price", limit=1, offset=0, position=None)
        return self._queries[filters]


def offer_reading(offer_id: str, price: Decimal | None, availability: str, event: str) -> Reading:
    """What one offer is at; one that is gone has no price and cannot be had."""
    from market.alert_index import UNKNOWN, Reading

    return Reading(
        price=UNKNOWN if price is None else to_millionths(price),
        stock=STOCK_CODES.get(availability, STOCK_CODES["unavailable"]),
        offer_id=offer_id,
        event=event,
    )


async def deviations(market: Market, prices: Mapping[str, Decimal]) -> dict[str, float]:
    """How many robust deviations each offer's price lies from its daily prices of the last 90 days.

    An offer with fewer than five days, this one among them, has none.
    """
    from market import catalogue

    if not prices:
        return {}
    now = market.clock.now()
    since = now - timedelta(days=ANOMALY_DAYS)
    histories = await catalogue.product_history(await market.store(), list(prices), since)
    found: dict[str, float] = {}
    for offer_id, price in prices.items():
        points = [
            (point.recorded_at, float(point.price_per_hour_usd))
            for point in histories.get(offer_id, ())
            if point.price_per_hour_usd is not None
        ]
        before = daily_lowest([points], since, now)[1][:-1]
        score = _deviation(before, float(price))
        if score is not None:
            found[offer_id] = score
    return found


def _deviation(before: Sequence[float], price: float) -> float | None:
    from mathcore.anomaly import FEWEST, robust_z_scores

    if len(before) + 1 < FEWEST:
        return None
    return float(robust_z_scores([*before, price])[-1])
