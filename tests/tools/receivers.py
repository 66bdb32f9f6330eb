"""Webhook receivers that answer as they are told, and what makes something happen for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from market import outbox
from market.context import Market
from market.errors import ProviderFailed
from tests.tools.conftest import ask
from tools.delivery import Courier, queue_events

HOOK = "https://hooks.example/in"


class Receivers:
    """Hosts that answer as they are told; a status of None is a host that is dead."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes, dict[str, str]]] = []
        self.statuses: dict[str, int | None] = {}
        self.most_at_once: dict[str, int] = {}
        self.hanging: dict[str, asyncio.Event] = {}
        self._now: dict[str, int] = {}
        self._called = asyncio.Condition()

    async def heard(self, host: str, count: int) -> None:
        """Wait until a host was called so often."""
        async with self._called:
            await self._called.wait_for(lambda: len(self.bodies(host)) >= count)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> int:
        host = url.split("/")[2]
        self._now[host] = self._now.get(host, 0) + 1
        self.most_at_once[host] = max(self.most_at_once.get(host, 0), self._now[host])
        try:
            async with self._called:
                self.calls.append((url, body, dict(headers)))
                self._called.notify_all()
            if host in self.hanging:
                await self.hanging[host].wait()
            await asyncio.sleep(0)
            status = self.statuses.get(host, 200)
            if status is None:
                raise ProviderFailed("The webhook's host cannot be reached.")
            return status
        finally:
            self._now[host] -= 1

    def bodies(self, host: str = "hooks.example") -> list[dict[str, Any]]:
        return [json.loads(body) for url, body, _ in self.calls if url.split("/")[2] == host]


async def happens(market: Market, kind: str = "booking.active", *, owner: str = "local-owner", times: int = 1) -> None:
    store = await market.store()
    async with store.write() as connection:
        for number in range(times):
            await outbox.publish(
                connection, at=market.clock.now(), kind=kind, subject=f"s{number}", owner=owner, payload={"n": number}
            )


async def delivered(market: Market, courier: Courier) -> int:
    while await queue_events(market):
        pass
    return await courier.round()


async def hook(market: Market, url: str = HOOK, **arguments: Any) -> Any:
    return await ask(market, "create_webhook", url=url, **arguments)
