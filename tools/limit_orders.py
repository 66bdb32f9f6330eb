"""Limit orders: an alert that has fired books, once, through the same gate and within the same mandate as its owner.

The attempt under way is kept on the alert: the quote before the booking is asked for, so that a process that dies in
between goes on with the same quote and the same key, and never buys twice.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from market.alerts import Alert, LimitOrder
from market.context import Context, Market
from market.errors import ApprovalRequired, BrokerError, NoCapacity, QuoteUnusable
from market.offers import clean_text
from tools.capability import capabilities

log = logging.getLogger("gpubroker.alerts")

ASK_AGAIN = timedelta(seconds=30)
"""After something of ours was not ready, and while a person has not decided."""
TRY_AGAIN = timedelta(minutes=5)
"""At least so long after a refusal that another moment may not bring, such as no capacity."""
_NOTHING_BOUGHT = frozenset({"failed", "compensated"})


class LimitOrders:
    """Works on the orders that are under way; only the holder of the dispatch lease may ask it."""

    def __init__(self, market: Market) -> None:
        self._market = market

    async def round(self) -> int:
        """Try each order that is due once; how many there were."""
        from market import alert_book

        now = self._market.clock.now()
        due = [
            (alert, alert.limit_order)
            for alert in await alert_book.ordering(await self._market.store())
            if alert.limit_order is not None
            and (alert.limit_order.next_try_at is None or alert.limit_order.next_try_at <= now)
        ]
        for alert, order in due:
            await self._try(alert, order)
        return len(due)

    async def _try(self, alert: Alert, order: LimitOrder) -> None:
        """One attempt: quote, keep the quote, book."""
        from market import agent_keys

        try:
            store, now = await self._market.store(), self._market.clock.now()
            ctx = Context(self._market, await agent_keys.caller_behind(store, alert.owner, now))
            if order.quote_id is None:
                order = await self._quoted(ctx, alert, order)
                quoted = replace(alert, limit_order=order)
                if not await self._noted(alert, quoted):
                    return
                alert = quoted
            booking = await capabilities()["book_quote"].call(ctx, self._purchase(alert, order))
        except BrokerError as refusal:
            await self._refused(alert, order, refusal)
            return
        if booking.state in _NOTHING_BOUGHT:
            await self._over(alert, order, f"nothing could be had: {booking.reason or booking.state}", again=True)
            return
        await self._booked(alert, order, booking.id)

    async def _quoted(self, ctx: Context, alert: Alert, order: LimitOrder) -> LimitOrder:
        """The order with a quote that is within its limit. Raises BrokerError, QuoteUnusable when it is dearer."""
        if order.offer_id is None:
            raise NoCapacity("No offer is listed for it any more.")
        terms = {"offers": [order.offer_id], "count": order.count, "duration_hours": order.duration_hours}
        quoted = await capabilities()["quote_offer"].call(
            ctx, terms | ({"disk_gb": order.disk_gb} if order.disk_gb else {})
        )
        limit = alert.condition.threshold
        if limit is not None and quoted.legs[0].price_per_hour > limit * await self._gpus(alert, order.offer_id):
            raise QuoteUnusable(
                f"The quote is {quoted.legs[0].price_per_hour:f} USD an hour, above the limit.",
                details={"reason": "dearer"},
            )
        return replace(order, quote_id=quoted.quote_id)

    async def _gpus(self, alert: Alert, offer_id: str) -> int:
        """How many times the limit a whole machine may cost: the limit of a GPU is for each of its GPUs."""
        if alert.target.gpu is None:
            return 1
        offer = (await self._market.snapshot()).get(offer_id)
        return 1 if offer is None else offer.gpu_count

    def _purchase(self, alert: Alert, order: LimitOrder) -> dict[str, Any]:
        import json

        from market.sealing import Sealer

        launch = json.loads(Sealer.of(self._market.settings).decrypt(order.sealed_launch))
        return {
            "quote_id": order.quote_id,
            # One quote books at most once; the key makes its retry the same call.
            "idempotency_key": f"limit-order:{alert.id}:{order.event}:{order.quote_id}"[:255],
            "max_total": order.max_total,
            "launch": launch,
        }

    async def _booked(self, alert: Alert, order: LimitOrder, booking_id: str) -> None:
        after = replace(alert, state="spent", booking_id=booking_id, note=None, limit_order=order.ended())
        await self._noted(alert, after, "alert.booked", {"booking_id": booking_id, "offer_id": order.offer_id})

    async def _refused(self, alert: Alert, order: LimitOrder, refusal: BrokerError) -> None:
        """Wait, try again later, or leave it until the alert fires anew: as the refusal says."""
        now = self._market.clock.now()
        said = clean_text(f"{refusal.code}: {refusal.message}", 500)
        if isinstance(refusal, QuoteUnusable):
            if refusal.details.get("reason") == "used" and refusal.details.get("booking_id"):
                await self._booked(alert, order, str(refusal.details["booking_id"]))
                return
            await self._over(alert, order, said, again=True)
        elif isinstance(refusal, ApprovalRequired) and not refusal.details.get("declined"):
            waiting = replace(alert, note=said, limit_order=replace(order, next_try_at=now + ASK_AGAIN))
            told = {"approval_id": refusal.approval_id, "note": said}
            await self._noted(alert, waiting, "alert.waiting" if alert.note != said else None, told)
        elif refusal.retryable:
            # Perhaps it was done: the same quote and key again tell.
            await self._noted(alert, replace(alert, note=said, limit_order=replace(order, next_try_at=now + ASK_AGAIN)))
        else:
            await self._over(alert, order, said, again=isinstance(refusal, NoCapacity))

    async def _over(self, alert: Alert, order: LimitOrder, said: str, *, again: bool) -> None:
        """The attempt has come to nothing; `again` arms the alert for another once it has been quiet."""
        quiet = max(alert.quiet_minutes, int(TRY_AGAIN / timedelta(minutes=1))) if again else alert.quiet_minutes
        after = replace(
            alert,
            state="armed" if again else "fired",
            quiet_minutes=quiet,
            note=said,
            limit_order=order.ended(),
        )
        log.info("limit order of %s: %s", alert.id, said)
        await self._noted(alert, after, "alert.refused", {"note": said, "tries_again": again})

    async def _noted(
        self, before: Alert, after: Alert, kind: str | None = None, facts: Mapping[str, object] | None = None
    ) -> bool:
        """Keep how the order stands and tell it; False when the alert was deleted or changed meanwhile."""
        from market import alert_book

        store, now = await self._market.store(), self._market.clock.now()
        async with store.write() as connection:
            kept = await alert_book.note_order(connection, before, after)
            if kept and kind is not None:
                await alert_book.tell_order(connection, after, kind, now, dict(facts or {}))
        return kept
