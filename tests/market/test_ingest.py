"""What one provider's pass leaves behind, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import anyio
import pytest
from sqlalchemy import Engine, event

from market import catalogue, outbox
from market.ingest import GONE, PRICES_CHANGED, TOLD_AT_ONCE, Recorded
from market.offers import Offer
from market.store import Store
from tests.market.examples import SEEN, a_token_offer, an_offer

LATER = SEEN + timedelta(minutes=5)


async def _record(store: Store, *found: Offer, seen: Any = SEEN, complete: bool = True) -> Recorded:
    return await catalogue.record(store, "acme", found, seen_at=seen, complete=complete)


async def _points(store: Store, offer_id: str) -> list[catalogue.PricePoint]:
    return await catalogue.history(store, offer_id)


async def _live(store: Store) -> list[str]:
    return [row[0] async for rows in catalogue.load_rows(store) for row in rows]


async def test_a_first_pass_inserts_every_offer_with_its_first_price_point(store: Store) -> None:
    recorded = await _record(store, an_offer("a", "1.5"), an_offer("b", "2"), a_token_offer())
    assert (recorded.inserted, recorded.changed, recorded.unchanged, recorded.gone) == (3, 0, 0, 0)
    assert recorded.prices_changed == ()
    point = (await _points(store, "acme:a:us-east-1"))[0]
    assert (point.recorded_at, point.price_per_hour, point.availability) == (SEEN, Decimal("1.5"), "available")
    tokens = (await _points(store, "acme:llama:us-east-1"))[0]
    assert (tokens.price_per_hour, tokens.price_per_million_output_tokens) == (None, Decimal("0.6"))


async def test_an_unchanged_pass_writes_no_offer_and_no_history_but_is_a_confirmation(store: Store) -> None:
    await _record(store, an_offer("a"))
    before = await catalogue.current(store)
    recorded = await _record(store, an_offer("a", seen=LATER), seen=LATER)
    after = await catalogue.current(store)
    assert (recorded.unchanged, recorded.changed) == (1, 0)
    assert (after.version, after.confirmation) == (before.version, before.confirmation + 1)
    assert len(await _points(store, "acme:a:us-east-1")) == 1
    assert (await catalogue.provider_states(store))["acme"].last_complete_at == LATER


@pytest.mark.requirement("PROP-3")
async def test_a_changed_price_adds_one_point_and_is_reported(store: Store) -> None:
    await _record(store, an_offer("a", "2"), an_offer("b", "3"))
    recorded = await _record(store, an_offer("a", "1.75", LATER), an_offer("b", "3", LATER), seen=LATER)
    assert (recorded.changed, recorded.unchanged) == (1, 1)
    (change,) = recorded.prices_changed
    assert (change.offer_id, change.old_price, change.new_price) == ("acme:a:us-east-1", Decimal(2), Decimal("1.75"))
    assert [point.price_per_hour for point in await _points(store, "acme:a:us-east-1")] == [Decimal(2), Decimal("1.75")]
    stored = await catalogue.offer(store, "acme:a:us-east-1")
    assert stored is not None
    assert (stored.first_seen_at, stored.offer.price_per_hour) == (SEEN, Decimal("1.75"))


async def test_a_changed_availability_adds_a_point_at_the_same_price(store: Store) -> None:
    await _record(store, an_offer("a"))
    recorded = await _record(store, an_offer("a", seen=LATER, availability="limited"), seen=LATER)
    assert [(c.old_availability, c.new_availability) for c in recorded.prices_changed] == [("available", "limited")]
    assert [point.availability for point in await _points(store, "acme:a:us-east-1")] == ["available", "limited"]


async def _told(store: Store) -> list[list[Any]]:
    """What the outbox says has changed since it was last asked."""
    told = await outbox.read_after(store, "test")
    for one in told:
        assert (one.kind, one.subject, one.owner) == (PRICES_CHANGED, "acme", "")
        await outbox.advance(store, "test", one.position)
    return [offer for one in told for offer in one.payload["offers"]]


async def test_a_first_load_and_an_unchanged_pass_tell_nobody(store: Store) -> None:
    for seen in (SEEN, LATER):
        await _record(store, an_offer("a", seen=seen), a_token_offer(seen=seen), seen=seen)
        assert await _told(store) == []


async def test_what_a_pass_changed_is_told_through_the_outbox(store: Store) -> None:
    await _record(store, an_offer("a", "2.5"), an_offer("b", "3"), an_offer("c", "4"))
    changed = (an_offer("a", "1.75", LATER), an_offer("b", "3", LATER, availability="limited"), an_offer("d", "5"))
    await _record(store, *changed, seen=LATER)
    assert await _told(store) == [
        ["acme:a:us-east-1", "2.5", "1.75", "available"],
        ["acme:b:us-east-1", "3", "3", "limited"],
        ["acme:d:us-east-1", None, "5", "available"],
        ["acme:c:us-east-1", "4", None, GONE],
    ]
    await _record(store, *changed, an_offer("c", "4"), seen=LATER + timedelta(minutes=5))
    assert await _told(store) == [["acme:c:us-east-1", None, "4", "available"]]


async def test_many_changes_are_told_in_pieces(store: Store) -> None:
    many = [f"n{number:04d}" for number in range(2 * TOLD_AT_ONCE + 1)]
    await _record(store, *(an_offer(name, "1") for name in many))
    await _record(store, *(an_offer(name, "2", LATER) for name in many), seen=LATER)
    pieces = [len(one.payload["offers"]) for one in await outbox.read_after(store, "test")]
    assert pieces == [TOLD_AT_ONCE, TOLD_AT_ONCE, 1]
    assert [offer[0].split(":")[1] for offer in await _told(store)] == many


async def test_another_name_changes_the_offer_but_not_its_history(store: Store) -> None:
    await _record(store, an_offer("a"))
    recorded = await _record(store, an_offer("a", name="renamed"), seen=LATER)
    assert (recorded.changed, recorded.prices_changed) == (1, ())
    assert len(await _points(store, "acme:a:us-east-1")) == 1


async def test_what_a_complete_pass_does_not_list_is_gone_and_comes_back_when_listed_again(store: Store) -> None:
    await _record(store, an_offer("a"), an_offer("b"))
    assert (await _record(store, an_offer("a"), seen=LATER)).gone == 1
    assert await _live(store) == ["acme:a:us-east-1"]
    gone = await catalogue.offer(store, "acme:b:us-east-1")
    assert gone is not None
    assert gone.gone_at == LATER
    assert (await _record(store, an_offer("a"), an_offer("b"), seen=LATER)).changed == 1
    back = await catalogue.offer(store, "acme:b:us-east-1")
    assert back is not None
    assert (back.gone_at, back.first_seen_at) == (None, SEEN)
    assert await _live(store) == ["acme:a:us-east-1", "acme:b:us-east-1"]


async def test_an_incomplete_pass_removes_nothing_and_confirms_only_what_it_saw(store: Store) -> None:
    await _record(store, an_offer("a"), an_offer("b"))
    recorded = await _record(store, an_offer("a", seen=LATER), seen=LATER, complete=False)
    assert (recorded.gone, recorded.unchanged) == (0, 1)
    state = (await catalogue.provider_states(store))["acme"]
    assert (state.last_complete_at, state.last_success_at, state.offers) == (SEEN, LATER, 2)
    async with store.read() as connection:
        seen = (await connection.exec_driver_sql("SELECT id, last_seen_at FROM offers ORDER BY id")).all()
    assert seen[0].last_seen_at > seen[1].last_seen_at


async def test_another_providers_offers_are_left_alone(store: Store) -> None:
    await _record(store, an_offer("a"))
    other = an_offer("x", provider="other", id="other:x:us-east-1")
    assert (await catalogue.record(store, "other", [other], seen_at=LATER, complete=True)).gone == 0
    assert len(await _live(store)) == 2
    with pytest.raises(ValueError, match="cannot be recorded"):
        await _record(store, other)


async def test_live_rows_replace_the_published_table_of_the_same_provider(store: Store) -> None:
    await _record(store, an_offer("table-row", price_source="static_table"))
    recorded = await _record(store, an_offer("live-row"), seen=LATER)
    assert (recorded.inserted, recorded.gone) == (1, 1)
    assert await _live(store) == ["acme:live-row:us-east-1"]


async def test_of_two_rows_with_one_id_the_cheaper_is_kept_and_the_other_counted(store: Store) -> None:
    recorded = await _record(store, an_offer("a", "3"), an_offer("a", "2"), an_offer("a", "2.5"))
    assert (recorded.inserted, recorded.duplicates) == (1, 2)
    assert [point.price_per_hour for point in await _points(store, "acme:a:us-east-1")] == [Decimal(2)]


@pytest.mark.parametrize(
    "damage",
    [
        {"price_per_hour": Decimal(0)},
        {"price_per_hour": Decimal(-1)},
        {"price_per_hour": None},
        {"price_per_hour": Decimal("1e30")},
        {"price_per_hour": Decimal("NaN")},
        {"memory_gb": float("nan")},
        {"min_rental_minutes": 10**30},
        {"last_updated": SEEN.replace(tzinfo=None)},
    ],
    ids=str,
)
async def test_one_impossible_offer_is_refused_and_counted_without_costing_the_others(
    store: Store, damage: dict[str, Any]
) -> None:
    recorded = await _record(store, an_offer("a"), an_offer("b", **damage))
    assert (recorded.inserted, sum(recorded.refused.values())) == (1, 1)
    assert await _live(store) == ["acme:a:us-east-1"]


async def test_text_no_database_takes_is_cleaned_not_fatal(store: Store) -> None:
    await _record(store, an_offer("a", interconnect="nv\x00link\ud83d"))
    stored = await catalogue.offer(store, "acme:a:us-east-1")
    assert stored is not None
    assert stored.offer.interconnect == "nvlink?"


def _failing_halfway() -> Iterator[Offer]:
    yield an_offer("new")
    raise OSError("the source went away")


async def test_a_source_that_breaks_off_leaves_the_catalogue_as_it_was(store: Store) -> None:
    await _record(store, an_offer("a"))
    before = await catalogue.current(store)
    with pytest.raises(OSError, match="went away"):
        await catalogue.record(store, "acme", _failing_halfway(), seen_at=LATER, complete=True)
    assert await _live(store) == ["acme:a:us-east-1"]
    assert await catalogue.current(store) == before


async def _killed_at(statement: int, work: Coroutine[Any, Any, object], scoped: bool) -> tuple[bool, list[str]]:
    """Cancel the work when its n-th statement is about to run; whether it was, and the statements that were reached.

    A task is told once; an anyio scope (as the servers use) tells again at every further await.
    """
    reached: list[str] = []
    scope = anyio.CancelScope()

    async def body() -> None:
        with scope:
            await work

    task = asyncio.create_task(body())

    def count(_connection: object, _cursor: object, sql: str, *_rest: object) -> None:
        reached.append(" ".join(sql.split()[:3]))
        if len(reached) == statement:
            scope.cancel() if scoped else task.cancel()

    event.listen(Engine, "before_cursor_execute", count)
    try:
        await asyncio.gather(task, return_exceptions=True)
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    return scope.cancelled_caught or task.cancelled(), reached


@pytest.mark.parametrize("scoped", [False, True], ids=["task", "scope"])
async def test_a_pass_killed_at_any_statement_leaves_nothing_half_written(store: Store, scoped: bool) -> None:
    await _record(store, *(an_offer(f"n{n}", "1") for n in range(20)))
    before = await _everything(store)
    kinds = set()
    for statement in range(1, 12):
        work = _record(store, *(an_offer(f"n{n}", "2", LATER) for n in range(10)), seen=LATER)
        killed, reached = await _killed_at(statement, work, scoped)
        if not killed:
            break
        assert await _everything(store) == before
        kinds.add(reached[statement - 1])
    assert {"INSERT INTO offers", "INSERT INTO price_history", "UPDATE offers SET", "INSERT INTO providers"} <= kinds
    assert await _everything(store) != before


async def _everything(store: Store) -> list[Any]:
    tables = ("offers", "price_history", "providers", "catalogue_state")
    async with store.read() as connection:
        return [
            sorted(map(tuple, (await connection.exec_driver_sql(f"SELECT * FROM {table}")).all()), key=repr)  # noqa: S608
            for table in tables
        ]


async def test_writers_side_by_side_lose_nothing(store: Store) -> None:
    def found(provider: str) -> list[Offer]:
        return [an_offer(f"n{n}", provider=provider, id=f"{provider}:n{n}:x") for n in range(40)]

    names = [f"p{n}" for n in range(6)]
    before = (await catalogue.current(store)).version
    passes = [catalogue.record(store, name, found(name), seen_at=SEEN, complete=True) for name in (*names, *names)]
    recorded = await asyncio.gather(*passes)
    assert len(await _live(store)) == 240
    assert sum(one.inserted for one in recorded) == 240
    assert (await catalogue.current(store)).version == before + len(names)
    async with store.read() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM price_history")).scalar_one() == 240
