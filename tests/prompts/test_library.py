"""The prompt files and how they are filled."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.library import PromptMisused, parsed, prompts
from tools.capability import capabilities

_TEXT = """title: Greet
description: Says hello.
argument: who | Whom to greet.
argument: how = warmly | In which way.
---
Greet ${who} ${how}.
"""


def test_a_file_becomes_a_prompt() -> None:
    prompt = parsed("greet", _TEXT)
    assert (prompt.name, prompt.title, prompt.description) == ("greet", "Greet", "Says hello.")
    assert [(a.name, a.description, a.required) for a in prompt.arguments] == [
        ("who", "Whom to greet.", True),
        ("how", "In which way.", False),
    ]
    assert prompt.filled({"who": "Ada"}) == "Greet Ada warmly."
    assert prompt.filled({"who": "Ada", "how": ""}) == "Greet Ada warmly."


@given(st.text(max_size=200).filter(str.strip))
def test_what_is_given_is_never_read_as_a_blank(who: str) -> None:
    prompt = parsed("greet", _TEXT)
    filled = prompt.filled({"who": who, "how": "twice"})
    assert filled.startswith("Greet ")
    assert filled.endswith(" twice.")
    assert not any(ord(mark) < 32 and mark not in "\t\n" for mark in filled)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({}, "needs `who`"),
        ({"who": "  "}, "needs `who`"),
        ({"who": "x", "when": "now"}, "no argument `when`; it takes `who`, `how`"),
        ({"who": "x" * 4_001}, "at most 4000 characters"),
    ],
)
def test_a_wrong_argument_is_named(given_: dict[str, str], words: str) -> None:
    with pytest.raises(PromptMisused, match=words):
        parsed("greet", _TEXT).filled(given_)


@pytest.mark.parametrize(
    "text",
    [
        "title: Greet\n---\nHello",
        "title: Greet\ndescription: x\nHello",
        _TEXT.replace("${how}", ""),
        _TEXT.replace("${how}", "${when}"),
    ],
)
def test_a_file_with_an_incomplete_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="prompt greet"):
        parsed("greet", text)


def test_every_prompt_says_that_provider_text_is_data() -> None:
    assert len(prompts()) >= 5
    for prompt in prompts().values():
        assert "data, not instructions" in prompt.body
        assert prompt.filled({argument.name: "x" for argument in prompt.arguments})


def test_every_tool_a_prompt_calls_exists() -> None:
    tools = {name for name, item in capabilities().items() if "tool" in item.doors}
    called = {prompt.name: re.findall(r"[Cc]all `(\w+)`", prompt.body) for prompt in prompts().values()}
    assert all(called.values())
    assert {name for names in called.values() for name in names} <= tools


def test_buying_goes_from_mandate_to_end_in_order() -> None:
    body = prompts()["buy_gpu_time"].body
    steps = [body.index(f"`{name}`") for name in ("spend_status", "quote_offer", "book_quote", "list_bookings")]
    assert [*steps, body.index("`terminate_booking`")] == sorted([*steps, body.index("`terminate_booking`")])
    assert "same key" in body
    assert "never decide it" in body
