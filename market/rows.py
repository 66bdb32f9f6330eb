"""Offers as database rows and back: plain tuples of integers, floats and text, the same on both databases.

Money is integer millionths, times are integer microseconds since 1970 UTC, dates and exact rates are text, tags a JSON
list. Ingest and the snapshot work on these tuples directly: a typed column costs a Python call per value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

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

_COUNTS = ("gpu_count", "node_count", "min_rental_minutes", "max_rental_minutes")
_MEASURED = (
    "gpu_fraction",
    "memory_gb",
    "cpu_cores",
    "ram_gb",
    "storage_gb",
    "network_gbps",
    "reliability",
    "sla_uptime",
    "tokens_per_second",
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BIGGEST = 2**63 - 1


class Unstorable(ValueError):
    """An offer no database row can hold; the message is the reason counted in the ingest report."""


@lru_cache(maxsize=4_096)
def to_micros(moment: datetime) -> int:
    """An aware time as microseconds since 1970 UTC; a naive one is a ValueError, because it could mean anything."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be stored")
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(value: int) -> datetime:
    """Microseconds since 1970 UTC as an aware time."""
    return _EPOCH + timedelta(microseconds=value)


@lru_cache(maxsize=4_096)
def _tags(tags: tuple[str, ...]) -> str:
    return json.dumps(tags, ensure_ascii=False, separators=(",", ":")) if tags else "[]"


def _from_tags(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text != "[]" else ()


def _whole(value: int) -> int:
    if not -_BIGGEST <= value <= _BIGGEST:
        raise OverflowError("wider than a BIGINT")
    return value


def _millionths(value: Decimal) -> int:
    return _whole(to_millionths(value))


def _finite(value: float) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError("not a finite number")
    return number


def _converters(
    money: Callable[[Any], Any],
    time: Callable[[Any], Any],
    others: dict[str, Callable[[Any], Any]],
) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    named = dict.fromkeys(MONEY_FIELDS, money) | dict.fromkeys(TIME_FIELDS, time) | others
    return tuple((AT[name], convert) for name, convert in named.items())


_SPECIAL: dict[str, Callable[[Any], Any]] = {
    "exchange_rate": str,
    "exchange_rate_as_of": date.isoformat,
    "tags": _tags,
    "bookable": bool,
}
_ENCODERS = _converters(
    _millionths, to_micros, _SPECIAL | dict.fromkeys(_COUNTS, _whole) | dict.fromkeys(_MEASURED, _finite)
)
_DECODERS = _converters(
    from_millionths,
    from_micros,
    {"exchange_rate": Decimal, "exchange_rate_as_of": date.fromisoformat, "tags": _from_tags, "bookable": bool},
)
_values_of = attrgetter(*OFFER_FIELDS)
_converted = {position for position, _ in _ENCODERS}
_texts_of = itemgetter(*(n for n in range(len(OFFER_FIELDS)) if n not in _converted), AT["tags"])
_LAST_UPDATED = AT["last_updated"]
_FRESHNESS = (AT["price_as_of"], AT["availability_as_of"])
_PRICES = (AT["price_per_hour"], AT["price_per_million_input_tokens"], AT["price_per_million_output_tokens"])


class Encoded(NamedTuple):
    """An offer ready to be written: the values of `OFFER_FIELDS`, and the hash that tells whether it has changed."""

    values: tuple[Any, ...]
    content_hash: int


def encode(offer: Offer) -> Encoded:
    """The row of an offer, without the columns the catalogue keeps about it.

    Raises Unstorable for one without a positive price, with a time without a zone, or a value no column can hold.
    """
    values: list[Any] = list(_values_of(offer))
    try:
        for position, convert in _ENCODERS:
            if values[position] is not None:
                values[position] = convert(values[position])
        text = "".join(filter(None, _texts_of(values)))
    except (ValueError, TypeError, ArithmeticError) as problem:
        raise Unstorable(f"unstorable value ({type(problem).__name__})") from None
    _check_prices(values)
    if "\x00" in text or not _is_unicode(text):
        values = [_storable_text(value) if isinstance(value, str) else value for value in values]
    return Encoded(tuple(values), _content_hash(values))


def _is_unicode(text: str) -> bool:
    """Whether there is no half of a surrogate pair in it, as JSON may bring one."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _storable_text(text: str) -> str:
    """Text both databases take: PostgreSQL refuses NUL, both refuse half a surrogate pair."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _check_prices(values: list[Any]) -> None:
    per_hour, tokens_in, tokens_out = (values[position] for position in _PRICES)
    if per_hour is not None and per_hour <= 0:
        raise Unstorable("price is not positive")
    if per_hour is None and (tokens_in or 0) <= 0 and (tokens_out or 0) <= 0:
        raise Unstorable("no price")
    if (tokens_in or 0) < 0 or (tokens_out or 0) < 0:
        raise Unstorable("price is not positive")


def _content_hash(values: list[Any]) -> int:
    """A hash over what makes an offer what it is: without the times that only say when it was read."""
    lasting = values.copy()
    read_at = lasting[_LAST_UPDATED]
    lasting[_LAST_UPDATED] = None
    for position in _FRESHNESS:
        if lasting[position] == read_at:
            lasting[position] = None
    return int.from_bytes(blake2b(repr(lasting).encode(), digest_size=8).digest(), "big", signed=True)


def to_offer(row: Sequence[Any]) -> Offer:
    """The offer of a row of the offers table (or of its first columns)."""
    values = list(row[: len(OFFER_FIELDS)])
    for position, convert in _DECODERS:
        if values[position] is not None:
            values[position] = convert(values[position])
    return Offer(**dict(zip(OFFER_FIELDS, values, strict=True)))
