"""Providers for the tests of fetching: real adapters over a transport that answers as told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx

from adapters.base import Adapter
from adapters.transport import ProviderClient
from market.offers import Offer


def provider(provider_name: str, *, published_rows: int = 0, **attributes: Any) -> type[Adapter]:
    """A provider with an API; `published_rows` are in its published table."""

    class Provider(Adapter):
        """A provider made for a test."""

        name, title, website = provider_name, provider_name.title(), f"https://{provider_name}.example"
        base_url, catalogue_path = f"https://{provider_name}.example", "/prices"
        interval = timedelta(minutes=5)

        @classmethod
        def published(cls, now: datetime) -> Iterator[Offer]:
            """Its list prices."""
            adapter = cls(ProviderClient(cls, transport=httpx.MockTransport(lambda _: httpx.Response(500))), now)
            for number in range(published_rows):
                yield adapter.listed(sku=f"list-{number}", gpu="H100", price_per_hour="9", price_source="static_table")

        def parse(self, row: Any) -> Iterable[Offer]:
            """A row."""
            yield self.listed(sku=row["sku"], gpu=row.get("gpu", "H100"), price_per_hour=row["price"])

    for name, value in attributes.items():
        setattr(Provider, name, value)
    return Provider


def table_only(provider_name: str, rows: int = 1) -> type[Adapter]:
    """A provider without an API."""
    return provider(provider_name, published_rows=rows, base_url="", interval=timedelta(days=1))


@dataclass
class Answers:
    """What each provider answers: rows, a status, or a coroutine function to wait on; `asked` counts."""

    rows: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    waits: dict[str, Callable[[], Any]] = field(default_factory=dict)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        name = str(request.url.host).partition(".")[0]
        self.asked.append(name)
        if name in self.waits:
            await self.waits[name]()
        answer = self.rows.get(name, [])
        if isinstance(answer, int):
            return httpx.Response(answer)
        return httpx.Response(200, content=json.dumps(answer).encode())

    def connect(self, adapter: type[Adapter]) -> ProviderClient:
        """A client that asks here instead, and takes no time between tries."""
        return ProviderClient(adapter, transport=httpx.MockTransport(self), sleep=_no_time, environment={})


async def _no_time(_seconds: float) -> None:
    await asyncio.sleep(0)


def row(sku: str, price: object = "2.5", **more: Any) -> dict[str, Any]:
    """One row of an answer."""
    return {"sku": sku, "price": price, **more}
