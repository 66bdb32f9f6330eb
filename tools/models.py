"""Models people name, and the shape that decides their memory; an unknown one is shaped from the size in its name.

Figures: the published configuration of each model (litgpt `config.py` at 26857050; DeepSeek from its `config.json`).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mathcore.sizing import ModelShape


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One row of the table: parameters in thousand millions, context in tokens."""

    name: str
    aliases: tuple[str, ...]
    parameters_b: float
    active_b: float | None
    layers: int
    hidden: int
    kv_heads: int
    head_dim: int
    latent_width: int | None
    context_tokens: int


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Every model of the table."""
    text = files("tools").joinpath("models.csv").read_text(encoding="utf-8")
    return tuple(
        KnownModel(
            name=row["name"],
            aliases=tuple(row["aliases"].split("|")),
            parameters_b=float(row["parameters_b"]),
            active_b=float(row["active_b"]) if row["active_b"] else None,
            layers=int(row["layers"]),
            hidden=int(row["hidden"]),
            kv_heads=int(row["kv_heads"]),
            head_dim=int(row["head_dim"]),
            latent_width=int(row["latent_width"]) if row["latent_width"] else None,
            context_tokens=int(row["context"]),
        )
        for row in csv.DictReader(text.splitlines())
    )


def _flat(text: str) -> str:
    return re.sub(r"[\s_/.:-]+", "", text.lower())


@cache
def _by_alias() -> tuple[tuple[str, KnownModel], ...]:
    named = [(_flat(alias), model) for model in known_models() for alias in (*model.aliases, model.name)]
    return tuple(sorted(named, key=lambda pair: -len(pair[0])))


def named_in(text: str) -> KnownModel | None:
    """The known model a text names, the most specific first."""
    flat = _flat(text)
    for alias, model in _by_alias():
        at = flat.find(alias)
        # `qwen3-4b` must not be found inside `qwen3-4bit`, nor `llama-3-8b` inside `llama-3-8bit`.
        if at >= 0 and not flat[at + len(alias) :].startswith("it"):
            return model
    return None


_SIZE = re.compile(
    r"(?<![\w.])(?:(\d{1,2})\s?x\s?)?(\d{1,4}(?:\.\d{1,2})?)\s?([bm])(?!\w)(?:[\s_-]?a(\d{1,3})b\b)?", re.I
)


def size_in(text: str) -> tuple[float, float | None] | None:
    """Parameters and active parameters, in thousand millions, as written in a name (`70B`, `8x7B`, `30B-A3B`)."""
    for match in _SIZE.finditer(text.replace("-", " ")):
        experts, number, unit, active = match.groups()
        size = float(number) * (int(experts) * 0.85 if experts else 1.0)
        size = size if unit.lower() == "b" else size / 1000
        if 0.01 <= size <= 10_000:
            return size, float(active) if active else (float(number) * 2 if experts else None)
    return None


def shape_of(model: KnownModel) -> ModelShape:
    """The shape of a known model."""
    from mathcore.sizing import ModelShape

    return ModelShape(
        parameters=model.parameters_b * 1e9,
        layers=model.layers,
        hidden=model.hidden,
        kv_heads=model.kv_heads,
        head_dim=model.head_dim,
        active_parameters=model.active_b * 1e9 if model.active_b else None,
        latent_width=model.latent_width,
    )


def shape_from_size(parameters_b: float, active_b: float | None = None) -> ModelShape:
    """A plausible shape for a transformer of this size: the layers and width of the nearest known dense model."""
    from mathcore.sizing import ModelShape

    dense = [model for model in known_models() if model.active_b is None]
    like = min(dense, key=lambda model: abs(model.parameters_b / parameters_b - 1))
    return ModelShape(
        parameters=parameters_b * 1e9,
        layers=like.layers,
        hidden=like.hidden,
        kv_heads=like.kv_heads,
        head_dim=like.head_dim,
        active_parameters=active_b * 1e9 if active_b else None,
    )
