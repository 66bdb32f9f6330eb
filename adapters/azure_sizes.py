"""What an Azure GPU size is, read from its name: `Standard_ND96isr_H100_v5` is 96 vCPUs and eight H100.

A name is a family, vCPUs, letters for features (`r` is InfiniBand), perhaps a card, and a version. The prices API says
nothing of hardware, so how many vCPUs go with one GPU comes from `azure_series.csv`, and what no rule gives (RAM, odd
sizes) from `azure_sizes.csv`; figures of November 2026 from the provider's size pages and public catalogues. A series
that is in neither is still an offer when its name names a card and the family settles the count: ND sizes are whole
boards, of eight GPUs or of four superchips.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from market.offers import Unlistable

_SIZE = re.compile(
    r"(?:Standard_)?(?P<family>N(?:CC|C|D|V|G))(?P<vcpus>\d+)(?P<features>[a-z]*)(?P<rest>(?:_[A-Za-z0-9]+)*)"
)
_VERSION = re.compile(r"v\d+")
_NO_CARD = frozenset({"xl", "NDR", "Promo"})
_SUPERCHIP = re.compile(r"G[BHR]\d+")


@dataclass(frozen=True, slots=True)
class Size:
    """One VM size; memory is that of one card, or of the slice when `gpu_fraction` < 1."""

    gpu: str
    gpu_count: int
    gpu_fraction: float | None
    memory_gb: float | None
    form_factor: str | None
    cpu_arch: str | None
    vcpus: int
    ram_gb: float | None
    infiniband: bool
    promo: bool


@cache
def _table(name: str, key: str) -> dict[str, dict[str, str]]:
    text = files("adapters").joinpath(name).read_text(encoding="utf-8")
    return {row[key]: row for row in csv.DictReader(text.splitlines())}


def size(name: str) -> Size:
    """The size an `armSkuName` stands for. Raises Unlistable when it has no GPU or its GPUs cannot be told."""
    parts = _SIZE.fullmatch(name)
    if parts is None:
        raise Unlistable("not a GPU size")
    words = parts["rest"].split("_")[1:]
    version = next((word for word in words if _VERSION.fullmatch(word)), "")
    card = "".join(word for word in words if word not in _NO_CARD and word != version)
    series = _table("azure_series.csv", "series").get("_".join(filter(None, (parts["family"], card, version))), {})
    plain = name.removeprefix("Standard_").removesuffix("_Promo")
    exact = _table("azure_sizes.csv", "size").get(plain, {})
    vcpus = int(parts["vcpus"])
    count, fraction = _gpus(vcpus, series, exact, parts["family"], card)
    memory = float(series["memory_gb"]) if series.get("memory_gb") else None
    return Size(
        gpu=series.get("gpu") or card,
        gpu_count=count,
        gpu_fraction=fraction,
        memory_gb=memory * fraction if memory and fraction else memory,
        form_factor=series.get("form_factor") or None,
        cpu_arch=series.get("cpu_arch") or ("arm64" if _SUPERCHIP.fullmatch(card) else None),
        vcpus=vcpus,
        ram_gb=float(exact["ram_gb"]) if exact.get("ram_gb") else None,
        infiniband="r" in parts["features"],
        promo="Promo" in words,
    )


def _gpus(
    vcpus: int, series: dict[str, str], exact: dict[str, str], family: str, card: str
) -> tuple[int, float | None]:
    if exact.get("gpu_count"):
        return int(exact["gpu_count"]), float(exact["gpu_fraction"]) if exact["gpu_fraction"] else None
    if series.get("gpu_count"):
        return int(series["gpu_count"]), None
    if series:
        share = vcpus / int(series["vcpus_per_gpu"])
        if series["sliced"] and share < 1:
            return 1, share
        return max(1, round(share)), None
    if card and family == "ND":
        return (4 if _SUPERCHIP.fullmatch(card) else 8), None
    raise Unlistable("GPUs of this size are not known")
