"""The contract with clients: nothing they rely on is taken away without a new major version."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from server import docs
from server.contract import allowed_to_narrow, narrowings
from tests.house import ROOT

BASELINE = ROOT / docs.CONTRACT

TOOLS: dict[str, Any] = {
    "tools": [
        {
            "name": "find",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "gpu": {"type": "array", "items": {"type": "string", "maxLength": 60}},
                    "sort": {"enum": ["price", "age"], "type": "string"},
                    "limit": {"anyOf": [{"type": "integer", "maximum": 50}, {"type": "null"}]},
                },
            },
            "outputSchema": {
                "type": "object",
                "properties": {"offers": {"type": "array", "items": {"$ref": "#/$defs/Offer"}}},
                "required": ["offers"],
                "$defs": {
                    "Offer": {
                        "type": "object",
                        "properties": {"id": {"type": "string"}, "price": {"type": "number"}},
                        "required": ["id"],
                    }
                },
            },
        }
    ]
}
API: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"version": "0"},
    "paths": {
        "/offers": {
            "get": {
                "parameters": [{"name": "gpu", "in": "query", "required": False, "schema": {"type": "string"}}],
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}}}
                },
            },
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}}},
                "responses": {"200": {"description": "done"}},
            },
        }
    },
    "components": {
        "schemas": {
            "Page": {
                "type": "object",
                "properties": {
                    "total": {"type": "integer"},
                    "next": {"anyOf": [{"$ref": "#/components/schemas/Page"}, {"type": "null"}]},
                },
                "required": ["total"],
            }
        }
    },
}
Change = Callable[[dict[str, Any]], object]


def _tool(document: dict[str, Any], part: str) -> dict[str, Any]:
    schema: dict[str, Any] = document["tools"][0][part]
    return schema


def _offers(document: dict[str, Any]) -> dict[str, Any]:
    path: dict[str, Any] = document["paths"]["/offers"]
    return path


def _page(document: dict[str, Any]) -> dict[str, Any]:
    page: dict[str, Any] = document["components"]["schemas"]["Page"]
    return page


TOOL_NARROWINGS: dict[str, Change] = {
    "a tool": lambda new: new["tools"].clear(),
    "an argument": lambda new: _tool(new, "inputSchema")["properties"].pop("gpu"),
    "an optional argument": lambda new: _tool(new, "inputSchema").update(required=["gpu"]),
    "a longer text": lambda new: _tool(new, "inputSchema")["properties"]["gpu"]["items"].update(maxLength=10),
    "a text of any form": lambda new: _tool(new, "inputSchema")["properties"]["gpu"]["items"].update(pattern="^a"),
    "names it did not know": lambda new: _tool(new, "inputSchema").update(additionalProperties=False),
    "a list": lambda new: _tool(new, "inputSchema")["properties"].update(gpu={"type": "string"}),
    "a choice": lambda new: _tool(new, "inputSchema")["properties"]["sort"].update(enum=["price"]),
    "a free choice": lambda new: _tool(new, "inputSchema")["properties"]["gpu"]["items"].update(enum=["H100"]),
    "null": lambda new: _tool(new, "inputSchema")["properties"].update(limit={"type": "integer", "maximum": 50}),
    "a larger number": lambda new: _tool(new, "inputSchema")["properties"]["limit"]["anyOf"][0].update(maximum=20),
    "a fact": lambda new: _tool(new, "outputSchema")["$defs"]["Offer"]["properties"].pop("price"),
    "a certain fact": lambda new: _tool(new, "outputSchema")["$defs"]["Offer"].pop("required"),
    "a number as a number": lambda new: _tool(new, "outputSchema")["$defs"]["Offer"]["properties"].update(
        price={"anyOf": [{"type": "number"}, {"type": "string"}]}
    ),
}
API_NARROWINGS: dict[str, Change] = {
    "a path": lambda new: new["paths"].clear(),
    "a method": lambda new: _offers(new).pop("get"),
    "a parameter": lambda new: _offers(new)["get"]["parameters"].clear(),
    "an optional parameter": lambda new: _offers(new)["get"]["parameters"][0].update(required=True),
    "a call without a new parameter": lambda new: _offers(new)["get"]["parameters"].append(
        {"name": "region", "in": "query", "required": True, "schema": {}}
    ),
    "a parameter's type": lambda new: _offers(new)["get"]["parameters"][0].update(schema={"type": "integer"}),
    "an answer": lambda new: _offers(new)["get"]["responses"].clear(),
    "a fact": lambda new: _page(new)["properties"].pop("total"),
    "a whole number": lambda new: _page(new)["properties"].update(total={"type": "number"}),
    "a body": lambda new: _offers(new)["post"].pop("requestBody"),
    "a call without a body": lambda new: _offers(new)["post"]["requestBody"].update(required=True),
}
WIDENINGS: dict[str, Change] = {
    "a tool more": lambda new: new["tools"].append({"name": "other", "inputSchema": {}}),
    "an optional argument more": lambda new: _tool(new, "inputSchema")["properties"].update(region={"type": "string"}),
    "a longer text": lambda new: _tool(new, "inputSchema")["properties"]["gpu"]["items"].pop("maxLength"),
    "a choice more": lambda new: _tool(new, "inputSchema")["properties"]["sort"]["enum"].append("name"),
    "an alternative": lambda new: _tool(new, "inputSchema")["properties"].update(
        gpu={"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    ),
    "a fraction": lambda new: _tool(new, "inputSchema")["properties"]["limit"].update(
        anyOf=[{"type": "number"}, {"type": "null"}]
    ),
    "a fact more": lambda new: _tool(new, "outputSchema")["$defs"]["Offer"]["properties"].update(age={}),
    "other words": lambda new: _tool(new, "inputSchema").update(description="Other words."),
}


def changed(document: dict[str, Any], change: Change) -> dict[str, Any]:
    """A copy of a contract with one change."""
    new = copy.deepcopy(document)
    change(new)
    return new


@pytest.mark.parametrize("lost", TOOL_NARROWINGS)
def test_a_tool_that_takes_something_away_is_noticed(lost: str) -> None:
    assert narrowings(TOOLS, changed(TOOLS, TOOL_NARROWINGS[lost])) != []


@pytest.mark.parametrize("lost", API_NARROWINGS)
def test_an_api_that_takes_something_away_is_noticed(lost: str) -> None:
    assert narrowings(API, changed(API, API_NARROWINGS[lost])) != []


@pytest.mark.parametrize("gained", WIDENINGS)
def test_what_only_adds_is_let_through(gained: str) -> None:
    assert narrowings(TOOLS, changed(TOOLS, WIDENINGS[gained])) == []


def test_a_contract_is_compatible_with_itself() -> None:
    current = docs.contracts()
    assert narrowings(API, API) + narrowings(TOOLS, TOOLS) == []
    assert [narrowings(contract, contract) for contract in current.values()] == [[], []]


def test_a_narrowing_says_where_and_what() -> None:
    new = changed(TOOLS, TOOL_NARROWINGS["a fact"])
    assert narrowings(TOOLS, new) == ["tool find gives: offers[]: price is gone"]


@pytest.mark.requirement("NFR-MAINT-2")
def test_only_a_new_major_version_may_narrow() -> None:
    assert not allowed_to_narrow({"info": {"version": "0"}}, docs.version())
    assert not allowed_to_narrow({"info": {"version": "1"}}, "1.9.0")
    assert allowed_to_narrow({"info": {"version": "1"}}, "2.0.0")


@pytest.mark.requirement("NFR-MAINT-2")
@pytest.mark.requirement("NFR-MAINT-006")
def test_this_version_takes_nothing_away_from_the_last_release() -> None:
    released = {name: json.loads((BASELINE / name).read_text(encoding="utf-8")) for name in docs.contracts()}
    lost = [loss for name, contract in docs.contracts().items() for loss in narrowings(released[name], contract)]
    assert not lost or allowed_to_narrow(released["openapi.json"], docs.version())
