"""A refusal counts: who searches, ranks or quotes after it sees that the offer could not be had, for an hour."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.sandbox import Sandbox
from adapters.sandbox_dial import Fault
from market import availability
from tests.buying import Buying, opened
from tests.conftest import ManualClock
from tools.sync import sync

HERE: dict[str, Any] = {"provider": ["sandbox"], "pricing": ["on_demand"]}


@pytest.fixture
async def buying(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Buying]:
    """A calm cloud beside an empty database."""
    async with opened(tmp_path, clock) as found:
        yield found


async def refused(buying: Buying, offer: str, times: int = 1) -> Any:
    """The answer to the last of so many bookings of this offer, none of which could be had."""
    booked: Any = None
    for _ in range(times):
        quote = await buying.quoted(offer)
        buying.world.dial.script("launch", [Fault("refusal", "no_capacity")])
        booked = await buying.books(quote)
    return booked


async def test_one_refusal_makes_an_offer_limited_for_search_and_sheet_at_once(buying: Buying) -> None:
    offer = await buying.offer()
    await refused(buying, offer)
    page = await buying.asks("search_offers", **HERE, availability=["available"], limit=50)
    assert {one.id: one.availability for one in page.items}[offer] == "limited"
    assert [said for said in page.warnings if offer in said and "refused once, last at" in said]
    sheet = await buying.asks("get_offer", id=offer)
    assert sheet.availability == "limited"
    assert sheet.availability_evidence == "listed, refused once, last at 2026-01-15 12:00 UTC"
    assert [said for said in sheet.warnings if "refused once" in said]


async def test_two_refusals_make_it_unavailable_until_it_is_listed_anew(buying: Buying) -> None:
    offer = await buying.offer()
    await refused(buying, offer, times=2)
    assert (await buying.asks("get_offer", id=offer)).availability == "unavailable"
    buying.clock.advance(timedelta(minutes=5))
    await sync(buying.market, [Sandbox], connect=buying.world.connect)
    await buying.market.refresh()
    sheet = await buying.asks("get_offer", id=offer)
    assert sheet.availability == "limited"
    assert "refused 2 times" in sheet.availability_evidence


async def test_an_hour_later_the_listing_counts_again(buying: Buying) -> None:
    offer = await buying.offer()
    await refused(buying, offer, times=2)
    buying.clock.advance(timedelta(minutes=61))
    sheet = await buying.asks("get_offer", id=offer)
    assert sheet.availability == "available"
    assert not [said for said in sheet.warnings or [] if "refused" in said]


async def test_ranking_by_availability_puts_what_was_refused_behind_its_equals(buying: Buying) -> None:
    wanted: dict[str, Any] = {"provider": ["sandbox"], "weights": {"price": 1, "availability": 1}, "limit": 20}
    before = await buying.asks("rank_offers", **wanted)
    first = before.items[0]
    wanted["gpu"] = [first.gpu]
    await refused(buying, first.id)
    after = await buying.asks("rank_offers", **wanted)
    places = {one.id: one.rank for one in after.items}
    assert places[first.id] > 1
    told = next(one for one in after.items if one.id == first.id)
    assert told.availability == "limited"
    assert "availability refused lately against available" in told.why
    assert [said for said in after.warnings if first.id in said]


async def test_a_failed_booking_proposes_equal_gpus_elsewhere_that_can_be_quoted(buying: Buying) -> None:
    offer = await buying.offer()
    booked = await refused(buying, offer)
    assert booked.state == "failed"
    proposed = booked.alternatives
    assert 1 <= len(proposed) <= 3
    assert offer not in proposed
    wanted = await buying.asks("get_offer", id=offer)
    for name in proposed:
        other = await buying.asks("get_offer", id=name)
        assert (other.gpu, other.gpu_count, other.pricing) == (wanted.gpu, wanted.gpu_count, wanted.pricing)
        assert other.region != wanted.region
        assert name in booked.next
    again = await buying.books(await buying.quoted(proposed[0]))
    assert again.state == "provisioning"
    assert again.alternatives == []


async def test_what_was_refused_lately_is_no_alternative_and_a_quote_of_it_warns(buying: Buying) -> None:
    offer = await buying.offer()
    first = (await refused(buying, offer)).alternatives[0]
    second = await refused(buying, first)
    assert offer not in second.alternatives
    plan = await buying.quoted(offer, failover=True)
    assert first not in [leg.offer_id for leg in plan.legs]
    assert [said for said in plan.warnings if offer in said and "refused once" in said]


async def test_searches_share_one_look_at_what_was_refused(buying: Buying, monkeypatch: pytest.MonkeyPatch) -> None:
    await refused(buying, await buying.offer())
    asked: list[object] = []
    looked = availability.recent

    async def counted(*arguments: object) -> object:
        asked.append(arguments)
        return await looked(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(availability, "recent", counted)
    monkeypatch.setattr(buying.market, "_version_check_seconds", 3_600)
    for _ in range(5):
        page = await buying.asks("search_offers", **HERE)
        assert [said for said in page.warnings if "refused once" in said]
    assert len(asked) <= 1
