"""Cursors: bound to their query, good for an hour, never trusted."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.errors import CursorExpired
from tools.cursor import seal, unseal

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def _raw(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def test_a_cursor_comes_back_as_it_was_sealed() -> None:
    cursor = seal("key", [1_000_000, "aws:a:us"], 7, NOON)
    assert unseal(cursor, "key", NOON + timedelta(minutes=59)) == ([1_000_000, "aws:a:us"], 7)


@pytest.mark.parametrize("age", [timedelta(hours=1, seconds=1), timedelta(days=400), timedelta(minutes=-2)])
def test_a_cursor_is_good_for_an_hour(age: timedelta) -> None:
    with pytest.raises(CursorExpired, match="older than an hour"):
        unseal(seal("key", [1, "a"], 7, NOON), "key", NOON + age)


def test_a_cursor_serves_its_own_query_alone() -> None:
    with pytest.raises(CursorExpired, match="another query"):
        unseal(seal("key", [1, "a"], 7, NOON), "other", NOON)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "é",
        "%%%",
        "AAAA",
        _raw([]),
        _raw({"key": 1}),
        _raw(["key", "place", 1, 1]),
        _raw(["key", [1, "a"], "one", 1]),
        _raw(["key", [1, "a"], 1, "now"]),
        _raw(["key", [1, "a"], 1, 10**400]),
        _raw(["key", [10**400, "a"], 1, int(NOON.timestamp())]),
        "W" * 2_000,
    ],
)
def test_a_damaged_cursor_says_so(cursor: str) -> None:
    with pytest.raises(CursorExpired, match="damaged") as caught:
        unseal(cursor, "key", NOON)
    assert "cursor" in caught.value.next_step


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_no_text_opens_as_a_cursor_by_chance(cursor: str) -> None:
    with pytest.raises(CursorExpired):
        unseal(cursor, "key", NOON)
