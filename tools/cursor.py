"""Opaque cursors: where a page ended, bound to the query it belongs to, good for an hour."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

from market.errors import CursorExpired

_LIFETIME = timedelta(hours=1)
_START_AGAIN = "Leave `cursor` out to start again from the first page."


def seal(query_key: str, position: list[Any], version: int, now: datetime) -> str:
    """The cursor that continues a query after `position` of catalogue `version`."""
    body = json.dumps([query_key, position, version, int(now.timestamp())], separators=(",", ":"))
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def unseal(cursor: str, query_key: str, now: datetime) -> tuple[list[Any], int]:
    """Position and catalogue version of a cursor. Raises CursorExpired saying which rule it breaks."""
    try:
        key, position, version, issued = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        age = now.timestamp() - issued
        if not (isinstance(position, list) and isinstance(version, int) and isinstance(key, str)):
            raise ValueError("not a cursor")
        if any(isinstance(part, int) and abs(part) >= 2**63 for part in position):
            raise ValueError("not a position")
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise CursorExpired("The cursor is damaged or was not made here.", next_step=_START_AGAIN) from None
    if key != query_key:
        raise CursorExpired(
            "The cursor belongs to another query.",
            next_step="Send the same filters as for the first page, or no cursor.",
        )
    if not -60 <= age <= _LIFETIME.total_seconds():
        raise CursorExpired("The cursor is older than an hour; prices have moved since.", next_step=_START_AGAIN)
    return position, version
