"""Webhooks arrive signed, at least once, until three days are over; a dead host holds nobody up."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from market import webhook_book
from market.context import Caller, Context, Market
from market.errors import NotFound, ValidationFailed
from market.webhook_signature import HEADER, verify_signature
from tests.conftest import ManualClock
from tests.tools.conftest import ask
from tests.tools.receivers import HOOK, Receivers, delivered, happens, hook
from tools.capability import capabilities
from tools.delivery import CALLS_AT_ONE_HOST, Courier, queue_events


@pytest.fixture
def receivers() -> Receivers:
    return Receivers()


@pytest.fixture
def courier(market: Market, receivers: Receivers, clock: ManualClock) -> Courier:
    start = clock.now()
    return Courier(
        market, callout=receivers, monotonic=lambda: (clock.now() - start).total_seconds(), jitter=lambda: 1.0
    )


async def test_an_event_arrives_once_signed_with_the_secret_that_was_shown(
    market: Market, courier: Courier, receivers: Receivers
) -> None:
    made = await hook(market)
    await happens(market)
    assert await delivered(market, courier) == 1
    assert await delivered(market, courier) == 0
    ((url, body, headers),) = receivers.calls
    assert url == HOOK
    assert json.loads(body) == {
        "id": int(headers["GPUBroker-Event-Id"]),
        "type": "booking.active",
        "at": "2026-01-15T12:00:00Z",
        "subject": "s0",
        "data": {"n": 0},
    }
    now = market.clock.now()
    assert verify_signature(made.secret, headers[HEADER], body, now)
    assert not verify_signature(made.secret, headers[HEADER], body + b" ", now)
    (shown,) = (await ask(market, "list_webhooks")).items
    assert shown.secret is None
    assert made.secret not in (await _everything_stored(market))


async def _everything_stored(market: Market) -> str:
    store = await market.store()
    async with store.read() as connection:
        tables = ("webhooks", "webhook_deliveries", "idempotency", "audit_log", "outbox")
        rows = [(await connection.exec_driver_sql(f"SELECT * FROM {name}")).all() for name in tables]  # noqa: S608
    return str(rows)


async def test_only_the_kinds_asked_for_arrive_and_only_the_owners(
    market: Market, courier: Courier, receivers: Receivers
) -> None:
    agent = Context(market, Caller("bot", frozenset({"*"}), agent_key_id="key-1"))
    create = capabilities()["create_webhook"]
    await create.call(agent, {"url": "https://agent.example/", "events": ["booking.*"]})
    await hook(market, "https://all.example/")
    await hook(market, "https://prices.example/", events=["prices.changed", "alert.fired"])
    await happens(market, "booking.active", owner="key-1")
    await happens(market, "booking.active", owner="local-owner")
    await happens(market, "alert.fired", owner="local-owner")
    await happens(market, "prices.changed", owner="")
    await delivered(market, courier)
    assert [one["type"] for one in receivers.bodies("agent.example")] == ["booking.active"]
    assert sorted(one["type"] for one in receivers.bodies("all.example")) == [
        "alert.fired",
        "booking.active",
        "booking.active",
    ]
    assert sorted(one["type"] for one in receivers.bodies("prices.example")) == ["alert.fired", "prices.changed"]


async def test_what_happened_before_there_was_a_webhook_is_not_sent(
    market: Market, courier: Courier, clock: ManualClock
) -> None:
    await happens(market)
    clock.advance(timedelta(seconds=1))
    await hook(market)
    assert await delivered(market, courier) == 0


async def test_a_failed_call_is_tried_again_later_and_later(
    market: Market, courier: Courier, receivers: Receivers, clock: ManualClock
) -> None:
    receivers.statuses["hooks.example"] = 500
    made = await hook(market)
    await happens(market)
    assert await delivered(market, courier) == 1
    waits = []
    for _ in range(3):
        (one,) = (await ask(market, "list_deliveries", webhook_id=made.id)).items
        assert (one.state, one.response_status, one.error) == ("waiting", 500, "status 500")
        wait = one.next_attempt_at - clock.now()
        waits.append(wait.total_seconds())
        clock.advance(wait - timedelta(seconds=1))
        assert await courier.round() == 0
        clock.advance(timedelta(seconds=1))
        assert await courier.round() == 1
    assert waits == [30, 60, 120]
    receivers.statuses["hooks.example"] = 204
    clock.advance(timedelta(hours=1))
    await courier.round()
    (one,) = (await ask(market, "list_deliveries", webhook_id=made.id)).items
    assert (one.state, one.attempts) == ("delivered", 5)
    assert len({headers["GPUBroker-Event-Id"] for _, _, headers in receivers.calls}) == 1


async def test_a_redirect_is_a_failure_that_is_not_followed(
    market: Market, courier: Courier, receivers: Receivers
) -> None:
    receivers.statuses["hooks.example"] = 302
    made = await hook(market)
    await happens(market)
    await delivered(market, courier)
    (one,) = (await ask(market, "list_deliveries", webhook_id=made.id)).items
    assert (one.state, one.error) == ("waiting", "status 302, and redirects are not followed")


async def test_after_three_days_without_a_word_the_webhook_is_disabled_and_says_so(
    market: Market, courier: Courier, receivers: Receivers, clock: ManualClock
) -> None:
    receivers.statuses["hooks.example"] = None
    made = await hook(market)
    witness = await hook(market, "https://witness.example/", events=["webhook.*"])
    await happens(market, times=2)
    for _ in range(200):
        clock.advance(timedelta(minutes=30))
        await delivered(market, courier)
    (told,) = receivers.bodies("witness.example")
    assert (told["type"], told["subject"]) == ("webhook.disabled", made.id)
    shown = {one.id: one for one in (await ask(market, "list_webhooks")).items}
    assert shown[made.id].disabled_reason.startswith("nothing arrived for three days")
    assert shown[made.id].disabled_at - made.created_at >= timedelta(days=3)
    assert shown[witness.id].disabled_at is None
    assert {one.state for one in (await ask(market, "list_deliveries", webhook_id=made.id)).items} == {"given_up"}
    calls = len(receivers.calls)
    await happens(market)
    clock.advance(timedelta(days=1))
    await delivered(market, courier)
    assert len(receivers.calls) == calls
    # Once mended, what was missed is sent again with the same event ids.
    receivers.statuses["hooks.example"] = 200
    missed = {one.event_id for one in (await ask(market, "list_deliveries", webhook_id=made.id)).items}
    replayed = await ask(market, "replay_deliveries", webhook_id=made.id, since=made.created_at.isoformat())
    assert replayed.queued == 2
    for _ in range(2):  # one call tries the host out, the other follows
        await delivered(market, courier)
        clock.advance(timedelta(minutes=3))
    assert {one["id"] for one in receivers.bodies()[-2:]} == missed


async def test_one_that_is_gone_for_good_is_disabled_at_once(
    market: Market, courier: Courier, receivers: Receivers
) -> None:
    receivers.statuses["hooks.example"] = 410
    await hook(market)
    await happens(market)
    await delivered(market, courier)
    (shown,) = (await ask(market, "list_webhooks")).items
    assert "410" in shown.disabled_reason


async def test_a_thousand_webhooks_of_a_dead_host_hold_nobody_up(
    market: Market, courier: Courier, receivers: Receivers, clock: ManualClock
) -> None:
    store = await market.store()
    first = await hook(market)
    (sample,) = await webhook_book.of_owner(store, "local-owner")
    async with store.write() as connection:
        for number in range(1_000):
            await webhook_book.add(
                connection,
                webhook_book.Webhook(
                    id=f"webhook-{number:016x}",
                    owner="local-owner",
                    url=f"https://dead.example/{number}",
                    sealed_secret=sample.sealed_secret,
                    events=("*",),
                    created_at=clock.now(),
                ),
            )
    receivers.hanging["dead.example"] = asyncio.Event()
    receivers.statuses["dead.example"] = None
    await happens(market, times=3)
    while await queue_events(market):
        pass
    sending = asyncio.create_task(courier.round())
    await receivers.heard("hooks.example", 3)
    assert len(receivers.bodies("dead.example")) == CALLS_AT_ONE_HOST, "the dead host still hangs with the first two"
    assert not sending.done()
    receivers.hanging["dead.example"].set()
    await sending
    assert receivers.most_at_once["dead.example"] == CALLS_AT_ONE_HOST
    assert len(receivers.bodies("dead.example")) <= 6, "the breaker opened after four"
    (one, two, three) = (await ask(market, "list_deliveries", webhook_id=first.id)).items
    assert {one.state, two.state, three.state} == {"delivered"}


async def test_while_a_secret_is_replaced_both_sign_and_then_only_the_new_one(
    market: Market, courier: Courier, receivers: Receivers, clock: ManualClock
) -> None:
    old = await hook(market)
    new = await ask(market, "rotate_webhook_secret", webhook_id=old.id, overlap_hours=2)
    assert new.secret != old.secret
    for hours, old_holds in ((0, True), (2, False)):
        clock.advance(timedelta(hours=hours))
        await happens(market)
        await delivered(market, courier)
        _, body, headers = receivers.calls[-1]
        assert verify_signature(new.secret, headers[HEADER], body, clock.now())
        assert verify_signature(old.secret, headers[HEADER], body, clock.now()) is old_holds


async def test_one_delivery_is_replayed_with_its_event_id_and_a_fresh_signature(
    market: Market, courier: Courier, receivers: Receivers, clock: ManualClock
) -> None:
    made = await hook(market)
    await happens(market)
    await delivered(market, courier)
    (one,) = (await ask(market, "list_deliveries", webhook_id=made.id)).items
    clock.advance(timedelta(hours=1))
    assert (await ask(market, "replay_deliveries", webhook_id=made.id, delivery_id=one.id)).queued == 1
    await courier.round()
    (_, first, before), (_, second, after) = receivers.calls
    assert (first, before["GPUBroker-Event-Id"]) == (second, after["GPUBroker-Event-Id"])
    assert not verify_signature(made.secret, before[HEADER], second, clock.now())
    assert verify_signature(made.secret, after[HEADER], second, clock.now())
    for wrong, error in (({"delivery_id": "delivery-none"}, NotFound), ({}, ValidationFailed)):
        with pytest.raises(error):
            await ask(market, "replay_deliveries", webhook_id=made.id, **wrong)


async def test_two_couriers_send_each_delivery_once(
    market: Market, courier: Courier, receivers: Receivers, clock: ManualClock
) -> None:
    other = Courier(market, callout=receivers)
    await hook(market)
    await happens(market, times=5)
    while await queue_events(market):
        pass
    await asyncio.gather(courier.round(), other.round())
    assert sorted(one["data"]["n"] for one in receivers.bodies()) == [0, 1, 2, 3, 4]
