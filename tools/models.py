"""Models people name, and the shape that decides their memory; an unknown one is shaped from the size in its name.

Figures: the published configuration of each model (litgpt `config.py` at 26857050; DeepSeek from its `config.json`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mathcore.sizing import ModelShape


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One row of the table: its names, parameters in thousand millions, context in tokens; figures not known are None.

    `figures` are the others, by the names a shape has for them.
    """

    name: str
    aliases: tuple[str, ...]
    parameters_b: float
    active_b: float | None
    context_tokens: int
    figures: Mapping[str, int]


_NAMED = ("name", "aliases", "parameters_b", "active_b", "context")


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
            context_tokens=int(row["context"]),
            figures={name: int(value) for name, value in row.items() if value and name not in _NAMED},
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


@dataclass(frozen=True, slots=True)
class MediaModel:
    """An image, video or speech model: what it is for, and the published ways to run it by the bits of its weights."""

    name: str
    kind: Literal["image_generation", "video_generation", "speech"]
    pattern: str
    pipelines: Mapping[int, str]

    def nearest(self, bits: int) -> tuple[int, str]:
        """The published way of these bits, else of the next wider ones, else of the widest there are."""
        wider = [published for published in sorted(self.pipelines) if published >= bits]
        chosen = wider[0] if wider else max(self.pipelines)
        return chosen, self.pipelines[chosen]


_WHISPER = r"\bwhisper(?:[\s.-]?large)?(?:[\s.-]?v\d)?[\s.-]?"
MEDIA_MODELS = (
    MediaModel("SDXL", "image_generation", r"\bsd[\s-]?xl\b|stable[\s-]diffusion[\s-]xl", {16: "sdxl"}),
    MediaModel("SD 1.5", "image_generation", r"\b(?:sd|stable[\s-]diffusion)[\s-]?v?1\.[45]\b", {16: "sd-1.5"}),
    MediaModel("FLUX.1", "image_generation", r"\bflux\b", {16: "flux.1-offloaded", 8: "flux.1-fp8", 4: "flux.1-int4"}),
    MediaModel("Wan 2.1", "video_generation", r"\bwan[\s-]?2", {16: "wan-2.1-14b", 8: "wan-2.1-14b-fp8"}),
    MediaModel("HunyuanVideo", "video_generation", r"hunyuan", {16: "hunyuanvideo", 8: "hunyuanvideo-fp8"}),
    MediaModel("Faster Whisper", "speech", r"faster[\s-]?whisper",
               {16: "whisper-large-v3-faster", 8: "whisper-large-v3-int8"}),
    *(MediaModel(f"Whisper {size}", "speech", rf"{_WHISPER}{size}\b", {16: f"whisper-{size}"})
      for size in ("turbo", "tiny", "base", "small", "medium")),
    MediaModel("Whisper", "speech", r"\bwhisper", {16: "whisper-large", 8: "whisper-large-v3-int8"}),
)  # fmt: skip
ALL_RESIDENT = {"flux.1-offloaded": "flux.1"}
"""Ways that keep a part of the model outside the card, and the way that keeps nothing outside."""


def media_in(text: str) -> MediaModel | None:
    """The image, video or speech model a text names, whose memory is known as a whole."""
    lowered = text.lower()
    return next((model for model in MEDIA_MODELS if re.search(model.pattern, lowered)), None)


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

    active = model.active_b * 1e9 if model.active_b else None
    return ModelShape(parameters=model.parameters_b * 1e9, active_parameters=active, **model.figures)


def shape_from_size(parameters_b: float, active_b: float | None = None) -> ModelShape:
    """A plausible shape for a transformer of this size: the layers and width of the nearest known dense model."""
    from mathcore.sizing import ModelShape

    dense = [model for model in known_models() if model.active_b is None]
    like = min(dense, key=lambda model: abs(model.parameters_b / parameters_b - 1))
    return ModelShape(
        parameters=parameters_b * 1e9,
        active_parameters=active_b * 1e9 if active_b else None,
        **{name: like.figures[name] for name in ("layers", "hidden", "kv_heads", "head_dim")},
    )
