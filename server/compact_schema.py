"""JSON schemas as clients need them and no longer: no titles, no null arms, small definitions written in place."""

from __future__ import annotations

import json
from typing import Any

Schema = dict[str, Any]


RESULT_CHARACTERS = 400
"""How long a published result schema may be before detail is left out of it; it stays true, only less precise."""


def request_schema(schema: Schema) -> Schema:
    """The published arguments: an optional one is left out rather than sent as null, HTTP-only ones are not shown."""
    return _inlined(_plain(schema, keep_defaults=True))


def result_schema(schema: Schema, limit: int = RESULT_CHARACTERS) -> Schema:
    """The published result: what may be absent is not required, because results leave nulls out.

    The most detailed form that is short enough: all of it, without descriptions, its outer level, what is always
    there, or the names of that.
    """
    full = _inlined(_plain(schema, keep_defaults=False))
    undescribed = _undescribed(full)
    always = _always(_outer(undescribed))
    forms = (full, undescribed, _outer(full), _outer(undescribed), always, _named(always))
    return next((form for form in forms if length(form) <= limit), forms[-1])


def length(schema: Any) -> int:
    """Characters of compact JSON."""
    return len(json.dumps(schema, separators=(",", ":"), ensure_ascii=False))


def _undescribed(node: Any, *, names: bool = False) -> Any:
    """Without descriptions; `names` says that the keys are property names, one of which may be `description`."""
    if isinstance(node, list):
        return [_undescribed(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _undescribed(inner, names=not names and key in ("properties", "$defs"))
        for key, inner in node.items()
        if names or key != "description"
    }


def _outer(schema: Schema) -> Schema:
    """The outer properties, with objects inside them left open."""
    properties = {name: _opened(inner) for name, inner in schema.get("properties", {}).items()}
    return {**{key: value for key, value in schema.items() if key != "$defs"}, "properties": properties}


def _always(schema: Schema) -> Schema:
    """The required properties; the others are allowed, as everywhere in JSON schema, but not named."""
    return {**schema, "properties": {name: schema["properties"][name] for name in schema.get("required", [])}}


def _named(schema: Schema) -> Schema:
    """That it is an object, and which properties it always has."""
    return {key: schema[key] for key in ("type", "required") if key in schema}


def _opened(schema: Schema) -> Schema:
    said: Schema = {key: schema[key] for key in ("type", "description") if key in schema}
    if "items" in schema:
        return {**said, "items": _opened(schema["items"])}
    return said if "properties" in schema or "$ref" in schema or "anyOf" in schema else schema


_LEFT_OUT = frozenset({"title", "maxLength", "maxItems"})
"""Bounds on text and lists are far beyond honest use; the gate names them to who exceeds them."""
_BEYOND_USE = 1_000


def _plain(schema: Schema, *, keep_defaults: bool) -> Schema:
    """One schema and everything inside it without titles, null arms and HTTP-only properties."""
    kept: Schema = {}
    for key, value in schema.items():
        if key in _LEFT_OUT or (key == "maximum" and value >= _BEYOND_USE):
            continue
        if key == "default" and (value in (None, "", []) or not keep_defaults):
            continue
        if key in ("properties", "$defs"):
            kept[key] = {
                name: _plain(inner, keep_defaults=keep_defaults)
                for name, inner in value.items()
                if not inner.get("http_only")
            }
        elif isinstance(value, dict):
            kept[key] = _plain(value, keep_defaults=keep_defaults)
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            kept[key] = [_plain(inner, keep_defaults=keep_defaults) for inner in value]
        else:
            kept[key] = value
    if "required" in kept:
        may_be_null = {name for name, inner in schema.get("properties", {}).items() if _takes_null(inner)}
        kept["required"] = [name for name in kept["required"] if name in kept["properties"] and name not in may_be_null]
    return _one_armed(kept)


def _takes_null(schema: Schema) -> bool:
    return {"type": "null"} in schema.get("anyOf", [])


def _one_armed(schema: Schema) -> Schema:
    """`X or null` becomes X; a decimal, which may be sent as text too, becomes a number."""
    if "anyOf" not in schema:
        return schema
    arms = [arm for arm in schema["anyOf"] if arm != {"type": "null"}]
    if {arm.get("type") for arm in arms} == {"number", "string"}:
        arms = [arm for arm in arms if arm["type"] == "number"]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**arms[0], **rest} if len(arms) == 1 else {**rest, "anyOf": arms}


def _inlined(schema: Schema) -> Schema:
    """Definitions used once, or shorter than the reference to them, written where they are used."""
    shared: Schema = schema.pop("$defs", {})
    for _ in range(len(shared)):
        text = json.dumps([schema, shared], separators=(",", ":"))
        chosen = next((name for name, inner in shared.items() if _shorter_in_place(name, inner, text)), None)
        if chosen is None:
            break
        body = shared.pop(chosen)
        schema, shared = _replaced([schema, shared], f"#/$defs/{chosen}", body)
    return {**schema, "$defs": shared} if shared else schema


def _shorter_in_place(name: str, body: Schema, text: str) -> bool:
    reference = f'"$ref":"#/$defs/{name}"'
    uses = text.count(reference)
    written = json.dumps(body, separators=(",", ":"))
    refers_to_itself = reference in written
    return not refers_to_itself and uses * (len(written) - len(reference) - 2) <= len(written) + len(name) + 4


def _replaced(node: Any, reference: str, body: Schema) -> Any:
    if isinstance(node, list):
        return [_replaced(inner, reference, body) for inner in node]
    if not isinstance(node, dict):
        return node
    rest = {key: _replaced(inner, reference, body) for key, inner in node.items()}
    if rest.get("$ref") == reference:
        del rest["$ref"]
        return {**body, **rest}
    return rest
