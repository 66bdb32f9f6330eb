"""At most one holder of a lease at any moment, on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market import leases
from market.store import Store
from tests.conftest import ManualClock
from tests.market.examples import SEEN

TTL = timedelta(seconds=60)


async def test_a_lease_is_refused_to_others_until_it_expires(store: Store, clock: ManualClock) -> None:
    assert await leases.take(store, "sync", "one", TTL, clock.now())
    assert not await leases.take(store, "sync", "two", TTL, clock.advance(TTL - timedelta(seconds=1)))
    assert await leases.take(store, "sync", "two", TTL, clock.advance(timedelta(seconds=1)))
    assert not await leases.take(store, "sync", "one", TTL, clock.now())


async def test_its_holder_may_renew_it(store: Store, clock: ManualClock) -> None:
    for _ in range(5):
        assert await leases.take(store, "sync", "one", TTL, clock.advance(TTL / 2))
        assert not await leases.take(store, "sync", "two", TTL, clock.now())


async def test_a_released_lease_is_free_and_only_its_holder_releases_it(store: Store, clock: ManualClock) -> None:
    await leases.take(store, "sync", "one", TTL, clock.now())
    await leases.release(store, "sync", "two")
    assert not await leases.take(store, "sync", "two", TTL, clock.now())
    await leases.release(store, "sync", "one")
    assert await leases.take(store, "sync", "two", TTL, clock.now())


async def test_leases_of_different_names_do_not_meet(store: Store, clock: ManualClock) -> None:
    assert await leases.take(store, "sync", "one", TTL, clock.now())
    assert await leases.take(store, "watchdog", "two", TTL, clock.now())


async def test_of_many_who_ask_at_once_exactly_one_gets_it(database_url: str, clock: ManualClock) -> None:
    stores = [await Store.open(database_url) for _ in range(4)]
    for _ in range(5):
        asked = [leases.take(stores[n % 4], "sync", f"holder-{n}", TTL, clock.now()) for n in range(12)]
        assert sum(await asyncio.gather(*asked)) == 1
        clock.advance(TTL)
    for one in stores:
        await one.close()


_attempts = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 90), st.integers(1, 60)), max_size=15)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_attempts)
async def test_two_never_hold_one_lease_at_the_same_moment(store: Store, attempts: list[tuple[str, int, int]]) -> None:
    for name in "abc":
        await leases.release(store, "sync", name)
    now, holder, until = SEEN, "", SEEN
    for asker, wait, seconds in attempts:
        now += timedelta(seconds=wait)
        taken = await leases.take(store, "sync", asker, timedelta(seconds=seconds), now)
        assert taken == (asker == holder or until <= now)
        if taken:
            holder, until = asker, now + timedelta(seconds=seconds)
