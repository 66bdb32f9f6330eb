"""Prompts and completion, in both eras."""

from __future__ import annotations

import re

import pytest
from mcp import Client, MCPError
from mcp.types import INVALID_PARAMS, PromptReference, ResourceTemplateReference

from market import gpus
from market.context import Market
from prompts.library import prompts
from server.mcp_door import MarketDoor
from server.mcp_prompts import matching
from tools.capability import capabilities


async def test_every_prompt_file_is_listed_with_title_description_and_arguments(door: MarketDoor, era: str) -> None:
    async with Client(door, mode=era) as client:
        listed = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
    assert set(listed) == set(prompts())
    for prompt in listed.values():
        assert prompt.title
        assert prompt.description
        assert prompt.icons
        assert prompt.arguments
        assert all(argument.description for argument in prompt.arguments)


async def test_a_prompt_is_filled_with_what_was_given_and_its_defaults(door: MarketDoor, era: str) -> None:
    async with Client(door, mode=era) as client:
        result = await client.get_prompt("size_and_find", {"workload": "serve ${region} Llama 70B"})
    (message,) = result.messages
    text = getattr(message.content, "text", "")
    assert message.role == "user"
    assert "Workload: serve ${region} Llama 70B" in text
    assert "Where: anywhere" in text


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("size_and_fnd", {}, "Nearest: `size_and_find`"),
        ("size_and_find", {}, "needs `workload`"),
        ("size_and_find", {"workload": "x", "place": "eu"}, "no argument `place`"),
        ("size_and_find", {"workload": "x" * 5_000}, "at most 4000 characters"),
    ],
)
async def test_a_prompt_that_cannot_be_filled_says_why(
    door: MarketDoor, era: str, name: str, arguments: dict[str, str], words: str
) -> None:
    async with Client(door, mode=era) as client:
        with pytest.raises(MCPError, match=re.escape(words)) as refused:
            await client.get_prompt(name, arguments)
    assert refused.value.code == INVALID_PARAMS


def test_prompts_name_only_tools_that_exist() -> None:
    for prompt in prompts().values():
        called = set(re.findall(r"[Cc]all `([a-z_]+)`", prompt.body))
        assert called, prompt.name
        assert called <= set(capabilities()), prompt.name


@pytest.mark.parametrize(
    ("prompt", "argument", "typed", "expected"),
    [
        ("watch_price", "gpu", "h100", "H100-SXM"),
        ("compare_gpus", "gpus", "A100, 4090", "A100, RTX-4090"),
        ("watch_price", "region", "eu-w", "eu-west"),
        ("explain_offer", "offer_id", "runpod:", None),
    ],
)
async def test_arguments_of_prompts_are_completed(
    door: MarketDoor, era: str, prompt: str, argument: str, typed: str, expected: str | None
) -> None:
    async with Client(door, mode=era) as client:
        result = await client.complete(PromptReference(name=prompt), {"name": argument, "value": typed})
    found = result.completion.values
    assert 0 < len(found) <= 100
    assert expected in found if expected else all(name.startswith(typed) for name in found)


async def test_free_words_are_not_completed(door: MarketDoor) -> None:
    async with Client(door) as client:
        result = await client.complete(PromptReference(name="size_and_find"), {"name": "workload", "value": "l"})
    assert result.completion.values == []


@pytest.mark.parametrize("kind", ["offer", "gpu", "provider"])
async def test_variables_of_templates_are_completed(door: MarketDoor, market: Market, era: str, kind: str) -> None:
    variable = "id" if kind == "offer" else "name"
    reference = ResourceTemplateReference(uri=f"{kind}://{{{variable}}}")
    async with Client(door, mode=era) as client:
        everything = (await client.complete(reference, {"name": variable, "value": ""})).completion
    known = {
        "gpu": set(gpus.catalogue()),
        "provider": set(await market.provider_states()),
        "offer": {raw.decode() for raw in (await market.snapshot()).frame.ids.tolist()},
    }[kind]
    assert set(everything.values) <= known
    assert len(everything.values) == min(100, len(known))
    assert everything.has_more is (len(known) > 100)


def test_names_that_begin_with_what_was_typed_come_first() -> None:
    assert matching(["H100", "GH200", "h200", "A10"], "h") == ["H100", "h200", "GH200"]
