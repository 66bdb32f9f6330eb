"""A key is made for an agent: its secret is told once and written down nowhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from market import agent_keys
from market.context import Context, Market
from market.errors import Conflict, ValidationFailed
from market.procurement_tables import audit_log
from tests.conftest import ManualClock
from tests.tools.conftest import ask
from tools.capability import capabilities


async def test_the_secret_is_told_once(market: Market) -> None:
    key = await ask(market, "create_key", name="researcher", expires_in_days=90)
    assert key.expires_at == market.clock.now() + timedelta(days=90)
    shown = await agent_keys.presented(await market.store(), key.secret, market.clock.now())
    assert shown.id == key.id
    listed: Any = await ask(market, "list_keys")
    assert [(one.id, one.name, one.state) for one in listed.items] == [(key.id, "researcher", "good")]
    assert key.secret not in listed.brief()
    async with (await market.store()).read() as connection:
        entries = (await connection.execute(select(audit_log))).all()
    assert [entry.action for entry in entries] == ["key.create", "create_key.done"]
    assert key.secret not in str(entries)


async def test_a_key_goes_through_its_states(market: Market, clock: ManualClock) -> None:
    key = await ask(market, "create_key", name="agent", expires_in_days=1)
    clock.advance(timedelta(days=1))
    assert (await ask(market, "list_keys")).items[0].state == "expired"
    ended = await ask(market, "revoke_key", key=key.id)
    assert (ended.state, ended.revoked_at) == ("revoked", clock.now())


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "-flag"},
        {"name": "two\nlines"},
        {"name": "a" * 61},
        {"name": "agent", "expires_in_days": 0},
        {"name": "agent", "expires_in_days": "soon"},
        {"name": "agent", "expires_in_days": 1e9},
    ],
)
async def test_a_wrong_wish_makes_no_key(market: Market, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed):
        await ask(market, "create_key", **wrong)
    assert (await ask(market, "list_keys")).items == []


async def test_a_name_is_in_use_once(market: Market) -> None:
    await ask(market, "create_key", name="agent")
    with pytest.raises(Conflict):
        await ask(market, "create_key", name="agent")


async def test_a_repeated_call_gets_the_same_key_and_its_secret_again(market: Market) -> None:
    ctx = Context(market, idempotency_key="one")
    first = await capabilities()["create_key"].call(ctx, {"name": "agent"})
    again = await capabilities()["create_key"].call(ctx, {"name": "agent"})
    assert first == again
    assert len((await ask(market, "list_keys")).items) == 1
