"""Akash: what recent bids for one GPU cost on the decentralised market, from the Console's public price statistics.

Nothing here has a fixed price: a deployment is auctioned and providers bid. The answer gives, for each card, the spread
of each provider's last known bid (up to 31 days old). The price of the offer is the average weighted by the GPUs each
provider has, since the cheapest bid may come from a provider that is full; the spread stands in the name, the free
GPUs and providers in the evidence. The statistics leave out bids for more than one GPU, so only single GPUs are listed.
No region is given. One request a pass; the provider refreshes the figures every 15 minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from adapters.base import Adapter, Offer, Unlistable
from market.offers import Availability

_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*G(?:i|B|iB)?", re.IGNORECASE)


class Akash(Adapter):
    """Bid statistics per GPU model of the Akash network: an estimate of what the auction will give."""

    name, title, website = "akash", "Akash Network", "https://akash.network"
    base_url, catalogue_path = "https://console-api.akash.network", "/v1/gpu-prices"
    source_url = "https://akash.network/pricing/gpus/"
    price_source = "marketplace"
    interval, stale_after, drop_after = timedelta(minutes=5), timedelta(hours=1), timedelta(days=3)
    per_second, concurrency = 1.0, 1

    def rows(self, page: Any) -> Iterable[Any]:
        """The GPU models with their statistics."""
        return page["models"]  # type: ignore[no-any-return]

    def parse(self, row: Any) -> Iterable[Offer]:
        """One offer of one GPU at the weighted average of the bids; none where nobody has bid."""
        bids = row["price"]
        if not bids:
            raise Unlistable("no recent bids")
        model, interface = row["model"], row.get("interface") or ""
        availability, evidence = _stock(row)
        yield self.listed(
            sku="-".join(part for part in (row["vendor"], model, row.get("ram") or "", interface) if part),
            gpu=model,
            gpu_count=1,
            memory_gb=_memory_gb(row.get("ram")),
            form_factor=interface or None,
            price_per_hour=bids.get("weightedAverage") or bids.get("med"),
            currency=bids.get("currency") or "USD",
            name=f"1x {model} {interface}".rstrip() + f" by auction, average bid ({_spread(bids)})",
            billing_unit="second",
            availability=availability,
            availability_evidence=evidence,
            tags=("auction", "decentralised", "price-estimate"),
        )


def _spread(bids: dict[str, Any]) -> str:
    return f"bids from {bids.get('min', '?')} to {bids.get('max', '?')} an hour"


def _memory_gb(text: object) -> float | None:
    """`80Gi` as 80; None for anything else."""
    found = _MEMORY.fullmatch(str(text or "").strip())
    return float(found[1]) if found else None


def _stock(row: dict[str, Any]) -> tuple[Availability, str | None]:
    """Whether a GPU is free anywhere, and how many at how many providers."""
    gpus, providers = row.get("availability") or {}, row.get("providerAvailability") or {}
    if gpus.get("available") is None:
        return "unknown", None
    free = int(gpus["available"])
    evidence = f"{free} of {gpus.get('total')} GPUs free"
    if providers.get("available") is not None:
        evidence += f" at {providers['available']} of {providers.get('total')} providers"
    return ("available" if free > 0 else "unavailable"), evidence
