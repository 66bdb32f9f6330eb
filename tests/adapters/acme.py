"""A provider that exists in tests alone, what answers in its place, and a loop whose time passes without waiting."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import pytest

from adapters.base import Adapter
from adapters.transport import ProviderClient
from market.errors import ProviderFailed

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY = "rpa_5ecret/value+1"
URL = "https://api.acme.example/v1/prices"


class Acme(Adapter):
    """A provider that exists here alone."""

    name, title, website = "acme", "Acme", "https://acme.example"
    base_url = "https://api.acme.example"
    extra_hosts = ("cdn.acme.example",)
    secrets = ("ACME_API_KEY",)
    per_second = 1000.0
    max_body_bytes = 1024 * 1024


class PatientSelector(selectors.DefaultSelector):
    """Never waits: when nothing is ready it moves the loop's clock to the next timer instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only by being waited for, so that a minute of silence takes none."""

    def __init__(self) -> None:
        self._patience = PatientSelector()
        super().__init__(self._patience)

    def time(self) -> float:
        return self._patience.now


Handler = Callable[[httpx.Request], Any]


def acme(handler: Handler, adapter: type[Adapter] = Acme, **given: Any) -> ProviderClient:
    """A client of the provider whose answers `handler` makes, on the loop's own clock."""
    settings: dict[str, Any] = {
        "transport": httpx.MockTransport(handler),
        "monotonic": asyncio.get_running_loop().time,
        "clock": lambda: NOW,
        "jitter": lambda: 1.0,
        "environment": {"ACME_API_KEY": KEY},
    }
    return ProviderClient(adapter, **settings | given)


class Script:
    """Answers one after the other, the last one for ever, and the requests they answered."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers: list[httpx.Response | Exception] = [*answers]
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        now = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(now, Exception):
            raise now
        return now


async def failure(client: ProviderClient, url: str = URL) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as caught:
        await client.get_json(url)
    return caught.value


class Pieces(httpx.AsyncByteStream):
    """A body that comes in pieces and counts how many were taken."""

    def __init__(self, piece: bytes, times: int, pause_seconds: float = 0.0) -> None:
        self.piece, self.times, self.pause_seconds, self.taken = piece, times, pause_seconds, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.times):
            self.taken += 1
            yield self.piece
            if self.pause_seconds:
                await anyio.sleep(self.pause_seconds)


async def drained(lines: AsyncIterator[str], into: list[str]) -> None:
    """Read to the end, keeping what came."""
    async for line in lines:
        into.append(line)
