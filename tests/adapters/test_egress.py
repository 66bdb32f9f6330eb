"""Where an adapter may connect: no spelling, redirect or name leads to a private address, and TLS keeps the name."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Adapter
from adapters.egress import EgressGuard, GuardedNetwork, GuardedTransport, is_public, literal_address, resolve
from adapters.redaction import Redactor
from adapters.transport import ProviderClient
from market.errors import ProviderRefused

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 - an address to refuse, nothing is bound
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "2002:a00:1::",
]


def guard(**given: Any) -> EgressGuard:
    return EgressGuard("acme", ("https://api.acme.example", "cdn.acme.example:8443"), **given)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_of_every_kind_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "140.82.121.4", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_addresses_of_the_open_internet_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_a_wrapped_address_is_judged_like_the_one_inside(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    assert is_public(mapped) == is_public(address)


@pytest.mark.parametrize(
    "spelling",
    ["127.0.0.1", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0x7f000001", "[::1]", "::1", "fe80::1%eth0"],
)
def test_every_spelling_of_an_address_is_seen_through(spelling: str) -> None:
    address = literal_address(spelling)
    assert address is not None
    assert not is_public(address)


def test_a_name_is_no_address() -> None:
    assert literal_address("api.acme.example") is None


@pytest.mark.parametrize(
    "url",
    [
        "https://api.acme.example/v1",
        "https://API.acme.example./v1",
        "https://api.acme.example:443/",
        "https://cdn.acme.example:8443/",
    ],
)
def test_its_own_hosts_are_let_through(url: str) -> None:
    guard().check(httpx.URL(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.acme.example/",
        "ftp://api.acme.example/",
        "https://api.acme.example:22/",
        "https://cdn.acme.example/",
        "https://acme.example/",
        "https://a.api.acme.example/",
        "https://api.acme.example.evil.example/",
        "https://api.acme.example@evil.example/",
        "https://me:pw@api.acme.example/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://1.1.1.1/",
        "http://169.254.169.254/",
        "/relative",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(ProviderRefused, match="`acme` led to"):
        guard().check(httpx.URL(url))


def test_this_machine_is_reached_only_when_asked_for() -> None:
    local = guard(allow_loopback=True)
    for url in ("http://127.0.0.1:8123/", "http://localhost:80/", "http://[::1]/"):
        local.check(httpx.URL(url))
    for url in ("http://10.0.0.1/", "http://169.254.169.254/", "http://api.acme.example/"):
        with pytest.raises(ProviderRefused):
            local.check(httpx.URL(url))


def test_what_lives_on_this_machine_is_reached_at_its_own_address_alone() -> None:
    own = EgressGuard("acme", ("http://127.0.0.1:10356", "https://api.acme.example"), listed_loopback=True)
    own.check(httpx.URL("http://127.0.0.1:10356/v1/types"))
    own.check(httpx.URL("https://api.acme.example/"))
    own.judge("127.0.0.1", ["127.0.0.1"])
    others = ("http://127.0.0.1:5432/", "http://localhost:10356/", "http://127.0.0.1/", "http://api.acme.example/")
    for url in (*others, "https://127.0.0.1/", "ftp://127.0.0.1:10356/"):
        with pytest.raises(ProviderRefused):
            own.check(httpx.URL(url))
    with pytest.raises(ProviderRefused):
        own.judge("api.acme.example", ["127.0.0.1"])
    unlisted = EgressGuard("acme", ("http://127.0.0.1:10356",))
    with pytest.raises(ProviderRefused):
        unlisted.check(httpx.URL("http://127.0.0.1:10356/"))


class Wire(httpcore.AsyncMockStream):
    """A connection that remembers which name TLS was asked to check."""

    def __init__(self, names: list[str | None], buffer: list[bytes]) -> None:
        super().__init__(buffer)
        self.names = names

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        self.names.append(server_hostname)
        return self


class Wires(httpcore.AsyncNetworkBackend):
    """A network of its own: remembers where it was told to connect, and answers from a buffer."""

    def __init__(self, unreachable: frozenset[str] = frozenset()) -> None:
        self.connected: list[tuple[str, int]] = []
        self.tls_names: list[str | None] = []
        self.unreachable = unreachable

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        if host in self.unreachable:
            raise httpcore.ConnectError("no route")
        return Wire(self.tls_names, [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"])


def transport(addresses: list[list[str]], wires: Wires, allow_loopback: bool = False) -> GuardedTransport:
    """A real transport whose names resolve to each list in turn."""
    answers = list(addresses)

    async def resolve(_host: str, _port: int) -> list[str]:
        return answers.pop(0)

    watch = guard(allow_loopback=allow_loopback)
    return GuardedTransport(watch, connections=2, network=GuardedNetwork(watch, resolve, wires))


async def fetched(through: GuardedTransport, url: str = "https://api.acme.example/v1") -> bytes:
    async with httpx.AsyncClient(transport=through) as http:
        return (await http.get(url)).content


async def test_the_connection_goes_to_the_judged_address_and_tls_checks_the_name() -> None:
    wires = Wires()
    assert await fetched(transport([["140.82.121.4"]], wires)) == b"[]"
    assert wires.connected == [("140.82.121.4", 443)]
    assert wires.tls_names == ["api.acme.example"]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_resolves_inside_is_refused(address: str) -> None:
    wires = Wires()
    with pytest.raises(ProviderRefused, match="resolves to a private"):
        await fetched(transport([[address]], wires))
    assert wires.connected == []


async def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    wires = Wires()
    with pytest.raises(ProviderRefused):
        await fetched(transport([["140.82.121.4", "127.0.0.1"]], wires))
    assert wires.connected == []


async def test_a_name_that_changes_its_mind_is_refused_at_the_next_connection() -> None:
    wires = Wires()
    through = transport([["140.82.121.4"], ["127.0.0.1"]], wires)
    async with httpx.AsyncClient(transport=through) as http:
        await http.get("https://api.acme.example/")
        with pytest.raises(ProviderRefused):
            await http.get("https://api.acme.example/")
    assert wires.connected == [("140.82.121.4", 443)]


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    wires = Wires(unreachable=frozenset({"2606:4700::1111"}))
    assert await fetched(transport([["2606:4700::1111", "1.1.1.1"]], wires)) == b"[]"
    assert [host for host, _ in wires.connected] == ["2606:4700::1111", "1.1.1.1"]


async def test_a_name_that_does_not_resolve_is_a_connection_error() -> None:
    with pytest.raises(httpcore.ConnectError):
        await fetched(transport([[]], Wires()))


async def test_the_sandbox_on_this_machine_is_reached_when_allowed() -> None:
    wires = Wires()
    await fetched(transport([["127.0.0.1"]], wires, allow_loopback=True), "http://localhost:9000/")
    assert wires.connected == [("127.0.0.1", 9000)]


async def test_there_is_no_way_round_over_a_unix_socket() -> None:
    with pytest.raises(httpcore.ConnectError):
        await GuardedNetwork(guard(), network=Wires()).connect_unix_socket("/run/docker.sock")


_no_stars = st.characters(exclude_characters="*")


@pytest.mark.requirement("FR-9.4")
@given(st.text(_no_stars, min_size=4, max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_a_secret_is_in_no_cleaned_text(secret: str, before: str, after: str) -> None:
    assert secret not in Redactor([secret]).clean(before + secret + after)


def test_a_shown_address_keeps_what_is_harmless_alone() -> None:
    redactor = Redactor(["hunter2/x"])
    shown = redactor.shown_url(
        "https://me:pw@api.acme.example/hunter2%2Fx/p?gpu=H100&api_key=1&Signature=2&q=hunter2/x#f"
    )
    assert shown == "https://api.acme.example/***/p?gpu=H100&api_key=***&Signature=***&q=***"


async def test_a_provider_on_this_machine_answers_over_a_real_connection() -> None:
    class Local(Adapter):
        name, title, website = "local", "Local", "https://local.example"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1, 2, 3]")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/offers"
    async with server:
        client = ProviderClient(Local, allow_loopback=True)
        assert await client.get_json(url) == [1, 2, 3]
        await client.aclose()
        stranger = ProviderClient(Local)
        with pytest.raises(ProviderRefused):
            await stranger.get_json(url)
        await stranger.aclose()


async def test_names_are_resolved_by_the_system() -> None:
    assert "127.0.0.1" in await resolve("localhost", 80)
