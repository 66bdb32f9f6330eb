"""What callers of the simulated cloud send, read and checked: accounts, orders, numbers, moments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from adapters.sandbox_cloud import LaunchOrder, SandboxRefusal
from adapters.sandbox_market import SandboxPricing

MAX_BODY_BYTES = 256 * 1024
_FIELDS = frozenset(
    {
        "label",
        "type",
        "region",
        "pricing",
        "ends_at",
        "max_price_per_hour",
        "image",
        "ssh_public_keys",
        "start_script",
        "environment",
        "ports",
        "disk_gb",
    }
)


def bad(message: str) -> SandboxRefusal:
    """The request makes no sense."""
    return SandboxRefusal("bad_request", message)


def account_of(headers: Mapping[str, str]) -> str:
    """The account a bearer token stands for: any token, each its own. Raises SandboxRefusal without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise SandboxRefusal("unauthorized", "Show a bearer token; any will do.")
    return hashlib.sha256(token.strip().encode()).hexdigest()[:12]


def read_object(raw: bytes) -> dict[str, Any]:
    """A body as a JSON object; an empty one is an empty object. Raises SandboxRefusal."""
    try:
        read = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        raise bad("The body is no JSON.") from None
    if not isinstance(read, dict):
        raise bad("The body is no JSON object.")
    return read


def read_order(body: Mapping[str, Any]) -> LaunchOrder:
    """The order in a body. Raises SandboxRefusal for fields that are unknown, missing or of another kind."""
    if unknown := sorted(set(body) - _FIELDS):
        raise bad(f"There is no field `{unknown[0][:40]}`.")
    environment = body.get("environment") or {}
    if not isinstance(environment, dict) or not all(isinstance(each, str) for each in environment.values()):
        raise bad("`environment` is an object of texts.")
    most = body.get("max_price_per_hour")
    return LaunchOrder(
        label=_text(body, "label"),
        type=_text(body, "type"),
        region=_text(body, "region"),
        pricing=read_pricing(body.get("pricing", "on_demand")),
        ends_at=None if body.get("ends_at") is None else read_moment(body["ends_at"]),
        max_price_per_hour=None if most is None else read_number(most, "max_price_per_hour"),
        image=_text(body, "image", ""),
        ssh_public_keys=[key for key in _list(body, "ssh_public_keys") if isinstance(key, str)],
        start_script=_text(body, "start_script", ""),
        environment=environment,
        ports=[read_whole(port, 1, 65_535, "ports") for port in _list(body, "ports")],
        disk_gb=read_number(body.get("disk_gb", 0), "disk_gb"),
    )


def read_pricing(value: object) -> SandboxPricing:
    """`on_demand` or `spot`. Raises SandboxRefusal."""
    if value == "on_demand":
        return "on_demand"
    if value == "spot":
        return "spot"
    raise bad("`pricing` is `on_demand` or `spot`.")


def read_moment(value: object) -> datetime:
    """A moment with its zone, in ISO 8601. Raises SandboxRefusal."""
    try:
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise bad("A time is written 2026-01-31T12:00:00Z.")


def read_number(value: object, name: str) -> Decimal:
    """A number that is not negative, as it was written. Raises SandboxRefusal."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise bad(f"`{name}` is a number.") from None
    if isinstance(value, bool) or not number.is_finite() or number < 0:
        raise bad(f"`{name}` is a number, 0 or more.")
    return number


def read_whole(value: object, least: int, most: int, name: str) -> int:
    """A whole number within bounds. Raises SandboxRefusal."""
    number = read_number(value, name)
    if number != number.to_integral_value() or not least <= number <= most:
        raise bad(f"`{name}` is a whole number from {least} to {most}.")
    return int(number)


def _text(body: Mapping[str, Any], name: str, otherwise: str | None = None) -> str:
    value = body.get(name, otherwise)
    if not isinstance(value, str):
        raise bad(f"`{name}` is a text.")
    return value


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name) or []
    if not isinstance(value, list):
        raise bad(f"`{name}` is a list.")
    return value
