"""Killed anywhere, restarted by two processes: one machine an order, every dollar in the books, within 30 seconds."""

from __future__ import annotations

import pytest

from tests.faults.crash import SETTLED_WITHIN_SECONDS, campaign
from tests.faults.databases import DATABASES
from tests.faults.report import shown

KILLS, SEED = 26, 11


@pytest.mark.requirement("NFR-S3")
@pytest.mark.slow
async def test_what_kill_9_leaves_behind_is_put_in_order_on_both_databases(postgres_url: str) -> None:
    """Real processes on the real clock; `postgres_url` is asked for so that a machine without a server says so."""
    results = await campaign(DATABASES, KILLS, SEED)
    for result in results:
        assert result.violations == [], shown(result)
        assert result.kills.total() >= KILLS // len(DATABASES)
        assert len({point for _, point in result.kills}) > 3, "the kills fell on a few points only"
        assert max(result.settled_seconds) <= SETTLED_WITHIN_SECONDS
        assert result.orders >= result.kills.total() // 2
        assert result.states.keys() <= {"terminated", "compensated", "failed"}
