"""Calls to addresses that users give: nothing private is reached by any spelling, redirect or name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from adapters.callout import Callout, check_webhook_address, host_of
from adapters.egress import EgressGuard, GuardedNetwork
from market.errors import ProviderFailed, ProviderRefused, ValidationFailed
from tests.adapters.test_egress import PRIVATE


@asynccontextmanager
async def receiver(answer: bytes, *, hang: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that notes each request and gives the same answer to all."""
    heard: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        heard.append(head + await reader.readexactly(length))
        if hang:
            await over.wait()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/in", heard
    finally:
        over.set()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def callout(**given: Any) -> AsyncIterator[Callout]:
    one = Callout(**given)
    try:
        yield one
    finally:
        await one.aclose()


async def test_the_body_and_headers_arrive_as_they_were_given() -> None:
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, heard), callout(allow_loopback=True) as out:
        assert await out.post(url, b'{"a":1}', {"GPUBroker-Event": "x.y"}, 5) == 204
    (request,) = heard
    assert request.startswith(b"POST /in HTTP/1.1\r\n")
    assert request.endswith(b'\r\n\r\n{"a":1}')
    assert b"GPUBroker-Event: x.y\r\n" in request


async def test_a_redirect_is_reported_and_not_followed() -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (target, reached):
        moved = f"HTTP/1.1 307 Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
        async with receiver(moved) as (url, _), callout(allow_loopback=True) as out:
            assert await out.post(url, b"{}", {}, 5) == 307
    assert reached == []


async def test_an_endless_answer_is_not_read() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n" + b"x" * 1000
    async with receiver(endless) as (url, _), callout(allow_loopback=True) as out:
        assert await out.post(url, b"{}", {}, 5) == 200


async def test_a_receiver_that_hangs_is_given_up() -> None:
    async with receiver(b"", hang=True) as (url, _), callout(allow_loopback=True) as out:
        with pytest.raises(ProviderFailed, match="in time"):
            await out.post(url, b"{}", {}, 0.05)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
async def test_no_answer_and_nonsense_are_failures_of_the_receiver(answer: bytes) -> None:
    async with receiver(answer) as (url, _), callout(allow_loopback=True) as out:
        with pytest.raises(ProviderFailed, match="cannot be reached"):
            await out.post(url, b"{}", {}, 5)


async def test_this_machine_is_not_called_unless_that_is_switched_on() -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\n\r\n") as (url, heard), callout() as out:
        for spelling in (url, url.replace("http:", "https:"), url.replace("127.0.0.1", "localhost")):
            with pytest.raises(ProviderRefused):
                await out.post(spelling, b"{}", {}, 5)
    assert heard == []


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_to_a_private_address_is_not_connected_to(address: str) -> None:
    async def rebound(_host: str, _port: int) -> list[str]:
        return [address]

    guard = EgressGuard("webhook", None)
    async with callout(network=GuardedNetwork(guard, resolve=rebound)) as out:
        with pytest.raises(ProviderRefused, match="private"):
            await out.post("https://hooks.example/", b"{}", {}, 5)


async def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    async def mixed(_host: str, _port: int) -> list[str]:
        return ["1.1.1.1", "169.254.169.254"]

    async with callout(network=GuardedNetwork(EgressGuard("webhook", None), resolve=mixed)) as out:
        with pytest.raises(ProviderRefused):
            await out.post("https://hooks.example/", b"{}", {}, 5)


async def test_what_is_connected_to_is_the_very_address_that_was_judged() -> None:
    asked: list[str] = []
    connected: list[str] = []

    async def once_public(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    class Wire:
        async def connect_tcp(self, host: str, *_rest: Any, **_more: Any) -> Any:
            connected.append(host)
            raise ConnectionRefusedError

    network = GuardedNetwork(EgressGuard("webhook", None), resolve=once_public, network=Wire())  # type: ignore[arg-type]
    async with callout(network=network) as out:
        with pytest.raises((ProviderFailed, ConnectionRefusedError)):
            await out.post("https://hooks.example/", b"{}", {}, 5)
    assert (asked, connected) == (["hooks.example"], ["93.184.216.34"])


def test_a_public_address_is_kept_as_it_will_be_called() -> None:
    assert check_webhook_address("https://Hooks.Example:8443/in?x=1") == "https://hooks.example:8443/in?x=1"
    assert host_of("https://hooks.example/in") == "hooks.example:443"


@pytest.mark.parametrize(
    "url", ["https://hooks.example:25/", "https://hooks.example:80/", "https://\x00/", "x", "https:///"]
)
def test_other_services_and_what_is_no_address_are_refused(url: str) -> None:
    with pytest.raises(ValidationFailed, match="443 or above 1023"):
        check_webhook_address(url)


async def test_cancelling_a_call_leaves_nothing_open() -> None:
    async with receiver(b"", hang=True) as (url, _), callout(allow_loopback=True) as out:
        with anyio.move_on_after(0.05) as cut_off:
            await out.post(url, b"{}", {}, 60)
        assert cut_off.cancelled_caught
