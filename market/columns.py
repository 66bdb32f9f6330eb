"""Columns of the snapshot: each distinct value once, and a small integer code a row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from market.money import from_millionths
from market.rows import MONEY_FIELDS, TIME_FIELDS, from_micros

Mask: TypeAlias = npt.NDArray[np.bool_]
Rows: TypeAlias = npt.NDArray[np.intp]
Where: TypeAlias = "slice | Rows"
"""Which rows to look at: a contiguous run, or those listed."""

_SORTED_BELOW = 4_096
"""Columns with fewer distinct values have them in order, so that a bound is one comparison of codes."""
_FEW_RUNS = 3


class Column:
    """One field of every offer."""

    def __init__(self, values: Sequence[Any], codes: npt.NDArray[Any]) -> None:
        """`values` as the database holds them, `codes[row]` the place of a row's value among them."""
        rank = np.arange(len(values))
        self.values = list(values)
        if 1 < len(values) <= _SORTED_BELOW:
            order = sorted(rank.tolist(), key=lambda code: _sort_key(values[code]))
            self.values = [values[code] for code in order]
            rank[order] = np.arange(len(values))
            codes = rank[codes]
        self.codes: npt.NDArray[Any] = codes.astype(code_type(len(values)))

    @cached_property
    def counts(self) -> npt.NDArray[np.intp]:
        """How many rows hold each value."""
        return np.bincount(self.codes, minlength=len(self.values))

    def figures(self, rows: Where) -> npt.NDArray[np.float64]:
        """The values of some rows as floats."""
        return self.numbers.take(self.codes[rows])

    @cached_property
    def numbers(self) -> npt.NDArray[np.float64]:
        """The distinct values as floats; NaN, which no bound admits, for what is not stated."""
        return np.array([np.nan if value is None else float(value) for value in self.values], dtype=np.float64)

    def chosen(self, keep: Callable[[Any], bool]) -> Mask:
        """Which of the distinct values to keep."""
        return np.fromiter(map(keep, self.values), dtype=np.bool_, count=len(self.values))


def _sort_key(value: Any) -> tuple[bool, Any]:
    if isinstance(value, tuple):
        return True, tuple((part is not None, part if part is not None else 0) for part in value)
    return value is not None, value


def code_type(count: int) -> type[np.unsignedinteger[Any]]:
    """The smallest unsigned integers that hold so many codes."""
    if count <= 1 << 8:
        return np.uint8
    return np.uint16 if count <= 1 << 16 else np.uint32


@dataclass(frozen=True, slots=True)
class Membership:
    """A condition on one column: the row's value is among the chosen ones."""

    codes: npt.NDArray[Any]
    chosen: Mask
    runs: tuple[tuple[int, int], ...]
    share: float

    @classmethod
    def of(cls, column: Column, chosen: Mask) -> Membership:
        """The condition, with the share of rows that meet it."""
        edges = (np.flatnonzero(chosen[1:] != chosen[:-1]) + 1).tolist()
        if chosen.size and chosen[0]:
            edges.insert(0, 0)
        if chosen.size and chosen[-1]:
            edges.append(chosen.size)
        runs = tuple(zip(edges[::2], edges[1::2], strict=True))
        share = float(column.counts[chosen].sum()) / max(1, column.codes.size)
        return cls(column.codes, chosen, runs, share)

    @property
    def is_quick(self) -> bool:
        """Whether a few comparisons of codes answer it."""
        return len(self.runs) <= _FEW_RUNS

    def holds(self, rows: Where) -> Mask:
        """Which of the rows meet it."""
        codes = self.codes[rows]
        if not self.is_quick:
            return self.chosen.take(codes)
        kind = codes.dtype.type
        found: Mask | None = None
        for start, end in self.runs:
            # Unsigned subtraction wraps, so one comparison bounds both sides.
            inside = (codes - kind(start)) <= kind(end - start - 1) if start else codes <= kind(end - 1)
            found = inside if found is None else found | inside
        return np.zeros(codes.size, dtype=np.bool_) if found is None else found


def _tags(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text != "[]" else ()


@lru_cache(maxsize=65_536)
def _money(value: int) -> Decimal:
    return from_millionths(value)


@lru_cache(maxsize=4_096)
def _moment(value: int) -> datetime:
    return from_micros(value)


DECODERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(MONEY_FIELDS, _money),
    **dict.fromkeys(TIME_FIELDS, _moment),
    "exchange_rate": Decimal,
    "exchange_rate_as_of": date.fromisoformat,
    "tags": lru_cache(maxsize=4_096)(_tags),
    "bookable": bool,
}
"""How a stored value becomes the offer's; the fields not named are kept as they are."""


def decoded(field: str, values: Sequence[Any]) -> list[Any]:
    """Stored values of a field as an offer has them."""
    decode = DECODERS.get(field)
    if decode is None:
        return list(values)
    return [None if value is None else decode(value) for value in values]


class Ordering:
    """One way to sort every row: a rank each, ties by id, and the sort values to continue a page from."""

    def __init__(self, key: npt.NDArray[Any], id_rank: npt.NDArray[np.int32]) -> None:
        order = np.lexsort((id_rank, key))
        self.rank = np.empty(key.size, dtype=np.int32)
        self.rank[order] = np.arange(key.size, dtype=np.int32)
        self.keys, self.starts = np.unique(key[order], return_index=True)

    def values(self, rows: Rows) -> npt.NDArray[Any]:
        """The sort values of some rows."""
        found: npt.NDArray[Any] = self.keys[np.searchsorted(self.starts, self.rank[rows], side="right") - 1]
        return found

    def first_above(self, value: int | float) -> int:
        """The rank of the first row with a greater sort value."""
        place = int(np.searchsorted(self.keys, value, side="right"))
        return int(self.starts[place]) if place < self.keys.size else self.rank.size

    def first_from(self, value: int | float) -> int:
        """The rank of the first row with this sort value or a greater one."""
        place = int(np.searchsorted(self.keys, value, side="left"))
        return int(self.starts[place]) if place < self.keys.size else self.rank.size

    def beyond(self, rows: Rows, value: int | float, later_id: Mask) -> Mask:
        """Which rows come after the row with this sort value and the id that `later_id` was made from."""
        rank = self.rank[rows]
        return (rank >= self.first_above(value)) | ((rank >= self.first_from(value)) & later_id)
