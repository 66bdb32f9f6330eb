"""What a provider calls back with is a reason to look, once, and never believed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from market.errors import NotFound, ValidationFailed
from tests.buying import Buying, opened
from tests.conftest import ManualClock


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buying]:
    """A calm cloud beside an empty database."""
    async with opened(tmp_path, clock) as found:
        yield found


async def calls_back(buying: Buying, **said: Any) -> str:
    answer = await buying.asks("receive_callback", **{"provider": "sandbox", "event_id": "e1", **said})
    return str(answer.effect)


async def test_ten_times_the_same_event_is_one_look_at_the_provider(buying: Buying) -> None:
    booking = await buying.active()
    instance = booking.machines[0].provider_instance_id
    now = buying.clock.now()
    assert booking.next_check_at is None or booking.next_check_at > now
    said = {"instance_id": instance, "type": "instance.ended", "data": {"state": "ended", "cost": 9_999}}
    effects = [await calls_back(buying, **said) for _ in range(10)]
    assert effects == ["checking", *["duplicate"] * 9]
    after = await buying.booking(booking.id)
    assert after.next_check_at == now
    assert (after.state, after.spent) == (booking.state, booking.spent), "only the provider's own answer counts"
    await buying.passes(timedelta(minutes=1))
    assert (await buying.booking(booking.id)).state == "active"


async def test_a_machine_we_do_not_know_has_no_effect_and_leaves_no_trace(buying: Buying) -> None:
    booking = await buying.active()
    assert [await calls_back(buying, instance_id="i-unknown") for _ in range(2)] == ["none", "none"]
    assert await calls_back(buying, instance_id=booking.machines[0].provider_instance_id) == "checking"


async def test_a_booking_that_is_over_is_not_looked_at_again(buying: Buying) -> None:
    booking = await buying.active()
    await buying.asks("terminate_booking", booking_id=booking.id)
    await buying.passes(timedelta(minutes=10))
    assert (await buying.booking(booking.id)).state == "terminated"
    assert await calls_back(buying, instance_id=booking.machines[0].provider_instance_id) == "none"


async def test_what_is_no_callback_is_refused(buying: Buying) -> None:
    with pytest.raises(NotFound, match="no provider"):
        await calls_back(buying, provider="nobody", instance_id="i")
    for wrong in ({"instance_id": ""}, {"instance_id": "i" * 201}, {"instance_id": "i", "event_id": "e" * 201}, {}):
        with pytest.raises(ValidationFailed):
            await calls_back(buying, **wrong)
    with pytest.raises(ValidationFailed, match="16,000"):
        await calls_back(buying, instance_id="i", data={"x": "y" * 16_000})
