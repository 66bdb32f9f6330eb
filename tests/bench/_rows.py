"""Real catalogue rows for benches, and as many more like them as asked for."""

from __future__ import annotations

import csv
import gzip
import os
import random
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from market.offers import Offer, Unlistable, listed
from market.rows import AT, Row, encode

SEEN = datetime(2026, 11, 1, tzinfo=UTC)
_TAGS = ("gdpr", "hipaa", "soc2", "iso27001", "pci-dss", "ccpa", "fedramp", "nvlink", "green", "docker", "vm")
_RESELLERS = tuple(f"reseller-{number}" for number in range(1, 18))
_MEMORY = re.compile(r"'SizeInMiB': (\d+)")


def data_folder() -> Path:
    """Where the catalogue files lie: `GPUBROKER_TEST_DATA`, else beside the repository."""
    named = os.environ.get("GPUBROKER_TEST_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"


@cache
def real_offers() -> tuple[Offer, ...]:
    """Every row with an accelerator and a price, on demand and spot; rows without one sell no GPU time."""
    found: dict[str, Offer] = {}
    for path in sorted((data_folder() / "catalogue").glob("*_vms.csv.gz")):
        provider = path.name.removesuffix("_vms.csv.gz")
        with gzip.open(path, "rt", encoding="utf-8") as text:
            for row in csv.DictReader(text):
                for offer in _offers(provider, row):
                    found.setdefault(offer.id, offer)
    return tuple(found.values())


def _offers(provider: str, row: dict[str, str]) -> Iterator[Offer]:
    if not row["AcceleratorName"]:
        return
    memory = _MEMORY.search(row["GpuInfo"] or "")
    zone = row.get("AvailabilityZone") or row["Region"]
    for column, pricing in (("Price", "on_demand"), ("SpotPrice", "spot")):
        try:
            yield listed(
                provider=provider,
                sku=f"{row['InstanceType']}-{zone}",
                external_id=row["InstanceType"],
                name=f"{row['InstanceType']} {row['AcceleratorName']}",
                gpu=row["AcceleratorName"],
                gpu_count=max(1, int(float(row["AcceleratorCount"] or 1))),
                memory_gb=int(memory[1]) / 1024 if memory else None,
                cpu_cores=float(row["vCPUs"] or 0) or None,
                ram_gb=float(row["MemoryGiB"] or 0) or None,
                region=row["Region"],
                availability_zone=row.get("AvailabilityZone"),
                price_per_hour=row[column],
                pricing="on_demand" if pricing == "on_demand" else "spot",
                price_as_of=SEEN,
                source_url=f"https://prices.example/{provider}",
                seen_at=SEEN,
                price_source="price_list",
            )
        except Unlistable:
            continue


def rows(count: int) -> list[Row]:
    """So many rows of the offers table: the real ones, then copies with other prices, places, sellers and tags."""
    dice = random.Random(count)
    real = [encode(offer).values for offer in real_offers()]
    places = sorted({(row[AT["provider"]], *(row[AT[name]] for name in ("region", "country", "area"))) for row in real})
    copies = (
        _copy(row, number, dice, places) for number, row in enumerate(islice(cycle(real), max(0, count - len(real))))
    )
    return [*real[:count], *copies]


def _copy(row: Row, number: int, dice: random.Random, places: Sequence[tuple[Any, ...]]) -> Row:
    values = list(row)
    provider, region, country, area = dice.choice(places)
    if dice.random() < 0.5:
        provider = dice.choice(_RESELLERS)
    factor = dice.uniform(0.6, 1.8)
    price = max(1, round(row[AT["price_per_hour_usd"]] * factor))
    tags = sorted(dice.sample(_TAGS, dice.randrange(4)))
    values[AT["id"]] = f"{provider}:{row[AT['external_id']].lower()[:24]}-{number}:{region.lower().replace(' ', '-')}"
    values[AT["name"]] = f"{row[AT['name']]} rev{number % 9}"
    values[AT["provider"]], values[AT["region"]] = provider, region
    values[AT["country"]], values[AT["area"]] = country, area
    values[AT["price_per_hour"]] = values[AT["price_per_hour_usd"]] = price
    values[AT["availability"]] = dice.choice(("available", "available", "limited", "unknown", "unavailable"))
    values[AT["tags"]] = str(tags).replace("'", '"').replace(", ", ",")
    values[AT["reliability"]] = dice.choice((None, 0.9, 0.95, 0.99, 0.999))
    return tuple(values)
