"""The owner signs, raises and revokes mandates; what was signed, what is told and what is written down agree."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from market import mandate_book, outbox
from market.agent_keys import AGENT_SCOPES
from market.context import Caller, Context, Market
from market.errors import BrokerError, Conflict, NotAllowed, NotFound, ValidationFailed
from market.mandate_claims import mandate_in
from market.mandates import AmountRange, Recurrence
from market.procurement_tables import audit_log
from market.settings import Settings
from market.signing import OwnerKey
from tests.conftest import ManualClock
from tests.market.mandate_samples import spoiled
from tests.market.offer_samples import made
from tests.tools.conftest import ask, stocked
from tools.capability import capabilities


@pytest.fixture
async def shop(market: Market) -> Market:
    """A market with one offer, so that there are names to check against."""
    return await stocked(market, made("runpod:h100:eu-ro-1", "3.10"))


async def signed(market: Market, **asked: Any) -> Any:
    """A mandate for fifty dollars, if not said otherwise."""
    return await ask(market, "create_mandate", **{"budget": 50, **asked})


async def recorded(market: Market) -> list[tuple[str, str]]:
    """Action and subject of every entry of the audit log."""
    async with (await market.store()).read() as connection:
        rows = await connection.execute(select(audit_log.c.action, audit_log.c.subject).order_by(audit_log.c.seq))
        return [(row.action, row.subject) for row in rows]


async def told(market: Market) -> list[outbox.Event]:
    """What the outbox says."""
    return await outbox.read_after(await market.store(), "test")


async def test_what_was_asked_is_what_was_signed(shop: Market) -> None:
    key = await ask(shop, "create_key", name="researcher")
    shown = await signed(
        shop,
        agent="researcher",
        amount_range={"min": 1, "max": 20.5},
        hourly_budget=5,
        max_hours=8,
        max_concurrent=2,
        recurrence={"every": "day", "max_bookings": 5},
        providers="RunPod",
        gpus=["H100", "a100"],
        regions="eu,us-east",
        tags=["soc2"],
        pricing="on_demand",
        currencies="usd,eur",
        approval_above=0,
        failover=True,
        on_revocation="terminate",
        expires_in_days=2,
    )
    mandate = mandate_in(OwnerKey.of(shop.settings).opened(shown.jws))
    assert (mandate.agent, mandate.thumbprint, mandate.version) == (key.id, key.thumbprint, 1)
    assert mandate.amount_range == AmountRange(min=Decimal(1), max=Decimal("20.5"))
    assert mandate.recurrence == Recurrence(every="day", max_bookings=5)
    assert sorted(mandate.providers | mandate.gpus) == ["H100", "a100", "runpod"]
    assert sorted(mandate.regions | mandate.currencies) == ["EUR", "USD", "eu", "us-east"]
    assert mandate.approval_above == Decimal(0)
    assert mandate.failover
    assert not mandate.allow_unverified
    assert mandate.expires_at == shop.clock.now() + timedelta(days=2)
    assert json.loads(shown.brief())["constraints"]["hourly_budget"] == 5
    caller = Caller("researcher", AGENT_SCOPES, agent_key_id=key.id)
    in_force = await mandate_book.for_caller(await shop.store(), shop.settings, caller, shop.clock.now())
    assert in_force == [mandate]


async def test_signing_is_audited_with_what_was_signed(shop: Market) -> None:
    shown = await signed(shop)
    assert await recorded(shop) == [("mandate.create", shown.id), ("create_mandate.done", shown.id)]
    async with (await shop.store()).read() as connection:
        details = (await connection.execute(select(audit_log.c.details))).scalars().first()
    assert json.loads(json.loads(details or "")["claims"])["constraints"]["budget"] == "50"


async def test_a_raise_is_a_new_signature_and_forgets_nothing(shop: Market) -> None:
    first = await signed(shop, max_hours=8)
    store, settings, now = await shop.store(), shop.settings, shop.clock.now()
    mandate = await mandate_book.verified(store, settings, first.id, now)
    async with store.write() as connection:
        held = {"amount": Decimal(40), "hourly": Decimal(2), "instances": 1}
        assert await mandate_book.claim(connection, mandate, **held, now=now) == []  # type: ignore[arg-type]
    second = await ask(shop, "raise_mandate", mandate_id=first.id, budget=200, max_amount=100)
    assert (second.id, second.version, second.constraints.max_hours) == (first.id, 2, 8)
    assert second.constraints.amount_range.max == 100
    assert (second.standing.committed, second.standing.remaining) == (40, 160)
    assert second.jws != first.jws
    raised = await mandate_book.verified(store, settings, first.id, now)
    assert (raised.budget, raised.version) == (Decimal(200), 2)
    assert ("mandate.raise", first.id) in await recorded(shop)
    with pytest.raises(Conflict, match="is in use"):
        await ask(shop, "raise_mandate", mandate_id=first.id, budget=39)
    assert (await mandate_book.verified(store, settings, first.id, now)).budget == 200


async def test_the_old_text_is_no_mandate_any_more_once_it_was_raised(shop: Market) -> None:
    first = await signed(shop)
    await ask(shop, "raise_mandate", mandate_id=first.id, budget=20)
    await spoiled(await shop.store(), first.id, "jws", first.jws)
    shown = await ask(shop, "get_mandate", mandate_id=first.id)
    assert shown.state == "refused"
    assert "its row was changed" in shown.reason
    assert shown.constraints is None
    with pytest.raises(Conflict, match="not what was signed"):
        await ask(shop, "raise_mandate", mandate_id=first.id, budget=60)
    assert (await ask(shop, "revoke_mandate", mandate_id=first.id)).revoked_at is not None


@pytest.mark.parametrize(
    ("said", "asked", "policy"),
    [("keep", None, "keep"), ("terminate", None, "terminate"), ("keep", "terminate", "terminate")],
)
async def test_a_revocation_tells_the_watchdog_what_becomes_of_what_runs(
    shop: Market, said: str, asked: str | None, policy: str
) -> None:
    shown = await signed(shop, on_revocation=said)
    ended = await ask(shop, "revoke_mandate", mandate_id=shown.id, on_revocation=asked)
    assert ended.state == "revoked"
    (event,) = [one for one in await told(shop) if one.kind == "mandate.revoked"]
    assert (event.subject, event.payload) == (shown.id, {"mandate": shown.id, "policy": policy})
    with pytest.raises(Conflict, match="already"):
        await ask(shop, "revoke_mandate", mandate_id=shown.id)
    with pytest.raises(Conflict, match="was revoked"):
        await ask(shop, "raise_mandate", mandate_id=shown.id, budget=60)


async def test_a_revoked_key_takes_its_mandates_with_it(shop: Market) -> None:
    key = await ask(shop, "create_key", name="agent")
    bound = await signed(shop, agent=key.id)
    free = await signed(shop)
    ended = await ask(shop, "revoke_key", key="agent")
    assert (ended.state, ended.mandates) == ("revoked", [bound.id])
    listed = await ask(shop, "list_mandates")
    assert [one.id for one in listed.items] == [free.id]
    everything = await ask(shop, "list_mandates", all=True)
    assert {one.id: one.state for one in everything.items} == {bound.id: "revoked", free.id: "in_force"}
    assert [one.subject for one in await told(shop) if one.kind == "mandate.revoked"] == [bound.id]
    with pytest.raises(Conflict, match="was revoked"):
        await signed(shop, agent=key.id)
    with pytest.raises(Conflict, match="already"):
        await ask(shop, "revoke_key", key=key.id)


async def test_a_mandate_goes_through_its_states_with_the_time(shop: Market, clock: ManualClock) -> None:
    begins = clock.now() + timedelta(hours=1)
    shown = await signed(shop, not_before=begins.isoformat(), expires_in_days=1)
    assert shown.state == "not_begun"
    clock.advance(timedelta(hours=2))
    assert (await ask(shop, "get_mandate", mandate_id=shown.id)).state == "in_force"
    clock.advance(timedelta(days=1))
    assert (await ask(shop, "get_mandate", mandate_id=shown.id)).state == "expired"
    assert (await ask(shop, "raise_mandate", mandate_id=shown.id, expires_in_days=5)).state == "in_force"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no budget": ({"budget": 0}, "`budget`"),
    "a negative budget": ({"budget": -5}, "`budget`"),
    "a budget beyond counting": ({"budget": 1e12}, "`budget`"),
    "no number": ({"budget": "NaN"}, "`budget`"),
    "a seventh decimal": ({"budget": "0.0000001"}, "`budget`"),
    "turned about": ({"amount_range": {"min": 5, "max": 4}}, "`min` must not be above `max`"),
    "an unknown limit": ({"amount_range": {"most": 5}}, "`amount_range.most`"),
    "no period": ({"recurrence": {"every": "hour", "max_bookings": 1}}, "`recurrence.every`"),
    "no time": ({"max_hours": 0}, "`max_hours`"),
    "no instance": ({"max_concurrent": 0}, "`max_concurrent`"),
    "an unknown GPU": ({"gpus": ["H1000"]}, "`gpus`"),
    "an unknown provider": ({"providers": ["rumpod"]}, "`providers`"),
    "an unknown region": ({"regions": ["eurpe"]}, "`regions`"),
    "an unknown currency": ({"currencies": ["USB"]}, "`currencies`"),
    "no currency": ({"currencies": []}, "`currencies`"),
    "an unknown policy": ({"on_revocation": "forget"}, "`on_revocation`"),
    "over already": ({"expires_at": "2020-01-01"}, "`expires_at` lies in the past"),
    "too far away": ({"expires_at": "2999-01-01"}, "`expires_at`"),
    "the same twice": ({"expires_at": "2026-02-01", "expires_in_days": 3}, "`expires_at` and `expires_in_days`"),
    "an end before its beginning": (
        {"not_before": "2026-03-01", "expires_at": "2026-02-01"},
        "`not_before` is not before",
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_field_is_named_and_nothing_is_signed(shop: Market, case: str) -> None:
    asked, words = WRONG[case]
    with pytest.raises(ValidationFailed) as refused:
        await signed(shop, **asked)
    assert words in refused.value.message
    assert (await ask(shop, "list_mandates", all=True)).items == []
    assert await recorded(shop) == []


async def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(shop: Market) -> None:
    wrong = {"gpus": ("H1000", "H100"), "providers": ("rumpod", "runpod"), "currencies": ("USB", "USD")}
    for field, (word, near) in wrong.items():
        with pytest.raises(ValidationFailed, match=near):
            await signed(shop, **{field: [word]})
    with pytest.raises(NotFound, match="gpubroker keys create"):
        await signed(shop, agent="nobody")
    for name in ("get_mandate", "revoke_mandate", "raise_mandate"):
        with pytest.raises(NotFound):
            await ask(shop, name, mandate_id="mandate-none", **({"budget": 1} if name == "raise_mandate" else {}))


async def test_a_raise_that_changes_nothing_is_refused(shop: Market) -> None:
    shown = await signed(shop, amount_range={"min": 5})
    with pytest.raises(ValidationFailed, match="Nothing is to be changed"):
        await ask(shop, "raise_mandate", mandate_id=shown.id)
    with pytest.raises(ValidationFailed, match="`max_amount`"):
        await ask(shop, "raise_mandate", mandate_id=shown.id, max_amount=4)


async def test_the_same_key_signs_once(shop: Market) -> None:
    async def create(budget: int) -> Any:
        ctx = Context(shop, idempotency_key="one")
        return await capabilities()["create_mandate"].call(ctx, {"budget": budget})

    first, again = await create(50), await create(50)
    assert first == again
    with pytest.raises(BrokerError) as refused:
        await create(60)
    assert refused.value.status == 422
    assert len((await ask(shop, "list_mandates")).items) == 1


async def test_an_agent_cannot_sign_for_itself(shop: Market) -> None:
    key = await ask(shop, "create_key", name="agent")
    agent = Context(shop, Caller("agent", AGENT_SCOPES, agent_key_id=key.id))
    for name, asked in (
        ("create_mandate", {"budget": 1}),
        ("raise_mandate", {"mandate_id": "x", "budget": 1}),
        ("revoke_mandate", {"mandate_id": "x"}),
        ("list_mandates", {}),
        ("create_key", {"name": "other"}),
        ("revoke_key", {"key": "x"}),
        ("list_keys", {}),
    ):
        with pytest.raises(NotAllowed):
            await capabilities()[name].call(agent, asked)


async def test_nothing_is_signed_when_the_key_cannot_be_kept(market: Market, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    settings = Settings(data_dir=tmp_path, owner_key=str(blocked / "owner.key"))
    other = Market(settings, clock=market.clock)
    await stocked(other, made("runpod:h100:eu-ro-1", "3.10"))
    with pytest.raises(BrokerError) as refused:
        await signed(other)
    assert refused.value.status == 503
    assert (await ask(other, "list_mandates", all=True)).items == []
    await other.close()
