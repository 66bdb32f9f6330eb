"""The catalogue in the database: what providers list goes in; live offers, price history and provider health come out.

That an unchanged offer was seen again is kept once per provider (`ProviderHealth.last_complete_at`), so a quiet pass
costs one small write. Rows come out as plain tuples (`market.rows`), so that the snapshot can be built in a thread.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import Row as ResultRow
from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from market import ingest, rows
from market.ingest import Recorded
from market.offers import Offer
from market.rows import AT, ROW_FIELDS, Row, from_micros
from market.store import Store
from market.tables import catalogue_state, offers, price_history, price_history_daily, providers, sync_runs

HealthState = Literal["unknown", "healthy", "degraded", "unhealthy", "disabled"]

_MANY_IDS = 500
_MEASURES = (
    "price_per_hour",
    "price_per_hour_usd",
    "price_per_million_input_tokens",
    "price_per_million_output_tokens",
)


@dataclass(frozen=True, slots=True)
class State:
    """`version` moves when offers change, `confirmation` when only freshness or provider health did."""

    version: int
    confirmation: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An offer as the database has it; `gone_at` is set once its provider no longer lists it."""

    offer: Offer
    first_seen_at: datetime
    gone_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePoint:
    """What an offer cost from `recorded_at` on; prices older than two years are one point a day (`samples` of them)."""

    recorded_at: datetime
    price_per_hour: Decimal | None
    price_per_hour_usd: Decimal | None
    price_per_million_input_tokens: Decimal | None = None
    price_per_million_output_tokens: Decimal | None = None
    currency: str
    availability: str = "unknown"
    samples: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderHealth:
    """How a provider is doing, how fresh its offers are, and when they turn stale and are dropped."""

    name: str
    title: str = ""
    state: HealthState = "unknown"
    last_attempt_at: datetime | None = None
    last_success_at: datetime | None = None
    last_complete_at: datetime | None = None
    """When a whole pass last confirmed everything it lists."""
    last_error: str | None = None
    response_time_ms: float | None = None
    offers: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    interval: timedelta | None = None
    stale_after: timedelta | None = None
    drop_after: timedelta | None = None
    notice: str = ""

    def is_stale(self, now: datetime) -> bool:
        """Whether its offers were last confirmed longer ago than it allows; never confirmed counts as stale."""
        if self.stale_after is None:
            return False
        return self.last_complete_at is None or now - self.last_complete_at > self.stale_after


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRun:
    """One pass over one provider, for the log of runs."""

    provider: str
    started_at: datetime
    finished_at: datetime
    rows: int = 0
    offers: int = 0
    inserted: int = 0
    changed: int = 0
    gone: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    error: str | None = None


async def record(store: Store, provider: str, found: Iterable[Offer], *, seen_at: datetime, complete: bool) -> Recorded:
    """Bring a provider's offers up to what it listed at `seen_at`; `complete` means that what is not listed is gone.

    One transaction: all of it or nothing. Price history grows only where price or availability changed.
    """
    return await ingest.write(store, provider, found, seen_at=seen_at, complete=complete)


async def current(store: Store) -> State:
    """The version of the catalogue: one tiny read, to tell whether a snapshot is still good."""
    async with store.read() as connection:
        row = (await connection.execute(select(catalogue_state.c.version, catalogue_state.c.confirmation))).one()
    return State(row.version, row.confirmation)


async def load_rows(store: Store, chunk: int = 5_000) -> AsyncIterator[Sequence[Row]]:
    """Every live offer by id, as raw rows (`market.rows.ROW_FIELDS`), `chunk` at a time, from one state."""
    first, second = ("?", "?") if store.dialect == "sqlite" else ("$1", "$2")
    page = (
        f"SELECT {', '.join(ROW_FIELDS)} FROM offers WHERE gone_at IS NULL AND id > {first} "  # noqa: S608
        f"ORDER BY id LIMIT {second}"
    )
    after = ""
    async with store.read() as connection:
        if store.dialect == "postgresql":
            await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        while True:
            found = (await connection.exec_driver_sql(page, (after, chunk))).all()
            if found:
                yield found
            if len(found) < chunk:
                return
            after = found[-1][AT["id"]]


async def offer(store: Store, offer_id: str) -> Stored | None:
    """One offer by id, also one that its provider no longer lists."""
    mark = "?" if store.dialect == "sqlite" else "$1"
    one = f"SELECT {', '.join(ROW_FIELDS)} FROM offers WHERE id = {mark}"  # noqa: S608
    async with store.read() as connection:
        row = (await connection.exec_driver_sql(one, (offer_id,))).one_or_none()
    if row is None:
        return None
    gone_at = row[AT["gone_at"]]
    return Stored(
        rows.to_offer(row), from_micros(row[AT["first_seen_at"]]), None if gone_at is None else from_micros(gone_at)
    )


async def history(
    store: Store, offer_id: str, *, since: datetime | None = None, limit: int = 10_000
) -> list[PricePoint]:
    """The newest `limit` price points of an offer, oldest first: the one standing at `since`, and those after it."""
    if limit <= 0:
        return []
    async with store.read() as connection:
        points = await _raw_points(connection, [offer_id], since, limit)
        points += await _daily_points(connection, [offer_id], since)
    return _from([point for _, point in sorted(points, key=_when)], since)[-limit:]


async def product_history(
    store: Store, offer_ids: Iterable[str], since: datetime | None = None
) -> dict[str, list[PricePoint]]:
    """The price points of several offers at once, as `history` has them; an offer without any is left out."""
    wanted = list(dict.fromkeys(offer_ids))
    found: dict[str, list[PricePoint]] = {}
    async with store.read() as connection:
        for start in range(0, len(wanted), _MANY_IDS):
            some = wanted[start : start + _MANY_IDS]
            points = await _raw_points(connection, some, since) + await _daily_points(connection, some, since)
            for offer_id, point in sorted(points, key=_when):
                found.setdefault(offer_id, []).append(point)
    return {offer_id: _from(points, since) for offer_id, points in found.items()}


def _from(points: list[PricePoint], since: datetime | None) -> list[PricePoint]:
    """Without what was over before `since`: a price stands until the next one."""
    if since is None:
        return points
    standing = bisect_right(points, since, key=lambda point: point.recorded_at) - 1
    return points[max(0, standing) :]


def _when(named: tuple[str, PricePoint]) -> datetime:
    return named[1].recorded_at


async def _raw_points(
    connection: AsyncConnection, offer_ids: Sequence[str], since: datetime | None, limit: int | None = None
) -> list[tuple[str, PricePoint]]:
    table = price_history.c
    query = select(price_history).where(table.offer_id.in_(offer_ids))
    if since is not None:
        earlier = price_history.alias().c
        standing = (
            select(func.max(earlier.recorded_at))
            .where(earlier.offer_id == table.offer_id, earlier.recorded_at <= since)
            .scalar_subquery()
        )
        query = query.where(table.recorded_at >= func.coalesce(standing, literal(since, table.recorded_at.type)))
    # newest first so that `limit` keeps the newest; a stable sort by time later keeps the order of equal times
    query = query.order_by(table.recorded_at.desc(), table.id.desc())
    if limit is not None:
        query = query.limit(limit)
    newest_first = (await connection.execute(query)).mappings().all()
    names = (*_MEASURES, "currency", "availability", "recorded_at")
    return [(row["offer_id"], PricePoint(**{name: row[name] for name in names})) for row in reversed(newest_first)]


async def _daily_points(
    connection: AsyncConnection, offer_ids: Sequence[str], since: datetime | None
) -> list[tuple[str, PricePoint]]:
    """Closing prices of the days whose single prices the retention job has put together."""
    table = price_history_daily.c
    query = select(price_history_daily).where(table.offer_id.in_(offer_ids))
    if since is not None:
        first = (since.astimezone(UTC).date() - _DAY_ZERO).days
        earlier = price_history_daily.alias().c
        standing = (
            select(func.max(earlier.day))
            .where(earlier.offer_id == table.offer_id, earlier.day <= first)
            .scalar_subquery()
        )
        query = query.where(table.day >= func.coalesce(standing, first))
    days: dict[tuple[str, int], dict[str, Any]] = {}
    for row in await connection.execute(query):
        day = days.setdefault((row.offer_id, row.day), {"currency": row.currency, "samples": row.samples})
        day[row.measure] = row.close
    unmeasured: dict[str, Any] = dict.fromkeys(_MEASURES)
    return [
        (offer_id, PricePoint(recorded_at=_start(day), **(unmeasured | measured)))
        for (offer_id, day), measured in days.items()
    ]


_DAY_ZERO = date(1970, 1, 1)


def _start(day: int) -> datetime:
    return datetime.combine(_DAY_ZERO + timedelta(days=day), time(), UTC)


async def note_health(store: Store, health: ProviderHealth) -> None:
    """Keep what is known of a provider; a time it does not state stays as it was, and no time moves back."""
    async with store.write() as connection:
        before = await _health_of(connection, health.name)
        kept = health if before is None else replace(health, **_latest(before, health))
        values = _health_values(kept)
        if before is None:
            await connection.execute(insert(providers).values(name=health.name, **values))
        elif kept != before:
            await connection.execute(update(providers).where(providers.c.name == health.name).values(**values))
        if kept != before:
            await ingest.bump(connection, changed=False)


def _latest(before: ProviderHealth, after: ProviderHealth) -> dict[str, Any]:
    pairs = {
        name: (getattr(before, name), getattr(after, name))
        for name in ("last_attempt_at", "last_success_at", "last_complete_at")
    }
    return {name: max((moment for moment in pair if moment), default=None) for name, pair in pairs.items()}


async def _health_of(connection: AsyncConnection, name: str) -> ProviderHealth | None:
    query = select(providers).where(providers.c.name == name).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _health(row)


_SPANS = ("stale_after", "drop_after", "interval")
_PLAIN = (
    "title",
    "state",
    "last_attempt_at",
    "last_success_at",
    "last_complete_at",
    "last_error",
    "response_time_ms",
    "offers",
    "notice",
)


def _health_values(health: ProviderHealth) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(health, name) for name in _PLAIN}
    for name in _SPANS:
        span: timedelta | None = getattr(health, name)
        values[f"{name}_seconds"] = None if span is None else int(span.total_seconds())
    return {**values, "rejects": json.dumps(health.rejects, sort_keys=True)}


def _health(row: ResultRow[Any]) -> ProviderHealth:
    found = row._mapping
    values: dict[str, Any] = {name: found[name] for name in _PLAIN}
    for name in _SPANS:
        seconds = found[f"{name}_seconds"]
        values[name] = None if seconds is None else timedelta(seconds=seconds)
    return ProviderHealth(name=found["name"], rejects=json.loads(found["rejects"]), **values)


async def provider_states(store: Store) -> dict[str, ProviderHealth]:
    """Every provider that was ever recorded or noted, by name."""
    async with store.read() as connection:
        found = await connection.execute(select(providers).order_by(providers.c.name))
        return {row.name: _health(row) for row in found}


async def note_run(store: Store, run: SyncRun) -> None:
    """Add one pass to the log of runs (the retention job keeps a week of them)."""
    values: dict[str, Any] = {name: getattr(run, name) for name in run.__slots__ if name != "rejects"}
    async with store.write() as connection:
        await connection.execute(insert(sync_runs).values(rejects=json.dumps(run.rejects, sort_keys=True), **values))


async def recent_runs(store: Store, limit: int = 50) -> list[SyncRun]:
    """The newest passes first."""
    query = select(sync_runs).order_by(sync_runs.c.finished_at.desc(), sync_runs.c.id.desc()).limit(limit)
    async with store.read() as connection:
        found = (await connection.execute(query)).mappings().all()
    names = [name for name in SyncRun.__slots__ if name != "rejects"]
    return [SyncRun(rejects=json.loads(row["rejects"]), **{name: row[name] for name in names}) for row in found]


async def drop_stale(store: Store, now: datetime) -> int:
    """Mark gone what no pass has confirmed for longer than its provider allows; returns how many offers went."""
    dropped = 0
    async with store.write() as connection:
        for row in (await connection.execute(select(providers).order_by(providers.c.name))).all():
            health = _health(row)
            if health.drop_after is None:
                continue
            oldest = now - health.drop_after
            if health.last_complete_at is not None and health.last_complete_at >= oldest:
                continue
            unseen = update(offers).where(
                offers.c.provider == health.name, offers.c.gone_at.is_(None), offers.c.last_seen_at < oldest
            )
            dropped += (await connection.execute(unseen.values(gone_at=now))).rowcount
        if dropped:
            await ingest.bump(connection, changed=True)
    return dropped
