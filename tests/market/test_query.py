"""A query means the same however it was spelled, and a cursor is bound to what it means."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given

from market.errors import ValidationFailed
from market.query import MAX_WORD, Query, words
from tests.market.offer_samples import queries


def test_spelling_order_and_type_of_numbers_do_not_change_the_key() -> None:
    one = Query(
        gpu=("H100 ", "a100"), tags=("GDPR", "gdpr"), price_max=Decimal("2.50"), memory_gb_min=80, text="Big  box"
    )
    same = Query(gpu=("A100", "h100"), tags=("gdpr",), price_max=Decimal("2.5"), memory_gb_min=80.0, text="box big!")
    assert one == same
    assert one.key() == same.key()


@given(queries())
def test_a_page_keeps_the_key_of_its_query_but_not_of_its_answer(query: Query) -> None:
    further = replace(query, limit=query.limit + 1, offset=10)
    assert further.key() == query.after([1, "aws:a:x"]).key() == query.key()
    assert len({query.page_key(), further.page_key(), query.after([1, "aws:a:x"]).page_key()}) == 3


def test_every_filter_and_the_order_change_the_key() -> None:
    asked = [
        Query(),
        Query(gpu=("h100",)),
        Query(provider=("h100",)),
        Query(price_max=Decimal(1)),
        Query(price_min=Decimal(1)),
        Query(bookable=False),
        Query(fresh_only=True),
        Query(include_fractions=False),
        Query(sort="-price"),
        Query(region=("EU",)),
    ]
    assert len({query.key() for query in asked}) == len(asked)


def test_the_key_is_the_same_in_every_process() -> None:
    ask = "from market.query import Query; print(Query(gpu=('h100',), price_max=2).key())"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == Query(gpu=("H100",), price_max=Decimal(2)).key()


def test_asking_does_not_load_numpy() -> None:
    ask = "import sys, market.query; print('numpy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize(
    "wrong",
    [
        {"price_max": "cheap"},
        {"price_min": float("nan")},
        {"memory_gb_min": "much"},
        {"ram_gb_min": float("inf")},
        {"sort": "random"},
        {"limit": -1},
        {"offset": -1},
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationFailed, match=f"`{next(iter(wrong))}`"):
        Query(**wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_words_are_letters_and_digits_folded_and_bounded() -> None:
    assert words("H100-SXM_80GB, Große Höhle!") == ["h100", "sxm", "80gb", "grosse", "höhle"]
    assert words("x" * 100) == ["x" * MAX_WORD]
