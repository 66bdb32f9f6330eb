"""What can be asked of the catalogue: every filter, order and page in one value, the same however it was spelled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from hashlib import blake2b
from math import isfinite
from typing import Any, Literal, get_args

from market.errors import CursorExpired, ValidationFailed
from market.money import amount

Sort = Literal["price", "-price", "price_per_gpu", "performance_per_dollar", "freshness", "memory"]
"""Cheapest, dearest, cheapest per whole GPU, most dense TFLOPS per dollar, newest, most memory per GPU; ties by id."""

SORTS: tuple[Sort, ...] = get_args(Sort)
MAX_WORD = 32
"""Longer words are compared by their beginning."""

Position = tuple[int | float, str]
"""Where a page ended: the sort value and id of its last offer."""

SIMULATED = frozenset({"sandbox"})
"""Providers that sell nothing real: their offers are found by those who name the provider, and by nobody else."""

_WORD = re.compile(r"[^\W_]+")
_FOLDED = ("gpu", "provider", "availability", "tags", "pricing", "price_source")
_MONEY = ("price_min", "price_max", "price_per_gpu_max")
_NUMBERS = (
    "memory_gb_min",
    "memory_gb_max",
    "total_memory_gb_min",
    "cpu_cores_min",
    "ram_gb_min",
    "storage_gb_min",
    "reliability_min",
)
_PAGING = frozenset({"limit", "offset", "position"})


def words(text: str) -> list[str]:
    """The words of a text as they are compared: letters and digits, case folded, in order."""
    return [word[:MAX_WORD] for word in _WORD.findall(text.casefold())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """All filters must hold; the entries of one tuple are alternatives, but every tag and every word is needed.

    Simulated offers are left out unless `provider` names where they come from.

    Prices are US dollars an hour for the whole instance. An offer that does not state a figure fails a bound on it.
    `fresh_only` leaves out what its provider has not confirmed lately; the search is told since when.
    """

    text: str = ""
    gpu: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    availability: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    pricing: tuple[str, ...] = ()
    """Empty: everything sold by the hour. `reserved` means any reserved term; `token` offers only when named."""
    memory_gb_min: float | None = None
    memory_gb_max: float | None = None
    total_memory_gb_min: float | None = None
    gpu_count_min: int | None = None
    gpu_count_max: int | None = None
    price_min: Decimal | None = None
    price_max: Decimal | None = None
    price_per_gpu_max: Decimal | None = None
    """Whole GPUs only: a share of a card has no price per GPU."""
    cpu_cores_min: float | None = None
    ram_gb_min: float | None = None
    storage_gb_min: float | None = None
    cpu_arch: str | None = None
    security_tier: str | None = None
    reliability_min: float | None = None
    price_source: tuple[str, ...] = ()
    bookable: bool | None = None
    fresh_only: bool = False
    include_fractions: bool = True
    sort: Sort = "price"
    limit: int = 20
    offset: int = 0
    position: Position | None = None

    def __post_init__(self) -> None:
        for name in _FOLDED:
            self._settle(name, _alternatives(word.casefold() for word in getattr(self, name)))
        self._settle("region", _alternatives(self.region))
        self._settle("text", " ".join(sorted(set(words(self.text)))))
        for name in _MONEY:
            value = getattr(self, name)
            self._settle(name, None if value is None else _settled(name, value, amount))
        for name in _NUMBERS:
            value = getattr(self, name)
            self._settle(name, None if value is None else _settled(name, value, _finite))
        if self.sort not in SORTS:
            raise ValidationFailed(f"`sort` must be one of {', '.join(SORTS)}.")
        if self.limit < 0 or self.offset < 0:
            raise ValidationFailed("`limit` and `offset` cannot be negative.")

    def _settle(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def leaves_out_simulated(self) -> bool:
        """Whether only what is really sold is meant."""
        return SIMULATED.isdisjoint(self.provider)

    def after(self, position: Sequence[Any]) -> Query:
        """The same query, continued where a page ended. Raises CursorExpired for a position no page could have."""
        match position:
            case [int() | float() as value, str() as offer_id] if isfinite(value) and abs(value) < 2**63:
                return replace(self, position=(value, offer_id), offset=0)
        raise CursorExpired(
            "The cursor is damaged or was not made here.", next_step="Leave `cursor` out to start from the first page."
        )

    def key(self) -> str:
        """Equal for queries that mean the same, whatever page they ask for: what a cursor is bound to."""
        return self._digest(_PAGING)

    def page_key(self) -> str:
        """`key` of this very page: what a cached answer is stored under, beside the snapshot's version."""
        return self._digest(frozenset())

    def _digest(self, left_out: frozenset[str]) -> str:
        said = [
            f"{name}={getattr(self, name)!r}"
            for name, default in _DEFAULTS.items()
            if name not in left_out and getattr(self, name) != default
        ]
        return blake2b("\n".join(said).encode("utf-8", "backslashreplace"), digest_size=12).hexdigest()


_DEFAULTS: dict[str, object] = {field.name: field.default for field in fields(Query)}


def _alternatives(given: Iterable[str]) -> tuple[str, ...]:
    flat = {" ".join(word.split()) for word in given}
    return tuple(sorted(flat - {""}))


def _finite(value: Any) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError("not finite")
    return number


def _settled(name: str, value: Any, read: Any) -> Any:
    try:
        return read(value)
    except (ValueError, TypeError, OverflowError):
        raise ValidationFailed(f"`{name}` must be a number.") from None
