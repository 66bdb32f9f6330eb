"""The columns of one version of the catalogue, rows in the order of price and id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from market import gpus, regions
from market.columns import DECODERS, Column, Mask, Ordering, Rows, decoded
from market.offers import Offer
from market.rows import OFFER_FIELDS
from market.vocabulary import Vocabulary, found_at

AMOUNT_FIELDS = ("price_per_hour", "price_per_hour_usd")
"""Fields with as many values as rows: kept as integer millionths, `NO_AMOUNT` where there is none."""
NO_AMOUNT = -1
NOT_COMPARED = 2**61
"""Sort values from here on stand for rows a price order cannot compare: a share of a card, then no price at all."""
_REMEMBERED = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Everything a search looks at. Nothing changes after the build but what is remembered of resolved words."""

    size: int
    priced: int
    """Rows before this one have an hourly price in US dollars."""
    columns: dict[str, Column]
    """Every field but the id and the amounts, and `total_memory_gb`."""
    cards: Column
    """Pairs of canonical GPU and the provider's name for it."""
    places: Column
    """Provider, region and country."""
    amounts: dict[str, npt.NDArray[np.int64]]
    orderings: dict[str, Ordering]
    vocabularies: dict[str, Vocabulary]
    ids: npt.NDArray[np.bytes_]
    """Every id, sorted."""
    id_rank: npt.NDArray[np.int32]
    """Where a row's id is among them."""
    row_of_id: npt.NDArray[np.int32]
    resold: Rows
    """Rows that are another row's machine sold through a reseller."""
    direct: Rows
    """And the rows of those machines."""
    cheapest: dict[tuple[str, str], int]
    """Per canonical GPU and kind of pricing, the row with the lowest price of a whole GPU."""
    _remembered: dict[tuple[str, str], Mask] = field(default_factory=dict)

    def cards_called(self, word: str) -> Mask:
        """Which cards a word means: by canonical name; where that knows none, by part of the provider's name."""

        def keep(names: frozenset[str], card: tuple[str | None, str]) -> bool:
            return card[0] in names if names and card[0] is not None else word in card[1].casefold()

        def resolve() -> Mask:
            names = gpus.matching(word)
            return self.cards.chosen(lambda card: keep(names, card))

        return self._remember("gpu", word, resolve)

    def places_called(self, term: str) -> Mask:
        """Which places a term means: an area, a country, or a provider's own region."""
        return self._remember(
            "region",
            term,
            lambda: self.places.chosen(lambda place: regions.selects(term, regions.locate(*place))),
        )

    def tag_sets_with(self, tag: str) -> Mask:
        """Which sets of tags hold this one."""
        decode = DECODERS["tags"]
        return self._remember(
            "tag",
            tag,
            lambda: self.columns["tags"].chosen(lambda text: any(each.casefold() == tag for each in decode(text))),
        )

    def _remember(self, kind: str, term: str, resolve: Callable[[], Mask]) -> Mask:
        found = self._remembered.get((kind, term))
        if found is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            found = self._remembered[kind, term] = resolve()
        return found

    def machines(self, rows: Rows) -> int:
        """How many of the rows are different machines: one also sold directly counts once."""
        if not self.resold.size:
            return int(rows.size)
        among = np.zeros(self.size, dtype=np.bool_)
        among[rows] = True
        return int(rows.size) - int(np.count_nonzero(among[self.resold] & among[self.direct]))

    def row(self, offer_id: str) -> int | None:
        """The row of an id."""
        place = found_at(offer_id, self.ids)
        return None if place is None else int(self.row_of_id[place])

    def ids_of(self, rows: Rows) -> list[str]:
        """The ids of some rows."""
        return [each.decode("utf-8", "surrogatepass") for each in self.ids[self.id_rank[rows]].tolist()]

    def offers(self, rows: Sequence[int] | Rows) -> list[Offer]:
        """The offers of some rows, made now: keeping a million of them as objects would take gigabytes."""
        at = np.asarray(rows, dtype=np.intp)
        fields = [self._values(name, at) for name in OFFER_FIELDS]
        return [Offer(**dict(zip(OFFER_FIELDS, values, strict=True))) for values in zip(*fields, strict=True)]

    def _values(self, name: str, at: Rows) -> list[Any]:
        if name == "id":
            return self.ids_of(at)
        if name in self.amounts:
            amounts = self.amounts[name][at].tolist()
            return decoded(name, [None if amount == NO_AMOUNT else amount for amount in amounts])
        column = self.columns[name]
        if len(column.values) == 1:
            return decoded(name, column.values) * at.size
        return decoded(name, [column.values[code] for code in column.codes[at].tolist()])
