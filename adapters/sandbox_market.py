"""What the simulated cloud sells, where, at which price, and how much of it is left at a moment.

Stock and spot prices are functions of the seed and the time alone, so that a clock that jumps a year costs nothing
and two clouds of one seed agree whatever they were asked in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

SandboxPricing = Literal["on_demand", "spot"]

STORAGE_PRICE_PER_GB_MONTH = Decimal("0.10")
"""Of disk asked for beyond the type's own, from the order until the end, also while stopped; a month has 730 hours."""
EGRESS_PRICE_PER_GB = Decimal("0.05")
"""Listed, never charged: nothing leaves a machine that is not there."""
MINIMUM_SECONDS = 60
"""A machine that has run at all is charged this many seconds at least."""

_STOCK_SECONDS = 900
_SPOT_SECONDS = 600
_CENT_OF_A_CENT = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Region:
    """A place: its price level and the currency it bills in."""

    name: str
    city: str
    country: str
    level: Decimal
    currency: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InstanceType:
    """A machine for rent: `price` and `spot` are dollars an hour at level 1, `capacity` machines a region has."""

    name: str
    gpu: str
    gpu_count: int
    memory_gb: float
    """Of one GPU."""
    vcpus: int
    ram_gb: int
    storage_gb: int
    price: Decimal
    spot: Decimal
    capacity: int
    regions: tuple[str, ...]


REGIONS: dict[str, Region] = {
    one.name: one
    for one in (
        Region("eu-frankfurt", "Frankfurt", "DE", Decimal("1.00"), "USD", ("gdpr", "iso27001")),
        Region("eu-stockholm", "Stockholm", "SE", Decimal("0.86"), "EUR", ("gdpr", "iso27001", "renewable")),
        Region("us-virginia", "Ashburn", "US", Decimal("0.96"), "USD", ("hipaa", "soc2")),
        Region("us-oregon", "Portland", "US", Decimal("0.94"), "USD", ("soc2",)),
        Region("ap-singapore", "Singapore", "SG", Decimal("1.12"), "USD", ("iso27001",)),
    )
}

_EVERYWHERE = tuple(REGIONS)
_WEST = ("eu-frankfurt", "eu-stockholm", "us-virginia", "us-oregon")

TYPES: dict[str, InstanceType] = {
    name: InstanceType(name, gpu, count, memory, vcpus, ram, storage, Decimal(price), Decimal(spot), capacity, regions)
    for name, gpu, count, memory, vcpus, ram, storage, price, spot, capacity, regions in (
        ("h100-1", "NVIDIA H100 SXM 80GB", 1, 80.0, 26, 225, 500, "2.89", "1.52", 12, _EVERYWHERE),
        ("h100-8", "NVIDIA H100 SXM 80GB", 8, 80.0, 208, 1800, 4000, "22.32", "12.10", 5, _WEST),
        ("a100-80-1", "NVIDIA A100 SXM 80GB", 1, 80.0, 24, 200, 500, "1.69", "0.88", 14, _EVERYWHERE),
        ("a100-80-8", "NVIDIA A100 SXM 80GB", 8, 80.0, 192, 1600, 4000, "13.12", "6.90", 4, _WEST),
        ("a100-40-1", "NVIDIA A100 PCIe 40GB", 1, 40.0, 20, 120, 400, "1.19", "0.61", 10, _WEST),
        ("l40s-1", "NVIDIA L40S", 1, 48.0, 16, 96, 300, "0.95", "0.52", 16, _EVERYWHERE),
        ("l40s-4", "NVIDIA L40S", 4, 48.0, 64, 384, 1200, "3.72", "2.04", 6, _WEST),
        ("a10g-1", "A10G", 1, 24.0, 8, 32, 200, "0.62", "0.28", 18, ("us-virginia", "us-oregon", "eu-frankfurt")),
        ("rtx4090-1", "NVIDIA GeForce RTX 4090", 1, 24.0, 12, 64, 200, "0.49", "0.31", 20, _EVERYWHERE),
        ("t4-1", "NVIDIA T4", 1, 16.0, 4, 16, 100, "0.29", "0.11", 24, _EVERYWHERE),
        ("mi300x-1", "AMD Instinct MI300X", 1, 192.0, 24, 240, 800, "2.49", "1.35", 6, ("us-virginia", "eu-stockholm")),
        ("mi300x-8", "AMD Instinct MI300X", 8, 192.0, 192, 1920, 6000, "19.12", "10.40", 2, ("us-virginia",)),
    )
}


def chance(seed: int, *parts: object) -> float:
    """A number from 0 up to 1 that depends on nothing but the seed and the words that name its use."""
    text = "|".join(map(str, (seed, *parts))).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=7).digest()) / 2**56


def price_per_hour(seed: int, kind: InstanceType, region: Region, pricing: SandboxPricing, now: datetime) -> Decimal:
    """What a new machine costs an hour, in the region's currency: a spot price moves every ten minutes, by a fifth."""
    listed = kind.price
    if pricing == "spot":
        slot = int(now.timestamp()) // _SPOT_SECONDS
        listed = kind.spot * Decimal(round(0.8 + 0.4 * chance(seed, "spot", kind.name, region.name, slot), 3))
    return (listed * region.level).quantize(_CENT_OF_A_CENT, rounding=ROUND_HALF_EVEN)


def left_by_others(seed: int, kind: InstanceType, region: Region, now: datetime) -> int:
    """How many machines everybody else leaves free: from none to all, moving a little every minute."""
    slot, into = divmod(now.timestamp(), _STOCK_SECONDS)
    before, after = (_ease(seed, kind.name, region.name, int(slot) + step) for step in (0, 1))
    share = before + (after - before) * into / _STOCK_SECONDS
    return max(0, min(kind.capacity, int(kind.capacity * (1.25 * share - 0.1))))


@lru_cache(maxsize=4_096)
def _ease(seed: int, kind: str, region: str, slot: int) -> float:
    return chance(seed, "stock", kind, region, slot)
