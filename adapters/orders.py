"""What became of an order: certainly nothing (refused, slow down), or nobody knows (the reply is lost).

The difference decides what a booking does next: after a refusal it may try another offer at once, after a lost reply
it must look for the machine first. So only what proves that nothing was done counts as a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from market.errors import (
    CredentialsRefused,
    OrderRefused,
    ProviderFailed,
    ProviderRefused,
    ReplyLost,
    SlowDown,
)

if TYPE_CHECKING:
    from adapters.base import Adapter

NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.PoolTimeout,
)
"""Failures before the first byte of a request can have left: no connection, no place in the pool."""

MAX_REFUSAL_BYTES = 64 * 1024
"""A longer explanation of a refusal is not read."""

_NOTHING_DONE = "Nothing was ordered; try again later, or take another offer."
_LOOK_FIRST = "It may have been carried out: look for it at the provider before asking again."
_REFUSALS = frozenset({400, 402, 404, 405, 406, 409, 410, 411, 413, 414, 415, 422, 423, 424, 428, 431, 451})


def declined(adapter: type[Adapter], status: int, body: Any, facts: Mapping[str, object]) -> ProviderFailed:
    """What an answer that is no success means for the order; the provider's own words stay out of the message.

    `body` is the decoded answer or None. The adapter's `refusal` is asked first: only it knows how its provider says
    that it has none left.
    """
    known = adapter.refusal(status, body)
    if known is not None:
        known.details.update(facts)
        return known
    name = adapter.name
    if status == 429:
        return SlowDown(f"`{name}` asked us to slow down (status 429).", next_step=_NOTHING_DONE, details=facts)
    if status in (401, 403):
        names = ", ".join(f"`{each}`" for each in (*adapter.secrets, *adapter.booking_secrets))
        return CredentialsRefused(
            f"`{name}` did not accept our key for this (status {status}).",
            next_step=f"Check {names} in the environment and what the key may do." if names else _NOTHING_DONE,
            details=facts,
        )
    if status in _REFUSALS:
        return OrderRefused(
            f"`{name}` refused the order (status {status}).",
            next_step="Nothing was ordered; change what is asked for, or take another offer.",
            details=facts,
        )
    return lost(adapter, f"answered an order with status {status}", facts)


def lost(adapter: type[Adapter], what: str, facts: Mapping[str, object] | None = None) -> ReplyLost:
    """The order was sent, and whether it was carried out is unknown; `what` completes "`acme` ..."."""
    return ReplyLost(
        f"`{adapter.name}` {what}.", next_step=_LOOK_FIRST, details={"provider": adapter.name, **(facts or {})}
    )


def unreachable(adapter: type[Adapter]) -> ProviderRefused:
    """No connection could be made, so nothing was sent."""
    return ProviderRefused(
        f"`{adapter.name}` cannot be connected to.",
        next_step=_NOTHING_DONE,
        details={"provider": adapter.name, "reason": "unreachable"},
    )


def left_alone(adapter: type[Adapter], refusal: ProviderFailed) -> SlowDown:
    """The breaker holds calls back, so nothing was sent; it says for how long."""
    return SlowDown(refusal.message, next_step=_NOTHING_DONE, details={"provider": adapter.name, **refusal.details})
