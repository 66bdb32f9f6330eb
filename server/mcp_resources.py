"""The catalogue as MCP resources: one offer, one GPU, one provider, and the lists of their names."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, Icon, Resource, ResourceTemplate

from market.context import Context
from market.errors import BrokerError, NotFound, ValidationFailed
from tools.capability import capabilities

JSON = "application/json"
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#0a7" '
    'd="M2 4h12v8H2zM5 6v4h6V6zM4 2h2v2H4zm6 0h2v2h-2zM4 12h2v2H4zm6 0h2v2h-2z"/></svg>'
)
ICON = Icon(
    src=f"data:image/svg+xml;base64,{b64encode(_SVG.encode()).decode()}", mime_type="image/svg+xml", sizes=["any"]
)


def _template(kind: str, variable: str, title: str, description: str) -> ResourceTemplate:
    return ResourceTemplate(
        uri_template=f"{kind}://{{{variable}}}",
        name=kind,
        title=title,
        description=description,
        mime_type=JSON,
        icons=[ICON],
    )


TEMPLATES = (
    _template("offer", "id", "Offer", "One offer in full: machine, price and its source, evidence of availability."),
    _template("gpu", "name", "GPU", "A GPU's specifications and its cheapest offers."),
    _template("provider", "name", "Provider", "A provider's health, freshness of its prices, and number of offers."),
    _template("booking", "id", "Booking", "A booking of yours: state, how to log in, cost. Updates are told."),
    _template("alert", "id", "Alert", "An alert of yours and when it fired. Updates are told."),
)

LISTS = (
    Resource(
        uri="gpubroker://gpus",
        name="gpus",
        title="GPUs",
        description="Every GPU known by name, with its memory.",
        mime_type=JSON,
        icons=[ICON],
    ),
    Resource(
        uri="gpubroker://providers",
        name="providers",
        title="Providers",
        description="Every provider with its health and the date of its prices.",
        mime_type=JSON,
        icons=[ICON],
    ),
)

_READERS: Mapping[str, tuple[str, str]] = {
    "offer": ("get_offer", "id"),
    "gpu": ("get_gpu", "name"),
    "provider": ("get_provider", "name"),
    "booking": ("list_bookings", "booking_id"),
    "alert": ("list_alerts", "alert_id"),
}
_LISTERS: Mapping[str, str] = {"gpubroker://gpus": "list_gpus", "gpubroker://providers": "list_providers"}


def kind_of(uri_template: str) -> str:
    """`offer` of `offer://{id}`."""
    return uri_template.partition("://")[0]


async def read(uri: str, ctx: Context) -> list[ReadResourceContents] | None:
    """One resource as JSON, or None when the address is not one of ours.

    The name may come as it is or percent-encoded: an id holds colons, which strict URI libraries take for a port.
    """
    kind, separator, rest = uri.partition("://")
    if uri in _LISTERS:
        name, arguments = _LISTERS[uri], {}
    elif separator and kind in _READERS:
        name, field = _READERS[kind]
        arguments = {field: unquote(rest)}
    else:
        return None
    try:
        result = await capabilities()[name].call(ctx, arguments)
    except BrokerError as refusal:
        raise _unreadable(uri, refusal) from None
    body = result.model_dump(mode="json", exclude_none=True)
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return [ReadResourceContents(content=text, mime_type=JSON)]


def _unreadable(uri: str, refusal: BrokerError) -> MCPError:
    code = INVALID_PARAMS if isinstance(refusal, NotFound | ValidationFailed) else INTERNAL_ERROR
    data: dict[str, Any] = {"uri": uri[:2_000], "code": refusal.code, **refusal.details}
    return MCPError(code, str(refusal), data)
