"""RunPod's prices and stock."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given

from adapters import runpod
from adapters.runpod import Placement, RunPod, placements
from market.errors import ProviderFailed
from market.offers import Offer
from tests.adapters.served import Served, adapter, by_id, read, sample, sound, spoiled, synced, untimed

ROWS = sample("runpod")["routes"]["POST /graphql"]["data"]["gpuTypes"]

HIGH = {"stockStatus": "High", "minVcpu": 6, "minMemory": 41, "compliance": ["GDPR"]}
KANSAS = Placement(True, "US-KS-2", 2)


def kind(**more: Any) -> dict[str, Any]:
    return {"id": "NVIDIA GeForce RTX 4090", "displayName": "RTX 4090", "memoryInGb": 24, "securePrice": 0.69} | more


def offers_of(stock: list[tuple[Placement, dict[str, Any]]], **more: Any) -> list[Offer]:
    return read(RunPod, [(kind(**more), stock)])[0]


def types(**more: Any) -> dict[str, Any]:
    base = {"dataCenters": [{"id": "US-KS-2", "listed": True}], "countryCodes": ["NL"], "gpuTypes": [kind()]}
    return base | more


@pytest.mark.requirement("FR-PROV-003")
@pytest.mark.requirement("FR-PROV-1")
@pytest.mark.requirement("FR-7.1")
async def test_a_whole_pass_lists_every_place_with_stock_and_each_sold_out_type_once() -> None:
    offers, report = await synced(RunPod, Served(sample("runpod")["routes"]))
    found = by_id(offers)
    pods = {offer.id for offer in offers if offer.pricing == "on_demand"}
    card = "runpod:nvidia-geforce-rtx-4090"
    assert pods == {
        f"{card}-1x-secure:us-ks-2",
        f"{card}-2x-secure:us-ks-2",
        f"{card}-1x-secure:eu-ro-1",
        f"{card}-1x-community:nl",
        "runpod:nvidia-h100-80gb-hbm3-1x-secure:global",
        "runpod:nvidia-h100-80gb-hbm3-1x-community:global",
        "runpod:nvidia-h100-80gb-hbm3-2x8-cluster:us-ks-2",
        "runpod:amd-instinct-mi300x-oam-8x-secure:eu-ro-1",
        "runpod:nvidia-rtx-pro-6000-blackwell-server-edition-mig-1g.24gb-1x-secure:us-ks-2",
        "runpod:nvidia-rtx-a4500-1x-community:se",
    }
    assert {offer.pricing for offer in offers} == {"on_demand", "spot", "reserved_1w", "reserved_1m", "reserved_3m"}
    assert found[f"{card}-1x-community:nl:spot"].price_per_hour == Decimal("0.2")
    assert report.rejects == {"no price": 1}
    assert report.rows == 6


async def test_a_pass_takes_few_requests_and_asks_each_place_and_count_once() -> None:
    centers = [{"id": f"US-XX-{number}", "listed": True} for number in range(40)]
    countries = ["NL", "SE", "US", "CA", None]
    plain = types(
        dataCenters=centers, countryCodes=countries,
        gpuTypes=[kind(maxGpuCountSecureCloud=8, maxGpuCountCommunityCloud=4)],
    )  # fmt: skip
    served = Served({"/graphql": {"data": plain}})
    await synced(RunPod, served)
    queries = [body["query"] for body in served.bodies()]
    assert len(queries) == 1 + (40 * 4 + 4 * 3 + runpod.QUESTIONS_PER_REQUEST - 1) // runpod.QUESTIONS_PER_REQUEST
    assert sum(query.count("lowestPrice(") for query in queries) == 40 * 4 + 4 * 3


def test_secure_cloud_is_asked_by_data_center_and_community_by_country() -> None:
    asked = list(placements(types(gpuTypes=[kind(maxGpuCountSecureCloud=1, maxGpuCountCommunityCloud=1)])))
    assert asked == [Placement(True, "US-KS-2", 1), Placement(False, "NL", 1)]
    assert 'gpuCount: 1, secureCloud: true, dataCenterId: "US-KS-2"' in asked[0].question
    assert 'gpuCount: 1, secureCloud: false, countryCode: "NL"' in asked[1].question


def test_places_that_are_not_listed_null_or_strange_are_not_asked_for() -> None:
    odd = types(
        dataCenters=[{"id": "OLD-1", "listed": False}, {"id": 'X"}) { id } #', "listed": True}],
        countryCodes=[None, ""],
        gpuTypes=[kind(maxGpuCountSecureCloud=8, maxGpuCountCommunityCloud=None)],
    )
    assert list(placements(odd)) == []


@pytest.mark.requirement("PROP-2")
@pytest.mark.parametrize("unit", [0.69, Decimal("0.69"), "0.69"])
def test_a_price_per_gpu_times_the_count_is_the_price_of_the_pod(unit: object) -> None:
    offer = offers_of([(KANSAS, HIGH)], securePrice=unit)[0]
    assert (offer.price_per_hour, offer.price_per_gpu_hour) == (Decimal("1.38"), Decimal("0.69"))
    assert (offer.gpu, offer.gpu_count, offer.memory_gb) == ("RTX-4090", 2, 24)
    assert (offer.cpu_cores, offer.ram_gb, offer.region) == (6, 41, "US-KS-2")
    assert offer.storage_price_per_gb_month == Decimal("0.10")
    assert (offer.billing_unit, offer.min_rental_minutes) == ("second", None)


@pytest.mark.parametrize(
    ("status", "availability"),
    [("High", "available"), ("Medium", "available"), ("Low", "limited"), ("Plenty", "unknown")],
)
def test_stock_words_become_availability(status: str, availability: str) -> None:
    offer = offers_of([(KANSAS, {"stockStatus": status, "minVcpu": None, "minMemory": None, "compliance": None})])[0]
    assert offer.availability == availability
    assert offer.cpu_cores is None


def test_a_type_without_stock_anywhere_is_one_unavailable_offer_without_spot_or_plans() -> None:
    offers = offers_of([], secureSpotPrice=0.5, oneMonthPrice=0.6, minPodGpuCount=2)
    assert [(offer.region, offer.availability, offer.gpu_count) for offer in offers] == [("global", "unavailable", 2)]


def test_spot_and_savings_plans_are_offers_of_their_own() -> None:
    plans = {"oneWeekPrice": 0.64, "oneMonthPrice": 0.6, "threeMonthPrice": 0, "sixMonthPrice": 0.5}
    offers = {offer.pricing: offer for offer in offers_of([(KANSAS, HIGH)], secureSpotPrice=0.5, **plans)}
    assert {pricing: offer.price_per_gpu_hour for pricing, offer in offers.items()} == {
        "on_demand": Decimal("0.69"),
        "spot": Decimal("0.5"),
        "reserved_1w": Decimal("0.64"),
        "reserved_1m": Decimal("0.6"),
        "reserved_6m": Decimal("0.5"),
    }
    assert offers["on_demand"].spot_price == 1
    assert offers["spot"].min_rental_minutes is None
    assert offers["reserved_1w"].min_rental_minutes == 7 * 24 * 60
    assert offers["reserved_6m"].min_rental_minutes == 180 * 24 * 60


def test_savings_plans_belong_to_the_secure_cloud() -> None:
    community = offers_of([(Placement(False, "NL", 1), HIGH)], securePrice=None, communityPrice=0.34, oneWeekPrice=0.3)
    assert [offer.pricing for offer in community] == ["on_demand"]


def test_the_clouds_differ_in_price_place_and_tier() -> None:
    stock = [(KANSAS, HIGH), (Placement(False, "NL", 1), HIGH)]
    secure, community = offers_of(stock, communityPrice=0.34)
    assert (secure.security_tier, community.security_tier) == ("datacenter", "community")
    assert (community.price_per_hour, community.region, community.country) == (Decimal("0.34"), "NL", "NL")
    assert "gdpr" in secure.tags


@pytest.mark.parametrize("nothing", [None, 0, 0.0, "0"])
def test_a_cloud_without_a_price_is_never_an_offer(nothing: object) -> None:
    assert offers_of([(KANSAS, HIGH)], securePrice=nothing, communityPrice=nothing) == []


def test_a_mig_slice_is_a_fraction_of_its_card() -> None:
    mig = {"id": "NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb", "displayName": "PRO 6000 MIG 24GB"}
    offer = offers_of([(KANSAS, HIGH)], **mig)[0]
    assert offer.gpu == "RTX-PRO-6000-Server"
    assert 0 < offer.gpu_fraction < 1
    assert offer.memory_gb == 24


def test_two_blanks_in_a_legacy_id_make_no_second_product() -> None:
    spellings = [offers_of([(KANSAS, HIGH)], id=f"NVIDIA{blanks}RTX A4500", memoryInGb=20)[0] for blanks in (" ", "  ")]
    assert spellings[0].id == spellings[1].id
    assert {offer.gpu for offer in spellings} == {"RTX-A4500"}


def test_the_sxm_card_is_told_by_its_memory_type() -> None:
    assert offers_of([], id="NVIDIA H100 80GB HBM3", memoryInGb=80)[0].gpu == "H100-SXM"


def test_a_cluster_is_priced_for_its_two_nodes_and_claims_no_stock() -> None:
    more = {"clusterPrice": 4, "maxGpuCountSecureCloud": 8, "nodeGroupDatacenters": [{"id": "US-KS-2"}]}
    cluster = next(offer for offer in offers_of([], **more) if "cluster" in offer.tags)
    assert (cluster.price_per_hour, cluster.gpu_count, cluster.node_count) == (Decimal(64), 16, 2)
    assert (cluster.availability, cluster.region) == ("unknown", "US-KS-2")


@pytest.mark.parametrize(
    "answer",
    [
        {"errors": [{"message": "secret text of theirs"}], "data": None},
        {"errors": [{"message": "secret text of theirs"}], "data": {"gpuTypes": []}},
        {"data": None},
        [],
        {"data": {"gpuTypes": []}},
        {"data": {"gpuTypes": [None], "dataCenters": [], "countryCodes": []}},
    ],
)
async def test_an_error_with_http_200_or_another_shape_is_a_failure_that_repeats_no_text(answer: object) -> None:
    with pytest.raises(ProviderFailed) as failure:
        await synced(RunPod, lambda request: httpx.Response(200, json=answer))
    assert "secret" not in str(failure.value)


async def test_one_failed_question_of_stock_fails_the_pass_and_none_is_left_running() -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        query = json.loads(request.content)["query"]
        asked.append(query)
        if "Stock" in query:
            return httpx.Response(200, json={"errors": [{"message": "no"}]})
        centers = [{"id": f"US-XX-{number}", "listed": True} for number in range(30)]
        gpu = kind(maxGpuCountSecureCloud=8, maxGpuCountCommunityCloud=0)
        return httpx.Response(200, json={"data": types(dataCenters=centers, gpuTypes=[gpu])})

    with pytest.raises(ProviderFailed):
        _ = [page async for page in adapter(RunPod, handler).pages()]
    assert len(asked) == 1 + 30 * 4 // runpod.QUESTIONS_PER_REQUEST


def test_one_bad_type_leaves_the_others() -> None:
    rows = [(kind(securePrice="free"), []), (kind(memoryInGb="much"), []), (kind(), [(KANSAS, HIGH)])]
    offers, report = read(RunPod, rows)
    assert len(offers) == 1
    assert sum(report.rejects.values()) == 2


@pytest.mark.requirement("PROP-2")
@untimed
@given(row=spoiled(ROWS))
def test_a_spoiled_row_is_listed_with_a_real_price_or_refused_and_never_raises(row: Any) -> None:
    offers, report = read(RunPod, [(row, [(KANSAS, HIGH)])])
    assert all(sound(offer) for offer in offers)
    assert report.offers == len(offers)
