"""Search: every filter, every page, and what to loosen when nothing matches."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import jsonschema
import pytest

from market.context import Market
from market.errors import CursorExpired, ValidationFailed
from tests.conftest import ManualClock
from tests.market.offer_samples import made, token_offer
from tests.tools.conftest import ask, stocked
from tools.capability import capabilities

LISTED = (
    made("aws:h100:us-east-1", "4", name="p5 node", tags=("gdpr", "soc2"), availability="available"),
    made("aws:h100:eu-west-1", "5", region="eu-west-1", country="IE", area="eu-west", cpu_arch="x86_64"),
    made("aws:h100:eu-west-1:spot", "2", region="eu-west-1", country="IE", area="eu-west", pricing="spot"),
    made("vast:a100x8:global", "8", provider="vast", gpu="A100-SXM4-80GB", gpu_raw="A100", gpu_count=8, region="global",
         country=None, area=None, security_tier="community"),
    made("vast:4090:de", "0.5", provider="vast", gpu="RTX-4090", gpu_raw="RTX 4090", memory_gb=24.0, country="DE",
         region="Washington, US", area=None, bookable=True, availability="limited"),
    made("runpod:mig:us", "1.5", provider="runpod", gpu_fraction=1 / 7, memory_gb=10.0, pricing="reserved_1y"),
    token_offer(),
)  # fmt: skip


async def _ids(market: Market, **filters: Any) -> set[str]:
    return {item.id for item in (await ask(market, "search_offers", **filters)).items}


@pytest.fixture
async def shop(market: Market) -> Market:
    return await stocked(market, *LISTED)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, {0, 1, 2, 3, 4, 5}),
        ({"q": "node p5"}, {0}),
        ({"q": "soc2"}, {0}),
        ({"gpu": "H100"}, {0, 1, 2, 5}),
        ({"gpu": "h100 sxm, rtx 4090"}, {0, 1, 2, 4, 5}),
        ({"gpu_count": 8}, {3}),
        ({"gpu_count_min": 2}, {3}),
        ({"memory_gb_min": 80}, {0, 1, 2, 3}),
        ({"gpu_memory_max": 24}, {4, 5}),
        ({"total_memory_gb_min": 640}, {3}),
        ({"max_price": 2}, {2, 4, 5}),
        ({"price_min": "4"}, {0, 1, 3}),
        ({"max_price_per_gpu": 1}, {3, 4}),
        ({"region": "eu"}, {1, 2, 4}),
        ({"region": "Ireland"}, {1, 2}),
        ({"region": "us-east-1"}, {0, 5}),
        ({"region": "Washington, US"}, {4}),
        ({"provider": "VAST"}, {3, 4}),
        ({"availability": "available,limited"}, {0, 4}),
        ({"pricing": "spot"}, {2}),
        ({"pricing": ["reserved"]}, {5}),
        ({"pricing": "token"}, {6}),
        ({"tags": "GDPR, soc2"}, {0}),
        ({"cpu_arch": "x86_64"}, {1}),
        ({"security_tier": "community"}, {3}),
        ({"bookable": "true"}, {4}),
    ],
)
async def test_each_filter_finds_its_offers(shop: Market, filters: dict[str, Any], found: set[int]) -> None:
    assert await _ids(shop, **filters) == {LISTED[at].id for at in found}


@pytest.mark.parametrize(
    ("sort", "first"),
    [("price", 4), ("price_asc", 4), ("-price", 3), ("price_desc", 3), ("price_per_gpu", 4), ("memory", 1)],
)
async def test_each_order_has_its_first(shop: Market, sort: str, first: int) -> None:
    assert (await ask(shop, "search_offers", sort=sort)).items[0].id == LISTED[first].id


@pytest.mark.parametrize("sort", ["price", "-price", "price_per_gpu", "performance_per_dollar", "freshness", "memory"])
async def test_walking_the_cursor_meets_every_offer_once(seeded: Market, sort: str) -> None:
    met: list[str] = []
    cursor, asked = None, {"gpu": "A100", "sort": sort, "limit": 50}
    total = (await ask(seeded, "search_offers", **asked)).total
    while True:
        page = await ask(seeded, "search_offers", **asked, **({"cursor": cursor} if cursor else {}))
        assert page.total == total
        met += [item.id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert total > 100
    assert len(met) == len(set(met)) == total


async def test_pages_by_number_are_the_same_walk(seeded: Market) -> None:
    pages = [await ask(seeded, "search_offers", gpu="L40S", page=number, per_page=7) for number in range(1, 7)]
    met = [item.id for page in pages for item in page.items]
    assert len(met) == len(set(met)) == pages[0].total
    assert (pages[1].page, pages[1].per_page) == (2, 7)
    assert len((await ask(seeded, "search_offers", page=1)).items) == 20
    assert len((await ask(seeded, "search_offers", page=1, limit=3)).items) == 3
    assert len((await ask(seeded, "search_offers")).items) == 10


async def test_a_cursor_of_another_query_or_an_old_or_a_broken_one_is_refused(shop: Market, clock: ManualClock) -> None:
    cursor = (await ask(shop, "search_offers", limit=2)).next_cursor
    with pytest.raises(CursorExpired, match="another query"):
        await ask(shop, "search_offers", limit=2, gpu="H100", cursor=cursor)
    with pytest.raises(CursorExpired, match="damaged"):
        await ask(shop, "search_offers", limit=2, cursor=cursor[:-9])
    with pytest.raises(ValidationFailed, match="exclude each other"):
        await ask(shop, "search_offers", page=2, cursor=cursor)
    assert (await ask(shop, "search_offers", limit=5, cursor=cursor)).items
    clock.advance(timedelta(minutes=61))
    with pytest.raises(CursorExpired, match="older than an hour"):
        await ask(shop, "search_offers", limit=2, cursor=cursor)


async def test_a_cursor_of_an_older_catalogue_goes_on_and_says_so(shop: Market) -> None:
    cursor = (await ask(shop, "search_offers", limit=2)).next_cursor
    await stocked(shop, made("oracle:new:us", "9", provider="oracle"))
    page = await ask(shop, "search_offers", limit=2, cursor=cursor)
    assert "Prices changed since the first page" in page.warnings[0]


@pytest.mark.parametrize(
    "filters",
    [
        {"gpu": "H100", "max_price": "0.1"},
        {"gpu": "A100", "gpu_count": 3},
        {"gpu": "RTX 4090", "max_price_per_gpu": "0.2"},
        {"q": "node", "region": "eu"},
        {"gpu": "RTX 4090", "memory_gb_min": 40},
        {"provider": "vast", "pricing": "spot"},
        {"gpu": "A100", "gpu_count": 3, "max_price": 1},
        {"tags": "gdpr", "availability": "limited"},
        {"price_min": 6, "max_price": 1},
        {"gpu": "A100", "gpu_count_min": 20},
    ],
)
async def test_every_way_out_of_an_empty_answer_finds_what_it_promises(shop: Market, filters: dict[str, Any]) -> None:
    empty = await ask(shop, "search_offers", **filters)
    assert (empty.total, empty.items) == (0, [])
    assert empty.relax
    for way in empty.relax:
        names = way.constraint.split(", ")
        changes = [way.change] if len(names) == 1 else [part.partition(": ")[2] for part in way.change.split("; ")]
        followed = dict(filters)
        for name, change in zip(names, changes, strict=True):
            assert name in capabilities()["search_offers"].argument_names()
            assert name in filters, f"{name} was not asked"
            if change == "leave it out":
                del followed[name]
            else:
                followed[name] = Decimal(change.rsplit(" ", 1)[1])
        found = await ask(shop, "search_offers", **followed)
        assert found.total == way.total > 0, (way, followed)
        assert min(item.price_per_hour_usd or item.price_per_hour for item in found.items) == way.cheapest_per_hour


@pytest.mark.parametrize(
    ("filters", "nearest"),
    [
        ({"gpu": "H1OO"}, "H100"),
        ({"gpu": ["H100", "RTX 4O90"]}, "RTX-4090"),
        ({"region": "germny"}, "germany"),
        ({"provider": "vasst"}, "vast"),
    ],
)
async def test_an_unknown_name_is_refused_with_the_nearest(shop: Market, filters: dict[str, Any], nearest: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await ask(shop, "search_offers", **filters)
    assert nearest in caught.value.next_step
    assert nearest in caught.value.details["nearest"]  # type: ignore[operator]


async def test_a_known_provider_without_offers_is_no_unknown_name(seeded: Market) -> None:
    page = await ask(seeded, "search_offers", provider="kaggle")
    assert page.total == 0
    assert page.relax[0].constraint == "provider"


async def test_a_default_answer_is_short_and_text_and_structure_say_the_same(seeded: Market) -> None:
    for name in ("search_offers", "market_overview", "rank_offers"):
        item = capabilities()[name]
        result = await ask(seeded, name)
        text, structured = result.brief(), result.model_dump(mode="json", exclude_none=True)
        assert len(text) <= 6_750, name
        assert json.loads(text) == structured
        jsonschema.validate(structured, item.result.model_json_schema(mode="serialization"))


async def test_an_answer_about_longest_names_is_still_short(market: Market) -> None:
    wordy = [
        made(f"aws:{'long-' * 8}{n}:us-east-1", "4", name="8x NVIDIA H100 80GB HBM3 all included", cpu_cores=208.0,
             ram_gb=1_800.0, gpu_count=8, tags=("gdpr", "soc2"), availability="available")
        for n in range(10)
    ]  # fmt: skip
    await stocked(market, *wordy)
    assert len((await ask(market, "search_offers")).brief()) <= 6_750


async def test_a_share_of_a_card_shows_no_price_of_a_card(shop: Market) -> None:
    (item,) = (await ask(shop, "search_offers", provider="runpod")).items
    assert (item.gpu_fraction, item.price_per_gpu_hour, item.price_per_hour) == (1 / 7, None, Decimal("1.5"))


async def test_what_a_source_has_not_confirmed_in_time_is_stale(shop: Market, clock: ManualClock) -> None:
    assert {item.stale for item in (await ask(shop, "search_offers")).items} == {None}
    clock.advance(timedelta(minutes=31))
    page = await ask(shop, "search_offers")
    assert {item.stale for item in page.items} == {True}
    assert page.warnings == ["Not confirmed lately: aws, runpod, vast."]
