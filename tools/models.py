"""Models people name, and the shape that decides their memory; an unknown one is shaped from the size in its name.

Figures: the published configuration of each model (litgpt `config.py` at 26857050; DeepSeek from its `config.json`).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
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


_GAP = r"[\s_/.:-]"
# A shorter name inside the name of another model: `deepseek-r1-distill-llama-8b` is a Llama of 8B.
_ANOTHER = rf"(?!{_GAP}*(?:distill|mini|small|medium|large|moe|vision|coder|vl\b))"


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], KnownModel], ...]:
    named = [(alias.lower(), model) for model in known_models() for alias in (*model.aliases, model.name)]
    return tuple((_spelled(alias), model) for alias, model in sorted(named, key=lambda pair: -len(pair[0])))


def _spelled(alias: str) -> re.Pattern[str]:
    """An alias with any separators, or none, between its words; two numbers never run together.

    `qwen3-4b` is not found inside `qwen3-4bit`, nor `llama-3-8b` inside `llama-3-80b`.
    """
    parts = [part for word in re.split(r"[\s/.-]", alias) for part in re.findall(r"^[a-z]+|\d.*", word)]
    pattern = re.escape(parts[0])
    for before, part in pairwise(parts):
        apart = before[0].isdigit() and part[0].isdigit()
        pattern += (_GAP + ("+" if apart else "*")) + re.escape(part)
    return re.compile(rf"(?<![a-z0-9]){pattern}(?![a-z0-9]|\.\d){_ANOTHER}")


def named_in(text: str) -> KnownModel | None:
    """The known model a text names, the most specific first."""
    lowered = text.lower()
    return next((model for pattern, model in _patterns() if pattern.search(lowered)), None)


_RESIDENT = (
    ("SDXL", r"\bsd[\s-]?xl\b|stable[\s-]diffusion[\s-]xl"),
    ("SD 1.5", r"\bsd[\s-]?v?1\.[45]\b|stable[\s-]diffusion[\s-]v?1\.[45]"),
    ("FLUX.1", r"\bflux\b"),
    ("Wan 2.1", r"\bwan[\s-]?2"),
    ("HunyuanVideo", r"hunyuan"),
    ("Whisper", r"\bwhisper"),
)


def resident_in(text: str) -> str | None:
    """The image, video or speech model a text names, whose memory is known as a whole."""
    lowered = text.lower()
    return next((name for name, pattern in _RESIDENT if re.search(pattern, lowered)), None)


_SIZE = re.compile(
    r"(?<![\w.$€£])(?:(\d{1,2})\s?[x×]\s?)?(\d{1,5}(?:\.\d{1,2})?)\s?"
    r"(billion\b|million\b|trillion\b|[bm](?!\w)|t(?=\s+(?:param|model)|$))"
    r"(?:[\s_-]?a(\d{1,3})b\b)?"
    r"(?!\s+(?:[a-z]+\s+)?(?:tokens?|examples?|samples?|rows?|images?|documents?|docs?|requests?|prompts?|pages?))",
    re.I,
)
_IN_BILLIONS = {"b": 1.0, "m": 1e-3, "t": 1e3}
_ACTIVE_EXPERTS = 2
_SHARED_ONCE = 0.85
"""Experts of a mixture share their attention: 8x7B is 46.7B, not 56B."""


def size_in(text: str) -> tuple[float, float | None] | None:
    """Parameters and active parameters, in thousand millions, as written in a name (`70B`, `8x7B`, `30B-A3B`)."""
    for match in _SIZE.finditer(text.replace("-", " ")):
        experts, number, unit, active = match.groups()
        each = round(float(number) * _IN_BILLIONS[unit[0].lower()], 6)
        size = each * int(experts) * _SHARED_ONCE if experts and int(experts) > _ACTIVE_EXPERTS else each
        if size < 0.01:
            continue
        if active and 0 < float(active) < size:
            return size, float(active)
        return size, each * _ACTIVE_EXPERTS if size > each else None
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
