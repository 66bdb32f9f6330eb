"""The mathematics as a client on this machine reaches it: over the real HTTP application."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from market.context import Clock, Market
from market.settings import Settings
from server.app import http_app
from server.rest import PREFIX
from tests.server.facade import ADDRESS
from tools.sync import seed


def filled(folder: Path) -> Path:
    """The folder with a catalogue of the published prices."""

    async def fill() -> None:
        market = Market(Settings(data_dir=folder, sync="off"), seed=seed)
        await market.snapshot()
        await market.close()

    asyncio.run(fill())
    return folder


class Door:
    """Asks and hands back what was answered."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def asked(self, path: str, **body: Any) -> dict[str, Any]:
        """The answer to a POST that must succeed."""
        answer = self._client.post(PREFIX + path, json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def refused(self, path: str, **body: Any) -> dict[str, Any]:
        """The error of a POST that must be refused as wrong."""
        answer = self._client.post(PREFIX + path, json=body)
        assert answer.status_code == 400, answer.text
        error: dict[str, Any] = answer.json()["error"]
        assert error["code"] == "VALIDATION_ERROR"
        return error

    def got(self, path: str, **query: Any) -> dict[str, Any]:
        """The answer to a GET that must succeed."""
        answer = self._client.get(PREFIX + path, params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def put(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to a PUT."""
        answer = self._client.put(PREFIX + path, json=body)
        return answer.status_code, answer.json()

    def post(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to a POST."""
        answer = self._client.post(PREFIX + path, json=body)
        return answer.status_code, answer.json()


@contextmanager
def opened_door(folder: Path, clock: Clock | None = None) -> Iterator[Door]:
    """The application over a filled folder, for as long as a block runs."""
    settings = Settings(data_dir=folder, sync="off")
    with TestClient(http_app(settings, Market(settings, clock=clock)), base_url=ADDRESS) as client:
        yield Door(client)
