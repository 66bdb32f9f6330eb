"""RunPod: GPU pods by data center (secure cloud) and country (community cloud), from the public GraphQL endpoint.

A price belongs to a GPU type, stock to a type in a place for a count. One query fetches the types with their prices and
the places; then the stock of every place is asked for 1, 2, 4 and 8 GPUs, forty questions to a request as aliases:
about ten requests a pass rather than several hundred. Offers exist where there is stock; a type with none anywhere in
a cloud is one offer that is unavailable, so the price stays visible without a row for each empty place. Pods of 3, 5, 6
or 7 GPUs can be rented too, at the same price for each GPU, and are not listed one by one.

Prices in the answer are per GPU. Spot prices and savings plans (secure cloud only) are offers of their own; Instant
Clusters are listed at their smallest size, two nodes, with unknown stock. Disk is billed beside the pod. Billing is by
the second with no minimum. Community stock is asked by country since pinning a data center does not work there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from adapters.base import Adapter, Offer, Unlistable
from market.errors import ProviderFailed
from market.offers import Availability, Pricing

SIZES = (1, 2, 4, 8)
QUESTIONS_PER_REQUEST = 40
DISK_PRICE_PER_GB_MONTH = Decimal("0.10")
_TYPES = """query Types { countryCodes dataCenters { id listed } gpuTypes { id displayName memoryInGb
  maxGpuCountSecureCloud maxGpuCountCommunityCloud minPodGpuCount securePrice communityPrice secureSpotPrice
  communitySpotPrice oneWeekPrice oneMonthPrice threeMonthPrice sixMonthPrice clusterPrice
  nodeGroupDatacenters { id } } }"""
_PLACE = re.compile(r"[A-Za-z0-9-]{2,24}")
_STOCK: dict[str, Availability] = {"High": "available", "Medium": "available", "Low": "limited"}
_DAY = 24 * 60
_PLANS: tuple[tuple[Pricing, str, int], ...] = (
    ("reserved_1w", "oneWeekPrice", 7 * _DAY),
    ("reserved_1m", "oneMonthPrice", 30 * _DAY),
    ("reserved_3m", "threeMonthPrice", 90 * _DAY),
    ("reserved_6m", "sixMonthPrice", 180 * _DAY),
)


@dataclass(frozen=True, slots=True)
class Placement:
    """One question of stock: so many GPUs in a data center (secure) or a country (community)."""

    secure: bool
    place: str
    count: int

    @property
    def cloud(self) -> str:
        """`secure` or `community`, as the provider names its two clouds."""
        return "secure" if self.secure else "community"

    @property
    def alias(self) -> str:
        """The GraphQL name the answer comes back under."""
        return f"{self.cloud}_{self.count}_{self.place.replace('-', '_')}"

    @property
    def question(self) -> str:
        """The aliased field that asks it; `place` has been checked to be plain."""
        where = f'dataCenterId: "{self.place}"' if self.secure else f'countryCode: "{self.place}"'
        asked = f"gpuCount: {self.count}, secureCloud: {str(self.secure).lower()}, {where}"
        return f"{self.alias}: lowestPrice(input: {{{asked}}}) {{ stockStatus minVcpu minMemory compliance }}"


class RunPod(Adapter):
    """RunPod's pods, on demand, spot and by savings plan."""

    name, title, website = "runpod", "RunPod", "https://www.runpod.io"
    base_url, catalogue_path = "https://api.runpod.io", "/graphql"
    source_url = "https://www.runpod.io/pricing"
    interval, stale_after, drop_after = timedelta(minutes=5), timedelta(minutes=20), timedelta(days=2)
    per_second, concurrency = 5.0, 4
    timeout_seconds = 30.0

    async def pages(self) -> AsyncIterator[Any]:
        """One page: every GPU type beside the stock found for it."""
        types = await self._ask(_TYPES)
        try:
            asked = list(placements(types))
            groups = [asked[at : at + QUESTIONS_PER_REQUEST] for at in range(0, len(asked), QUESTIONS_PER_REQUEST)]
            asking = (self._ask(_stock_query(group)) for group in groups)
            answers = await asyncio.gather(*asking, return_exceptions=True)
            stock: dict[str, dict[str, Any]] = {}
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
                for kind in answer["gpuTypes"]:
                    stock.setdefault(kind["id"], {}).update(kind)
            yield [(kind, _in_stock(asked, stock.get(kind["id"], {}))) for kind in types["gpuTypes"]]
        except (KeyError, TypeError, AttributeError, ValueError) as problem:
            raise ProviderFailed(
                f"`{self.name}` answered in a shape we do not know ({type(problem).__name__})."
            ) from problem

    async def _ask(self, query: str) -> dict[str, Any]:
        """The `data` of an answer; errors arrive with HTTP 200 and are failures all the same."""
        answer = await self.client.post_json(self.base_url + self.catalogue_path, {"query": query}, safe=True)
        data = answer.get("data") if isinstance(answer, dict) and not answer.get("errors") else None
        if not isinstance(data, dict):
            raise ProviderFailed(f"`{self.name}` refused a query.", next_step="Its last known offers stay.")
        return data

    def parse(self, row: Any) -> Iterable[Offer]:
        """The offers of one GPU type in both clouds."""
        kind, stock = row
        if not any(kind.get(field) for field in ("securePrice", "communityPrice", "clusterPrice")):
            raise Unlistable("no price")
        for secure in (True, False):
            if not _sold(kind.get("securePrice" if secure else "communityPrice")):
                continue
            placed = [(at, found) for at, found in stock if at.secure == secure]
            for at, found in placed:
                yield from self._pods(kind, at, found)
            if not placed:
                smallest = Placement(secure, "global", int(kind.get("minPodGpuCount") or 1))
                yield from self._pods(kind, smallest, {})
        yield from self._clusters(kind)

    def _pods(self, kind: dict[str, Any], at: Placement, found: dict[str, Any]) -> Iterator[Offer]:
        """A pod at every price it is sold at; only the on-demand one where there is no stock."""
        status = found.get("stockStatus")
        compliance = found.get("compliance")
        spot = kind.get(f"{at.cloud}SpotPrice")
        facts: dict[str, Any] = {
            **_card(kind),
            "sku": f"{_type_id(kind)}-{at.count}x-{at.cloud}",
            "external_id": f"{kind['id']}|{at.place}|{at.cloud}|{at.count}",
            "gpu_count": at.count,
            "cpu_cores": float(found["minVcpu"]) if found.get("minVcpu") else None,
            "ram_gb": float(found["minMemory"]) if found.get("minMemory") else None,
            "region": at.place,
            "country": at.place if not at.secure and len(at.place) == 2 else None,
            "security_tier": "datacenter" if at.secure else "community",
            "availability": _STOCK.get(status, "unknown") if status else "unavailable",
            "availability_evidence": f"stock {status}, {at.count} in {at.place}" if status else "no stock in any place",
            "tags": (f"{at.cloud}-cloud", *(compliance if isinstance(compliance, list) else ())),
        }
        price = _times(kind["securePrice" if at.secure else "communityPrice"], at.count)
        spot_price = _times(spot, at.count) if _sold(spot) else None
        name = f"{at.count}x {kind.get('displayName') or kind['id']}, {at.cloud} cloud"
        yield self.listed(name=name, price_per_hour=price, spot_price=spot_price, **facts)
        if not status:
            return
        if spot_price is not None:
            yield self.listed(name=f"{name}, spot", price_per_hour=spot_price, pricing="spot", **facts)
        for pricing, field, minutes in _PLANS if at.secure else ():
            if _sold(kind.get(field)):
                planned = _times(kind[field], at.count)
                facts["min_rental_minutes"] = minutes
                yield self.listed(name=f"{name}, savings plan", price_per_hour=planned, pricing=pricing, **facts)

    def _clusters(self, kind: dict[str, Any]) -> Iterator[Offer]:
        """The smallest Instant Cluster of this type, in each data center that has one."""
        per_node = int(kind.get("maxGpuCountSecureCloud") or 0)
        if not _sold(kind.get("clusterPrice")) or per_node < 1:
            return
        for center in kind.get("nodeGroupDatacenters") or ():
            yield self.listed(
                **_card(kind),
                sku=f"{_type_id(kind)}-2x{per_node}-cluster",
                external_id=f"{kind['id']}|{center['id']}|cluster|{2 * per_node}",
                name=f"Instant Cluster, 2 nodes of {per_node}x {kind.get('displayName') or kind['id']}",
                price_per_hour=_times(kind["clusterPrice"], 2 * per_node),
                gpu_count=2 * per_node,
                node_count=2,
                region=center["id"],
                security_tier="datacenter",
                tags=("cluster", "secure-cloud"),
            )


def placements(types: dict[str, Any]) -> Iterator[Placement]:
    """Every place and count worth asking for: listed data centers and countries, up to each cloud's largest pod."""
    centers = [center["id"] for center in types["dataCenters"] if center.get("listed")]
    countries = [code for code in types["countryCodes"] if code]
    for secure, places, limit in (
        (True, centers, "maxGpuCountSecureCloud"),
        (False, countries, "maxGpuCountCommunityCloud"),
    ):
        largest = max((int(kind.get(limit) or 0) for kind in types["gpuTypes"]), default=0)
        for place in dict.fromkeys(places):
            if _PLACE.fullmatch(place):
                yield from (Placement(secure, place, size) for size in SIZES if size <= largest)


def _stock_query(asked: list[Placement]) -> str:
    return "query Stock { gpuTypes { id " + " ".join(at.question for at in asked) + " } }"


def _in_stock(asked: list[Placement], answers: dict[str, Any]) -> list[tuple[Placement, dict[str, Any]]]:
    return [(at, found) for at in asked if (found := answers.get(at.alias)) and found.get("stockStatus")]


def _type_id(kind: dict[str, Any]) -> str:
    """The id with runs of blanks collapsed: some legacy ids carry two."""
    return " ".join(str(kind["id"]).split())


def _card(kind: dict[str, Any]) -> dict[str, Any]:
    return {
        "gpu": _type_id(kind),
        "memory_gb": float(kind["memoryInGb"]) if kind.get("memoryInGb") else None,
        "billing_unit": "second",
        "storage_price_per_gb_month": DISK_PRICE_PER_GB_MONTH,
    }


def _sold(price: object) -> bool:
    return price is not None and Decimal(str(price)) > 0


def _times(unit_price: object, count: int) -> Decimal:
    return Decimal(str(unit_price)) * count
