"""What accelerator an EC2 instance type carries: the name first, the price file's count, then `aws_instances.csv`.

The price files say how many GPUs a type has, often but not reliably, and never which. The family does (`g6e` is the
L40S), newer families in their own name (`p6-b200`). The table holds the families of November 2026, by family and, where
sizes of one family differ, by type; figures as EC2's instance descriptions give them, with the memory they get wrong
repaired (an L4 reports 22888 MiB). A family that is not in it is still an offer on its first day: the card is read from
its name if the name has one, else the family stands as the raw name, and the count comes from the price file.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from market.offers import Unlistable

_TYPE = re.compile(r"(?P<family>(?:gr?|p|u-p|trn|inf|dl)\d[a-z0-9]*(?:-(?P<card>[a-z]+\d+[a-z]*))?)\.[a-z0-9-]+")
_SILENT = ("", "NA", "N/A")


@dataclass(frozen=True, slots=True)
class Accelerators:
    """The accelerators of one instance type; memory is that of one card, or of the slice when `gpu_fraction` < 1."""

    gpu: str
    gpu_count: int
    gpu_fraction: float | None = None
    memory_gb: float | None = None
    form_factor: str | None = None
    cpu_arch: str | None = None
    interconnect: str | None = None


@cache
def _table() -> dict[str, dict[str, str]]:
    text = files("adapters").joinpath("aws_instances.csv").read_text(encoding="utf-8")
    return {row["instance"]: row for row in csv.DictReader(text.splitlines())}


def is_accelerated(instance_type: str) -> bool:
    """Whether the name is of a family that carries GPUs or training chips (`ml.` of SageMaker left out)."""
    return _TYPE.fullmatch(instance_type) is not None


def accelerators(instance_type: str, stated_count: str = "", stated_gpu: str = "") -> Accelerators:
    """The accelerators of an instance type, given what the price file says of them.

    Raises Unlistable for a type without any, or of a count nobody states.
    """
    parts = _TYPE.fullmatch(instance_type)
    if parts is None:
        raise Unlistable("not an accelerated instance type")
    known = {**_table().get(parts["family"], {})}
    known |= {key: value for key, value in _table().get(instance_type, {}).items() if value}
    count, fraction = _count(known, stated_count)
    if not known and stated_gpu not in _SILENT:
        known["gpu"] = stated_gpu
    return Accelerators(
        gpu=known.get("gpu") or (parts["card"] or parts["family"]).upper(),
        gpu_count=count,
        gpu_fraction=fraction,
        memory_gb=_figure(known.get("memory_gb")),
        form_factor=known.get("form_factor") or None,
        cpu_arch=known.get("cpu_arch") or None,
        interconnect=(known.get("interconnect") or None) if count > 1 else None,
    )


def _count(known: dict[str, str], stated: str) -> tuple[int, float | None]:
    if known.get("gpu_count"):
        return int(known["gpu_count"]), _figure(known.get("gpu_fraction"))
    if stated in _SILENT:
        raise Unlistable("accelerator count is not stated")
    number = float(stated)
    if 0 < number < 1:
        return 1, number
    if number < 1 or number != int(number):
        raise Unlistable("no whole number of accelerators")
    return int(number), None


def _figure(text: str | None) -> float | None:
    return float(text) if text else None
