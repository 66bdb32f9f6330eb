"""The MCP door in memory, with the SDK's own client, in both eras of the protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from mcp import Client, MCPError
from mcp.types import CallToolResult

from market.context import Context, Market
from market.errors import ValidationFailed
from market.settings import Settings
from server.mcp_door import INSTRUCTIONS, MarketDoor, allowed_origins, build
from server.mcp_tools import refusal_text
from tests.server.conftest import Done, Nothing
from tools.capability import capabilities

_FOREIGN = re.compile(r"pydantic|Traceback|validation error|Error executing|File \"", re.IGNORECASE)
_MAX_LIST, _MAX_TOOL, _MAX_SEARCH_TEXT = 17_500, 2_200, 6_750


def said(result: CallToolResult) -> str:
    """The text of a result."""
    return "".join(getattr(block, "text", "") for block in result.content)


def compact(model: Any) -> str:
    """A wire model as compact JSON."""
    return str(model.model_dump_json(by_alias=True, exclude_none=True))


async def test_every_capability_for_tools_is_listed_with_hints_and_both_schemas(door: MarketDoor, era: str) -> None:
    async with Client(door, mode=era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {name for name, item in capabilities().items() if "tool" in item.doors}
    for tool in tools.values():
        assert tool.title
        assert tool.description
        assert tool.output_schema
        assert tool.annotations is not None
        declared = capabilities()[tool.name]
        assert tool.annotations.read_only_hint is (declared.effect == "read")
        assert tool.annotations.open_world_hint is declared.open_world
        assert tool.input_schema["additionalProperties"] is False
        assert '"title"' not in json.dumps(tool.input_schema["properties"])


async def test_the_tool_list_fits_its_budget(door: MarketDoor) -> None:
    async with Client(door) as client:
        tools = (await client.list_tools()).tools
    sizes = {tool.name: len(compact(tool)) for tool in tools}
    assert max(sizes.values()) <= _MAX_TOOL, sizes
    assert sum(sizes.values()) + len(sizes) + 12 <= _MAX_LIST, sizes


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("search_offers", {}),
        ("search_offers", {"gpu": "H100", "region": "eu", "max_price": 40, "limit": 3}),
        ("search_offers", {"gpu": "H100", "max_price": 0.001}),
        ("search_offers", {"pricing": ["token"], "limit": 2}),
        ("market_overview", {}),
        ("estimate_workload", {"text": "fine-tune Llama 3.1 8B with LoRA on 20k examples"}),
        ("rank_offers", {}),
        ("price_history", {"gpu": "H100"}),
    ],
)
async def test_text_and_structured_content_say_the_same_and_fit_the_schema(
    door: MarketDoor, name: str, arguments: dict[str, Any]
) -> None:
    async with Client(door) as client:
        tool = next(tool for tool in (await client.list_tools()).tools if tool.name == name)
        result = await client.call_tool(name, arguments)
    assert not result.is_error, said(result)
    assert json.loads(said(result)) == result.structured_content
    assert tool.output_schema is not None
    jsonschema.validate(result.structured_content, tool.output_schema)
    full = capabilities()[name].result.model_json_schema(mode="serialization", by_alias=False)
    assert set(result.structured_content or {}) <= set(full["properties"])


async def test_a_default_search_answer_is_short(door: MarketDoor, era: str) -> None:
    async with Client(door, mode=era) as client:
        result = await client.call_tool("search_offers", {})
    assert result.structured_content is not None
    assert len(result.structured_content["items"]) == 10
    assert len(said(result)) <= _MAX_SEARCH_TEXT


@pytest.mark.requirement("NFR-SEC-009")
@pytest.mark.requirement("NFR-SEC5")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"max_pric": 1}, "`max_price`"),
        ({"limit": "many"}, "`limit`"),
        ({"limit": 10_000}, "at most 50"),
        ({"q": "x" * 5_000}, "at most 200 characters"),
        ({"gpu": ["H100"] * 500}, "at most 20"),
        ({"gpu": ["x" * 300]}, "at most 60 characters"),
        ({"max_price": -1}, "at least 0"),
        ({"max_price": "NaN"}, "`max_price`"),
        ({"gpu": "H1O0-SXM"}, "Nearest: `H100-SXM`"),
        ({"region": "eu-wst"}, "Nearest: `eu-west`"),
        ({"provider": "runpood"}, "Nearest: `runpod`"),
        ({"cursor": "not-a-cursor"}, "CURSOR_EXPIRED"),
        ({"sort": "magic"}, "must be one of"),
        ({"gpu": {"a": [1]}}, "`gpu`"),
    ],
)
async def test_bad_arguments_get_words_to_act_on(
    door: MarketDoor, era: str, arguments: dict[str, Any], expected: str
) -> None:
    async with Client(door, mode=era) as client:
        result = await client.call_tool("search_offers", arguments)
    assert result.is_error
    assert result.structured_content is None
    assert expected in said(result)
    assert re.match(r"[A-Z_]+: ", said(result))
    assert not _FOREIGN.search(said(result))
    assert len(said(result)) < 3_000


async def test_an_unknown_tool_gets_the_nearest_name(door: MarketDoor, era: str) -> None:
    async with Client(door, mode=era) as client:
        result = await client.call_tool("search_offer", {"gpu": "H100"})
        far = await client.call_tool("zzz" * 100, {})
    assert result.is_error
    assert said(result).startswith("NOT_FOUND: There is no tool `search_offer`. Did you mean `search_offers`")
    assert "search_offers" in said(far)
    assert len(said(far)) < 600


@pytest.mark.requirement("NFR-S1")
async def test_a_defect_shows_a_trace_id_and_nothing_else(
    door: MarketDoor, era: str, declare: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_ctx: Context, _query: Nothing) -> Done:
        """Break."""
        raise RuntimeError("secret-detail")

    declare("break_down", broken)
    async with Client(door, mode=era) as client:
        result = await client.call_tool("break_down", {})
    assert result.is_error
    trace = re.search(r'"trace_id":"(\w+)"', said(result))
    assert trace is not None
    assert "secret-detail" not in said(result)
    assert trace[1] in caplog.text


async def test_a_defect_outside_a_tool_keeps_its_words_to_the_log(
    door: MarketDoor, era: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_offered: object) -> list[object]:
        raise RuntimeError("secret-detail")

    monkeypatch.setattr("server.mcp_tools.listing", broken)
    async with Client(door, mode=era) as client:
        with pytest.raises(MCPError, match="`tools/list` failed inside GPUBroker") as refused:
            await client.list_tools()
    assert refused.value.code == -32603
    assert "secret-detail" not in str(refused.value)
    assert "secret-detail" in caplog.text


async def test_progress_of_a_capability_reaches_the_client(
    door: MarketDoor, era: str, declare: Callable[..., None]
) -> None:
    async def slow(ctx: Context, _query: Nothing) -> Done:
        """Take a while."""
        await ctx.progress(1, 2, "half way")
        return Done(done=True)

    seen: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    declare("take_a_while", slow)
    async with Client(door, mode=era) as client:
        result = await client.call_tool("take_a_while", {}, progress_callback=note)
    assert result.structured_content == {"done": True}
    assert seen == [(1, 2, "half way")]


@pytest.fixture
def writers(declare: Callable[..., None]) -> None:
    """A tool that writes, one that spends, and one of another toolset."""

    async def jot(_ctx: Context, _query: Nothing) -> Done:
        """Write it down."""
        return Done(done=True)

    async def buy(_ctx: Context, _query: Nothing) -> Done:
        """Buy it."""
        return Done(done=True)

    async def peek(_ctx: Context, _query: Nothing) -> Done:
        """Look at it."""
        return Done(done=True)

    declare("jot", jot, effect="write")
    declare("buy", buy, effect="spend")
    declare("peek", peek, toolset="labs")


@pytest.mark.usefixtures("writers")
async def test_effects_become_hints(door: MarketDoor) -> None:
    async with Client(door) as client:
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    jot, buy = tools["jot"], tools["buy"]
    assert jot is not None
    assert buy is not None
    assert (jot.read_only_hint, jot.destructive_hint) == (False, False)
    assert (buy.read_only_hint, buy.destructive_hint) == (False, True)


@pytest.mark.usefixtures("writers")
async def test_read_only_neither_lists_nor_runs_what_changes_something(market: Market, settings: Settings) -> None:
    door = build(market, settings.model_copy(update={"read_only": True}))
    async with Client(door) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        refused = await client.call_tool("jot", {})
        read = await client.call_tool("search_offers", {"limit": 1})
    assert not {"jot", "buy"} & names
    assert "search_offers" in names
    assert refused.is_error
    assert "started read-only" in said(refused)
    assert not read.is_error


@pytest.mark.usefixtures("writers")
async def test_a_toolset_is_offered_only_when_chosen(market: Market, settings: Settings) -> None:
    by_default = build(market, settings)
    chosen = build(market, settings.model_copy(update={"toolsets": "labs"}))
    async with Client(by_default) as client:
        assert "peek" not in {tool.name for tool in (await client.list_tools()).tools}
        assert "toolset `labs` was not chosen" in said(await client.call_tool("peek", {}))
    async with Client(chosen) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"peek"}
        assert (await client.call_tool("peek", {})).structured_content == {"done": True}


async def test_an_unknown_toolset_names_the_nearest(market: Market, settings: Settings) -> None:
    with pytest.raises(ValidationFailed, match="Did you mean `market`"):
        build(market, settings.model_copy(update={"toolsets": "markt"}))


async def test_a_short_sealing_key_is_refused_with_a_way_to_make_one(market: Market, settings: Settings) -> None:
    with pytest.raises(ValidationFailed, match="token_urlsafe"):
        build(market, settings.model_copy(update={"request_state_key": "short"}))
    assert build(market, settings.model_copy(update={"request_state_key": "k" * 32})).name == "gpubroker"


async def test_the_server_introduces_itself(door: MarketDoor, era: str) -> None:
    async with Client(door, mode=era) as client:
        info, instructions = client.server_info, client.instructions
    assert info is not None
    assert info.name == "gpubroker"
    assert info.version
    assert info.title
    assert info.icons
    assert info.icons[0].src.startswith("data:image/svg+xml;base64,")
    assert instructions == INSTRUCTIONS


def test_the_workflow_stands_in_the_first_500_characters_and_names_real_tools() -> None:
    named = set(re.findall(r"`([a-z]+_[a-z]+)`", INSTRUCTIONS)) - {"static_table"}
    assert named <= set(capabilities())
    positions = [
        INSTRUCTIONS.index(f"`{name}`") for name in ("estimate_workload", "search_offers", "rank_offers", "get_offer")
    ]
    assert positions == sorted(positions)
    assert max(positions) < 500
    buying = [
        INSTRUCTIONS.index(f"`{name}`") for name in ("quote_offer", "book_quote", "list_bookings", "terminate_booking")
    ]
    assert buying == sorted(buying)
    assert len(INSTRUCTIONS) < 2_048


async def test_lists_may_be_cached_by_everyone(door: MarketDoor) -> None:
    async with Client(door) as client:
        tools, prompts = await client.list_tools(), await client.list_prompts()
    assert (tools.ttl_ms, tools.cache_scope) == (300_000, "public")
    assert prompts.ttl_ms == 300_000


def test_a_refusal_with_endless_details_keeps_only_its_words() -> None:
    refusal = ValidationFailed("Wrong.", next_step="Correct it.", details={"allowed": ["x" * 100] * 100})
    assert refusal_text(refusal) == "VALIDATION_ERROR: Wrong. Correct it."


def test_only_names_of_this_machine_and_the_bound_one_may_reach_the_http_door() -> None:
    loopback, everywhere, named = (allowed_origins(host) for host in ("127.0.0.1", "0.0.0.0", "gpu.example"))  # noqa: S104
    assert loopback.allowed_hosts == everywhere.allowed_hosts
    assert "gpu.example:*" in named.allowed_hosts
    assert "https://gpu.example" in named.allowed_origins
    assert not any("gpu.example" in host for host in loopback.allowed_hosts)
