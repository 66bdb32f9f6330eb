"""Who may buy what: mandates, approvals, failover within them, and what revocation does to what runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.sandbox_dial import Fault
from market.context import LOCAL_OWNER, Caller, Context
from market.errors import ApprovalRequired, Conflict, MandateRefused, NotFound, QuoteUnusable
from tests.buying import Buying, opened
from tests.conftest import ManualClock
from tools.capability import capabilities

MINUTE = timedelta(minutes=1)
AGENT_SCOPES = frozenset({"market:read", "procure:quote", "procure:spend", "bookings:read"})


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buying]:
    """A calm cloud beside an empty database."""
    async with opened(tmp_path, clock) as found:
        yield found


async def agent(buying: Buying, **limits: Any) -> tuple[Caller, str]:
    """An agent with a key, and a mandate for the sandbox with these limits; its id."""
    made = await buying.asks("create_key", name="buyer")
    wanted = {"agent": made.id, "budget": 100, "providers": ["sandbox"], **limits}
    mandate = await buying.asks("create_mandate", **wanted)
    return Caller("buyer", AGENT_SCOPES, agent_key_id=made.id), mandate.id


async def test_an_agent_without_a_mandate_can_quote_but_not_buy(buying: Buying) -> None:
    made = await buying.asks("create_key", name="buyer")
    caller = Caller("buyer", AGENT_SCOPES, agent_key_id=made.id)
    quote = await buying.quoted(caller=caller)
    assert quote.mandate.allowed is False
    with pytest.raises(MandateRefused, match="No mandate") as refused:
        await buying.books(quote, caller=caller)
    assert "gpubroker mandate create" in refused.value.next_step


async def test_a_mandate_too_small_says_by_how_much_and_a_raised_one_lets_the_same_key_through(buying: Buying) -> None:
    caller, mandate = await agent(buying, budget="0.5")
    quote = await buying.quoted(caller=caller)
    with pytest.raises(MandateRefused) as refused:
        await buying.books(quote, caller=caller, idempotency_key="one")
    violation = refused.value.details["violations"][0]  # type: ignore[index]
    assert violation["constraint"] == "budget"
    assert violation["excess"] > 0
    await buying.asks("raise_mandate", mandate_id=mandate, budget=50)
    booked = await buying.books(quote, caller=caller, idempotency_key="one")
    assert booked.state in ("provisioning", "active")


async def test_another_agents_quote_and_booking_are_not_found(buying: Buying) -> None:
    caller, _ = await agent(buying)
    other = replace(caller, agent_key_id="key-other")
    quote = await buying.quoted(caller=caller)
    with pytest.raises(NotFound):
        await buying.books(quote, caller=other)
    booked = await buying.books(quote, caller=caller)
    with pytest.raises(NotFound):
        await buying.asks("terminate_booking", caller=other, booking_id=booked.id)
    assert (await buying.asks("list_bookings", caller=other)).items == []


async def test_above_the_threshold_a_person_decides_once(buying: Buying) -> None:
    caller, _ = await agent(buying, approval_above="0.1")
    quote = await buying.quoted(caller=caller)
    with pytest.raises(ApprovalRequired) as need:
        await buying.books(quote, caller=caller, idempotency_key="one")
    assert need.value.question
    assert buying.running() == []
    await buying.asks("decide_approval", approval_id=need.value.approval_id, approved=True)
    booked = await buying.books(quote, caller=caller, idempotency_key="one")
    assert booked.state in ("provisioning", "active")
    again = await buying.books(quote, caller=caller, idempotency_key="one")
    assert again.id == booked.id
    assert len(buying.running()) == 1


async def test_an_answer_in_the_call_books_and_its_replay_books_nothing_more(buying: Buying) -> None:
    caller, _ = await agent(buying, approval_above="0.1")
    quote = await buying.quoted(caller=caller)
    arguments = {"quote_id": quote.quote_id, "idempotency_key": "one", "max_total": 100}
    with pytest.raises(ApprovalRequired) as need:
        await buying.books(quote, caller=caller, idempotency_key="one")
    answered = Context(buying.market, caller, answers={need.value.approval_id: True})
    booked = await capabilities()["book_quote"].call(answered, arguments)
    with pytest.raises(QuoteUnusable, match=booked.id):
        await capabilities()["book_quote"].call(answered, {**arguments, "idempotency_key": "two"})
    assert len(buying.running()) == 1


async def test_no_means_no(buying: Buying) -> None:
    caller, _ = await agent(buying, approval_above="0.1")
    quote = await buying.quoted(caller=caller)
    with pytest.raises(ApprovalRequired) as need:
        await buying.books(quote, caller=caller)
    await buying.asks("decide_approval", approval_id=need.value.approval_id, approved=False)
    with pytest.raises(ApprovalRequired, match="declined"):
        await buying.books(quote, caller=caller)
    assert buying.running() == []


async def test_the_next_offer_is_tried_when_the_mandate_lets_it(buying: Buying) -> None:
    caller, _ = await agent(buying, failover=True)
    first, second = await buying.offer(), await buying.offer(skip=1)
    quote = await buying.quoted(f"{first},{second}", caller=caller)
    buying.world.dial.script("launch", [Fault("refusal", "no_capacity")])
    booked = await buying.books(quote, caller=caller)
    assert booked.offer_id == second
    await buying.passes(5 * MINUTE)
    assert (await buying.booking(booked.id)).state == "active"
    assert len(buying.running()) == 1


async def test_no_other_offer_is_tried_when_the_mandate_does_not(buying: Buying) -> None:
    caller, _ = await agent(buying)
    quote = await buying.quoted(f"{await buying.offer()},{await buying.offer(skip=1)}", caller=caller)
    buying.world.dial.script("launch", [Fault("refusal", "no_capacity")])
    booked = await buying.books(quote, caller=caller)
    assert booked.state == "failed"


@pytest.mark.parametrize(("policy", "state"), [("terminate", "terminated"), ("keep", "active")])
async def test_revocation_ends_what_runs_when_the_mandate_says_so(buying: Buying, policy: str, state: str) -> None:
    caller, mandate = await agent(buying, on_revocation=policy)
    booking = await buying.active(quote=await buying.quoted(caller=caller), caller=caller)
    await buying.asks("revoke_mandate", mandate_id=mandate)
    await buying.passes(2 * MINUTE)
    assert (await buying.booking(booking.id)).state == state
    with pytest.raises(MandateRefused):
        await buying.books(await buying.quoted(caller=caller), caller=caller)


@pytest.mark.requirement("003-6")
async def test_a_gang_is_had_whole_or_not_at_all(buying: Buying) -> None:
    quote = await buying.quoted(count=3)
    buying.world.dial.script("launch", [None, Fault("refusal", "no_capacity")])
    booked = await buying.books(quote, caller=LOCAL_OWNER)
    await buying.passes(MINUTE)
    booking = await buying.booking(booked.id)
    assert booking.state == "compensated"
    assert buying.running() == []
    assert await buying.held() == 0


async def test_a_used_quote_is_refused_with_the_booking_it_made(buying: Buying) -> None:
    quote = await buying.quoted()
    booked = await buying.books(quote)
    with pytest.raises(Conflict) as used:
        await buying.books(quote)
    assert used.value.details["booking_id"] == booked.id
