"""Vultr's GPU plans."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given

from adapters.vultr import Vultr
from market.errors import ProviderFailed
from tests.adapters.served import Served, by_id, read, sample, sound, spoiled, synced, untimed

ROWS = [row for page in sample("vultr")["routes"]["/v2/plans"] for row in page["plans"]]
ROWS += sample("vultr")["routes"]["/v2/plans-metal"]["plans_metal"]


def plan(**more: Any) -> dict[str, Any]:
    base = {"id": "vcg-l40s-16c-180g-48vram", "type": "vcg", "hourly_cost": Decimal("1.671"), "locations": ["ord"]}
    return base | {"gpu_type": "NVIDIA_L40S", "gpu_vram_gb": 48} | more


def plans(*rows: Any) -> dict[str, Any]:
    return {"plans": list(rows), "meta": {"total": len(rows), "links": {"next": "", "prev": ""}}}


@pytest.mark.requirement("FR-PROV-003")
@pytest.mark.requirement("FR-PROV-1")
@pytest.mark.requirement("FR-7.1")
async def test_a_whole_pass_follows_the_cursor_and_reads_both_lists() -> None:
    served = Served(sample("vultr")["routes"])
    offers, report = await synced(Vultr, served)
    assert set(by_id(offers)) == {
        "vultr:vcg-a100-1c-6g-4vram:ewr",
        "vultr:vcg-a16-2c-8g-2vram:ewr",
        "vultr:vcg-a16-2c-8g-2vram:blr",
        "vultr:vcg-l40s-32c-375g-96vram:ord",
        "vultr:vcg-h100-216c-1914gb-640vram:global",
        "vultr:vcg-mi325x-252c-2872g-1536vram:ord",
        "vultr:vbm-112c-2048gb-8-h100-gpu:sea",
        "vultr:vbm-112c-2048gb-8-h100-gpu:sea:spot",
        "vultr:vbm-64c-2048gb-8-l40-gpu:ord",
        "vultr:vbm-72c-480gb-gh200-gpu:atl",
    }
    assert report.rejects == {
        "price is not positive": 1,
        "cannot count GPUs of the unknown card NVIDIA_ZZ900": 1,
        "not sold on demand": 1,
        "unreadable row (TypeError)": 1,
    }
    assert [(request.url.path, request.url.params.get("cursor")) for request in served.asked] == [
        ("/v2/plans", None),
        ("/v2/plans", "bmV4dA=="),
        ("/v2/plans-metal", None),
    ]


async def test_a_cursor_that_repeats_itself_ends_the_list() -> None:
    page = plans(plan()) | {"meta": {"links": {"next": "again"}}}
    served = Served({"/v2/plans": page, "/v2/plans-metal": {"plans_metal": []}})
    await synced(Vultr, served)
    assert len([request for request in served.asked if request.url.path == "/v2/plans"]) == 2


@pytest.mark.requirement("PROP-2")
@pytest.mark.parametrize(
    ("sku", "card", "count", "memory_gb"),
    [
        ("vultr:vcg-l40s-32c-375g-96vram:ord", "L40S", 2, 48),
        ("vultr:vcg-h100-216c-1914gb-640vram:global", "H100-SXM", 8, 80),
        ("vultr:vcg-mi325x-252c-2872g-1536vram:ord", "MI325X", 8, 256),
        ("vultr:vbm-112c-2048gb-8-h100-gpu:sea", "H100-SXM", 8, 80),
        ("vultr:vbm-64c-2048gb-8-l40-gpu:ord", "L40S", 8, 48),
        ("vultr:vbm-72c-480gb-gh200-gpu:atl", "GH200", 1, 96),
    ],
)
async def test_total_memory_and_ids_give_count_and_memory_of_one_gpu(
    sku: str, card: str, count: int, memory_gb: float
) -> None:
    offer = by_id((await synced(Vultr, Served(sample("vultr")["routes"])))[0])[sku]
    assert (offer.gpu, offer.gpu_count, offer.memory_gb, offer.gpu_fraction) == (card, count, memory_gb, 1.0)


@pytest.mark.parametrize(
    ("gpu_type", "total_gb", "card", "fraction"),
    [("NVIDIA_A100", 4, "A100-PCIe-80GB", 0.05), ("NVIDIA_A16", 2, "A16", 0.125), ("NVIDIA_A40", 24, "A40", 0.5)],
)
def test_less_memory_than_one_card_is_a_fraction_of_it(
    gpu_type: str, total_gb: int, card: str, fraction: float
) -> None:
    offer = read(Vultr, plans(plan(gpu_type=gpu_type, gpu_vram_gb=total_gb)))[0][0]
    assert (offer.gpu, offer.gpu_count, offer.gpu_fraction, offer.memory_gb) == (card, 1, fraction, total_gb)
    assert "fraction" in offer.tags


@pytest.mark.parametrize("price", [0, "0", None, Decimal("0.0")])
def test_a_plan_without_a_price_is_never_an_offer(price: object) -> None:
    assert read(Vultr, plans(plan(hourly_cost=price, hourly_cost_preemptible=price)))[0] == []


def test_plans_without_a_gpu_are_not_our_business() -> None:
    free = {"id": "vc2-1c-0.5gb-free", "type": "vc2", "hourly_cost": 0, "locations": ["sea"]}
    offers, report = read(Vultr, plans(free))
    assert (offers, report.rows, report.rejects) == ([], 0, {})


@pytest.mark.parametrize("locations", [[], [""], None])
def test_a_plan_listed_nowhere_is_unavailable_and_keeps_its_price(locations: object) -> None:
    offer = read(Vultr, plans(plan(locations=locations)))[0][0]
    assert (offer.region, offer.availability) == ("global", "unavailable")
    assert offer.price_per_hour == Decimal("1.671")


def test_each_location_is_an_offer_with_its_evidence() -> None:
    offers, _ = read(Vultr, plans(plan(locations=["ord", "", "ewr"])))
    assert [(offer.region, offer.availability) for offer in offers] == [("ord", "available"), ("ewr", "available")]
    assert offers[0].availability_evidence == "the plan list names ord"


def test_a_preemptible_price_is_a_spot_offer_and_the_on_demand_one_shows_it() -> None:
    prices = {"hourly_cost": 24, "hourly_cost_preemptible": Decimal("14.5")}
    row = plan(id="vbm-112c-2048gb-8-h100-gpu", disk=3840, disk_count=8, **prices)
    on_demand, spot = read(Vultr, {"plans_metal": [row]})[0]
    assert (on_demand.pricing, on_demand.price_per_hour) == ("on_demand", Decimal(24))
    assert on_demand.spot_price == Decimal("14.5")
    assert (spot.pricing, spot.price_per_hour) == ("spot", Decimal("14.5"))
    assert on_demand.price_per_gpu_hour == 3
    assert on_demand.storage_gb == 8 * 3840


def test_what_is_only_preemptible_has_no_on_demand_offer() -> None:
    row = plan(id="vbm-112c-2048gb-8-h100-gpu", hourly_cost=24, hourly_cost_preemptible=14, deploy_ondemand=False)
    assert [offer.pricing for offer in read(Vultr, {"plans_metal": [row]})[0]] == ["spot"]


def test_memory_in_megabytes_becomes_gigabytes() -> None:
    offer = read(Vultr, plans(plan(ram=184320, vcpu_count=16)))[0][0]
    assert (offer.ram_gb, offer.cpu_cores, offer.security_tier) == (180, 16, "datacenter")


@pytest.mark.parametrize("meta", [{}, None, [], {"links": None}, {"links": {}}])
async def test_a_page_that_says_nothing_of_a_next_one_is_the_last(meta: object) -> None:
    served = Served({"/v2/plans": {"plans": [plan()], "meta": meta}, "/v2/plans-metal": {"plans_metal": []}})
    offers, _ = await synced(Vultr, served)
    assert (len(offers), len(served.asked)) == (1, 2)


@pytest.mark.parametrize(
    "answer", [{"error": "Server error", "status": 500}, [], {"plans": None}, {"plans": [], "meta": ["next"]}]
)
async def test_an_answer_in_another_shape_is_a_failure_of_the_provider(answer: object) -> None:
    with pytest.raises(ProviderFailed):
        await synced(Vultr, lambda request: httpx.Response(200, json=answer))


@pytest.mark.requirement("PROP-2")
@untimed
@given(row=spoiled(ROWS))
def test_a_spoiled_row_is_listed_with_a_real_price_or_refused_and_never_raises(row: Any) -> None:
    offers, report = read(Vultr, plans(row))
    assert all(sound(offer) for offer in offers)
    assert report.offers == len(offers)
