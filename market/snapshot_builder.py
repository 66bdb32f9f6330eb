"""Builds a snapshot without holding up a request: rows are coded a few at a time, sorting happens in another thread.

A step on the event loop takes a few milliseconds; numpy lets go of the interpreter while it sorts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from market import gpus, regions
from market.columns import DECODERS, Column, Mask, Ordering, code_type, decoded
from market.frame import AMOUNT_FIELDS, NO_AMOUNT, NOT_COMPARED, Frame
from market.offers import Offer
from market.query import SIMULATED
from market.rows import AT, OFFER_FIELDS, Row, encode
from market.snapshot import Snapshot
from market.vocabulary import Vocabulary, byte_strings, found_at

if TYPE_CHECKING:
    from market.store import Store

CHUNK = 500
"""Rows coded between two chances for other work; about five milliseconds."""
_TEXT_FIELDS = ("name", "tags", "gpu_raw", "provider", "external_id")
_PAIRED = {
    "cards": ("gpu", "gpu_raw"),
    "places": ("provider", "region", "country"),
    "total_memory_gb": ("memory_gb", "gpu_count"),
}
_CODED = tuple(name for name in OFFER_FIELDS if name != "id" and name not in AMOUNT_FIELDS)
_NO_PRICE = 2**62
_LAST = 1
"""Sorts after every negated figure: what is not stated comes last."""

Codes = npt.NDArray[Any]


class _Codebook(dict[Any, int]):
    """Gives each new value the next code."""

    def __missing__(self, value: Any) -> int:
        code = self[value] = len(self)
        return code


class Recorder:
    """Takes rows a few at a time and becomes a snapshot."""

    def __init__(self) -> None:
        self._books = {name: _Codebook() for name in (*_CODED, *_PAIRED)}
        self._codes: dict[str, list[Codes]] = {name: [] for name in self._books}
        self._amounts: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in AMOUNT_FIELDS}
        self._ids: list[npt.NDArray[np.bytes_]] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Take some rows of the offers table."""
        if not rows:
            return
        columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True))
        count = len(rows)
        self._ids.append(byte_strings(columns[AT["id"]]))
        for name, chunks in self._amounts.items():
            known = (NO_AMOUNT if value is None else value for value in columns[AT[name]])
            chunks.append(np.fromiter(known, dtype=np.int64, count=count))
        for name, book in self._books.items():
            parts = _PAIRED.get(name)
            values = zip(*(columns[AT[part]] for part in parts), strict=True) if parts else columns[AT[name]]
            codes = np.fromiter(map(book.__getitem__, values), dtype=np.uint32, count=count)
            self._codes[name].append(codes.astype(code_type(len(book))))

    def finish(self, version: int, built_at: datetime) -> Snapshot:
        """The snapshot of all rows taken. Takes its time; run it in another thread."""
        ids = _joined(self._ids, np.dtype("S1"))
        by_id = np.argsort(ids, kind="stable")
        sorted_ids = ids[by_id]
        if np.any(sorted_ids[1:] == sorted_ids[:-1]):
            raise ValueError("two offers have the same id")
        amounts = {name: _joined(chunks, np.dtype(np.int64)) for name, chunks in self._amounts.items()}
        id_rank = _inverse(by_id)
        price = np.where(amounts["price_per_hour_usd"] == NO_AMOUNT, _NO_PRICE, amounts["price_per_hour_usd"])
        order = np.lexsort((id_rank, price))
        columns = {name: self._column(name, order) for name in tuple(self._books)}
        cards, places = columns.pop("cards"), columns.pop("places")
        totals = [None if memory is None else memory * count for memory, count in columns["total_memory_gb"].values]
        columns["total_memory_gb"] = Column(totals, columns["total_memory_gb"].codes)
        id_rank, price = id_rank[order], price[order]
        orderings = _orderings(columns, price, id_rank)
        row_of_id = _inverse(id_rank)
        resold, direct = _resales(columns["direct_offer_id"], sorted_ids, row_of_id)
        sellers = columns["provider"]
        is_simulated = sellers.chosen(SIMULATED.__contains__)[sellers.codes]
        frame = Frame(
            size=price.size,
            priced=int(np.searchsorted(price, _NO_PRICE)),
            columns=columns,
            cards=cards,
            places=places,
            located=tuple(regions.locate(*place) for place in places.values),
            constants=_constants(columns),
            amounts={name: values[order] for name, values in amounts.items()},
            orderings=orderings,
            vocabularies={name: Vocabulary(_texts(columns[name], name)) for name in _TEXT_FIELDS},
            ids=sorted_ids,
            id_rank=id_rank,
            row_of_id=row_of_id,
            resold=resold,
            direct=direct,
            simulated=np.flatnonzero(is_simulated),
            cheapest=_cheapest(columns, orderings["price_per_gpu"], is_simulated),
        )
        return Snapshot(frame, version, built_at)

    def _column(self, name: str, order: npt.NDArray[Any]) -> Column:
        codes = _joined(self._codes.pop(name), np.dtype(np.uint8))
        return Column(list(self._books.pop(name)), codes[order])


async def build(store: Store) -> Snapshot:
    """The snapshot of what the store holds now."""
    from market import catalogue

    version = (await catalogue.current(store)).version
    return await gathered(catalogue.load_rows(store, CHUNK), version)


async def gathered(chunks: AsyncIterator[Sequence[Row]], version: int) -> Snapshot:
    """The snapshot of rows that arrive a chunk at a time, others getting their turn between two."""
    recorder = Recorder()
    async for rows in chunks:
        recorder.add(rows)
        await asyncio.sleep(0)
    return await asyncio.to_thread(recorder.finish, version, datetime.now(UTC))


def from_offers(offers: Iterable[Offer], version: int = 0) -> Snapshot:
    """The snapshot of some offers, made here and now."""
    recorder = Recorder()
    rows = (encode(offer).values for offer in offers)
    while chunk := list(islice(rows, CHUNK)):
        recorder.add(chunk)
    return recorder.finish(version, datetime.now(UTC))


def _joined(chunks: Sequence[npt.NDArray[Any]], empty: np.dtype[Any]) -> npt.NDArray[Any]:
    """One array of many, piece by piece: a single concatenation may hold the interpreter for long."""
    kind = np.result_type(*{chunk.dtype for chunk in chunks}) if chunks else empty
    whole = np.empty(sum(chunk.size for chunk in chunks), dtype=kind)
    start = 0
    for chunk in chunks:
        whole[start : start + chunk.size] = chunk
        start += chunk.size
    return whole


def _inverse(order: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    place = np.empty(order.size, dtype=np.int32)
    place[order] = np.arange(order.size, dtype=np.int32)
    return place


def _constants(columns: dict[str, Column]) -> dict[str, Any]:
    alone = {name: column.values for name, column in columns.items() if len(column.values) == 1 and name in _CODED}
    return {name: decoded(name, values)[0] for name, values in alone.items()}


def _texts(column: Column, name: str) -> Iterable[str]:
    if name == "tags":
        return (" ".join(DECODERS["tags"](text)) for text in column.values)
    return column.values


def _orderings(
    columns: dict[str, Column], price: npt.NDArray[np.int64], id_rank: npt.NDArray[np.int32]
) -> dict[str, Ordering]:
    priced = price < _NO_PRICE
    every = slice(None)
    share = columns["gpu_fraction"].figures(every)
    count = columns["gpu_count"].figures(every)
    memory = columns["memory_gb"].figures(every)
    per_gpu = np.where(priced, _shared(price, count.astype(np.int64)), _NO_PRICE)
    tflops = np.array([_dense_tflops(name) for name in columns["gpu"].values], dtype=np.float64)[columns["gpu"].codes]
    per_dollar = tflops * count * share / (price / 1e6)
    keys: dict[str, npt.NDArray[Any]] = {
        "price": price,
        "-price": np.where(priced, -price, _LAST),
        "price_per_gpu": np.where(priced & (share != 1.0), per_gpu + NOT_COMPARED, per_gpu),
        "performance_per_dollar": np.where(priced & (per_dollar > 0), -per_dollar, _LAST),
        "freshness": -columns["last_updated"].figures(every),
        "memory": np.where(np.isnan(memory), _LAST, -memory),
    }
    return {sort: Ordering(key, id_rank) for sort, key in keys.items()}


def _shared(total: npt.NDArray[np.int64], count: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Whole millionths of a price shared by some GPUs, rounded half to even like `Offer.price_per_gpu_hour_usd`."""
    share, rest = np.divmod(total, count)
    up = (2 * rest > count) | ((2 * rest == count) & (share % 2 == 1))
    rounded: npt.NDArray[np.int64] = np.add(share, up, dtype=np.int64)
    return rounded


def _dense_tflops(gpu: str | None) -> float:
    """Dense BF16 TFLOPS of a card, FP16 where it has no BF16; NaN when nobody published them."""
    card = gpus.catalogue().get(gpu) if gpu is not None else None
    return (card.bf16_tflops or card.fp16_tflops or np.nan) if card is not None else np.nan


def _resales(
    links: Column, ids: npt.NDArray[np.bytes_], row_of_id: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows sold through a reseller and the rows of the same machines sold directly, where both are in the catalogue."""
    known = np.full(len(links.values), -1, dtype=np.int64)
    for code, offer_id in enumerate(links.values):
        place = None if offer_id is None else found_at(offer_id, ids)
        if place is not None:
            known[code] = row_of_id[place]
    target = known[links.codes]
    # Only a row without a link of its own is the machine itself.
    linked: Mask = np.array([value is not None for value in links.values], dtype=np.bool_)[links.codes]
    rows = np.flatnonzero(target >= 0)
    rows = rows[~linked[target[rows]]]
    return rows, target[rows]


def _cheapest(columns: dict[str, Column], per_gpu: Ordering, left_out: Mask) -> dict[tuple[str, str], int]:
    """The first row of each GPU and kind of pricing, in the order of price per whole GPU."""
    order = _inverse(per_gpu.rank)[: per_gpu.first_from(NOT_COMPARED)]
    order = order[~left_out[order]]
    gpu, pricing = columns["gpu"], columns["pricing"]
    kinds = len(pricing.values)
    kind, first = np.unique(gpu.codes[order].astype(np.int64) * kinds + pricing.codes[order], return_index=True)
    named = ((gpu.values[each // kinds], pricing.values[each % kinds]) for each in kind.tolist())
    return {name: int(order[row]) for name, row in zip(named, first.tolist(), strict=True) if name[0] is not None}
