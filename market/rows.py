"""Offers as database rows and back: plain tuples of integers, floats and text, the same on both databases.

Money is integer millionths, times are integer microseconds since 1970 UTC, dates and exact rates are text, tags a JSON
list. Ingest and the snapshot work on these tuples directly: a typed column costs a Python call per value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from operator import attrgetter
from typing import Any

from market.money import from_millionths, to_millionths
from market.offers import Offer

Row = Sequence[Any]
"""A row of the offers table: the values of `OFFER_FIELDS`, then those of `KEEPING_FIELDS`."""

OFFER_FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Offer))
KEEPING_FIELDS = ("content_hash", "first_seen_at", "last_seen_at", "gone_at")
ROW_FIELDS: tuple[str, ...] = OFFER_FIELDS + KEEPING_FIELDS
AT: dict[str, int] = {name: position for position, name in enumerate(ROW_FIELDS)}
"""Where each column sits in a row: `row[AT["gpu"]]`."""

MONEY_FIELDS = (
    "price_per_hour",
    "price_per_hour_usd",
    "spot_price",
    "price_per_million_input_tokens",
    "price_per_million_output_tokens",
    "storage_price_per_gb_month",
    "egress_price_per_gb",
)
TIME_FIELDS = ("availability_as_of", "price_as_of", "last_updated")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BIGGEST = 2**63 - 1


class Unstorable(ValueError):
    """An offer no database row can hold; the message is the reason counted in the ingest report."""


def to_micros(moment: datetime) -> int:
    """An aware time as microseconds since 1970 UTC; a naive one is a ValueError, because it could mean anything."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be stored")
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(value: int) -> datetime:
    """Microseconds since 1970 UTC as an aware time."""
    return _EPOCH + timedelta(microseconds=value)


def _tags(tags: tuple[str, ...]) -> str:
    return json.dumps(tags, ensure_ascii=False, separators=(",", ":")) if tags else "[]"


def _from_tags(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text != "[]" else ()


def _converters(
    money: Callable[[Any], Any],
    time: Callable[[Any], Any],
    others: dict[str, Callable[[Any], Any]],
) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    named = dict.fromkeys(MONEY_FIELDS, money) | dict.fromkeys(TIME_FIELDS, time) | others
    return tuple((AT[name], convert) for name, convert in named.items())


_ENCODERS = _converters(
    to_millionths, to_micros, {"exchange_rate": str, "exchange_rate_as_of": date.isoformat, "tags": _tags}
)
_DECODERS = _converters(
    from_millionths,
    from_micros,
    {"exchange_rate": Decimal, "exchange_rate_as_of": date.fromisoformat, "tags": _from_tags, "bookable": bool},
)
_values_of = attrgetter(*OFFER_FIELDS)
_LAST_UPDATED = AT["last_updated"]
_FRESHNESS = (AT["price_as_of"], AT["availability_as_of"])
_PRICES = (AT["price_per_hour"], AT["price_per_million_input_tokens"], AT["price_per_million_output_tokens"])


@dataclass(slots=True)
class Encoded:
    """An offer ready to be written: the values of `OFFER_FIELDS` and the hash that tells whether it changed."""

    values: list[Any]
    content_hash: int


def encode(offer: Offer) -> Encoded:
    """The row of an offer. Raises Unstorable for one without a positive price, a zone in its times, or in range."""
    values: list[Any] = list(_values_of(offer))
    try:
        for position, convert in _ENCODERS:
            if values[position] is not None:
                values[position] = convert(values[position])
    except (ValueError, ArithmeticError) as problem:
        raise Unstorable(f"unstorable value ({type(problem).__name__})") from None
    _check_prices(values)
    text = repr(_lasting(values))
    if "\\x00" in text or "\\ud" in text:
        values = [_storable_text(value) if isinstance(value, str) else value for value in values]
        text = repr(_lasting(values))
    if any(type(value) is int and not -_BIGGEST <= value <= _BIGGEST for value in values):
        raise Unstorable("number out of range")
    if "nan" in text and any(value != value for value in values):  # noqa: PLR0124 - only a NaN differs from itself
        raise Unstorable("not a number")
    digest = blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return Encoded(values, int.from_bytes(digest, "big", signed=True))


def _check_prices(values: list[Any]) -> None:
    per_hour, tokens_in, tokens_out = (values[position] for position in _PRICES)
    if per_hour is not None and per_hour <= 0:
        raise Unstorable("price is not positive")
    if per_hour is None and max(tokens_in or 0, tokens_out or 0) <= 0:
        raise Unstorable("no price")
    if min(tokens_in or 0, tokens_out or 0) < 0:
        raise Unstorable("price is not positive")


def _lasting(values: list[Any]) -> list[Any]:
    """The values that make an offer a different offer: without the times that only say when it was read."""
    lasting = values.copy()
    read_at = lasting[_LAST_UPDATED]
    lasting[_LAST_UPDATED] = None
    for position in _FRESHNESS:
        if lasting[position] == read_at:
            lasting[position] = None
    return lasting


def _storable_text(text: str) -> str:
    """Text both databases take: PostgreSQL refuses NUL, both refuse half a surrogate pair."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def to_offer(row: Sequence[Any]) -> Offer:
    """The offer of a row of the offers table (or of its first columns)."""
    values = list(row[: len(OFFER_FIELDS)])
    for position, convert in _DECODERS:
        if values[position] is not None:
            values[position] = convert(values[position])
    return Offer(**dict(zip(OFFER_FIELDS, values, strict=True)))
