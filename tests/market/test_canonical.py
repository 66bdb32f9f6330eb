"""One text for one value: the vectors of RFC 8785, and what must never have two texts."""

from __future__ import annotations

import hashlib
import json
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.canonical import canonical, digest

# RFC 8785, appendix B: the bits of a double and its text.
_RFC_NUMBERS = [
    (0x0000000000000000, "0"),
    (0x8000000000000000, "0"),
    (0x0000000000000001, "5e-324"),
    (0x8000000000000001, "-5e-324"),
    (0x7FEFFFFFFFFFFFFF, "1.7976931348623157e+308"),
    (0xFFEFFFFFFFFFFFFF, "-1.7976931348623157e+308"),
    (0x4340000000000000, "9007199254740992"),
    (0xC340000000000000, "-9007199254740992"),
    (0x4430000000000000, "295147905179352830000"),
    (0x44B52D02C7E14AF5, "9.999999999999997e+22"),
    (0x44B52D02C7E14AF6, "1e+23"),
    (0x44B52D02C7E14AF7, "1.0000000000000001e+23"),
    (0x444B1AE4D6E2EF4E, "999999999999999700000"),
    (0x444B1AE4D6E2EF4F, "999999999999999900000"),
    (0x444B1AE4D6E2EF50, "1e+21"),
    (0x3EB0C6F7A0B5ED8C, "9.999999999999997e-7"),
    (0x3EB0C6F7A0B5ED8D, "0.000001"),
    (0x41B3DE4355555553, "333333333.3333332"),
    (0x41B3DE4355555554, "333333333.33333325"),
    (0x41B3DE4355555555, "333333333.3333333"),
    (0x41B3DE4355555556, "333333333.3333334"),
    (0x41B3DE4355555557, "333333333.33333343"),
    (0xBECBF647612F3696, "-0.0000033333333333333333"),
    (0x43143FF3C1CB0959, "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), _RFC_NUMBERS)
def test_floats_are_written_as_the_standard_lists_them(bits: int, text: str) -> None:
    (value,) = struct.unpack(">d", bits.to_bytes(8, "big"))
    assert canonical(value) == text


def test_keys_strings_and_literals_are_written_as_the_standard_shows() -> None:
    # RFC 8785, sections 3.2.2 and 3.2.3.
    sample = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(sample) == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = list(json.loads(canonical(dict.fromkeys(keys, 0))))
    assert written == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


class _Colour(Enum):
    RED = "red"


def test_money_times_and_sets_have_one_text_however_they_were_made() -> None:
    berlin = timezone(timedelta(hours=2))
    assert canonical(Decimal("1.500")) == canonical(Decimal("1.5")) == '"1.5"'
    assert canonical(Decimal("1E+3")) == '"1000"'
    assert canonical(Decimal("-0.00")) == '"0"'
    assert canonical(Decimal("1E-6")) == '"0.000001"'
    assert canonical(datetime(2026, 1, 1, 2, tzinfo=berlin)) == '"2026-01-01T00:00:00Z"'
    assert canonical(datetime(2026, 1, 1, microsecond=7, tzinfo=UTC)) == '"2026-01-01T00:00:00.000007Z"'
    assert canonical(date(2026, 1, 1)) == '"2026-01-01"'
    assert canonical(frozenset({"b", "a"})) == canonical(["a", "b"]) == canonical(("a", "b"))
    assert canonical(_Colour.RED) == '"red"'
    assert canonical(2**80) == str(2**80)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("Infinity"), datetime(2026, 1, 1), "\ud800"]
)
def test_what_has_no_text_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"finite|zone|surrogates"):
        canonical({"value": value})


@pytest.mark.parametrize("value", [object(), b"bytes", {1: "one"}, timedelta(1)])
def test_a_kind_it_does_not_know_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical([value])


def test_text_is_digested_as_it_is_and_anything_else_as_its_text() -> None:
    assert digest("abc") == hashlib.sha256(b"abc").hexdigest()
    assert digest({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_FLOATS = st.floats(-(2.0**53), 2.0**53)  # beyond, a reader that takes whole numbers exactly sees other digits
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _FLOATS | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES)
def test_the_text_reads_back_as_the_value_and_reading_back_changes_no_text(value: object) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


@given(st.dictionaries(_TEXT, st.integers(), min_size=2, max_size=6), st.randoms())
def test_the_order_in_which_a_mapping_was_built_does_not_show(value: dict[str, int], chance: object) -> None:
    items = list(value.items())
    chance.shuffle(items)  # type: ignore[attr-defined]  # hypothesis types its random source as an object
    assert canonical(dict(items)) == canonical(value)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_never_written_with_an_exponent_and_keeps_its_value(value: Decimal) -> None:
    text = json.loads(canonical(value))
    assert "e" not in text.lower()
    assert Decimal(text) == value
