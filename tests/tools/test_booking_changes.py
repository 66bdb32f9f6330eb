"""A running booking made longer, larger, stopped and started: each once, whatever becomes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.sandbox_dial import Endpoint, Fault
from market.errors import Conflict
from tests.buying import Buying, balanced, opened
from tests.conftest import ManualClock

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buying]:
    """A calm cloud beside an empty database."""
    async with opened(tmp_path, clock) as found:
        yield found


async def test_extending_moves_the_end_here_and_at_the_provider(buying: Buying) -> None:
    booking = await buying.active()
    held = await buying.held()
    longer = await buying.asks(
        "extend_booking", booking_id=booking.id, hours=2, max_total=1_000, idempotency_key="longer"
    )
    assert longer.new_end_time == booking.ends_at + timedelta(hours=2)
    machine = buying.world.cloud.machines[str(booking.machines[0].provider_instance_id)]
    assert machine.ends_at == longer.new_end_time
    assert await buying.held() == held + longer.additional_cost
    again = await buying.asks(
        "extend_booking", booking_id=booking.id, hours=2, max_total=1_000, idempotency_key="longer"
    )
    assert again.new_end_time == longer.new_end_time
    await balanced(buying)


async def test_a_lost_answer_to_an_extension_is_asked_for_again(buying: Buying) -> None:
    booking = await buying.active()
    buying.world.dial.script("extend", ["lost_reply", "reset"])
    await buying.asks("extend_booking", booking_id=booking.id, hours=1, max_total=1_000, idempotency_key="x")
    await buying.passes(2 * MINUTE)
    longer = await buying.booking(booking.id)
    assert longer.ends_at == booking.ends_at + timedelta(hours=1)
    await balanced(buying)


@pytest.mark.parametrize(("change", "endpoint"), [("extend", "extend"), ("stop", "stop")])
async def test_a_change_whose_answer_was_lost_is_asked_for_again_soon(
    buying: Buying, change: str, endpoint: Endpoint
) -> None:
    booking = await buying.active()
    buying.world.dial.script(endpoint, ["lost_reply"])
    more: dict[str, Any] = {"hours": 1, "max_total": 1_000, "idempotency_key": "x"} if change == "extend" else {}
    await buying.asks(f"{change}_booking", booking_id=booking.id, **more)
    waiting = (await buying.booking(booking.id)).next_check_at
    assert waiting is not None
    assert waiting - buying.clock.now() <= timedelta(seconds=5)
    await buying.passes(timedelta(seconds=10))
    changed = await buying.booking(booking.id)
    assert (changed.ends_at > booking.ends_at) if change == "extend" else (changed.state == "stopped")


async def test_a_refused_extension_gives_its_money_back(buying: Buying) -> None:
    booking = await buying.active()
    held = await buying.held()
    buying.world.dial.script("extend", [Fault("refusal", "bad_request")])
    await buying.asks("extend_booking", booking_id=booking.id, hours=1, max_total=1_000, idempotency_key="x")
    assert (await buying.booking(booking.id)).ends_at in (booking.ends_at, booking.ends_at + timedelta(hours=1))
    await balanced(buying)
    assert await buying.held() >= held


async def test_more_of_the_same_and_less_again(buying: Buying) -> None:
    booking = await buying.active()
    await buying.asks("scale_booking", booking_id=booking.id, add=2, max_total=1_000, idempotency_key="s")
    await buying.passes(4 * MINUTE)
    grown = await buying.booking(booking.id)
    assert grown.state == "active"
    assert [one.state for one in grown.machines] == ["running"] * 3
    assert len(buying.running()) == 3
    await buying.asks("terminate_booking", booking_id=booking.id)
    assert buying.running() == []
    await balanced(buying)


async def test_an_added_machine_is_looked_at_as_often_as_a_first_one(buying: Buying) -> None:
    booking = await buying.active()
    await buying.asks("scale_booking", booking_id=booking.id, add=1, max_total=1_000, idempotency_key="s")
    grown = await buying.booking(booking.id)
    assert "booting" in [one.state for one in grown.machines]
    assert grown.next_check_at is not None
    assert grown.next_check_at - buying.clock.now() <= timedelta(seconds=5)


async def test_a_stopped_machine_costs_its_disk_alone(buying: Buying) -> None:
    booking = await buying.active(quote=await buying.quoted(disk_gb=100))
    await buying.asks("stop_booking", booking_id=booking.id)
    assert (await buying.booking(booking.id)).state == "stopped"
    before = (await buying.booking(booking.id)).spent
    await buying.passes(timedelta(hours=1))
    cost = (await buying.booking(booking.id)).spent - before
    assert 0 < cost < booking.price_per_hour_usd / 2
    await buying.asks("start_booking", booking_id=booking.id)
    await buying.passes(4 * MINUTE)
    assert (await buying.booking(booking.id)).state == "active"
    await buying.asks("terminate_booking", booking_id=booking.id)
    await balanced(buying)


async def test_two_extensions_at_once_hold_what_they_add(buying: Buying) -> None:
    booking = await buying.active()
    more: dict[str, Any] = {"booking_id": booking.id, "hours": 1, "max_total": 1_000}
    calls = [buying.asks("extend_booking", **more, idempotency_key=key) for key in ("one", "other")]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in answers if isinstance(one, BaseException)]
    assert all(isinstance(one, Conflict) for one in refused), refused
    await buying.passes(MINUTE)
    longer = await buying.booking(booking.id)
    assert longer.ends_at == booking.ends_at + (2 - len(refused)) * timedelta(hours=1)
    await balanced(buying)


async def test_two_additions_at_once_count_what_they_add(buying: Buying) -> None:
    booking = await buying.active()
    more: dict[str, Any] = {"booking_id": booking.id, "add": 1, "max_total": 1_000}
    calls = [buying.asks("scale_booking", **more, idempotency_key=key) for key in ("one", "other")]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in answers if isinstance(one, BaseException)]
    assert all(isinstance(one, Conflict) for one in refused), refused
    await buying.passes(2 * MINUTE)
    assert len(buying.running()) == (await buying.booking(booking.id)).instance_count == 3 - len(refused)
    await balanced(buying)
