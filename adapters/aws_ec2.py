"""Amazon EC2: accelerated instances from the public price files (no key), on demand and reserved without upfront.

The file of one region is hundreds of megabytes, nearly all of it other machines, so a day's sync reads the six regions
that list the most GPU types (`price_regions`, about 2 GB in all), two at a time, streamed and filtered line by line.
A subclass may name others. A price list carries no stock, and spot prices need an account.

Kept are Linux on shared tenancy, in the region proper, with nothing preinstalled; capacity reservations and capacity
blocks, priced in rows that look alike, are not machines to rent on demand and are left out. Reserved prices are the
standard class paid monthly; those with money upfront spread over two rows and are not listed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import ClassVar

from adapters import aws_offer_files
from adapters.aws_instances import accelerators
from adapters.aws_offer_files import Row
from adapters.base import Adapter, Offer, SyncReport, Unlistable
from market.offers import Pricing

_ACCELERATED = re.compile(r'[",](?:gr?|p|u-p|trn|inf|dl)\d[a-z0-9-]*\.[a-z0-9]')
_FREE_OF_EXTRAS = ("", "NA", "N/A")
_TERMS: dict[str, Pricing] = {"1yr": "reserved_1y", "3yr": "reserved_3y"}
_MINUTES: dict[Pricing, int] = {"on_demand": 1, "reserved_1y": 365 * 24 * 60, "reserved_3y": 3 * 365 * 24 * 60}


def _matters(line: str) -> bool:
    return "Linux" in line and "Shared" in line and _ACCELERATED.search(line) is not None


class AmazonEC2(Adapter):
    """The AmazonEC2 offer files, one region at a time."""

    name = "aws_ec2"
    title = "Amazon EC2"
    website = "https://aws.amazon.com/ec2/"
    base_url = aws_offer_files.BASE_URL
    catalogue_path = "/offers/v1.0/aws/AmazonEC2/current/region_index.json"
    source_url = "https://aws.amazon.com/ec2/pricing/on-demand/"
    price_source = "price_list"
    interval = timedelta(days=1)
    stale_after = timedelta(days=3)
    drop_after = timedelta(days=14)
    per_second = 2.0
    concurrency = 2
    max_body_bytes = 1024 * 1024 * 1024
    timeout_seconds = 60.0
    price_regions: ClassVar[tuple[str, ...]] = aws_offer_files.PRICE_REGIONS
    """The regions whose files are read; their order is the order of reading."""

    def offers(self, report: SyncReport) -> AsyncIterator[Offer]:
        """Every offer of `price_regions`; a region that cannot be read is a warning."""
        return aws_offer_files.offers_of_regions(self, "AmazonEC2", report, self.price_regions, _matters)

    def parse(self, row: Row) -> Iterable[Offer]:
        """The offer of one price row, if it prices a machine to rent."""
        pricing = _pricing(row)
        if pricing is None:
            return
        instance = row["instancetype"]
        cards = accelerators(instance, row.get("gpu", ""))
        disk_gb, disk_type = aws_offer_files.storage(row.get("storage", ""))
        yield self.listed(
            sku=instance,
            gpu=cards.gpu,
            gpu_count=cards.gpu_count,
            gpu_fraction=cards.gpu_fraction,
            memory_gb=cards.memory_gb,
            form_factor=cards.form_factor,
            cpu_arch=cards.cpu_arch,
            interconnect=cards.interconnect,
            name=f"{instance} ({cards.gpu_count}x {cards.gpu})",
            region=row["regioncode"],
            pricing=pricing,
            price_per_hour=row["priceperunit"],
            currency=row["currency"],
            cpu_cores=aws_offer_files.number(row.get("vcpu", "")),
            ram_gb=aws_offer_files.number(row.get("memory", "")),
            storage_gb=disk_gb,
            storage_type=disk_type,
            network_gbps=aws_offer_files.network_gbps(row.get("networkperformance", "")),
            billing_unit="second" if pricing == "on_demand" else "hour",
            min_rental_minutes=_MINUTES[pricing],
        )


def _pricing(row: Row) -> Pricing | None:
    """On demand or a reserved term; None for a row that prices something else."""
    rented = (
        row["productfamily"].startswith("Compute Instance")
        and row["operatingsystem"] == "Linux"
        and row["tenancy"] == "Shared"
        and row["capacitystatus"] == "Used"
        and row.get("preinstalledsw", "") in _FREE_OF_EXTRAS
        and row.get("marketoption", "OnDemand") in ("", "OnDemand")
        and row.get("locationtype", "AWS Region") == "AWS Region"
        and row.get("licensemodel", "") in ("", "NA", "No License required")
        and row["unit"] == "Hrs"
    )
    if not rented:
        return None
    if row["currency"] != "USD":
        raise Unlistable("priced in another currency than the public regions")
    if row["termtype"] == "OnDemand":
        return "on_demand"
    if row["purchaseoption"] == "No Upfront" and row.get("offeringclass", "standard") in ("", "standard"):
        return _TERMS.get(row["leasecontractlength"])
    return None
