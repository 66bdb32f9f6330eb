"""The simulated cloud over HTTP: its public API under `/v1`, its operator's dial under `/_…`, its own OpenAPI document.

Whoever shows a bearer token has an account of that token's own. Faults of the wire are real ones: a reset is a reset,
a truncated answer ends in the middle. How a connection is reset is the server's business: `wire_of` gives the `Wire` a
request came over.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from adapters import sandbox_operator as operator
from adapters.sandbox_cloud import SandboxCloud, SandboxRefusal
from adapters.sandbox_dial import Endpoint, Fault, FaultName
from adapters.sandbox_machine import Machine
from adapters.sandbox_market import EGRESS_PRICE_PER_GB, REGIONS, STORAGE_PRICE_PER_GB_MONTH, TYPES
from adapters.sandbox_openapi import document
from adapters.sandbox_requests import (
    MAX_BODY_BYTES,
    account_of,
    read_moment,
    read_object,
    read_order,
    read_pricing,
    read_whole,
)

PAGE = 50
_LOOPBACK = ["127.0.0.1", "localhost", "::1", "[::1]"]

Faults = Mapping[FaultName, Fault]
Handler = Callable[["SandboxFace", Request, Faults], Awaitable[Any]]


class Wire(Protocol):
    """What only the server can do to a connection."""

    async def sleep(self, seconds: float) -> None:
        """Keep the caller waiting."""
        ...

    def reset(self) -> None:
        """Break the connection off at once."""
        ...


class SandboxFace:
    """The cloud as an ASGI application; `changed` is called after everything that may have changed it."""

    def __init__(
        self, cloud: SandboxCloud, *, wire_of: Callable[[Scope], Wire], changed: Callable[[], None] = lambda: None
    ) -> None:
        self.cloud = cloud
        self._wire_of = wire_of
        self._changed = changed
        routes = [
            Route(path, self._public(endpoint, handler), methods=[method]) for method, path, endpoint, handler in ROUTES
        ]
        routes += [Route(path, self._operator(done), methods=[method]) for method, path, done in OPERATOR_ROUTES]
        routes.append(Route("/openapi.json", self._document))
        self.app = Starlette(
            routes=routes,
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_LOOPBACK)],
            exception_handlers={HTTPException: _not_routed},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the fault dial has the last word on how the answer leaves."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        faults: dict[FaultName, Fault] = {}
        scope["faults"] = faults
        await self.app(scope, receive, keep)
        if scope["method"] != "GET" or faults:
            self._changed()
        await _leave(answer, faults, self._wire_of(scope), send)

    def _public(self, endpoint: Endpoint, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            faults = request.scope["faults"]
            faults.update(self.cloud.dial.draw(endpoint))
            if "reset" in faults:
                # Heard out first, so that the caller sees its answer missing and not its question cut off.
                with suppress(SandboxRefusal):
                    await _body(request)
                return Response()
            if (told := faults.get("slow_down")) is not None:
                wait = {"Retry-After": f"{told.number(0):g}"} if told.value is not None else {}
                return _error(429, "slow_down", "Too many requests.", wait)
            if "server_error" in faults:
                return _error(500, "internal", "Something broke.")
            try:
                found = await handler(self, request, faults)
            except SandboxRefusal as refusal:
                return _error(refusal.status, refusal.code, refusal.message)
            if "server_error_after" in faults:
                return _error(500, "internal", "Something broke.")
            return _json(found) if found is not None else Response(status_code=204)

        return answer

    def _operator(self, operation: operator.Operation) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                return _json(operation(self.cloud, await _body(request)))
            except SandboxRefusal as refusal:
                return _error(refusal.status, refusal.code, refusal.message)

        return answer

    async def _document(self, request: Request) -> Response:
        return _json(document())


async def _leave(answer: list[Message], faults: Faults, wire: Wire, send: Send) -> None:
    """Send what was answered, as the faults of the wire allow."""
    late = faults.get("latency")
    if late is not None:
        await wire.sleep(late.number(1.0))
    if "reset" in faults or "lost_reply" in faults:
        wire.reset()
        return
    if "truncated" not in faults:
        for message in answer:
            await send(message)
        return
    start, body = answer[0], b"".join(message.get("body", b"") for message in answer[1:])
    # The length is promised and not kept; ending without the rest makes the server close the connection.
    start["headers"] = [(b"content-type", b"application/json"), (b"content-length", str(len(body) + 20).encode())]
    await send(start)
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    text = json.dumps(value, separators=(",", ":"))
    return Response(text, status, headers=dict(headers or {}), media_type="application/json")


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return _json({"error": {"code": code, "message": message}}, status, headers)


async def _not_routed(_request: Request, problem: Exception) -> Response:
    status = problem.status_code if isinstance(problem, HTTPException) else 500
    return _error(status, "no_such_route", "There is no such address or method.")


async def _body(request: Request) -> dict[str, Any]:
    raw = b""
    async for piece in request.stream():
        raw += piece
        if len(raw) > MAX_BODY_BYTES:
            raise SandboxRefusal("bad_request", "The body is too long.")
    return read_object(raw)


def _account_of(request: Request) -> str:
    return account_of(request.headers)


def _shown(face: SandboxFace, machine: Machine, faults: Faults) -> dict[str, Any]:
    """A machine as the API shows it."""
    skew = timedelta(seconds=faults["clock_skew"].number(300.0)) if "clock_skew" in faults else timedelta(0)
    running = machine.state == "running"

    def told(moment: datetime | None) -> str | None:
        return None if moment is None else (moment + skew).isoformat().replace("+00:00", "Z")

    shown: dict[str, Any] = {
        "id": machine.id,
        "label": machine.label,
        "state": machine.state,
        "end_reason": machine.end_reason,
        "type": machine.kind,
        "region": machine.region,
        "pricing": machine.pricing,
        "price_per_hour": str(machine.price_per_hour),
        "currency": machine.currency,
        "created_at": told(machine.created_at),
        "started_at": told(machine.first_ran_at),
        "ends_at": told(machine.ends_at),
        "ended_at": told(machine.ended_at),
        "image": machine.image,
        "disk_gb": float(machine.disk_gb),
        "ssh": {"host": face.cloud.ssh_host, "port": face.cloud.ssh_port, "user": "root"} if running else None,
        "ports": [{"port": port, "address": f"{machine.id}.sandbox.invalid:{port}"} for port in machine.ports]
        if running
        else [],
    }
    if "no_id" in faults:
        del shown["id"]
    return shown


async def _types(face: SandboxFace, request: Request, faults: Faults) -> Any:
    rows = []
    for name, region, prices, free in face.cloud.products():
        kind, place = TYPES[name], REGIONS[region]
        rows.append(
            {
                "type": name,
                "gpu": kind.gpu,
                "gpu_count": kind.gpu_count,
                "gpu_memory_gb": kind.memory_gb,
                "vcpus": kind.vcpus,
                "ram_gb": kind.ram_gb,
                "storage_gb": kind.storage_gb,
                "region": region,
                "city": place.city,
                "country": place.country,
                "tags": list(place.tags),
                "currency": place.currency,
                "price_per_hour": {pricing: str(price) for pricing, price in prices.items()},
                "free": free,
                "storage_price_per_gb_month": str(STORAGE_PRICE_PER_GB_MONTH),
                "egress_price_per_gb": str(EGRESS_PRICE_PER_GB),
            }
        )
    return {"types": rows}


async def _price(face: SandboxFace, request: Request, faults: Faults) -> Any:
    asked = request.query_params
    pricing = read_pricing(asked.get("pricing", "on_demand"))
    price, currency, free = face.cloud.quote(asked.get("type", ""), asked.get("region", ""), pricing)
    if "wrong_price" in faults:
        price = (price * Decimal(str(faults["wrong_price"].number(1.5)))).quantize(price)
    return {"price_per_hour": str(price), "currency": currency, "free": free}


async def _account(face: SandboxFace, request: Request, faults: Faults) -> Any:
    account = _account_of(request)
    return {
        "account": account,
        "enforces_end": face.cloud.enforce_end,
        "gpu_quota": face.cloud.temper.gpu_quota,
        "gpus_in_use": face.cloud.gpus_in_use(account),
    }


async def _launch(face: SandboxFace, request: Request, faults: Faults) -> Any:
    account = _account_of(request)
    return _shown(face, face.cloud.launch(account, read_order(await _body(request)), faults), faults)


async def _list(face: SandboxFace, request: Request, faults: Faults) -> Any:
    asked = request.query_params
    if "vanish" in faults:
        _lose(face, _account_of(request))
    found = face.cloud.listed(_account_of(request), label=asked.get("label"), everything=asked.get("all") == "true")
    limit, after = read_whole(asked.get("limit", PAGE), 1, 200, "limit"), asked.get("cursor", "")
    rest = [machine for machine in found if machine.id > after]
    page = rest[:limit]
    return {
        "instances": [_shown(face, machine, faults) for machine in page],
        "next_cursor": page[-1].id if len(rest) > limit else None,
    }


def _lose(face: SandboxFace, account: str) -> None:
    for machine in face.cloud.listed(account)[:1]:
        face.cloud.vanish(machine.id)


async def _status(face: SandboxFace, request: Request, faults: Faults) -> Any:
    if "vanish" in faults:
        face.cloud.vanish(request.path_params["id"])
    return _shown(face, face.cloud.get(_account_of(request), request.path_params["id"]), faults)


async def _terminate(face: SandboxFace, request: Request, faults: Faults) -> Any:
    face.cloud.terminate(_account_of(request), request.path_params["id"], faults)


async def _stop(face: SandboxFace, request: Request, faults: Faults) -> Any:
    return _shown(face, face.cloud.stop(_account_of(request), request.path_params["id"]), faults)


async def _start(face: SandboxFace, request: Request, faults: Faults) -> Any:
    return _shown(face, face.cloud.start(_account_of(request), request.path_params["id"]), faults)


async def _extend(face: SandboxFace, request: Request, faults: Faults) -> Any:
    account, ends_at = _account_of(request), read_moment((await _body(request)).get("ends_at"))
    return _shown(face, face.cloud.extend(account, request.path_params["id"], ends_at), faults)


async def _bill(face: SandboxFace, request: Request, faults: Faults) -> Any:
    machine = face.cloud.get(_account_of(request), request.path_params["id"])
    now = face.cloud.now()
    return {
        "amount": str(machine.amount(now)),
        "currency": machine.currency,
        "final": machine.is_gone,
        "seconds": machine.billed_seconds(now),
        "disk_seconds": machine.disk_seconds(now),
    }


ROUTES: tuple[tuple[str, str, Endpoint, Handler], ...] = (
    ("GET", "/v1/types", "types", _types),
    ("GET", "/v1/price", "price", _price),
    ("GET", "/v1/account", "account", _account),
    ("POST", "/v1/instances", "launch", _launch),
    ("GET", "/v1/instances", "list", _list),
    ("GET", "/v1/instances/{id}", "status", _status),
    ("DELETE", "/v1/instances/{id}", "terminate", _terminate),
    ("GET", "/v1/instances/{id}/bill", "bill", _bill),
    ("POST", "/v1/instances/{id}/extend", "extend", _extend),
    ("POST", "/v1/instances/{id}/stop", "stop", _stop),
    ("POST", "/v1/instances/{id}/start", "start", _start),
)
OPERATOR_ROUTES: tuple[tuple[str, str, operator.Operation], ...] = (
    ("GET", "/_dial", operator.show_dial),
    ("POST", "/_dial", operator.set_dial),
    ("POST", "/_stock", operator.set_stock),
    ("POST", "/_clock", operator.move_clock),
    ("POST", "/_interrupt", operator.interrupt),
    ("POST", "/_vanish", operator.vanish),
    ("GET", "/_state", operator.show_state),
)
