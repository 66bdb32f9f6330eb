"""The HTTP door: one route for each `METHOD /path` a capability declares, errors in the one envelope.

Holds no policy: it turns a request into arguments, passes them to the gate, and writes the answer.
"""

from __future__ import annotations

import difflib
import logging
import secrets
from collections.abc import Iterable
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from market.context import LOCAL_OWNER, Context, Market
from market.errors import BrokerError, InternalFault, NotFound, TooLarge, ValidationFailed
from tools.capability import Capability, capabilities

log = logging.getLogger("gpubroker")

PREFIX = "/api/v2"
MAX_BODY_BYTES = 1024 * 1024
JSON = "application/json"


def routes(market: Market) -> list[Route]:
    """Every route of every capability that has an HTTP door; paths without a parameter come first, so that they win."""
    declared = [
        (path, method, item)
        for item in capabilities().values()
        if "http" in item.doors
        for method, path in (route.split(" ", 1) for route in item.routes)
    ]
    declared.sort(key=lambda one: ("{" in one[0], one[0]))
    return [
        Route(PREFIX + path, _Endpoint(market, item), methods=[method], name=f"{item.name}:{method}:{path}")
        for path, method, item in declared
    ]


class _Endpoint:
    """An ASGI endpoint over one capability."""

    def __init__(self, market: Market, item: Capability[Any, Any]) -> None:
        self._market = market
        self._item = item

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        trace_id = trace_of(request)
        try:
            arguments = await self._arguments(request)
            result = await self._item.call(Context(self._market, LOCAL_OWNER, trace_id), arguments)
            response = Response(result.model_dump_json(exclude_none=True), media_type=JSON)
        except BrokerError as refusal:
            response = refused(refusal, trace_id)
        response.headers["X-Trace-Id"] = trace_id
        await response(scope, receive, send)

    async def _arguments(self, request: Request) -> dict[str, Any]:
        """Path, query and body together; who pages by number and who by cursor is told by what was sent."""
        arguments: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            before = arguments.get(name)
            arguments[name] = value if before is None else [*(before if isinstance(before, list) else [before]), value]
        if request.method == "POST":
            arguments |= await _body(request)
        if "page" in self._item.request.model_fields and not arguments.keys() & {"cursor", "page", "limit"}:
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
    if len(parts) >= 4 and len(parts[1]) == 32 and set(parts[1]) <= set("0123456789abcdef") and set(parts[1]) != {"0"}:
        return parts[1]
    return secrets.token_hex(16)


def refused(refusal: BrokerError, trace_id: str) -> Response:
    """The error envelope."""
    headers = {}
    wait = refusal.details.get("retry_after_seconds")
    if isinstance(wait, int | float):
        headers["Retry-After"] = str(max(1, round(wait)))
    return Response(orjson.dumps(refusal.envelope(trace_id)), refusal.status, headers, JSON)


async def not_routed(request: Request, problem: Exception) -> Response:
    """404 and 405 of the router in the same envelope, with the nearest path."""
    trace_id = trace_of(request)
    status = problem.status_code if isinstance(problem, HTTPException) else 404
    if status == 405:
        refusal: BrokerError = ValidationFailed(
            f"`{request.method}` is not allowed on this path.", next_step="See /openapi.json for what is."
        )
        answer = refused(refusal, trace_id)
        answer.status_code = 405
        return answer
    near = nearest_path(request.url.path, (route.path for route in request.app.routes if hasattr(route, "path")))
    return refused(
        NotFound(
            "There is nothing at this path.",
            next_step=f"Nearest: {', '.join(near)}." if near else "See /openapi.json for all of them.",
            details={"nearest": near},
        ),
        trace_id,
    )


def nearest_path(path: str, known: Iterable[str]) -> list[str]:
    """The declared paths closest to one that does not exist."""
    return difflib.get_close_matches(path, sorted(set(known)), n=3, cutoff=0.6)


async def failed(request: Request, problem: Exception) -> Response:
    """A defect of ours outside any capability: logged with its trace id, told without detail."""
    trace_id = trace_of(request)
    log.error("request failed trace=%s", trace_id, exc_info=problem)
    return refused(
        InternalFault("GPUBroker failed to answer.", next_step=f"Report trace id {trace_id} if it stays."), trace_id
    )
