"""How to read a GPU name: the count, memory, form and slice a provider packs into one string, and the words left.

Nothing here knows which cards exist; `market.gpus` decides that from what is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Reading:
    """What one raw name says. `memory_gb` lists every figure that may be the memory, in the order written."""

    words: tuple[str, ...]
    count: int | None = None
    memory_gb: tuple[float, ...] = ()
    total_memory_gb: float | None = None
    form_factor: str | None = None
    slice_of_seven: int | None = None
    slice_memory_gb: float | None = None

    @property
    def part(self) -> float:
        """The share of a card that a MIG profile names by its sevenths; 1 for a whole card."""
        return min(self.slice_of_seven, 7) / 7 if self.slice_of_seven else 1.0

    def measured(self, reported_gb: float | None) -> float | None:
        """The memory to choose a card by: the name's own figure, else the reported one; none for a slice."""
        if self.slice_of_seven or self.total_memory_gb:
            return self.memory_gb[0] if self.memory_gb else None
        if not self.memory_gb:
            return reported_gb
        first = self.memory_gb[0]
        return first / self.count if self.count and first > 300 else first


_MIG = re.compile(r"\bmig[ _-]?(\d)g(?:[._ -]?(\d{1,3})gb)?|\b(\d)g\.(\d{1,3})gb\b")
_HOST = re.compile(r"\d+c-\d+gb?(?=-)|\d+vcpu-\d+gb")
_TOTAL = re.compile(r"(\d{1,5})vram\b")
_COUNTS = (
    re.compile(r"\bgpu_(\d{1,3})x(?=_)"),
    re.compile(r"^\s*(\d{1,3}) ?[x×][ _-]"),
    re.compile(r"(?:(?<=[a-z0-9])(?<!rt)(?<!gt)(?<!\br)| )[x×] ?(\d{1,3})(?=$|-| )"),  # never the x of RTX, GTX or RX
    re.compile(r"^\s*(\d{1,2})(?=(?:gh|gb|mi|rtx(?:pro|a)?|[abhlptv])\d)"),
    re.compile(r"\.(\d{1,2})x$"),
    re.compile(r"(?:^|-)(\d{1,2})(?=-[a-z0-9]+-gpu)"),
    re.compile(r"\b(\d{1,3})gpu(?=-)"),
    re.compile(r"-(\d{1,3})x(?=-)"),
)
_GLUED_AMD = re.compile(r"(mi3\d\dx)(\d)")
_VERDA = re.compile(r"\.(\d{2,3})s(?=\.)")
_MEGABYTES = re.compile(r"(?<![\d.])(\d{4,6}) ?mi?b\b")
_GIGABYTES = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?) ?(?:gib|gb|gi|g)(?![a-z0-9])")
_FORMS = (
    (re.compile(r"(?<![a-z])sxm ?([2-6])(?!\d)"), "SXM"),
    (re.compile(r"(?<![a-z])sxm"), "SXM"),
    (re.compile(r"(?<![a-z])nvl(?:\d+)?(?![a-z])"), "NVL"),
    (re.compile(r"(?<![a-z])pci-?e(?![a-z])"), "PCIe"),
    (re.compile(r"(?<![a-z])fhhl(?![a-z])"), "PCIe"),
    (re.compile(r"(?<![a-z])oam(?![a-z])"), "OAM"),
    (re.compile(r"(?<![a-z0-9])hbm3(?![a-z0-9])"), "SXM"),
)
_VENDOR_WORDS = re.compile(r"nvidia|geforce|tesla|instinct|(?<![a-z])(?:amd|intel|generation|edition)(?![a-z])")
_WORD = re.compile(r"[a-z0-9+]+")


def compact(text: str) -> str:
    """Lower case without blanks, hyphens or underscores, so that spellings of one name compare equal."""
    return "".join(_WORD.findall(text.lower()))


def form_in(text: str | None) -> str | None:
    """`sxm5`, `PCIE` or `A100 NVL` as the form we write; None when the text names none (`NVLink` is no form)."""
    return _take_form(text.lower())[0] if text else None


def without_count(raw: str) -> str:
    """The compact name with a trailing `x8` cut: `A100-80Gx8` is listed as `A100-80G`."""
    head, mark, tail = raw.lower().rpartition("x")
    return compact(head if mark and tail.isdigit() and head else raw)


def words(text: str) -> tuple[str, ...]:
    """The lower-case words of a name without the vendor's own."""
    return tuple(_WORD.findall(_VENDOR_WORDS.sub(" ", text.lower())))


def read_name(raw: str) -> Reading:
    """Read a provider's name or SKU; never raises, whatever the text."""
    text = raw[:_MAX_NAME].lower()
    part, memory_slice, text = _take_slice(text)
    text = _HOST.sub(" ", text)
    total, text = _take_number(_TOTAL, text)
    count, text = _take_count(text)
    verda, text = _take_number(_VERDA, text)
    memory, text = _take_memory(text)
    form, text = _take_form(text)
    if verda is not None:
        memory, form = (verda, *memory), form or "SXM"
    return Reading(words(text), count, memory, total, form, part, memory_slice)


def _take_slice(text: str) -> tuple[int | None, float | None, str]:
    found = _MIG.search(text)
    if not found:
        return None, None, text
    part = int(found[1] or found[3])
    memory = found[2] or found[4]
    return part or None, float(memory) if memory and int(memory) else None, _cut(text, found)


def _take_number(pattern: re.Pattern[str], text: str) -> tuple[float | None, str]:
    found = pattern.search(text)
    if not found or not int(found[1]):
        return None, text
    return float(found[1]), _cut(text, found)


def _take_count(text: str) -> tuple[int | None, str]:
    text = _GLUED_AMD.sub(r"\1 x\2", text)
    for pattern in _COUNTS:
        found = pattern.search(text)
        if found and int(found[1]):
            return int(found[1]), _cut(text, found)
    return None, text


def _take_memory(text: str) -> tuple[tuple[float, ...], str]:
    sizes = [int(found[1]) / 1024 for found in _MEGABYTES.finditer(text)]
    text = _MEGABYTES.sub(" ", text)
    sizes += [float(found[1]) for found in _GIGABYTES.finditer(text)]
    return tuple(size for size in sizes if size > 0), _GIGABYTES.sub(" ", text)


def _take_form(text: str) -> tuple[str | None, str]:
    for pattern, form in _FORMS:
        found = pattern.search(text)
        if found:
            return form + (found[1] if pattern.groups else ""), _cut(text, found)
    return None, text


def _cut(text: str, found: re.Match[str]) -> str:
    return f"{text[: found.start()]} {text[found.end() :]}"
