"""Amazon SageMaker's training machines."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters.aws_ec2 import AmazonEC2
from adapters.aws_sagemaker import AmazonSageMaker
from tests.adapters.served import Served, by_id, sample, synced

EAST = "/offers/v1.0/aws/AmazonSageMaker/20261118190210/us-east-1/index.csv"


def routes() -> dict[str, Any]:
    return dict(sample("aws_sagemaker")["routes"])


@pytest.mark.requirement("FR-PROV-003")
@pytest.mark.requirement("FR-7.1")
async def test_each_machine_is_listed_once_at_its_training_price() -> None:
    offers, report = await synced(AmazonSageMaker, Served(routes()))
    prices = {offer.id: offer.price_per_hour for offer in by_id(offers).values()}
    assert prices == {
        "aws_sagemaker:ml.g5.xlarge-training:us-east-1": Decimal("1.408"),
        "aws_sagemaker:ml.g4dn.xlarge-training:us-east-1": Decimal("0.736"),
        "aws_sagemaker:ml.p4de.24xlarge-training:us-east-1": Decimal("34.3"),
        "aws_sagemaker:ml.p3.2xlarge-training:us-east-1": Decimal("3.825"),
        "aws_sagemaker:ml.trn1.32xlarge-training:us-east-1": Decimal("24.725"),
        "aws_sagemaker:ml.p8.48xlarge-training:us-east-1": Decimal(300),
    }
    assert report.complete
    assert report.rejects == {
        "price is not positive": 1,
        "priced in another currency than the public regions": 1,
    }


async def test_there_is_no_spot_offer_since_nobody_publishes_that_discount() -> None:
    offers, _ = await synced(AmazonSageMaker, Served(routes()))
    assert {offer.pricing for offer in offers} == {"on_demand"}
    assert all("training" in offer.tags for offer in offers)


@pytest.mark.requirement("PROP-2")
async def test_hardware_is_that_of_the_ec2_type_whatever_the_memory_column_means() -> None:
    found = by_id((await synced(AmazonSageMaker, Served(routes())))[0])
    big = found["aws_sagemaker:ml.p4de.24xlarge-training:us-east-1"]
    assert (big.gpu, big.gpu_count, big.memory_gb, big.external_id) == ("A100-SXM4-80GB", 8, 80, "ml.p4de.24xlarge")
    chips = found["aws_sagemaker:ml.trn1.32xlarge-training:us-east-1"]
    assert (chips.gpu, chips.gpu_count) == ("Trainium1", 16)


async def test_an_instance_named_only_in_its_usage_type_is_found() -> None:
    found = by_id((await synced(AmazonSageMaker, Served(routes())))[0])
    assert found["aws_sagemaker:ml.p3.2xlarge-training:us-east-1"].gpu == "V100-SXM2-16GB"


async def test_a_new_family_takes_the_card_the_file_names() -> None:
    new = by_id((await synced(AmazonSageMaker, Served(routes())))[0])["aws_sagemaker:ml.p8.48xlarge-training:us-east-1"]
    assert (new.gpu, new.gpu_raw, new.gpu_count, new.memory_gb) == (None, "R200", 8, None)


async def test_older_files_that_call_the_component_by_another_column_are_read() -> None:
    text = routes()[EAST].replace('"Component"', '"Was Component"')
    offers, _ = await synced(AmazonSageMaker, Served(routes() | {EAST: text}))
    assert "aws_sagemaker:ml.g5.xlarge-training:us-east-1" in by_id(offers)


async def test_a_region_that_fails_is_a_warning() -> None:
    served = Served(routes())

    def half(request: httpx.Request) -> httpx.Response:
        return httpx.Response(403) if "eu-west-1/" in request.url.path else served(request)

    offers, report = await synced(AmazonSageMaker, half)
    assert len(offers) == 6
    assert not report.complete
    assert "`eu-west-1`" in report.warnings[0]


def test_sagemaker_reads_the_regions_ec2_reads() -> None:
    assert AmazonSageMaker.price_regions == AmazonEC2.price_regions
