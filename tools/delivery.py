"""Delivery of webhooks: from the outbox into a queue, and from the queue to whoever listens, until it has arrived.

At least once, in no order, for up to three days: exponential back-off with full jitter, two calls at once to a host,
a breaker for each host, so that a thousand webhooks of a dead host hold nobody else up.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from market.context import LOCAL_OWNER, Market
from market.errors import BrokerError, ProviderFailed

if TYPE_CHECKING:
    from adapters.breaker import Breaker
    from market.outbox import Event
    from market.webhook_book import Delivery, Webhook

log = logging.getLogger("gpubroker.delivery")

CONSUMER = "webhooks"
CALLS_AT_ONCE = 20
CALLS_AT_ONE_HOST = 2
CALL_SECONDS = 10.0
CLAIM = timedelta(minutes=2)
FIRST_BACKOFF = timedelta(seconds=30)
LONGEST_BACKOFF = timedelta(hours=8)
LEFT_ALONE_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 1.0
_GONE = 410


class Post(Protocol):
    """How a body gets to an address: `adapters.callout.Callout`, or a test's."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> int:
        """The status of the answer. Raises ProviderFailed."""
        ...


async def queue_events(market: Market) -> int:
    """Queue the next events of the outbox for the webhooks that want them; how many events were read.

    The queue and our place in the outbox are written together, so that every event is queued once.
    """
    from market import outbox, webhook_book

    store, now = await market.store(), market.clock.now()
    events = await outbox.read_after(store, CONSUMER)
    if not events:
        return 0
    hooks = await webhook_book.enabled(store)
    wanted = [
        webhook_book.new_delivery(hook.id, event.id, event.kind, body_of(event), now)
        for event in events
        for hook in hooks
        if concerns(event, hook)
    ]
    async with store.write() as connection:
        await webhook_book.queue(connection, wanted)
        await outbox.advance(connection, CONSUMER, events[-1].position)
    return len(events)


def concerns(event: Event, hook: Webhook) -> bool:
    """Whether a webhook is to be called about an event: its owner's, everybody's, or any for the local owner."""
    if hook.owner not in (event.owner, LOCAL_OWNER.identity) and event.owner:
        return False
    return event.at >= hook.created_at and hook.wants(event.kind, concerns_everybody=not event.owner)


def body_of(event: Event) -> str:
    """What is sent: one JSON object."""
    from market.canonical import canonical

    return canonical(
        {"id": event.id, "type": event.kind, "at": event.at, "subject": event.subject, "data": event.payload}
    )


class Courier:
    """Sends what is due; one for each process, so that its breakers remember."""

    def __init__(
        self,
        market: Market,
        *,
        callout: Post | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._market = market
        self._callout = callout
        self._monotonic = monotonic
        self._jitter = jitter
        self._breakers: dict[str, Breaker] = {}

    async def round(self) -> int:
        """Send all that can be sent now; how many calls were made. New ones are taken in while others hang."""
        running: dict[asyncio.Task[None], str] = {}
        made = 0
        try:
            while True:
                for host, delivery, hook in await self._next(list(running.values())):
                    running[asyncio.create_task(self._send(host, delivery, hook))] = host
                    made += 1
                if not running:
                    return made
                done, _ = await asyncio.wait(running, timeout=_LOOK_AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del running[task]
                    task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _next(self, hosts: Sequence[str]) -> list[tuple[str, Delivery, Webhook]]:
        """What to start now, claimed, with `hosts` being called already; what goes to a host left alone is put off."""
        from adapters.callout import host_of
        from market import webhook_book

        free = CALLS_AT_ONCE - len(hosts)
        if free <= 0:
            return []
        store, now = await self._market.store(), self._market.clock.now()
        busy = {host: hosts.count(host) for host in hosts}
        chosen: list[tuple[str, Delivery, Webhook]] = []
        later: list[tuple[str, datetime]] = []
        for delivery, hook in await webhook_book.due(store, now):
            host = host_of(hook.url)
            state = self._breaker(host).state
            if state == "open" or (state == "half_open" and busy.get(host)):
                wait = LEFT_ALONE_SECONDS * (1 + self._jitter())
                later.append((delivery.id, now + timedelta(seconds=wait)))
            elif len(chosen) < free and busy.get(host, 0) < CALLS_AT_ONE_HOST:
                busy[host] = busy.get(host, 0) + 1
                chosen.append((host, delivery, hook))
        if not chosen and not later:
            return []
        async with store.write() as connection:
            await webhook_book.postpone(connection, later)
            ids = [delivery.id for _, delivery, _ in chosen]
            taken = await webhook_book.claim(connection, ids, now, now + CLAIM) if ids else set()
        return [one for one in chosen if one[1].id in taken]

    async def _send(self, host: str, delivery: Delivery, hook: Webhook) -> None:
        """One attempt and what became of it."""
        from market import webhook_book

        status, error = await self._attempt(host, delivery, hook)
        store, now = await self._market.store(), self._market.clock.now()
        async with store.write() as connection:
            if status is not None and 200 <= status < 300:
                await webhook_book.arrived(connection, delivery, status, now)
                return
            again = now + self._backoff(delivery.attempts)
            disabled = await webhook_book.missed(
                connection, delivery, status=status, error=error, now=now, next_attempt_at=again
            )
            if status == _GONE:
                disabled |= await webhook_book.disable(connection, hook.id, "the receiver says it is gone (410)", now)
        if disabled:
            log.warning("webhook %s is disabled: %s", hook.id, error)

    async def _attempt(self, host: str, delivery: Delivery, hook: Webhook) -> tuple[int | None, str]:
        from market.webhook_signature import HEADER, signature
        from tools.webhooks import secrets_of

        now, body = self._market.clock.now(), delivery.body.encode()
        try:
            signed = signature(secrets_of(hook, self._market.settings, now), body, now)
        except ValueError:
            return None, "its secret cannot be read with the present seal key; rotate it"
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "gpubroker-webhook",
            HEADER: signed,
            "GPUBroker-Event": delivery.kind,
            "GPUBroker-Event-Id": str(delivery.event_id),
            "GPUBroker-Delivery": delivery.id,
        }
        try:
            permit = self._breaker(host).admit()
        except ProviderFailed:
            return None, "the host is being left alone for a while"
        try:
            status = await self._way_out().post(hook.url, body, headers, CALL_SECONDS)
            permit.settle("failed" if status >= 500 else "answered")
        except BrokerError as problem:
            permit.settle("failed" if problem.retryable else "unknown")
            return None, problem.message
        finally:
            # A call that was cancelled says nothing of the host.
            permit.settle("unknown")
        return status, f"status {status}" + (", and redirects are not followed" if 300 <= status < 400 else "")

    def _way_out(self) -> Post:
        if self._callout is None:
            from adapters.callout import Callout

            self._callout = Callout(allow_loopback=self._market.settings.webhook_loopback)
        return self._callout

    def _breaker(self, host: str) -> Breaker:
        if host not in self._breakers:
            from adapters.breaker import Breaker, BreakerPolicy

            policy = BreakerPolicy(window=4, failure_share=1.0, open_seconds=LEFT_ALONE_SECONDS, probes=1)
            self._breakers[host] = Breaker(host, policy, monotonic=self._monotonic)
        return self._breakers[host]

    def _backoff(self, attempts: int) -> timedelta:
        """Exponential with full jitter, at least a second."""
        most = min(LONGEST_BACKOFF, FIRST_BACKOFF * (1 << min(attempts, 12)))
        return max(timedelta(seconds=1), most * self._jitter())
