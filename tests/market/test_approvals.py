"""An approval is asked once, decided once by whatever way, used once, and for exactly what was asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update

from market import approvals, audit, quote_book
from market.approval_states import Approval, Via
from market.context import LOCAL_OWNER, Caller
from market.errors import ApprovalRequired, Conflict, NotFound
from market.procurement_tables import approvals as table
from market.procurement_tables import outbox
from market.settings import Settings
from market.store import Store
from tests.conftest import ManualClock
from tests.market.purchases import quote

AGENT = Caller("an agent", frozenset({"*"}), agent_key_id="key-one")
HUNDRED = Decimal("100")


class Desk:
    """The store with what every question here has in common."""

    def __init__(self, store: Store, settings: Settings, clock: ManualClock) -> None:
        self.store, self.settings, self.clock = store, settings, clock

    async def ask(self, subject: str = "extend:abc:1", **facts: Any) -> Approval:
        """A question about this subject."""
        asked: dict[str, Any] = {
            "subject": subject,
            "caller": AGENT,
            "mandate_id": "mandate-one",
            "summary": "Ten hours more.",
            "amount": HUNDRED,
            "now": self.clock.now(),
        }
        return await approvals.ask(self.store, self.settings, **(asked | facts))

    async def decide(self, approval: Approval, approved: bool = True, via: Via = "cli") -> Approval:
        """A person's answer."""
        return await approvals.decide(
            self.store, self.settings, approval.id, approved=approved, by="owner", via=via, now=self.clock.now()
        )

    async def use(self, approval: Approval, *, fails: bool = False, **facts: Any) -> None:
        """The purchase, or one that fails after it used the approval."""
        used: dict[str, Any] = {
            "subject": approval.subject,
            "caller": AGENT,
            "mandate_id": "mandate-one",
            "amount": HUNDRED,
            "now": self.clock.now(),
        }
        async with self.store.write() as connection:
            await approvals.use(connection, self.settings, **(used | facts))
            if fails:
                raise RuntimeError

    async def told(self) -> list[str]:
        """The kinds of events in the outbox."""
        async with self.store.read() as connection:
            return list((await connection.execute(select(outbox.c.kind).order_by(outbox.c.id))).scalars())

    async def refusal(self, approval: Approval, **facts: Any) -> str:
        """Why it cannot be used."""
        with pytest.raises(Conflict) as refused:
            await self.use(approval, **facts)
        return str(refused.value.details["reason"])


@pytest.fixture
def desk(store: Store, tmp_path: Path, clock: ManualClock) -> Desk:
    """A desk over each database."""
    return Desk(store, Settings(data_dir=tmp_path), clock)


async def test_the_same_question_is_asked_once_and_told_once(desk: Desk) -> None:
    first = await desk.ask()
    assert await desk.ask() == first
    assert (await approvals.find(desk.store, desk.settings, first.id)) == first
    assert await desk.told() == ["approval.requested"]
    assert await approvals.waiting_count(desk.store, AGENT.identity, desk.clock.now()) == 1


async def test_many_who_ask_at_once_get_the_same_question(desk: Desk) -> None:
    asked = await asyncio.gather(*(desk.ask() for _ in range(8)))
    assert len({approval.id for approval in asked}) == 1


async def test_whatever_way_it_is_approved_it_can_be_used_once(desk: Desk) -> None:
    for via in get_args(Via):
        approval = await desk.ask(f"extend:{via}:1")
        with pytest.raises(ApprovalRequired) as required:
            await desk.use(approval)
        assert required.value.approval_id == approval.id
        decided = await desk.decide(approval, via=via)
        assert (decided.state(desk.clock.now()), decided.decided_via, decided.decided_by) == ("approved", via, "owner")
        await desk.use(approval)
        assert await desk.refusal(approval) == "used"
        assert (await desk.ask(approval.subject)).state(desk.clock.now()) == "used"


async def test_of_many_purchases_on_one_approval_exactly_one_is_made(desk: Desk) -> None:
    approval = await desk.ask()
    await desk.decide(approval)
    outcomes = await asyncio.gather(*(desk.use(approval) for _ in range(10)), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(outcome is None or isinstance(outcome, Conflict) for outcome in outcomes)


async def test_of_many_answers_the_first_stands(desk: Desk) -> None:
    approval = await desk.ask()
    answers = await asyncio.gather(
        *(desk.decide(approval, approved=n % 2 == 0) for n in range(8)), return_exceptions=True
    )
    assert sum(isinstance(answer, Approval) for answer in answers) == 1
    found = await approvals.find(desk.store, desk.settings, approval.id)
    assert found in answers
    assert await desk.told() == ["approval.requested", "approval.decided"]


async def test_a_decided_approval_says_who_decided_when_decided_again(desk: Desk) -> None:
    approval = await desk.ask()
    await desk.decide(approval, approved=False)
    with pytest.raises(Conflict, match="declined by owner"):
        await desk.decide(approval, approved=True)
    assert await desk.refusal(approval) == "declined"


async def test_what_was_not_asked_is_not_approved(desk: Desk) -> None:
    approval = await desk.ask()
    await desk.decide(approval)
    assert await desk.refusal(approval, amount=HUNDRED + Decimal("0.000001")) == "amount"
    assert await desk.refusal(approval, caller=LOCAL_OWNER) == "caller"
    assert await desk.refusal(approval, mandate_id="mandate-two") == "mandate"
    assert await desk.refusal(approval, subject="extend:abc:2") == "missing"
    await desk.use(approval)


async def test_a_purchase_that_fails_leaves_the_approval_unused(desk: Desk) -> None:
    approval = await desk.ask()
    await desk.decide(approval)
    with pytest.raises(RuntimeError):
        await desk.use(approval, fails=True)
    await desk.use(approval)


async def test_after_a_day_a_question_is_over_and_may_be_asked_anew(desk: Desk) -> None:
    undecided, decided = await desk.ask("extend:a:1"), await desk.ask("extend:b:1")
    await desk.decide(decided)
    desk.clock.advance(timedelta(hours=24))
    with pytest.raises(Conflict, match="was over"):
        await desk.decide(undecided)
    assert await desk.refusal(decided) == "expired"
    assert await approvals.waiting_count(desk.store, AGENT.identity, desk.clock.now()) == 0
    anew = await desk.ask("extend:b:1")
    assert (anew.id != decided.id, anew.state(desk.clock.now())) == (True, "waiting")


async def test_an_approval_ends_with_its_quote(desk: Desk) -> None:
    made = quote(desk.clock.now(), caller=AGENT.identity)
    async with desk.store.write() as connection:
        await quote_book.add(connection, desk.settings, made)
    assert (await desk.ask(made.id)).expires_at == made.expires_at


async def test_a_question_that_changed_before_it_was_decided_is_asked_anew(desk: Desk) -> None:
    small = await desk.ask()
    large = await desk.ask(amount=HUNDRED * 2)
    assert large.id != small.id
    with pytest.raises(NotFound):
        await desk.decide(small)
    await desk.decide(large)
    with pytest.raises(Conflict, match="another amount"):
        await desk.ask(amount=HUNDRED * 3)


CHANGES: list[dict[str, Any]] = [
    {"amount": HUNDRED * 9},
    {"caller": "key-two"},
    {"mandate_id": "mandate-two"},
    {"summary": "Something harmless."},
    {"expires_at": ManualClock().now() + timedelta(days=9)},
    {"decision": "approved", "decided_by": "owner", "decided_via": "cli", "decided_at": ManualClock().now()},
    {"seal": ""},
]


async def test_a_changed_row_can_be_neither_decided_nor_used(desk: Desk) -> None:
    for number, change in enumerate(CHANGES):
        approval = await desk.ask(f"extend:abc:{number}")
        async with desk.store.write() as connection:
            await connection.execute(update(table).where(table.c.id == approval.id).values(**change))
        with pytest.raises(Conflict, match="changed"):
            await desk.decide(approval)
        assert await desk.refusal(approval) == "changed", change
    assert await approvals.listed(desk.store, desk.settings, now=desk.clock.now(), waiting=False) == []


async def test_a_decline_turned_into_a_yes_or_a_use_taken_back_is_refused(desk: Desk) -> None:
    declined, used = await desk.ask("extend:a:1"), await desk.ask("extend:b:1")
    await desk.decide(declined, approved=False)
    await desk.decide(used)
    await desk.use(used)
    async with desk.store.write() as connection:
        await connection.execute(update(table).values(decision="approved", used_at=None))
    assert await desk.refusal(declined) == "changed"
    assert await desk.refusal(used) == "changed"


async def test_the_list_has_what_waits_oldest_first(desk: Desk) -> None:
    first = await desk.ask("extend:a:1")
    desk.clock.advance(timedelta(minutes=1))
    second = await desk.ask("extend:b:1", caller=LOCAL_OWNER)
    desk.clock.advance(timedelta(minutes=1))
    decided = await desk.decide(await desk.ask("extend:c:1"))
    now = desk.clock.now()
    assert await approvals.listed(desk.store, desk.settings, now=now) == [first, second]
    assert await approvals.listed(desk.store, desk.settings, now=now, caller=AGENT.identity) == [first]
    assert await approvals.listed(desk.store, desk.settings, now=now, waiting=False) == [decided, second, first]


async def test_the_link_opens_one_approval_and_no_other(desk: Desk) -> None:
    approval, other = await desk.ask("extend:a:1"), await desk.ask("extend:b:1")
    public = Settings(data_dir=desk.settings.data_dir, public_url="https://gpu.example/broker/")
    address = urlsplit(await approvals.link(public, approval))
    assert (address.netloc, address.path) == ("gpu.example", f"/broker/approvals/{approval.id}")
    (signature,) = parse_qs(address.query)["sig"]
    assert approvals.link_holds(desk.settings, approval, signature)
    assert not approvals.link_holds(desk.settings, other, signature)
    assert not approvals.link_holds(desk.settings, approval, signature[:-1] + ("0" if signature[-1] != "0" else "1"))
    assert not approvals.link_holds(desk.settings, replace(approval, expires_at=desk.clock.now()), signature)


async def test_an_id_nobody_could_have_given_is_not_found(desk: Desk) -> None:
    for name in ("", "approval-none", "a\0b", "é" * 500, "' OR 1=1 --"):
        assert await approvals.find(desk.store, desk.settings, name) is None


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "ftp://gpu.example", "https://", "https://me@gpu.example", "https://gpu.example/?a"],
)
def test_links_lead_to_web_addresses_only(address: str) -> None:
    with pytest.raises(ValidationError):
        Settings(public_url=address)


async def test_question_and_answer_are_in_the_audit_log(desk: Desk) -> None:
    approval = await desk.ask()
    await desk.decide(approval, via="link")
    told = [(entry.actor, entry.action, entry.subject) async for entry in audit.export(desk.store)]
    assert told == [
        (AGENT.identity, "approval.requested", approval.id),
        ("owner", "approval.decided", approval.id),
    ]
