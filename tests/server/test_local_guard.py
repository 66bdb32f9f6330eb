"""Who may talk to a server that takes every caller for its owner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from market.settings import Settings
from server.app import http_app, make_market
from server.local_guard import LocalGuard, objection
from tests.server.facade import opened_app

ROUTES = ("/health", "/openapi.json", "/api/v2/providers", "/mcp", "/nowhere")


@pytest.fixture(scope="module")
def http(filled_folder: Path) -> Iterator[TestClient]:
    """The application over the published prices."""
    with opened_app(Settings(data_dir=filled_folder, sync="off")) as client:
        yield client


FOREIGN: dict[str, dict[str, str]] = {
    "another name": {"host": "evil.com"},
    "a name that begins like ours": {"host": "localhost.evil.com"},
    "a name that ends like ours": {"host": "evil-localhost:10355"},
    "an address that begins like ours": {"host": "127.0.0.1.evil.com"},
    "a name for our address": {"host": "127.0.0.1.nip.io:10355"},
    "somebody at a host": {"host": "127.0.0.1@evil.com"},
    "ours before a host": {"host": "evil.com#127.0.0.1"},
    "a path": {"host": "127.0.0.1/evil.com"},
    "user information": {"host": "evil.com@127.0.0.1"},
    "another address": {"host": "10.0.0.1:10355"},
    "any address": {"host": "0.0.0.0:10355"},
    "half an IPv6 address": {"host": "[::1"},
    "another IPv6 address": {"host": "[::2]:10355"},
    "nothing": {"host": ""},
    "another site": {"origin": "https://evil.com"},
    "a site that begins like ours": {"origin": "http://127.0.0.1.evil.com"},
    "a hidden origin": {"origin": "null"},
    "an empty origin": {"origin": ""},
    "a file": {"origin": "file://"},
    "an extension": {"origin": "chrome-extension://abcdef"},
    "a proxy": {"x-forwarded-for": "203.0.113.9"},
    "a proxy's host": {"x-forwarded-host": "127.0.0.1"},
    "a proxy's scheme": {"x-forwarded-proto": "https"},
    "the standard header": {"forwarded": "for=203.0.113.9"},
    "nginx": {"x-real-ip": "127.0.0.1"},
    "a cache": {"via": "1.1 cache"},
}
LOCAL: dict[str, dict[str, str]] = {
    "the address": {"host": "127.0.0.1:10355"},
    "the name": {"host": "localhost"},
    "in capitals": {"host": "LOCALHOST:10355"},
    "IPv6": {"host": "[::1]:10355"},
    "a local page": {"origin": "http://localhost:3000"},
    "a page of ours": {"origin": "http://127.0.0.1:10355"},
}


@pytest.mark.parametrize("who", FOREIGN)
def test_a_stranger_is_turned_away_on_every_route(http: TestClient, who: str) -> None:
    for route in ROUTES:
        answer = http.get(route, headers=FOREIGN[who])
        assert answer.status_code == 403, route
        assert answer.json()["error"]["code"] == "AUTHORIZATION_ERROR"
        assert answer.json()["error"]["details"]["next_step"]
        assert "evil" not in answer.text


@pytest.mark.parametrize("who", LOCAL)
def test_a_program_of_this_machine_is_let_in(http: TestClient, who: str) -> None:
    assert http.get("/api/v2/providers", headers=LOCAL[who]).status_code == 200


def test_a_request_without_a_host_or_with_two_is_turned_away() -> None:
    ours = (b"host", b"127.0.0.1")
    assert objection(Headers(raw=[])) is not None
    assert objection(Headers(raw=[ours, (b"host", b"evil.com")])) is not None
    assert objection(Headers(raw=[ours, (b"origin", b"http://localhost"), (b"origin", b"http://evil.com")])) is not None
    assert objection(Headers(raw=[ours])) is None


def test_a_stranger_gets_no_websocket(filled_folder: Path) -> None:
    settings = Settings(data_dir=filled_folder, sync="off")
    client = TestClient(http_app(settings, make_market(settings)), base_url="http://evil.com")
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/ws"):
        pass
    assert closed.value.code == 1008


async def test_what_is_no_request_passes() -> None:
    seen: list[str] = []

    async def app(scope: Message, _receive: object, _send: object) -> None:
        seen.append(scope["type"])

    async def nothing() -> Message:
        return {}

    async def silence(_message: Message) -> None:
        return None

    await LocalGuard(app)({"type": "lifespan"}, nothing, silence)
    assert seen == ["lifespan"]
