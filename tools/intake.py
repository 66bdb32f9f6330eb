"""Plain words to a typed workload, by rules alone: deterministic, offline, and honest about what it did not find.

The reading is always echoed back, so that a person or a model can correct a field instead of guessing what was heard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from tools.models import named_in, size_in

Workload = Literal[
    "llm_inference",
    "fine_tuning",
    "training",
    "embeddings",
    "image_generation",
    "video_generation",
    "speech",
    "notebook",
]
Method = Literal["full", "lora", "qlora"]


@dataclass(slots=True)
class Reading:
    """What a text was understood to ask. `unread` names what a sizing needs and the text does not say."""

    workload: Workload | None = None
    model: str | None = None
    parameters_b: float | None = None
    precision: str | None = None
    method: Method | None = None
    gpu: str | None = None
    gpu_count: int | None = None
    region: str | None = None
    max_price_per_hour: Decimal | None = None
    budget: Decimal | None = None
    duration_hours: float | None = None
    quantity: float | None = None
    unit: str | None = None
    context_tokens: int | None = None
    concurrency: int | None = None
    pricing: str | None = None
    unread: list[str] = field(default_factory=list)


_WORKLOADS: tuple[tuple[Workload, str], ...] = (
    ("fine_tuning", r"fine[\s-]?tun|\bq?lora\b|\bsft\b|\bdpo\b|instruction[\s-]tun"),
    ("training", r"pre[\s-]?train|\btrain(?:ing)?\b"),
    ("embeddings", r"\bembed"),
    ("video_generation", r"\bvideos?\b|hunyuan|\bwan ?2"),
    ("image_generation", r"\bimages?\b|stable[\s-]?diffusion|\bsdxl\b|\bflux\b|\bsd ?[123]"),
    ("speech", r"whisper|transcri|\bspeech\b|\basr\b|\baudio\b"),
    ("notebook", r"notebook|jupyter|experiment"),
    (
        "llm_inference",
        r"inferenc|\bserv(?:e|ing)\b|\bchat|\bllm\b|\bhost\b|\bdeploy|\bgenerat|\bapi\b|\bqps\b|tokens?/s",
    ),
)
_PRECISIONS = (
    ("q4_k_m", r"q4[\s_]?k"), ("q8_0", r"\bq8"), ("int4", r"\b(?:int4|4[\s-]?bit|awq|gptq|nf4)\b"),
    ("int8", r"\b(?:int8|8[\s-]?bit)\b"), ("fp8", r"\bfp8\b"), ("bf16", r"\bbf16\b"),
    ("fp16", r"\bfp16\b|half precision"), ("fp32", r"\bfp32\b"),
)  # fmt: skip
_NUMBER = r"(\d[\d,]*(?:\.\d+)?)\s*(k|m|bn|b|thousand|million|billion)?"
_SCALE = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9}
_UNITS = (
    r"(examples?|samples?|rows?|images?|pictures?|videos?|tokens?|documents?|docs?|requests?|hours of audio|prompts?)"
)
_MONEY = r"(?:\$|usd\s?|us\$)\s?(\d[\d,]*(?:\.\d+)?)(\s?k)?"
_HOURLY = r"\s*(?:/|per|an?|each)\s*(?:gpu[\s-]?)?(?:h\b|hr\b|hour)"
_SPAN = re.compile(
    r"(\d+(?:\.\d+)?)\s*[- ]?(hours?|hrs?|h|days?|weeks?|months?|minutes?|mins?)\b(?!\s+of\s+audio)", re.I
)
_SPAN_HOURS = {"h": 1.0, "d": 24.0, "w": 168.0, "mo": 730.0, "mi": 1 / 60}
_AREAS = (
    r"\b(eu|europe(?:an union)?|us[\s-](?:east|west|central)|usa?|united states|uk|united kingdom|canada|asia|germany|"
    r"france|netherlands|finland|sweden|norway|iceland|ireland|poland|spain|italy|japan|singapore|india|australia|brazil)\b"
)
_GPU = re.compile(
    r"(?:(\d{1,3})\s?x\s?)?\b((?:rtx |gtx |tesla |a|h|b|l|v|t|mi|gh|gb)\s?\d{1,4}[a-z]{0,5}"
    r"(?:[\s-](?:sxm|pcie|nvl|ti|super|ada)\d?)?)\b"
)
_SPELLINGS = {"european union": "eu", "usa": "us", "united states": "us", "united kingdom": "uk"}


def read(text: str) -> Reading:
    """Understand a request of up to a few thousand characters. Never raises; what is not said stays None."""
    lowered = " ".join(text.lower().split())
    reading = Reading()
    reading.workload = next((kind for kind, pattern in _WORKLOADS if re.search(pattern, lowered)), None)
    model = named_in(lowered)
    sized = size_in(lowered)
    reading.model = model.name if model else None
    reading.parameters_b = None if model or sized is None else sized[0]
    reading.precision = next((name for name, pattern in _PRECISIONS if re.search(pattern, lowered)), None)
    if reading.workload == "fine_tuning":
        reading.method = "qlora" if "qlora" in lowered else "full" if re.search(r"\bfull\b", lowered) else "lora"
    if reading.workload is None and (model or sized):
        reading.workload = "llm_inference"
    _read_hardware(lowered, reading)
    _read_money(lowered, reading)
    _read_amounts(lowered, reading)
    if reading.workload is None:
        reading.unread.append("workload")
    elif reading.workload in ("llm_inference", "fine_tuning", "training") and not (model or sized):
        reading.unread.append("model")
    return reading


def _read_hardware(lowered: str, reading: Reading) -> None:
    from market import gpus

    for match in _GPU.finditer(lowered):
        if gpus.matching(match.group(2)):
            reading.gpu = match.group(2).upper().strip()
            reading.gpu_count = int(match.group(1)) if match.group(1) else None
            break
    area = re.search(_AREAS, lowered)
    if area:
        word = area.group(1).replace(" ", "-") if area.group(1).startswith("us ") else area.group(1)
        reading.region = _SPELLINGS.get(word, word)
    if re.search(r"\bspot\b|preempt|interruptible", lowered):
        reading.pricing = "spot"


def _read_money(lowered: str, reading: Reading) -> None:
    for match in re.finditer(_MONEY, lowered):
        value = Decimal(match.group(1).replace(",", "")) * (1000 if match.group(2) else 1)
        if re.match(_HOURLY, lowered[match.end() :]):
            reading.max_price_per_hour = value
        elif reading.budget is None:
            reading.budget = value


def _read_amounts(lowered: str, reading: Reading) -> None:
    counted = re.search(_NUMBER + r"\s+(?:[a-z]+\s+)?" + _UNITS, lowered)
    if counted:
        scale = _SCALE.get(counted.group(2) or "", 1.0)
        reading.quantity = float(counted.group(1).replace(",", "")) * scale
        reading.unit = counted.group(3).rstrip("s")
    span = _SPAN.search(lowered)
    if span:
        unit = span.group(2).lower()
        key = unit[:2] if unit[:2] in ("mo", "mi") else unit[0]
        reading.duration_hours = float(span.group(1)) * _SPAN_HOURS[key]
    context = re.search(r"(\d+)\s?(k)?\s*(?:tokens? (?:of )?)?(?:context|ctx|sequence)", lowered)
    if context:
        reading.context_tokens = int(context.group(1)) * (1024 if context.group(2) else 1)
    streams = re.search(r"(\d+)\s*(?:concurrent|parallel|simultaneous|users)", lowered)
    if streams:
        reading.concurrency = int(streams.group(1))
