"""The whole catalogue in memory, unchanging: what answers every search, with an exact total, within a millisecond."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from operator import itemgetter

import numpy as np

from market import gpus, regions
from market.columns import Ordering, Rows
from market.constraints import Condition, Constraint, Span, Without, constraints
from market.frame import Frame
from market.offers import Offer, Pricing
from market.query import Position, Query
from market.relaxation import Relaxation, relaxations
from market.vocabulary import place_of

_NEIGHBOURS = 40


@dataclass(frozen=True)
class Hits:
    """One page: `total` counts a machine once however it is sold, `listed` every row on all pages."""

    total: int
    listed: int
    rows: Rows
    next_position: Position | None
    frame: Frame = field(repr=False)

    @cached_property
    def offers(self) -> list[Offer]:
        """The offers of the page."""
        return self.frame.offers(self.rows)


@dataclass(frozen=True, slots=True)
class CheapestGpu:
    """The lowest price of one GPU for an hour, in US dollars, and how many offers there are of it."""

    gpu: str
    offers: int
    offer_id: str
    pricing: Pricing
    price_per_gpu_hour: Decimal

    @classmethod
    def of(cls, offer: Offer, offers: int) -> CheapestGpu:
        """The summary of the cheapest offer."""
        if offer.gpu is None or offer.price_per_gpu_hour_usd is None:
            raise ValueError("only a known GPU with a price can be the cheapest")
        return cls(offer.gpu, offers, offer.id, offer.pricing, offer.price_per_gpu_hour_usd)


class Snapshot:
    """One version of the catalogue; a newer version is another snapshot."""

    def __init__(self, frame: Frame, version: int, built_at: datetime) -> None:
        self.frame = frame
        self.version = version
        self.built_at = built_at
        self.count = frame.size - frame.simulated.size
        """Offers of what is really sold."""

    def search(self, query: Query, *, stale_providers: frozenset[str] = frozenset()) -> Hits:
        """The page a query asks for. `stale_providers` are those `fresh_only` leaves out."""
        conditions = [
            condition
            for constraint in constraints(query, self.frame, stale_providers)
            for condition in constraint.conditions
        ]
        matching = self._matching(conditions)
        ordering = self.frame.orderings[query.sort]
        rest = matching if query.position is None else self._after(query.position, ordering, matching)
        end = query.offset + query.limit
        page = _first(rest, ordering, end, ranked=query.sort == "price")[query.offset :]
        position = None
        if page.size and end < rest.size:
            last = page[-1:]
            position = (ordering.values(last)[0].item(), self.frame.ids_of(last)[0])
        return Hits(self.frame.machines(matching), int(matching.size), page, position, self.frame)

    def _matching(self, conditions: list[Condition]) -> Rows:
        """Every row that meets all conditions, in the order of price."""
        start = max((each.start for each in conditions if isinstance(each, Span)), default=0)
        end = min((each.end for each in conditions if isinstance(each, Span)), default=self.frame.size)
        if start >= end:
            return np.empty(0, dtype=np.intp)
        left_out = [each for each in conditions if isinstance(each, Without)]
        others = [each for each in conditions if not isinstance(each, Span | Without)]
        others.sort(key=lambda each: each.share)
        if others and others[0].share == 0.0:
            return np.empty(0, dtype=np.intp)
        mask = None
        for condition in others:
            if condition.is_quick:
                holds = condition.holds(slice(start, end))
                mask = holds if mask is None else np.logical_and(mask, holds, out=mask)
        if left_out and mask is None:
            mask = np.ones(end - start, dtype=np.bool_)
        if mask is None:
            rows = np.arange(start, end)
        else:
            # A few rows are struck out of the mask in place: a mask of their own would cost every search a pass.
            for each in left_out:
                each.strike(mask, start)
            rows = np.flatnonzero(mask) + start
        for condition in others:
            if not condition.is_quick:
                rows = rows[condition.holds(rows)]
        return rows

    def _after(self, position: Position, ordering: Ordering, rows: Rows) -> Rows:
        value, offer_id = position
        first_later = place_of(offer_id.encode("utf-8", "surrogatepass"), self.frame.ids, after=True)
        later = self.frame.id_rank[rows] >= first_later
        return rows[ordering.beyond(rows, value, later)]

    def relaxations(self, query: Query, *, stale_providers: frozenset[str] = frozenset()) -> list[Relaxation]:
        """For a query without hits: which constraint to loosen, smallest concession first, and what that finds."""
        demanded: list[Constraint] = list(constraints(query, self.frame, stale_providers))
        return relaxations(self.frame, demanded)

    def offer(self, row: int) -> Offer:
        """The offer of a row."""
        return self.frame.offers([row])[0]

    def get(self, offer_id: str) -> Offer | None:
        """The offer with this id."""
        row = self.frame.row(offer_id)
        return None if row is None else self.offer(row)

    def nearest_ids(self, offer_id: str, limit: int = 3) -> list[str]:
        """The ids most like one that does not exist, among those that sort beside it."""
        place = place_of(offer_id.encode("utf-8", "surrogatepass"), self.frame.ids)
        beside = self.frame.ids[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS].tolist()
        names = [each.decode("utf-8", "surrogatepass") for each in beside]
        return difflib.get_close_matches(offer_id, names, n=limit, cutoff=0.5)

    @cached_property
    def providers(self) -> tuple[str, ...]:
        """Every provider with an offer, by name, the simulated ones too."""
        return tuple(sorted(self.counts("provider", simulated=True)))

    @cached_property
    def gpus(self) -> tuple[str, ...]:
        """Every canonical GPU on offer."""
        return self._names("gpu")

    @cached_property
    def regions(self) -> tuple[str, ...]:
        """Every region with an offer, as its provider names it."""
        return self._names("region")

    def _names(self, field: str) -> tuple[str, ...]:
        return tuple(sorted(self.counts(field)))

    def counts(self, field: str, *, simulated: bool = False) -> dict[str, int]:
        """How many offers hold each value of a text field, such as `provider`, `gpu`, `region` or `availability`.

        Of what is really sold, unless the simulated offers are to be counted too.
        """
        column = self.frame.columns[field]
        counts = column.counts
        if not simulated and self.frame.simulated.size:
            counts = counts - np.bincount(column.codes[self.frame.simulated], minlength=len(column.values))
        return {
            value: count
            for value, count in zip(column.values, counts.tolist(), strict=True)
            if value is not None and count
        }

    def counts_by_provider(self) -> dict[str, int]:
        """How many offers each provider has, the simulated ones too."""
        return self.counts("provider", simulated=True)

    def cheapest_by_gpu(self) -> dict[str, CheapestGpu]:
        """Per canonical GPU the lowest price of a whole one: on demand where it is sold so, else of any kind."""
        return self._cheapest

    @cached_property
    def _cheapest(self) -> dict[str, CheapestGpu]:
        rank = self.frame.orderings["price_per_gpu"].rank
        best: dict[str, tuple[bool, int, int]] = {}
        for (gpu, pricing), row in self.frame.cheapest.items():
            found = (pricing != "on_demand", int(rank[row]), row)
            best[gpu] = min(best.get(gpu, found), found)
        counts = self.counts("gpu")
        offers = self.frame.offers([row for _, _, row in best.values()])
        found_of = sorted(zip(best, offers, strict=True), key=itemgetter(0))
        return {gpu: CheapestGpu.of(offer, counts[gpu]) for gpu, offer in found_of}

    def knows_gpu(self, word: str) -> bool:
        """Whether a word names a card at all, on offer now or not."""
        folded = " ".join(word.casefold().split())
        return bool(folded) and (bool(gpus.matching(folded)) or bool(self.frame.cards_called((folded,)).any()))

    def knows_region(self, term: str) -> bool:
        """Whether a term names an area, a country or a region, with offers now or not."""
        return regions.is_area(term) or bool(self.frame.places_called((" ".join(term.split()),)).any())


def _first(rows: Rows, ordering: Ordering, count: int, *, ranked: bool) -> Rows:
    """The first rows in an order; `ranked` says they are in it already."""
    if ranked:
        return rows[:count]
    rank = ordering.rank[rows]
    if count < rank.size:
        nearest = np.argpartition(rank, count)[:count]
        rows, rank = rows[nearest], rank[nearest]
    return rows[np.argsort(rank)]
