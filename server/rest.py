"""The HTTP door: one route for each `METHOD /path` a capability declares, errors in the one envelope.

Holds no policy: it turns a request into arguments, passes them to the gate, and writes the answer.
"""

from __future__ import annotations

import difflib
import logging
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from market.context import Context, Market
from market.errors import BrokerError, InternalFault, NotFound, TooLarge, ValidationFailed
from server.callers import caller_in
from tools.capability import Capability, capabilities

log = logging.getLogger("gpubroker")

PREFIX = "/api/v2"
MAX_BODY_BYTES = 1024 * 1024
JSON = "application/json"

_HEX = frozenset("0123456789abcdef")


def routes(market: Market) -> list[Route]:
    """One route for each path; those without a parameter come first, so that they win whatever the method."""
    by_path: dict[str, dict[str, Capability[Any, Any]]] = {}
    for item in capabilities().values():
        if "http" in item.doors:
            for route in item.routes:
                method, path = route.split(" ", 1)
                by_path.setdefault(path, {})[method] = item
    return [
        Route(PREFIX + path, _Endpoint(market, by_path[path]), name=path)
        for path in sorted(by_path, key=lambda path: ("{" in path, path))
    ]


class _Endpoint:
    """An ASGI endpoint over the capabilities of one path, by method."""

    def __init__(self, market: Market, items: Mapping[str, Capability[Any, Any]]) -> None:
        self._market = market
        self._items = items

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        trace_id = trace_of(request)
        item = self._items.get("GET" if request.method == "HEAD" else request.method)
        if item is None:
            return not_allowed(request, sorted(self._items))
        try:
            arguments = await _arguments(request, item)
            key = request.headers.get("idempotency-key")
            ctx = Context(self._market, caller_in(request.scope), trace_id, idempotency_key=key)
            result = await item.call(ctx, arguments)
        except BrokerError as refusal:
            return refused(refusal, trace_id)
        return Response(result.model_dump_json(exclude_none=True), headers={"X-Trace-Id": trace_id}, media_type=JSON)


async def _arguments(request: Request, item: Capability[Any, Any]) -> dict[str, Any]:
    """Path, query and body together; who pages by number and who by cursor is told by what was sent."""
    given: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        given.setdefault(name, []).append(value)
    arguments: dict[str, Any] = {name: values[0] if len(values) == 1 else values for name, values in given.items()}
    if request.method in ("POST", "PUT"):
        arguments |= await _body(request)
    key = request.headers.get("idempotency-key")
    if key is not None and "idempotency_key" in item.request.model_fields:
        arguments.setdefault("idempotency_key", key)
    if "page" in item.request.model_fields and not arguments.keys() & {"cursor", "page", "limit"}:
        arguments["page"] = 1
    return arguments | request.path_params


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent; nothing is the empty one."""
    chunks: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > MAX_BODY_BYTES:
            raise TooLarge(f"The body is larger than {MAX_BODY_BYTES // 1024} KiB.", next_step="Send less at once.")
        chunks.append(chunk)
    if total == 0:
        return {}
    try:
        parsed = orjson.loads(b"".join(chunks))
    except orjson.JSONDecodeError:
        raise ValidationFailed("The body is not JSON.", next_step="Send one JSON object.") from None
    if not isinstance(parsed, dict):
        raise ValidationFailed("The body is JSON, but not an object.", next_step="Send one JSON object.")
    return parsed


def trace_of(request: Request) -> str:
    """The trace id of W3C `traceparent` when the caller sent one, else a new one."""
    parts = request.headers.get("traceparent", "").split("-")
    if len(parts) >= 4 and len(parts[1]) == 32 and set(parts[1]) <= _HEX and set(parts[1]) != {"0"}:
        return parts[1]
    return secrets.token_hex(16)


def answered(body: Mapping[str, Any], trace_id: str) -> Response:
    """A body of our own as JSON."""
    return Response(orjson.dumps(body), headers={"X-Trace-Id": trace_id}, media_type=JSON)


def refused(
    refusal: BrokerError, trace_id: str, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The error envelope."""
    headers = {"X-Trace-Id": trace_id, **(headers or {})}
    wait = refusal.details.get("retry_after_seconds")
    if isinstance(wait, int | float):
        headers["Retry-After"] = str(max(1, round(wait)))
    body = orjson.dumps(refusal.envelope(trace_id), default=str)
    return Response(body, status or refusal.status, headers, JSON)


def not_allowed(request: Request, methods: Iterable[str]) -> Response:
    """405 with the methods that are."""
    allowed = ", ".join(methods)
    refusal = ValidationFailed(
        f"`{request.method[:20]}` is not allowed on this path.",
        next_step=f"Use {allowed}." if allowed else "See /openapi.json for what is.",
    )
    return refused(refusal, trace_of(request), status=405, headers={"Allow": allowed} if allowed else None)


async def not_routed(request: Request, problem: Exception) -> Response:
    """404 and 405 of the router in the same envelope, with the nearest path."""
    if isinstance(problem, HTTPException) and problem.status_code == 405:
        return not_allowed(request, sorted((problem.headers or {}).get("Allow", "").split(", ")))
    near = nearest_path(request.url.path, (route.path for route in request.app.routes if hasattr(route, "path")))
    return refused(
        NotFound(
            "There is nothing at this path.",
            next_step=f"Nearest: {', '.join(near)}." if near else "See /openapi.json for all of them.",
            details={"nearest": near},
        ),
        trace_of(request),
    )


def nearest_path(path: str, known: Iterable[str]) -> list[str]:
    """The declared paths closest to one that does not exist."""
    return difflib.get_close_matches(path[:200], sorted(set(known)), n=3, cutoff=0.6)


async def failed(request: Request, problem: Exception) -> Response:
    """A defect of ours outside any capability: logged with its trace id, told without detail."""
    trace_id = trace_of(request)
    log.error("request failed trace=%s", trace_id, exc_info=problem)
    return refused(
        InternalFault("GPUBroker failed to answer.", next_step=f"Report trace id {trace_id} if it stays."), trace_id
    )
