"""What comes out of the catalogue: rows, histories, health and runs, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from market import catalogue
from market.catalogue import ProviderHealth, SyncRun
from market.store import Store
from tests.market.examples import SEEN, an_offer

DAY = timedelta(days=1)


async def _prices(store: Store, sku: str, *prices: str) -> None:
    for number, price in enumerate(prices):
        moment = SEEN + number * DAY
        await catalogue.record(store, "acme", [an_offer(sku, price, moment)], seen_at=moment, complete=False)


async def test_rows_come_in_chunks_ordered_by_id_with_none_missing(store: Store) -> None:
    found = [an_offer(f"n{n:03}") for n in range(101)]
    await catalogue.record(store, "acme", reversed(found), seen_at=SEEN, complete=True)
    for chunk in (1, 50, 100, 101, 5_000):
        pages = [page async for page in catalogue.load_rows(store, chunk=chunk)]
        assert all(len(page) <= chunk for page in pages)
        assert [row[0] for page in pages for row in page] == [offer.id for offer in found]


async def test_an_empty_catalogue_has_no_rows_and_no_offer(store: Store) -> None:
    assert [page async for page in catalogue.load_rows(store)] == []
    assert await catalogue.offer(store, "acme:none:x") is None
    assert await catalogue.history(store, "acme:none:x") == []
    assert await catalogue.provider_states(store) == {}
    assert await catalogue.current(store) == catalogue.State(version=0, confirmation=0)


@pytest.mark.requirement("PROP-3")
async def test_history_is_oldest_first_and_its_limit_keeps_the_newest(store: Store) -> None:
    await _prices(store, "a", "1", "2", "3")
    points = await catalogue.history(store, "acme:a:us-east-1", limit=2)
    assert [point.price_per_hour for point in points] == [Decimal(2), Decimal(3)]
    recent = await catalogue.history(store, "acme:a:us-east-1", since=SEEN + DAY, limit=10)
    assert [point.recorded_at for point in recent] == [SEEN + DAY, SEEN + 2 * DAY]


async def test_history_since_a_moment_starts_with_the_price_standing_then(store: Store) -> None:
    await _prices(store, "a", "1", "2", "3")
    found = await catalogue.history(store, "acme:a:us-east-1", since=SEEN + DAY * 1.5)
    assert [point.price_per_hour for point in found] == [Decimal(2), Decimal(3)]
    later = await catalogue.history(store, "acme:a:us-east-1", since=SEEN + 90 * DAY)
    assert [point.price_per_hour for point in later] == [Decimal(3)]
    before = await catalogue.history(store, "acme:a:us-east-1", since=SEEN - DAY)
    assert len(before) == 3


async def test_the_histories_of_many_offers_come_at_once(store: Store) -> None:
    await _prices(store, "a", "1", "2")
    await _prices(store, "b", "5")
    wanted = [f"acme:{sku}:us-east-1" for sku in ("a", "b", "missing")] + [f"acme:n{n}:x" for n in range(1_200)]
    found = await catalogue.product_history(store, wanted)
    assert {name: [point.price_per_hour for point in points] for name, points in found.items()} == {
        "acme:a:us-east-1": [Decimal(1), Decimal(2)],
        "acme:b:us-east-1": [Decimal(5)],
    }


async def test_health_comes_back_as_it_was_noted(store: Store) -> None:
    health = ProviderHealth(
        name="acme",
        title="Acme",
        state="degraded",
        last_attempt_at=SEEN,
        last_error="`acme` answered 503.",
        response_time_ms=12.5,
        offers=3,
        rejects={"no price": 2},
        interval=timedelta(minutes=5),
        stale_after=timedelta(minutes=30),
        drop_after=timedelta(days=7),
        notice="Free quota only.",
    )
    await catalogue.note_health(store, health)
    assert await catalogue.provider_states(store) == {"acme": health}
    assert await catalogue.current(store) == catalogue.State(version=0, confirmation=1)
    await catalogue.note_health(store, health)
    assert (await catalogue.current(store)).confirmation == 1


async def test_a_failed_attempt_does_not_undo_the_last_confirmation(store: Store) -> None:
    await catalogue.record(store, "acme", [an_offer()], seen_at=SEEN, complete=True)
    failed = ProviderHealth(name="acme", title="Acme", state="unhealthy", last_attempt_at=SEEN + DAY, last_error="down")
    await catalogue.note_health(store, failed)
    state = (await catalogue.provider_states(store))["acme"]
    assert (state.state, state.last_complete_at, state.last_success_at) == ("unhealthy", SEEN, SEEN)
    assert (state.last_attempt_at, state.last_error) == (SEEN + DAY, "down")


def test_a_provider_is_stale_when_unconfirmed_for_longer_than_it_allows() -> None:
    health = ProviderHealth(name="acme", stale_after=timedelta(minutes=30), last_complete_at=SEEN)
    assert not health.is_stale(SEEN + timedelta(minutes=30))
    assert health.is_stale(SEEN + timedelta(minutes=31))
    assert replace(health, last_complete_at=None).is_stale(SEEN)
    assert not replace(health, stale_after=None).is_stale(SEEN + 365 * DAY)


async def test_runs_come_newest_first(store: Store) -> None:
    runs = [
        SyncRun(
            provider="acme",
            started_at=SEEN + n * DAY,
            finished_at=SEEN + n * DAY,
            rows=n,
            rejects={"no price": n},
            error="down" if n == 2 else None,
        )
        for n in range(4)
    ]
    for run in runs:
        await catalogue.note_run(store, run)
    assert await catalogue.recent_runs(store, limit=3) == runs[:0:-1]


async def test_offers_nobody_confirmed_for_longer_than_allowed_are_dropped(store: Store) -> None:
    await catalogue.record(store, "acme", [an_offer("old"), an_offer("lately-seen")], seen_at=SEEN, complete=True)
    await catalogue.record(store, "acme", [an_offer("lately-seen")], seen_at=SEEN + 7 * DAY, complete=False)
    await catalogue.note_health(store, ProviderHealth(name="acme", drop_after=7 * DAY))
    assert await catalogue.drop_stale(store, SEEN + 7 * DAY) == 0
    before = await catalogue.current(store)
    assert await catalogue.drop_stale(store, SEEN + 8 * DAY) == 1
    assert (await catalogue.current(store)).version == before.version + 1
    dropped = await catalogue.offer(store, "acme:old:us-east-1")
    assert dropped is not None
    assert dropped.gone_at == SEEN + 8 * DAY
    assert [row[0] async for page in catalogue.load_rows(store) for row in page] == ["acme:lately-seen:us-east-1"]
