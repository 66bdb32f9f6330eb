"""Amounts of money: exact inside, integer millionths in the database, plain numbers on the wire."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema

MILLIONTH = Decimal("0.000001")
_MILLION = Decimal(1_000_000)

Money = Annotated[
    Decimal,
    PlainSerializer(float, return_type=float, when_used="json"),
    WithJsonSchema({"type": "number"}),
]
"""A Decimal that goes out as a JSON number; exact for six decimals below a thousand million."""


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """What one unit of `currency` was worth in US dollars on `as_of`, and who said so."""

    currency: str
    usd_per_unit: Decimal
    as_of: date
    source: str


def amount(value: object) -> Decimal:
    """Read a price as a provider writes it (number, string, noise in the float) to six decimals.

    Raises ValueError for anything that is not a finite number.
    """
    text = str(value).strip()
    if "_" in text:  # Python's own digit grouping, which no price list means
        raise ValueError(f"not an amount: {value!r}")
    try:
        parsed = Decimal(text)
        if not parsed.is_finite():
            raise ValueError(f"not a finite amount: {value!r}")
        return parsed.quantize(MILLIONTH, rounding=ROUND_HALF_EVEN)
    except InvalidOperation:
        raise ValueError(f"not an amount: {value!r}") from None


def to_millionths(value: Decimal) -> int:
    """Decimal to the integer kept in the database."""
    return int((value * _MILLION).to_integral_value(rounding=ROUND_HALF_EVEN))


def from_millionths(value: int) -> Decimal:
    """The database's integer back to a Decimal with six decimals."""
    return Decimal(value).scaleb(-6)


@cache
def exchange_rates() -> dict[str, ExchangeRate]:
    """The published rates shipped with the product, by currency; each dated and sourced."""
    text = files("market").joinpath("exchange_rates.csv").read_text(encoding="utf-8")
    return {
        row["currency"]: ExchangeRate(
            row["currency"], Decimal(row["usd_per_unit"]), date.fromisoformat(row["as_of"]), row["source"]
        )
        for row in csv.DictReader(text.splitlines())
    }


def in_usd(value: Decimal, currency: str) -> tuple[Decimal, ExchangeRate | None] | None:
    """Convert to US dollars: (amount, rate used or None for USD itself); None when no rate is known."""
    if currency == "USD":
        return value, None
    rate = exchange_rates().get(currency)
    if rate is None:
        return None
    return (value * rate.usd_per_unit).quantize(MILLIONTH, rounding=ROUND_HALF_EVEN), rate
