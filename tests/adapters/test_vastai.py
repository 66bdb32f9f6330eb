"""Vast.ai's marketplace."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given

from adapters import vastai
from adapters.vastai import VastAI
from market.errors import ProviderFailed
from market.offers import Offer
from tests.adapters.served import Served, adapter, by_id, read, sample, sound, spoiled, synced, untimed

ROWS = [row for page in sample("vastai")["routes"]["POST /api/v0/bundles/"] for row in page["offers"]]

PATH = "POST /api/v0/bundles/"


def ask(**more: Any) -> dict[str, Any]:
    base = {"id": 1, "machine_id": 7, "gpu_name": "RTX 4090", "num_gpus": 1, "gpu_ram": 24564, "rentable": True}
    return base | {"dph_base": Decimal("0.30"), "dph_total": Decimal("0.31"), "geolocation": "Washington, US"} | more


def one(**more: Any) -> Offer:
    return read(VastAI, {"offers": [ask(**more)]})[0][0]


def refusals(**more: Any) -> dict[str, int]:
    offers, report = read(VastAI, {"offers": [ask(**more)]})
    assert offers == []
    return report.rejects


@pytest.mark.requirement("FR-PROV-003")
@pytest.mark.requirement("FR-PROV-1")
@pytest.mark.requirement("FR-7.1")
async def test_a_whole_pass_lists_machines_and_counts_what_cannot_be_listed() -> None:
    served = Served(sample("vastai")["routes"])
    offers, report = await synced(VastAI, served)
    assert set(by_id(offers)) == {
        "vastai:m31877-1x-rtx-4090:us",
        "vastai:m31877-1x-rtx-4090:us:spot",
        "vastai:m777-2x-rtx-3090:jp",
        "vastai:m20011-8x-h100-sxm:us",
        "vastai:m4410-1x-rtx-4090:unknown",
        "vastai:m4411-1x-quantum-q1:fr",
    }
    assert report.rejects == {
        "price is not positive": 1,
        "no price": 1,
        "not rentable now": 1,
        "GPU count makes no sense": 1,
        "the host's offer has ended": 1,
        "unreadable row (AttributeError)": 1,
    }
    assert report.unknown_gpus == {"Quantum Q1"}
    assert report.complete
    assert all(offer.price_source == "marketplace" for offer in offers)


async def test_six_slices_are_asked_at_the_path_with_its_slash() -> None:
    served = Served(sample("vastai")["routes"])
    await synced(VastAI, served)
    assert {(request.method, str(request.url)) for request in served.asked} == {
        ("POST", "https://console.vast.ai/api/v0/bundles/")
    }
    asked = [(body["verified"]["eq"], tuple(body["num_gpus"].items())) for body in served.bodies()]
    assert len(set(asked)) == 6
    assert {body["limit"] for body in served.bodies()} == {vastai.LIMIT}
    assert {body["allocated_storage"] for body in served.bodies()} == {vastai.ALLOCATED_DISK_GB}


def test_a_slice_at_the_limit_is_said_to_be_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vastai, "LIMIT", 2)
    whole, cut = ({"offers": [ask(machine_id=machine) for machine in range(size)]} for size in (1, 2))
    assert read(VastAI, whole)[1].complete
    report = read(VastAI, cut)[1]
    assert not report.complete
    assert "limit" in report.warnings[0]


@pytest.mark.requirement("PROP-2")
@pytest.mark.parametrize("count", [1, 8])
def test_the_price_is_the_whole_offer_with_its_disk(count: int) -> None:
    offer = one(num_gpus=count, dph_total=Decimal("16.0089"), disk_space=6120, storage_cost=Decimal("0.16"))
    assert offer.price_per_hour == Decimal("16.0089")
    assert offer.gpu_count == count
    assert (offer.storage_gb, offer.storage_price_per_gb_month) == (10, Decimal("0.16"))
    assert "10 GB disk in the price" in offer.name


def test_a_disk_smaller_than_asked_for_is_all_there_is() -> None:
    assert one(disk_space=Decimal("6.5")).storage_gb == 6.5


def test_a_bid_is_an_offer_of_its_own_with_the_same_disk() -> None:
    offers, _ = read(VastAI, {"offers": [ask(min_bid=Decimal("0.16"))]})
    on_demand, spot = offers
    assert (on_demand.pricing, on_demand.price_per_hour, on_demand.spot_price) == (
        "on_demand",
        Decimal("0.31"),
        Decimal("0.17"),
    )
    assert (spot.pricing, spot.price_per_hour) == ("spot", Decimal("0.17"))
    assert "pauses" in (spot.availability_evidence or "")


@pytest.mark.parametrize("bid", [None, 0, Decimal("0.0"), "0"])
def test_no_bid_means_no_spot_offer(bid: object) -> None:
    assert len(read(VastAI, {"offers": [ask(min_bid=bid)]})[0]) == 1


@pytest.mark.parametrize(
    ("gpu_ram", "memory_gb"), [(24564, 24), (49140, 48), ("24564", 24)], ids=["stock", "modded", "text"]
)
def test_megabytes_become_the_size_of_the_card_and_a_modded_card_keeps_its_own(
    gpu_ram: object, memory_gb: float
) -> None:
    offer = one(gpu_ram=gpu_ram)
    assert (offer.gpu, offer.memory_gb) == ("RTX-4090", memory_gb)


def test_memory_goes_with_the_share_of_the_threads() -> None:
    offer = one(cpu_cores=128, cpu_cores_effective=Decimal("32.0"), cpu_ram=524288)
    assert (offer.cpu_cores, offer.ram_gb) == (32, 128)


@pytest.mark.parametrize("cores", [None, 0])
def test_threads_not_stated_leave_memory_unknown_and_the_offer_listed(cores: object) -> None:
    offer = one(cpu_cores=cores, cpu_cores_effective=Decimal("0.8"), cpu_ram=64311)
    assert (offer.cpu_cores, offer.ram_gb) == (0.8, None)


@pytest.mark.parametrize(
    ("geolocation", "region", "country"),
    [
        ("Washington, US", "US", "US"),
        (", US", "US", "US"),
        ("Yutakachō, Shinagawa District, Tokyo, JP", "JP", "JP"),
        ("France, FR, EU", "FR", "FR"),
        ("Seoul, DC, KR", "KR", "KR"),
        (None, "unknown", None),
        ("", "unknown", None),
        (", ", "unknown", None),
        ("Somewhere", "unknown", None),
        (["US"], "unknown", None),
    ],
)
def test_a_place_in_any_of_its_forms_gives_the_country(geolocation: object, region: str, country: str | None) -> None:
    offer = one(geolocation=geolocation)
    assert (offer.region, offer.country) == (region, country)


@pytest.mark.parametrize(("hosting", "tier"), [(0, "community"), (1, "datacenter"), (2, "datacenter"), (None, None)])
def test_hosting_type_gives_the_security_tier(hosting: object, tier: str | None) -> None:
    assert one(hosting_type=hosting).security_tier == tier


def test_trust_and_limits_of_the_host_are_kept() -> None:
    offer = one(
        verification="deverified", reliability2=Decimal("0.94"), duration=Decimal("86400.0"), inet_up_cost="0.0026",
        bw_nvlink=Decimal("478.1"), cpu_arch="arm64",
    )  # fmt: skip
    assert "deverified" in offer.tags
    assert (offer.reliability, offer.max_rental_minutes) == (0.94, 1440)
    assert (offer.egress_price_per_gb, offer.interconnect) == (Decimal("0.0026"), "NVLink")
    assert offer.cpu_arch == "arm64"
    assert offer.billing_unit == "second"


def test_the_id_outlives_the_ask_and_the_ask_is_kept_to_rent_by() -> None:
    first, later = one(id=100), one(id=200)
    assert first.id == later.id
    assert (first.external_id, later.external_id) == ("100", "200")


def test_of_two_asks_for_one_product_the_cheapest_that_can_be_rented_is_listed() -> None:
    asks = [
        ask(id=1, dph_total=Decimal("0.40")),
        ask(id=2, dph_total=Decimal("0.31")),
        ask(id=3, dph_total=Decimal("0.20"), rented=True),
        ask(id=4, dph_total=0),
    ]
    offers, report = read(VastAI, {"offers": asks})
    assert [offer.external_id for offer in offers] == ["2"]
    assert report.rejects == {"not rentable now": 1, "price is not positive": 1}


def test_the_same_machine_in_other_sizes_is_another_product() -> None:
    offers, _ = read(VastAI, {"offers": [ask(num_gpus=1), ask(num_gpus=2), ask(machine_id=8)]})
    assert len(by_id(offers)) == 3


def test_no_gpu_no_price_no_time_left_and_rented_are_refused() -> None:
    assert refusals(num_gpus=0) == {"GPU count makes no sense": 1}
    assert refusals(dph_total=0) == {"price is not positive": 1}
    assert refusals(dph_total=None) == {"no price": 1}
    assert refusals(duration=0) == {"the host's offer has ended": 1}
    assert refusals(rentable=False) == {"not rentable now": 1}


def test_figures_that_cannot_be_are_not_repeated() -> None:
    offer = one(duration=Decimal("1E+400"), reliability=7, disk_space=-5, inet_down=-1, cpu_cores_effective=0)
    assert offer.max_rental_minutes == 10 * 365 * 24 * 60
    assert (offer.reliability, offer.storage_gb, offer.network_gbps, offer.cpu_cores) == (None, 10, None, None)


def test_one_bad_ask_leaves_the_others() -> None:
    offers, report = read(VastAI, {"offers": [None, ask(dph_total="cheap"), {}, ask()]})
    assert len(offers) == 1
    assert (report.rows, sum(report.rejects.values())) == (4, 3)


@pytest.mark.parametrize("offers", [None, 5, {"id": 1}.keys])
def test_offers_that_are_no_list_are_a_failure_of_the_provider(offers: object) -> None:
    with pytest.raises(ProviderFailed):
        read(VastAI, {"offers": offers})


async def test_success_false_with_http_200_is_a_failure_of_the_provider() -> None:
    answer = {"success": False, "error": "invalid_args", "msg": "bad"}
    with pytest.raises(ProviderFailed):
        await synced(VastAI, lambda request: httpx.Response(200, json=answer))


async def test_a_plain_text_429_is_a_failure_and_not_an_empty_market() -> None:
    busy = adapter(VastAI, lambda request: httpx.Response(429, text="API requests too frequent"))
    with pytest.raises(ProviderFailed):
        _ = [page async for page in busy.pages()]


@pytest.mark.requirement("PROP-2")
@untimed
@given(row=spoiled(ROWS))
def test_a_spoiled_row_is_listed_with_a_real_price_or_refused_and_never_raises(row: Any) -> None:
    offers, report = read(VastAI, {"offers": [row]})
    assert all(sound(offer) for offer in offers)
    assert report.offers == len(offers)
