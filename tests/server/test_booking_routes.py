"""Buying over HTTP as an agent with a key does it, by the routes of the requirement documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.app import http_app
from tests.buying import Buying, opened
from tests.conftest import ManualClock
from tests.server.facade import ADDRESS

API = "/api/v2"
ANSWERED_WITHIN_SECONDS = 5.0
"""On the hand-moved clock: what a booking waits for before it answers. Machines boot afterwards."""


class Agent:
    """A process that serves HTTP over a market, and an agent that shows its key there."""

    def __init__(self, buying: Buying, client: httpx.AsyncClient, secret: str) -> None:
        self.buying = buying
        self._client = client
        self._headers = {"Authorization": f"Bearer {secret}"}

    async def asks(self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str = "") -> Any:
        """The answer to the agent, which must be a good one."""
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        answer = await self._client.request(method, API + path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def told(self, path: str, body: dict[str, Any]) -> Any:
        """The answer to a program of this machine without a key."""
        answer = await self._client.post(API + path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def quoted(self, hours: int = 4) -> str:
        """A quote on an offer that was searched for."""
        found = await self.asks("POST", "/providers/search", {"provider": ["sandbox"], "availability": ["available"]})
        quote = await self.asks("POST", "/quotes", {"offers": [found["items"][0]["id"]], "duration_hours": hours})
        assert quote["mandate"]["allowed"]
        return str(quote["quote_id"])


@pytest.fixture
async def agent(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Agent]:
    """An agent with a mandate of five hundred dollars for the sandbox."""
    async with opened(tmp_path, clock) as buying:
        key = await buying.asks("create_key", name="buyer")
        await buying.asks("create_mandate", agent=key.id, budget=500, providers=["sandbox"])
        transport = httpx.ASGITransport(app=http_app(buying.market.settings, buying.market))
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            yield Agent(buying, client, key.secret)


@pytest.mark.requirement("003-6")
@pytest.mark.requirement("UC-4")
@pytest.mark.requirement("PROP-20")
@pytest.mark.requirement("FR-BOOK-1")
async def test_a_booking_is_made_shown_made_longer_and_cancelled(agent: Agent) -> None:
    order = {"quote_id": await agent.quoted(), "max_total": 100}
    begun = agent.buying.world.monotonic()
    booked = await agent.asks("POST", "/bookings", order, key="one purchase")
    assert agent.buying.world.monotonic() - begun <= ANSWERED_WITHIN_SECONDS
    assert (await agent.asks("POST", "/bookings", order, key="one purchase"))["id"] == booked["id"]
    assert len(agent.buying.running()) == 1
    one = f"/bookings/{booked['id']}"

    (machine,) = (await agent.buying.booking(booked["id"])).machines
    news = {"event_id": "boot-1", "instance_id": machine.provider_instance_id}
    assert await agent.told("/callbacks/sandbox", news) == {"effect": "checking"}
    assert await agent.told("/callbacks/sandbox", news) == {"effect": "duplicate"}

    await agent.buying.passes(timedelta(minutes=5))
    (shown,) = (await agent.asks("GET", one))["items"]
    assert shown["state"] == "active"
    assert shown["ssh"]
    longer = await agent.asks("POST", f"{one}/extend", {"hours": 2, "max_total": 100}, key="two hours more")
    assert longer["new_end_time"] > shown["ends_at"]
    assert longer["additional_cost"] == pytest.approx(2 * shown["price_per_hour"])
    assert [item["id"] for item in (await agent.asks("GET", "/bookings"))["items"]] == [booked["id"]]

    cancelled = await agent.asks("PUT", f"{one}/cancel")
    assert cancelled["state"] == "terminated"
    assert agent.buying.running() == []
    assert await agent.buying.held() == 0


async def test_a_rental_is_provisioned_scaled_and_ended_with_its_final_cost(agent: Agent) -> None:
    order = {"quote_id": await agent.quoted(), "max_total": 100, "idempotency_key": "a rental"}
    rental = await agent.asks("POST", "/rentals/provision", order)
    await agent.buying.passes(timedelta(minutes=5))
    one = f"/rentals/{rental['id']}"
    scaled = await agent.asks("POST", f"{one}/scale", {"add": 2, "max_total": 200, "idempotency_key": "two more"})
    assert scaled["instances"] == 3
    await agent.buying.passes(timedelta(minutes=5))
    assert len((await agent.asks("GET", one))["items"][0]["ssh"]) == 3
    ended = await agent.asks("DELETE", one)
    assert ended["state"] == "terminated"
    assert ended["spent"] > 0
    assert float(await agent.buying.spent()) == ended["spent"]
