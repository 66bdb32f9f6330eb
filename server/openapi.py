"""OpenAPI 3.1 of the HTTP door, generated from the registry."""

from __future__ import annotations

import re
from typing import Any

from pydantic.json_schema import models_json_schema

from server.rest import PREFIX
from tools.capability import Capability, capabilities

Schema = dict[str, Any]

_ENVELOPE: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details", "trace_id"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object"},
                "trace_id": {"type": "string"},
            },
        }
    },
}


def document(version: str) -> Schema:
    """The whole document."""
    offered = [item for item in capabilities().values() if "http" in item.doors]
    schemas = _schemas(offered)
    paths: Schema = {"/health": {"get": _health()}}
    for item in offered:
        for position, route in enumerate(item.routes):
            method, path = route.split(" ", 1)
            operation = _operation(item, method, path, schemas)
            operation["operationId"] = item.name if position == 0 else f"{item.name}_{position}"
            paths.setdefault(PREFIX + path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "GPUBroker", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": {**dict(sorted(schemas.items())), "Error": _ENVELOPE}},
    }


def _schemas(offered: list[Capability[Any, Any]]) -> Schema:
    models: list[Any] = [(item.request, "validation") for item in offered]
    models += [(item.result, "serialization") for item in offered]
    _, found = models_json_schema(models, by_alias=False, ref_template="#/components/schemas/{model}")
    schemas: Schema = found.get("$defs", {})
    for schema in schemas.values():
        # Results leave out what is not known, so what may be null need not be there.
        optional = {
            name for name, inner in schema.get("properties", {}).items() if {"type": "null"} in inner.get("anyOf", [])
        }
        if "required" in schema:
            schema["required"] = [name for name in schema["required"] if name not in optional]
    return schemas


def _operation(item: Capability[Any, Any], method: str, path: str, schemas: Schema) -> Schema:
    operation: Schema = {
        "summary": item.summary,
        "tags": [item.toolset],
        "responses": {
            "200": _json("The answer.", {"$ref": f"#/components/schemas/{item.result.__name__}"}),
            "default": _json("A typed error that says what to do.", {"$ref": "#/components/schemas/Error"}),
        },
    }
    request: Schema = schemas[item.request.__name__]
    in_path = re.findall(r"{(\w+)}", path)
    parameters = [_parameter(name, "path", request, required=True) for name in in_path]
    if method == "GET":
        parameters += [
            _parameter(name, "query", request, required=name in request.get("required", []))
            for name in request.get("properties", {})
            if name not in in_path
        ]
    else:
        operation["requestBody"] = {
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{item.request.__name__}"}}}
        }
    if parameters:
        operation["parameters"] = parameters
    return operation


def _parameter(name: str, place: str, request: Schema, *, required: bool) -> Schema:
    schema = dict(request["properties"][name])
    described = {"description": schema.pop("description")} if "description" in schema else {}
    return {"name": name, "in": place, "required": required, **described, "schema": schema}


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _health() -> Schema:
    return {
        "operationId": "health",
        "summary": "Whether the server and its providers are well, from memory.",
        "responses": {"200": _json("The state.", {"type": "object"})},
    }
