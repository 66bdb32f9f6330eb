"""The words of a column: which of its distinct values hold a word that begins so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from market.columns import Mask
from market.query import words

_CHUNK = 8_192


def byte_strings(texts: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Texts as one array of UTF-8, which sorts as the texts do; made in pieces so that no step is long.

    One byte longer than the longest, so that a search for any beginning needs no copy of the array.
    """
    pieces = []
    for start in range(0, len(texts), _CHUNK):
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts[start : start + _CHUNK]]
        pieces.append(np.array(encoded, dtype=f"S{max(map(len, encoded)) + 1}"))
    return np.concatenate(pieces) if pieces else np.empty(0, dtype="S1")


def place_of(text: bytes, among: npt.NDArray[np.bytes_], *, after: bool = False) -> int:
    """Where a text would go in a sorted array: before its equals, or after them."""
    return int(np.searchsorted(among, np.array(text, dtype=among.dtype), side="right" if after else "left"))


def found_at(text: str, among: npt.NDArray[np.bytes_]) -> int | None:
    """Where a text is in a sorted array, or None when it is not there."""
    wanted = text.encode("utf-8", "surrogatepass")
    if len(wanted) >= among.dtype.itemsize:
        return None
    place = place_of(wanted, among)
    return place if place < among.size and among[place] == wanted else None


class Vocabulary:
    """The sorted words of some values, each with the values that hold it."""

    def __init__(self, texts: Iterable[str]) -> None:
        known: dict[str, int] = {}
        pairs: list[npt.NDArray[np.int32]] = []
        pending: list[tuple[int, int]] = []
        self._size = 0
        for code, text in enumerate(texts):
            self._size = code + 1
            pending.extend((known.setdefault(word, len(known)), code) for word in set(words(text)))
            if len(pending) >= _CHUNK:
                pairs.append(_pairs(pending))
                pending = []
        pairs.append(_pairs(pending))
        vocabulary = byte_strings(list(known))
        order = np.argsort(vocabulary, kind="stable")
        rank = np.empty(order.size, dtype=np.int32)
        rank[order] = np.arange(order.size, dtype=np.int32)
        self._words = vocabulary[order]
        postings = np.concatenate(pairs)
        owner = rank[postings[:, 0]]
        by_word = np.argsort(owner, kind="stable")
        self._values = postings[by_word, 1]
        self._starts = np.searchsorted(owner[by_word], np.arange(order.size + 1))

    def holding(self, word: str) -> Mask | None:
        """The values with a word that begins so, or None when there is none."""
        beginning = word.encode("utf-8", "surrogatepass")
        if len(beginning) >= self._words.dtype.itemsize:
            return None
        first = place_of(beginning, self._words)
        last = place_of(beginning + b"\xff", self._words)
        if first == last:
            return None
        found = np.zeros(self._size, dtype=np.bool_)
        found[self._values[self._starts[first] : self._starts[last]]] = True
        return found


def _pairs(pending: list[tuple[int, int]]) -> npt.NDArray[Any]:
    return np.array(pending, dtype=np.int32).reshape(-1, 2)
