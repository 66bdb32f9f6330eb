"""A quote is kept as it was made, honoured for its maker alone, once, in time, and never when changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from market import quote_book
from market.context import LOCAL_OWNER, Caller
from market.errors import NotFound, QuoteUnusable
from market.procurement_tables import quotes
from market.settings import Settings
from market.store import Store
from tests.conftest import ManualClock
from tests.market.purchases import leg, quote

AGENT = Caller("an agent", frozenset({"*"}), agent_key_id="key-one")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose keys lie in a folder of the test."""
    return Settings(data_dir=tmp_path)


async def kept(store: Store, settings: Settings, made: quote_book.Quote) -> quote_book.Quote:
    """The quote, added."""
    async with store.write() as connection:
        await quote_book.add(connection, settings, made)
    return made


async def test_a_quote_comes_back_as_it_was_made(store: Store, settings: Settings, clock: ManualClock) -> None:
    made = await kept(
        store,
        settings,
        quote(
            clock.now(),
            leg(),
            leg("acme:h100:us-east", "2.75", storage_price_per_gb_month=None, country=None, gpu=None, tags=()),
        ),
    )
    assert await quote_book.get(store, settings, made.id, LOCAL_OWNER, clock.now()) == made


async def test_a_quote_of_somebody_else_is_not_there(store: Store, settings: Settings, clock: ManualClock) -> None:
    mine = await kept(store, settings, quote(clock.now(), caller=AGENT.identity))
    assert await quote_book.get(store, settings, mine.id, AGENT, clock.now()) == mine
    for stranger in (
        LOCAL_OWNER,
        Caller("an agent", frozenset({"*"}), agent_key_id="key-two"),
        Caller("", frozenset()),
    ):
        with pytest.raises(NotFound):
            await quote_book.get(store, settings, mine.id, stranger, clock.now())
    with pytest.raises(NotFound):
        await quote_book.get(store, settings, "quote-' OR 1=1 --", AGENT, clock.now())


CHANGES: list[dict[str, Any]] = [
    {"worst_total": Decimal("1000")},
    {"expected_total": Decimal("0.01")},
    {"expires_at": ManualClock().now() + timedelta(days=9)},
    {"created_at": ManualClock().now() - timedelta(days=9)},
    {"terms": "{}"},
    {"terms": "not even JSON"},
    {"seal": "0" * 64},
    {"seal": "é"},
]


async def test_a_changed_row_is_refused(store: Store, settings: Settings, clock: ManualClock) -> None:
    for change in CHANGES:
        made = await kept(store, settings, quote(clock.now()))
        async with store.write() as connection:
            await connection.execute(update(quotes).where(quotes.c.id == made.id).values(**change))
        with pytest.raises(QuoteUnusable, match="changed") as refused:
            await quote_book.get(store, settings, made.id, LOCAL_OWNER, clock.now())
        assert refused.value.details["reason"] == "changed", change


async def test_a_quote_made_over_to_somebody_else_is_refused(
    store: Store, settings: Settings, clock: ManualClock
) -> None:
    made = await kept(store, settings, quote(clock.now(), caller=AGENT.identity))
    async with store.write() as connection:
        await connection.execute(update(quotes).values(caller="local-owner"))
    with pytest.raises(QuoteUnusable, match="changed"):
        await quote_book.get(store, settings, made.id, LOCAL_OWNER, clock.now())


async def test_a_cheaper_price_written_into_the_terms_is_refused(
    store: Store, settings: Settings, clock: ManualClock
) -> None:
    made = await kept(store, settings, quote(clock.now()))
    async with store.write() as connection:
        terms = str(await connection.scalar(quotes.select().with_only_columns(quotes.c.terms)))
        assert '"price_per_hour":"2.5"' in terms
        await connection.execute(update(quotes).values(terms=terms.replace('r":"2.5"', 'r":"0.5"')))
    with pytest.raises(QuoteUnusable, match="changed"):
        await quote_book.get(store, settings, made.id, LOCAL_OWNER, clock.now())


async def test_a_quote_sealed_by_another_installation_is_refused(
    store: Store, settings: Settings, clock: ManualClock, tmp_path: Path
) -> None:
    made = await kept(store, settings, quote(clock.now()))
    with pytest.raises(QuoteUnusable):
        await quote_book.get(store, Settings(data_dir=tmp_path / "other"), made.id, LOCAL_OWNER, clock.now())


async def test_of_many_bookings_of_one_quote_exactly_one_gets_it(
    store: Store, settings: Settings, clock: ManualClock
) -> None:
    made = await kept(store, settings, quote(clock.now()))

    async def book(name: str) -> bool:
        async with store.write() as connection:
            return await quote_book.use(connection, made.id, name, clock.now())

    won = await asyncio.gather(*(book(f"booking{n}") for n in range(12)))
    assert sum(won) == 1
    used = await quote_book.get(store, settings, made.id, LOCAL_OWNER, clock.now())
    assert (used.unusable(clock.now()), used.booking_id) == ("used", f"booking{won.index(True)}")
    with pytest.raises(QuoteUnusable, match="was used for booking") as refused:
        used.refuse_unusable(clock.now())
    assert refused.value.details["booking_id"] == used.booking_id


async def test_an_expired_quote_is_told_and_cannot_be_used(
    store: Store, settings: Settings, clock: ManualClock
) -> None:
    made = await kept(store, settings, quote(clock.now()))
    made.refuse_unusable(clock.advance(timedelta(minutes=9, seconds=59)))
    now = clock.advance(timedelta(seconds=1))
    assert made.unusable(now) == "expired"
    with pytest.raises(QuoteUnusable, match="expired at"):
        made.refuse_unusable(now)
    async with store.write() as connection:
        assert not await quote_book.use(connection, made.id, "late", now)


async def test_a_clock_that_was_set_back_makes_no_quote_good_again(
    store: Store, settings: Settings, clock: ManualClock
) -> None:
    made = await kept(store, settings, quote(clock.now()))
    with pytest.raises(QuoteUnusable, match="set back"):
        await quote_book.get(store, settings, made.id, LOCAL_OWNER, clock.advance(timedelta(hours=-1)))


async def test_old_quotes_nobody_used_are_forgotten_and_used_ones_kept(
    store: Store, settings: Settings, clock: ManualClock
) -> None:
    unused, used = [await kept(store, settings, quote(clock.now())) for _ in range(2)]
    foreign = await kept(store, settings, quote(clock.now(), caller=AGENT.identity))
    async with store.write() as connection:
        assert await quote_book.use(connection, used.id, "booking", clock.now())
    clock.advance(timedelta(days=1))
    await kept(store, settings, quote(clock.now()))
    assert (await quote_book.get(store, settings, unused.id, LOCAL_OWNER, clock.now())).unusable(clock.now())
    clock.advance(timedelta(hours=1))
    await kept(store, settings, quote(clock.now()))
    with pytest.raises(NotFound):
        await quote_book.get(store, settings, unused.id, LOCAL_OWNER, clock.now())
    assert await quote_book.find(store, settings, used.id)
    assert await quote_book.find(store, settings, foreign.id)


def test_the_summary_says_what_is_bought_and_for_how_much_at_most(clock: ManualClock) -> None:
    made = quote(clock.now(), leg(), leg("acme:h100:us-east", "2.75"))
    assert made.summary() == (
        "1 machine with 1x H100-SXM at sandbox in eu-west, on demand (or one of 1 alternative), for 10 hours: "
        "expected 25.00 USD, at most 30.25 USD."
    )
