"""Published price histories as daily series, for the forecast bench and its table."""

from __future__ import annotations

import csv
import gzip
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mathcore.grid import regular_grid

TUNED = frozenset({"g4dn", "g5", "p3"})
"""Families of which every second series chose the constants of the interval widths; the rest had no say in them."""
REGION_CLASSES = {"us": "US", "ca": "US", "eu": "Europe", "ap": "Asia-Pacific"}


@dataclass(frozen=True, slots=True)
class DailySeries:
    """Daily prices of one product, its market classes, and whether it had a say in the widths of the intervals."""

    name: str
    classes: tuple[str, ...]
    first_day: date
    prices: NDArray[np.float64]
    tuned_on: bool = False


def aws_spot(folder: Path) -> list[DailySeries]:
    """Every AWS spot series, a machine in a zone, by family and by part of the world."""
    seen: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in _rows(folder / "aws_spot_daily.csv.gz"):
        if row["spot_usd_h"]:
            key = (row["instance_type"], row["region"], row["az"])
            seen[key].append((date.fromisoformat(row["day"]).toordinal(), float(row["spot_usd_h"])))
    series: list[DailySeries] = []
    met: dict[str, int] = defaultdict(int)
    for (machine, region, zone), points in sorted(seen.items()):
        family = machine.split(".")[0]
        met[family] += 1
        world = REGION_CLASSES.get(region.split("-")[0], "elsewhere")
        series.append(
            _daily(
                f"{machine} {zone}",
                (f"AWS spot, {family}", f"AWS spot, {world}"),
                points,
                tuned_on=family in TUNED and met[family] % 2 == 0,
            )
        )
    return series


def gcp(folder: Path, of_each: int, seed: int = 0) -> list[DailySeries]:
    """A sample of GCP prices of each kind: on demand, spot, and committed for one and three years."""
    kinds = {"ondemand_usd_h": "on-demand", "spot_usd_h": "spot", "month_1y_usd": "1 year", "month_3y_usd": "3 years"}
    seen: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    last = 0.0
    for row in _rows(folder / "gcp_price_changes.csv.gz"):
        day = float(datetime.fromisoformat(row["ts_utc"]).date().toordinal())
        last = max(last, day)
        name = " ".join((row["machine_type"], row["gpu"], row["gpu_count"], row["region"]))
        for column, kind in kinds.items():
            if row[column] and float(row[column]) > 0:
                seen[kind, name].append((day, float(row[column])))
    dice = random.Random(seed)
    series = []
    for kind in kinds.values():
        names = sorted(name for one, name in seen if one == kind)
        for name in dice.sample(names, min(of_each, len(names))):
            series.append(_daily(name, (f"GCP {kind}",), seen[kind, name], until=last))
    return series


def _daily(
    name: str,
    classes: tuple[str, ...],
    points: list[tuple[float, float]],
    until: float | None = None,
    tuned_on: bool = False,
) -> DailySeries:
    days, prices = zip(*points, strict=True)
    grid = regular_grid(days, prices, 1.0, until)
    return DailySeries(name, classes, date.fromordinal(int(grid.times[0])), grid.values, tuned_on)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
