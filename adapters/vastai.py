"""Vast.ai: every rentable ask of the marketplace, on demand and interruptible, from the public search.

The search has no pages, only a limit, so it is asked in six slices (verified or not, each for 1, for 2 to 4 and for
5 and more GPUs); a slice that comes back full is reported as cut off. Six requests a pass, sent one by one with
pauses, as the site limits each endpoint by a minimum interval.

The price is the whole offer with `ALLOCATED_DISK_GB` of disk, which `storage_gb` says; more disk costs
`storage_price_per_gb_month`. Interruptible prices are the lowest accepted bid plus the same disk: a higher bid of
somebody else pauses the instance. Ask ids live for seconds, so an offer is known by its machine, card and count;
`external_id` is the ask that was seen last. Of several asks for the same product the cheapest is listed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from adapters.base import Adapter, Offer, SyncReport, Unlistable
from market.offers import SecurityTier

ALLOCATED_DISK_GB = 10
LIMIT = 3000
_NO_PRICE = Decimal("Infinity")
_TEN_YEARS = Decimal(10 * 365 * 24 * 3600)
_CPU_ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}
SLICES: tuple[dict[str, Any], ...] = tuple(
    {"verified": {"eq": verified}, "num_gpus": gpus}
    for verified in (True, False)
    for gpus in ({"eq": 1}, {"gte": 2, "lte": 4}, {"gte": 5})
)


class VastAI(Adapter):
    """Vast.ai's marketplace of hosts, from data centers to single machines."""

    name, title, website = "vastai", "Vast.ai", "https://vast.ai"
    base_url, catalogue_path = "https://console.vast.ai", "/api/v0/bundles/"
    source_url = "https://cloud.vast.ai/create/"
    price_source = "marketplace"
    interval, stale_after, drop_after = timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=6)
    per_second, concurrency = 0.3, 1
    timeout_seconds = 30.0

    async def pages(self) -> AsyncIterator[Any]:
        """One answer a slice. The slash at the end of the path stays: a redirect would turn the POST into a GET."""
        for part in SLICES:
            yield await self.client.post_json(
                self.base_url + self.catalogue_path,
                {
                    **part,
                    "rentable": {"eq": True},
                    "rented": {"eq": False},
                    "type": "ondemand",
                    "order": [["dph_total", "asc"]],
                    "limit": LIMIT,
                    "allocated_storage": ALLOCATED_DISK_GB,
                },
                safe=True,
            )

    def read(self, page: Any, report: SyncReport) -> Iterator[Offer]:
        """As every adapter, and a slice at the limit is said to be incomplete."""
        offers = page.get("offers") if isinstance(page, dict) else None
        if isinstance(offers, list) and len(offers) >= LIMIT:
            report.complete = False
            report.warnings.append(f"Vast.ai gave its limit of {LIMIT} offers in one search: the dearest are missing.")
        yield from super().read(page, report)

    def rows(self, page: Any) -> Iterable[Any]:
        """The asks, cheapest first, only the first of each product; what cannot be listed stays, to be counted."""
        seen: set[tuple[str, ...]] = set()
        kept = []
        for row in sorted(page["offers"], key=_total):
            if 0 < _total(row) < _NO_PRICE and _is_rentable(row):
                product = tuple(str(row.get(field)) for field in ("machine_id", "num_gpus", "gpu_name", "gpu_ram"))
                if product in seen:
                    continue
                seen.add(product)
            kept.append(row)
        return kept

    def parse(self, row: Any) -> Iterable[Offer]:
        """The on-demand offer and, where a bid is accepted, the interruptible one."""
        if not _is_rentable(row):
            raise Unlistable("not rentable now")
        seconds_left = _number(row.get("duration"))
        if seconds_left is not None and seconds_left <= 0:
            raise Unlistable("the host's offer has ended")
        count, card, ram_mb = int(row["num_gpus"]), row["gpu_name"], _positive(row.get("gpu_ram"))
        bid = _positive(row.get("min_bid"))
        spot = bid + _disk_per_hour(row) if bid else None
        country = _country(row.get("geolocation"))
        facts: dict[str, Any] = {
            "sku": f"m{row['machine_id']}-{count}x-{card}",
            "external_id": str(row["id"]),
            "gpu": card,
            "gpu_count": count,
            "memory_gb": float(ram_mb) / 1024 if ram_mb else None,
            "region": country or "unknown",
            "country": country,
            "billing_unit": "second",
            "availability": "available",
            "max_rental_minutes": int(min(seconds_left, _TEN_YEARS)) // 60 if seconds_left is not None else None,
            **_machine(row),
        }
        yield self.listed(
            name=_name(row, count),
            price_per_hour=row["dph_total"],
            spot_price=spot,
            availability_evidence=f"ask {row['id']} is rentable",
            **facts,
        )
        if spot is not None:
            yield self.listed(
                name=f"{_name(row, count)}, interruptible at the lowest bid",
                price_per_hour=spot,
                pricing="spot",
                availability_evidence=f"ask {row['id']} takes bids from {bid}; a higher bid pauses it",
                **facts,
            )


def _number(value: object) -> Decimal | None:
    """A figure as the API writes it: number, text or nothing."""
    return None if value is None or value == "" else Decimal(str(value))


def _positive(value: object) -> Decimal | None:
    """Likewise, with zero and less meaning nothing said."""
    figure = _number(value)
    return figure if figure is not None and figure > 0 else None


def _total(row: Any) -> Decimal:
    """The price to sort by; rows without one go last and are refused there."""
    try:
        price = _number(row["dph_total"])
    except (KeyError, TypeError, InvalidOperation):
        return _NO_PRICE
    return price if price is not None and price.is_finite() else _NO_PRICE


def _is_rentable(row: dict[str, Any]) -> bool:
    return row.get("rentable") is not False and not row.get("rented")


def _name(row: dict[str, Any], count: int) -> str:
    place = str(row.get("geolocation") or "").strip(" ,") or "place not stated"
    return f"{count}x {row['gpu_name']}, {place} ({_disk_gb(row):g} GB disk in the price)"


def _disk_gb(row: dict[str, Any]) -> float:
    free = _positive(row.get("disk_space"))
    return float(ALLOCATED_DISK_GB if free is None else min(free, Decimal(ALLOCATED_DISK_GB)))


def _disk_per_hour(row: dict[str, Any]) -> Decimal:
    """What the allocated disk adds to the GPUs' price in the total."""
    base, total = _number(row.get("dph_base")), _number(row.get("dph_total"))
    return Decimal(0) if base is None or total is None else max(Decimal(0), total - base)


def _machine(row: dict[str, Any]) -> dict[str, Any]:
    """The renter's share of the machine, and how good the machine is."""
    share, speed_mbps = _positive(row.get("cpu_cores_effective")), _positive(row.get("inet_down"))
    reliability = _number(row.get("reliability2", row.get("reliability")))
    return {
        "cpu_cores": float(share) if share else None,
        "ram_gb": _ram_gb(row),
        "cpu_arch": _CPU_ARCHITECTURES.get(str(row.get("cpu_arch"))),
        "storage_gb": _disk_gb(row),
        "storage_price_per_gb_month": row.get("storage_cost"),
        "egress_price_per_gb": row.get("inet_up_cost"),
        "network_gbps": round(float(speed_mbps) / 1000, 3) if speed_mbps else None,
        "interconnect": "NVLink" if _positive(row.get("bw_nvlink")) else None,
        "security_tier": _tier(row.get("hosting_type")),
        "reliability": float(reliability) if reliability is not None and 0 <= reliability <= 1 else None,
        "tags": (str(row.get("verification") or ""), "static-ip" if row.get("static_ip") else ""),
    }


def _ram_gb(row: dict[str, Any]) -> float | None:
    """Memory goes with the share of the machine's threads; not known where the host does not state them."""
    whole_mb, cores, share = (_positive(row.get(field)) for field in ("cpu_ram", "cpu_cores", "cpu_cores_effective"))
    if not whole_mb or not cores or not share:
        return None
    return round(float(whole_mb * share / cores) / 1024, 1)


def _tier(hosting_type: object) -> SecurityTier | None:
    if hosting_type is None:
        return None
    return "community" if str(hosting_type) == "0" else "datacenter"


def _country(geolocation: object) -> str | None:
    """The ISO code in `Washington, US`, `, US` or `France, FR, EU`; None where there is none."""
    parts = [part.strip() for part in str(geolocation or "").split(",")]
    if parts[-1] == "EU":
        parts.pop()
    last = parts[-1] if parts else ""
    return last if len(last) == 2 and last.isascii() and last.isalpha() and last.isupper() else None
