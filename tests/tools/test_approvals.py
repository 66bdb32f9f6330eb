"""Above its threshold an agent buys only what a person approved: that, once, in time; it cannot approve itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from market import agent_keys
from market.context import Caller, Context
from market.errors import ApprovalRequired, BrokerError, Conflict, NotAllowed, NotFound, QuoteUnusable, ValidationFailed
from market.procurement_tables import approvals as table
from tests.buying import Buying, opened
from tests.conftest import ManualClock
from tools.approvals import decided
from tools.capability import capabilities


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock, database_url: str) -> AsyncIterator[Buying]:
    """A calm cloud beside an empty database, once of each kind."""
    async with opened(tmp_path, clock, database_url=database_url) as found:
        yield found


@pytest.fixture
async def agent(buying: Buying) -> Caller:
    """An agent that needs a person from half a dollar on."""
    key = await buying.asks("create_key", name="tester")
    await buying.asks("create_mandate", agent=key.id, budget=1000, approval_above=0.5)
    return await agent_keys.caller_behind(await buying.store(), key.id, buying.clock.now())


async def quoted(buying: Buying, agent: Caller) -> Any:
    """A quote above the threshold."""
    shown = await buying.quoted(caller=agent, duration_hours=40)
    assert shown.mandate.needs_approval
    return shown


async def book(
    buying: Buying, agent: Caller, quote: Any, key: str = "one", answers: dict[str, bool] | None = None
) -> Any:
    """The quote booked by the agent, with what a person has answered in this call."""
    ctx = Context(buying.market, agent, answers=answers or {})
    arguments = {"quote_id": quote.quote_id, "idempotency_key": key, "max_total": 1000}
    return await capabilities()["book_quote"].call(ctx, arguments)


async def asked(buying: Buying, agent: Caller, quote: Any, key: str = "one") -> str:
    """The id of the approval the booking asks for."""
    with pytest.raises(ApprovalRequired) as required:
        await book(buying, agent, quote, key)
    assert not buying.running()
    return required.value.approval_id


async def test_the_same_key_books_after_a_person_has_approved(buying: Buying, agent: Caller) -> None:
    quote = await quoted(buying, agent)
    approval = await asked(buying, agent, quote)
    assert await asked(buying, agent, quote) == approval
    sheet = await buying.asks("decide_approval", approval_id=approval, approved=True)
    assert (sheet.state, sheet.decided_via, sheet.decided_by) == ("approved", "api", "local-owner")
    booked = await book(buying, agent, quote)
    assert (await book(buying, agent, quote)).id == booked.id
    assert len(buying.running()) == 1
    assert (await buying.asks("get_approval", approval_id=approval)).state == "used"
    with pytest.raises(QuoteUnusable):
        await book(buying, agent, quote, "two")
    assert len(buying.running()) == 1


async def test_the_sheet_says_exactly_what_is_bought(buying: Buying, agent: Caller) -> None:
    quote = await quoted(buying, agent)
    approval = await asked(buying, agent, quote)
    sheet = await buying.asks("get_approval", approval_id=approval)
    leg = quote.legs[0]
    assert (sheet.state, sheet.subject, sheet.caller) == ("waiting", quote.quote_id, agent.agent_key_id)
    assert (sheet.amount, sheet.expected_total) == (quote.worst_total, quote.expected_total)
    assert (sheet.machines, sheet.duration_hours, sheet.mandate_remaining) == (1, 40, Decimal(1000))
    assert [(one.offer_id, one.gpu, one.worst_total) for one in sheet.legs] == [
        (leg.offer_id, leg.gpu, leg.worst_total)
    ]
    assert sum(line.amount for line in sheet.lines) == quote.expected_total
    (waiting,) = (await buying.asks("list_approvals")).items
    assert waiting.id == approval


async def test_a_declined_purchase_is_not_made_and_not_asked_again(buying: Buying, agent: Caller) -> None:
    quote = await quoted(buying, agent)
    approval = await asked(buying, agent, quote)
    await buying.asks("decide_approval", approval_id=approval, approved=False)
    for key in ("one", "two"):
        with pytest.raises(BrokerError) as refused:
            await book(buying, agent, quote, key)
        assert "declined" in refused.value.message
    with pytest.raises(Conflict, match="declined by"):
        await buying.asks("decide_approval", approval_id=approval, approved=True)
    assert not buying.running()
    assert (await buying.asks("list_approvals")).items == []
    assert [one.state for one in (await buying.asks("list_approvals", state="all")).items] == ["declined"]


async def test_an_answer_in_the_conversation_decides_the_same_row(buying: Buying, agent: Caller) -> None:
    quote = await quoted(buying, agent)
    approval = await asked(buying, agent, quote)
    booked = await book(buying, agent, quote, answers={approval: True})
    assert (await book(buying, agent, quote, answers={approval: True})).id == booked.id
    with pytest.raises(QuoteUnusable):
        await book(buying, agent, quote, "two", answers={approval: True})
    assert len(buying.running()) == 1
    sheet = await buying.asks("get_approval", approval_id=approval)
    assert (sheet.state, sheet.decided_via) == ("used", "elicitation")


async def test_an_answer_to_another_question_approves_nothing(buying: Buying, agent: Caller) -> None:
    other = await asked(buying, agent, await quoted(buying, agent))
    quote = await quoted(buying, agent)
    with pytest.raises(ApprovalRequired):
        await book(buying, agent, quote, answers={other: True})
    assert not buying.running()


async def test_of_many_bookings_on_one_approval_one_is_made(buying: Buying, agent: Caller) -> None:
    quote = await quoted(buying, agent)
    await buying.asks("decide_approval", approval_id=await asked(buying, agent, quote), approved=True)
    attempts = [book(buying, agent, quote, f"key-{n}") for n in range(10)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    assert all(isinstance(outcome, BrokerError) for outcome in outcomes if isinstance(outcome, BaseException))
    assert len(buying.running()) == 1


async def test_an_approval_that_came_too_late_buys_nothing(buying: Buying, agent: Caller) -> None:
    quote = await quoted(buying, agent)
    approval = await asked(buying, agent, quote)
    buying.clock.advance(timedelta(minutes=60))
    with pytest.raises(Conflict, match="was over"):
        await buying.asks("decide_approval", approval_id=approval, approved=True)
    with pytest.raises(QuoteUnusable, match="expired"):
        await book(buying, agent, quote)


async def test_an_approval_changed_in_the_database_buys_nothing(buying: Buying, agent: Caller) -> None:
    quote = await quoted(buying, agent)
    await asked(buying, agent, quote)
    forged = {
        "decision": "approved",
        "decided_by": "local-owner",
        "decided_via": "cli",
        "decided_at": ManualClock().now(),
    }
    async with (await buying.store()).write() as connection:
        await connection.execute(update(table).values(**forged))
    with pytest.raises(Conflict, match="changed"):
        await book(buying, agent, quote)
    assert not buying.running()


async def test_an_agent_neither_decides_nor_sees_approvals(buying: Buying, agent: Caller) -> None:
    approval = await asked(buying, agent, await quoted(buying, agent))
    almighty = Caller("root", frozenset({"*"}), agent_key_id=agent.agent_key_id)
    for caller in (agent, almighty):
        for name, arguments in (
            ("list_approvals", {}),
            ("get_approval", {"approval_id": approval}),
            ("decide_approval", {"approval_id": approval, "approved": True}),
        ):
            with pytest.raises(NotAllowed):
                await buying.asks(name, caller=caller, **arguments)
        with pytest.raises(NotAllowed):
            await decided(Context(buying.market, caller), approval, approved=True, via="cli")
    assert (await buying.asks("get_approval", approval_id=approval)).state == "waiting"


async def test_a_repeated_decision_with_its_key_answers_the_same(buying: Buying, agent: Caller) -> None:
    approval = await asked(buying, agent, await quoted(buying, agent))
    ctx = Context(buying.market, idempotency_key="decision-1")
    decide = capabilities()["decide_approval"]
    first = await decide.call(ctx, {"approval_id": approval, "approved": True})
    again = await decide.call(ctx, {"approval_id": approval, "approved": True})
    assert (first.state, first.decided_at) == (again.state, again.decided_at) == ("approved", buying.clock.now())


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"approval_id": "approval-none", "approved": True}, NotFound),
        ({"approval_id": "approval-none"}, ValidationFailed),
        ({"approval_id": "", "approved": True}, ValidationFailed),
        ({"approval_id": "approval-none", "approved": "perhaps"}, ValidationFailed),
    ],
)
async def test_a_decision_about_nothing_is_refused(
    tmp_path: Path, clock: ManualClock, wrong: dict[str, Any], refusal: type[BrokerError]
) -> None:
    async with opened(tmp_path, clock) as buying:
        with pytest.raises(refusal):
            await buying.asks("decide_approval", **wrong)
