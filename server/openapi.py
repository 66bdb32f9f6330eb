"""OpenAPI 3.1 of the HTTP door, generated from the registry."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server.rest import PREFIX
from tools.capability import Capability, capabilities

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/"
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


_HEALTH: Schema = {
    "type": "object",
    "required": ["status", "version", "uptime_seconds", "catalogue", "providers", "timestamp"],
    "properties": {
        "status": {"type": "string", "enum": ["healthy", "degraded"]},
        "version": {"type": "string"},
        "uptime_seconds": {"type": "integer"},
        "catalogue": {"type": "object"},
        "providers": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["state", "offers", "confirmed_at", "stale"],
                "properties": {
                    "state": {"type": "string"},
                    "offers": {"type": "integer"},
                    "confirmed_at": {"type": ["string", "null"]},
                    "stale": {"type": "boolean"},
                },
            },
        },
        "timestamp": {"type": "string", "format": "date-time"},
    },
}


def document(version: str) -> Schema:
    """The whole document."""
    offered = [item for item in capabilities().values() if "http" in item.doors]
    names, schemas = _schemas(offered)
    paths: Schema = {"/health": {"get": _health()}}
    for item in offered:
        for position, route in enumerate(item.routes):
            method, path = route.split(" ", 1)
            operation = _operation(item, method, path, names, schemas)
            operation["operationId"] = item.name if position == 0 else f"{item.name}_{position}"
            paths.setdefault(PREFIX + path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GPUBroker",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": {**dict(sorted(schemas.items())), "Error": _ENVELOPE}},
    }


Names = dict[tuple[type[BaseModel], str], str]
"""The name of a model's schema: by what it is used for, since one used both ways has two."""


def _schemas(offered: list[Capability[Any, Any]]) -> tuple[Names, Schema]:
    models: list[Any] = [(item.request, "validation") for item in offered]
    models += [(item.result, "serialization") for item in offered]
    used, found = models_json_schema(models, by_alias=False, ref_template=_REFERENCE + "{model}")
    schemas: Schema = found.get("$defs", {})
    for schema in schemas.values():
        # Results leave out what is not known, so what may be null need not be there.
        optional = {
            name for name, inner in schema.get("properties", {}).items() if {"type": "null"} in inner.get("anyOf", [])
        }
        if "required" in schema:
            schema["required"] = [name for name in schema["required"] if name not in optional]
    names = {(model, mode): used[model, mode]["$ref"].removeprefix(_REFERENCE) for model, mode in models}
    return names, schemas


def _operation(item: Capability[Any, Any], method: str, path: str, names: Names, schemas: Schema) -> Schema:
    answer = {"$ref": _REFERENCE + names[item.result, "serialization"]}
    operation: Schema = {
        "summary": item.summary,
        "tags": [item.toolset],
        "responses": {
            "200": _json("The answer.", answer),
            "default": _json("A typed error that says what to do.", {"$ref": _REFERENCE + "Error"}),
        },
    }
    name = names[item.request, "validation"]
    request: Schema = schemas[name]
    in_path = re.findall(r"{(\w+)}", path)
    parameters = [_parameter(name, "path", request, required=True) for name in in_path]
    if method in ("POST", "PUT"):
        body = _without(request, in_path) if in_path else {"$ref": _REFERENCE + name}
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    else:
        parameters += [
            _parameter(name, "query", request, required=name in request.get("required", []))
            for name in request.get("properties", {})
            if name not in in_path
        ]
    if parameters:
        operation["parameters"] = parameters
    return operation


def _without(request: Schema, in_path: list[str]) -> Schema:
    """The request less what the path says."""
    properties = {name: schema for name, schema in request["properties"].items() if name not in in_path}
    required = [name for name in request.get("required", []) if name not in in_path]
    return {**request, "properties": properties, "required": required}


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
        "responses": {
            "200": _json("Questions can be answered.", _HEALTH),
            "503": _json("They cannot, and why.", {"$ref": _REFERENCE + "Error"}),
        },
    }
