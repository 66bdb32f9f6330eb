"""Whoever shows an agent's key is that agent at every door; a key that is not good opens none of them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from starlette.testclient import TestClient

from market.agent_keys import AGENT_SCOPES
from market.context import Context, Market
from market.settings import Settings
from server.mcp_door import HTTP_PATH, build
from server.rest import PREFIX
from tests.server.conftest import Nothing
from tests.server.facade import opened_app
from tests.server.test_mcp_http import message
from tools.capability import Result, capabilities

_ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


class Told(Result):
    """Who asked."""

    identity: str
    scopes: list[str]


@pytest.fixture
def folder(filled_folder: Path, tmp_path: Path) -> Path:
    """A catalogue with no keys in it yet."""
    return Path(shutil.copytree(filled_folder, tmp_path / "data"))


@pytest.fixture
def http(folder: Path, declare: Callable[..., None]) -> Iterator[TestClient]:
    """The whole application, with a question that says who asked."""

    async def who(ctx: Context, _query: Nothing) -> Told:
        """Say who asks."""
        return Told(identity=ctx.caller.identity, scopes=sorted(ctx.caller.scopes))

    declare("who", who, "GET /who")
    with opened_app(Settings(data_dir=folder, sync="off")) as client:
        yield client


def made(http: TestClient, **asked: Any) -> dict[str, Any]:
    """A new agent key."""
    answer = http.post(f"{PREFIX}/keys", json={"name": "agent", **asked})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def bearer(secret: str) -> dict[str, str]:
    """How a key is shown."""
    return {"Authorization": f"Bearer {secret}"}


def test_a_shown_key_is_who_calls(http: TestClient) -> None:
    key = made(http)
    assert http.get(f"{PREFIX}/who").json() == {"identity": "local-owner", "scopes": ["*"]}
    for shown in (bearer(key["secret"]), {"authorization": f"bearer  {key['secret']} "}):
        told = http.get(f"{PREFIX}/who", headers=shown).json()
        assert told == {"identity": key["id"], "scopes": sorted(AGENT_SCOPES)}


def test_a_key_that_is_not_good_is_turned_away_and_not_repeated(
    http: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = made(http)
    assert http.delete(f"{PREFIX}/keys/{key['id']}").status_code == 200
    unknown = f"{key['secret'][:-4]}AAAA"
    wrong = [bearer(unknown), bearer(key["secret"]), bearer(""), bearer("gpbk_"), {"Authorization": "Basic YTpi"}]
    for shown in wrong:
        for path in (f"{PREFIX}/who", f"{PREFIX}/providers", "/health", HTTP_PATH):
            answer = http.get(path, headers=shown)
            assert answer.status_code == 401, (shown, path)
            assert answer.json()["error"]["code"] == "AUTHENTICATION_ERROR"
            assert answer.headers["www-authenticate"].startswith("Bearer ")
            assert key["secret"] not in answer.text
    assert key["secret"] not in caplog.text
    assert unknown not in caplog.text


def test_two_authorizations_are_none(http: TestClient) -> None:
    secret = made(http)["secret"]
    headers = [("Authorization", f"Bearer {secret}"), ("Authorization", f"Bearer {secret}")]
    assert http.get(f"{PREFIX}/who", headers=headers).status_code == 401


def test_an_agent_is_refused_whatever_belongs_to_its_owner(http: TestClient) -> None:
    shown = bearer(made(http)["secret"])
    owners = [item for item in capabilities().values() if "http" in item.doors and item.scope not in AGENT_SCOPES]
    assert {"create_mandate", "revoke_mandate", "raise_mandate", "create_key", "revoke_key"} <= {
        item.name for item in owners
    }
    for item in owners:
        method, path = item.routes[0].split(" ", 1)
        url = PREFIX + path.replace("{", "").replace("}", "")
        answer = http.request(method, url, headers=shown)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AUTHORIZATION_ERROR"), item.name


def test_no_model_is_ever_offered_the_owners_pen() -> None:
    pens = {item.name for item in capabilities().values() if item.scope in ("mandates:sign", "keys:manage")}
    assert pens
    assert all(capabilities()[name].doors == {"http"} for name in pens)


def called(http: TestClient, **headers: str) -> Any:
    """`who`, asked over MCP as 2026-07-28 speaks it."""
    sent = {**_ACCEPT, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "who", **headers}
    return http.post(HTTP_PATH, json=message("tools/call", {"name": "who", "arguments": {}}), headers=sent)


def test_an_agent_is_known_over_mcp_too(http: TestClient) -> None:
    key = made(http)
    for headers, identity in (({}, "local-owner"), (bearer(key["secret"]), key["id"])):
        answer = called(http, **headers)
        assert answer.json()["result"]["structuredContent"]["identity"] == identity, answer.text


def test_a_session_belongs_to_the_agent_that_began_it(http: TestClient) -> None:
    shown = bearer(made(http)["secret"])
    other = bearer(made(http, name="other")["secret"])
    begin = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin}
    answer = http.post(HTTP_PATH, json=opening, headers={**_ACCEPT, **shown})
    session = {**_ACCEPT, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    ask = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "who", "arguments": {}}}
    for stranger in ({}, other):
        assert http.post(HTTP_PATH, json=ask, headers={**session, **stranger}).status_code == 404
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert http.post(HTTP_PATH, json=ready, headers={**session, **shown}).status_code == 202
    mine = http.post(HTTP_PATH, json=ask, headers={**session, **shown})
    event = next(line for line in mine.text.splitlines() if line.startswith("data: {"))
    assert json.loads(event[6:])["result"]["structuredContent"]["scopes"] == sorted(AGENT_SCOPES)


async def test_the_key_of_the_environment_is_who_calls_over_stdio(
    folder: Path, declare: Callable[..., None], era: str
) -> None:
    async def who(ctx: Context, _query: Nothing) -> Told:
        """Say who asks."""
        return Told(identity=ctx.caller.identity, scopes=[])

    declare("who", who)
    market = Market(Settings(data_dir=folder, sync="off"))
    created = await capabilities()["create_key"].call(Context(market), {"name": "agent"})
    for secret, identity in (("", "local-owner"), (created.secret, created.id)):
        settings = market.settings.model_copy(update={"agent_key": secret})
        inner = Market(settings)
        async with Client(build(inner, settings), mode=era) as client:
            told = await client.call_tool("who", {})
        await inner.close()
        assert told.structured_content is not None
        assert told.structured_content["identity"] == identity
    await market.close()


async def test_a_wrong_key_of_the_environment_is_said_in_words(market: Market, era: str) -> None:
    settings = market.settings.model_copy(update={"agent_key": "gpbk_wrong"})
    assert "gpbk_wrong" not in repr(settings)
    inner = Market(settings)
    async with Client(build(inner, settings), mode=era) as client:
        told = await client.call_tool("search_offers", {"gpu": "H100"})
        with pytest.raises(Exception, match="no agent key"):
            await client.read_resource("gpu://H100-SXM")
    await inner.close()
    assert told.is_error
    text = getattr(told.content[0], "text", "")
    assert text.startswith("AUTHENTICATION_ERROR")
    assert "gpbk_wrong" not in text
