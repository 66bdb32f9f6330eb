"""The one gate: what it lets through, what it refuses, and in whose words."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from market.context import Caller, Context, Market
from market.errors import BrokerError, InternalFault, NotAllowed, ValidationFailed
from market.settings import Settings
from tests.tools.conftest import ask
from tools.capability import Capability, Request, Result, capabilities

READS = sorted(name for name, item in capabilities().items() if item.effect == "read")


class Echo(Request):
    """What comes in."""

    word: str = Field(max_length=10)


class Echoed(Result):
    """What goes out."""

    word: str


async def _broken(ctx: Context, query: Echo) -> Echoed:
    """Fail with something nobody may see."""
    raise RuntimeError(f"inner secret {query.word}")


def _broken_capability() -> Capability[Echo, Echoed]:
    return Capability("echo", "Echo.", Echo, Echoed, _broken, "market:read", "read", (), frozenset(), "market", False)


async def _refused(market: Market, name: str, **arguments: Any) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await ask(market, name, **arguments)
    return caught.value


async def test_an_unknown_argument_is_named_with_the_nearest_valid_one(market: Market) -> None:
    refusal = await _refused(market, "search_offers", regoin=["eu"])
    assert isinstance(refusal, ValidationFailed)
    assert "`regoin`" in refusal.message
    assert "`region`" in refusal.next_step
    assert "region" in refusal.details["allowed"]  # type: ignore[operator]
    nothing_near = await _refused(market, "search_offers", xyzzy=1)
    assert nothing_near.next_step == "See `allowed`."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"limit": "many"}, "`limit` must be a whole number"),
        ({"limit": 1.5}, "`limit` must be a whole number"),
        ({"limit": 0}, "`limit` must be at least 1"),
        ({"limit": 51}, "`limit` must be at most 50"),
        ({"max_price": "cheap"}, "`max_price` must be a number"),
        ({"max_price": "0." + "1" * 50}, "`max_price` must have at most 40 characters"),
        ({"max_price": "NaN"}, "`max_price` must be a finite number"),
        ({"max_price": -1}, "`max_price` must be at least 0"),
        ({"memory_gb_min": math.nan}, "`memory_gb_min` must be"),
        ({"memory_gb_min": math.inf}, "`memory_gb_min` must be"),
        ({"gpu": 7}, "`gpu` must be a list"),
        ({"gpu": [7]}, "`gpu.0` must be text"),
        ({"gpu": ["x" * 61]}, "`gpu.0` must have at most 60 characters"),
        ({"gpu": ["H100"] * 21}, "`gpu` must have at most 20 entries"),
        ({"gpu": ",".join(["H100"] * 21)}, "`gpu` must have at most 20 entries"),
        ({"q": "x" * 201}, "`q` must have at most 200 characters"),
        ({"q": "\ud800"}, "`q` must be text in valid Unicode"),
        ({"sort": "colour"}, "`sort` must be one of 'price'"),
        ({"sort": ["price"]}, "`sort` must be one of 'price'"),
        ({"availability": "sometimes"}, "`availability.0` must be one of"),
        ({"bookable": "perhaps"}, "`bookable` must be true or false"),
        ({"gpu_count": 10**5000}, "`gpu_count` must be at most 100000"),
    ],
)
async def test_a_wrong_argument_is_named_with_what_would_be_right(
    market: Market, arguments: dict[str, Any], said: str
) -> None:
    refusal = await _refused(market, "search_offers", **arguments)
    assert (refusal.code, refusal.status) == ("VALIDATION_ERROR", 400)
    assert refusal.message.startswith(said)


async def test_other_spellings_of_an_argument_are_the_same_argument(market: Market) -> None:
    item = capabilities()["search_offers"]
    assert item.checked({"text": "a", "gpu_type": "H100", "price_max": "2"}) == item.checked(
        {"q": "a", "gpu": ["H100"], "max_price": 2}
    )
    twice = await _refused(market, "search_offers", q="a", text="b")
    assert "`q` and `text`" in twice.message
    # the documented names are the field names, the others are accepted
    assert "gpu_type" not in item.field_names()
    assert "gpu_type" in item.argument_names()


def test_a_string_with_commas_is_a_list() -> None:
    read = capabilities()["search_offers"].checked
    assert read({"gpu": " H100, A100 ,"}).gpu == ["H100", "A100"]
    assert read({"gpu": ["H100", "  "]}).gpu == ["H100"]
    assert read({"gpu": ""}).gpu == []


async def test_a_caller_without_the_scope_is_refused_before_anything_is_looked_at(market: Market) -> None:
    stranger = Context(market, Caller("stranger", frozenset({"booking:write"})))
    with pytest.raises(NotAllowed, match="market:read"):
        await capabilities()["search_offers"].call(stranger, {"nonsense": 1})
    reader = Context(market, Caller("reader", frozenset({"market:read"})))
    assert (await capabilities()["search_offers"].call(reader, {})).total == 0


async def test_a_defect_of_ours_says_its_trace_and_nothing_else(
    market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL + 1, "gpubroker"), pytest.raises(InternalFault) as caught:
        await _broken_capability().call(Context(market, trace_id="cafe"), {"word": "w"})
    shown = str(caught.value.envelope("cafe"))
    assert "cafe" in shown
    assert "inner secret" not in shown
    assert "RuntimeError" not in shown


async def test_a_call_without_a_trace_gets_one(market: Market) -> None:
    with pytest.raises(InternalFault) as caught:
        await _broken_capability().call(Context(market), {"word": "w"})
    assert len(str(caught.value.details["trace_id"])) == 32


def _leaves(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") in ("string", "array", "number", "integer"):
            yield path, schema
        for name, inner in schema.items():
            yield from _leaves(inner, f"{path}/{name}")
    elif isinstance(schema, list):
        for place, inner in enumerate(schema):
            yield from _leaves(inner, f"{path}/{place}")


@pytest.mark.parametrize("name", sorted(capabilities()))
def test_every_field_of_every_request_is_bounded(name: str) -> None:
    unbounded = []
    for path, leaf in _leaves(capabilities()[name].request.model_json_schema()):
        kind = leaf["type"]
        if (
            (kind == "string" and "maxLength" not in leaf and "enum" not in leaf and "const" not in leaf)
            or (kind == "array" and "maxItems" not in leaf)
            or (kind in ("number", "integer") and not any(math.isfinite(leaf.get(b, math.inf)) for b in _UPPER))
            or (kind in ("number", "integer") and not any(math.isfinite(leaf.get(b, math.inf)) for b in _LOWER))
        ):
            unbounded.append(path)
    assert not unbounded


_UPPER = ("maximum", "exclusiveMaximum")
_LOWER = ("minimum", "exclusiveMinimum")


def test_published_list_bounds_are_the_ones_enforced() -> None:
    item = capabilities()["search_offers"]
    schema = item.request.model_json_schema()["properties"]
    for name in ("gpu", "region", "provider", "tags"):
        most, longest = schema[name]["maxItems"], schema[name]["items"]["maxLength"]
        assert len(getattr(item.checked({name: ["x" * longest] * most}), name)) == most
        for too_much in (["x"] * (most + 1), ["x" * (longest + 1)]):
            with pytest.raises(ValidationFailed):
                item.checked({name: too_much})


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _arguments(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(READS))
    known = sorted(capabilities()[name].argument_names())
    names = st.sampled_from(known) | st.text(max_size=12) if known else st.text(max_size=12)
    likely = st.sampled_from(["H100", "eu", "aws", "1", "1e400", "serve llama 3.1 8b for 20 users", "0", "-1", "a:b:c"])
    return name, draw(st.dictionaries(names, _anything | likely | st.integers(1, 50), max_size=4))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_arguments())
async def test_whatever_is_sent_is_answered_or_refused_in_our_own_words(
    seeded: Market, sent: tuple[str, dict[str, Any]]
) -> None:
    name, arguments = sent
    try:
        result = await capabilities()[name].call(Context(seeded), arguments)
    except InternalFault as fault:
        raise AssertionError(f"{name} {arguments!r}") from fault
    except BrokerError as refusal:
        said = f"{refusal} {refusal.details}".lower()
        assert "pydantic" not in said
        assert "http" not in said.replace("http_", "")
        assert "traceback" not in said
    else:
        assert result.brief()


async def test_the_database_is_not_opened_for_a_wrong_question(tmp_path: Any) -> None:
    market = Market(Settings(data_dir=tmp_path / "none"))
    with pytest.raises(ValidationFailed):
        await capabilities()["search_offers"].call(Context(market), {"limit": "x"})
    assert not (tmp_path / "none").exists()
    await market.close()
