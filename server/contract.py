"""Compares two versions of a contract (`openapi.json`, `tools.json`): what clients may no longer send or get."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

Way = Literal["accepts", "gives"]
Schema = dict[str, Any]

_METHODS = frozenset({"get", "put", "post", "delete", "patch"})
_AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_DEEPEST = 12


def narrowings(old: Schema, new: Schema) -> list[str]:
    """What `new` takes away from those who rely on `old`; both OpenAPI documents, or both tool listings."""
    if "tools" in old:
        return list(_tools(old, new))
    return list(_paths(old, new))


def _tools(old: Schema, new: Schema) -> Iterator[str]:
    now = {tool["name"]: tool for tool in new["tools"]}
    for tool in old["tools"]:
        name = tool["name"]
        if name not in now:
            yield f"tool {name} is gone"
            continue
        for part, way in (("inputSchema", "accepts"), ("outputSchema", "gives")):
            before, after = _Side(tool.get(part, {}), {}), _Side(now[name].get(part, {}), {})
            yield from _compared(f"tool {name} {way}", before, after, "accepts" if way == "accepts" else "gives")


def _paths(old: Schema, new: Schema) -> Iterator[str]:
    for path, methods in old["paths"].items():
        for method, before in methods.items():
            if method not in _METHODS:
                continue
            after = new["paths"].get(path, {}).get(method)
            where = f"{method.upper()} {path}"
            if after is None:
                yield f"{where} is gone"
                continue
            yield from _parameters(where, before, after, old, new)
            yield from _bodies(where, before, after, old, new)


def _parameters(where: str, before: Schema, after: Schema, old: Schema, new: Schema) -> Iterator[str]:
    earlier = {(each["in"], each["name"]): each for each in before.get("parameters", [])}
    now = {(each["in"], each["name"]): each for each in after.get("parameters", [])}
    for key, one in earlier.items():
        if key not in now:
            yield f"{where}: parameter {key[1]} is gone"
            continue
        sides = _Side(one.get("schema", {}), old), _Side(now[key].get("schema", {}), new)
        yield from _compared(f"{where}: parameter {key[1]}", *sides, "accepts")
    for key, one in now.items():
        if one.get("required") and not earlier.get(key, {}).get("required"):
            yield f"{where}: parameter {key[1]} is now required"


def _bodies(where: str, before: Schema, after: Schema, old: Schema, new: Schema) -> Iterator[str]:
    if "requestBody" in before or "requestBody" in after:
        if "requestBody" not in before and after["requestBody"].get("required"):
            yield f"{where}: a body is now required"
        elif "requestBody" in before and "requestBody" not in after:
            yield f"{where}: the body is gone"
        elif "requestBody" in before:
            if after["requestBody"].get("required") and not before["requestBody"].get("required"):
                yield f"{where}: a body is now required"
            sides = _Side(_json(before["requestBody"]), old), _Side(_json(after["requestBody"]), new)
            yield from _compared(f"{where}: body", *sides, "accepts")
    for status, answer in before.get("responses", {}).items():
        if status not in after.get("responses", {}):
            yield f"{where}: answer {status} is gone"
            continue
        sides = _Side(_json(answer), old), _Side(_json(after["responses"][status]), new)
        yield from _compared(f"{where}: answer {status}", *sides, "gives")


def _json(holder: Schema) -> Schema:
    """The JSON schema of a body or an answer; an answer in no JSON has none to compare."""
    schema: Schema = holder.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


class _Side:
    """A schema and the document its references point into."""

    def __init__(self, schema: Schema, document: Schema) -> None:
        self.document = document if document else schema
        self.schema = schema

    def at(self, schema: Schema) -> _Side:
        """Another schema of the same document."""
        return _Side(schema, self.document)

    def branches(self) -> list[_Side]:
        """The alternatives, references followed; `[{}]` is anything at all."""
        schema = self.schema
        while "$ref" in schema:
            target: Any = self.document
            for step in schema["$ref"].removeprefix("#/").split("/"):
                target = target[step.replace("~1", "/").replace("~0", "~")]
            schema = target
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices:
            return [branch for choice in choices for branch in self.at(choice).branches()]
        if isinstance(schema.get("type"), list):
            return [self.at({**schema, "type": kind}) for kind in schema["type"]]
        return [self.at(schema)]


def _compared(where: str, old: _Side, new: _Side, way: Way, depth: int = 0) -> Iterator[str]:
    """`accepts`: all that was accepted still is. `gives`: nothing unforeseen is given, and nothing is missing."""
    if depth > _DEEPEST:
        return
    needed, offered = (old.branches(), new.branches()) if way == "accepts" else (new.branches(), old.branches())
    for branch in needed:
        losses = [
            list(_branch(where, *((branch, other) if way == "accepts" else (other, branch)), way, depth))
            for other in offered
        ]
        if losses and all(losses):
            yield from min(losses, key=len)


def _branch(where: str, old: _Side, new: _Side, way: Way, depth: int) -> Iterator[str]:
    before, after = old.schema, new.schema
    if not _kind_fits(before.get("type"), after.get("type"), way):
        yield f"{where}: type {before.get('type', 'any')} became {after.get('type', 'any')}"
        return
    if way == "accepts":
        yield from _choices(where, before, after)
        yield from _bounds(where, before, after)
    yield from _properties(where, old, new, way, depth)
    if "items" in before or "items" in after:
        sides = old.at(before.get("items", {})), new.at(after.get("items", {}))
        yield from _compared(f"{where}[]", *sides, way, depth + 1)


def _kind_fits(before: str | None, after: str | None, way: Way) -> bool:
    narrow, wide = (before, after) if way == "accepts" else (after, before)
    return wide is None or narrow == wide or (narrow, wide) == ("integer", "number")


def _choices(where: str, before: Schema, after: Schema) -> Iterator[str]:
    if "enum" not in after and "const" not in after:
        return
    allowed = after.get("enum", [after.get("const")])
    if "enum" not in before and "const" not in before:
        yield f"{where}: only {allowed} is accepted now"
        return
    for value in before.get("enum", [before.get("const")]):
        if value not in allowed:
            yield f"{where}: value {value!r} is no longer accepted"


def _bounds(where: str, before: Schema, after: Schema) -> Iterator[str]:
    for bound in (*_AT_MOST, *_AT_LEAST):
        if bound not in after or before.get(bound) == after[bound]:
            continue
        tighter = bound not in before or (
            after[bound] < before[bound] if bound in _AT_MOST else after[bound] > before[bound]
        )
        if tighter:
            yield f"{where}: {bound} {before.get(bound, 'none')} became {after[bound]}"
    if "pattern" in after and before.get("pattern") != after["pattern"]:
        yield f"{where}: the pattern changed"


def _properties(where: str, old: _Side, new: _Side, way: Way, depth: int) -> Iterator[str]:
    earlier, now = old.schema.get("properties", {}), new.schema.get("properties", {})
    for name, schema in earlier.items():
        if name in now:
            yield from _compared(f"{where}: {name}", old.at(schema), new.at(now[name]), way, depth + 1)
        else:
            yield f"{where}: {name} is gone"
    before, after = set(old.schema.get("required", [])), set(new.schema.get("required", []))
    if way == "accepts":
        yield from (f"{where}: {name} is now required" for name in sorted(after - before))
        if new.schema.get("additionalProperties") is False and old.schema.get("additionalProperties") is not False:
            yield f"{where}: other names are no longer accepted"
    else:
        yield from (f"{where}: {name} is no longer always there" for name in sorted((before - after) & set(now)))


def allowed_to_narrow(released: Schema, version: str) -> bool:
    """Whether the major number of `version` is above that of the released OpenAPI document."""
    return _major(version) > _major(released["info"]["version"])


def _major(version: str) -> int:
    return int(version.partition(".")[0])
