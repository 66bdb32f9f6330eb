"""The pages under docs/ that are generated from the code; `make docs` writes them, a test holds them to it.

`docs/contract/` is what clients may rely on: it grows by itself, and shrinks only with a new major version.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from market import errors
from market.settings import Settings
from server import mcp_tools
from server.app import providers
from server.compact_schema import result_schema
from server.contract import allowed_to_narrow, narrowings
from server.usage import SUMMARIES
from tools.capability import capabilities

REFERENCE = Path("docs/reference.md")
CONTRACT = Path("docs/contract")
OFFERED = mcp_tools.Offered(read_only=False, toolsets=None)


def reference() -> str:
    """Tools with their arguments, HTTP routes, settings, commands, errors and providers, as one Markdown page."""
    parts = [
        "# Reference\n\nGenerated from the code by `make docs`; edit the code, not this page.\n",
        "## Tools\n",
        *_tools(),
        "## HTTP routes\n",
        _table(("route", "tool"), _routes()),
        "## Settings\n",
        _table(("variable", "default", "meaning"), _settings()),
        "## Commands\n",
        _table(("command", "does"), _commands()),
        "## Errors\n",
        "Every error at every door has a code, a message, what to do next, and whether a retry may help.\n",
        _table(("code", "HTTP", "retry", "when"), _errors()),
        "## Providers\n",
        _table(("provider", "name", "source", "asked every", "secrets"), _providers()),
    ]
    return "\n".join(parts)


def _tools() -> Iterator[str]:
    for tool in sorted(mcp_tools.listing(OFFERED), key=lambda tool: str(tool.name)):
        yield f"### `{tool.name}`\n\n{tool.description}\n"
        schema: dict[str, Any] = tool.input_schema
        required = set(schema.get("required", []))
        yield _table(
            ("argument", "type", "meaning"),
            (
                (f"`{name}`" + (" (required)" if name in required else ""), _type(one), one.get("description", ""))
                for name, one in schema.get("properties", {}).items()
            ),
        )


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " / ".join(str(choice) for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "object"))


def _routes() -> Iterator[tuple[str, ...]]:
    for item in sorted(capabilities().values(), key=lambda item: item.name):
        if "http" in item.doors:
            for route in item.routes:
                method, path = route.split(" ", 1)
                yield f"`{method} /api/v2{path}`", f"`{item.name}`"


def _settings() -> Iterator[tuple[str, ...]]:
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory is not None or field.default in (None, "") else f"`{field.default}`"
        yield f"`GPUBROKER_{name.upper()}`", default, field.description or ""


def _commands() -> Iterator[tuple[str, ...]]:
    for name, summary in SUMMARIES.items():
        yield f"`gpubroker {name}`", summary


def _errors() -> Iterator[tuple[str, ...]]:
    for kind in _tree(errors.BrokerError):
        yield f"`{kind.code}`", str(kind.status), "yes" if kind.retryable else "no", (kind.__doc__ or "").split("\n")[0]


def _tree(kind: type[errors.BrokerError]) -> Iterator[type[errors.BrokerError]]:
    """The errors callers see; those a module keeps to itself depend on what was imported before."""
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _tree(child)


def _providers() -> Iterator[tuple[str, ...]]:
    for name, adapter in providers()[0].items():
        source = adapter.price_source if adapter.has_api() else "published table"
        every = f"{adapter.interval.total_seconds() / 60:g} min"
        yield f"`{name}`", adapter.title, source, every, ", ".join(f"`{secret}`" for secret in adapter.secrets)


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return (
        "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
        )
        + "\n"
    )


def version() -> str:
    """The version in this tree's project file."""
    project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def contracts() -> dict[str, Any]:
    """What clients of this major version may rely on: `openapi.json` and `tools.json` as the code has them.

    What a tool gives stands here in full: the outline that `tools/list` publishes gets shorter as tools are added.
    """
    from server.openapi import document

    return {
        "openapi.json": document(version().partition(".")[0]),
        "tools.json": {"tools": [_promised(tool) for tool in sorted(mcp_tools.listing(OFFERED), key=_name)]},
    }


def _name(tool: Any) -> str:
    return str(tool.name)


def _promised(tool: Any) -> dict[str, Any]:
    full = capabilities()[tool.name].result.model_json_schema(by_alias=False, mode="serialization")
    listed = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**listed, "outputSchema": result_schema(full, limit=sys.maxsize)}


def written(value: Any) -> str:
    """A contract as the file has it."""
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def taken_away(root: Path, current: dict[str, Any]) -> list[str]:
    """What the code takes away of what the files under `root` promise; nothing, when the major version is new."""
    files = {name: root / CONTRACT / name for name in current}
    released = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}
    if "openapi.json" in released and allowed_to_narrow(released["openapi.json"], version()):
        return []
    return [loss for name, promised in released.items() for loss in narrowings(promised, current[name])]


def main(root: Path = Path()) -> int:
    """Write every generated page; exit code 1, and the contract left as it was, when it would take something away."""
    pages = {REFERENCE: reference()}
    current = contracts()
    lost = taken_away(root, current)
    if not lost:
        pages |= {CONTRACT / name: written(value) for name, value in current.items()}
    for page, text in pages.items():
        (root / page).parent.mkdir(parents=True, exist_ok=True)
        (root / page).write_text(text, encoding="utf-8")
        print(f"wrote {page}")
    for loss in lost:
        print(f"refused: {loss}", file=sys.stderr)
    if lost:
        print(f"{CONTRACT} stays as it was: that needs a new major version.", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
