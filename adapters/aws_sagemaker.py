"""Amazon SageMaker: the `ml.*` machines of training jobs, from the public price files (no key).

SageMaker prices one machine several times over, once for each of its services (training, hosting, notebooks,
processing, batch transform and more). The training price is the one listed, with `training` in the offer's sku: a
training job is the service in which a buyer rents a machine for a run and gives it back; the others keep one for an
endpoint or a notebook. Managed spot training is billed at a discount nobody publishes, so there is no spot offer. Free
tier and geospatial rows, and rows of Outposts, are left out. A machine is the EC2 type of the same name without `ml.`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import ClassVar

from adapters import aws_offer_files
from adapters.aws_instances import accelerators, is_accelerated
from adapters.aws_offer_files import Row
from adapters.base import Adapter, Offer, SyncReport, Unlistable

_ACCELERATED = re.compile(r"\bml\.(?:gr?|p|u-p|trn|inf|dl)\d[a-z0-9-]*\.[a-z0-9]")


def _matters(line: str) -> bool:
    return "Training" in line and _ACCELERATED.search(line) is not None


class AmazonSageMaker(Adapter):
    """The AmazonSageMaker offer files, one region at a time."""

    name = "aws_sagemaker"
    title = "Amazon SageMaker"
    website = "https://aws.amazon.com/sagemaker/"
    base_url = aws_offer_files.BASE_URL
    catalogue_path = "/offers/v1.0/aws/AmazonSageMaker/current/region_index.json"
    source_url = "https://aws.amazon.com/sagemaker/pricing/"
    price_source = "price_list"
    interval = timedelta(days=1)
    stale_after = timedelta(days=3)
    drop_after = timedelta(days=14)
    per_second = 2.0
    concurrency = 2
    max_body_bytes = 256 * 1024 * 1024
    timeout_seconds = 60.0
    price_regions: ClassVar[tuple[str, ...]] = aws_offer_files.PRICE_REGIONS
    """The regions whose files are read: those of EC2, so that the two can be compared."""

    def offers(self, report: SyncReport) -> AsyncIterator[Offer]:
        """Every offer of `price_regions`; a region that cannot be read is a warning."""
        return aws_offer_files.offers_of_regions(self, "AmazonSageMaker", report, self.price_regions, _matters)

    def parse(self, row: Row) -> Iterable[Offer]:
        """The offer of one price row, if it prices the machine of a training job."""
        if not _is_training(row):
            return
        if row["currency"] != "USD":
            raise Unlistable("priced in another currency than the public regions")
        instance = _instance(row)
        cards = accelerators(instance.removeprefix("ml."), row.get("gpu", ""), row.get("physicalgpu", ""))
        yield self.listed(
            sku=f"{instance}-training",
            external_id=instance,
            gpu=cards.gpu,
            gpu_count=cards.gpu_count,
            gpu_fraction=cards.gpu_fraction,
            memory_gb=cards.memory_gb,
            form_factor=cards.form_factor,
            cpu_arch=cards.cpu_arch,
            interconnect=cards.interconnect,
            name=f"{instance} training ({cards.gpu_count}x {cards.gpu})",
            region=row["regioncode"],
            price_per_hour=row["priceperunit"],
            cpu_cores=aws_offer_files.number(row.get("vcpu", "")),
            ram_gb=aws_offer_files.number(row.get("memory", "")),
            network_gbps=aws_offer_files.network_gbps(row.get("networkperformance", "")),
            billing_unit="second",
            tags=("managed", "training"),
        )


def _is_training(row: Row) -> bool:
    return (
        row["productfamily"] == "ML Instance"
        and (row.get("component") or row.get("platoinstancetype")) == "Training"
        and row["termtype"] == "OnDemand"
        and row["unit"] == "Hrs"
        and row.get("locationtype", "AWS Region") == "AWS Region"
    )


def _instance(row: Row) -> str:
    """`ml.g5.xlarge`, whichever column has it; the instance type column says `ml.g5.xlarge-Training`, or `NA`."""
    for text in (row.get("instancename", ""), row.get("instancetype", ""), row.get("usagetype", "").partition(":")[2]):
        instance = text.removesuffix("-Training")
        if instance.startswith("ml.") and is_accelerated(instance.removeprefix("ml.")):
            return instance
    raise Unlistable("no instance type")
