"""Oracle's price list: parts by the GPU-hour, shapes by multiplication, one price everywhere."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.oracle_oci import OracleCloud
from adapters.published import table
from market.errors import ProviderFailed
from market.offers import Offer
from tests.adapters.served import Served, by_id, read, sample, synced


def part(number: str, name: str, value: object = 10, **more: Any) -> dict[str, Any]:
    price = [{"model": "PAY_AS_YOU_GO", "value": value}]
    base = {"partNumber": number, "displayName": name, "metricName": "GPU Per Hour", "serviceCategory": "Compute - GPU"}
    return base | {"currencyCodeLocalizations": [{"currencyCode": "USD", "prices": price}]} | more


async def listed() -> dict[str, Offer]:
    return by_id((await synced(OracleCloud, Served(sample("oracle_oci")["routes"])))[0])


@pytest.mark.requirement("FR-PROV-003")
@pytest.mark.requirement("FR-7.1")
async def test_a_whole_pass_prices_every_shape_in_every_commercial_region() -> None:
    served = Served(sample("oracle_oci")["routes"])
    offers, report = await synced(OracleCloud, served)
    found = by_id(offers)
    regions = {offer.region for offer in offers}
    assert len(regions) == 44
    assert len(found) == report.offers == 44 * 26
    assert dict(served.asked[0].url.params) == {"currencyCode": "USD"}
    assert len(served.asked) == 1


@pytest.mark.parametrize(
    ("shape", "price", "card", "count", "memory_gb"),
    [
        ("bm.gpu.h100.8", "80", "H100-SXM", 8, 80),
        ("bm.gpu.h200.8", "80", "H200-SXM", 8, 141),
        ("bm.gpu.b200.8", "112", "B200", 8, 180),
        ("bm.gpu.gb200.4", "64", "GB200", 4, 192),
        ("bm.gpu.a100-v2.8", "32", "A100-SXM4-80GB", 8, 80),
        ("bm.gpu4.8", "24.4", "A100-SXM4-40GB", 8, 40),
        ("vm.gpu.a10.2", "4", "A10", 2, 24),
        ("bm.gpu.l40s.4", "14", "L40S", 4, 48),
        ("bm.gpu.mi300x.8", "48", "MI300X", 8, 192),
        ("bm.gpu.mi355x.8", "68.8", "MI355X", 8, 288),
        ("bm.gpu2.2", "2.55", "P100", 2, 16),
        ("vm.gpu2.1", "1.275", "P100", 1, 16),
        ("bm.gpu3.8", "23.6", "V100-SXM2-16GB", 8, 16),
    ],
)
@pytest.mark.requirement("PROP-2")
async def test_a_shape_costs_its_gpus_times_the_part(
    shape: str, price: str, card: str, count: int, memory_gb: float
) -> None:
    offer = (await listed())[f"oracle_oci:{shape}:eu-frankfurt-1"]
    assert (offer.price_per_hour, offer.gpu, offer.gpu_count) == (Decimal(price), card, count)
    assert offer.memory_gb == memory_gb


async def test_a_buyer_looking_in_a_place_finds_it_with_stock_unknown() -> None:
    offer = (await listed())["oracle_oci:bm.gpu.h100.8:eu-frankfurt-1"]
    assert (offer.country, offer.availability, offer.price_source) == ("DE", "unknown", "price_list")
    assert "stock of a region is not published" in (offer.availability_evidence or "")
    assert offer.tags == ("bare metal",)
    assert all(found.country for found in (await listed()).values())


async def test_preemptible_capacity_costs_half_where_a_shape_allows_it() -> None:
    found = await listed()
    assert found["oracle_oci:vm.gpu3.2:us-ashburn-1:spot"].price_per_hour == Decimal("2.95")
    assert "oracle_oci:bm.gpu.h100.8:us-ashburn-1:spot" not in found


@pytest.mark.parametrize(
    "look_alike",
    [
        part("B111824", "OCI - NVIDIA AI Enterprise - H100", Decimal("2.5")),
        part("B111455", "Oracle Compute Cloud@Customer - Compute - GPU.L40S", Decimal("2.9")),
        part("B110965", "Compute - GPU.L40S", Decimal("3.5"), serviceCategory="Compute Cloud@Customer"),
        part("B99998", "Appliance - Compute - GPU - H100", 1, serviceCategory="SuperCluster Appliance"),
        part("B99997", "Oracle Cloud VMware - Compute - GPU - A10", 1),
    ],
    ids=lambda row: row["displayName"],
)
def test_licences_and_appliances_are_not_gpus_to_rent(look_alike: dict[str, Any]) -> None:
    offers, report = read(OracleCloud, {"items": [look_alike]})
    assert offers == []
    assert report.rejects == {"not a GPU of the public cloud": 1}


def test_parts_of_other_metrics_are_not_even_rows() -> None:
    rows = [part("B1", "x", metricName=metric) for metric in ("Node Per Hour", "OCPU Per Hour", "Gigabyte Per Hour")]
    _, report = read(OracleCloud, {"items": rows})
    assert report.rows == 0


@pytest.mark.parametrize("name", ["OCI- Compute - GPU - H100", "Compute  - GPU - H100", "Compute - GPU.H100"])
def test_the_card_is_read_however_the_name_is_spaced(name: str) -> None:
    offers, _ = read(OracleCloud, {"items": [part("B00001", name)]})
    assert {offer.external_id for offer in offers} == {"BM.GPU.H100.8"}


def test_a_variant_is_not_its_sibling() -> None:
    offers, report = read(OracleCloud, {"items": [part("B109480", "OCI - Compute - GPU - H100T", Decimal("10.75"))]})
    assert {(offer.gpu_raw, offer.gpu_count, offer.price_per_hour) for offer in offers} == {
        ("H100T", 1, Decimal("10.75"))
    }
    assert report.unknown_gpus == {"H100T"}


async def test_a_new_part_is_offered_by_the_gpu_and_says_so() -> None:
    offer = (await listed())["oracle_oci:per-gpu-b99001:us-chicago-1"]
    assert (offer.gpu_raw, offer.gpu_count, offer.price_per_hour) == ("R200", 1, Decimal(30))
    assert offer.tags == ("price of one gpu, shape unknown",)


@pytest.mark.parametrize(
    ("number", "name"),
    [("B93544", "OCI - Compute - GPU - E4"), ("B1", "Compute - GPU Standard - X9"), ("B2", "Compute - GPU - V7")],
)
def test_a_hardware_generation_is_not_guessed_into_a_card(number: str, name: str) -> None:
    offers, report = read(OracleCloud, {"items": [part(number, name)]})
    assert offers == []
    assert report.rejects == {"part names a hardware generation, not a GPU": 1}


def priced(*prices: dict[str, Any], currency: str = "USD") -> dict[str, Any]:
    places = [{"currencyCode": currency, "prices": list(prices)}]
    return part("B98415", "OCI - Compute - GPU - H100", currencyCodeLocalizations=places)


PAYG = {"model": "PAY_AS_YOU_GO"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (priced(), "no price"),
        (priced(PAYG | {"value": 0}), "no price"),
        (priced(PAYG | {"value": 9}, currency="EUR"), "no price"),
        (priced({"model": "ANNUAL_COMMIT", "value": 7}), "no price"),
        (priced(PAYG | {"value": 10}, PAYG | {"value": 8}), "several prices for one GPU"),
        (priced(PAYG | {"value": -1}), "price is not positive"),
    ],
)
def test_a_part_without_one_clear_price_is_refused(row: dict[str, Any], reason: str) -> None:
    offers, report = read(OracleCloud, {"items": [row]})
    assert offers == []
    assert report.rejects == {reason: 1}


def test_a_free_first_tier_does_not_hide_the_price() -> None:
    offers, _ = read(OracleCloud, {"items": [priced(PAYG | {"value": 0}, PAYG | {"value": Decimal("1.1")})]})
    assert {offer.price_per_gpu_hour for offer in offers} == {Decimal("1.1")}


@pytest.mark.parametrize("answer", [[], {}, {"items": None}, {"items": 4}])
async def test_an_answer_of_another_shape_is_a_failure(answer: Any) -> None:
    with pytest.raises(ProviderFailed, match="shape"):
        await synced(OracleCloud, lambda request: httpx.Response(200, json=answer))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(field=st.sampled_from(sorted(part("B1", "x"))), value=_json)
def test_no_odd_value_in_a_row_loses_the_list(field: str, value: Any) -> None:
    good, odd = part("B98415", "Compute - GPU - H100"), part("B95909", "Compute - GPU - A10")
    offers, _ = read(OracleCloud, {"items": [None, odd | {field: value}, good]})
    assert "oracle_oci:bm.gpu.h100.8:eu-frankfurt-1" in {offer.id for offer in offers}


async def test_the_shapes_and_their_prices_agree_with_the_published_prices() -> None:
    found = await listed()
    for row in table()["oracle_oci"]:
        suffix = "" if row.pricing == "on_demand" else ":spot"
        offer = found.get(f"oracle_oci:{row.sku.lower()}:eu-frankfurt-1{suffix}")
        if offer is None:  # the sample leaves the cards out whose price it garbles
            assert row.sku in {"BM.GPU.B300.8", "BM.GPU.GB300.4"}
            continue
        assert (offer.price_per_hour, offer.gpu_count) == (Decimal(row.price_per_hour), row.gpu_count)
        assert (offer.cpu_cores, offer.ram_gb) == (row.cpu_cores, row.ram_gb)
