"""A booking is bought once, watched, ended and settled, whatever the cloud does on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.sandbox_dial import Fault
from market import journal, usage
from market.errors import NoWatchdog, QuoteUnusable
from tests.buying import Buying, opened
from tests.conftest import ManualClock

HOUR = timedelta(hours=1)


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock, database_url: str) -> AsyncIterator[Buying]:
    """A calm cloud beside an empty database, once of each kind."""
    async with opened(tmp_path, clock, database_url=database_url) as found:
        yield found


async def test_a_booking_runs_from_quote_to_settled_account(buying: Buying) -> None:
    booked = await buying.books()
    assert booked.state in ("provisioning", "active")
    assert len(buying.running()) == 1
    await buying.passes(timedelta(minutes=5))
    shown = (await buying.asks("list_bookings", booking_id=booked.id)).items[0]
    assert shown.state == "active"
    assert [one.split()[:2] for one in shown.ssh] == [["ssh", "-p"]]
    await buying.passes(HOUR)
    ended = await buying.asks("terminate_booking", booking_id=booked.id)
    assert ended.state == "terminated"
    assert buying.running() == []
    booking = await buying.booking(booked.id)
    assert booking.final_cost == booking.provider_cost
    assert booking.claimed == 0
    assert await buying.held() == 0
    assert await buying.spent() == booking.final_cost
    lines = await usage.entries(await buying.store(), booked.id)
    assert sum((one.amount for one in lines), Decimal(0)) == booking.final_cost


async def test_a_lease_ends_at_its_end_without_anybody_asking(buying: Buying) -> None:
    booking = await buying.active()
    await buying.passes(booking.ends_at - buying.clock.now() + timedelta(minutes=2))
    assert (await buying.booking(booking.id)).state == "terminated"
    assert buying.running() == []
    assert await buying.held() == 0


async def test_a_lost_answer_makes_one_machine_and_one_booking(buying: Buying) -> None:
    quote = await buying.quoted()
    buying.world.dial.script("launch", ["lost_reply"])
    booked = await buying.books(quote)
    await buying.passes(timedelta(minutes=5))
    booking = await buying.booking(booked.id)
    assert booking.state == "active"
    assert len(buying.running()) == 1
    assert booking.machines[0].provider_instance_id is not None
    steps = await journal.entries(await buying.store(), booked.id)
    assert [(one.step, one.state) for one in steps] == [("launch", "done")]


async def test_a_refused_order_costs_nothing_and_says_why(buying: Buying) -> None:
    quote = await buying.quoted()
    buying.world.dial.script("launch", [Fault("refusal", "no_capacity")])
    booked = await buying.books(quote)
    assert booked.state == "failed"
    assert "none of it" in booked.reason
    assert buying.running() == []
    assert await buying.held() == 0


@pytest.mark.requirement("PROP-20")
async def test_the_same_key_buys_once(buying: Buying) -> None:
    quote = await buying.quoted()
    first = await buying.books(quote, idempotency_key="same")
    again = await buying.books(quote, idempotency_key="same")
    assert again == first
    assert len(buying.running()) == 1
    with pytest.raises(QuoteUnusable, match="was used"):
        await buying.books(quote, idempotency_key="other")


async def test_a_cloud_that_ends_nothing_needs_a_watchdog(tmp_path: Path, clock: ManualClock) -> None:
    async with opened(tmp_path, clock, enforce_end=False) as buying:
        quote = await buying.quoted()
        with pytest.raises(NoWatchdog, match="gpubroker serve"):
            await buying.books(quote)
        assert await buying.held() == 0
        assert buying.running() == []
