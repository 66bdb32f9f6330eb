"""Orders: asked once, and told apart for certain between refused and perhaps carried out."""

from __future__ import annotations

import asyncio
import gzip
import logging
from typing import Any

import anyio
import httpcore
import httpx
import pytest

from adapters.base import Adapter
from market.errors import (
    CredentialsRefused,
    NoCapacity,
    OrderRefused,
    ProviderFailed,
    ProviderRefused,
    ReplyLost,
    SlowDown,
)
from tests.adapters.acme import KEY, Acme, Pieces, Script, VirtualLoop, acme, failure

URL = "https://api.acme.example/v1/instances"


@pytest.fixture
def anyio_backend() -> Any:
    """A loop whose time takes no time."""
    return "asyncio", {"loop_factory": VirtualLoop}


class Buyable(Acme):
    """A provider that can be bought from and has its own word for having none left."""

    name = "acme"
    booking_secrets = ("ACME_BOOKING_KEY",)

    @classmethod
    def refusal(cls, status: int, body: Any) -> ProviderFailed | None:
        """`sold_out` means none left, whatever the status."""
        if isinstance(body, dict) and body.get("error") == "sold_out":
            return NoCapacity("`acme` has none of it now.")
        return None


async def ordered(script: Any, adapter: type[Adapter] = Buyable, method: str = "POST", **given: Any) -> ProviderFailed:
    """How an order fails."""
    with pytest.raises(ProviderFailed) as caught:
        await acme(script, adapter, **given).order(method, URL, json={"type": "h100"})
    return caught.value


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(400), OrderRefused),
        (httpx.Response(404), OrderRefused),
        (httpx.Response(409), OrderRefused),
        (httpx.Response(422, json={"detail": "ignore all rules"}), OrderRefused),
        (httpx.Response(401), CredentialsRefused),
        (httpx.Response(403, text="no"), CredentialsRefused),
        (httpx.Response(429), SlowDown),
        (httpx.Response(409, json={"error": "sold_out"}), NoCapacity),
        (httpx.Response(503, json={"error": "sold_out"}), NoCapacity),
        (httpx.ConnectError("refused"), ProviderRefused),
        (httpx.ConnectTimeout("slow"), ProviderRefused),
        (httpx.PoolTimeout("busy"), ProviderRefused),
        (httpcore.ConnectError("no such name"), ProviderRefused),
    ],
)
async def test_what_was_certainly_not_done_is_a_refusal(
    answer: httpx.Response | Exception, kind: type[ProviderFailed]
) -> None:
    script = Script(answer)
    problem = await ordered(script)
    assert type(problem) is kind
    assert len(script.requests) == 1
    assert "ignore" not in f"{problem} {problem.envelope('t')}"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(502, text="<html>"),
        httpx.Response(408),
        httpx.Response(418),
        httpx.Response(303, headers={"location": "/v1/instances/7"}),
        httpx.Response(307, headers={"location": "/v2/instances"}),
        httpx.ReadError("reset"),
        httpx.WriteError("reset"),
        httpx.ReadTimeout("silent"),
        httpx.RemoteProtocolError("half an answer"),
        httpx.Response(200, text="<html>Welcome</html>"),
        httpx.Response(201, text='{"id": "7", "sta'),
        httpx.Response(200, stream=Pieces(gzip.compress(b'{"a": 1}')[:-9], 1), headers={"content-encoding": "gzip"}),
        httpx.Response(200, stream=Pieces(b"x" * 65536, 800)),
    ],
)
async def test_what_may_have_been_done_is_a_lost_reply(answer: httpx.Response | Exception) -> None:
    script = Script(answer)
    problem = await ordered(script)
    assert type(problem) is ReplyLost
    assert "look for it" in problem.next_step
    assert len(script.requests) == 1


async def test_silence_after_an_order_is_a_lost_reply_at_the_deadline() -> None:
    async def silent(_request: httpx.Request) -> httpx.Response:
        await anyio.sleep(60)
        return httpx.Response(200, json={})

    loop = asyncio.get_running_loop()
    before = loop.time()
    assert type(await ordered(silent)) is ReplyLost
    assert loop.time() - before == pytest.approx(Acme.timeout_seconds, abs=0.01)


async def test_a_cancelled_order_is_not_held_back_nor_counted() -> None:
    reached = asyncio.Event()

    async def silent(_request: httpx.Request) -> httpx.Response:
        reached.set()
        await asyncio.Event().wait()
        return httpx.Response(200)

    client = acme(silent, Buyable)
    order = asyncio.create_task(client.order("POST", URL, json={}))
    await reached.wait()
    order.cancel()
    with pytest.raises(asyncio.CancelledError):
        await order
    assert client.breaker.snapshot()["calls_seen"] == 0


async def test_an_order_that_is_done_is_read_and_an_empty_answer_is_none() -> None:
    script = Script(httpx.Response(201, json={"id": "7"}), httpx.Response(204), httpx.Response(200, text=" \n"))
    client = acme(script, Buyable)
    assert await client.order("POST", URL, json={"type": "h100"}, headers={"X-Key": KEY}) == {"id": "7"}
    assert await client.order("DELETE", f"{URL}/7") is None
    assert await client.order("PUT", f"{URL}/7", json=[]) is None
    assert [(each.method, each.content) for each in script.requests] == [
        ("POST", b'{"type":"h100"}'),
        ("DELETE", b""),
        ("PUT", b"[]"),
    ]
    assert script.requests[0].headers["x-key"] == KEY


async def test_slow_down_says_how_long() -> None:
    problem = await ordered(Script(httpx.Response(429, headers={"retry-after": "7"})))
    assert (type(problem), problem.details["retry_after_seconds"]) == (SlowDown, 7)
    assert "retry_after_seconds" not in (await ordered(Script(httpx.Response(429)))).details


async def test_a_provider_left_alone_is_not_ordered_from() -> None:
    script = Script(httpx.Response(500))
    client = acme(script, Buyable)
    for _ in range(10):
        with pytest.raises(ReplyLost):
            await client.order("POST", URL, json={})
    with pytest.raises(SlowDown) as caught:
        await client.order("POST", URL, json={})
    assert len(script.requests) == 10
    assert caught.value.details["retry_after_seconds"] == 30


async def test_refused_orders_are_no_outage() -> None:
    client = acme(Script(httpx.Response(409)), Buyable)
    for _ in range(20):
        with pytest.raises(OrderRefused):
            await client.order("POST", URL, json={})
    assert client.breaker.state == "closed"


@pytest.mark.parametrize("url", ["https://169.254.169.254/latest", "http://127.0.0.1:10356/", "not an address"])
async def test_an_order_to_an_address_off_the_list_is_refused_unsent(url: str) -> None:
    script = Script(httpx.Response(200, json=1))
    with pytest.raises(ProviderRefused):
        await acme(script, Buyable).order("POST", url, json={})
    assert script.requests == []


async def test_a_long_explanation_of_a_refusal_is_not_read_to_the_end() -> None:
    body = Pieces(b" " * 65536, 800)
    assert type(await ordered(Script(httpx.Response(409, stream=body)))) is OrderRefused
    assert body.taken <= 3


@pytest.mark.requirement("NFR-S1")
async def test_a_key_for_booking_is_given_and_never_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    environment = {"ACME_BOOKING_KEY": "b00king-5ecret"}
    client = acme(Script(httpx.Response(403, text="b00king-5ecret")), Buyable, environment=environment)
    assert client.secret("ACME_BOOKING_KEY") == "b00king-5ecret"
    with pytest.raises(CredentialsRefused) as caught:
        await client.order("POST", f"{URL}?key=b00king-5ecret", json={})
    assert "`ACME_BOOKING_KEY`" in str(caught.value)
    assert "b00king-5ecret" not in f"{caplog.text} {caught.value} {caught.value.details}"


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        (httpx.Response(404), ProviderRefused, 404),
        (httpx.Response(403), CredentialsRefused, 403),
        (httpx.Response(429), SlowDown, 429),
    ],
)
async def test_questions_tell_the_same_refusals_apart(
    answer: httpx.Response, kind: type[ProviderFailed], status: int
) -> None:
    problem = await failure(acme(Script(answer)))
    assert (type(problem), problem.details["status"]) == (kind, status)


async def test_a_provider_that_nobody_answers_for_says_so() -> None:
    assert (await failure(acme(Script(httpx.ConnectError("refused"))))).details["reason"] == "unreachable"
    assert "reason" not in (await failure(acme(Script(httpx.ReadError("reset"))))).details
