"""The OpenAPI document of the simulated cloud."""

from __future__ import annotations

from typing import Any

from adapters.sandbox_cloud import REFUSALS
from adapters.sandbox_dial import ENDPOINTS, FAULTS

_TEXT, _NUMBER, _WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_AMOUNT = {"type": "string", "description": "A decimal number, exact."}
_MOMENT = {"type": ["string", "null"], "format": "date-time"}


def document() -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sandbox cloud",
            "version": "1",
            "description": "A simulated GPU cloud to practise on. Machines are not real, prices are invented. Paths "
            "that begin with `/_` are the operator's: faults, stock and time.",
        },
        "paths": {
            path: {method: _operation(*facts) for method, facts in methods.items()} for path, methods in _PATHS.items()
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Any token; each is an account."}
            },
        },
    }


def _operation(summary: str, answer: str, body: Any, parameters: tuple[str, ...]) -> dict[str, Any]:
    told: dict[str, Any] = {"summary": summary}
    if parameters:
        told["parameters"] = [_PARAMETERS[name] for name in parameters]
    if body is not None:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    success = (
        {"204": {"description": "Done."}}
        if not answer
        else {
            "200": {
                "description": "Done.",
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}},
            }
        }
    )
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    told["responses"] = {**success, "default": {"description": "Refused or failed.", "content": error}}
    if answer in ("Instance", "Instances", "Bill", "Account") or not answer:
        told["security"] = [{"token": []}]
    return told


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


_PRICING = {"type": "string", "enum": ["on_demand", "spot"]}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "id": {"name": "id", "in": "path", "required": True, "schema": _TEXT},
    "type": _query("type", _TEXT, required=True),
    "region": _query("region", _TEXT, required=True),
    "pricing": _query("pricing", _PRICING),
    "label": _query("label", _TEXT),
    "all": _query("all", {"type": "boolean", "description": "Ended machines too."}),
    "limit": _query("limit", {"type": "integer", "minimum": 1, "maximum": 200}),
    "cursor": _query("cursor", _TEXT),
}

_ORDER = {
    "type": "object",
    "required": ["label", "type", "region"],
    "additionalProperties": False,
    "properties": {
        "label": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9-]{0,62}$"},
        "type": _TEXT,
        "region": _TEXT,
        "pricing": _PRICING,
        "ends_at": {**_MOMENT, "description": "When the cloud ends the machine by itself."},
        "max_price_per_hour": {**_AMOUNT, "description": "A dearer machine is refused."},
        "image": _TEXT,
        "ssh_public_keys": {"type": "array", "items": _TEXT},
        "start_script": _TEXT,
        "environment": {"type": "object", "additionalProperties": _TEXT},
        "ports": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65_535}},
        "disk_gb": {"type": "number", "minimum": 0, "description": "Beyond the type's own disk; charged per GB-month."},
    },
}
_FAULT = _object(
    fault={"type": "string", "enum": list(FAULTS), "description": " ".join(f"{k}: {v}." for k, v in FAULTS.items())},
    value={"type": ["number", "string", "null"]},
    endpoint={"type": "string", "enum": list(ENDPOINTS)},
    probability={"type": "number", "minimum": 0, "maximum": 1},
    times={"type": ["integer", "null"], "minimum": 1},
)
_SCHEMAS: dict[str, Any] = {
    "Error": _object(error=_object(code={"type": "string", "examples": list(REFUSALS)}, message=_TEXT)),
    "Types": _object(types={"type": "array", "items": _ref("Type")}),
    "Type": _object(
        type=_TEXT,
        gpu=_TEXT,
        gpu_count=_WHOLE,
        gpu_memory_gb=_NUMBER,
        vcpus=_WHOLE,
        ram_gb=_WHOLE,
        storage_gb=_WHOLE,
        region=_TEXT,
        city=_TEXT,
        country=_TEXT,
        tags={"type": "array", "items": _TEXT},
        currency=_TEXT,
        price_per_hour=_object(on_demand=_AMOUNT, spot=_AMOUNT),
        free=_WHOLE,
        storage_price_per_gb_month=_AMOUNT,
        egress_price_per_gb=_AMOUNT,
    ),
    "Price": _object(price_per_hour=_AMOUNT, currency=_TEXT, free=_WHOLE),
    "Account": _object(account=_TEXT, enforces_end={"type": "boolean"}, gpu_quota=_WHOLE, gpus_in_use=_WHOLE),
    "Instance": _object(
        id=_TEXT,
        label=_TEXT,
        state={"type": "string", "enum": ["booting", "running", "stopped", "failed", "ended"]},
        end_reason={"enum": ["terminated", "interrupted", "reached_end", None]},
        type=_TEXT,
        region=_TEXT,
        pricing=_PRICING,
        price_per_hour=_AMOUNT,
        currency=_TEXT,
        created_at=_MOMENT,
        started_at=_MOMENT,
        ends_at=_MOMENT,
        ended_at=_MOMENT,
        image=_TEXT,
        disk_gb=_NUMBER,
        ssh={"anyOf": [_object(host=_TEXT, port=_WHOLE, user=_TEXT), {"type": "null"}]},
        ports={"type": "array", "items": _object(port=_WHOLE, address=_TEXT)},
    ),
    "Instances": _object(
        instances={"type": "array", "items": _ref("Instance")}, next_cursor={"type": ["string", "null"]}
    ),
    "Bill": _object(amount=_AMOUNT, currency=_TEXT, final={"type": "boolean"}, seconds=_WHOLE, disk_seconds=_WHOLE),
    "Anything": {"type": "object"},
}
_NAMED = _object(id=_TEXT)
_PATHS: dict[str, dict[str, tuple[str, str, Any, tuple[str, ...]]]] = {
    "/v1/types": {"get": ("Every type in every region, with prices and stock", "Types", None, ())},
    "/v1/price": {"get": ("Price and stock of one product now", "Price", None, ("type", "region", "pricing"))},
    "/v1/account": {"get": ("The account behind the token", "Account", None, ())},
    "/v1/instances": {
        "post": ("Order a machine", "Instance", _ORDER, ()),
        "get": ("The account's machines, oldest first", "Instances", None, ("label", "all", "limit", "cursor")),
    },
    "/v1/instances/{id}": {
        "get": ("One machine, also after its end", "Instance", None, ("id",)),
        "delete": ("End a machine for good", "", None, ("id",)),
    },
    "/v1/instances/{id}/bill": {"get": ("What a machine has cost so far", "Bill", None, ("id",))},
    "/v1/instances/{id}/extend": {"post": ("Move the end", "Instance", _object(ends_at=_MOMENT), ("id",))},
    "/v1/instances/{id}/stop": {"post": ("Halt a machine, keep its disk", "Instance", None, ("id",))},
    "/v1/instances/{id}/start": {"post": ("Boot a halted machine", "Instance", None, ("id",))},
    "/_dial": {
        "get": ("Operator: the faults in force", "Anything", None, ()),
        "post": (
            "Operator: set faults",
            "Anything",
            _object(clear={"type": "boolean"}, faults={"type": "array", "items": _FAULT}, script={"type": "object"}),
            (),
        ),
    },
    "/_stock": {
        "post": (
            "Operator: pin the stock of a product",
            "Anything",
            _object(type=_TEXT, region=_TEXT, free={"type": ["integer", "null"]}),
            (),
        )
    },
    "/_clock": {"post": ("Operator: let time pass", "Anything", _object(advance_seconds=_NUMBER), ())},
    "/_interrupt": {"post": ("Operator: take a machine back", "Anything", _NAMED, ())},
    "/_vanish": {"post": ("Operator: lose a machine", "Anything", _NAMED, ())},
    "/_state": {"get": ("Operator: every machine of every account", "Anything", None, ())},
}
