"""Oracle Cloud: GPU shapes from the public price list (no key), at the same price in every commercial region.

The list prices parts, not machines: a GPU part costs so much for one GPU-hour, and a shape of eight costs eight times
that. `oracle_shapes.csv` says which shapes a card comes in (November 2026). The card is read from the part's display
name, whose spelling varies (`OCI- Compute - GPU - MI355X`, `Compute - GPU - A100 - v2`); where the name holds only a
hardware generation (X7, V2, E3) the part number decides. A part of a card that is in no table yet is offered by the
GPU, so a new card is an offer on its first day.

Look-alikes in the same category and metric are left out: licences of NVIDIA AI Enterprise, appliances at the
customer's site. Preemptible capacity costs half, where a shape allows it. Which region has stock is not published, so
each of the 44 commercial regions (`oracle_regions.csv`) gets an offer of unknown availability. The list asks to be
read seldom: once a day.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from adapters.base import Adapter, Offer, Unlistable
from market.offers import Pricing

PER_GPU_HOUR = "GPU Per Hour"
PREEMPTIBLE_SHARE = Decimal("0.5")
_LOOK_ALIKES = ("NVIDIA AI Enterprise", "Cloud@Customer", "VMware", "Roving Edge")
_CARD = re.compile(r"GPU(?:\s+Standard)?\s*[-.]\s*(?P<card>[^-].*)$")
_GENERATION = re.compile(r"[EVX]\d")
_EVIDENCE = "Listed at one price for every commercial region; stock of a region is not published."
_PER_GPU = "per-gpu-"
_TAGS = {"BM.": "bare metal", _PER_GPU: "price of one GPU, shape unknown"}
_Shape = dict[str, str]


class OracleCloud(Adapter):
    """The price list behind Oracle's cost estimator, GPU parts only."""

    name = "oracle_oci"
    title = "Oracle Cloud"
    website = "https://www.oracle.com/cloud/"
    base_url = "https://apexapps.oracle.com"
    catalogue_path = "/pls/apex/cetools/api/v1/products/?currencyCode=USD"
    source_url = "https://www.oracle.com/cloud/compute/gpu/pricing/"
    price_source = "price_list"
    interval = timedelta(days=1)
    stale_after = timedelta(days=3)
    drop_after = timedelta(days=14)
    per_second = 1.0
    concurrency = 1
    max_body_bytes = 8 * 1024 * 1024
    timeout_seconds = 60.0

    def rows(self, page: Any) -> Iterable[Any]:
        """The parts billed by the GPU-hour; the other six hundred are storage, databases and the like."""
        return [row for row in page["items"] if not isinstance(row, dict) or row.get("metricName") == PER_GPU_HOUR]

    def parse(self, row: Any) -> Iterator[Offer]:
        """The offers of one part: every shape of its card, in every region."""
        part, label = str(row["partNumber"]), " ".join(str(row["displayName"]).split())
        category = str(row["serviceCategory"])
        if any(word in label or word in category for word in _LOOK_ALIKES) or not category.startswith("Compute - GPU"):
            raise Unlistable("not a GPU of the public cloud")
        price = _price(row)
        for shape in _shapes(part, label):
            yield from self._everywhere(shape, price)

    def _everywhere(self, shape: _Shape, price: Decimal) -> Iterator[Offer]:
        count = int(shape["gpu_count"])
        shares: list[tuple[Pricing, Decimal]] = [("on_demand", Decimal(1))]
        if shape["preemptible"]:
            shares.append(("spot", PREEMPTIBLE_SHARE))
        for pricing, share in shares:
            for region in _regions():
                yield self.listed(
                    sku=shape["shape"],
                    gpu=shape["gpu"],
                    gpu_count=count,
                    memory_gb=_figure(shape["memory_gb"]),
                    form_factor=shape["form_factor"] or None,
                    cpu_arch=shape["cpu_arch"] or None,
                    cpu_cores=_figure(shape["vcpus"]),
                    ram_gb=_figure(shape["ram_gb"]),
                    name=f"{shape['shape']} ({count}x {shape['gpu']})",
                    region=region,
                    pricing=pricing,
                    price_per_hour=price * count * share,
                    availability_evidence=_EVIDENCE,
                    tags=tuple(tag for prefix, tag in _TAGS.items() if shape["shape"].startswith(prefix)),
                )


def _price(row: Any) -> Decimal:
    """The pay-as-you-go price in US dollars; the free first tier of a graded price is not one."""
    dollars = [place for place in row["currencyCodeLocalizations"] if place["currencyCode"] == "USD"]
    prices = {
        Decimal(str(price["value"]))
        for place in dollars
        for price in place["prices"]
        if price["model"] == "PAY_AS_YOU_GO" and price["value"]
    }
    if len(prices) != 1:
        raise Unlistable("several prices for one GPU" if prices else "no price")
    return prices.pop()


def _shapes(part: str, label: str) -> list[_Shape]:
    """The shapes of a part's card, or one made-up shape of a single GPU for a card the table does not know."""
    found = _CARD.search(label)
    if found is None:
        raise Unlistable("part names no GPU")
    raw = found["card"].strip()
    card = re.sub(r"[^A-Z0-9]", "", raw.upper())
    fitting = [shape for shape in _table() if shape["card"] == card and shape["part"] in ("", part)]
    if fitting:
        return fitting
    if _GENERATION.fullmatch(card):
        raise Unlistable("part names a hardware generation, not a GPU")
    blank = dict.fromkeys(_table()[0], "")
    return [blank | {"shape": f"{_PER_GPU}{part}", "gpu": raw, "gpu_count": "1"}]


@cache
def _table() -> tuple[_Shape, ...]:
    return tuple(csv.DictReader(_lines("oracle_shapes.csv")))


@cache
def _regions() -> tuple[str, ...]:
    return tuple(row["region"] for row in csv.DictReader(_lines("oracle_regions.csv")))


def _lines(name: str) -> list[str]:
    return files("adapters").joinpath(name).read_text(encoding="utf-8").splitlines()


def _figure(text: str) -> float | None:
    return float(text) if text else None
