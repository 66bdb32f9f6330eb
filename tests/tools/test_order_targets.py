"""A limit order watches what can be booked under its mandate, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from market import booking_book
from market.agent_keys import AGENT_SCOPES
from market.context import Caller
from market.errors import ValidationFailed
from tests.buying import Buying, opened
from tests.conftest import ManualClock
from tools.dispatcher import Dispatcher

ORDER = {"max_total": 100, "duration_hours": 1}


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buying]:
    """A calm cloud beside an empty database."""
    async with opened(tmp_path, clock) as found:
        yield found


async def test_an_order_on_a_gpu_buys_one_machine_of_a_provider_that_can_be_booked(buying: Buying) -> None:
    made = await buying.asks("create_alert", gpu="H100", when="price_below", threshold=50, limit_order=ORDER)
    buying.clock.advance(timedelta(seconds=1))
    await Dispatcher(buying.market).tick()
    shown = (await buying.asks("list_alerts", alert_id=made.id)).items[0]
    bought = await booking_book.of_caller(await buying.store(), None)
    assert [one.provider for one in bought] == ["sandbox"], shown
    assert bought[0].gpu_count == 1
    assert len(buying.running()) == 1


async def test_an_order_for_what_its_mandate_does_not_name_is_refused_when_it_is_made(buying: Buying) -> None:
    key = await buying.asks("create_key", name="buyer")
    await buying.asks("create_mandate", agent=key.id, budget=5, providers=["vultr"])
    caller = Caller("buyer", AGENT_SCOPES, agent_key_id=key.id)
    filters = {"gpu": ["H100"], "provider": ["sandbox"]}
    with pytest.raises(ValidationFailed, match="can be booked here under your mandate"):
        await buying.asks(
            "create_alert", caller=caller, filters=filters, when="price_below", threshold=50, limit_order=ORDER
        )
