"""Providers, one module each, found by listing this folder; one that cannot be imported is reported, never fatal."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.base import Adapter


@dataclass(frozen=True, slots=True)
class Broken:
    """A provider module that could not be imported, and why."""

    name: str
    reason: str


@cache
def discover() -> tuple[dict[str, type[Adapter]], tuple[Broken, ...]]:
    """Every provider of this folder by name, and the modules that failed to import.

    Raises TypeError when two modules claim one name: that is a mistake of ours, not of a provider.
    """
    from adapters.base import Adapter

    found: dict[str, type[Adapter]] = {}
    broken: list[Broken] = []
    for module_info in pkgutil.iter_modules(__path__):
        try:
            module = importlib.import_module(f"{__name__}.{module_info.name}")
        except Exception as problem:  # noqa: BLE001 - whatever a provider's module does wrong must stay its own problem
            broken.append(Broken(module_info.name, f"{type(problem).__name__}: {problem}"))
            continue
        for value in vars(module).values():
            if not (
                isinstance(value, type)
                and issubclass(value, Adapter)
                and value.__module__ == module.__name__
                and value.name
            ):
                continue
            if value.name in found:
                raise TypeError(f"two adapters are called {value.name!r}")
            found[value.name] = value
    return dict(sorted(found.items())), tuple(broken)
