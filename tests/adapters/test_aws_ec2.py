"""Amazon EC2's offer files, and the streaming that SageMaker shares with it."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import httpx
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from adapters import aws_offer_files
from adapters.aws_ec2 import AmazonEC2
from adapters.aws_instances import accelerators, is_accelerated
from adapters.base import SyncReport, Unlistable
from adapters.published import PublishedPrice, table
from market.errors import ProviderFailed
from tests.adapters.served import Served, adapter, by_id, sample, synced

INDEX = "/offers/v1.0/aws/AmazonEC2/current/region_index.json"
EAST = "/offers/v1.0/aws/AmazonEC2/20261118190210/us-east-1/index.csv"


def routes() -> dict[str, Any]:
    return dict(sample("aws_ec2")["routes"])


class OneRegion(AmazonEC2):
    """The same provider asked for one region only."""

    price_regions = ("us-east-1",)


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: Callable[[], AsyncIterator[bytes]]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()


@pytest.mark.requirement("FR-PROV-003")
@pytest.mark.requirement("FR-7.1")
async def test_a_whole_pass_lists_linux_machines_to_rent_and_nothing_that_only_looks_like_one() -> None:
    offers, report = await synced(AmazonEC2, Served(routes()))
    assert set(by_id(offers)) == {
        "aws_ec2:p5.48xlarge:us-east-1",
        "aws_ec2:p5.48xlarge:us-east-1:reserved_1y",
        "aws_ec2:p5.48xlarge:us-east-1:reserved_3y",
        "aws_ec2:p5.4xlarge:us-east-1",
        "aws_ec2:p5en.48xlarge:us-east-1",
        "aws_ec2:p4d.24xlarge:us-east-1",
        "aws_ec2:p4de.24xlarge:us-east-1",
        "aws_ec2:p6-b200.48xlarge:us-east-1",
        "aws_ec2:p3dn.24xlarge:us-east-1",
        "aws_ec2:g5.xlarge:us-east-1",
        "aws_ec2:g5.xlarge:eu-central-1",
        "aws_ec2:g4dn.metal:us-east-1",
        "aws_ec2:g6f.large:us-east-1",
        "aws_ec2:g5g.xlarge:us-east-1",
        "aws_ec2:trn1.32xlarge:us-east-1",
        "aws_ec2:p7-r100.48xlarge:us-east-1",
        "aws_ec2:g8.2xlarge:us-east-1",
    }
    assert report.rejects == {
        "price is not positive": 1,
        "listed twice": 1,
        "accelerator count is not stated": 1,
        "price is not a number": 1,
        "unreadable line": 1,
    }
    assert report.complete
    assert report.offers == len(offers)
    assert report.unknown_gpus == {"R100", "G8"}


async def test_prices_are_exact_dollars_of_the_whole_instance() -> None:
    found = by_id((await synced(AmazonEC2, Served(routes())))[0])
    big = found["aws_ec2:p5.48xlarge:us-east-1"]
    assert (big.price_per_hour, big.price_per_gpu_hour, big.currency) == (Decimal("55.04"), Decimal("6.88"), "USD")
    assert found["aws_ec2:p4d.24xlarge:us-east-1"].price_per_hour == Decimal("21.957642")
    year = found["aws_ec2:p5.48xlarge:us-east-1:reserved_1y"]
    assert (year.price_per_hour, year.pricing, year.min_rental_minutes) == (Decimal(37), "reserved_1y", 525_600)
    assert {offer.price_source for offer in found.values()} == {"price_list"}


async def test_the_machine_is_described_by_the_row_and_stock_stays_unknown() -> None:
    found = by_id((await synced(AmazonEC2, Served(routes())))[0])
    big = found["aws_ec2:p5.48xlarge:us-east-1"]
    assert (big.cpu_cores, big.ram_gb, big.network_gbps) == (192.0, 2048.0, 3200.0)
    assert (big.storage_gb, big.storage_type, big.interconnect) == (30_720.0, "ssd", "NVLink")
    assert {offer.availability for offer in found.values()} == {"unknown"}
    assert found["aws_ec2:g5.xlarge:eu-central-1"].country == "DE"
    assert found["aws_ec2:p4de.24xlarge:us-east-1"].storage_gb is None


@pytest.mark.requirement("PROP-2")
@pytest.mark.parametrize(
    ("sku", "card", "count", "memory_gb"),
    [
        ("p5.48xlarge", "H100-SXM", 8, 80),
        ("p5.4xlarge", "H100-SXM", 1, 80),
        ("p5en.48xlarge", "H200-SXM", 8, 141),
        ("p4d.24xlarge", "A100-SXM4-40GB", 8, 40),
        ("p4de.24xlarge", "A100-SXM4-80GB", 8, 80),
        ("p3dn.24xlarge", "V100-SXM2-32GB", 8, 32),
        ("p6-b200.48xlarge", "B200", 8, 180),
        ("trn1.32xlarge", "Trainium1", 16, 32),
        ("g4dn.metal", "T4", 8, 16),
    ],
)
async def test_the_family_names_the_card_the_price_file_does_not(
    sku: str, card: str, count: int, memory_gb: float
) -> None:
    offer = by_id((await synced(AmazonEC2, Served(routes())))[0])[f"aws_ec2:{sku}:us-east-1"]
    assert (offer.gpu, offer.gpu_count, offer.memory_gb) == (card, count, memory_gb)


async def test_a_sliced_l4_is_a_fraction_of_one_card_and_graviton_hosts_are_arm() -> None:
    found = by_id((await synced(AmazonEC2, Served(routes())))[0])
    sliced = found["aws_ec2:g6f.large:us-east-1"]
    assert (sliced.gpu, sliced.gpu_count, sliced.gpu_fraction, sliced.memory_gb) == ("L4", 1, 0.125, 3.0)
    assert found["aws_ec2:g5g.xlarge:us-east-1"].cpu_arch == "arm64"


async def test_a_family_nobody_has_seen_is_an_offer_on_its_first_day() -> None:
    found = by_id((await synced(AmazonEC2, Served(routes())))[0])
    named, nameless = found["aws_ec2:p7-r100.48xlarge:us-east-1"], found["aws_ec2:g8.2xlarge:us-east-1"]
    assert (named.gpu, named.gpu_raw, named.gpu_count) == (None, "R100", 8)
    assert (nameless.gpu, nameless.gpu_raw, nameless.gpu_count) == (None, "G8", 1)


@pytest.mark.parametrize(("stated", "count", "fraction"), [("8", 8, None), ("0.25", 1, 0.25), ("2.0", 2, None)])
def test_the_stated_count_serves_families_without_a_row_of_their_own(
    stated: str, count: int, fraction: float | None
) -> None:
    cards = accelerators("g77.xlarge", stated)
    assert (cards.gpu_count, cards.gpu_fraction) == (count, fraction)


@pytest.mark.parametrize("stated", ["", "NA", "0", "1.5", "-1"])
def test_a_count_that_makes_no_sense_is_refused(stated: str) -> None:
    with pytest.raises(Unlistable):
        accelerators("g77.xlarge", stated)


@pytest.mark.parametrize("name", ["c7i.large", "m5.xlarge", "f2.6xlarge", "vt1.3xlarge", "r6g.large", "mac2.metal"])
def test_machines_without_accelerators_are_not_taken_for_some(name: str) -> None:
    assert not is_accelerated(name)


async def test_a_region_that_fails_leaves_the_others_and_says_so() -> None:
    served = Served(routes())

    def half(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404) if request.url.path == EAST else served(request)

    offers, report = await synced(AmazonEC2, half)
    assert set(by_id(offers)) == {"aws_ec2:g5.xlarge:eu-central-1"}
    assert not report.complete
    assert len(report.warnings) == 1
    assert "`us-east-1`" in report.warnings[0]


async def test_a_file_that_breaks_off_keeps_what_came_before() -> None:
    served = Served(routes())
    text = served.routes[EAST].encode()

    async def torn() -> AsyncIterator[bytes]:
        yield text[: len(text) // 2]
        raise httpx.ReadError("gone")

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=_Pieces(torn)) if request.url.path == EAST else served(request)

    offers, report = await synced(AmazonEC2, handler)
    assert "aws_ec2:p5.48xlarge:us-east-1" in by_id(offers)
    assert not report.complete


async def test_when_no_region_can_be_read_the_provider_has_failed() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=routes()[INDEX]) if request.url.path == INDEX else httpx.Response(404)

    with pytest.raises(ProviderFailed, match="none of"):
        await synced(AmazonEC2, handler)


@pytest.mark.parametrize(
    "text", ["<!doctype html><html>busy</html>", "", '"FormatVersion","v1.0"\n', "\n" * 50], ids=lambda text: text[:9]
)
async def test_a_price_file_without_a_header_is_a_failed_region(text: str) -> None:
    offers, report = await synced(AmazonEC2, Served(routes() | {EAST: text}))
    assert set(by_id(offers)) == {"aws_ec2:g5.xlarge:eu-central-1"}
    assert "without a header" in report.warnings[0]


@pytest.mark.parametrize("index", [[], {}, {"regions": []}, {"regions": None}, 7])
async def test_an_index_of_another_shape_is_named_as_such(index: Any) -> None:
    with pytest.raises(ProviderFailed, match="shape"):
        await synced(AmazonEC2, lambda request: httpx.Response(200, json=index))


@pytest.mark.parametrize("entry", [None, {}, {"currentVersionUrl": "https://169.254.169.254/index.json"}, "text"])
async def test_a_region_the_index_does_not_place_on_the_host_is_left_out(entry: Any) -> None:
    index = json.loads(json.dumps(routes()[INDEX]))
    index["regions"]["us-east-1"] = entry
    offers, report = await synced(AmazonEC2, Served(routes() | {INDEX: index}))
    assert set(by_id(offers)) == {"aws_ec2:g5.xlarge:eu-central-1"}
    assert not report.complete


async def test_a_price_file_of_30_megabytes_is_never_held() -> None:
    header, *body = routes()[EAST].splitlines(keepends=True)[5:]
    preamble = "".join(routes()[EAST].splitlines(keepends=True)[:5])
    other = next(line for line in body if "c7i.large" in line)
    piece = (other * (128 * 1024 // len(other))).encode()

    async def large() -> AsyncIterator[bytes]:
        yield (preamble + header + body[0]).encode()
        for _ in range(30 * 1024 * 1024 // len(piece)):
            yield piece
        yield body[-5].encode()

    served = Served(routes())

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=_Pieces(large)) if request.url.path == EAST else served(request)

    tracemalloc.start()
    try:
        offers, report = await synced(OneRegion, handler)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(offers) == 2
    assert report.complete
    assert peak < 8 * 1024 * 1024


async def test_a_file_above_the_cap_is_a_failed_region() -> None:
    class Small(OneRegion):
        max_body_bytes = 2000

    small = {INDEX: {"regions": {"us-east-1": {"currentVersionUrl": EAST.replace(".csv", ".json")}}}}
    with pytest.raises(ProviderFailed):
        await synced(Small, Served(routes() | small))


async def test_no_more_than_two_files_are_open_at_once() -> None:
    served, open_now, most = Served(routes()), 0, 0

    def handler(request: httpx.Request) -> httpx.Response:
        text = served(request).content

        async def counted() -> AsyncIterator[bytes]:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            for start in range(0, len(text), 500):
                await checkpoint()
                yield text[start : start + 500]
            open_now -= 1

        return httpx.Response(200, stream=_Pieces(counted))

    offers, _ = await synced(AmazonEC2, handler)
    assert len(offers) == 17
    assert most == 2


async def test_a_reader_that_leaves_early_ends_the_reading() -> None:
    reading = adapter(AmazonEC2, Served(routes())).offers(SyncReport("aws_ec2"))
    async with aclosing(reading) as offers:  # type: ignore[type-var]
        assert (await anext(offers)).provider == "aws_ec2"


async def test_a_mistake_of_ours_is_heard_and_not_taken_for_an_empty_region(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> float:
        raise ZeroDivisionError(text)

    monkeypatch.setattr(aws_offer_files, "_fields", broken)
    with pytest.raises(ZeroDivisionError):
        await synced(AmazonEC2, Served(routes()))


@pytest.mark.parametrize(
    ("text", "gbps"),
    [
        ("3200 Gigabit", 3200.0),
        ("Up to 12500 Megabit", 12.5),
        ("4x 100 Gigabit", 400.0),
        ("Up to 10 Gigabit", 10.0),
        ("High", None),
        ("", None),
    ],
)
def test_network_figures_are_read_in_gigabits(text: str, gbps: float | None) -> None:
    assert aws_offer_files.network_gbps(text) == gbps


@pytest.mark.parametrize(
    ("text", "disks"),
    [
        ("2 x 900 NVMe SSD", (1800.0, "nvme")),
        ("8 x 3840 GB SSD", (30_720.0, "ssd")),
        ("1 x 125 GB NVMe SSD", (125.0, "nvme")),
        ("24 x 2000 HDD", (48_000.0, "hdd")),
        ("EBS only", (None, None)),
        ("", (None, None)),
    ],
)
def test_disks_are_added_up(text: str, disks: tuple[float | None, str | None]) -> None:
    assert aws_offer_files.storage(text) == disks


@given(st.text(alphabet='"g5.xlarge,Linux Shared0123\r\\\x00é', max_size=200))
async def test_no_line_loses_the_file(odd: str) -> None:
    lines = routes()[EAST].splitlines()
    text = "\n".join([*lines[:6], odd.replace("\n", " "), lines[6]])
    offers, _ = await synced(OneRegion, Served(routes() | {EAST: text}))
    assert "aws_ec2:p5.48xlarge:us-east-1" in by_id(offers)


@pytest.mark.parametrize("row", table()["aws_ec2"], ids=lambda row: row.sku)
def test_the_instance_table_agrees_with_the_published_prices(row: PublishedPrice) -> None:
    cards = accelerators(row.sku, str(row.gpu_fraction or row.gpu_count))
    assert cards.gpu_count == row.gpu_count
    assert (cards.gpu_fraction or 1) == pytest.approx(row.gpu_fraction or 1, abs=0.01)
