"""Where the house stands and what belongs to it: its folders, its modules, the files that are handed on."""

from __future__ import annotations

import ast
import os
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("server", "evals", "agents", "tools", "adapters", "prompts", "market", "mathcore")
SUB_FOLDERS = frozenset(
    {"server/launch", "server/pages", "market/migrations", "market/migrations/versions", "evals/cases"}
)


@cache
def project() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@cache
def handed_on() -> tuple[Path, ...]:
    """Every file a clone would have, new ones included, as git sees them."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = sorted(set(os.fsdecode(listing.stdout).split("\0")) - {""})
    return tuple(path for path in (ROOT / name for name in names) if path.is_file())


def modules(*folders: str) -> list[Path]:
    """Every Python module of these folders."""
    return [path for path in handed_on() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def shown(path: Path) -> str:
    """A path as a reader of the report wants it."""
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a tree, methods and nested ones included."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def runtime_distributions() -> frozenset[str]:
    """Normalised names of what an installation brings along: the dependencies, theirs, and so on."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in project()["project"]["dependencies"]]
    while waiting:
        requirement = waiting.pop()
        name = _normal(requirement.name)
        extras = requirement.extras or {""}
        if name in found or not any(
            requirement.marker is None or requirement.marker.evaluate({"extra": e}) for e in extras
        ):
            continue
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        waiting += [inner for inner in map(Requirement, requires) if _applies(inner, extras)]
    return frozenset(found)


def runtime_names() -> dict[str, set[str]]:
    """Top-level import names of what an installation brings along, and who owns each."""
    ours = runtime_distributions()
    owners = {name: {_normal(owner) for owner in found} & ours for name, found in packages_distributions().items()}
    return {name: found for name, found in owners.items() if found}


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras})


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
