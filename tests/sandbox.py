"""A simulated cloud for tests: in this process on a hand-moved clock, or served for real on a port of this machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio.lowlevel
import httpx
from starlette.types import Message, Scope

from adapters.base import Adapter
from adapters.sandbox import Sandbox
from adapters.sandbox_cloud import SandboxCloud, Temper
from adapters.sandbox_dial import Dial
from adapters.sandbox_http import SandboxFace
from adapters.transport import ProviderClient
from market.context import Clock
from server.sandbox_listen import Doors, bound, run, server


class SandboxWorld:
    """One simulated cloud reached without a network.

    `connect` is what a Market or a sync takes instead of ProviderClient. The cloud's time is `clock`'s; retries,
    pacing and latency move only `slept_seconds`. `down` makes every connection fail as if nothing listened.
    """

    def __init__(self, clock: Clock, *, seed: int = 0, temper: Temper | None = None, enforce_end: bool = True) -> None:
        """Without a temper of its own the cloud is calm: only what a test dials goes wrong."""
        self.clock = clock
        self.cloud = SandboxCloud(clock.now, seed=seed, temper=temper or Temper.calm(), enforce_end=enforce_end)
        self.face = SandboxFace(self.cloud, wire_of=lambda scope: scope["wire"])
        self.slept_seconds = 0.0
        self.down = False
        self.requests: list[tuple[str, str]] = []
        """Method and path of every request that arrived."""

    @property
    def dial(self) -> Dial:
        """The cloud's fault dial."""
        return self.cloud.dial

    def connect(self, adapter: type[Adapter]) -> ProviderClient:
        """A client of the cloud; any other provider cannot be connected to."""
        ours = adapter.name == Sandbox.name
        return ProviderClient(
            adapter,
            transport=_Wires(self) if ours else httpx.MockTransport(_nobody_there),
            monotonic=self.monotonic,
            clock=self.clock.now,
            sleep=self.sleep,
            jitter=lambda: 0.5,
            environment={},
        )

    def adapter(self) -> Sandbox:
        """A sandbox adapter with a connection of its own."""
        return Sandbox(self.connect(Sandbox), self.clock.now())

    def monotonic(self) -> float:
        """Seconds that pass with the clock and with every sleep."""
        return self.clock.now().timestamp() + self.slept_seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass without waiting."""
        self.slept_seconds += seconds
        await anyio.lowlevel.checkpoint()


def _nobody_there(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("only the sandbox can be reached", request=request)


class _Wires(httpx.AsyncBaseTransport):
    """Requests handed to the face; what goes wrong on the wire becomes what httpx raises for it."""

    def __init__(self, world: SandboxWorld) -> None:
        self._world = world

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._world.down:
            raise httpx.ConnectError("refused", request=request)
        body = await request.aread()
        self._world.requests.append((request.method, request.url.path))
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._world.face(self._scope(request), receive, send)
        whole = not sent[-1].get("more_body")
        stream = _Sent(b"".join(message.get("body", b"") for message in sent[1:]), whole=whole)
        return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], stream=stream, request=request)

    def _scope(self, request: httpx.Request) -> Scope:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 50_000),
            "server": (request.url.host, request.url.port),
            "wire": _Wire(self._world, request),
        }


class _Wire:
    def __init__(self, world: SandboxWorld, request: httpx.Request) -> None:
        self._world = world
        self._request = request

    async def sleep(self, seconds: float) -> None:
        patience = self._request.extensions["timeout"]["read"]
        await self._world.sleep(min(seconds, patience))
        if seconds >= patience:
            raise httpx.ReadTimeout("no answer in time", request=self._request)

    def reset(self) -> None:
        raise httpx.ReadError("connection reset by peer", request=self._request)


class _Sent(httpx.AsyncByteStream):
    def __init__(self, body: bytes, *, whole: bool) -> None:
        self._body = body
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
        if not self._whole:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


@contextmanager
def served(cloud: SandboxCloud) -> Iterator[str]:
    """The cloud over real HTTP on a free port of this machine, and SSH greetings on another; the address to use."""
    doors = Doors()
    face = SandboxFace(cloud, wire_of=doors.wire_of)
    web, ssh = bound("127.0.0.1", 0), bound("127.0.0.1", 0)
    cloud.ssh_host, cloud.ssh_port = ssh.getsockname()[:2]
    running = server(face, doors)
    thread = threading.Thread(target=_run, args=(run(running, web, ssh, face.cloud.is_awake),), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{web.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


def _run(serving: Any) -> None:
    asyncio.run(serving)


def at(address: str) -> type[Sandbox]:
    """The sandbox adapter of a served cloud."""

    class Here(Sandbox):
        """The sandbox at another address."""

        base_url = address
        base_url_variable = ""

    return Here
