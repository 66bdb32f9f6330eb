"""What is kept for how long.

- Raw price history: two years, then one row a day and price column in `price_history_daily`, which stays for good.
- An offer its provider no longer lists leaves the catalogue at once. Its row goes 30 days later, but not before its raw
  history has been aggregated: a price point always belongs to an offer that can be read.
- The log of sync runs: seven days.
- Events of the outbox: 30 days, and for as long as some consumer has not dealt with them.
- Idempotency keys and their answers: a day.
- The audit log: two years by the rule, but in this release nothing is removed from it: the database itself refuses,
  and a chain without its beginning does not verify. Archiving the old part with its head will come as one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncConnection

from market import commitment, outbox
from market.rows import to_micros
from market.store import Store
from market.tables import MICROS_PER_DAY, sync_runs

RAW_HISTORY = timedelta(days=730)
GONE_OFFERS = timedelta(days=30)
SYNC_RUNS = timedelta(days=7)

_MARGIN = timedelta(days=1)
"""The database's own clock guards the history; a day more than the rule keeps clear of any difference with ours."""

_MEASURES = (
    "price_per_hour",
    "price_per_hour_usd",
    "price_per_million_input_tokens",
    "price_per_million_output_tokens",
)


@dataclass(frozen=True, slots=True)
class Tidied:
    """What the retention job removed: price points (once aggregated), offers, entries of the run log, events, keys."""

    history: int
    offers: int
    runs: int
    events: int = 0
    keys: int = 0


async def tidy(store: Store, now: datetime) -> Tidied:
    """Aggregate and remove what is older than the rules say; all in one transaction, safe to run at any time."""
    midnight = (now - RAW_HISTORY - _MARGIN).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    before = {"before": to_micros(midnight)}
    async with store.write() as connection:
        for measure in _MEASURES:
            await connection.execute(text(_aggregate(measure)), before)
        history = (
            await connection.execute(text("DELETE FROM price_history WHERE recorded_at < :before"), before)
        ).rowcount
        offers = await _drop_offers(connection, now)
        runs = (await connection.execute(delete(sync_runs).where(sync_runs.c.finished_at < now - SYNC_RUNS))).rowcount
        events = await outbox.prune(connection, now)
        keys = await commitment.prune(connection, now)
    return Tidied(history, offers, runs, events, keys)


async def _drop_offers(connection: AsyncConnection, now: datetime) -> int:
    unneeded = text(
        "DELETE FROM offers WHERE gone_at < :before "
        "AND NOT EXISTS (SELECT 1 FROM price_history WHERE price_history.offer_id = offers.id)"
    )
    return (await connection.execute(unneeded, {"before": to_micros(now - GONE_OFFERS)})).rowcount


def _aggregate(measure: str) -> str:
    """Days of one price column put together; a day that already has figures is merged, never overwritten."""
    day = f"recorded_at / {MICROS_PER_DAY}"
    return f"""
    INSERT INTO price_history_daily AS kept (offer_id, day, measure, currency, open, low, high, close, mean, samples)
    SELECT DISTINCT offer_id, {day}, '{measure}',
      last_value(currency) OVER in_time, first_value({measure}) OVER in_time,
      min({measure}) OVER in_time, max({measure}) OVER in_time, last_value({measure}) OVER in_time,
      CAST(round(avg({measure}) OVER in_time) AS BIGINT), count(*) OVER in_time
    FROM price_history WHERE recorded_at < :before AND {measure} IS NOT NULL
    WINDOW in_time AS (
      PARTITION BY offer_id, {day} ORDER BY recorded_at, id
      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
    ON CONFLICT (offer_id, day, measure) DO UPDATE SET
      currency = excluded.currency, close = excluded.close,
      low = CASE WHEN excluded.low < kept.low THEN excluded.low ELSE kept.low END,
      high = CASE WHEN excluded.high > kept.high THEN excluded.high ELSE kept.high END,
      mean = (kept.mean * kept.samples + excluded.mean * excluded.samples) / (kept.samples + excluded.samples),
      samples = kept.samples + excluded.samples
    """  # noqa: S608 - the column names are our own constants
