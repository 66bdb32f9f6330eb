"""A quote fixes what is bought, tells all it may cost and what the mandate says; what cannot be promised is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import func, update

from adapters.sandbox import Sandbox
from market import agent_keys, catalogue, quote_book
from market.context import LOCAL_OWNER, Caller, Market
from market.errors import BrokerError, Conflict, MandateRefused, NotFound, ValidationFailed
from market.offers import Offer, offer_id
from market.procurement_tables import quotes
from tests.buying import Buying, opened
from tests.conftest import ManualClock
from tests.market.offer_samples import made, token_offer
from tests.tools.conftest import ask, stocked
from tools import legs

EVERYTHING = Decimal(100_000)


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buying]:
    """A calm cloud beside a catalogue of its offers."""
    async with opened(tmp_path, clock) as found:
        yield found


async def agent(buying: Buying, **mandate: Any) -> Caller:
    """An agent with a key, and with a mandate when limits are given."""
    key = await buying.asks("create_key", name="tester")
    if mandate:
        await buying.asks("create_mandate", agent=key.id, **mandate)
    return await agent_keys.caller_behind(await buying.store(), key.id, buying.clock.now())


async def kept(buying: Buying, quote_id: str, caller: Caller = LOCAL_OWNER) -> quote_book.Quote:
    """The quote in the book."""
    settings = buying.market.settings
    return await quote_book.get(await buying.store(), settings, quote_id, caller, buying.clock.now())


async def test_a_quote_is_itemised_live_and_kept_as_shown(buying: Buying) -> None:
    shown = await buying.quoted(disk_gb=200, egress_gb=50, count=3)
    (leg,) = shown.legs
    assert sum(line.amount for line in leg.lines) == leg.expected_total == shown.expected_total
    assert {line.unit for line in leg.lines} == {"instance hour", "disk hour", "GB"}
    assert shown.worst_total > shown.expected_total
    assert (leg.live, leg.bookable, shown.bookable, shown.warnings) == (True, True, True, None)
    quote = await kept(buying, shown.quote_id)
    assert (quote.expected_total, quote.worst_total) == (shown.expected_total, shown.worst_total)
    assert quote.expires_at == shown.expires_at == buying.clock.now() + timedelta(minutes=10)
    assert (quote.terms.instance_count, quote.terms.disk_gb, quote.terms.legs[0].priced_live) == (3, 200, True)


async def test_spot_is_priced_as_spot_and_expires_sooner(buying: Buying) -> None:
    spot = await buying.quoted(await buying.offer("spot"))
    assert spot.legs[0].pricing == "spot"
    assert spot.legs[0].lines[0].item.endswith("spot")
    assert spot.expires_at == buying.clock.now() + timedelta(minutes=5)
    on_demand = spot.legs[0].offer_id.removesuffix(":spot")
    dearer = await buying.quoted(on_demand)
    assert dearer.legs[0].price_per_hour > spot.legs[0].price_per_hour


async def test_a_live_price_that_differs_from_the_catalogue_is_used_and_said(buying: Buying) -> None:
    chosen = await buying.offer()
    listed = await buying.quoted(chosen)
    store, now = await buying.store(), buying.clock.now()
    stored = await catalogue.offer(store, chosen)
    assert stored is not None
    cheap = replace(stored.offer, price_per_hour=Decimal("0.01"), price_per_hour_usd=Decimal("0.01"))
    await catalogue.record(store, "sandbox", [cheap], seen_at=now, complete=False)
    shown = await buying.quoted(chosen)
    assert shown.legs[0].price_per_hour == listed.legs[0].price_per_hour
    assert any("differs from the listed 0.010000 USD and is used" in said for said in shown.warnings)


@pytest.mark.parametrize("fault", ["reset", "server_error", "truncated"])
async def test_without_a_live_price_the_catalogue_stands_and_that_is_said(buying: Buying, fault: Any) -> None:
    buying.world.dial.set(fault, endpoint="price")
    shown = await buying.quoted()
    assert not shown.legs[0].live
    assert any("price from the catalogue; asking for a live one failed" in said for said in shown.warnings)


async def test_a_provider_that_does_not_answer_is_waited_for_no_longer_than_the_cap(
    buying: Buying, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_self: Sandbox, *_asked: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(Sandbox, "live_price", silent)
    monkeypatch.setattr(legs, "LIVE_PRICE_SECONDS", 0.01)
    shown = await buying.quoted()
    assert any("no live one in time" in said for said in shown.warnings)


async def test_a_failover_plan_names_equal_offers_elsewhere_and_the_dearest_of_them_is_the_worst(
    buying: Buying,
) -> None:
    shown = await buying.quoted(failover=True)
    assert len(shown.legs) == 3
    assert len({(leg.provider, leg.region) for leg in shown.legs}) == 3
    assert len({(leg.gpu, leg.pricing) for leg in shown.legs}) == 1
    assert shown.worst_total == max(leg.worst_total for leg in shown.legs)
    assert shown.expected_total == shown.legs[0].expected_total
    dearest = max(leg.price_per_hour for leg in shown.legs[1:])
    assert dearest <= shown.legs[0].price_per_hour * Decimal("1.5")
    tight = await buying.quoted(failover=True, max_price=float(shown.legs[0].price_per_hour) / 2)
    assert len(tight.legs) == 1


async def test_a_plan_of_named_offers_keeps_their_order(buying: Buying) -> None:
    first, second = await buying.offer(skip=1), await buying.offer()
    shown = await buying.asks("quote_offer", offers=[first, second, first], duration_hours=4)
    assert [leg.offer_id for leg in shown.legs] == [first, second]
    assert [leg.offer_id for leg in (await kept(buying, shown.quote_id)).terms.legs] == [first, second]


async def test_the_owner_may_book_the_sandbox_and_is_told_what_is_left(buying: Buying) -> None:
    verdict = (await buying.quoted()).mandate
    assert (verdict.allowed, verdict.needs_approval, verdict.violations) == (True, False, [])
    assert verdict.mandate_id == "mandate-sandbox"
    await buying.books()
    assert (await buying.quoted()).mandate.remaining == verdict.remaining - await buying.held()


async def test_an_agent_without_a_mandate_is_quoted_and_told_what_it_lacks(buying: Buying) -> None:
    shown = await buying.quoted(caller=await agent(buying))
    assert (shown.mandate.allowed, shown.mandate.mandate_id) == (False, None)
    (violation,) = shown.mandate.violations
    assert violation["constraint"] == "mandate"
    assert "gpubroker mandate create" in violation["would_pass"]


async def test_every_violation_says_what_would_pass(buying: Buying) -> None:
    caller = await agent(buying, budget=1, max_hours=2, gpus=["B200"], currencies=["EUR"], max_concurrent=1)
    shown = await buying.quoted(caller=caller, count=8, duration_hours=100)
    found = {violation["constraint"]: violation for violation in shown.mandate.violations}
    assert found.keys() == {"budget", "max_hours", "gpus", "currencies", "max_concurrent"}
    assert found["max_hours"]["excess"] == 98
    assert found["budget"]["excess"] == pytest.approx(float(shown.worst_total) - 1)
    assert all(violation["would_pass"] for violation in found.values())
    assert (shown.mandate.allowed, shown.legs[0].allowed) == (False, False)
    assert (await kept(buying, shown.quote_id, caller)).terms.mandate_id is None


async def test_what_others_hold_is_not_left_for_this_quote(buying: Buying) -> None:
    one = await buying.quoted(duration_hours=10)
    caller = await agent(buying, budget=round(float(one.worst_total) * 1.5, 2))
    first = await buying.quoted(caller=caller, duration_hours=10)
    assert first.mandate.allowed
    await buying.asks(
        "book_quote", caller=caller, quote_id=first.quote_id, idempotency_key="first", max_total=EVERYTHING
    )
    second = await buying.quoted(caller=caller, duration_hours=10)
    (violation,) = second.mandate.violations
    assert violation["constraint"] == "budget"
    assert Decimal(str(violation["allowed"])) == second.mandate.remaining < second.worst_total


async def test_above_the_threshold_a_person_must_approve_and_gets_the_time_for_it(buying: Buying) -> None:
    caller = await agent(buying, budget=1000, approval_above=0.5)
    small = await buying.quoted(caller=caller, duration_hours=0.5)
    large = await buying.quoted(caller=caller, duration_hours=40)
    assert (small.mandate.needs_approval, large.mandate.needs_approval) == (False, True)
    assert large.mandate.allowed
    assert large.expires_at == buying.clock.now() + timedelta(minutes=60)


async def test_the_mandate_with_the_fewest_objections_speaks(buying: Buying) -> None:
    caller = await agent(buying, budget=1000, gpus=["B200"])
    wide = await buying.asks("create_mandate", agent=caller.agent_key_id, budget=1000)
    shown = await buying.quoted(caller=caller)
    assert (shown.mandate.mandate_id, shown.mandate.allowed) == (wide.id, True)
    assert (await kept(buying, shown.quote_id, caller)).terms.mandate_id == wide.id


async def test_a_leg_the_mandate_forbids_is_marked(buying: Buying) -> None:
    shown = await buying.quoted(failover=True)
    region = shown.legs[0].region
    caller = await agent(buying, budget=1000, regions=[region], failover=True)
    judged = await buying.quoted(shown.legs[0].offer_id, caller=caller, failover=True)
    assert [leg.allowed for leg in judged.legs] == [leg.region == region for leg in judged.legs]
    assert judged.mandate.allowed


async def test_an_offer_nobody_can_book_is_summed_up_and_says_so(market: Market) -> None:
    await stocked(market, made())
    shown = await ask(market, "quote_offer", offer_id="aws:a:us-east-1", duration_hours=24)
    assert (shown.bookable, shown.legs[0].bookable, shown.legs[0].live) == (False, False, False)
    assert shown.expected_total == 60
    assert any(legs.NOT_BOOKABLE in said for said in shown.warnings)
    assert not shown.mandate.allowed


async def test_a_plan_whose_legs_share_a_place_or_differ_is_warned_of(market: Market) -> None:
    twin = made("aws:b:us-east-1", "3")
    spot = made("aws:a:eu-west-1:spot", "1", pricing="spot", region="eu-west-1", gpu="A100-80GB")
    await stocked(market, made(), twin, spot)
    shown = await ask(market, "quote_offer", offers=["aws:a:us-east-1", twin.id, spot.id], duration_hours=1)
    said = " ".join(shown.warnings)
    assert "fail together" in said
    assert "differ in GPU" in said
    assert "differ in pricing" in said


def elsewhere(provider: str, region: str, price: str, **facts: Any) -> Offer:
    """The usual machine of another provider or region."""
    identity = offer_id(provider, "a", region, facts.get("pricing", "on_demand"))
    return made(identity, price, provider=provider, region=region, **facts)


async def test_alternatives_are_equal_machines_of_other_providers_first(market: Market) -> None:
    first = made()
    near_by = elsewhere("aws", "us-west-2", "2.4")
    await stocked(
        market,
        first,
        near_by,
        elsewhere("aws", "us-east-1", "2.3", name="same place"),
        elsewhere("runpod", "eu-ro-1", "2.6"),
        elsewhere("vast", "somewhere", "2.7", gpu_count=8),
        elsewhere("lambdalabs", "us-south-1", "2.8", gpu="A100-80GB"),
        elsewhere("crusoe", "us-east-1", "2.9", pricing="spot"),
        elsewhere("nebius", "eu-north-1", "2.2", availability="unavailable"),
        elsewhere("sandbox", "eu-north", "0.5"),
        elsewhere("verda", "fin-01", "9"),
    )
    shown = await ask(market, "quote_offer", offer_id=first.id, duration_hours=1, failover=True)
    assert [leg.offer_id for leg in shown.legs] == [first.id, "runpod:a:eu-ro-1", near_by.id]


async def test_an_unknown_offer_is_refused_with_the_nearest(market: Market) -> None:
    await stocked(market, made())
    with pytest.raises(NotFound) as refused:
        await ask(market, "quote_offer", offer_id="aws:a:us-east-2", duration_hours=1)
    assert refused.value.details["nearest"] == ["aws:a:us-east-1"]


async def test_an_offer_that_is_gone_is_refused(market: Market, clock: ManualClock) -> None:
    await stocked(market, made(), made("aws:b:us-east-1"))
    await catalogue.record(await market.store(), "aws", [made()], seen_at=clock.now(), complete=True)
    await market.refresh()
    with pytest.raises(NotFound, match="gone"):
        await ask(market, "quote_offer", offer_id="aws:b:us-east-1", duration_hours=1)


async def test_a_price_that_is_neither_fresh_nor_live_is_not_promised(buying: Buying) -> None:
    chosen = await buying.offer()
    buying.world.down = True
    buying.clock.advance(timedelta(minutes=20))
    with pytest.raises(Conflict, match="too long ago") as refused:
        await buying.quoted(chosen)
    assert "gpubroker sync sandbox" in refused.value.next_step


async def test_a_stale_offer_nobody_can_book_is_only_warned_of(market: Market, clock: ManualClock) -> None:
    await stocked(market, made())
    clock.advance(timedelta(hours=2))
    shown = await ask(market, "quote_offer", offer_id="aws:a:us-east-1", duration_hours=1)
    assert any("last confirmed at" in said for said in shown.warnings)


async def test_a_model_sold_by_the_token_is_refused(market: Market) -> None:
    offer = token_offer()
    await stocked(market, offer)
    with pytest.raises(ValidationFailed, match="by the token"):
        await ask(market, "quote_offer", offer_id=offer.id, duration_hours=1)


async def test_longer_than_the_provider_rents_is_refused_and_left_out_of_alternatives(market: Market) -> None:
    short = elsewhere("runpod", "eu-ro-1", "2.6", max_rental_minutes=60)
    await stocked(market, made(), short)
    with pytest.raises(ValidationFailed) as refused:
        await ask(market, "quote_offer", offer_id=short.id, duration_hours=2)
    assert refused.value.details == {"max_duration_hours": 1, "offer_id": short.id}
    shown = await ask(market, "quote_offer", offer_id="aws:a:us-east-1", duration_hours=2, failover=True)
    assert [leg.offer_id for leg in shown.legs] == ["aws:a:us-east-1"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"duration_hours": 0},
        {"duration_hours": -1},
        {"duration_hours": "NaN"},
        {"duration_hours": float("inf")},
        {"duration_hours": 8_761},
        {"duration_hours": None},
        {"count": 0},
        {"count": -3},
        {"count": 65},
        {"disk_gb": -1},
        {"egress_gb": float("nan")},
        {"max_price": 0},
        {"offers": []},
        {"offers": ["a"] * 6},
        {"offers": [""]},
        {"currency": "EUR"},
    ],
)
async def test_an_argument_that_makes_no_sense_is_refused(market: Market, wrong: dict[str, Any]) -> None:
    arguments = {"offers": ["aws:a:us-east-1"], "duration_hours": 1, **wrong}
    with pytest.raises(ValidationFailed):
        await ask(market, "quote_offer", **arguments)
    async with (await market.store()).read() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM quotes")).scalar() == 0


async def refusal_of_booking(buying: Buying, quote_id: str, caller: Caller = LOCAL_OWNER) -> BrokerError:
    """Why this quote cannot be booked; the cloud has no machine afterwards that it had not before."""
    before = buying.running()
    with pytest.raises(BrokerError) as refused:
        await buying.asks(
            "book_quote", caller=caller, quote_id=quote_id, idempotency_key=quote_id, max_total=EVERYTHING
        )
    assert buying.running() == before
    return refused.value


async def test_a_foreign_expired_used_or_changed_quote_books_nothing(buying: Buying) -> None:
    caller = await agent(buying, budget=1000)
    foreign = await buying.quoted()
    assert isinstance(await refusal_of_booking(buying, foreign.quote_id, caller), NotFound)

    used = await buying.quoted()
    await buying.books(used)
    assert (await refusal_of_booking(buying, used.quote_id)).details["reason"] == "used"

    changed = await buying.quoted()
    async with (await buying.store()).write() as connection:
        terms = quotes.c.terms
        cheaper = func.replace(terms, '"price_per_hour":"', '"price_per_hour":"0.0')
        await connection.execute(update(quotes).where(quotes.c.id == changed.quote_id).values(terms=cheaper))
    assert (await refusal_of_booking(buying, changed.quote_id)).details["reason"] == "changed"

    expired = await buying.quoted()
    buying.clock.advance(timedelta(minutes=10))
    assert (await refusal_of_booking(buying, expired.quote_id)).details["reason"] == "expired"


async def test_a_currency_the_mandate_does_not_name_books_nothing(buying: Buying) -> None:
    caller = await agent(buying, budget=1000, currencies=["EUR"])
    shown = await buying.quoted(caller=caller)
    assert [violation["constraint"] for violation in shown.mandate.violations] == ["currencies"]
    refused = await refusal_of_booking(buying, shown.quote_id, caller)
    assert isinstance(refused, MandateRefused)
    assert not buying.running()


async def test_a_quote_that_was_refused_can_be_booked_once_the_mandate_is_raised(buying: Buying) -> None:
    caller = await agent(buying, budget=1)
    shown = await buying.quoted(caller=caller, duration_hours=10)
    assert isinstance(await refusal_of_booking(buying, shown.quote_id, caller), MandateRefused)
    (mandate,) = (await buying.asks("spend_status", caller=caller)).mandates
    await buying.asks("raise_mandate", mandate_id=mandate.mandate_id, budget=100)
    await buying.asks(
        "book_quote", caller=caller, quote_id=shown.quote_id, idempotency_key="raised", max_total=EVERYTHING
    )
    assert len(buying.running()) == 1
