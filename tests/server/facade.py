"""The whole HTTP application as tests call it: in process, as a program of this machine would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.testclient import TestClient

from market.settings import Settings
from server.app import http_app, make_market

ADDRESS = "http://127.0.0.1:10355"


@contextmanager
def opened_app(settings: Settings) -> Iterator[TestClient]:
    """A client of the application, started and stopped around a block; a fault of ours shows as its answer."""
    app = http_app(settings, make_market(settings))
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
        yield client


def error(answer: Any) -> dict[str, Any]:
    """The one form of a refusal, checked."""
    body = answer.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "details", "trace_id"]
    assert answer.headers["x-trace-id"] == body["error"]["trace_id"]
    assert answer.headers["content-type"] == "application/json"
    inner: dict[str, Any] = body["error"]
    return inner
