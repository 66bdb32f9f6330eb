"""Where an adapter may connect to: its own hosts, over https, on public addresses, whatever a redirect or DNS says.

`EgressGuard` judges an address as written, before every request and on every redirect. `GuardedNetwork` judges what
the name resolves to and connects to the very address it judged, so a name that changes its mind between the two
(DNS rebinding) gains nothing; TLS still checks the certificate against the name.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeAlias, cast

import anyio
import httpcore
import httpx

from market.errors import ProviderRefused

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Resolve: TypeAlias = Callable[[str, int], Awaitable[list[str]]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MOST_ADDRESSES = 4


def is_public(address: Address) -> bool:
    """Whether an address belongs to the open internet; wrapped IPv4 addresses are judged by what they wrap."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        # Tunnels are reached by whoever runs them, wherever their inner address points.
        if address.sixtofour or address.teredo or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def literal_address(host: str) -> Address | None:
    """The address a host name spells out, in any form a resolver would take (dotted, decimal, octal, hex), or None."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


class EgressGuard:
    """Refuses an address as written: other schemes, other hosts, other ports, private addresses, user names."""

    def __init__(
        self, name: str, allowed: Iterable[str] | None, *, allow_loopback: bool = False, listed_loopback: bool = False
    ) -> None:
        """`allow_loopback` lets any port of this machine be reached, `listed_loopback` only those in `allowed`.

        `allowed` None means every public host: for addresses that our own users give.
        """
        self.name = name
        self.allow_loopback = allow_loopback
        self._listed_loopback = listed_loopback
        self._allowed = None if allowed is None else {_host_and_port(entry) for entry in allowed if entry}

    def check(self, url: httpx.URL) -> None:
        """Raises ProviderRefused when the address is not one this provider may be reached at."""
        host = url.raw_host.decode("ascii", "replace").lower().rstrip(".")
        address = literal_address(host)
        loopback = host == "localhost" or (address is not None and address.is_loopback)
        if loopback and url.scheme in ("http", "https"):
            port = url.port or (443 if url.scheme == "https" else 80)
            if self.allow_loopback or (self._listed_loopback and (host, port) in (self._allowed or ())):
                return
        if url.scheme != "https":
            raise self._refused("an address that is not https")
        if url.userinfo:
            raise self._refused("an address with a user name in it")
        if loopback or (address is not None and not is_public(address)):
            raise self._refused("a private or local network address")
        if self._allowed is not None and (host, url.port or 443) not in self._allowed:
            raise self._refused("a host that is not on its list")

    def judge(self, host: str, addresses: list[str]) -> None:
        """Raises ProviderRefused when a name resolves to anything but public addresses."""
        if (self.allow_loopback or self._listed_loopback) and host in ("localhost", "127.0.0.1", "::1"):
            return
        if not all(is_public(ipaddress.ip_address(address.partition("%")[0])) for address in addresses):
            raise self._refused("a name that resolves to a private or local network address")

    def _refused(self, what: str) -> ProviderRefused:
        return ProviderRefused(
            f"`{self.name}` led to {what}, and that is not followed.",
            next_step="Its last known offers stay; check the adapter's hosts if the provider has moved.",
            details={"provider": self.name, "reason": "egress"},
        )


def _host_and_port(entry: str) -> tuple[str, int]:
    url = httpx.URL(entry if "//" in entry else f"https://{entry}")
    return url.raw_host.decode("ascii").lower().rstrip("."), url.port or (443 if url.scheme == "https" else 80)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system's resolver gives them."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """A network that resolves, judges, then connects to what it judged."""

    def __init__(
        self, guard: EgressGuard, resolve: Resolve = resolve, network: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._guard = guard
        self._resolve = resolve
        self._network = network or cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first judged address that answers."""
        try:
            with anyio.fail_after(timeout):
                addresses = await self._resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("the name did not resolve in time") from None
        except OSError:
            addresses = []
        if not addresses:
            raise httpcore.ConnectError("the name does not resolve")
        self._guard.judge(host, addresses)
        problem: Exception = httpcore.ConnectError("no address answered")
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as unreachable:
                problem = unreachable
        raise problem

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never: a provider is not on a socket of this machine."""
        raise httpcore.ConnectError("no unix sockets")

    async def sleep(self, seconds: float) -> None:
        """Wait, for the pool's own use."""
        await anyio.sleep(seconds)


class _Body(httpx.AsyncByteStream):
    """httpcore's answer as the stream httpx expects."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


class GuardedTransport(httpx.AsyncBaseTransport):
    """httpx over a GuardedNetwork; no proxies and no environment, so that nothing leads around the guard."""

    def __init__(self, guard: EgressGuard, *, connections: int, network: GuardedNetwork | None = None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=connections,
            keepalive_expiry=30.0,
            network_backend=network or GuardedNetwork(guard),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request over a judged connection; failures are httpcore's."""
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
