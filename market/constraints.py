"""A query as conditions on columns, each tied to the field that asked for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from market.columns import Column, Mask, Membership, Ordering, Rows, Where
from market.frame import NOT_COMPARED, Frame
from market.money import from_millionths, to_millionths
from market.query import Query


class Condition(Protocol):
    """Something a row meets or not."""

    @property
    def is_quick(self) -> bool:
        """Whether testing every row costs next to nothing."""
        ...

    @property
    def share(self) -> float:
        """About which part of all rows meets it."""
        ...

    def holds(self, rows: Where) -> Mask:
        """Which of the rows meet it."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """A range of prices: rows lie in the order of price, so it is a range of rows."""

    start: int
    end: int
    size: int
    is_quick = True

    @property
    def share(self) -> float:
        """The part of all rows between the two."""
        return max(0, self.end - self.start) / max(1, self.size)

    def holds(self, rows: Where) -> Mask:
        """Which of the rows lie between the two."""
        at = np.arange(self.size)[rows] if isinstance(rows, slice) else rows
        return (at >= self.start) & (at < self.end)


@dataclass(frozen=True, slots=True)
class Below:
    """A bound on a sort value: the row's rank comes before one."""

    ordering: Ordering
    end: int
    is_quick = True

    @property
    def share(self) -> float:
        """The part of all rows before it."""
        return self.end / max(1, self.ordering.rank.size)

    def holds(self, rows: Where) -> Mask:
        """Which of the rows come before it."""
        return self.ordering.rank[rows] < self.end


@dataclass(frozen=True, slots=True)
class Without:
    """A few rows that are left out, whatever they hold; `rows` is sorted."""

    rows: Rows
    size: int
    is_quick = True

    @property
    def share(self) -> float:
        """The part of all rows that stays."""
        return 1.0 - self.rows.size / max(1, self.size)

    def holds(self, rows: Where) -> Mask:
        """Which of the rows stay."""
        if not isinstance(rows, slice):
            return ~np.isin(rows, self.rows)
        stay = np.ones(len(range(*rows.indices(self.size))), dtype=np.bool_)
        self.strike(stay, rows.start or 0)
        return stay

    def strike(self, mask: Mask, start: int) -> None:
        """Take the rows out of a mask that begins at row `start`."""
        first, last = np.searchsorted(self.rows, (start, start + mask.size))
        mask[self.rows[first:last] - start] = False


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of several conditions, such as a word in the name or among the tags."""

    choices: tuple[Membership, ...]

    @property
    def is_quick(self) -> bool:
        """Whether all of them are."""
        return all(choice.is_quick for choice in self.choices)

    @property
    def share(self) -> float:
        """At most the sum of theirs."""
        return min(1.0, sum(choice.share for choice in self.choices))

    def holds(self, rows: Where) -> Mask:
        """Which of the rows meet one."""
        found = self.choices[0].holds(rows)
        for choice in self.choices[1:]:
            found |= choice.holds(rows)
        return found


@dataclass(frozen=True, slots=True)
class Bound:
    """What a numeric constraint limits: how to loosen it, the figure of each row, and how that figure is said."""

    direction: Literal["raise", "lower"]
    figures: Callable[[Rows], npt.NDArray[Any]]
    said: Callable[[Any], Decimal | float]


@dataclass(frozen=True, slots=True)
class Constraint:
    """All a query's field asks: conditions that must all hold; `implied` when the query said nothing of it."""

    field: str
    asked: object
    conditions: tuple[Condition, ...]
    bound: Bound | None = None
    implied: bool = False


def constraints(query: Query, frame: Frame, stale_providers: frozenset[str]) -> Iterator[Constraint]:
    """What the query demands, the constraint one gives up most easily first."""
    if query.leaves_out_simulated and frame.simulated.size:
        yield Constraint("provider", "real", (Without(frame.simulated, frame.size),), implied=True)
    yield from _prices(query, frame)
    yield from _memberships(query, frame, stale_providers)
    yield from _bounds(query, frame)
    if query.text:
        yield Constraint("text", query.text, tuple(_word(word, frame) for word in query.text.split()))
    if query.gpu:
        called = frame.membership("gpu", query.gpu, frame.cards, lambda: frame.cards_called(query.gpu))
        yield Constraint("gpu", query.gpu, (called,))


def _prices(query: Query, frame: Frame) -> Iterator[Constraint]:
    price = frame.orderings["price"]
    if query.price_max is not None:
        end = min(price.first_above(to_millionths(query.price_max)), frame.priced)
        yield Constraint("price_max", query.price_max, (Span(0, end, frame.size),), _price_bound(price, "raise"))
    if query.price_per_gpu_max is not None:
        per_gpu = frame.orderings["price_per_gpu"]
        below = Below(per_gpu, per_gpu.first_above(to_millionths(query.price_per_gpu_max)))
        yield Constraint("price_per_gpu_max", query.price_per_gpu_max, (below,), _price_bound(per_gpu, "raise"))
    if query.price_min is not None:
        start = price.first_from(to_millionths(query.price_min))
        span = Span(start, frame.priced, frame.size)
        yield Constraint("price_min", query.price_min, (span,), _price_bound(price, "lower"))


def _price_bound(ordering: Ordering, direction: Literal["raise", "lower"]) -> Bound:
    def figures(rows: Rows) -> npt.NDArray[np.float64]:
        found = ordering.values(rows).astype(np.float64)
        found[found >= NOT_COMPARED] = np.nan
        return found

    return Bound(direction, figures, lambda figure: from_millionths(int(figure)))


def _memberships(query: Query, frame: Frame, stale_providers: frozenset[str]) -> Iterator[Constraint]:
    def among(field: str, asked: Hashable, keep: Callable[[Any], bool], column: str = "") -> Constraint:
        values = frame.columns[column or field]
        return Constraint(field, asked, (frame.membership(field, asked, values, lambda: values.chosen(keep)),))

    if query.availability:
        yield among("availability", query.availability, lambda value: value in query.availability)
    if query.region:
        placed = frame.membership("region", query.region, frame.places, lambda: frame.places_called(query.region))
        yield Constraint("region", query.region, (placed,))
    if query.provider:
        yield among("provider", query.provider, lambda name: name.casefold() in query.provider)
    if query.fresh_only and stale_providers:
        fresh = among("fresh_only", stale_providers, lambda name: name not in stale_providers, "provider")
        yield replace(fresh, asked=True)
    if query.price_source:
        yield among("price_source", query.price_source, lambda value: value in query.price_source)
    if query.bookable is not None:
        yield among("bookable", query.bookable, lambda value: bool(value) is query.bookable)
    if query.security_tier is not None:
        yield among("security_tier", query.security_tier, lambda value: value == query.security_tier)
    if query.cpu_arch is not None:
        yield among("cpu_arch", query.cpu_arch, lambda value: value == query.cpu_arch)
    if query.tags:
        tagged = frame.membership("tags", query.tags, frame.columns["tags"], lambda: frame.tag_sets_with(query.tags))
        yield Constraint("tags", query.tags, (tagged,))
    if not query.include_fractions:
        yield among("include_fractions", False, lambda share: share == 1.0, "gpu_fraction")
    pricing = among("pricing", query.pricing, partial(_sold_so, query.pricing))
    if query.pricing:
        yield pricing
    elif not all(condition.share == 1.0 for condition in pricing.conditions):
        yield replace(pricing, implied=True)


def _sold_so(wanted: tuple[str, ...], pricing: str) -> bool:
    if not wanted:
        return pricing != "token"
    return pricing in wanted or ("reserved" in wanted and pricing.startswith("reserved_"))


_BOUNDS: tuple[tuple[str, str, Literal["raise", "lower"]], ...] = (
    ("reliability_min", "reliability", "lower"),
    ("cpu_cores_min", "cpu_cores", "lower"),
    ("ram_gb_min", "ram_gb", "lower"),
    ("storage_gb_min", "storage_gb", "lower"),
    ("gpu_count_max", "gpu_count", "raise"),
    ("gpu_count_min", "gpu_count", "lower"),
    ("total_memory_gb_min", "total_memory_gb", "lower"),
    ("memory_gb_max", "memory_gb", "raise"),
    ("memory_gb_min", "memory_gb", "lower"),
)


def _bounds(query: Query, frame: Frame) -> Iterator[Constraint]:
    for field, name, direction in _BOUNDS:
        limit = getattr(query, field)
        if limit is None:
            continue
        column = frame.columns[name]
        within = frame.membership(field, limit, column, partial(_within, column, limit, direction))
        yield Constraint(field, limit, (within,), Bound(direction, column.figures, float))


def _within(column: Column, limit: float, direction: str) -> Mask:
    return column.numbers >= limit if direction == "lower" else column.numbers <= limit


def _word(word: str, frame: Frame) -> Condition:
    found = [
        Membership.of(frame.columns[field], holding)
        for field, vocabulary in frame.vocabularies.items()
        if (holding := vocabulary.holding(word)) is not None
    ]
    return AnyOf(tuple(found)) if found else Span(0, 0, frame.size)
