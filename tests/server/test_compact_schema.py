"""Published schemas: shorter than pydantic's, and still true."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from server.compact_schema import length, request_schema, result_schema
from tools.capability import capabilities


class Inner(BaseModel):
    """Inside."""

    title: str = Field(description="A property may be called title.")
    description: str | None = None


class Asked(BaseModel):
    """What is asked."""

    word: str = Field("", max_length=50)
    size: int | None = Field(None, ge=1, le=100_000, description="How big.")
    few: int = Field(3, le=10)
    price: Decimal | None = None
    page: int | None = Field(None, json_schema_extra={"http_only": True})
    inner: Inner | None = None


class Given(BaseModel):
    """What is given."""

    first: Inner
    second: Inner | None = None
    many: list[Inner]
    note: str | None = Field(None, description="A note.")
    kind: str | int | None = None


def test_a_request_is_published_without_titles_nulls_and_http_only_arguments() -> None:
    schema = request_schema(Asked.model_json_schema())
    assert schema["properties"]["word"] == {"type": "string"}
    assert schema["properties"]["size"] == {"minimum": 1, "type": "integer", "description": "How big."}
    assert schema["properties"]["few"] == {"default": 3, "maximum": 10, "type": "integer"}
    assert schema["properties"]["price"]["type"] == "number"
    assert "page" not in schema["properties"]
    assert schema["properties"]["inner"]["properties"]["title"]["type"] == "string"
    assert "$defs" not in schema


def test_a_property_that_is_left_out_when_null_is_not_required() -> None:
    schema = result_schema(Given.model_json_schema(mode="serialization"), 10_000)
    assert schema["required"] == ["first", "many"]
    assert set(schema["properties"]) == {"first", "second", "many", "note", "kind"}
    assert {arm["type"] for arm in schema["properties"]["kind"]["anyOf"]} == {"string", "integer"}


_INNER = st.builds(Inner, title=st.text(max_size=5), description=st.none() | st.text(max_size=5))


@given(
    st.builds(
        Given,
        first=_INNER,
        second=st.none() | _INNER,
        many=st.lists(_INNER, max_size=3),
        note=st.none() | st.text(max_size=5),
        kind=st.none() | st.integers() | st.text(max_size=5),
    ),
    st.integers(0, 1_500),
)
def test_a_result_fits_its_published_schema_however_short(given_: Given, limit: int) -> None:
    schema = result_schema(Given.model_json_schema(mode="serialization"), limit)
    jsonschema.validate(given_.model_dump(mode="json", exclude_none=True), schema)


@pytest.mark.parametrize("limit", [0, 250, 350, 10_000])
def test_less_room_means_less_detail_and_never_more_text(limit: int) -> None:
    full = result_schema(Given.model_json_schema(mode="serialization"), 10_000)
    assert length(result_schema(Given.model_json_schema(mode="serialization"), limit)) <= length(full)
    shortest = result_schema(Given.model_json_schema(mode="serialization"), 0)
    assert shortest["type"] == "object"
    assert set(shortest["required"]) == {"first", "many"}


def test_a_definition_used_often_and_long_stays_a_reference() -> None:
    class Long(BaseModel):
        alpha: str = Field(description="x" * 200)

    class Many(BaseModel):
        one: Long
        two: Long
        three: Long

    schema = result_schema(Many.model_json_schema(mode="serialization"), 10_000)
    assert schema["$defs"]["Long"]["properties"]["alpha"]["type"] == "string"
    jsonschema.validate({name: {"alpha": "a"} for name in ("one", "two", "three")}, schema)


class Tree(BaseModel):
    """A model that holds itself."""

    children: list[Tree]


def test_a_model_that_holds_itself_keeps_its_definition() -> None:
    schema = result_schema(Tree.model_json_schema(mode="serialization"), 10_000)
    jsonschema.validate({"children": [{"children": []}]}, schema)


def test_published_schemas_are_valid_schemas() -> None:
    for item in capabilities().values():
        for schema in (
            request_schema(item.request.model_json_schema(by_alias=False)),
            result_schema(item.result.model_json_schema(by_alias=False, mode="serialization")),
        ):
            published: dict[str, Any] = json.loads(json.dumps(schema))
            jsonschema.Draft202012Validator.check_schema(published)
