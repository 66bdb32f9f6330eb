"""Amounts are read exactly, kept as integers, and converted at a rate that says its date."""

from __future__ import annotations

import contextlib
import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from market.money import MILLIONTH, Money, amount, exchange_rates, from_millionths, in_usd, to_millionths

AMOUNTS = st.decimals(min_value=0, max_value=999_999_999, places=6, allow_nan=False, allow_infinity=False)


class Priced(BaseModel):
    """A model with an amount in it, as the doors have them."""

    price: Money


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (0.1 + 0.2, "0.300000"),
        (2.4900000000000002, "2.490000"),
        ("1.19e0", "1.190000"),
        (" 3.20 ", "3.200000"),
        (3.2000000000999997, "3.200000"),
        (7, "7.000000"),
        (Decimal("0.0000005"), "0.000000"),
        (Decimal("0.0000015"), "0.000002"),
    ],
)
def test_noise_of_floats_is_rounded_away(written: object, read: str) -> None:
    assert amount(written) == Decimal(read)
    assert amount(written).as_tuple().exponent == -6


@pytest.mark.parametrize(
    "written",
    ["NaN", "sNaN", "inf", float("nan"), float("-inf"), "", "free", None, True, "1,5", "1_000", "1e40", [], {}],
)
def test_what_is_no_finite_number_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="amount"):
        amount(written)


@given(AMOUNTS)
def test_the_database_integer_gives_the_amount_back(value: Decimal) -> None:
    assert from_millionths(to_millionths(value)) == value


@given(st.text(max_size=30))
def test_reading_any_text_gives_a_finite_amount_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert amount(text).is_finite()


@given(AMOUNTS)
def test_json_carries_the_exact_number(value: Decimal) -> None:
    wire = Priced(price=value).model_dump_json()
    assert isinstance(json.loads(wire)["price"], float)
    assert json.loads(wire, parse_float=Decimal)["price"] == value


def test_the_schema_of_money_is_a_number() -> None:
    assert Priced.model_json_schema(mode="serialization")["properties"]["price"]["type"] == "number"


def test_dollars_need_no_rate() -> None:
    assert in_usd(Decimal("1.50"), "USD") == (Decimal("1.50"), None)


def test_a_conversion_states_its_rate_date_and_source() -> None:
    converted = in_usd(Decimal("10"), "EUR")
    assert converted is not None
    usd, rate = converted
    assert rate is not None
    assert usd == (10 * rate.usd_per_unit).quantize(MILLIONTH)
    assert rate.as_of.year >= 2026
    assert "ECB" in rate.source


def test_a_currency_nobody_quotes_is_not_converted() -> None:
    assert in_usd(Decimal("10"), "AKT") is None


def test_every_shipped_rate_is_dated_sourced_and_plausible() -> None:
    rates = exchange_rates()
    assert {"EUR", "GBP", "CNY", "JPY", "INR", "CAD", "CHF", "AUD", "SEK", "NOK", "PLN", "SGD", "KRW", "BRL"} <= set(
        rates
    )
    assert "USD" not in rates
    for code, rate in rates.items():
        assert code == rate.currency
        assert len(code) == 3
        assert rate.source
        assert date(2026, 1, 1) <= rate.as_of <= date(2026, 12, 31)
        assert 0 < rate.usd_per_unit < 10
    # Orders of magnitude, so that a rate written upside down is found.
    assert rates["JPY"].usd_per_unit < Decimal("0.02")
    assert rates["KRW"].usd_per_unit < Decimal("0.002")
    assert rates["GBP"].usd_per_unit > rates["EUR"].usd_per_unit > 1
