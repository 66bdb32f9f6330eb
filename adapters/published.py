"""The published price tables: what each provider's list said, on which day, and where to read it.

`published_prices.csv` has one row a product, place and pricing. Where a source gives only a year, `as_of` is the
earliest day the figure may be from, so that a price is never shown younger than it is. A table says nothing of
stock, so availability is `unknown`; and it is never called live, even for a provider that also has an API.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, cast

from adapters.base import Adapter
from market.errors import ProviderRefused
from market.offers import Offer, PriceSource, Pricing, listed


class PublishedOnly(Adapter):
    """A provider known from its published prices alone.

    The table is read again every day. `stale_after` is about that reading, not about the figures: how old those are
    is said by each offer's `price_as_of`, so a month without a reading means that our sync stood still.
    """

    price_source: ClassVar[PriceSource] = "static_table"
    interval: ClassVar[timedelta] = timedelta(days=1)
    stale_after: ClassVar[timedelta] = timedelta(days=30)
    drop_after: ClassVar[timedelta] = timedelta(days=90)
    notice: ClassVar[str] = "Known from published price lists alone: each price has its date, stock is not known."

    def pages(self) -> AsyncIterator[Any]:
        """None: there is nobody to ask."""
        raise ProviderRefused(f"`{self.name}` has no API to read prices from; its published table is all there is.")


@dataclass(frozen=True, slots=True)
class PublishedPrice:
    """One row of the table as written; the price is of the whole instance, memory of one GPU or of the slice sold."""

    provider: str
    sku: str
    gpu: str
    gpu_count: int
    gpu_fraction: float | None
    memory_gb: float | None
    cpu_cores: float | None
    ram_gb: float | None
    region: str
    pricing: str
    price_per_hour: str
    currency: str
    as_of: date
    source: str
    note: str


def published(adapter: type[Adapter], now: datetime) -> Iterator[Offer]:
    """The rows of one provider as offers, each dated and sourced."""
    for row in table().get(adapter.name, ()):
        yield listed(
            provider=row.provider,
            sku=row.sku,
            gpu=row.gpu,
            gpu_count=row.gpu_count,
            gpu_fraction=row.gpu_fraction,
            memory_gb=row.memory_gb,
            cpu_cores=row.cpu_cores,
            ram_gb=row.ram_gb,
            region=row.region,
            pricing=cast("Pricing", row.pricing),
            price_per_hour=row.price_per_hour,
            currency=row.currency,
            price_source="static_table",
            price_as_of=datetime.combine(row.as_of, time(), UTC),
            source_url=row.source,
            seen_at=now,
        )


def providers() -> tuple[str, ...]:
    """The providers that have published rows."""
    return tuple(table())


@cache
def table() -> dict[str, tuple[PublishedPrice, ...]]:
    """Every row by provider, read once."""
    text = files("adapters").joinpath("published_prices.csv").read_text(encoding="utf-8")
    found: dict[str, list[PublishedPrice]] = {}
    for row in csv.DictReader(text.splitlines()):
        found.setdefault(row["provider"], []).append(_read(row))
    return {provider: tuple(rows) for provider, rows in found.items()}


def _read(row: dict[str, str]) -> PublishedPrice:
    return PublishedPrice(
        provider=row["provider"],
        sku=row["sku"],
        gpu=row["gpu"],
        gpu_count=int(row["gpu_count"]),
        gpu_fraction=_figure(row["gpu_fraction"]),
        memory_gb=_figure(row["memory_gb"]),
        cpu_cores=_figure(row["cpu_cores"]),
        ram_gb=_figure(row["ram_gb"]),
        region=row["region"] or "global",
        pricing=row["pricing"],
        price_per_hour=row["price_per_hour"],
        currency=row["currency"],
        as_of=date.fromisoformat(row["as_of"]),
        source=row["source"],
        note=row["note"],
    )


def _figure(text: str) -> float | None:
    return float(text) if text else None
