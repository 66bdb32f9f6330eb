"""One text for one value: canonical JSON and its SHA-256, for seals, signatures and the audit chain.

RFC 8785 (JSON Canonicalization Scheme) for what JSON knows: keys sorted by their UTF-16 code units, no spaces, strings
escaped only where they must be, floats as ECMAScript prints them. Beyond it: whole numbers of any size in full, a
Decimal as a string without exponent or trailing zeros (a JSON number would be read back as a binary float), an aware
time as a string in UTC ending in `Z`, a set as a sorted list.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum

_PLAIN_FROM, _PLAIN_BELOW = Decimal("1e-6"), Decimal("1e21")


def canonical(value: object) -> str:
    """The one text of a value. Raises TypeError for a kind it does not know, ValueError for what has no such text.

    No text have: NaN, infinity, a time without a zone, text that is no Unicode, two keys of one name.
    """
    match value:
        case Enum():
            return canonical(value.value)
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return _text(value)
        case int():
            return str(int(value))
        case float():
            return _number(value)
        case Decimal():
            return _text(_plain(value))
        case datetime():
            return _text(_moment(value))
        case date():
            return _text(value.isoformat())
        case Mapping():
            return _object(value)
        case AbstractSet():
            return f"[{','.join(sorted(canonical(item) for item in value))}]"
        case list() | tuple():
            return f"[{','.join(canonical(item) for item in value)}]"
    raise TypeError(f"a {type(value).__name__} has no canonical text")


def digest(value: object) -> str:
    """SHA-256 over the canonical text, 64 hexadecimal digits; text is taken as it is."""
    text = value if isinstance(value, str) else canonical(value)
    return hashlib.sha256(text.encode()).hexdigest()


def _text(value: str) -> str:
    value.encode()  # UnicodeEncodeError, a ValueError, for half a surrogate pair
    return json.dumps(value, ensure_ascii=False)


def _object(value: Mapping[object, object]) -> str:
    return f"{{{','.join(f'{_text(name)}:{canonical(item)}' for name, item in _sorted(value.items()))}}}"


def _sorted(items: Iterable[tuple[object, object]]) -> list[tuple[str, object]]:
    named: list[tuple[str, object]] = []
    for name, item in items:
        if not isinstance(name, str):
            raise TypeError(f"a {type(name).__name__} cannot be a key")
        named.append((str(name.value) if isinstance(name, Enum) else name, item))
    named.sort(key=lambda pair: pair[0].encode("utf-16-be", "surrogatepass"))
    return named


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a time needs a zone")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _plain(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError("a number must be finite")
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def _number(value: float) -> str:
    """As ECMAScript prints it: the shortest digits that read back, an exponent only when very small or large."""
    if not math.isfinite(value):
        raise ValueError("a number must be finite")
    exact = Decimal(repr(value))
    if not exact:
        return "0"
    if _PLAIN_FROM <= abs(exact) < _PLAIN_BELOW:
        return _plain(exact)
    sign, digits, _ = exact.normalize().as_tuple()
    exponent = exact.adjusted()
    figures = "".join(map(str, digits))
    fraction = f".{figures[1:]}" if len(figures) > 1 else ""
    return f"{'-' if sign else ''}{figures[0]}{fraction}e{'+' if exponent > 0 else '-'}{abs(exponent)}"
