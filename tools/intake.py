"""Plain words to a typed workload, by rules alone: deterministic, offline, and honest about what it did not find.

The reading is always echoed back, so that a person or a model can correct a field instead of guessing what was heard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from functools import cache
from typing import Literal

from tools.models import media_in, named_in, size_in

Workload = Literal[
    "llm_inference",
    "fine_tuning",
    "training",
    "embeddings",
    "image_generation",
    "video_generation",
    "speech",
    "rendering",
    "notebook",
]
Method = Literal["full", "lora", "qlora"]
Quality = Literal["draft", "standard", "high"]

MAX_TEXT = 4_000
MAX_HOURS = 87_600.0
MAX_PRICE = Decimal(1_000_000)


@dataclass(slots=True)
class Reading:
    """What a text was understood to ask. `unread` names what it says and we could not use, or a sizing still needs."""

    workload: Workload | None = None
    model: str | None = None
    parameters_b: float | None = None
    precision: str | None = None
    method: Method | None = None
    quality: Quality | None = None
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
    scene_gb: float | None = None
    pricing: str | None = None
    unread: list[str] = field(default_factory=list)


_WORKLOADS: tuple[tuple[Workload, re.Pattern[str]], ...] = (
    ("fine_tuning", re.compile(r"fine?[\s-]?tun|\bq?lora\b|\bsft\b|\bdpo\b|instruction[\s-]tun")),
    ("training", re.compile(r"pre[\s-]?train|\b(?:re)?train(?:ing|ed)?\b")),
    ("embeddings", re.compile(r"\bembed|\bvectori[sz]")),
    ("rendering", re.compile(
        r"(?<!server[ -]side )\brender(?:s|ed|er|ing|farm)?\b|\bblender\b|\bv-?ray\b|\boctane\b|\braytrac|\bray[ -]trac"
    )),
    ("video_generation", re.compile(r"\bvideos?\b(?! ?(?:ram|memory|card))|hunyuan|\bwan ?2")),
    ("speech", re.compile(r"whisper|transcri|\bspeech\b|\basr\b|\btts\b|\baudio\b|dictation")),
    ("image_generation", re.compile(
        r"(?<!docker )(?<!container )\bimages?\b|\bpictures?\b|stable[\s-]?diffusion|\bsd ?xl\b|\bflux\b|\bsd ?[123]"
    )),
    ("notebook", re.compile(r"notebook|jupyter|experiment|\bcolab\b|prototyp")),
    ("llm_inference", re.compile(
        r"infer[ae]?n|infrence|\bserv(?:e|es|ing)\b|\bchat|\bllms?\b|\bhost(?:ing)?\b|\bdeploy|\bgenerat|\bapi\b|\bqps\b"
        r"|tokens?(?:/s| per sec)|\bvllm\b|\bollama\b|\brun(?:ning)? (?:a |an |the )?[\w.-]*\d+b\b|summari[sz]"
    )),
)  # fmt: skip
_PRECISIONS = tuple((name, re.compile(pattern)) for name, pattern in (
    ("q4_k_m", r"\bq4[\s_]?k|\bq4\b"), ("q5_k_m", r"\bq5"), ("q6_k", r"\bq6"), ("q8_0", r"\bq8"),
    ("int4", r"\b(?:int4|4[\s-]?bits?|awq|gptq|nf4|q4_0)\b"), ("int8", r"\b(?:int8|8[\s-]?bits?)\b"),
    ("fp8", r"\bfp8\b"), ("bf16", r"\b(?:bf16|bfloat16)\b"),
    ("fp16", r"\b(?:fp16|float16|16[\s-]?bits?)\b|half precision"),
    ("fp32", r"\b(?:fp32|float32)\b|(?:full|single) precision"),
))  # fmt: skip
_FULL = re.compile(r"\bfull(?:y)?[\s-](?:parameter|weight|fine|ft\b|sft|model|tun)")
_QUALITIES: tuple[tuple[Quality, re.Pattern[str]], ...] = (
    ("draft", re.compile(r"\b(?:draft|preview|low)[\s-]quality|\b(?:a|as|rough|quick) draft\b|\bpreviews?\b")),
    ("high", re.compile(r"\b(?:high|highest|best|top|production|final)[\s-]quality")),
    ("standard", re.compile(r"\b(?:standard|normal|medium)[\s-]quality")),
)
_PRICINGS = (
    ("on_demand", re.compile(r"on[\s-]demand|(?:\bno|\bnot|\bnon|without)[\s-](?:spot|preempt|interrupt)")),
    ("spot", re.compile(r"\bspot\b|pre-?empt|interruptible")),
    ("reserved", re.compile(r"\breserved\b|\bcommit(?:ted|ment)\b")),
)

_WORDS = {
    "one": 1, "single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "ten": 10,
    "twelve": 12, "sixteen": 16,
}  # fmt: skip
_CARD = (
    r"gh200|gb[23]00|h[128]00|h20|b[23]00|a100|a800|a[456]000|a10g|a10|a16|a2|a30|a40|l40s|l40|l4|l20|v100|t4|k80|p100"
    r"|p40|p4|mi ?\d{3}x?|gaudi ?[23]|(?:rtx|gtx|quadro|tesla)[\s-]?(?:pro )?[a-z]?\d{1,4}|[345]0[6789]0"
)
_GPU = re.compile(
    rf"(?:\b(\d{{1,5}})\s?[x×]?\s?(?:nvidia |amd )?|\b)({_CARD})"
    r"((?:[\s-](?:sxm|pcie|nvl|ti|super|ada)\b\d?|[\s-]sxm\d)?"
    r"(?:[\s-]?\d{2,3}\s?gb\b)?)s?(?:\s?[x×]\s?(\d{1,4}))?\b(?!\s?(?:%|usd|\$|examples|images|tokens|rows))"
)
_GPUS = re.compile(r"\b(\d{1,5})\s?x?\s?(?:nvidia |amd )?gpus?\b")

_FIGURE = r"(\d[\d,]{0,14}(?:\.\d{1,6})?)"
_RATE = (
    r"\s*(?:(?P<each>/|per|an?|each)\s*(?P<gpu>(?:gpu|card)s?[\s/-]*(?:per\s|an?\s)?)?"
    r"(?P<span>h\b|hr\b|hours?\b|day\b|week\b|month\b))?(?P<gpu2>\s*(?:/|per|each|a)\s*(?:gpu|card)\b)?"
)
_MONEY = re.compile(
    rf"(?:(?:us\$|\$|\busd\s?)\s?(?:[\d.]+\s?(?:-|–|to)\s?\$?)?{_FIGURE}\s?(k\b|m\b|million\b)?"
    rf"|{_FIGURE}\s?(k)?\s?(\$|usd\b|us dollars?\b|dollars?\b|bucks\b|cents?\b|¢)){_RATE}"
)
_RANGE = re.compile(r"(?:\s*(?:-|–|to|and)\s*)(?:us\$|\$|usd)?\s?\d")
_OTHER_MONEY = re.compile(r"[€£¥₹]\s?\d|\d\s?(?:[€£¥₹]|eur\b|euros?\b|gbp\b|pounds?\b|inr\b|jpy\b|yen\b|chf\b)")
_SPAN_HOURS = {"h": 1, "d": 24, "w": 168, "mo": 730, "mi": 1 / 60}
_SPAN = re.compile(
    r"(?<![\w.$/])(\d{1,6}(?:\.\d{1,3})?)[\s-]?(hours?|hrs?|h|days?|weeks?|months?|minutes?|mins?)\b"
    r"(?!\s+(?:of\s+(?:audio|video|speech|footage|recordings?)|videos?|clips?|audio|commitment|term))"
)
_ONE_SPAN = re.compile(r"\b(?:for|over|about|within|lasting)\s+(?:about )?(?:an?|one|the)\s+(hour|day|week|month)\b")
_SCALE = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9, "t": 1e12,
          "trillion": 1e12}  # fmt: skip
_UNITS = {
    "example": r"examples?|samples?|rows?|records?|pairs|conversations?|sentences?",
    "image": r"images?|pictures?|photos?",
    "video": r"videos?|clips?", "frame": r"frames?", "token": r"tokens?",
    "document": r"documents?|docs?|articles?|pages?|pdfs?",
    "request": r"requests?|queries|calls", "prompt": r"prompts?",
    "audio hour": r"hours? of (?:audio|speech|recordings?)",
}  # fmt: skip
_COUNTED = re.compile(
    rf"(?<![\w.$])(?![48]k\s+(?:frames?|videos?|clips?)){_FIGURE}"
    r"\s?(k|thousand|m|million|bn|b|billion|t|trillion)?\s+((?:[a-z-]+\s+){0,2}?)(?:[48]k\s+)?"
    rf"(?:{'|'.join(f'({pattern})' for pattern in _UNITS.values())})\b"
    r"(?!\s*(?:/|per|an?|each|every)\s*(?:s|sec|second|m|min|minute|h|hr|hour|day|week|month)\b)"
    r"(?!\s*(?:of\s+)?(?:context|ctx|sequence|window))"
)
_CONTEXT = re.compile(
    r"(?<![\w.])(\d[\d,]{0,9})\s?([km])?[\s-]*(?:tokens?)?(?:\s+of)?\s*(?:max\s+)?(?:context|ctx|sequence)"
    r"|(?:context|ctx|sequences?)(?:\s+(?:window|length|size|len))?\s*(?:of|=|:|is)?\s*(\d[\d,]{0,9})\s?([km])?\b"
)
_STREAMS = re.compile(
    r"(?<![\w.])(\d[\d,]{0,6})\s?(k)?\s*(?:concurrent|parallel|simultaneous"
    r"|(?:users|requests|streams|sessions)\s+(?:at once|at a time|in parallel|at the same time)"
    r"|(?:users|streams|sessions)(?!\s*(?:/|per|an?|each|every|daily|monthly)\b))"
)
_SCENE = re.compile(
    r"(?<![\w.])(\d{1,4}(?:\.\d{1,3})?)\s?gb(?:\s+of)?\s+scenes?\b"
    r"|\bscenes?\s+(?:of|is|are|with|takes?|needs?|size)\s+(?:about\s+)?(\d{1,4}(?:\.\d{1,3})?)\s?gb\b"
)
_SPOKEN = {"european": "europe", "usa": "us", "u.s.": "us", "u.s.a.": "us", "american": "us", "indian": "india"}
_NOT_THERE = re.compile(
    r"(?:\b(?:not|no|nothing)(?: \w+){0,2} (?:in|from)|outside(?: of)?|except|excluding|anywhere but|avoid)"
    r"\s+(?:the\s+)?$"
)
# "us" is also a pronoun: it is the country only where it is written or placed like one.
_COUNTRY_US = re.compile(
    r"\bUS\b(?!\s?(?:\$|dollars?))|\b(?:in|within|inside)\s+(?:the\s+)?us\b|\bus[\s-](?:region|based)"
)
_RAW_REGION = re.compile(
    r"\b(?:us|eu|ap|ca|sa|me|af)-(?:north|south|east|west|central|northeast|southeast)-?\d[a-z]?\b"
)


def read(text: str) -> Reading:
    """Understand a request of up to a few thousand characters. Never raises; what is not said stays None."""
    plain = " ".join(text[:MAX_TEXT].split())
    lowered = _with_digits(plain.lower())
    reading = Reading()
    model = named_in(lowered)
    sized = None if model else size_in(lowered)
    _read_work(lowered, reading)
    if model:
        reading.model = model.name
    elif sized:
        reading.parameters_b = sized[0]
    else:
        media = media_in(lowered)
        reading.model = media.name if media else None
    if reading.workload is None and (model or sized):
        reading.workload = "llm_inference"
    _read_hardware(lowered, reading)
    _read_place(plain, lowered, reading)
    _read_money(lowered, reading)
    _read_amounts(lowered, reading)
    _read_load(lowered, reading)
    if reading.workload is None:
        reading.unread.append("workload")
    elif reading.workload in ("llm_inference", "fine_tuning", "training") and not (model or sized):
        reading.unread.append("model")
    return reading


def _with_digits(lowered: str) -> str:
    """Small numbers written out, where they count GPUs or time."""
    return re.sub(
        rf"\b({'|'.join(_WORDS)})\b(?=\s+(?:x\s+|of\s+)?(?:nvidia\s+|amd\s+)?(?:gpu|{_CARD}|hour|day|week|month))",
        lambda match: str(_WORDS[match[1]]),
        lowered,
    )


def _read_work(lowered: str, reading: Reading) -> None:
    reading.workload = next((kind for kind, pattern in _WORKLOADS if pattern.search(lowered)), None)
    reading.precision = next((name for name, pattern in _PRECISIONS if pattern.search(lowered)), None)
    reading.pricing = next((name for name, pattern in _PRICINGS if pattern.search(lowered)), None)
    reading.quality = next((name for name, pattern in _QUALITIES if pattern.search(lowered)), None)
    if reading.workload == "fine_tuning":
        if "qlora" in lowered:
            reading.method = "qlora"
        elif _FULL.search(lowered):
            reading.method = "full"
        elif re.search(r"\blora\b", lowered):
            reading.method = "lora"


def _read_hardware(lowered: str, reading: Reading) -> None:
    from market import gpus

    for match in _GPU.finditer(lowered):
        name = " ".join(f"{match[2]}{match[3]}".split())
        if gpus.matching(name):
            reading.gpu = name.upper()
            reading.gpu_count = _whole(match[1] or match[4], 100_000)
            break
    counted = _GPUS.search(lowered)
    if reading.gpu_count is None and counted:
        reading.gpu_count = _whole(counted[1], 100_000)


@cache
def _places() -> re.Pattern[str]:
    from market import regions

    terms = {term for term in regions.known_terms() if len(term) > 3} | {"eu", "uk", "eea", "usa", *_SPOKEN}
    spelled = (re.escape(term).replace(r"\-", r"[\s-]") for term in sorted(terms, key=lambda term: (-len(term), term)))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(spelled)})(?!\w|-\d)")


def _read_place(plain: str, lowered: str, reading: Reading) -> None:
    """The first place that is not ruled out; a provider's own region before any wider word."""
    raw = _RAW_REGION.search(lowered)
    if raw:
        reading.region = raw[0]
        return
    for match in _places().finditer(lowered):
        if not _NOT_THERE.search(lowered[: match.start()]):
            word = match[0].replace(" ", "-")
            reading.region = _SPOKEN.get(word, word)
            return
        reading.unread.append(f"not {match[0]}")
    if _COUNTRY_US.search(plain):
        reading.region = "us"


def _read_money(lowered: str, reading: Reading) -> None:
    for match in _MONEY.finditer(lowered):
        if _RANGE.match(lowered, match.end()) and match["span"] is None:
            continue
        value = Decimal((match[1] or match[3]).replace(",", ""))
        value *= {"k": 1_000, "m": 1_000_000}.get((match[2] or match[4] or "")[:1], 1)
        if match[5] in ("cent", "cents", "¢"):
            value /= 100
        if not 0 < value <= MAX_PRICE:
            continue
        if match["span"] is None:
            reading.budget = reading.budget or value
            continue
        if match["gpu"] or match["gpu2"]:
            if reading.gpu_count is None:
                reading.unread.append("price per GPU: say how many GPUs, or filter by `max_price_per_gpu`")
                continue
            value *= reading.gpu_count
        span = match["span"]
        hours = _SPAN_HOURS["mo" if span.startswith("mo") else span[0]]
        reading.max_price_per_hour = (value / Decimal(hours)).quantize(Decimal("0.0001"), rounding=ROUND_DOWN) or None
    if reading.budget is None and reading.max_price_per_hour is None and _OTHER_MONEY.search(lowered):
        reading.unread.append("price in another currency: give `max_price` in US dollars")


def _read_amounts(lowered: str, reading: Reading) -> None:
    for match in _COUNTED.finditer(lowered):
        scale, between = match[2] or "", match[3]
        if between and (scale in ("b", "t") or re.search(r"\b(?:for|to|on|with|in|per|gpus?)\b", between)):
            continue
        quantity = float(match[1].replace(",", "")) * _SCALE.get(scale, 1.0)
        if 0 < quantity <= 1e16:
            reading.quantity = quantity
            reading.unit = next(unit for unit, found in zip(_UNITS, match.groups()[3:], strict=True) if found)
            break
    span = _SPAN.search(lowered)
    once = _ONE_SPAN.search(lowered)
    if span:
        unit = span[2]
        hours = float(span[1]) * _SPAN_HOURS[unit[:2] if unit[:2] in ("mo", "mi") else unit[0]]
        reading.duration_hours = hours if 0 < hours <= MAX_HOURS else None
    elif once:
        reading.duration_hours = float(_SPAN_HOURS["mo" if once[1] == "month" else once[1][0]])


def _read_load(lowered: str, reading: Reading) -> None:
    context = _CONTEXT.search(lowered)
    if context:
        figure, scale = (context[1], context[2]) if context[1] else (context[3], context[4])
        reading.context_tokens = _whole(figure, 10_000_000, {"k": 1024, "m": 1024**2}.get(scale or "", 1))
    streams = _STREAMS.search(lowered)
    if streams:
        reading.concurrency = _whole(streams[1], 100_000, 1_000 if streams[2] else 1)
    scene = _SCENE.search(lowered)
    if scene:
        reading.scene_gb = float(scene[1] or scene[2]) or None


def _whole(figure: str | None, most: int, times: int = 1) -> int | None:
    """A count within its bound; a slip of the pen outside it is not read."""
    if figure is None:
        return None
    value = int(figure.replace(",", "")) * times
    return value if 1 <= value <= most else None
