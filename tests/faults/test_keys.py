"""One key buys once however often it is sent, and a budget for ten is ten bookings however many ask at once."""

from __future__ import annotations

import pytest

from tests.faults.databases import Database
from tests.faults.keys import AT_ONCE, ENOUGH_FOR, same_key, small_budget

TIMES, ROUNDS = 200, 3


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> Database:
    """Each database; a machine without PostgreSQL says so."""
    if request.param == "postgresql":
        request.getfixturevalue("postgres_url")
    return request.param  # type: ignore[no-any-return]


async def test_the_same_key_two_hundred_times_fifty_at_once_buys_once(kind: Database) -> None:
    result = await same_key(kind, TIMES)
    assert result.violations == []
    assert result.answers["the booking"] >= 1
    assert result.answers["the booking"] + result.answers["InFlight (409)"] == TIMES
    assert result.answers["another body: IDEMPOTENCY_CONFLICT (422)"] == 2


async def test_fifty_purchases_at_once_against_a_budget_for_ten_make_exactly_ten(kind: Database) -> None:
    result = await small_budget(kind, ROUNDS)
    assert result.violations == []
    assert result.answers == {
        "booked": ENOUGH_FOR * ROUNDS,
        "MandateRefused (403)": (AT_ONCE - ENOUGH_FOR) * ROUNDS,
    }
