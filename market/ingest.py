"""One provider's pass written to the database: only what changed, in one transaction, price history only on change.

Who waits for a price is told through the outbox, in the same transaction: `prices.changed`, the provider as subject,
`{"offers": [[id, old, new, availability], …]}` in pieces of 500. Prices are US dollars an hour as text, null before an
offer was listed and after it is gone (`availability` is then `gone`), and for one that is sold by the token. A
provider's first load is not told: everything in it is new.

Values are encoded in a worker thread before the transaction begins, so that neither the event loop nor the other
writers wait for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from market import outbox
from market.money import from_millionths
from market.offers import Offer
from market.rows import AT, ROW_FIELDS, Encoded, Unstorable, encode, to_micros
from market.store import Dialect, Store

BATCH = 5_000
PRICES_CHANGED = "prices.changed"
GONE = "gone"
TOLD_AT_ONCE = 500
_PRICE_FIELDS = (
    "price_per_hour",
    "price_per_hour_usd",
    "price_per_million_input_tokens",
    "price_per_million_output_tokens",
    "currency",
    "availability",
)
_PRICE_AT = tuple(AT[name] for name in _PRICE_FIELDS)
_ID = AT["id"]

Values = Sequence[Any]


@dataclass(frozen=True, slots=True)
class PriceChange:
    """An offer whose price or availability is no longer what it was; token prices are those of output tokens."""

    offer_id: str
    provider: str
    gpu: str | None
    region: str
    currency: str
    old_price: Decimal | None
    new_price: Decimal | None
    old_availability: str
    new_availability: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one pass did to the catalogue, and the version it left behind."""

    provider: str
    inserted: int
    changed: int
    unchanged: int
    gone: int
    duplicates: int
    refused: dict[str, int]
    prices_changed: tuple[PriceChange, ...]
    version: int


@dataclass(slots=True)
class _Batch:
    """The encoded offers of one pass, by id."""

    offers: dict[str, Encoded] = field(default_factory=dict)
    duplicates: int = 0
    refused: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Plan:
    """What has to be written."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    history: list[tuple[Any, ...]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    prices_changed: list[PriceChange] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    inserted: int = 0
    live: int = 0

    @property
    def changes(self) -> bool:
        """Whether a reader would see any difference."""
        return bool(self.rows or self.gone)


async def write(store: Store, provider: str, found: Iterable[Offer], *, seen_at: datetime, complete: bool) -> Recorded:
    """Bring the offers of `provider` up to what was found; with `complete`, those not found are gone."""
    batch = await asyncio.to_thread(_encoded, provider, found)
    async with store.write() as connection:
        if store.dialect == "postgresql":
            await connection.exec_driver_sql(
                "SELECT pg_advisory_xact_lock(hashtext('gpubroker'), hashtext($1))", (provider,)
            )
        known = await _known(connection, store.dialect, provider)
        plan = await asyncio.to_thread(_planned, provider, batch, known, seen_at, complete)
        await _execute(connection, store.dialect, plan, to_micros(seen_at), complete)
        await _confirm(connection, store.dialect, provider, to_micros(seen_at), plan.live, complete)
        version = await bump(connection, changed=plan.changes)
        await outbox.publish_all(connection, at=seen_at, kind=PRICES_CHANGED, owner="", events=plan.told)
    return Recorded(
        provider=provider,
        inserted=plan.inserted,
        changed=len(plan.rows) - plan.inserted,
        unchanged=len(plan.unchanged),
        gone=len(plan.gone),
        duplicates=batch.duplicates,
        refused=batch.refused,
        prices_changed=tuple(plan.prices_changed),
        version=version,
    )


async def bump(connection: AsyncConnection, *, changed: bool) -> int:
    """Move the catalogue's version (offers changed) or its confirmation (only freshness or health did)."""
    column = "version" if changed else "confirmation"
    result = await connection.exec_driver_sql(
        f"UPDATE catalogue_state SET {column} = {column} + 1 WHERE id = 1 RETURNING version"  # noqa: S608
    )
    return int(result.scalar_one())


def _encoded(provider: str, found: Iterable[Offer]) -> _Batch:
    batch = _Batch()
    for offer in found:
        if offer.provider != provider:
            raise ValueError(f"an offer of {offer.provider!r} cannot be recorded for {provider!r}")
        try:
            encoded = encode(offer)
        except Unstorable as refusal:
            batch.refused[str(refusal)] = batch.refused.get(str(refusal), 0) + 1
            continue
        twin = batch.offers.get(offer.id)
        if twin is not None:
            batch.duplicates += 1
            if _price(twin.values) <= _price(encoded.values):
                continue
        batch.offers[offer.id] = encoded
    return batch


def _price(values: Values) -> int:
    """What tells two rows of one id apart: the lower price is kept."""
    for name in ("price_per_hour_usd", "price_per_hour", "price_per_million_output_tokens"):
        if values[AT[name]] is not None:
            return int(values[AT[name]])
    return 0


_KNOWN_FIELDS = ("id", "content_hash", "gone_at", *_PRICE_FIELDS)


async def _known(connection: AsyncConnection, dialect: Dialect, provider: str) -> dict[str, Values]:
    """By id: content hash, time it went, then the price fields, of everything the provider ever listed."""
    result = await connection.exec_driver_sql(
        f"SELECT {', '.join(_KNOWN_FIELDS)} FROM offers WHERE provider = {_marks(dialect, 1)}",  # noqa: S608
        (provider,),
    )
    return {row[0]: row[1:] for row in result}


def _planned(provider: str, batch: _Batch, known: dict[str, Values], seen_at: datetime, complete: bool) -> _Plan:
    plan = _Plan()
    moved: list[tuple[str, str | None, str | None, str]] = []
    now = to_micros(seen_at)
    for offer_id in sorted(batch.offers):  # in the order of the indexes: neighbours share pages
        values, content_hash = batch.offers[offer_id]
        before = known.get(offer_id)
        if before is not None and before[0] == content_hash and before[1] is None:
            plan.unchanged.append(offer_id)
            continue
        plan.rows.append((*values, content_hash, now, now, None))
        prices = tuple([values[position] for position in _PRICE_AT])
        was_listed = before is not None and before[1] is None
        is_news = before is None or prices != tuple(before[2:])
        if before is None:
            plan.inserted += 1
        elif is_news:
            plan.prices_changed.append(_change(values, before[2:], prices, seen_at))
        if is_news:
            plan.history.append((offer_id, *prices, now))
        if is_news or not was_listed:
            moved.append((offer_id, _dollars(before[3]) if before and was_listed else None, *_told(prices)))
    unlisted = [offer_id for offer_id, row in known.items() if row[1] is None and offer_id not in batch.offers]
    if complete:
        plan.gone = unlisted
        moved += [(offer_id, _dollars(known[offer_id][3]), None, GONE) for offer_id in unlisted]
    if known:
        plan.told = [(provider, _listed(moved[at : at + TOLD_AT_ONCE])) for at in range(0, len(moved), TOLD_AT_ONCE)]
    plan.live = len(batch.offers) + len(unlisted) - len(plan.gone)
    return plan


def _dollars(micros: int | None) -> str | None:
    """As `canonical` writes the Decimal, without the detour."""
    if micros is None:
        return None
    whole, rest = divmod(micros, 1_000_000)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)


def _told(prices: Values) -> tuple[str | None, str]:
    return _dollars(prices[1]), prices[5]


def _listed(moved: list[tuple[str, str | None, str | None, str]]) -> str:
    return json.dumps({"offers": moved}, ensure_ascii=False, separators=(",", ":"))


def _change(values: Values, before: Values, after: Values, seen_at: datetime) -> PriceChange:
    def shown(prices: Values) -> Decimal | None:
        kept = prices[0] if prices[0] is not None else prices[3]
        return None if kept is None else from_millionths(kept)

    return PriceChange(
        offer_id=values[_ID],
        provider=values[AT["provider"]],
        gpu=values[AT["gpu"]],
        region=values[AT["region"]],
        currency=after[4],
        old_price=shown(before),
        new_price=shown(after),
        old_availability=before[5],
        new_availability=after[5],
        recorded_at=seen_at,
    )


async def _execute(connection: AsyncConnection, dialect: Dialect, plan: _Plan, now: int, complete: bool) -> None:
    first, second = _marks(dialect, 1), _marks(dialect, 2, start=2)
    await _many(connection, _upsert(dialect), plan.rows)
    await _many(connection, _append(dialect), plan.history)
    await _many(
        connection,
        f"UPDATE offers SET gone_at = {first} WHERE id = {second}",  # noqa: S608
        [(now, offer_id) for offer_id in plan.gone],
    )
    if not complete:
        await _many(
            connection,
            f"UPDATE offers SET last_seen_at = {first} WHERE id = {second}",  # noqa: S608
            [(now, offer_id) for offer_id in plan.unchanged],
        )


async def _many(connection: AsyncConnection, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    for chunk in _chunks(rows):
        await connection.exec_driver_sql(statement, chunk)


def _chunks(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, BATCH)):
        yield chunk


def _marks(dialect: Dialect, last: int, start: int | None = None) -> str:
    """Placeholders from `start` (default 1) to `last` in the driver's own style."""
    return ", ".join("?" if dialect == "sqlite" else f"${n}" for n in range(start or 1, last + 1))


def _upsert(dialect: Dialect) -> str:
    updates = ", ".join(f"{name} = excluded.{name}" for name in ROW_FIELDS if name not in {"id", "first_seen_at"})
    return (
        f"INSERT INTO offers ({', '.join(ROW_FIELDS)}) VALUES ({_marks(dialect, len(ROW_FIELDS))}) "  # noqa: S608
        f"ON CONFLICT (id) DO UPDATE SET {updates}"
    )


def _append(dialect: Dialect) -> str:
    names = ("offer_id", *_PRICE_FIELDS, "recorded_at")
    return f"INSERT INTO price_history ({', '.join(names)}) VALUES ({_marks(dialect, len(names))})"  # noqa: S608


async def _confirm(
    connection: AsyncConnection, dialect: Dialect, provider: str, now: int, live: int, complete: bool
) -> None:
    """Note on the provider that its offers were seen; one met for the first time gets a row of its own."""
    name, title, count, success, whole = _marks(dialect, 5).split(", ")
    await connection.exec_driver_sql(
        "INSERT INTO providers (name, title, state, offers, rejects, notice, last_success_at, last_complete_at) "  # noqa: S608
        f"VALUES ({name}, {title}, 'unknown', {count}, '{{}}', '', {success}, {whole}) "
        "ON CONFLICT (name) DO UPDATE SET offers = excluded.offers, last_success_at = excluded.last_success_at, "
        "last_complete_at = COALESCE(excluded.last_complete_at, providers.last_complete_at)",
        (provider, provider, live, now, now if complete else None),
    )
