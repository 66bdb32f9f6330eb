"""A webhook's signature: what its receiver accepts, and what it does not."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.webhook_signature import PREFIX, new_secret, signature, verify_signature

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE = "whsec_one"
BODY = b'{"id":1}'


def test_the_signature_is_an_hmac_that_anybody_can_compute() -> None:
    expected = hmac.new(ONE.encode(), b"1772366400." + BODY, hashlib.sha256).hexdigest()
    assert signature([ONE], BODY, NOON) == f"t=1772366400,v1={expected}"


@pytest.mark.parametrize(("seconds", "holds"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_a_recorded_call_is_refused_after_300_seconds(seconds: int, holds: bool) -> None:
    header = signature([ONE], BODY, NOON)
    assert verify_signature(ONE, header, BODY, NOON + timedelta(seconds=seconds)) is holds


def test_while_secrets_change_either_one_is_enough() -> None:
    header = signature(["whsec_new", "whsec_old"], BODY, NOON)
    assert verify_signature("whsec_new", header, BODY, NOON)
    assert verify_signature("whsec_old", header, BODY, NOON)
    assert not verify_signature("whsec_other", header, BODY, NOON)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_one_changed_bit_is_refused(body: bytes, data: st.DataObject) -> None:
    header = signature([ONE], body, NOON)
    place, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7))
    changed = body[:place] + bytes([body[place] ^ (1 << bit)]) + body[place + 1 :]
    assert verify_signature(ONE, header, body, NOON)
    assert not verify_signature(ONE, header, changed, NOON)


def test_another_time_under_the_same_signature_is_refused() -> None:
    mac = signature([ONE], BODY, NOON).partition("v1=")[2]
    later = NOON + timedelta(hours=1)
    assert not verify_signature(ONE, f"t={int(later.timestamp())},v1={mac}", BODY, later)


@given(st.text(max_size=60) | st.sampled_from(["", "t=,v1=", "t=1,t=2,v1=x", "v1=x", "t=1772366400", "t=٣,v1=é"]))
def test_a_header_that_is_no_signature_is_refused_without_a_fault(header: str) -> None:
    assert verify_signature(ONE, header, BODY, NOON) is False


def test_secrets_are_long_and_never_the_same() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(one.startswith(PREFIX) and len(one) >= 48 for one in made)
