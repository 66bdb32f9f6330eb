"""Vultr: GPU plans, virtual and bare metal, from the public plan lists.

Two lists, each with cursor pages of 500 (two requests a pass today). A plan is one offer in every location that lists
it; a plan listed nowhere is one offer that is unavailable. Video memory is the total of the plan: a plan with less than
one card's memory is a fraction of a card. Dedicated and bare-metal plans carry no GPU fields, their id names the card
and metal ids the count. The hourly price is used; the monthly one is only a cap on it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from adapters.base import Adapter, Offer, Unlistable, clean_text
from market import gpus
from market.errors import ProviderFailed

_METAL_COUNT = re.compile(r"-(\d+)-[a-z0-9]+-gpu$")
_TOTAL_MEMORY = re.compile(r"-(\d+)vram$")
# The suffix of this id says 1536 GB, the published configuration is 8 cards of 256 GB.
_MISLABELLED_COUNTS = {"vcg-mi325x-252c-2872g-1536vram": 8}


class Vultr(Adapter):
    """Vultr's Cloud GPU, dedicated GPU and GPU bare-metal plans."""

    name, title, website = "vultr", "Vultr", "https://www.vultr.com"
    base_url = "https://api.vultr.com"
    source_url = "https://www.vultr.com/pricing/"
    interval, stale_after, drop_after = timedelta(minutes=5), timedelta(hours=1), timedelta(days=3)
    per_second, concurrency = 5.0, 2

    async def pages(self) -> AsyncIterator[Any]:
        """Both lists, page by page; a cursor that repeats itself ends the list."""
        for path, kind in (("/v2/plans", {"type": "all"}), ("/v2/plans-metal", {})):
            cursor, seen = "", {""}
            while True:
                params = {**kind, "per_page": "500"} | ({"cursor": cursor} if cursor else {})
                page = await self.client.get_json(self.base_url + path, params=params)
                yield page
                cursor = self._next(page)
                if cursor in seen:
                    break
                seen.add(cursor)

    def _next(self, page: Any) -> str:
        try:
            return str(((page.get("meta") or {}).get("links") or {}).get("next") or "")
        except AttributeError:
            raise ProviderFailed(f"`{self.name}` answered in a shape we do not know.") from None

    def rows(self, page: Any) -> Iterable[Any]:
        """The plans with a GPU; the many others are no business of ours and not counted."""
        plans = page["plans"] if "plans" in page else page["plans_metal"]
        return [plan for plan in plans if not isinstance(plan, dict) or _has_gpu(plan)]

    def parse(self, row: Any) -> Iterable[Offer]:
        """A plan's offers: on demand, and preemptible where the plan has that price, in each location."""
        facts = (_metal(row) if row["id"].startswith("vbm-") else _virtual(row)) | _machine(row)
        prices = []
        if row.get("deploy_ondemand") is not False:
            prices.append(("on_demand", row.get("hourly_cost")))
        preemptible = row.get("hourly_cost_preemptible")
        if preemptible and row.get("deploy_preemptible") is not False:
            prices.append(("spot", preemptible))
        if not prices:
            raise Unlistable("not sold on demand")
        places = [str(place) for place in row.get("locations") or () if place]
        for pricing, price in prices:
            for place in places or ["global"]:
                yield self.listed(
                    pricing=pricing,
                    price_per_hour=price,
                    spot_price=preemptible if pricing == "on_demand" and len(prices) > 1 else None,
                    region=place,
                    availability="available" if places else "unavailable",
                    availability_evidence=f"the plan list names {place}" if places else "no location has it",
                    **facts,
                )


def _has_gpu(plan: dict[str, Any]) -> bool:
    return bool(plan.get("gpu_type") or plan.get("type") in ("vcg", "vdm") or str(plan.get("id")).endswith("-gpu"))


def _metal(plan: dict[str, Any]) -> dict[str, Any]:
    """A whole server: the card from the id, and the count where it is more than one."""
    found = _METAL_COUNT.search(plan["id"])
    return {
        "gpu": plan["id"],
        "gpu_count": int(found[1]) if found else 1,
        "gpu_fraction": 1.0,
        "storage_type": str(plan["type"]) if plan.get("type") else None,
        "tags": ("bare-metal",),
    }


def _virtual(plan: dict[str, Any]) -> dict[str, Any]:
    """A virtual machine: the count is the total memory over one card's, below one it is a fraction."""
    card = plan.get("gpu_type") or _card_of(plan["id"])
    if plan.get("gpu_vram_gb"):
        total = Decimal(str(plan["gpu_vram_gb"]))
    else:
        stated = _TOTAL_MEMORY.search(plan["id"])
        if stated is None:
            raise Unlistable("GPU memory not stated")
        total = Decimal(stated[1])
    whole = gpus.identify(card, provider=Vultr.name).memory_gb
    if not whole:
        raise Unlistable(f"cannot count GPUs of the unknown card {clean_text(card, 40)}")
    count = _MISLABELLED_COUNTS.get(plan["id"]) or max(1, int(total / Decimal(str(whole))))
    fraction = min(1.0, float(total) / whole)
    return {
        "gpu": card,
        "gpu_count": count,
        "gpu_fraction": fraction,
        "memory_gb": None if plan["id"] in _MISLABELLED_COUNTS else float(total) / count,
        "tags": ("dedicated",) if plan.get("type") == "vdm" else ("fraction",) if fraction < 1 else (),
    }


def _card_of(plan_id: str) -> str:
    """The card an id names (`vcg-h100-…`), spelled as the list spells cards elsewhere."""
    card = plan_id.split("-")[1].upper()
    return f"AMD_{card}" if card.startswith("MI") else f"NVIDIA_{card}"


def _machine(plan: dict[str, Any]) -> dict[str, Any]:
    cores = plan.get("vcpu_count") or plan.get("cpu_threads")
    disk = plan.get("disk")
    return {
        "sku": plan["id"],
        "name": f"Vultr {plan['id']}",
        "cpu_cores": float(cores) if cores else None,
        "ram_gb": round(float(plan["ram"]) / 1024, 1) if plan.get("ram") else None,
        "storage_gb": float(disk * (plan.get("disk_count") or 1)) if disk else None,
        "security_tier": "datacenter",
    }
