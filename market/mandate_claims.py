"""A mandate as the claims that are signed, and back: exactly these claims, in exactly one spelling.

Registered JWT names where there is one (`jti` the id, `iss` the principal, `sub` the agent, `cnf` the key it is bound
to); constraints as AP2 names them; money as text, times in whole seconds. What is free is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from market.canonical import canonical
from market.errors import MandateRefused
from market.mandates import PERIODS, AmountRange, Mandate, Recurrence

FORMAT = "gpubroker.mandate.1"
_ENVELOPE = frozenset({"vct", "jti", "iss", "sub", "cnf", "iat", "nbf", "exp", "version", "constraints"})
_SETS = ("providers", "regions", "gpus", "tags", "pricing", "currencies")
_MONEY = ("budget", "hourly_budget", "approval_above")
_CONSTRAINTS = frozenset(
    {
        *_SETS,
        *_MONEY,
        "amount_range",
        "max_hours",
        "max_concurrent",
        "recurrence",
        "on_revocation",
        "failover",
        "allow_unverified",
    }
)


def payload(mandate: Mandate) -> str:
    """The canonical JSON text that is signed."""
    return canonical(_claims(mandate))


def mandate_in(text: str) -> Mandate:
    """The mandate of a signed text. Raises MandateRefused for an unknown claim or format, or any other spelling."""
    try:
        claims = json.loads(text)
        unknown = sorted(({*claims} - _ENVELOPE) | ({*claims["constraints"]} - _CONSTRAINTS))
        if claims["vct"] != FORMAT:
            raise _refused("format", f"The mandate is of a format other than `{FORMAT}`.")
        if unknown:
            raise _refused("claims", f"The mandate holds a claim we do not know: `{unknown[0][:60]}`.")
        mandate = _read(claims, claims["constraints"])
        if payload(mandate) == text:
            return mandate
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation, OverflowError):
        pass  # told below, like any other spelling than ours
    raise _refused("claims", "The mandate's claims are incomplete or not as we write them.")


def _claims(mandate: Mandate) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "vct": FORMAT,
        "jti": mandate.id,
        "iss": mandate.principal,
        "sub": mandate.agent,
        "cnf": {"jkt": mandate.thumbprint},
        "iat": _seconds(mandate.issued_at),
        "exp": _seconds(mandate.expires_at),
        "version": mandate.version,
        "constraints": _constraints(mandate),
    }
    if mandate.not_before is not None:
        claims["nbf"] = _seconds(mandate.not_before)
    return claims


def _constraints(mandate: Mandate) -> dict[str, Any]:
    within, recurrence = mandate.amount_range, mandate.recurrence
    given: dict[str, Any] = {
        **{name: getattr(mandate, name) for name in _MONEY},
        "amount_range": within and _present({"min": within.min, "max": within.max}),
        "max_hours": mandate.max_hours,
        "max_concurrent": mandate.max_concurrent,
        "recurrence": recurrence and {"every": recurrence.every, "max_bookings": recurrence.max_bookings},
        **{name: sorted(getattr(mandate, name)) or None for name in _SETS},
    }
    return {
        **_present(given),
        "on_revocation": mandate.on_revocation,
        "failover": mandate.failover,
        "allow_unverified": mandate.allow_unverified,
    }


def _present(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _read(claims: Mapping[str, Any], constraints: Mapping[str, Any]) -> Mandate:
    within, recurrence = constraints.get("amount_range"), constraints.get("recurrence")
    if recurrence is not None and recurrence["every"] not in PERIODS:
        raise ValueError("unknown period")
    if constraints["on_revocation"] not in ("keep", "terminate"):
        raise ValueError("unknown policy")
    for name in ("failover", "allow_unverified"):
        if not isinstance(constraints[name], bool):
            raise TypeError(name)
    return Mandate(
        id=_text(claims["jti"]),
        principal=_text(claims["iss"]),
        agent=_text(claims["sub"]),
        thumbprint=_text(claims["cnf"]["jkt"]),
        version=_whole(claims["version"]),
        issued_at=_moment(claims["iat"]),
        expires_at=_moment(claims["exp"]),
        not_before=_moment(claims["nbf"]) if "nbf" in claims else None,
        budget=_money(constraints["budget"]),
        hourly_budget=_money(constraints["hourly_budget"]) if "hourly_budget" in constraints else None,
        approval_above=_money(constraints["approval_above"]) if "approval_above" in constraints else None,
        amount_range=None if within is None else AmountRange(**{name: _money(within[name]) for name in within}),
        max_hours=_hours(constraints["max_hours"]) if "max_hours" in constraints else None,
        max_concurrent=_whole(constraints["max_concurrent"]) if "max_concurrent" in constraints else None,
        recurrence=None
        if recurrence is None
        else Recurrence(every=recurrence["every"], max_bookings=_whole(recurrence["max_bookings"])),
        on_revocation=constraints["on_revocation"],
        failover=constraints["failover"],
        allow_unverified=constraints["allow_unverified"],
        **{name: frozenset(map(_text, constraints.get(name, ()))) for name in _SETS},
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("text")
    return value


def _money(value: object) -> Decimal:
    amount = Decimal(_text(value))
    if not amount.is_finite() or amount < 0:
        raise ValueError("no amount")
    return amount


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("whole number")
    return value


def _hours(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise TypeError("hours")
    return float(value)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: object) -> datetime:
    return datetime.fromtimestamp(_whole(seconds), UTC)


def _refused(reason: str, message: str) -> MandateRefused:
    return MandateRefused(message, next_step="Have the owner sign a new one.", details={"reason": reason})
