"""What may still be spent, what is held and what runs, as the caller's own mandates and bookings have it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from market import agent_keys
from market.errors import ApprovalRequired
from tests.buying import Buying, opened
from tests.conftest import ManualClock


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buying]:
    """A calm cloud beside an empty database."""
    async with opened(tmp_path, clock) as found:
        yield found


async def test_it_follows_a_booking_from_held_to_spent(buying: Buying) -> None:
    before = await buying.asks("spend_status")
    (mandate,) = before.mandates
    assert (mandate.mandate_id, mandate.committed, before.bookings_running) == ("mandate-sandbox", 0, 0)
    assert mandate.remaining == mandate.budget
    quote = await buying.quoted(count=2)
    booked = await buying.books(quote)
    during = await buying.asks("spend_status")
    (mandate,) = during.mandates
    assert mandate.committed == quote.worst_total
    assert mandate.remaining == mandate.budget - quote.worst_total
    assert (mandate.running, during.bookings_running) == (2, 1)
    assert during.spending_per_hour == 2 * quote.legs[0].price_per_hour
    assert Decimal(0) < during.projected <= quote.worst_total
    await buying.passes(timedelta(minutes=10))
    ended = await buying.asks("terminate_booking", booking_id=booked.id)
    after = await buying.asks("spend_status")
    (mandate,) = after.mandates
    assert ended.state == "terminated"
    assert (mandate.committed, mandate.running, after.bookings_running, after.projected) == (0, 0, 0, 0)
    assert mandate.spent == await buying.spent() > 0
    assert mandate.remaining == mandate.budget - mandate.spent


async def test_an_agent_sees_its_own_mandates_bookings_and_questions_only(buying: Buying) -> None:
    await buying.books()
    key = await buying.asks("create_key", name="tester")
    agent = await agent_keys.caller_behind(await buying.store(), key.id, buying.clock.now())
    nothing = await buying.asks("spend_status", caller=agent)
    assert (nothing.mandates, nothing.bookings_running) == ([], 0)
    assert "gpubroker mandate create" in nothing.next
    mandate = await buying.asks(
        "create_mandate", agent=key.id, budget=10, hourly_budget=5, max_concurrent=3, approval_above=0
    )
    quote = await buying.quoted(caller=agent)
    with pytest.raises(ApprovalRequired):
        await buying.books(quote, caller=agent)
    shown = await buying.asks("spend_status", caller=agent)
    (one,) = shown.mandates
    assert (one.mandate_id, one.budget, one.hourly_budget, one.max_concurrent) == (mandate.id, 10, 5, 3)
    assert (one.approval_above, shown.approvals_waiting, shown.next) == (0, 1, None)
    assert (await buying.asks("spend_status")).approvals_waiting == 0
