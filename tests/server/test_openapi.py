"""The OpenAPI document: sound by itself, and true of what the server really answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from market.settings import Settings
from server import mcp_tools
from server.openapi import document
from server.rest import PREFIX
from tests.server.facade import opened_app
from tools.capability import capabilities

DOCUMENT = document("1")
METHODS = {"get", "post", "put", "delete", "patch"}
HTTP_FIELDS = {"page", "per_page", "price_min", "memory_gb_max", "gpu_count_min", "cpu_arch", "bookable"}


@pytest.fixture(scope="module")
def http(filled_folder: Path) -> Iterator[TestClient]:
    """The application over the published prices."""
    with opened_app(Settings(data_dir=filled_folder, sync="off")) as client:
        yield client


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every method, path and operation."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def references(node: Any) -> Iterator[str]:
    """Every `$ref` of a document."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_it_has_what_an_openapi_3_1_document_must_have() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    for method, path, operation in operations():
        assert path.startswith("/")
        assert method in METHODS
        assert operation["summary"]
        assert operation["responses"]
        assert all(answer["description"] for answer in operation["responses"].values())
        for parameter in operation.get("parameters", []):
            assert parameter.keys() <= {"name", "in", "required", "description", "schema"}
            assert parameter["in"] in {"path", "query"}
            assert parameter["required"] or parameter["in"] == "query"


def test_every_schema_is_a_valid_schema() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for _, _, operation in operations():
        for parameter in operation.get("parameters", []):
            Draft202012Validator.check_schema(parameter["schema"])


def test_every_reference_leads_somewhere() -> None:
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(references(DOCUMENT)) <= known


def test_operations_are_named_as_the_capabilities_and_no_name_twice() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    assert {item.name for item in capabilities().values() if "http" in item.doors} <= set(names)


def test_the_parameters_are_the_fields_of_the_request() -> None:
    for method, path, operation in operations():
        item = capabilities().get(operation["operationId"])
        if item is None:
            continue
        named = [(one["in"], one["name"]) for one in operation.get("parameters", [])]
        assert len(named) == len(set(named))
        assert {name for place, name in named if place == "path"} == set(re.findall(r"{(\w+)}", path))
        assert {name for _, name in named} <= set(item.field_names())
        if method == "get":
            assert {name for _, name in named} == set(item.field_names())


def test_what_is_for_http_alone_is_here_and_not_among_the_tools() -> None:
    named = {one["name"] for one in DOCUMENT["paths"][f"{PREFIX}/providers"]["get"]["parameters"]}
    listed = {tool.name: tool for tool in mcp_tools.listing(mcp_tools.Offered(read_only=False, toolsets=None))}
    properties = listed["search_offers"].input_schema["properties"]
    assert named >= HTTP_FIELDS
    assert not HTTP_FIELDS & properties.keys()


CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("get", "/health", {}),
    ("get", f"{PREFIX}/providers", {"per_page": "60"}),
    ("get", f"{PREFIX}/providers", {"gpu": "H100", "max_price": "0.001"}),
    ("get", f"{PREFIX}/providers", {"pricing": "spot", "limit": "50"}),
    ("post", f"{PREFIX}/providers/search", {"gpu": ["A100"], "region": ["eu"]}),
    ("post", f"{PREFIX}/providers/rank", {"workload": "fine-tune Llama 3 8B on 50k examples, EU only"}),
    ("post", f"{PREFIX}/math/estimate-workload", {"text": "fine-tune Llama 3 8B on 50k examples"}),
    ("get", f"{PREFIX}/analytics/price-history", {"gpu": "H100"}),
    ("get", f"{PREFIX}/market/overview", {}),
]


def fits(answer: Any, operation: dict[str, Any]) -> None:
    """Check an answer against the schema of its status."""
    responses = operation["responses"]
    declared = responses.get(str(answer.status_code), responses.get("default"))
    schema = declared["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(answer.json())


@pytest.mark.parametrize(("method", "path", "given"), CALLS)
def test_real_answers_fit_their_schema(http: TestClient, method: str, path: str, given: dict[str, Any]) -> None:
    answer = http.get(path, params=given) if method == "get" else http.post(path, json=given)
    assert answer.status_code == 200
    fits(answer, DOCUMENT["paths"][path][method])


def test_every_kind_of_offer_fits_the_schema_of_one(http: TestClient) -> None:
    for provider in ("verda", "google_compute", "seeweb", "ibm_watson", "salad", "replicate"):
        offers = http.get(f"{PREFIX}/providers", params={"provider": provider, "limit": "2"}).json()["items"]
        for offer in offers:
            answer = http.get(f"{PREFIX}/providers/{offer['id']}")
            fits(answer, DOCUMENT["paths"][f"{PREFIX}/providers/{{id}}"]["get"])


@pytest.mark.parametrize("query", ["gpuu=1", "gpu=H1000", "cursor=x"])
def test_refusals_fit_the_schema_of_errors(http: TestClient, query: str) -> None:
    answer = http.get(f"{PREFIX}/providers?{query}")
    assert answer.status_code == 400
    fits(answer, DOCUMENT["paths"][f"{PREFIX}/providers"]["get"])


def test_the_server_serves_this_document(http: TestClient) -> None:
    served = http.get("/openapi.json").json()
    assert {**served, "info": {}} == {**DOCUMENT, "info": {}}
