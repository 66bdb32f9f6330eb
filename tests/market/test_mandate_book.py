"""However many claim at once, a mandate is never exceeded, and only one that is in force can be claimed under."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from market import agent_keys, mandate_book, mandate_register
from market.context import LOCAL_OWNER, Caller
from market.errors import InternalFault, MandateRefused, NotFound
from market.mandates import Mandate, Recurrence, Violation
from market.procurement_tables import audit_log, bookings, mandates, quotes
from market.settings import Settings
from market.store import Store
from tests.conftest import ManualClock
from tests.market.mandate_samples import NOW, owned, spoiled

MANY, ENOUGH_FOR, ROUNDS = 50, 10, 10
NOTHING = Decimal(0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation with a data folder of its own."""
    return Settings(data_dir=tmp_path / "keys")


async def entered(store: Store, settings: Settings, **changes: Any) -> Mandate:
    """A mandate of the local owner in the book."""
    mandate = owned(settings, **changes)
    async with store.write() as connection:
        await mandate_register.add(connection, settings, mandate)
    return mandate


async def claimed(store: Store, mandate: Mandate, amount: str = "10", **more: Any) -> list[Violation]:
    """One claim in a transaction of its own, kept when it is granted."""
    wanted: dict[str, Any] = {"hourly": Decimal(1), "instances": 1, "now": NOW, **more}
    async with store.write() as connection:
        return await mandate_book.claim(connection, mandate, amount=Decimal(amount), **wanted)


async def booked(store: Store, mandate: Mandate, booking_id: str, at: ManualClock, state: str = "pending") -> None:
    """A booking under the mandate, made without asking."""
    async with store.write() as connection:
        await write_booking(connection, mandate, booking_id, at, state)


async def write_booking(
    connection: AsyncConnection, mandate: Mandate, booking_id: str, at: ManualClock, state: str = "pending"
) -> None:
    """A row of a booking, as far as a recurrence counts it."""
    money = {"expected_total": Decimal(1), "worst_total": Decimal(1)}
    quote = {"id": f"quote-{booking_id}", "caller": "local-owner", "terms": "{}", "seal": ""}
    times = {"created_at": at.now(), "expires_at": at.now()}
    await connection.execute(insert(quotes).values(**quote, **times, **money))
    values: dict[str, Any] = {
        "id": booking_id,
        "quote_id": quote["id"],
        "mandate_id": mandate.id,
        "state": state,
        "price_per_hour": Decimal(1),
        "price_per_hour_usd": Decimal(1),
        "enforces_end": True,
        "created_at": at.now(),
        "ends_at": at.now(),
    }
    for column in bookings.columns:
        if column.name not in values and not column.nullable and column.default is None:
            values[column.name] = _FILLERS.get(type(column.type).__name__, "-")
    await connection.execute(insert(bookings).values(values))


_FILLERS: dict[str, object] = {"BigInteger": 1, "Double": 1.0, "Millionths": Decimal(1)}


class TestClaims:
    """What is held, what is given back, and what is missing."""

    async def test_of_fifty_at_once_exactly_as_many_as_the_budget_allows_are_granted(
        self, store: Store, settings: Settings
    ) -> None:
        for turn in range(ROUNDS):
            mandate = await entered(store, settings, id=f"mandate-{turn}", budget=Decimal(100))
            answers = await asyncio.gather(*(claimed(store, mandate) for _ in range(MANY)))
            assert sum(not missing for missing in answers) == ENOUGH_FOR
            assert {violation.constraint for missing in answers for violation in missing} == {"budget"}
            found = await mandate_book.standing(store, mandate.id)
            assert (found.committed, found.remaining, found.running) == (Decimal(100), NOTHING, ENOUGH_FOR)

    @pytest.mark.parametrize(
        ("limits", "granted", "constraint"),
        [
            ({"hourly_budget": Decimal(3)}, 3, "hourly_budget"),
            ({"max_concurrent": 2}, 2, "max_concurrent"),
            ({"budget": Decimal("39.999999")}, 3, "budget"),
        ],
    )
    async def test_every_limit_holds_among_many(
        self, store: Store, settings: Settings, limits: dict[str, Any], granted: int, constraint: str
    ) -> None:
        mandate = await entered(store, settings, **limits)
        answers = await asyncio.gather(*(claimed(store, mandate) for _ in range(8)))
        assert sum(not missing for missing in answers) == granted
        assert {violation.constraint for missing in answers for violation in missing} == {constraint}

    async def test_what_is_missing_says_what_would_pass(self, store: Store, settings: Settings) -> None:
        limits: dict[str, Any] = {"budget": Decimal(25), "hourly_budget": Decimal(3), "max_concurrent": 2}
        mandate = await entered(store, settings, **limits)
        assert await claimed(store, mandate, "20", hourly=Decimal(2), instances=2) == []
        missing = await claimed(store, mandate, "6", hourly=Decimal(2), instances=1)
        assert [(one.constraint, one.would_pass) for one in missing] == [
            ("budget", "at most $5.00 now"),
            ("hourly_budget", "at most $1.00 now"),
            ("max_concurrent", "at most 0 instances now"),
        ]
        assert missing[0].excess == Decimal(1)
        assert (await mandate_book.standing(store, mandate.id)).committed == Decimal(20)

    async def test_a_claim_is_undone_with_its_transaction(self, store: Store, settings: Settings) -> None:
        mandate = await entered(store, settings)
        with suppress(RuntimeError):
            async with store.write() as connection:
                wanted: dict[str, Any] = {"amount": Decimal(10), "hourly": Decimal(1), "instances": 1, "now": NOW}
                assert await mandate_book.claim(connection, mandate, **wanted) == []
                raise RuntimeError
        assert (await mandate_book.standing(store, mandate.id)).committed == NOTHING

    async def test_what_is_settled_can_be_claimed_again(self, store: Store, settings: Settings) -> None:
        mandate = await entered(store, settings, budget=Decimal(20), max_concurrent=1)
        assert await claimed(store, mandate, "20") == []
        await settled(store, mandate, claimed="20", spent="4.25")
        found = await mandate_book.standing(store, mandate.id)
        assert (found.committed, found.spent, found.remaining) == (NOTHING, Decimal("4.25"), Decimal("15.75"))
        assert (found.hourly_committed, found.running, found.overrun) == (NOTHING, 0, NOTHING)
        assert await claimed(store, mandate, "15.75") == []

    async def test_what_was_owed_beyond_the_claim_is_shown_and_counts(self, store: Store, settings: Settings) -> None:
        mandate = await entered(store, settings, budget=Decimal(20))
        assert await claimed(store, mandate, "15") == []
        await settled(store, mandate, claimed="15", spent="16.50")
        found = await mandate_book.standing(store, mandate.id)
        assert (found.spent, found.overrun, found.remaining) == (Decimal(15), Decimal("1.50"), Decimal("3.50"))
        assert [one.constraint for one in await claimed(store, mandate, "4")] == ["budget"]

    async def test_more_than_is_held_cannot_be_given_back(self, store: Store, settings: Settings) -> None:
        mandate = await entered(store, settings)
        assert await claimed(store, mandate, "5") == []
        with pytest.raises(InternalFault):
            await settled(store, mandate, claimed="6", spent="1")
        assert (await mandate_book.standing(store, mandate.id)).spent == NOTHING

    async def test_nobody_claims_under_a_mandate_that_was_revoked_or_changed_meanwhile(
        self, store: Store, settings: Settings
    ) -> None:
        mandate = await entered(store, settings)
        async with store.write() as connection:
            await mandate_register.amend(
                connection, settings, replace(mandate, version=2, budget=Decimal(5), issued_at=NOW)
            )
        assert [one.constraint for one in await claimed(store, mandate)] == ["version", "budget"]
        async with store.write() as connection:
            await mandate_register.revoke(connection, settings, mandate.id, NOW)
        assert "revoked" in [one.constraint for one in await claimed(store, mandate, "1")]
        late = [one.constraint for one in await claimed(store, mandate, "1", now=NOW + timedelta(days=31))]
        assert "revoked" in late

    async def test_a_mandate_that_has_expired_holds_no_more_claims(self, store: Store, settings: Settings) -> None:
        mandate = await entered(store, settings)
        missing = await claimed(store, mandate, now=mandate.expires_at)
        assert [one.constraint for one in missing] == ["expires_at"]

    async def test_the_database_itself_refuses_to_go_beyond(self, store: Store, settings: Settings) -> None:
        mandate = await entered(store, settings, max_concurrent=1, hourly_budget=Decimal(1))
        for column, value in (("committed", 100_000_001), ("spent", -1), ("running", 2), ("hourly_committed", 10**7)):
            with pytest.raises(IntegrityError):
                await spoiled(store, mandate.id, column, value)

    @pytest.mark.parametrize("wrong", [{"hourly": Decimal(-1)}, {"instances": -1}])
    async def test_a_claim_below_zero_gives_nothing_back(
        self, store: Store, settings: Settings, wrong: dict[str, Any]
    ) -> None:
        mandate = await entered(store, settings)
        with pytest.raises(ValueError, match="nothing or more"):
            await claimed(store, mandate, **wrong)


async def settled(store: Store, mandate: Mandate, *, claimed: str, spent: str) -> None:
    """The end of one instance that held a dollar an hour."""
    async with store.write() as connection:
        await mandate_book.settle(
            connection, mandate.id, claimed=Decimal(claimed), hourly=Decimal(1), instances=1, spent=Decimal(spent)
        )


class TestRecurrence:
    """How often something new may be booked."""

    async def test_the_window_moves_with_the_time(self, store: Store, settings: Settings, clock: ManualClock) -> None:
        twice = Recurrence(every="day", max_bookings=2)
        mandate = await entered(store, settings, recurrence=twice)
        for booking_id in ("first", "second"):
            assert await claimed(store, mandate, "1", now=clock.now()) == []
            await booked(store, mandate, booking_id, clock)
            clock.advance(timedelta(hours=1))
        refused = await claimed(store, mandate, "1", now=clock.now())
        assert [(one.constraint, one.allowed) for one in refused] == [("recurrence", 2)]
        assert (await mandate_book.standing(store, mandate.id)).committed == Decimal(2)
        clock.advance(timedelta(hours=22))
        assert await claimed(store, mandate, "1", now=clock.now()) == []

    async def test_it_holds_among_many_at_once(self, store: Store, settings: Settings, clock: ManualClock) -> None:
        mandate = await entered(store, settings, recurrence=Recurrence(every="week", max_bookings=3))

        async def book(booking_id: str) -> bool:
            async with store.write() as connection:
                wanted: dict[str, Any] = {"amount": Decimal(1), "hourly": Decimal(1), "instances": 1}
                if await mandate_book.claim(connection, mandate, **wanted, now=clock.now()):
                    return False
                await write_booking(connection, mandate, booking_id, clock)
                return True

        assert sum(await asyncio.gather(*(book(f"booking-{turn}") for turn in range(12)))) == 3
        assert (await mandate_book.standing(store, mandate.id)).committed == Decimal(3)

    async def test_a_change_and_what_was_never_made_are_not_counted(
        self, store: Store, settings: Settings, clock: ManualClock
    ) -> None:
        mandate = await entered(store, settings, recurrence=Recurrence(every="month", max_bookings=1))
        await booked(store, mandate, "never-made", clock, state="failed")
        assert await claimed(store, mandate, "1", now=clock.now()) == []
        await booked(store, mandate, "made", clock)
        assert await claimed(store, mandate, "1", now=clock.now(), is_new=False) == []
        assert await claimed(store, mandate, "1", now=clock.now())


SPOILT: dict[str, tuple[str, object, str]] = {
    "a larger budget in the row": ("budget", 10**12, "its row was changed"),
    "a later end in the row": ("expires_at", 4 * 10**15, "its row was changed"),
    "another version in the row": ("version", 7, "its row was changed"),
    "a wider rate in the row": ("hourly_budget", 10**12, "its row was changed"),
    "another agent in the row": ("agent", "key-stranger", "its row was changed"),
    "no token at all": ("jws", "nothing", "was changed"),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestTrust:
    """Which mandates are in force, and for whom."""

    @pytest.mark.parametrize("case", SPOILT)
    async def test_a_row_that_was_changed_is_refused(self, store: Store, settings: Settings, case: str) -> None:
        column, value, words = SPOILT[case]
        mandate = await entered(store, settings)
        await spoiled(store, mandate.id, column, value)
        with pytest.raises(MandateRefused, match=words):
            await mandate_book.verified(store, settings, mandate.id, NOW)
        assert mandate.id not in [one.id for one in await mandate_book.for_caller(store, settings, LOCAL_OWNER, NOW)]

    async def test_another_text_under_the_same_columns_is_refused(self, store: Store, settings: Settings) -> None:
        mandate = await entered(store, settings)
        async with store.write() as connection:
            wider = replace(mandate, id="mandate-wider", budget=Decimal(10_000))
            await mandate_register.add(connection, settings, wider)
        await spoiled(store, mandate.id, "jws", (await mandate_register.entry(store, settings, wider.id)).jws)
        with pytest.raises(MandateRefused, match="its row was changed"):
            await mandate_book.verified(store, settings, mandate.id, NOW)

    async def test_the_mandate_of_another_owner_is_refused(
        self, store: Store, settings: Settings, tmp_path: Path
    ) -> None:
        stranger = Settings(data_dir=tmp_path / "stranger")
        mandate = await entered(store, stranger)
        with pytest.raises(MandateRefused, match="no owner's key"):
            await mandate_book.verified(store, settings, mandate.id, NOW)
        await entered(store, settings, id="mandate-mine")
        with pytest.raises(MandateRefused, match="another owner"):
            await mandate_book.verified(store, settings, mandate.id, NOW)

    async def test_one_that_is_over_or_has_not_begun_is_refused_in_its_own_words(
        self, store: Store, settings: Settings
    ) -> None:
        mandate = await entered(store, settings, not_before=NOW + timedelta(hours=1))
        for at, words in ((NOW, "begins at"), (mandate.expires_at, "has expired")):
            with pytest.raises(MandateRefused, match=words):
                await mandate_book.verified(store, settings, mandate.id, at)
        async with store.write() as connection:
            await mandate_register.revoke(connection, settings, mandate.id, NOW)
        with pytest.raises(MandateRefused, match="was revoked"):
            await mandate_book.verified(store, settings, mandate.id, NOW)
        with pytest.raises(NotFound):
            await mandate_book.verified(store, settings, "mandate-none", NOW)

    async def test_a_mandate_is_good_for_the_agent_whose_key_it_names_and_no_other(
        self, store: Store, settings: Settings
    ) -> None:
        async with store.write() as connection:
            key, _ = await agent_keys.create(connection, name="one", created_by="local-owner", now=NOW)
            other, _ = await agent_keys.create(connection, name="other", created_by="local-owner", now=NOW)
            mandate = replace(owned(settings), agent=key.id, thumbprint=key.thumbprint)
            await mandate_register.add(connection, settings, mandate)
        assert [one.id for one in await mandate_book.for_caller(store, settings, key.caller, NOW)] == [mandate.id]
        assert await mandate_book.for_caller(store, settings, other.caller, NOW) == []
        with pytest.raises(MandateRefused, match="another agent"):
            await mandate_book.verified(store, settings, mandate.id, NOW, caller=other.caller)
        with pytest.raises(MandateRefused, match="another agent"):
            await mandate_book.verified(store, settings, mandate.id, NOW, caller=LOCAL_OWNER)
        async with store.write() as connection:
            await agent_keys.revoke(connection, key.id, NOW)
        with pytest.raises(MandateRefused, match="not good any more"):
            await mandate_book.verified(store, settings, mandate.id, NOW)

    async def test_a_key_put_in_the_place_of_another_is_noticed(self, store: Store, settings: Settings) -> None:
        async with store.write() as connection:
            key, _ = await agent_keys.create(connection, name="one", created_by="local-owner", now=NOW)
            mandate = replace(owned(settings), agent=key.id, thumbprint=key.thumbprint)
            await mandate_register.add(connection, settings, mandate)
            await connection.exec_driver_sql("UPDATE agent_keys SET thumbprint = 'another'")
        with pytest.raises(MandateRefused, match="another key"):
            await mandate_book.verified(store, settings, mandate.id, NOW)

    async def test_the_oldest_mandate_comes_first(self, store: Store, settings: Settings) -> None:
        later = await entered(store, settings, id="mandate-a", issued_at=NOW + timedelta(seconds=1))
        first = await entered(store, settings, id="mandate-z")
        found = await mandate_book.for_caller(store, settings, LOCAL_OWNER, NOW)
        assert [one.id for one in found][:2] == [first.id, later.id]


class TestSandbox:
    """The one mandate nobody has to ask for."""

    async def test_the_owner_of_the_machine_may_practise_and_no_more(self, store: Store, settings: Settings) -> None:
        found = await asyncio.gather(*(mandate_book.for_caller(store, settings, LOCAL_OWNER, NOW) for _ in range(5)))
        assert {tuple(one.id for one in mandates) for mandates in found} == {("mandate-sandbox",)}
        assert found[0][0].providers == {"sandbox"}
        async with store.read() as connection:
            told = (await connection.execute(select(audit_log.c.subject))).scalars().all()
        assert told == ["mandate-sandbox"]

    async def test_an_agent_has_none(self, store: Store, settings: Settings) -> None:
        agent = Caller("agent", frozenset({"procure:spend"}), agent_key_id="key-1")
        assert await mandate_book.for_caller(store, settings, agent, NOW) == []
        async with store.read() as connection:
            assert (await connection.execute(select(mandates.c.id))).all() == []

    async def test_it_is_signed_anew_when_its_year_is_over_but_not_when_it_was_revoked(
        self, store: Store, settings: Settings
    ) -> None:
        (first,) = await mandate_book.for_caller(store, settings, LOCAL_OWNER, NOW)
        assert await claimed(store, first) == []
        later = first.expires_at + timedelta(days=1)
        (second,) = await mandate_book.for_caller(store, settings, LOCAL_OWNER, later)
        assert (second.version, second.expires_at > later) == (2, True)
        assert (await mandate_book.standing(store, second.id)).committed == Decimal(10)
        async with store.write() as connection:
            await mandate_register.revoke(connection, settings, second.id, later)
        assert await mandate_book.for_caller(store, settings, LOCAL_OWNER, later) == []
        assert await mandate_book.for_caller(store, settings, LOCAL_OWNER, later + timedelta(days=800)) == []
