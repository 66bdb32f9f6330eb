"""One key, one call: what is begun once, what is answered again, what may be tried again, and what is audited."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from market import audit, commitment
from market.audit_verification import verify
from market.commitment import IN_FLIGHT, KEPT, LONGEST_KEY, Commitment
from market.context import LOCAL_OWNER, Caller, Context, Market
from market.errors import IdempotencyConflict, InFlight, StorageFailed, ValidationFailed
from market.settings import Settings
from tests.conftest import ManualClock
from tests.house import ROOT

BODY = '{"quote_id":"quote-1","max_total":12.5}'


@pytest.fixture
async def market(database_url: str, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Market]:
    """A market, once on each database."""
    opened = Market(Settings(data_dir=tmp_path / "data", database_url=database_url), clock=clock)
    yield opened
    await opened.close()


def _ctx(market: Market, key: str | None = "key-1", caller: Caller = LOCAL_OWNER) -> Context:
    return Context(market, caller, trace_id="f" * 32, idempotency_key=key)


async def _of(ctx: Context, request: str = BODY, operation: str = "book_quote") -> Commitment:
    return await Commitment.of(ctx, operation=operation, request=request)


async def _begun(ctx: Context, request: str = BODY, subject: str = "booking-1") -> Commitment:
    """A call that has begun its work and is still at it."""
    made = await _of(ctx, request)
    assert await made.answer() is None
    async with (await ctx.market.store()).write() as connection:
        await made.begin(connection, action="booking.requested", subject=subject, details={"total": "12.5"})
    return made


async def _told(market: Market) -> list[tuple[str, str]]:
    """Action and subject of every entry of the audit log."""
    return [(entry.action, entry.subject) async for entry in audit.export(await market.store())]


async def test_the_same_key_and_body_get_the_stored_answer(market: Market) -> None:
    first = await _begun(_ctx(market))
    await first.done('{"booking_id":"booking-1"}')
    again = await _of(_ctx(market), '{"max_total": 12.50, "quote_id": "quote-1"}')
    assert await again.answer() == '{"booking_id":"booking-1"}'
    assert again.subject is None
    assert await _told(market) == [("booking.requested", "booking-1"), ("book_quote.done", "booking-1")]


async def test_another_body_or_operation_under_the_key_is_a_conflict(market: Market) -> None:
    first = await _begun(_ctx(market))
    for _ in range(2):  # in flight, then answered
        with pytest.raises(IdempotencyConflict, match="another request") as caught:
            await (await _of(_ctx(market), '{"quote_id":"quote-2","max_total":12.5}')).answer()
        assert caught.value.status == 422
        with pytest.raises(IdempotencyConflict):
            await (await _of(_ctx(market), operation="extend_booking")).answer()
        await first.done("{}")


async def test_callers_do_not_share_keys(market: Market) -> None:
    await (await _begun(_ctx(market))).done('"of the owner"')
    agent = Caller("agent", frozenset({"*"}), agent_key_id="key-abc")
    for caller in (agent, replace(agent, agent_key_id="key-xyz"), replace(agent, agent_key_id=None)):
        made = await _of(_ctx(market, caller=caller))
        assert await made.answer() is None
        assert made.subject is None


async def test_a_call_in_flight_is_told_with_when_to_ask_again(market: Market, clock: ManualClock) -> None:
    await _begun(_ctx(market))
    with pytest.raises(InFlight) as caught:
        await (await _of(_ctx(market))).answer()
    assert (caught.value.status, caught.value.retryable) == (409, True)
    assert caught.value.details["retry_after_seconds"] == 5
    clock.advance(IN_FLIGHT - timedelta(seconds=1))
    with pytest.raises(InFlight) as caught:
        await (await _of(_ctx(market))).answer()
    assert caught.value.details["retry_after_seconds"] == 1


async def test_what_a_dead_call_had_begun_is_found_by_one_of_those_who_repeat_it(
    market: Market, clock: ManualClock
) -> None:
    await _begun(_ctx(market))
    clock.advance(IN_FLIGHT)
    calls = [await _of(_ctx(market)) for _ in range(20)]
    results = await asyncio.gather(*(one.answer() for one in calls), return_exceptions=True)
    assert sum(isinstance(one, InFlight) for one in results) == 19
    (taken_up,) = [one for one in calls if one.subject is not None]
    assert taken_up.subject == "booking-1"
    await taken_up.done('"found"')
    assert await (await _of(_ctx(market))).answer() == '"found"'
    assert await _told(market) == [("booking.requested", "booking-1"), ("book_quote.done", "booking-1")]


async def test_one_that_takes_up_the_work_may_begin_it_anew(market: Market, clock: ManualClock) -> None:
    await _begun(_ctx(market))
    clock.advance(IN_FLIGHT)
    again = await _of(_ctx(market))
    assert await again.answer() is None
    async with (await market.store()).write() as connection:
        await again.begin(connection, action="booking.requested", subject="booking-2", details={})
    await again.done('"second"')
    assert await (await _of(_ctx(market))).answer() == '"second"'


async def test_a_slow_call_that_ends_after_another_took_it_up_changes_no_answer(
    market: Market, clock: ManualClock
) -> None:
    slow = await _begun(_ctx(market))
    clock.advance(IN_FLIGHT)
    other = await _of(_ctx(market))
    assert await other.answer() is None
    await slow.failed("PROVIDER_ERROR")
    with pytest.raises(InFlight):  # the other one's minute is its own
        await (await _of(_ctx(market))).answer()
    await other.done('"of the other"')
    await slow.done('"of the slow one"')
    assert await (await _of(_ctx(market))).answer() == '"of the other"'


async def test_a_refusal_before_anything_was_begun_stores_nothing(market: Market) -> None:
    refused = await _of(_ctx(market))
    assert await refused.answer() is None
    await refused.failed("MANDATE_REFUSED")
    await refused.done("{}")
    other_body = await _of(_ctx(market), "{}")
    assert await other_body.answer() is None
    assert await _told(market) == []


async def test_an_error_after_the_beginning_is_not_stored_and_the_next_call_learns_the_subject(
    market: Market,
) -> None:
    first = await _begun(_ctx(market))
    await first.failed("PROVIDER_ERROR")
    again = await _of(_ctx(market))
    assert await again.answer() is None
    assert again.subject == "booking-1"
    entries = [entry async for entry in audit.export(await market.store())]
    assert [entry.action for entry in entries] == ["booking.requested", "book_quote.failed"]
    told = {"code": "PROVIDER_ERROR", "intent": 1, "outcome": "failed", "trace": "f" * 32}
    assert json.loads(entries[1].details) == told


async def test_what_was_rolled_back_leaves_the_key_free_and_no_entry(market: Market) -> None:
    made = await _of(_ctx(market))

    async def fail() -> None:
        async with (await market.store()).write() as connection:
            await made.begin(connection, action="booking.requested", subject="booking-1", details={})
            raise LookupError("after the beginning")

    with pytest.raises(LookupError):
        await fail()
    await made.failed("INTERNAL_ERROR")
    assert await _told(market) == []
    assert await (await _of(_ctx(market), "{}")).answer() is None


async def test_two_that_begin_at_the_same_time_are_told_apart_by_the_database(market: Market) -> None:
    first, second = [await _of(_ctx(market)) for _ in range(2)]
    assert [await one.answer() for one in (first, second)] == [None, None]
    store = await market.store()
    async with store.write() as connection:
        await first.begin(connection, action="a", subject="booking-1", details={})

    async def begin(one: Commitment) -> None:
        async with store.write() as connection:
            await one.begin(connection, action="a", subject="booking-2", details={})

    with pytest.raises(InFlight):
        await begin(second)
    other_body = await _of(_ctx(market), "{}")
    with pytest.raises(IdempotencyConflict):
        await begin(other_body)
    assert await _told(market) == [("a", "booking-1")]


async def test_a_key_is_remembered_for_a_day(market: Market, clock: ManualClock) -> None:
    await (await _begun(_ctx(market))).done('"first"')
    clock.advance(KEPT - timedelta(seconds=1))
    assert await (await _of(_ctx(market))).answer() == '"first"'
    clock.advance(timedelta(seconds=1))
    later = await _begun(_ctx(market), "{}", subject="booking-2")
    await later.done('"second"')
    assert await (await _of(_ctx(market), "{}")).answer() == '"second"'


async def test_keys_whose_day_is_over_are_removed(market: Market, clock: ManualClock) -> None:
    await (await _begun(_ctx(market, "old"))).done("{}")
    clock.advance(KEPT / 2)
    await (await _begun(_ctx(market, "new"))).done("{}")
    clock.advance(KEPT / 2)
    async with (await market.store()).write() as connection:
        assert await commitment.prune(connection, clock.now()) == 1
    assert await (await _of(_ctx(market, "new"))).answer() == "{}"


async def test_a_key_in_the_request_wins_and_is_no_part_of_the_body(market: Market) -> None:
    keyed = '{"idempotency_key":"in-the-body","quote_id":"quote-1","max_total":12.5}'
    await (await _begun(_ctx(market, "in-the-header"), keyed)).done('"done"')
    assert await (await _of(_ctx(market, "in-the-body"))).answer() == '"done"'
    assert await (await _of(_ctx(market, "in-the-header"))).answer() is None


@pytest.mark.parametrize("key", ["", "x" * (LONGEST_KEY + 1), "two\nlines", "null\x00"])
async def test_a_key_nobody_could_store_is_refused(market: Market, key: str) -> None:
    with pytest.raises(ValidationFailed, match=str(LONGEST_KEY)):
        await _of(_ctx(market, key))


async def test_the_longest_key_is_taken(market: Market) -> None:
    await (await _begun(_ctx(market, "ü" * LONGEST_KEY))).done('"kept"')
    assert await (await _of(_ctx(market, "ü" * LONGEST_KEY))).answer() == '"kept"'


async def test_without_a_key_every_call_does_its_work_and_is_audited(market: Market) -> None:
    for number in range(2):
        made = await _begun(_ctx(market, None), subject=f"booking-{number}")
        await made.done("{}")
    assert [action for action, _ in await _told(market)] == ["booking.requested", "book_quote.done"] * 2


async def test_answers_rest_encrypted(market: Market) -> None:
    await (await _begun(_ctx(market))).done('{"secret":"hunter2"}')
    async with (await market.store()).read() as connection:
        (kept,) = (await connection.execute(text("SELECT answer FROM idempotency"))).scalars()
    assert "hunter2" not in kept
    (market.settings.data_dir / "seal.key").write_bytes(bytes(32))
    with pytest.raises(StorageFailed, match="seal key"):
        await (await _of(_ctx(market))).answer()


async def test_what_was_done_is_answered_though_its_outcome_cannot_be_recorded(
    market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    made = await _begun(_ctx(market))
    async with (await market.store()).write() as connection:
        await connection.execute(text("DELETE FROM audit_head"))
    with caplog.at_level(logging.ERROR, "gpubroker"):
        await made.done("{}")
        await made.failed("PROVIDER_ERROR")
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_nothing_may_be_spent_when_the_intent_cannot_be_anchored(market: Market) -> None:
    made = await _begun(_ctx(market))
    market.settings.data_dir.mkdir(exist_ok=True)
    (market.settings.data_dir / ".audit.head.new").symlink_to("/dev/full")
    with pytest.raises(StorageFailed, match="Nothing is spent"):
        await made.anchored()


async def test_the_outcome_is_anchored_too(market: Market) -> None:
    made = await _begun(_ctx(market))
    await made.anchored()
    await made.done("{}")
    found = await verify(await market.store(), market.settings)
    assert found.ok
    assert found.anchor == found.head
    assert found.head.seq == 2


_REPEATING = """
import asyncio, json, sys
from pathlib import Path
from market.context import Context, Market
from market.errors import InFlight
from market.settings import Settings
from tools.capability import capabilities
WORK = dict(gpu="H100-SXM", model="Llama 2 7B", precision="fp16", batch=1, engine="vllm 0.6.3", tokens_per_second=80,
            source="us", measured_at="2026-01-01")
async def main():
    market = Market(Settings(data_dir=Path(sys.argv[2]), database_url=sys.argv[1]))
    await market.store()
    put, answers, waiting = capabilities()["put_benchmark"], set(), 0
    async def one():
        nonlocal waiting
        try:
            answers.add((await put.call(Context(market, idempotency_key="the-key"), WORK)).model_dump_json())
        except InFlight:
            waiting += 1
    for _ in range(20):
        await asyncio.gather(*(one() for _ in range(25)))
    await market.close()
    print(json.dumps({"answers": sorted(answers), "waiting": waiting}))
asyncio.run(main())
"""


def _repeating(url: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", _REPEATING, url, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
async def test_of_a_thousand_calls_with_one_key_in_two_processes_one_begins(market: Market) -> None:
    store = await market.store()
    started = [_repeating(market.settings.store_url, market.settings.data_dir) for _ in range(2)]
    said = [await asyncio.to_thread(one.communicate) for one in started]
    assert [one.returncode for one in started] == [0, 0], said
    found = [json.loads(out) for out, _ in said]
    assert found[0]["answers"] == found[1]["answers"]
    assert len(found[0]["answers"]) == 1
    begun = [entry.action async for entry in audit.export(store)]
    assert begun == ["benchmark.recorded", "put_benchmark.done"]
    assert (await verify(store, market.settings)).ok
