"""Buying over MCP as a client does it: in both eras, with and without a way to ask the person."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.session import ElicitationFnT
from mcp.types import CallToolResult, ElicitRequestParams, ElicitResult

from server.mcp_door import MarketDoor, build
from tests.buying import Buying, opened
from tests.conftest import ManualClock


@pytest.fixture
async def agents(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buying]:
    """A process that an agent's client started: its mandate asks a person above ten cents."""
    async with opened(tmp_path, clock) as owner:
        key = await owner.asks("create_key", name="buyer")
        await owner.asks("create_mandate", agent=key.id, budget=100, providers=["sandbox"], approval_above="0.1")
        async with opened(tmp_path, clock, world=owner.world, agent_key=key.secret) as agent:
            yield agent


def door_of(buying: Buying) -> MarketDoor:
    """The MCP server of a process."""
    return build(buying.market, buying.market.settings)


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    """A tool called."""
    return await client.call_tool(tool, arguments)


async def quote(client: Client, buying: Buying) -> dict[str, Any]:
    """A quote for four hours, as the client sees it."""
    found = await call(client, "quote_offer", offers=[await buying.offer()], duration_hours=4)
    assert found.structured_content is not None, found.content
    return dict(found.structured_content)


def said(result: CallToolResult) -> str:
    """The text of a result."""
    return "".join(getattr(block, "text", "") for block in result.content)


class Person(ElicitationFnT):
    """Somebody in front of a client who answers what they are asked."""

    def __init__(self, action: str, approve: bool = True) -> None:
        self._answer = ElicitResult(action=action, content={"approve": approve} if action == "accept" else None)  # type: ignore[arg-type]
        self.asked: list[str] = []

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """The answer, the same whatever is asked."""
        self.asked.append(params.message)
        return self._answer


@pytest.mark.conformance
async def test_a_person_is_asked_in_the_client_and_the_purchase_goes_on(agents: Buying, era: str) -> None:
    person = Person("accept")
    async with Client(door_of(agents), mode=era, elicitation_callback=person) as client:
        quoted = await quote(client, agents)
        assert quoted["mandate"]["needs_approval"] is True
        wanted = {"quote_id": quoted["quote_id"], "idempotency_key": "one", "max_total": 50}
        booked = await call(client, "book_quote", **wanted)
        assert booked.is_error is not True, said(booked)
        again = await call(client, "book_quote", **wanted)
    assert len(person.asked) == 1
    assert "USD" in person.asked[0]
    assert booked.structured_content == again.structured_content
    assert len(agents.running()) == 1


@pytest.mark.parametrize("person", [Person("decline"), Person("accept", approve=False)], ids=["declines", "unticks"])
async def test_a_person_who_says_no_is_obeyed(agents: Buying, era: str, person: Person) -> None:
    async with Client(door_of(agents), mode=era, elicitation_callback=person) as client:
        quoted = await quote(client, agents)
        refused = await call(client, "book_quote", quote_id=quoted["quote_id"], idempotency_key="one", max_total=50)
    assert refused.is_error is True
    assert said(refused).startswith("APPROVAL_REQUIRED")
    assert agents.running() == []
    assert await agents.held() == 0


async def test_a_client_that_cannot_ask_gets_the_link_and_the_command(agents: Buying, era: str) -> None:
    async with Client(door_of(agents), mode=era) as client:
        quoted = await quote(client, agents)
        wanted = {"quote_id": quoted["quote_id"], "idempotency_key": "one", "max_total": 50}
        refused = await call(client, "book_quote", **wanted)
        assert refused.is_error is True
        details = json.loads(said(refused).splitlines()[1])
        assert "/approvals/" in json.dumps(details)
        await agents.asks("decide_approval", approval_id=details["approval_id"], approved=True)
        booked = await call(client, "book_quote", **wanted)
    assert booked.is_error is not True, said(booked)
    assert len(agents.running()) == 1


async def test_a_client_that_listens_is_told_when_its_booking_moves(
    agents: Buying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.mcp_updates.LOOK_SECONDS", 0.01)
    async with Client(door_of(agents), elicitation_callback=Person("accept")) as client:
        quoted = await quote(client, agents)
        booked = await call(client, "book_quote", quote_id=quoted["quote_id"], idempotency_key="one", max_total=50)
        assert booked.structured_content is not None, said(booked)
        booking_id = booked.structured_content["id"]
        uri = f"booking://{booking_id}"
        with anyio.fail_after(20):
            async with client.listen(resource_subscriptions=[uri]) as updates:
                # The listener's place in the outbox is read before the answer to a later question comes back.
                await call(client, "list_bookings", booking_id=booking_id)
                await call(client, "terminate_booking", booking_id=booking_id)
                async for event in updates:
                    assert event.uri == uri  # type: ignore[union-attr]
                    break
        read = await client.read_resource(uri)
    assert "terminated" in str(read.contents[0])
