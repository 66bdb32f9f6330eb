"""The audit log at the door of those who check it: whole, readable with its hashes, and erased where a person asks."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from market import audit
from market.context import Caller, Context, Market
from market.errors import IdempotencyConflict, NotAllowed, StorageFailed, ValidationFailed
from tests.conftest import ManualClock
from tests.tools.conftest import ask
from tools.capability import capabilities

MEASURED = {
    "gpu": "H100-SXM",
    "model": "Llama 2 7B",
    "precision": "fp16",
    "batch": 1,
    "engine": "vllm 0.6.3",
    "tokens_per_second": 80,
    "source": "our own run",
    "measured_at": "2026-01-01",
}


async def _noted(market: Market, number: int, actor: str = "key-abc", **personal: str) -> None:
    async with (await market.store()).write() as connection:
        await audit.append(
            connection,
            at=market.clock.now(),
            actor=actor,
            action="mandate.created" if number % 2 else "booking.requested",
            subject=f"booking-{number}",
            details={"number": number},
            personal=personal or None,
        )
    await audit.anchor(market.settings, await market.store())


async def test_a_write_is_in_the_log_before_and_after_and_the_log_is_whole(market: Market) -> None:
    await ask(market, "put_benchmark", **MEASURED)
    page = await ask(market, "list_audit_entries")
    assert [(one.action, one.actor, one.subject) for one in page.items] == [
        ("benchmark.recorded", "local-owner", "benchmark:H100-SXM"),
        ("put_benchmark.done", "local-owner", "benchmark:H100-SXM"),
    ]
    verified = await ask(market, "verify_audit")
    assert (verified.intact, verified.entries, verified.problems) == (True, 2, [])
    assert verified.head == verified.anchor == page.head


async def test_a_repeated_key_writes_once_and_another_body_is_refused(market: Market) -> None:
    put, ctx = capabilities()["put_benchmark"], Context(market, idempotency_key="key-1")
    first = await put.call(ctx, MEASURED)
    assert (await put.call(ctx, MEASURED)).model_dump_json() == first.model_dump_json()
    with pytest.raises(IdempotencyConflict):
        await put.call(ctx, {**MEASURED, "tokens_per_second": 81})
    assert len((await ask(market, "list_audit_entries")).items) == 2


async def test_a_refused_write_leaves_no_entry_and_its_key_free(market: Market) -> None:
    put, ctx = capabilities()["put_benchmark"], Context(market, idempotency_key="key-1")
    with pytest.raises(ValidationFailed, match="future"):
        await put.call(ctx, {**MEASURED, "measured_at": "2027-01-01"})
    assert (await ask(market, "list_audit_entries")).items == []
    await put.call(ctx, MEASURED)


async def test_nothing_is_written_when_the_log_takes_nothing(market: Market) -> None:
    async with (await market.store()).write() as connection:
        await connection.execute(text("DELETE FROM audit_head"))
    with pytest.raises(StorageFailed, match="audit verify"):
        await ask(market, "put_benchmark", **MEASURED)
    assert (await ask(market, "get_benchmark", gpu="H100-SXM")).measured == []


async def test_tampering_is_told_with_its_place_and_what_to_do(market: Market) -> None:
    for number in range(3):
        await _noted(market, number)
    async with (await market.store()).write() as connection:
        await connection.execute(text("DROP TRIGGER audit_log_redaction_only"))
        await connection.execute(text("UPDATE audit_log SET actor = 'somebody-else' WHERE seq = 2"))
    verified = await ask(market, "verify_audit")
    assert not verified.intact
    assert [(one.seq, one.kind) for one in verified.problems] == [(2, "edited")]
    assert "Entry 2 was edited" in verified.problems[0].message
    assert "backup" in verified.problems[0].next_step


async def test_entries_are_paged_and_filtered(market: Market, clock: ManualClock) -> None:
    for number in range(7):
        await _noted(market, number, actor="key-abc" if number < 4 else "key-xyz")
        clock.advance(timedelta(hours=1))

    async def found(**filters: Any) -> list[int]:
        return [one.seq for one in (await ask(market, "list_audit_entries", **filters)).items]

    first = await ask(market, "list_audit_entries", limit=3)
    assert ([one.seq for one in first.items], first.next_after, first.head.seq) == ([1, 2, 3], 3, 7)
    last = await ask(market, "list_audit_entries", limit=4, after=first.next_after)
    assert ([one.seq for one in last.items], last.next_after) == ([4, 5, 6, 7], None)
    assert await found(actor="key-xyz") == [5, 6, 7]
    assert await found(subject="booking-2") == [3]
    assert await found(action="mandate.created", actor="key-abc") == [2, 4]
    assert await found(since="2026-01-15T17:00:00Z") == [6, 7]
    assert await found(subject="nobody") == []


async def test_an_entry_shows_all_that_its_hash_is_made_of(market: Market, clock: ManualClock) -> None:
    clock.advance(timedelta(microseconds=40))
    await _noted(market, 1, email="ada@example.org")
    (one,) = json.loads((await ask(market, "list_audit_entries")).model_dump_json())["items"]
    hashed = {name: one[name] for name in ("action", "actor", "at", "details", "personal_hash", "seq", "subject")}
    line = one["previous_hash"] + json.dumps(hashed, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(line.encode()).hexdigest() == one["hash"]
    assert hashlib.sha256(one["personal"].encode()).hexdigest() == one["personal_hash"]
    assert json.loads(one["personal"])["personal"] == {"email": "ada@example.org"}


async def test_personal_details_are_erased_and_the_log_stays_whole(market: Market) -> None:
    await _noted(market, 1, email="ada@example.org")
    await _noted(market, 2, email="ada@example.org")
    erased = await ask(market, "redact_audit", subject="booking-1", reason="case 7", idempotency_key="once")
    assert erased.redacted == 1
    assert (await ask(market, "redact_audit", subject="booking-1", reason="case 7", idempotency_key="once")) == erased
    page = await ask(market, "list_audit_entries")
    assert [one.personal is None for one in page.items] == [True, False, True, True]
    assert [one.action for one in page.items[2:]] == [audit.REDACTED, "redact_audit.done"]
    verified = await ask(market, "verify_audit")
    assert (verified.intact, verified.redacted) == (True, 1)
    assert (await ask(market, "redact_audit", actor="key-abc")).redacted == 1
    assert (await ask(market, "verify_audit")).intact


async def test_a_redaction_of_nobody_is_refused(market: Market) -> None:
    with pytest.raises(ValidationFailed, match="`subject` or `actor`"):
        await ask(market, "redact_audit", reason="everything")


@pytest.mark.parametrize("name", ["verify_audit", "list_audit_entries", "redact_audit"])
async def test_the_log_is_for_those_who_may_read_it(market: Market, name: str) -> None:
    agent = Caller("agent", frozenset({"market:read", "procure:spend"}))
    with pytest.raises(NotAllowed, match="audit:"):
        await capabilities()[name].call(Context(market, agent), {"subject": "booking-1"} if "redact" in name else {})


def test_no_tool_of_an_agent_reaches_the_log() -> None:
    doors = [item.doors for item in capabilities().values() if any("/audit/" in route for route in item.routes)]
    assert doors == [frozenset({"http"})] * 3
