"""The HTTP door: every route answers, every spelling of an argument is understood, every refusal has one form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st
from starlette.testclient import TestClient

from market.context import Context
from market.errors import RateLimited
from market.settings import Settings
from server.rest import MAX_BODY_BYTES, PREFIX, nearest_path
from tests.server.facade import error, opened_app
from tests.server.math_arguments import MATH
from tests.server.missing_things import OF_SOMETHING
from tools.capability import Request, Result, capabilities

OFFERS = f"{PREFIX}/providers"
SEARCH = f"{OFFERS}/search"


@pytest.fixture(scope="module")
def http(filled_folder: Any) -> Iterator[TestClient]:
    """The application over the published prices."""
    with opened_app(Settings(data_dir=filled_folder, sync="off")) as client:
        yield client


def first_id(http: TestClient) -> str:
    """The id of some offer."""
    return str(http.get(OFFERS, params={"per_page": 1}).json()["items"][0]["id"])


def arguments_for(name: str, http: TestClient) -> dict[str, Any]:
    """The least a capability wants."""
    wanted: dict[str, dict[str, Any]] = {
        "get_offer": {"id": first_id(http)},
        "price_history": {"gpu": "H100"},
        "estimate_workload": {"text": "serve Llama 3.1 8B"},
        "rank_offers": {"workload": "serve Llama 3.1 8B"},
        "quote_offer": {"offers": [first_id(http)], "duration_hours": 1},
        "add_favorite": {"offer_id": first_id(http)},
        "save_search": {"name": "cheap", "filters": {"gpu": "H100"}},
        "delete_search": {"name": "cheap"},
        "create_alert": {"gpu": "H100", "when": "price_below", "threshold": 0.01},
        "create_key": {"name": "of every route"},
        "create_mandate": {"budget": 5, "providers": ["sandbox"]},
        "create_webhook": {"url": "https://hooks.example.com/gpubroker", "events": ["booking.active"]},
        "receive_callback": {"provider": "sandbox", "event_id": "event-1", "instance_id": "i-unknown"},
        "redact_audit": {"actor": "nobody"},
    }
    return wanted.get(name) or MATH.get(name, {})


def test_every_route_of_the_registry_answers(http: TestClient) -> None:
    # what takes away comes after what adds
    for item in sorted(capabilities().values(), key=lambda item: item.name.startswith(("delete", "remove"))):
        if "http" not in item.doors or item.name in OF_SOMETHING:
            continue
        given = arguments_for(item.name, http)
        for route in item.routes:
            method, path = route.split(" ", 1)
            url = PREFIX + path.format(**{"booking_id": "", **given})
            body = {name: value for name, value in given.items() if f"{{{name}}}" not in path}
            sent: dict[str, Any] = {"json": body} if method in ("POST", "PUT") else {"params": body}
            if "{booking_id}" in path:
                continue
            answer = http.request(method, url, **sent)
            assert answer.status_code == 200, (route, answer.text)
            assert answer.headers["content-type"] == "application/json"


@pytest.mark.requirement("FR-PROV-004")
@pytest.mark.requirement("FR-MKT-1")
def test_a_list_of_offers_has_the_fields_of_the_contract(http: TestClient) -> None:
    page = http.get(OFFERS, params={"gpu": "H100", "per_page": 5}).json()
    assert isinstance(page["total"], int)
    assert all(isinstance(warning, str) for warning in page.get("warnings", []))
    kinds = {
        "id": str,
        "provider": str,
        "name": str,
        "gpu": str,
        "memory_gb": int,
        "price_per_hour": float,
        "currency": str,
        "availability": str,
        "region": str,
        "tags": list,
        "last_updated": str,
    }
    for offer in page["items"]:
        assert {name: type(offer[name]) for name in kinds} == kinds
        assert datetime.fromisoformat(offer["last_updated"]).tzinfo is not None
        assert offer["availability"] in {"available", "limited", "unavailable", "unknown"}


@pytest.mark.requirement("FR-PROV-004")
def test_without_filters_all_offers_are_paged_by_twenty(http: TestClient) -> None:
    first = http.get(OFFERS).json()
    second = http.get(OFFERS, params={"page": 2}).json()
    assert (first["page"], first["per_page"], len(first["items"])) == (1, 20, 20)
    assert second["total"] == first["total"] > 40
    assert not {offer["id"] for offer in first["items"]} & {offer["id"] for offer in second["items"]}


def test_a_hundred_a_page_is_the_most(http: TestClient) -> None:
    assert len(http.get(OFFERS, params={"per_page": 100}).json()["items"]) == 100
    assert error(http.get(OFFERS, params={"per_page": 101}))["code"] == "VALIDATION_ERROR"


def test_an_agent_pages_by_cursor(http: TestClient) -> None:
    first = http.get(OFFERS, params={"limit": 3}).json()
    second = http.get(OFFERS, params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert "page" not in first
    assert len(first["items"]) == len(second["items"]) == 3
    both = http.get(OFFERS, params={"limit": 6}).json()["items"]
    assert [offer["id"] for offer in both] == [offer["id"] for offer in first["items"] + second["items"]]


SAME: dict[str, tuple[str, str]] = {
    "gpu_type": ("gpu_type=H100", "gpu=H100"),
    "lower case": ("gpu=h100", "gpu=H100"),
    "page_size": ("page_size=7&gpu=A100", "per_page=7&gpu=A100"),
    "compliance_tag": ("compliance_tag=gdpr", "tags=gdpr"),
    "gpu_memory_min": ("gpu_memory_min=80", "memory_gb_min=80"),
    "min_price": ("min_price=2&max_price=3", "price_min=2&price_max=3"),
    "commas": ("gpu=H100,A100", "gpu=H100&gpu=A100"),
    "sort": ("sort=price_asc", "sort=price"),
}


@pytest.mark.requirement("FR-PROV-004")
@pytest.mark.parametrize("spelling", SAME)
def test_other_spellings_of_a_parameter_mean_the_same(http: TestClient, spelling: str) -> None:
    one, other = (http.get(f"{OFFERS}?{query}") for query in SAME[spelling])
    assert one.status_code == 200
    assert one.json()["total"] < http.get(OFFERS).json()["total"] or "sort" in spelling
    assert [offer["id"] for offer in one.json()["items"]] == [offer["id"] for offer in other.json()["items"]]


@pytest.mark.requirement("FR-PROV-004")
def test_filters_hold_for_every_offer(http: TestClient) -> None:
    query = "gpu=H100&max_price=15&price_min=1&gpu_memory_max=80&region=europe-west4"
    offers = http.get(f"{OFFERS}?{query}").json()["items"]
    assert offers
    for offer in offers:
        assert "H100" in offer["gpu"]
        assert 1 <= offer["price_per_hour"] <= 15
        assert offer["memory_gb"] <= 80
        assert offer["region"] == "europe-west4"


def test_a_search_by_post_finds_what_a_get_finds(http: TestClient) -> None:
    posted = http.post(SEARCH, json={"gpu": ["H100"], "max_price": 3}).json()
    got = http.get(OFFERS, params={"gpu": "H100", "max_price": "3"}).json()
    assert posted["items"] == got["items"]


def test_an_empty_body_asks_for_everything(http: TestClient) -> None:
    assert http.post(SEARCH).json()["total"] == http.get(OFFERS).json()["total"]


def test_an_offer_is_opened_by_its_readable_id_plain_and_encoded(http: TestClient) -> None:
    dotted = [offer["id"] for offer in http.get(OFFERS, params={"provider": "verda"}).json()["items"]]
    chosen = next(name for name in dotted if "." in name and name.count(":") >= 2)
    plain, encoded = (http.get(f"{OFFERS}/{name}") for name in (chosen, chosen.replace(":", "%3A")))
    assert plain.json()["id"] == encoded.json()["id"] == chosen


@pytest.mark.parametrize("literal", ["rank", "search"])
def test_a_literal_path_is_never_an_offer_id(http: TestClient, literal: str) -> None:
    refused = http.get(f"{OFFERS}/{literal}")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "POST"
    assert "POST" in error(refused)["details"]["next_step"]


def test_head_answers_as_get_without_a_body(http: TestClient) -> None:
    assert http.head(OFFERS).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "OPTIONS"])
def test_a_method_that_is_not_declared_is_405_in_the_envelope(http: TestClient, method: str) -> None:
    for path in (OFFERS, f"{OFFERS}/a:b:c", "/health", "/openapi.json"):
        refused = http.request(method, path)
        assert refused.status_code == 405, path
        assert "GET" in refused.headers["allow"]
        assert error(refused)["code"] == "VALIDATION_ERROR"


def test_a_path_that_does_not_exist_names_the_nearest(http: TestClient) -> None:
    refused = http.get(f"{PREFIX}/provider")
    assert refused.status_code == 404
    assert OFFERS in error(refused)["details"]["nearest"]
    assert error(http.get("/zzzzzzzzzzzz"))["details"]["nearest"] == []


def test_the_nearest_path_of_an_endless_one_is_found_at_once() -> None:
    assert nearest_path("/" + "a" * 1_000_000, [OFFERS, SEARCH]) == []


REFUSED: dict[str, tuple[str, str]] = {
    "an unknown argument": ("gpuu=H100", "gpu"),
    "a wrong type": ("max_price=cheap", "max_price"),
    "an unknown GPU": ("gpu=H1000", "H100"),
    "an unknown region": ("region=erope", "region"),
    "an unknown provider": ("provider=vast", "vastai"),
    "a negative price": ("max_price=-1", "max_price"),
    "no number": ("memory_gb_min=nan", "memory_gb_min"),
    "an endless number": ("memory_gb_min=inf", "memory_gb_min"),
    "a huge number": ("gpu_count=" + "9" * 400, "gpu_count"),
    "a damaged cursor": ("cursor=abc", "cursor"),
    "a long text": ("q=" + "x" * 5_000, "q"),
    "too many words": ("&".join(f"gpu=A{n}" for n in range(3_000)), "gpu"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_wrong_query_is_refused_with_what_would_be_right(http: TestClient, wrong: str) -> None:
    query, named = REFUSED[wrong]
    answer = http.get(f"{OFFERS}?{query}")
    assert answer.status_code == 400
    assert named in json.dumps(error(answer))
    assert len(answer.content) < 3_000


BODIES: dict[str, bytes] = {
    "no JSON": b"{gpu: H100}",
    "half a JSON": b'{"gpu": ["H100"',
    "a list": b"[]",
    "a text": b'"H100"',
    "invalid UTF-8": b'{"q": "\xff\xfe"}',
    "a lone surrogate": b'{"q": "\\ud800"}',
    "NaN": b'{"max_price": NaN}',
    "Infinity": b'{"max_price": Infinity}',
    "a huge exponent": b'{"max_price": 1e999}',
    "a huge whole number": b'{"gpu_count": ' + b"9" * 5_000 + b"}",
    "deep nesting": b'{"q": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep nesting that parses": b'{"gpu": ' + b"[" * 500 + b"]" * 500 + b"}",
    "an object where a number belongs": b'{"max_price": {"a": 1}}',
    "a list of lists": b'{"gpu": [["H100"]]}',
    "too many entries": json.dumps({"gpu": ["H100"] * 10_000}).encode(),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_wrong_body_is_refused(http: TestClient, body: str) -> None:
    answer = http.post(SEARCH, content=BODIES[body])
    assert answer.status_code == 400
    assert error(answer)["code"] == "VALIDATION_ERROR"
    assert "pydantic" not in answer.text
    assert "Traceback" not in answer.text


def test_a_body_may_have_one_mebibyte_and_not_a_byte_more(http: TestClient) -> None:
    filled = b'{"limit": 1' + b" " * (MAX_BODY_BYTES - 12) + b"}"
    assert http.post(SEARCH, content=filled).status_code == 200
    refused = http.post(SEARCH, content=filled + b" ")
    assert refused.status_code == 413
    assert error(refused)["code"] == "TOO_LARGE"


def test_a_trace_is_taken_over_and_a_broken_one_is_replaced(http: TestClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for path in (OFFERS, f"{OFFERS}/a:b:c", "/nowhere", "/health", "/openapi.json"):
        answer = http.get(path, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
        assert answer.headers["x-trace-id"] == trace, path
    for broken in ("", "00", f"00-{trace.upper()}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01"):
        assert http.get(OFFERS, headers={"traceparent": broken}).headers["x-trace-id"] not in {trace, "0" * 32}


@pytest.mark.parametrize("status", [400, 404])
def test_a_refusal_says_whether_a_retry_helps_and_what_to_do(http: TestClient, status: int) -> None:
    refused = http.get(f"{OFFERS}?gpuu=1" if status == 400 else f"{OFFERS}/nobody:x:y")
    details = error(refused)["details"]
    assert refused.status_code == status
    assert details["retryable"] is False
    assert details["next_step"]


class Nothing(Request):
    """No arguments."""


class Odd(Result):
    """Anything."""

    value: Any = None


def test_a_defect_of_ours_says_nothing_of_itself(settings: Settings, declare: Callable[..., None]) -> None:
    async def broken(_ctx: Context, _query: Nothing) -> Odd:
        """Break."""
        raise RuntimeError("secret words")

    async def unwritable(_ctx: Context, _query: Nothing) -> Odd:
        """Answer what cannot be written."""
        return Odd(value=object())

    declare("broken", broken, "GET /broken")
    declare("unwritable", unwritable, "GET /unwritable")
    with opened_app(settings) as http:
        for path in ("/broken", "/unwritable"):
            answer = http.get(PREFIX + path)
            assert answer.status_code == 500
            assert error(answer)["code"] == "INTERNAL_ERROR"
            assert "secret" not in answer.text
        assert http.get("/health").status_code == 200


def test_a_caller_who_must_wait_is_told_how_long(settings: Settings, declare: Callable[..., None]) -> None:
    async def busy(_ctx: Context, _query: Nothing) -> Odd:
        """Refuse."""
        raise RateLimited("Too many calls.", details={"retry_after_seconds": 6.6})

    declare("busy", busy, "GET /busy")
    with opened_app(settings) as http:
        refused = http.get(f"{PREFIX}/busy")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "7"


_NAMES = st.sampled_from([*sorted(capabilities()["search_offers"].argument_names()), "nonsense"]) | st.text(max_size=8)
_VALUES = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["H100", "eu", "true", "null", "price", "gdpr", "spot", "1e308", "-0"]),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(query=st.lists(st.tuples(_NAMES, _VALUES), max_size=6))
@rules(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_query_makes_the_server_fail(http: TestClient, query: list[tuple[str, str]]) -> None:
    sent = urlencode(query, errors="replace")
    assert http.get(f"{OFFERS}?{sent}").status_code in {200, 400}


@given(
    path=st.sampled_from(["/providers/search", "/providers/rank", "/math/estimate-workload"]),
    body=st.dictionaries(_NAMES | st.sampled_from(["workload", "weights", "text", "model", "quantity"]), _JSON),
)
@rules(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_makes_the_server_fail(http: TestClient, path: str, body: dict[str, Any]) -> None:
    sent = json.dumps(body).encode()
    assert http.post(PREFIX + path, content=sent).status_code in {200, 400, 404}


@given(raw=st.binary(max_size=200))
@rules(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_the_server_fail(http: TestClient, raw: bytes) -> None:
    assert http.post(SEARCH, content=raw).status_code in {200, 400}


@given(name=st.text(min_size=1, max_size=40))
@rules(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_makes_the_server_fail(http: TestClient, name: str) -> None:
    assert http.get(f"{OFFERS}/{quote(name, safe='', errors='replace')}").status_code in {200, 307, 400, 404, 405}
