"""Judges alerts whenever the outbox tells of prices: all of them at once, each of them at most once an event.

The live alerts are kept in memory as columns and follow the outbox: alerts made or deleted by any process arrive there
in order with the prices. What fires is written together with `alert.fired` and our place in the outbox, so that a
crash repeats nothing and loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from market.alerts import Target
from market.context import Market
from market.money import amount
from tools.readings import Readings, deviations, offer_reading

if TYPE_CHECKING:
    from market.alert_index import AlertIndex, Judgement, Reading
    from market.outbox import Event
    from market.query import Query
    from market.snapshot import Snapshot

CONSUMER = "alerts"
PRICES, DELETED = "prices.changed", "alert.deleted"
_ALTERED = frozenset({"alert.created", "alert.booked", "alert.waiting", "alert.refused"})
"""After these an alert is read anew, and its target looked at."""


class Alerting:
    """The judge of one process; only the holder of the dispatch lease may ask it."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._index: AlertIndex | None = None
        self._queries: dict[str, Query] = {}
        self._look_again: dict[Target, datetime] = {}
        self._version = -1

    def forget(self) -> None:
        """Read every alert anew at the next round: another process may have changed them."""
        self._index = None

    async def round(self) -> int:
        """Deal with the next events of the outbox, quiet periods that ended, and alerts that expired.

        Returns how many events were read. Raises StorageFailed when nothing can be kept: then nothing is lost.
        """
        from market import outbox

        store, now = await self._market.store(), self._market.clock.now()
        events = await outbox.read_after(store, CONSUMER)
        changes = [event for event in events if event.kind == PRICES]
        snapshot = await (self._market.refresh() if changes else self._market.snapshot())
        looked: dict[int, Reading] = {}
        index = await self._followed(events, snapshot, looked)
        self._after_quiet(index, snapshot, now, looked)
        if changes or snapshot.version != self._version:
            looked |= await asyncio.to_thread(self._changed, index, snapshot, changes)
            self._version = snapshot.version
        looked = await self._with_deviations(index, looked)
        judgement = await asyncio.to_thread(index.judge, looked, now)
        try:
            await self._settle(index, judgement, events, now)
        except BaseException:
            self.forget()
            raise
        return len(events)

    async def _followed(self, events: Sequence[Event], snapshot: Snapshot, looked: dict[int, Reading]) -> AlertIndex:
        """The index with what these events say of alerts; targets of alerts new to it are looked at."""
        from market import alert_book
        from market.alert_index import AlertIndex

        store = await self._market.store()
        causes = {event.subject: str(event.id) for event in events if event.kind in _ALTERED}
        if self._index is None:
            index = await asyncio.to_thread(AlertIndex, await alert_book.live(store))
            self._look_again.clear()
            look_at: Iterable[tuple[int, str]] = ((place, "start") for place in range(len(index.targets)))
        else:
            index = self._index
            known = await alert_book.some(store, causes) if causes else []
            index.add(known)
            look_at = [(index.place[one.target], causes[one.id]) for one in known if one.target in index.place]
        for event in events:
            if event.kind == DELETED:
                index.drop(event.subject)
        readings = Readings(snapshot, self._queries)
        # There may be a hundred thousand: nobody is to wait while they are read.
        looked |= await asyncio.to_thread(
            lambda: {place: readings.of(index.targets[place], event) for place, event in look_at}
        )
        self._index = index
        return index

    def _after_quiet(self, index: AlertIndex, snapshot: Snapshot, now: datetime, looked: dict[int, Reading]) -> None:
        """Look again at what would have fired in a quiet period that is over."""
        readings = Readings(snapshot, self._queries)
        for target in [target for target, ends in self._look_again.items() if ends <= now]:
            ended = self._look_again.pop(target)
            if target in index.place:
                looked[index.place[target]] = readings.of(target, f"quiet until {ended.isoformat()}")

    def _changed(self, index: AlertIndex, snapshot: Snapshot, changes: Sequence[Event]) -> dict[int, Reading]:
        """What the targets of these changes are at: an offer as its last event says, several offers as listed now."""
        looked: dict[int, Reading] = {}
        for event in changes:
            for offer_id, _, price, availability in event.payload["offers"]:
                place = index.by_offer.get(offer_id)
                if place is not None:
                    known = None if price is None else amount(price)
                    looked[place] = offer_reading(offer_id, known, availability, str(event.id))
        readings = Readings(snapshot, self._queries)
        # A first load and what was dropped as too old change the catalogue without an event of their own.
        newest = str(changes[-1].id) if changes else f"catalogue {snapshot.version}"
        for place in index.groups():
            looked[place] = readings.of(index.targets[place], newest)
        return looked

    async def _with_deviations(self, index: AlertIndex, looked: dict[int, Reading]) -> dict[int, Reading]:
        watched = index.deviating() & looked.keys()
        prices: dict[str, Decimal] = {}
        for place in watched:
            offer_id, price = index.targets[place].offer_id, looked[place].price
            if offer_id is not None and price > 0:
                prices[offer_id] = Decimal(price).scaleb(-6)
        for offer_id, deviation in (await deviations(self._market, prices)).items():
            place = index.by_offer[offer_id]
            looked[place] = replace(looked[place], deviation=deviation)
        return looked

    async def _settle(self, index: AlertIndex, judgement: Judgement, events: Sequence[Event], now: datetime) -> None:
        """Write what follows and our place in the outbox in one transaction, then follow it in memory."""
        from market import alert_book, outbox

        expired = [alert for alert in index.expired(now) if not alert.is_ordering]
        over = {alert.id for alert in expired}
        fired = [firing for firing in judgement.fired if firing.alert.id not in over]
        rearmed = [alert for alert in judgement.rearmed if alert.id not in over and not alert.is_ordering]
        if fired or rearmed or expired or events:
            store = await self._market.store()
            async with store.write() as connection:
                written = await alert_book.fire(connection, fired, now)
                written += await alert_book.rearm(connection, rearmed)
                written += await alert_book.expire(connection, expired, now)
                if events:
                    await outbox.advance(connection, CONSUMER, events[-1].position)
            index.add(written)
            if len(written) < len(fired) + len(rearmed) + len(expired):
                # Somebody has changed one of them meanwhile.
                self.forget()
        for target, ends in judgement.look_again.items():
            self._look_again[target] = min(ends, self._look_again.get(target, ends))


async def events_for(market: Market, owner: str, since: int = 0) -> list[Event]:
    """What alerts had to say to one owner after the event numbered `since`, oldest first, at most a hundred."""
    from market import alert_book

    return await alert_book.told(await market.store(), owner, since)
