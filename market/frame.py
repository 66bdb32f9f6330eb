"""The columns of one version of the catalogue, rows in the order of price and id."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from market import gpus, regions
from market.columns import DECODERS, Column, Mask, Membership, Ordering, Rows, decoded
from market.offers import Offer
from market.rows import OFFER_FIELDS
from market.vocabulary import Vocabulary, found_at

AMOUNT_FIELDS = ("price_per_hour", "price_per_hour_usd")
"""Fields with as many values as rows: kept as integer millionths, `NO_AMOUNT` where there is none."""
NO_AMOUNT = -1
NOT_COMPARED = 2**61
"""Sort values from here on stand for rows a price order cannot compare: a share of a card, then no price at all."""
_REMEMBERED = 512
_REMEMBERED_VALUES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Everything a search looks at. Nothing changes after the build but what is remembered of earlier questions."""

    size: int
    priced: int
    """Rows before this one have an hourly price in US dollars."""
    columns: dict[str, Column]
    """Every field but the id and the amounts, and `total_memory_gb`."""
    cards: Column
    """Pairs of canonical GPU and the provider's name for it."""
    places: Column
    """Provider, region and country."""
    located: tuple[regions.Place, ...]
    """What each of `places` is."""
    constants: dict[str, Any]
    """Fields in which all offers agree, with their value."""
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
    simulated: Rows
    """The rows of offers that are not real, in order; whoever does not ask for their provider never sees them."""
    cheapest: dict[tuple[str, str], int]
    """Per canonical GPU and kind of pricing, the row with the lowest price of a whole GPU that is really sold."""
    _remembered: dict[tuple[str, Hashable], Membership] = field(default_factory=dict)

    def cards_called(self, words: tuple[str, ...]) -> Mask:
        """Which cards the words mean: by canonical name; where that knows none, by part of the provider's name."""
        readings = [(word, gpus.matching(word)) for word in words]

        def meant(card: tuple[str | None, str]) -> bool:
            gpu, raw = card
            return any(
                gpu in names if names and gpu is not None else word in raw.casefold() for word, names in readings
            )

        return self.cards.chosen(meant)

    def places_called(self, terms: tuple[str, ...]) -> Mask:
        """Which places the terms mean: an area, a country, or a provider's own region."""
        meant = (any(regions.selects(term, place) for term in terms) for place in self.located)
        return np.fromiter(meant, dtype=np.bool_, count=len(self.located))

    def tag_sets_with(self, tags: tuple[str, ...]) -> Mask:
        """Which sets of tags hold all of these."""
        decode, wanted = DECODERS["tags"], set(tags)
        return self.columns["tags"].chosen(lambda text: wanted <= {tag.casefold() for tag in decode(text)})

    def membership(self, field: str, asked: Hashable, column: Column, choose: Callable[[], Mask]) -> Membership:
        """The condition that a field's values are among those chosen, remembered for the next who ask the same."""
        found = self._remembered.get((field, asked))
        if found is None:
            found = Membership.of(column, choose())
            if len(column.values) <= _REMEMBERED_VALUES:
                if len(self._remembered) >= _REMEMBERED:
                    self._remembered.clear()
                self._remembered[field, asked] = found
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
        varying = [name for name in OFFER_FIELDS if name not in self.constants]
        columns = [self._values(name, at) for name in varying]
        return [
            Offer(**self.constants, **dict(zip(varying, values, strict=True))) for values in zip(*columns, strict=True)
        ]

    def _values(self, name: str, at: Rows) -> list[Any]:
        if name == "id":
            return self.ids_of(at)
        if name in self.amounts:
            amounts = self.amounts[name][at].tolist()
            return decoded(name, [None if amount == NO_AMOUNT else amount for amount in amounts])
        column = self.columns[name]
        return decoded(name, [column.values[code] for code in column.codes[at].tolist()])
