"""An agent is who holds the secret of a key that is good: the store keeps what can tell, and cannot make one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from market import agent_keys
from market.agent_keys import AGENT_SCOPES, KEY_PREFIX, AgentKey
from market.context import LOCAL_OWNER
from market.errors import Conflict, NotFound, NotSignedIn
from market.procurement_tables import agent_keys as table
from market.store import Store
from tests.market.mandate_samples import NOW

MONTH = timedelta(days=30)


async def made(store: Store, name: str = "agent") -> tuple[AgentKey, str]:
    """A new key that is good for a month."""
    async with store.write() as connection:
        return await agent_keys.create(connection, name=name, created_by="local-owner", now=NOW, expires_at=NOW + MONTH)


async def test_whoever_shows_the_secret_is_the_agent(store: Store) -> None:
    key, secret = await made(store)
    assert secret.startswith(KEY_PREFIX)
    shown = await agent_keys.presented(store, secret, NOW)
    assert shown == key
    assert (shown.caller.identity, shown.caller.scopes) == (key.id, AGENT_SCOPES)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestKeys:
    """What is the same on every database."""

    async def test_the_store_keeps_nothing_that_could_be_shown(self, store: Store) -> None:
        _, secret = await made(store)
        async with store.read() as connection:
            row = (await connection.execute(select(table))).one()
        assert secret.removeprefix(KEY_PREFIX) not in str(row)
        for public in (row.public_key, row.thumbprint):
            with pytest.raises(NotSignedIn):
                await agent_keys.presented(store, KEY_PREFIX + public, NOW)

    async def test_a_key_is_good_until_it_expires_or_is_revoked(self, store: Store) -> None:
        key, secret = await made(store)
        with pytest.raises(NotSignedIn, match="has expired"):
            await agent_keys.presented(store, secret, NOW + MONTH)
        async with store.write() as connection:
            assert await agent_keys.revoke(connection, key.id, NOW)
            assert not await agent_keys.revoke(connection, key.id, NOW)
        for whoever in (agent_keys.presented(store, secret, NOW), agent_keys.caller_behind(store, key.id, NOW)):
            with pytest.raises(NotSignedIn, match="was revoked"):
                await whoever

    @pytest.mark.parametrize("wrong", ["", "gpbk_", "gpbk_abc", "sk-abc", "gpbk_" + "A" * 43, "gpbk_" + "é" * 43])
    async def test_a_wrong_secret_is_refused(self, store: Store, wrong: str) -> None:
        await made(store)
        with pytest.raises(NotSignedIn) as refused:
            await agent_keys.presented(store, wrong, NOW)
        assert refused.value.status == 401
        assert not wrong or wrong not in str(refused.value) or wrong == KEY_PREFIX

    async def test_two_good_keys_never_share_a_name(self, store: Store) -> None:
        first, _ = await made(store)
        with pytest.raises(Conflict, match=first.id):
            await made(store)
        async with store.write() as connection:
            await agent_keys.revoke(connection, first.id, NOW)
        second, _ = await made(store)
        async with store.read() as connection:
            assert (await agent_keys.get(connection, "agent")).id == second.id
            assert (await agent_keys.get(connection, first.id)).id == first.id

    async def test_a_key_that_does_not_exist_is_answered_with_those_that_do(self, store: Store) -> None:
        key, _ = await made(store)
        async with store.read() as connection:
            with pytest.raises(NotFound, match=key.id):
                await agent_keys.get(connection, "nobody")

    async def test_work_is_done_for_the_caller_it_belongs_to(self, store: Store) -> None:
        key, _ = await made(store)
        assert await agent_keys.caller_behind(store, "local-owner", NOW) == LOCAL_OWNER
        assert await agent_keys.caller_behind(store, key.id, NOW) == key.caller
        with pytest.raises(NotSignedIn, match="not known"):
            await agent_keys.caller_behind(store, "key-none", NOW)


def test_an_agent_signs_nothing_decides_nothing_and_manages_nothing() -> None:
    for scope in ("*", "mandates:sign", "keys:manage", "approvals:decide", "audit:read", "admin"):
        assert scope not in AGENT_SCOPES
