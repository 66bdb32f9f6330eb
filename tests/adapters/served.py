"""Canned answers for adapter tests: samples by name, one page read alone, and a whole pass over a served provider."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from copy import deepcopy
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from adapters.base import Adapter, SyncReport
from adapters.transport import ProviderClient
from market.offers import Offer

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SAMPLES = Path(__file__).parents[1] / "samples"


def sample(name: str) -> Any:
    """The provider's sample with floats as exact Decimals, as the transport delivers them."""
    return json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"), parse_float=Decimal)


@dataclass
class HandClock:
    """A clock that moves only when somebody sleeps on it."""

    seconds: float = 0.0

    def read(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Served:
    """A provider behind `httpx.MockTransport`: fixed answers by `METHOD /path`, several in turn; keeps the requests."""

    routes: dict[str, Any]
    asked: list[httpx.Request] = field(default_factory=list)
    _turns: dict[str, deque[Any]] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = request.url.path
        key = next(name for name in (f"{request.method} {path}", path) if name in self.routes)
        body = self.routes[key]
        if isinstance(body, list) and body and isinstance(body[0], dict):
            body = self._turns.setdefault(key, deque(body)).popleft()
        text = body if isinstance(body, str) else json.dumps(body, default=float)
        return httpx.Response(200, content=text.encode())

    def bodies(self) -> list[Any]:
        """The decoded bodies of the requests so far."""
        return [json.loads(request.content) for request in self.asked]


def adapter(kind: type[Adapter], handler: Callable[[httpx.Request], httpx.Response]) -> Adapter:
    """An adapter whose every request goes to `handler`, on a clock that takes no time."""
    clock = HandClock()
    client = ProviderClient(
        kind, transport=httpx.MockTransport(handler), monotonic=clock.read, sleep=clock.sleep, environment={}
    )
    return kind(client, NOW)


async def synced(
    kind: type[Adapter], handler: Callable[[httpx.Request], httpx.Response]
) -> tuple[list[Offer], SyncReport]:
    """A whole pass: every offer and the report."""
    report = SyncReport(kind.name)
    offers = [offer async for offer in adapter(kind, handler).offers(report)]
    return offers, report


def read(kind: type[Adapter], page: Any) -> tuple[list[Offer], SyncReport]:
    """The offers of one decoded answer."""
    report = SyncReport(kind.name)
    return list(adapter(kind, lambda request: httpx.Response(500)).read(page, report)), report


def by_id(offers: list[Offer]) -> dict[str, Offer]:
    """Offers by id; fails when an id occurs twice."""
    found = {offer.id: offer for offer in offers}
    assert len(found) == len(offers), "two offers share an id"
    return found


untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Settings of property tests on a shared machine: nothing is judged by the clock."""


def sound(offer: Offer) -> bool:
    """Whether an offer has a real price, by the hour or by the token, and no figure that is not one."""
    prices = (offer.price_per_hour, offer.price_per_million_input_tokens, offer.price_per_million_output_tokens)
    figures = [value for value in astuple(offer) if isinstance(value, float)]
    return max(price or 0 for price in prices) > 0 and offer.gpu_count >= 1 and all(map(isfinite, figures))


_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.text(max_size=12),
    st.lists(st.none(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=1),
)


@st.composite
def spoiled(draw: st.DrawFn, rows: list[Any]) -> Any:
    """A row of the sample with some fields, also inner ones, gone or replaced by anything JSON can hold, and more."""
    row = deepcopy(draw(st.sampled_from([row for row in rows if isinstance(row, dict)])))
    for name in draw(st.lists(st.sampled_from(sorted(row)), max_size=3)):
        inner = row.get(name)
        holder, key = row, name
        if isinstance(inner, dict) and inner:
            holder, key = inner, draw(st.sampled_from(sorted(inner)))
        if draw(st.booleans()):
            holder.pop(key, None)
        else:
            holder[key] = draw(_ODD)
    return row
