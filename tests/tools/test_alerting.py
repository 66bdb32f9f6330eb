"""Alerts fire once for what they wait for, and not again until it has come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from market import alert_book, catalogue, outbox
from market.context import Caller, Context, Market
from market.errors import BrokerError, Conflict, MandateRefused, NotAllowed, NotFound, ValidationFailed
from market.offers import Offer
from tests.conftest import ManualClock
from tests.market.offer_samples import made
from tests.tools.conftest import ask, stocked
from tools.alerting import CONSUMER, Alerting, events_for
from tools.capability import capabilities

OFFER = "aws:a:us-east-1"
Prices = Callable[..., Awaitable[None]]


def offer(price: str, offer_id: str = OFFER, **facts: Any) -> Offer:
    return made(offer_id, price, **({"availability": "available"} | facts))


@pytest.fixture
async def prices(market: Market, clock: ManualClock) -> Prices:
    """Give the one offer another price (or others), as a sync does, some minutes later."""

    async def change(*offers: Offer | str) -> None:
        clock.advance(timedelta(minutes=5))
        listed = [offer(one) if isinstance(one, str) else one for one in offers]
        await catalogue.record(await market.store(), "aws", listed, seen_at=clock.now(), complete=True)

    await stocked(market, offer("3"))
    return change


async def fired(market: Market, judge: Alerting) -> list[dict[str, Any]]:
    """What was told since the last look."""
    await judge.round()
    store = await market.store()
    events = await outbox.read_after(store, "test")
    if events:
        await outbox.advance(store, "test", events[-1].position)
    return [event.payload for event in events if event.kind == "alert.fired"]


async def create(market: Market, **arguments: Any) -> Any:
    return await ask(market, "create_alert", **({"quiet_minutes": 0} | arguments))


async def test_a_price_alert_fires_once_and_again_only_after_the_price_has_come_back(
    market: Market, prices: Prices
) -> None:
    judge = Alerting(market)
    await create(market, offer_id=OFFER, when="price_below", threshold=2)
    assert await fired(market, judge) == []
    await prices("2")
    (told,) = await fired(market, judge)
    assert (told["old"], told["new"], told["offer_id"], told["measure"]) == ("3", "2", OFFER, "price_per_hour")
    await prices("1.5")
    assert await fired(market, judge) == []
    await prices("2.03")
    assert await fired(market, judge) == []
    await prices("1.9")
    assert await fired(market, judge) == [], "1.5 % above is within the margin: it never came back"
    await prices("2.05")
    assert await fired(market, judge) == []
    await prices("1.9")
    assert [one["new"] for one in await fired(market, judge)] == ["1.9"]
    (shown,) = (await ask(market, "list_alerts")).items
    assert (shown.times_fired, shown.state, shown.last_value) == (2, "fired", Decimal("1.9"))


async def test_what_holds_already_is_told_at_once(market: Market, prices: Prices) -> None:
    await create(market, offer_id=OFFER, when="price_above", threshold="2.9")
    assert [one["new"] for one in await fired(market, Alerting(market))] == ["3"]


async def test_the_same_events_read_twice_fire_nothing_twice(market: Market, prices: Prices) -> None:
    judge = Alerting(market)
    await create(market, offer_id=OFFER, when="price_below", threshold=2)
    await prices("1")
    assert len(await fired(market, judge)) == 1
    # Another process that missed the lease's change of hands: same place, memory from before.
    assert await fired(market, Alerting(market)) == []
    judge.forget()
    assert await fired(market, judge) == []


async def test_a_judge_with_an_old_memory_fires_nothing_that_another_has_fired(market: Market, prices: Prices) -> None:
    slow, quick = Alerting(market), Alerting(market)
    await create(market, offer_id=OFFER, when="price_below", threshold=2)
    await slow.round()
    await prices("1")
    store = await market.store()
    events = await outbox.read_after(store, CONSUMER)
    assert len(await fired(market, quick)) == 1
    index = slow._index
    assert index is not None
    judgement = index.judge(slow._changed(index, await market.refresh(), events), market.clock.now())
    assert len(judgement.fired) == 1
    await slow._settle(index, judgement, [], market.clock.now())
    assert await fired(market, slow) == []


async def test_a_move_is_measured_from_where_it_last_fired(market: Market, prices: Prices) -> None:
    judge = Alerting(market)
    await create(market, offer_id=OFFER, when="price_move", threshold=10)
    await prices("2.8")
    assert await fired(market, judge) == []
    await prices("2.7")
    assert [(one["old"], one["new"]) for one in await fired(market, judge)] == [("3", "2.7")]
    await prices("2.9")
    assert await fired(market, judge) == []
    await prices("2.97")
    assert [(one["old"], one["new"]) for one in await fired(market, judge)] == [("2.7", "2.97")]


async def test_in_the_quiet_period_nothing_is_told_and_after_it_what_still_holds(
    market: Market, prices: Prices, clock: ManualClock
) -> None:
    judge = Alerting(market)
    await create(market, offer_id=OFFER, when="price_below", threshold=2, quiet_minutes=60)
    await prices("1.9")
    assert len(await fired(market, judge)) == 1
    await prices("3")
    await fired(market, judge)
    await prices("1.8")
    assert await fired(market, judge) == []
    clock.advance(timedelta(minutes=49))
    assert await fired(market, judge) == []
    clock.advance(timedelta(minutes=1))
    assert [one["new"] for one in await fired(market, judge)] == ["1.8"]


async def test_a_restart_in_the_quiet_period_forgets_nothing(
    market: Market, prices: Prices, clock: ManualClock
) -> None:
    await create(market, offer_id=OFFER, when="price_below", threshold=2, quiet_minutes=60)
    judge = Alerting(market)
    for price in ("1.9", "3", "1.8"):
        await prices(price)
        await judge.round()
    again = Alerting(market)
    await fired(market, again)
    clock.advance(timedelta(hours=1))
    assert [one["new"] for one in await fired(market, again)] == ["1.8"]


async def test_an_expired_alert_says_so_and_fires_no_more(market: Market, prices: Prices, clock: ManualClock) -> None:
    judge = Alerting(market)
    await create(market, offer_id=OFFER, when="price_below", threshold=2, expires_in_hours=1)
    await judge.round()
    clock.advance(timedelta(hours=1))
    await prices("1")
    assert await fired(market, judge) == []
    (shown,) = (await ask(market, "list_alerts")).items
    assert shown.state == "expired"
    assert [event.kind for event in await events_for(market, "local-owner")] == ["alert.created", "alert.expired"]


async def test_availability_is_told_when_it_comes_and_not_while_it_stays(market: Market, prices: Prices) -> None:
    judge = Alerting(market)
    await prices(offer("3", availability="unavailable"))
    await create(market, offer_id=OFFER, when="available")
    await create(market, offer_id=OFFER, when="availability_change")
    assert await fired(market, judge) == []
    await prices(offer("3", availability="limited"))
    assert {(one["condition"], one["old"], one["new"]) for one in await fired(market, judge)} == {
        ("available", "unavailable", "limited"),
        ("availability_change", "unavailable", "limited"),
    }
    await prices(offer("3", availability="available"))
    assert [(one["condition"], one["new"]) for one in await fired(market, judge)] == [
        ("availability_change", "available")
    ]
    await prices()
    assert [(one["condition"], one["new"]) for one in await fired(market, judge)] == [
        ("availability_change", "unavailable")
    ]
    await prices("3")
    assert {one["condition"] for one in await fired(market, judge)} == {"available", "availability_change"}


async def test_a_gpu_in_a_region_is_watched_by_its_lowest_price_per_gpu(market: Market, prices: Prices) -> None:
    judge = Alerting(market)
    east = {"region": "us-east-1"}
    dear = offer("24", "aws:big:us-east-1", gpu_count=8)
    await prices("3", dear)
    await create(market, gpu="H100", when="price_below", threshold="2.5", **{"region": "us-east"})
    cheap_elsewhere = offer("1", "aws:b:eu-west-1", region="eu-west-1", country="IE", area="eu-west")
    spot, gone = (
        offer("1", "aws:s:us-east-1", pricing="spot"),
        offer("1", "aws:g:us-east-1", availability="unavailable"),
    )
    practice = offer("0.01", "sandbox:p:us-east-1", provider="sandbox")
    await prices("3", dear, cheap_elsewhere, spot, gone)
    await catalogue.record(await market.store(), "sandbox", [practice], seen_at=market.clock.now(), complete=True)
    assert await fired(market, judge) == []
    await prices("3", offer("18.4", "aws:big:us-east-1", gpu_count=8, **east), cheap_elsewhere)
    (told,) = await fired(market, judge)
    assert (told["offer_id"], told["measure"], told["new"]) == ("aws:big:us-east-1", "price_per_gpu_hour", "2.3")


async def test_a_search_is_watched_by_the_cheapest_it_finds(market: Market, prices: Prices) -> None:
    judge = Alerting(market)
    filters = {"gpu": "H100", "tags": "gdpr", "sort": "-price", "limit": 3}
    await create(market, filters=filters, when="price_below", threshold=2)
    await create(market, filters=filters, when="available")
    await prices("1")
    assert await fired(market, judge) == []
    await prices("1", offer("1.7", "aws:b:eu-west-1", tags=("gdpr",)))
    told = await fired(market, judge)
    assert {one["condition"] for one in told} == {"price_below", "available"}
    assert {one["offer_id"] for one in told} == {"aws:b:eu-west-1"}


async def test_an_unusual_price_is_told_once_there_is_a_history(
    market: Market, prices: Prices, clock: ManualClock
) -> None:
    judge = Alerting(market)
    await create(market, offer_id=OFFER, when="anomaly")
    for price in ("3.01", "2.99", "3.02", "2.98", "3", "3.01"):
        clock.advance(timedelta(days=1))
        await prices(price)
        assert await fired(market, judge) == []
    clock.advance(timedelta(days=1))
    await prices("1.5")
    (told,) = await fired(market, judge)
    assert float(told["new"]) < -3.5


async def test_a_deleted_alert_is_silent_and_a_strangers_cannot_be_deleted(market: Market, prices: Prices) -> None:
    judge = Alerting(market)
    alert = await create(market, offer_id=OFFER, when="price_below", threshold=2)
    stranger = Context(market, Caller("stranger", frozenset({"alerts:write", "alerts:read"})))
    with pytest.raises(NotFound):
        await capabilities()["delete_alert"].call(stranger, {"alert_id": alert.id})
    assert (await capabilities()["list_alerts"].call(stranger, {})).items == []
    await judge.round()
    await ask(market, "delete_alert", alert_id=alert.id)
    await prices("1")
    assert await fired(market, judge) == []
    with pytest.raises(NotFound):
        await ask(market, "list_alerts", alert_id=alert.id)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"when": "price_below", "threshold": 1}, ValidationFailed, "Nothing was given to watch"),
        ({"offer_id": OFFER, "gpu": "H100", "when": "available"}, ValidationFailed, "`offer_id` and `gpu`"),
        ({"offer_id": OFFER, "region": "eu", "when": "available"}, ValidationFailed, "`region` goes with `gpu`"),
        ({"offer_id": "aws:a:us-east-2", "when": "available"}, NotFound, "no offer"),
        ({"gpu": "H9000", "when": "available"}, ValidationFailed, "nothing is called `H9000`"),
        ({"gpu": "H100", "region": "mars", "when": "available"}, ValidationFailed, "nothing is called `mars`"),
        ({"search": "none", "when": "available"}, NotFound, "No saved search"),
        ({"filters": {"gup": "H100"}, "when": "available"}, ValidationFailed, "`gup`"),
        ({"filters": {"sort": "price"}, "when": "available"}, ValidationFailed, "empty"),
        ({"filters": {"gpu": "H9000"}, "when": "available"}, ValidationFailed, "H9000"),
        ({"offer_id": OFFER, "when": "price_below"}, ValidationFailed, "needs a `threshold`"),
        ({"offer_id": OFFER, "when": "price_below", "threshold": 0}, ValidationFailed, "above 0"),
        ({"offer_id": OFFER, "when": "available", "threshold": 1}, ValidationFailed, "takes no `threshold`"),
        ({"gpu": "H100", "when": "anomaly"}, ValidationFailed, "one offer's history"),
        ({"gpu": "A100", "when": "price_move", "threshold": 5}, ValidationFailed, "no hourly price now"),
        ({"offer_id": OFFER, "when": "available", "expires_in_hours": 0}, ValidationFailed, "at least 1"),
    ],
)
async def test_an_alert_that_makes_no_sense_is_refused_with_what_would(
    market: Market, prices: Prices, arguments: dict[str, Any], error: type[BrokerError], said: str
) -> None:
    with pytest.raises(error, match=said):
        await ask(market, "create_alert", **arguments)
    assert (await ask(market, "list_alerts")).items == []


async def test_nobody_has_more_alerts_than_the_bound(
    market: Market, prices: Prices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.alerts.MOST_LIVE", 1)
    await create(market, offer_id=OFFER, when="available")
    with pytest.raises(Conflict, match="already"):
        await create(market, offer_id=OFFER, when="available")


async def test_a_limit_order_needs_a_mandate_the_right_to_spend_and_a_price(market: Market, prices: Prices) -> None:
    arguments = {
        "offer_id": OFFER,
        "when": "price_below",
        "threshold": 2,
        "limit_order": {"max_total": 10, "duration_hours": 1},
    }
    create_alert = capabilities()["create_alert"]
    reader = Context(market, Caller("reader", frozenset({"alerts:write"})))
    with pytest.raises(NotAllowed, match="procure:spend"):
        await create_alert.call(reader, arguments)
    agent = Context(market, Caller("bot", frozenset({"*"}), agent_key_id="key-none"))
    with pytest.raises(MandateRefused):
        await create_alert.call(agent, arguments)
    with pytest.raises(ValidationFailed, match="limit order buys"):
        await create_alert.call(Context(market), {**arguments, "when": "price_above"})
    assert await alert_book.live(await market.store()) == []
