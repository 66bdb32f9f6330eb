"""What the retention job removes, what it keeps, and what nobody else can remove: with plain SQL, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from market import audit, catalogue, outbox, retention
from market.catalogue import SyncRun
from market.procurement_tables import idempotency
from market.retention import Tidied
from market.rows import to_micros
from market.store import Store
from tests.conftest import ManualClock
from tests.market.examples import a_token_offer, an_offer

DAY = timedelta(days=1)
OLD = datetime(2023, 3, 5, 8, tzinfo=UTC)
"""More than two years before the clock of the tests, and so before the database's own."""
OFFER = "acme:a:us-east-1"
_DAILY = "SELECT open, low, high, close, mean, samples FROM price_history_daily WHERE measure = 'price_per_hour'"


async def _prices(store: Store, *points: tuple[datetime, str]) -> None:
    for moment, price in points:
        await catalogue.record(store, "acme", [an_offer("a", price, moment)], seen_at=moment, complete=True)


async def _run(store: Store, statement: str, **values: object) -> None:
    async with store.write() as connection:
        await connection.execute(text(statement), values)


async def _counts(store: Store, *tables: str) -> list[int]:
    async with store.read() as connection:
        return [(await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() for table in tables]  # noqa: S608


async def _aggregate_by_hand(store: Store, day: datetime) -> None:
    await _run(
        store,
        "INSERT INTO price_history_daily (offer_id, day, measure, currency, open, low, high, close, mean, samples)"
        " VALUES (:offer, :day, 'price_per_hour', 'USD', 1, 1, 1, 1, 1, 1)",
        offer=OFFER,
        day=to_micros(day) // 86_400_000_000,
    )


@pytest.mark.requirement("PROP-3")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE price_history SET price_per_hour = 1",
        "UPDATE price_history SET availability = availability",
        "DELETE FROM price_history",
    ],
)
async def test_price_history_cannot_be_altered_with_plain_sql(store: Store, statement: str) -> None:
    await _prices(store, (OLD, "1"), (datetime.now(UTC), "2"))
    with pytest.raises(IntegrityError):
        await _run(store, statement)
    assert await _counts(store, "price_history") == [2]


@pytest.mark.requirement("PROP-3")
async def test_price_history_cannot_be_altered_by_the_back_doors_of_a_database(store: Store) -> None:
    await _prices(store, (OLD, "1"))
    await _aggregate_by_hand(store, OLD)
    row = (
        "SELECT id, offer_id, 5, price_per_hour_usd, NULL, NULL, currency, availability, recorded_at FROM price_history"
    )
    back_doors = {
        "sqlite": [f"INSERT OR REPLACE INTO price_history {row}"],
        "postgresql": ["TRUNCATE price_history", "TRUNCATE price_history_daily", "TRUNCATE offers CASCADE"],
    }
    for statement in (*back_doors[store.dialect], "DELETE FROM price_history_daily"):
        with pytest.raises(IntegrityError):
            await _run(store, statement)
    assert await _counts(store, "price_history", "price_history_daily") == [1, 1]


async def test_a_price_point_can_be_deleted_only_when_old_and_aggregated(store: Store) -> None:
    recent = datetime.now(UTC) - timedelta(days=729)
    await _prices(store, (OLD, "1"), (recent, "2"))
    with pytest.raises(IntegrityError):
        await _run(store, "DELETE FROM price_history WHERE recorded_at = :at", at=to_micros(OLD))
    await _aggregate_by_hand(store, OLD)
    await _aggregate_by_hand(store, recent)
    with pytest.raises(IntegrityError):
        await _run(store, "DELETE FROM price_history WHERE recorded_at = :at", at=to_micros(recent))
    await _run(store, "DELETE FROM price_history WHERE recorded_at = :at", at=to_micros(OLD))
    assert await _counts(store, "price_history") == [1]


@pytest.mark.requirement("PROP-3")
async def test_a_price_point_needs_its_offer_and_an_offer_with_history_stays(store: Store) -> None:
    await _prices(store, (OLD, "1"))
    with pytest.raises(IntegrityError):
        await _run(
            store,
            "INSERT INTO price_history (offer_id, price_per_hour, currency, availability, recorded_at)"
            " VALUES ('nobody:x:y', 1, 'USD', 'unknown', 1)",
        )
    with pytest.raises(IntegrityError):
        await _run(store, "DELETE FROM offers")


async def test_old_prices_become_one_figure_a_day_and_history_still_reads_on(store: Store, clock: ManualClock) -> None:
    recent = clock.now() - DAY
    await _prices(store, (OLD, "3"), (OLD + DAY / 8, "1"), (OLD + DAY / 4, "2"), (OLD + DAY, "7"), (recent, "4"))
    tidied = await retention.tidy(store, clock.now())
    assert tidied == Tidied(history=4, offers=0, runs=0, events=3, keys=0)
    async with store.read() as connection:
        day = (await connection.execute(text(_DAILY + " ORDER BY day LIMIT 1"))).one()
    assert tuple(day) == (3_000_000, 1_000_000, 3_000_000, 2_000_000, 2_000_000, 3)
    points = await catalogue.history(store, OFFER)
    assert [(point.price_per_hour, point.samples) for point in points] == [
        (Decimal(2), 3),
        (Decimal(7), 1),
        (Decimal(4), 1),
    ]
    assert points[0].recorded_at == OLD.replace(hour=0)
    assert points[0].price_per_hour_usd == Decimal(2)
    assert await catalogue.product_history(store, [OFFER]) == {OFFER: points}
    assert await catalogue.history(store, OFFER, since=OLD + DAY) == points[1:]


async def test_tidying_twice_changes_nothing_more(store: Store, clock: ManualClock) -> None:
    await _prices(store, (OLD, "3"), (clock.now(), "4"))
    await retention.tidy(store, clock.now())
    before = await catalogue.history(store, OFFER)
    assert await retention.tidy(store, clock.now()) == Tidied(0, 0, 0)
    assert await catalogue.history(store, OFFER) == before


async def test_a_late_point_of_an_aggregated_day_is_merged_into_it(store: Store, clock: ManualClock) -> None:
    await _prices(store, (OLD, "1"), (OLD + DAY / 8, "3"))
    await retention.tidy(store, clock.now())
    await _prices(store, (OLD + DAY / 4, "8"))
    await retention.tidy(store, clock.now())
    async with store.read() as connection:
        day = await connection.execute(text(_DAILY))
        assert [tuple(row) for row in day] == [(1_000_000, 1_000_000, 8_000_000, 8_000_000, 4_000_000, 3)]


async def test_token_prices_are_aggregated_too(store: Store, clock: ManualClock) -> None:
    await catalogue.record(store, "acme", [a_token_offer("m", "0.6", OLD)], seen_at=OLD, complete=True)
    assert (await retention.tidy(store, clock.now())).history == 1
    (point,) = await catalogue.history(store, "acme:m:us-east-1")
    assert (point.price_per_hour, point.price_per_million_output_tokens) == (None, Decimal("0.6"))


async def test_an_offer_gone_for_a_month_goes_once_its_history_is_aggregated(store: Store, clock: ManualClock) -> None:
    await _prices(store, (OLD, "1"))
    lately = clock.now() - 40 * DAY
    await catalogue.record(store, "acme", [an_offer("b", seen=lately)], seen_at=lately, complete=True)
    gone = clock.now() - 31 * DAY
    await catalogue.record(store, "acme", [an_offer("c", seen=gone)], seen_at=gone, complete=True)
    assert await retention.tidy(store, clock.now() - 2 * DAY) == Tidied(history=1, offers=1, runs=0, events=1, keys=0)
    assert await catalogue.offer(store, OFFER) is None
    assert [point.price_per_hour for point in await catalogue.history(store, OFFER)] == [Decimal(1)]
    kept = await catalogue.offer(store, "acme:b:us-east-1")
    assert kept is not None
    assert kept.gone_at == gone


async def test_the_log_of_runs_keeps_a_week(store: Store, clock: ManualClock) -> None:
    for days in (1, 6, 8, 30):
        moment = clock.now() - days * DAY
        await catalogue.note_run(store, SyncRun(provider="acme", started_at=moment, finished_at=moment))
    assert (await retention.tidy(store, clock.now())).runs == 2
    assert len(await catalogue.recent_runs(store)) == 2


async def test_old_events_and_keys_whose_day_is_over_go(store: Store, clock: ManualClock) -> None:
    for days in (40, 31, 1):
        async with store.write() as connection:
            at = clock.now() - days * DAY
            await outbox.publish(connection, at=at, kind="booking.active", subject="b", owner="", payload={})
            row = {"caller": "c", "key": str(days), "operation": "o", "body_hash": "h", "claimed_at": at}
            await connection.execute(insert(idempotency).values({**row, "in_flight_until": at, "expires_at": at + DAY}))
    assert await retention.tidy(store, clock.now()) == Tidied(0, 0, 0, events=2, keys=3)
    assert await _counts(store, "outbox", "idempotency") == [1, 0]


@pytest.mark.requirement("SEC-AUDIT-1")
async def test_the_audit_log_is_kept_whole(store: Store, clock: ManualClock) -> None:
    async with store.write() as connection:
        await audit.append(connection, at=OLD, actor="a", action="b", subject="c", details={})
    await retention.tidy(store, clock.now())
    assert await _counts(store, "audit_log") == [1]
