"""Reading Amazon's offer files: hundreds of megabytes of CSV a region, streamed line by line and never held.

`region_index.json` of a service lists its regions; the CSV of one region begins with five lines of preamble, then the
header. Columns are known by name, with case and punctuation dropped (`Pre Installed S/W` is `preinstalledsw`), because
services spell them differently. A line is parsed only when it can matter; a torn or odd line is counted and passed
over. Regions are read two at a time; one that fails is a warning and leaves the others.
"""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

from adapters.base import Adapter, Offer, SyncReport
from market.errors import BrokerError, ProviderFailed

Row = dict[str, str]

BASE_URL = "https://pricing.us-east-1.amazonaws.com"
PRICE_REGIONS = ("us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1")
"""The regions with the most GPU types: reading all of them would take many gigabytes."""
"""Serves the prices of every region; there is no other host."""

_PREAMBLE_LINES = 20
_AHEAD = 256
_PUNCTUATION = re.compile(r"[^a-z0-9]+")
_NETWORK = re.compile(r"(?:(\d+)x\s*)?(\d+(?:\.\d+)?)\s*(Gigabit|Megabit)", re.IGNORECASE)
_DISKS = re.compile(r"(?:(\d+)\s*x\s*)?(\d+(?:\.\d+)?)\s*(?:GB\s*)?(NVMe|SSD|HDD)", re.IGNORECASE)


def column(name: str) -> str:
    """A column's name without case and punctuation."""
    return _PUNCTUATION.sub("", name.lower())


async def regional_files(
    adapter: Adapter, offer_code: str, report: SyncReport, wanted: Sequence[str]
) -> dict[str, str]:
    """The address of the current CSV of each wanted region; a region the index does not list is a warning."""
    index = await adapter.client.get_json(f"{BASE_URL}/offers/v1.0/aws/{offer_code}/current/region_index.json")
    regions = index.get("regions") if isinstance(index, dict) else None
    if not isinstance(regions, dict):
        raise ProviderFailed(f"`{adapter.name}` answered in a shape we do not know (region index).")
    found: dict[str, str] = {}
    for region in wanted:
        entry = regions.get(region)
        path = str(entry.get("currentVersionUrl", "")) if isinstance(entry, dict) else ""
        if path.startswith("/offers/") and path.endswith("/index.json"):
            found[region] = BASE_URL + path.removesuffix(".json") + ".csv"
        else:
            report.warnings.append(f"`{region}` is not in the region index of {offer_code}")
            report.complete = False
    return found


async def rows(lines: AsyncIterator[str], matters: Callable[[str], object], report: SyncReport) -> AsyncIterator[Row]:
    """The rows of an offer file for which `matters` holds of the raw line, by normalised column name."""
    header: list[str] = []
    seen = 0
    async for line in lines:
        if not header:
            seen += 1
            first = _fields(line)
            if first and first[0] == "SKU":
                header = [column(name) for name in first]
            elif seen > _PREAMBLE_LINES:
                break
        elif matters(line):
            values = _fields(line)
            if len(values) == len(header):
                yield dict(zip(header, values, strict=True))
            else:
                report.rows += 1
                report.reject("unreadable line")
    if not header:
        raise ProviderFailed(f"`{report.provider}` sent a price file without a header.")


def _fields(line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return []


async def offers_of_regions(
    adapter: Adapter, offer_code: str, report: SyncReport, wanted: Sequence[str], matters: Callable[[str], object]
) -> AsyncIterator[Offer]:
    """Every offer of the wanted regions, `adapter.concurrency` files at a time; raises when no region could be read."""
    addresses = await regional_files(adapter, offer_code, report, wanted)
    failed: list[str] = []

    async def one_region(region: str) -> AsyncGenerator[Offer]:
        made: set[str] = set()
        try:
            async with aclosing(adapter.client.stream_lines(addresses[region])) as lines:
                async for row in rows(lines, matters, report):
                    for offer in adapter.read((row,), report):
                        if offer.id in made:
                            report.offers -= 1
                            report.reject("listed twice")
                            continue
                        made.add(offer.id)
                        yield offer
        except BrokerError as problem:
            failed.append(region)
            report.complete = False
            report.warnings.append(f"`{region}` could not be read: {problem.message}")

    async for offer in _side_by_side([one_region(region) for region in addresses], adapter.concurrency):
        yield offer
    if len(failed) == len(addresses):
        raise ProviderFailed(
            f"`{adapter.name}`: none of {len(wanted)} price files could be read.",
            next_step="Its last known offers stay; the next sync tries again.",
        )


async def _side_by_side(sources: Sequence[AsyncGenerator[Offer]], at_once: int) -> AsyncIterator[Offer]:
    """What several sources yield, as it comes; they wait for the reader, and end when the reader goes away."""
    ready: asyncio.Queue[Offer | asyncio.Task[None]] = asyncio.Queue()
    room = asyncio.Semaphore(_AHEAD)
    turn = asyncio.Semaphore(at_once)

    async def pump(source: AsyncGenerator[Offer]) -> None:
        async with turn, aclosing(source):
            async for offer in source:
                await room.acquire()
                ready.put_nowait(offer)

    pumps = [asyncio.create_task(pump(source)) for source in sources]
    for task in pumps:
        task.add_done_callback(ready.put_nowait)
    try:
        left = len(pumps)
        while left:
            item = await ready.get()
            if isinstance(item, asyncio.Task):
                left -= 1
                item.result()  # a mistake of ours must be heard, not look like a region without offers
            else:
                room.release()
                yield item
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


def network_gbps(text: str) -> float | None:
    """`3200 Gigabit`, `Up to 12500 Megabit`, `4x 100 Gigabit` in gigabits; a ceiling counts as its figure."""
    found = _NETWORK.search(text)
    if found is None:
        return None
    total = float(found[2]) * int(found[1] or 1)
    return total / 1000 if found[3].lower() == "megabit" else total


def storage(text: str) -> tuple[float | None, str | None]:
    """`2 x 900 NVMe SSD` as gigabytes in all and their kind; `EBS only` is none of the instance's own."""
    found = _DISKS.search(text)
    if found is None:
        return None, None
    return float(found[2]) * int(found[1] or 1), found[3].lower()


def number(text: str) -> float | None:
    """The figure a column begins with (`2,048 GiB`, `192`); None when it says nothing."""
    first = text.replace(",", "").split(" ")[0]
    return float(first) if first.replace(".", "", 1).isdigit() else None
