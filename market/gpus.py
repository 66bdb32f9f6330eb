"""The cards we know and which of them a provider means: canonical names, facts, and the reading of raw names.

A name is looked up as the provider spells it, then as any provider spells it, then taken apart; a card that is not
recognised stays unknown. Where the family is certain and the form is not, the answer is the family's generic card
(`H100`, `A100-80GB`), whose figures are the lowest of its forms.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from market.gpu_names import Reading, compact, form_in, read_name, without_count, words

_TOLERANCE = 0.07
_SLICE_BELOW = 0.55
_LEAST_GB = 0.25
_SHARES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One card. Compute figures are dense; a figure nobody published is None; `sparse_factor` times dense is sparse."""

    name: str
    vendor: str
    family: str
    memory_gb: float | None
    memory_options: tuple[float, ...]
    reported_range: bool = False
    form_factor: str | None = None
    cpu_arch: str | None = None
    architecture: str | None = None
    compute_capability: str | None = None
    consumer: bool = False
    group: str = "listed"
    fp32_tflops: float | None = None
    tf32_tflops: float | None = None
    bf16_tflops: float | None = None
    fp16_tflops: float | None = None
    fp8_tflops: float | None = None
    int8_tops: float | None = None
    memory_bandwidth_gbps: float | None = None
    tdp_watts: float | None = None
    sparse_factor: float | None = None
    specs_source: str | None = None

    @property
    def generic(self) -> bool:
        """Whether this stands for a family whose form or memory was not stated."""
        return self.group == "generic"

    def fits(self, memory_gb: float) -> bool:
        """Whether a reported memory is within 7 % of a size this card is sold with."""
        if self.reported_range:
            low, high = min(self.memory_options), max(self.memory_options)
            return low * (1 - _TOLERANCE) <= memory_gb <= high * (1 + _TOLERANCE)
        return any(abs(memory_gb - size) / size < _TOLERANCE for size in self.memory_options)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a raw name turned out to be; `gpu` None means unknown, `fraction` below 1 a slice of the card."""

    gpu: Gpu | None
    memory_gb: float | None
    count: int | None
    fraction: float
    form_factor: str | None
    cpu_arch: str | None


@dataclass(frozen=True, slots=True)
class _Alias:
    canonical: str
    memory_gb: float | None
    form_factor: str | None


_OPTIONAL = ("form_factor", "cpu_arch", "architecture", "compute_capability", "specs_source")
_NUMBERS = ("fp32_tflops", "tf32_tflops", "bf16_tflops", "fp16_tflops", "fp8_tflops", "int8_tops",
            "memory_bandwidth_gbps", "tdp_watts", "sparse_factor")  # fmt: skip

# One short name, several cards: the memory alone tells them apart.
_BY_MEMORY = {
    "rtx6000": ("Quadro-RTX-6000", "RTX-6000-Ada", "RTX-PRO-6000"),
    "rtx5000": ("Quadro-RTX-5000", "RTX-5000-Ada"),
    "rtx4000": ("Quadro-RTX-4000", "RTX-4000-Ada"),
}
_EDITIONS = (
    (("maxq", "mq", "pro6000mq"), "RTX-PRO-6000-MaxQ"),
    (("server", "se", "s", "pro6000se", "pro6000s"), "RTX-PRO-6000-Server"),
    (("workstation", "wk", "ws", "we", "pro6000we"), "RTX-PRO-6000-Workstation"),
)
_OTHER_CARD = frozenset({"ti", "super", "s", "d", "ada", "pro", "laptop", "mobile", "max", "maxq"})
_PORTABLE = frozenset({"laptop", "mobile"})
_WHEN_FORM_UNSAID = {"H200": "H200-SXM", "A800": "A800"}
_PROVIDERS = {
    "awsec2": "aws", "awssagemaker": "aws", "sagemaker": "aws", "ec2": "aws", "azureml": "azure",
    "gcpvertex": "gcp", "googlecompute": "gcp",
    "vertexai": "gcp", "vertex": "gcp", "googlevertex": "gcp", "google": "gcp", "oracleoci": "oracle", "oci": "oracle",
    "lambdalabs": "lambda", "lambdacloud": "lambda", "massedcompute": "massed", "jarvislabs": "jarvis",
    "sfcompute": "sfc", "vastai": "vast", "primeintellect": "prime", "datacrunch": "verda", "togetherai": "together",
    "fireworksai": "fireworks", "cudocompute": "cudo", "crusoecloud": "crusoe", "dstack": "gpuhunt",
}  # fmt: skip


@cache
def catalogue() -> dict[str, Gpu]:
    """Every card by canonical name, the generic ones among them; read once."""
    text = files("market").joinpath("gpus.csv").read_text(encoding="utf-8")
    return {row["name"]: _gpu(row) for row in csv.DictReader(text.splitlines())}


def _gpu(row: dict[str, str]) -> Gpu:
    options = tuple(float(size) for size in row["memory_gb"].split(";") if size)
    settled = len(options) == 1 or row["reported_range"] == "yes" or row["name"] == "RTX-A2000-6GB"
    facts: dict[str, Any] = {name: row[name] or None for name in _OPTIONAL}
    facts |= {name: float(row[name]) if row[name] else None for name in _NUMBERS}
    return Gpu(
        name=row["name"],
        vendor=row["vendor"],
        family=row["family"],
        group=row["group"],
        memory_gb=options[0] if settled and options else None,
        memory_options=options,
        reported_range=row["reported_range"] == "yes",
        consumer=row["consumer"] == "yes",
        **facts,
    )


@cache
def _families() -> dict[str, tuple[Gpu, ...]]:
    grouped: dict[str, tuple[Gpu, ...]] = {}
    for gpu in catalogue().values():
        grouped[gpu.family] = (*grouped.get(gpu.family, ()), gpu)
    return grouped


@cache
def _canonical_keys() -> dict[str, Gpu]:
    return {compact(name): gpu for name, gpu in catalogue().items()}


@cache
def _aliases() -> tuple[dict[tuple[str, str], tuple[_Alias, ...]], dict[str, Gpu]]:
    """Aliases by (provider, spelling), and by spelling alone where no other card shares it and nothing is left open."""
    text = files("market").joinpath("gpu_aliases.csv").read_text(encoding="utf-8")
    by_provider: dict[tuple[str, str], tuple[_Alias, ...]] = {}
    anywhere: dict[str, set[str]] = {}
    for row in csv.DictReader(text.splitlines()):
        alias = _Alias(
            row["canonical"], float(row["memory_gb"]) if row["memory_gb"] else None, row["form_factor"] or None
        )
        key = compact(row["raw"])
        by_provider[row["provider"], key] = (*by_provider.get((row["provider"], key), ()), alias)
        if row["provider"] != "*":
            anywhere.setdefault(key, set()).add(row["canonical"])
    single = {key: catalogue()[next(iter(names))] for key, names in anywhere.items() if len(names) == 1}
    return by_provider, {key: gpu for key, gpu in single.items() if key not in _BY_MEMORY and not _is_split(gpu.family)}


def _is_split(family: str) -> bool:
    return sum(not gpu.generic for gpu in _families()[family]) > 1 or any(gpu.generic for gpu in _families()[family])


@cache
def _spellings() -> dict[str, str]:
    """Compact spelling to family, or to one of the short names that only memory tells apart."""
    found = {key: key for key in _BY_MEMORY}
    for family in _families():
        key = compact(family)
        found[key] = family
        for prefix, short in (("rtxpro", "pro"), ("rtxa", "a"), ("rtx", ""), ("quadrortx", "qrtx"), ("quadro", "")):
            if key.startswith(prefix):
                found.setdefault(short + key.removeprefix(prefix), family)
                break
    return found | {key: alias[0].canonical for (home, key), alias in _aliases()[0].items() if home == "*"}


def identify(
    raw: str, *, provider: str | None = None, memory_gb: float | None = None, form_factor: str | None = None
) -> Sighting:
    """Which card a provider means by `raw`, given what it says of memory (GB of one GPU) and form."""
    return _identify(raw, provider, memory_gb, form_factor)


@lru_cache(maxsize=65_536)
def _identify(raw: str, provider: str | None, memory_gb: float | None, form: str | None) -> Sighting:
    reported = float(memory_gb) if memory_gb is not None and _LEAST_GB <= memory_gb < 1_000_000 else None
    reading = read_name(raw)
    stated = form_in(form)
    gpu = _recognise(raw, reading, provider, reported, stated)
    settled_form = (gpu.form_factor if gpu else None) or reading.form_factor or stated
    if gpu is None:
        guess = reported or reading.slice_memory_gb or (reading.memory_gb[0] if reading.memory_gb else None)
        return Sighting(None, round(guess, 1) if guess else None, reading.count, reading.part, settled_form, None)
    fraction, memory, count = _share(gpu, reading, reported)
    return Sighting(gpu, memory, count, fraction, settled_form, gpu.cpu_arch)


def _recognise(
    raw: str, reading: Reading, provider: str | None, reported: float | None, stated: str | None
) -> Gpu | None:
    memory = reading.measured(reported)
    form = reading.form_factor or stated
    key = compact(raw[:200])
    stripped = compact("".join(reading.words)) if reading.count else key
    by_provider, anywhere = _aliases()
    if provider:
        home = compact(provider)
        home = _PROVIDERS.get(home, home)
        for spelling in dict.fromkeys((key, stripped, without_count(raw), compact("".join(words(raw[:200]))))):
            aliases = by_provider.get((home, spelling))
            hit = _choose(aliases, memory, stated or reading.form_factor) if aliases else None
            if hit:
                return hit
    exact = _canonical_keys().get(key) or anywhere.get(key)
    if exact and not (exact.generic and (memory or form)):
        return exact
    found = _spelled(reading.words)
    return _settle(found, reading, memory, form) if found else None


def _choose(aliases: tuple[_Alias, ...], memory: float | None, form: str | None) -> Gpu | None:
    """The alias whose conditions hold; an alias that contradicts what is measured does not count."""
    for alias in sorted(aliases, key=lambda each: (each.memory_gb is None, each.form_factor is None)):
        gpu = catalogue()[alias.canonical]
        if alias.memory_gb is not None and (memory is None or not gpu.fits(memory)):
            continue
        if alias.form_factor and (form is None or not _same_form(alias.form_factor, form)):
            continue
        if _is_split(gpu.family):
            if memory is not None and not gpu.fits(memory) and memory > min(gpu.memory_options) * _SLICE_BELOW:
                continue
            if form and gpu.form_factor and not _same_form(gpu.form_factor, form):
                continue
        return gpu
    return None


def _same_form(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one) or {one, other} == {"NVL", "PCIe"}


def _spelled(spoken: tuple[str, ...]) -> str | None:
    """The family whose spelling is the longest run of words; None when two differ or a word names another card."""
    table, best, runs = _spellings(), "", set[str]()
    leftover: tuple[str, ...] = ()
    for start in range(len(spoken)):
        for end in range(start + 1, min(start + 5, len(spoken)) + 1):
            key = "".join(spoken[start:end])
            family = table.get(key)
            if family is None or len(key) < len(best):
                continue
            runs = {family} if len(key) > len(best) else runs | {family}
            best, leftover = key, (*spoken[:start], *spoken[end:])
    if len(runs) != 1:
        return None
    family = runs.pop()
    if family == "RTX-PRO-6000":
        return None if _PORTABLE & set(leftover) or "a6000" in leftover else family
    precise = family.startswith(("RTX", "rtx", "Quadro"))
    return None if (_OTHER_CARD if precise else _PORTABLE) & set(leftover) else family


def _settle(family: str, reading: Reading, memory: float | None, form: str | None) -> Gpu | None:
    """One card of the family when memory, form or edition leave only one; else its generic card."""
    if family in _BY_MEMORY:
        fitting = [catalogue()[name] for name in _BY_MEMORY[family] if memory and catalogue()[name].fits(memory)]
        return fitting[0] if len(fitting) == 1 else None
    if family == "RTX-PRO-6000":
        spoken = set(reading.words) | ({"maxq"} if {"max", "q"} <= set(reading.words) else set())
        for marks, name in _EDITIONS:
            if spoken & set(marks):
                return catalogue()[name]
    cards = _families().get(family) or (catalogue()[family],)
    real = [gpu for gpu in cards if not gpu.generic]
    if len(real) == 1 and len(cards) == 1:
        return real[0]
    if form is None and family in _WHEN_FORM_UNSAID:
        return catalogue()[_WHEN_FORM_UNSAID[family]]
    if form:
        exact = [gpu for gpu in real if gpu.form_factor and gpu.form_factor.startswith(form[:3])]
        real = exact or [gpu for gpu in real if form == "PCIe" and gpu.form_factor == "NVL"]
    if memory:
        real = [gpu for gpu in real if gpu.fits(memory)]
    return real[0] if len(real) == 1 else _generic(cards, memory)


def _generic(cards: Iterable[Gpu], memory: float | None) -> Gpu | None:
    """The generic card that says the most: one size when the memory fits it, else the whole family."""
    generic = sorted((gpu for gpu in cards if gpu.generic), key=lambda gpu: len(gpu.memory_options))
    sized = [gpu for gpu in generic if memory and gpu.fits(memory)]
    return sized[0] if sized else (generic[-1] if generic else None)


def _share(gpu: Gpu, reading: Reading, reported: float | None) -> tuple[float, float | None, int | None]:
    """(fraction of the card, memory of one GPU or of the slice, count) from the name and the reported memory."""
    count = reading.count
    whole = max(gpu.memory_options, default=None)
    if reading.slice_of_seven:
        memory = reading.slice_memory_gb or reported
        return (memory / whole if memory and whole and memory < whole else reading.part), memory, count
    if whole and reading.total_memory_gb:
        if reading.total_memory_gb >= whole * (1 - _TOLERANCE):
            return 1.0, _nominal(gpu, reported, reading), count or _how_many(gpu, reading.total_memory_gb)
        reported = reported or reading.total_memory_gb
    if whole and reported and not gpu.consumer and reported <= min(gpu.memory_options) * _SLICE_BELOW:
        ratio = whole / reported
        return 1 / min(_SHARES, key=lambda share: abs(share - ratio)), round(reported, 1), count
    return 1.0, _nominal(gpu, reported, reading), count


def _how_many(gpu: Gpu, total_gb: float) -> int:
    """The number of cards in a total, by the size that divides it best."""
    ratios = [total_gb / size for size in sorted(gpu.memory_options, reverse=True)]
    best = min(ratios, key=lambda ratio: round(abs(ratio - round(ratio)) / ratio, 2))
    return max(1, int(best + _TOLERANCE))


def _nominal(gpu: Gpu, reported: float | None, reading: Reading) -> float | None:
    """Memory of one GPU: the reported figure snapped to a size of the card, kept as it is for modded cards."""
    oversized = gpu.cpu_arch == "arm64" and reported and not gpu.fits(reported)
    if reported and not oversized:
        return _snap(gpu, reported)
    for named in reading.memory_gb:
        for figure in (named, named / (reading.count or 1)):
            if gpu.fits(figure) or (gpu.consumer and gpu.fits(figure / 2)):
                return _snap(gpu, figure)
    return gpu.memory_gb


def _snap(gpu: Gpu, figure: float) -> float:
    if gpu.reported_range:
        return round(figure, 1)
    near = [size for size in gpu.memory_options if abs(figure - size) / size < _TOLERANCE]
    return min(near, key=lambda size: abs(size - figure)) if near else float(round(figure)) or round(figure, 1)


def matching(text: str) -> frozenset[str]:
    """The canonical names a person means: `h100` every H100, `a100 80gb` those of 80 GB, `4090`; empty for none.

    A name matches where the text stands in it, blanks and case aside, but `a10` is not found in A100 nor `b200` in
    GB200 while a better reading exists.
    """
    reading = read_name(text)
    wanted = compact("".join(reading.words))
    fitting = [gpu for gpu in catalogue().values() if _wanted(gpu, reading)]
    if wanted in _BY_MEMORY:
        families = {catalogue()[name].family for name in _BY_MEMORY[wanted]}
        return frozenset(gpu.name for gpu in fitting if gpu.family in families)
    if not wanted:
        return frozenset(gpu.name for gpu in fitting if reading.memory_gb or reading.form_factor)
    for needle, cards in ((wanted, fitting), (compact("".join(words(text))), catalogue().values())):
        at = re.compile(rf"(?:^|[-.]|(?<=[A-Za-z])(?=\d)){_loosely(needle)}(?!\d)", re.IGNORECASE)
        found = frozenset(gpu.name for gpu in cards if at.search(gpu.name))
        if found:
            return found
    seen = identify(text).gpu
    if seen:
        return frozenset({seen.name})
    return frozenset(gpu.name for gpu in fitting if len(wanted) > 1 and wanted in compact(gpu.name))


def _loosely(needle: str) -> str:
    return "-?".join(re.escape(letter) for letter in needle)


def _wanted(gpu: Gpu, reading: Reading) -> bool:
    """Whether a card has the memory and form asked for; a generic card gives way to one of that size."""
    if reading.memory_gb and not gpu.fits(reading.memory_gb[0]):
        return False
    if reading.memory_gb and gpu.generic and _generic(_families()[gpu.family], reading.memory_gb[0]) is not gpu:
        return False
    form = reading.form_factor
    return not form or bool(gpu.form_factor and gpu.form_factor.startswith(form[:3]))


def nearest(text: str, limit: int = 3) -> list[str]:
    """The closest canonical names, for an error message."""
    spelled = {compact(gpu.family): gpu.name for gpu in catalogue().values()} | _canonical_names()
    spelled |= {key: name for key, name in _spellings().items() if name in catalogue()}
    close = difflib.get_close_matches(compact(text[:80]), spelled, n=limit * 3, cutoff=0.5)
    return list(dict.fromkeys(spelled[key] for key in close))[:limit]


def _canonical_names() -> dict[str, str]:
    return {key: gpu.name for key, gpu in _canonical_keys().items()}
