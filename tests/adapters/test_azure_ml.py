"""Azure's retail prices and the hardware its size names stand for."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.azure_ml import Azure
from adapters.azure_sizes import size
from adapters.published import table
from market.errors import ProviderFailed
from market.offers import Unlistable
from tests.adapters.served import Served, by_id, read, sample, synced

PRICES = "/api/retail/prices"
A100 = "Standard_NC24ads_A100_v4"


def meter(sku: str = A100, price: object = Decimal("4.777"), **more: Any) -> dict[str, Any]:
    base = {"currencyCode": "USD", "retailPrice": price, "armRegionName": "eastus", "armSkuName": sku}
    words = {"meterName": "x", "skuName": "x", "productName": "Virtual Machines NC Series", "unitOfMeasure": "1 Hour"}
    return base | words | {"type": "Consumption", "effectiveStartDate": "2026-06-01T00:00:00Z"} | more


def page(*rows: Any, link: str | None = None) -> dict[str, Any]:
    return {"BillingCurrency": "USD", "Items": list(rows), "NextPageLink": link, "Count": len(rows)}


def paged(*pages: Any) -> Any:
    """Answers consumption questions with these pages in turn, the last one for ever; reservations with nothing."""
    left = list(pages)

    def handler(request: httpx.Request) -> httpx.Response:
        if "'Reservation'" in request.url.params.get("$filter", ""):
            return httpx.Response(200, json=page())
        return httpx.Response(200, content=json.dumps(left.pop(0) if len(left) > 1 else left[0], default=float))

    return handler


@pytest.mark.requirement("FR-PROV-003")
@pytest.mark.requirement("FR-7.1")
async def test_a_whole_pass_keeps_one_offer_for_each_machine_place_and_term() -> None:
    served = Served(sample("azure_ml")["routes"])
    offers, report = await synced(Azure, served)
    found = by_id(offers)
    assert report.offers == len(found) == 19
    assert found["azure_ml:standard_nc24ads_a100_v4:eastus"].price_per_hour == Decimal("4.777")
    assert found["azure_ml:standard_nc24ads_a100_v4:eastus:spot"].price_per_hour == Decimal("0.8447")
    assert {request.url.params["$filter"].split("priceType eq ")[1][:12] for request in served.asked} == {
        "'Consumption",
        "'Reservation",
    }
    assert {(offer.availability, offer.price_source, offer.currency) for offer in offers} == {
        ("unknown", "price_list", "USD")
    }


async def test_every_meter_left_out_is_counted_under_its_reason() -> None:
    _, report = read(Azure, sample("azure_ml")["routes"][PRICES])
    assert report.rejects == {
        "meter: not in force": 1,
        "meter: low priority": 1,
        "meter: Windows": 2,
        "meter: a term we do not list": 1,
        "meter: a reservation too cheap to be of the whole term": 1,
        "meter: a test rate": 1,
        "price is not positive": 1,
        "GPUs of this size are not known": 1,
        "not a GPU size": 2,
        "meter: a canary region": 1,
        "meter: not by the hour": 1,
        "meter: another product": 2,
        "unreadable row (KeyError)": 1,
        "unreadable row (TypeError)": 1,
    }


async def test_the_price_of_a_reservation_is_spread_over_its_hours() -> None:
    found = by_id((await synced(Azure, Served(sample("azure_ml")["routes"])))[0])
    year = found["azure_ml:standard_nc24ads_a100_v4:eastus:reserved_1y"]
    assert year.price_per_hour == (Decimal(20_590) / 8760).quantize(Decimal("0.000001"))
    assert year.min_rental_minutes == 525_600
    three = found["azure_ml:standard_nc24ads_a100_v4:eastus:reserved_3y"]
    assert three.price_per_hour == (Decimal(42_000) / 26_280).quantize(Decimal("0.000001"))


async def test_of_two_meters_the_primary_wins_then_the_newest_whatever_their_order() -> None:
    old = meter(price=Decimal(3), effectiveStartDate="2022-06-01T00:00:00Z", isPrimaryMeterRegion=True)
    new = meter(price=Decimal(4), isPrimaryMeterRegion=True)
    foreign = meter(price=Decimal(9), effectiveStartDate="2026-11-01T00:00:00Z", isPrimaryMeterRegion=False)
    for rows in ((old, new, foreign), (foreign, new, old), (new, foreign, old)):
        offers, report = await synced(Azure, paged(page(*rows)))
        assert [offer.price_per_hour for offer in offers] == [Decimal(4)]
        assert report.offers == 1


@pytest.mark.requirement("PROP-2")
@pytest.mark.parametrize(
    ("name", "card", "count", "memory_gb"),
    [
        ("Standard_NC24ads_A100_v4", "A100-PCIe-80GB", 1, 80),
        ("Standard_NC96ads_A100_v4", "A100-PCIe-80GB", 4, 80),
        ("Standard_NC80adis_H100_v5", "H100-NVL", 2, 94),
        ("Standard_NCC40ads_H100_v5", "H100-NVL", 1, 94),
        ("Standard_NC8as_T4_v3", "T4", 1, 16),
        ("Standard_NC64as_T4_v3", "T4", 4, 16),
        ("Standard_NC24rs_v3", "V100-PCIe-16GB", 4, 16),
        ("Standard_ND40rs_v2", "V100-SXM2-32GB", 8, 32),
        ("Standard_ND96asr_v4", "A100-SXM4-40GB", 8, 40),
        ("Standard_ND96amsr_A100_v4", "A100-SXM4-80GB", 8, 80),
        ("Standard_ND96isr_H100_v5", "H100-SXM", 8, 80),
        ("Standard_ND96isr_H200_v5", "H200-SXM", 8, 141),
        ("Standard_ND96is_MI300X_v5", "MI300X", 8, 192),
        ("Standard_ND96isr_MI300X_v5", "MI300X", 8, 192),
        ("Standard_ND128isr_NDR_GB200_v6", "GB200", 4, 186),
        ("Standard_ND128isr_GB300_v6", "GB300", 4, 278),
        ("Standard_NV72ads_A10_v5", "A10", 2, 24),
        ("Standard_NC24_Promo", "K80", 4, 12),
        ("Standard_NC288ds_xl_RTXPRO6000BSE_v6", "RTX-PRO-6000-Server", 2, 96),
    ],
)
def test_the_size_name_says_card_and_count(name: str, card: str, count: int, memory_gb: float) -> None:
    (offer,), _ = read(Azure, page(meter(name)))
    assert (offer.gpu, offer.gpu_count, offer.memory_gb, offer.gpu_fraction) == (card, count, memory_gb, 1.0)


@pytest.mark.parametrize(
    ("name", "fraction", "memory_gb"),
    [
        ("Standard_NV6ads_A10_v5", 1 / 6, 4),
        ("Standard_NV12ads_A10_v5", 1 / 3, 8),
        ("Standard_NV18ads_A10_v5", 1 / 2, 12),
        ("Standard_NG8ads_V620_v1", 1 / 4, 8),
        ("Standard_NV4as_v4", 1 / 8, 2),
        ("Standard_NC24lds_xl_RTXPRO6000BSE_v6", 1 / 4, 24),
    ],
)
def test_a_slice_is_a_fraction_with_the_memory_of_the_slice(name: str, fraction: float, memory_gb: float) -> None:
    (offer,), _ = read(Azure, page(meter(name)))
    assert offer.gpu_count == 1
    assert offer.gpu_fraction == pytest.approx(fraction)
    assert offer.memory_gb == pytest.approx(memory_gb)


def test_vcpus_ram_place_network_and_host_are_stated_where_known() -> None:
    (offer,), _ = read(Azure, page(meter("Standard_ND96isr_H100_v5", armRegionName="WestUS3")))
    assert (offer.cpu_cores, offer.ram_gb, offer.region, offer.interconnect) == (96.0, 1900.0, "westus3", "InfiniBand")
    (arm,), _ = read(Azure, page(meter("Standard_ND128isr_GB300_v6")))
    assert (arm.cpu_arch, arm.ram_gb) == ("arm64", None)


@pytest.mark.parametrize(("name", "count"), [("Standard_ND96isr_R100_v7", 8), ("Standard_ND128isr_GR200_v7", 4)])
def test_a_new_board_is_an_offer_on_its_first_day(name: str, count: int) -> None:
    (offer,), report = read(Azure, page(meter(name)))
    assert (offer.gpu, offer.gpu_count) == (None, count)
    assert report.unknown_gpus == {name.split("_")[2]}


@pytest.mark.parametrize("name", ["Standard_NP10s", "Standard_D4s_v5", "Basic_A1", "", "Standard_NC50ads_R60_v7"])
def test_sizes_without_gpus_or_of_an_unknown_count_are_refused(name: str) -> None:
    with pytest.raises(Unlistable):
        size(name)


def test_a_promotion_is_a_machine_of_its_own_and_says_so() -> None:
    (offer,), _ = read(Azure, page(meter("Standard_NC6_Promo")))
    assert (offer.id, offer.ram_gb, offer.tags) == ("azure_ml:standard_nc6_promo:eastus", 56.0, ("promo",))


async def test_pages_are_followed_to_the_end() -> None:
    link = "https://prices.azure.com:443/api/retail/prices?api-version=2023-01-01-preview&$skip=1000"
    handler = paged(page(meter(), link=link), page(meter(armRegionName="westus3"), link=""))
    offers, report = await synced(Azure, handler)
    assert {offer.region for offer in offers} == {"eastus", "westus3"}
    assert report.complete


async def test_a_link_that_leads_back_ends_the_walk_with_a_warning() -> None:
    link = "https://prices.azure.com/api/retail/prices?$skip=1000"
    offers, report = await synced(Azure, paged(page(meter(), link=link)))
    assert len(offers) == 1
    assert not report.complete
    assert "read before" in report.warnings[0]


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/api/retail/prices",
        "http://prices.azure.com/api/retail/prices",
        "https://prices.azure.com@evil.example/x",
        "//169.254.169.254/latest",
        "/api/retail/prices",
    ],
)
async def test_a_link_to_anywhere_else_is_not_followed(link: str) -> None:
    asked: list[str] = []
    inner = paged(page(meter(), link=link))

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url.host))
        return httpx.Response(inner(request).status_code, content=inner(request).content)

    offers, report = await synced(Azure, handler)
    assert len(offers) == 1
    assert set(asked) == {"prices.azure.com"}
    assert "another host" in report.warnings[0]


async def test_reservations_that_cannot_be_read_leave_the_rest() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if "'Reservation'" in request.url.params["$filter"]:
            return httpx.Response(400, json={"Error": {"Code": "BadRequest"}})
        return httpx.Response(200, content=json.dumps(page(meter()), default=float))

    offers, report = await synced(Azure, handler)
    assert len(offers) == 1
    assert not report.complete
    assert report.warnings[0].startswith("Reservation prices are incomplete")


@pytest.mark.parametrize("answer", [[], {}, {"Items": None}, {"Items": {}}, 3, "text"])
async def test_an_answer_of_another_shape_is_a_failure(answer: Any) -> None:
    with pytest.raises(ProviderFailed, match="shape"):
        await synced(Azure, lambda request: httpx.Response(200, json=answer))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(field=st.sampled_from(sorted(meter())), value=_json)
def test_no_odd_value_in_a_row_loses_the_page(field: str, value: Any) -> None:
    offers, report = read(Azure, page(meter() | {field: value}, meter(armRegionName="westus3")))
    assert "azure_ml:standard_nc24ads_a100_v4:westus3" in {offer.id for offer in offers}
    assert report.rows == 2


@pytest.mark.parametrize("sku", sorted({row.sku for row in table()["azure_ml"]}))
def test_the_size_tables_agree_with_the_published_prices(sku: str) -> None:
    row = next(row for row in table()["azure_ml"] if row.sku == sku)
    machine = size(sku)
    assert (machine.gpu_count, machine.vcpus, machine.ram_gb) == (row.gpu_count, row.cpu_cores, row.ram_gb)
    assert (machine.gpu_fraction or 1) == pytest.approx(row.gpu_fraction or 1, abs=0.01)
