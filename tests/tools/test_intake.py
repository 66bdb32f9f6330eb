"""Plain words: a table of phrases and how each is to be read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.workload import Kind
from tests.tools.phrases import PHRASES
from tools.intake import MAX_HOURS, MAX_PRICE, Workload, read
from tools.search import SearchOffers


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(("text", "expected"), PHRASES, ids=[text[:50] or "nothing" for text, _ in PHRASES])
def test_a_phrase_is_read_as_a_person_means_it(text: str, expected: dict[str, Any]) -> None:
    heard = {name: value for name, value in asdict(read(text)).items() if value not in (None, [])}
    assert heard == expected


def test_the_kinds_of_work_are_those_that_can_be_sized() -> None:
    assert set(get_args(Workload)) == set(get_args(Kind))
    assert {expected.get("workload") for _, expected in PHRASES} >= set(get_args(Kind))


def test_the_table_is_wide() -> None:
    assert len(PHRASES) >= 60
    heard = {name for _, expected in PHRASES for name in expected}
    assert heard == set(asdict(read("")))


@pytest.mark.parametrize(
    "text", ["for us", "tell us about h100", "h100 at US$3 per hour", "3 us dollars an hour", "let us train"]
)
def test_us_the_pronoun_is_no_country(text: str) -> None:
    assert read(text).region is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("9999999 hours of h100", "duration_hours"),
        ("$99999999999 an hour", "max_price_per_hour"),
        ("9" * 300 + " concurrent", "concurrency"),
        ("99999m context", "context_tokens"),
        ("0 rows", "quantity"),
        ("scene of 0 gb", "scene_gb"),
    ],
)
def test_a_figure_beyond_belief_is_not_read(text: str, name: str) -> None:
    assert getattr(read(text), name) is None


_VOCABULARY = (
    "serve train fine-tune llama 3.1 8b 70b $ 3 /h per gpu hour 2x h100 a100 80gb eu us in 50k 1.5M examples tokens "
    "4-bit qlora spot 24 hours a week 32k context 20 users budget of not € cents 0 999999999999 , . - to and"
)
_words = st.sampled_from(_VOCABULARY.split())


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=200) | st.lists(_words, max_size=25).map(" ".join))
def test_any_text_is_read_the_same_twice_and_within_bounds(text: str) -> None:
    heard = read(text)
    assert heard == read(text)
    assert heard.duration_hours is None or 0 < heard.duration_hours <= MAX_HOURS
    assert heard.quantity is None or 0 < heard.quantity <= 1e16
    assert heard.concurrency is None or 1 <= heard.concurrency <= 100_000
    assert heard.context_tokens is None or 1 <= heard.context_tokens <= 10_000_000
    assert heard.parameters_b is None or heard.parameters_b > 0
    assert heard.scene_gb is None or 0 < heard.scene_gb <= 10_000
    for price in (heard.max_price_per_hour, heard.budget):
        assert price is None or price > 0
    assert heard.budget is None or heard.budget <= MAX_PRICE
    # what is heard can be asked for
    SearchOffers(
        gpu=[heard.gpu] if heard.gpu else [],
        region=[heard.region] if heard.region else [],
        gpu_count=heard.gpu_count,
        max_price=heard.max_price_per_hour,
    )


def test_a_very_long_text_is_read_by_its_beginning() -> None:
    assert read("serve llama 3.1 8b " + "x" * 100_000).model == "Llama 3.1 8B"
    assert read("1" * 100_000).quantity is None
