"""The lowest price of each GPU in each place, put together once a version of the catalogue and asked many times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from market.columns import Rows
from market.frame import NOT_COMPARED, Frame
from market.query import SIMULATED

_IN_STOCK = ("available", "limited")


@dataclass(frozen=True, slots=True)
class _Best:
    """Rows, the cheapest of every combination of card, place and pricing, in the order of their price per GPU."""

    rows: Rows
    cards: npt.NDArray[np.intp]
    places: npt.NDArray[np.intp]
    pricings: npt.NDArray[np.intp]

    @classmethod
    def of(cls, frame: Frame, rows: Rows) -> _Best:
        rows = rows[np.argsort(frame.orderings["price_per_gpu"].rank[rows])]
        pricing = frame.columns["pricing"]
        cards, places, pricings = (
            column.codes[rows].astype(np.intp) for column in (frame.cards, frame.places, pricing)
        )
        combined = (cards * max(1, len(frame.places.values)) + places) * max(1, len(pricing.values)) + pricings
        first = np.sort(np.unique(combined, return_index=True)[1])
        return cls(rows[first], cards[first], places[first], pricings[first])


class CheapestInPlaces:
    """Answers what a GPU costs at least in a region, per whole GPU, leaving out what cannot be had."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        key = frame.orderings["price_per_gpu"]
        every = np.arange(frame.size)
        real = frame.columns["provider"].chosen(lambda name: name not in SIMULATED)[frame.columns["provider"].codes]
        stock = frame.columns["availability"]
        possible = real & stock.chosen(lambda value: value != "unavailable")[stock.codes]
        at_hand = possible & stock.chosen(lambda value: value in _IN_STOCK)[stock.codes]
        comparable = key.values(every) < NOT_COMPARED if frame.size else np.zeros(0, dtype=np.bool_)
        self._prices = key.values(every) if frame.size else np.zeros(0, dtype=np.int64)
        self._priced = _Best.of(frame, every[possible & comparable])
        self._at_hand = _Best.of(frame, every[at_hand & comparable])
        self._cards: dict[str, npt.NDArray[np.bool_]] = {}
        self._places: dict[str | None, npt.NDArray[np.bool_]] = {}

    def price(self, gpu: str, region: str | None, pricing: str) -> tuple[int, int] | None:
        """The lowest price per GPU and hour in millionths of a US dollar, and its row."""
        row = self._first(self._priced, gpu, region, pricing)
        return None if row is None else (int(self._prices[row]), row)

    def at_hand(self, gpu: str, region: str | None, pricing: str) -> int | None:
        """The row of the cheapest that can be had now; None when there is none."""
        return self._first(self._at_hand, gpu, region, pricing)

    def _first(self, best: _Best, gpu: str, region: str | None, pricing: str) -> int | None:
        kinds = self._frame.columns["pricing"].chosen(lambda kind: kind == pricing)
        meant = self._called(gpu)[best.cards] & self._in(region)[best.places] & kinds[best.pricings]
        if not meant.any():
            return None
        return int(best.rows[int(meant.argmax())])

    def _called(self, gpu: str) -> npt.NDArray[np.bool_]:
        word = " ".join(gpu.casefold().split())
        if word not in self._cards:
            self._cards[word] = self._frame.cards_called((word,))
        return self._cards[word]

    def _in(self, region: str | None) -> npt.NDArray[np.bool_]:
        if region not in self._places:
            self._places[region] = (
                np.ones(len(self._frame.places.values), dtype=np.bool_)
                if region is None
                else self._frame.places_called((" ".join(region.split()),))
            )
        return self._places[region]
