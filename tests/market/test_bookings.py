"""The moves a booking may make are the same in the program, in both databases and on the page that draws them."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from market import booking_book, mandate_register, quote_book
from market.bookings import BOOKING_STATES, FINAL_STATES, LEGAL_MOVES, Booking, BookingState, label_of
from market.errors import Conflict
from market.procurement_tables import bookings
from market.settings import Settings
from market.store import Store
from tests.house import ROOT
from tests.market.mandate_samples import NOW, a_mandate
from tests.market.purchases import quote

PAGE = ROOT / "docs" / "procurement.md"


def a_booking(state: BookingState, quote_id: str) -> Booking:
    """One H100 for four hours, in this state."""
    return Booking(
        id=f"in-{state}",
        quote_id=quote_id,
        mandate_id="mandate-typical",
        caller="local-owner",
        provider="sandbox",
        offer_id="sandbox:h100:eu-west",
        external_id="h100",
        region="eu-west",
        pricing="on_demand",
        currency="USD",
        state=state,
        plan=(),
        gpu_count=1,
        instance_count=1,
        attempts=0,
        price_per_hour=Decimal("2.5"),
        price_per_hour_usd=Decimal("2.5"),
        storage_per_hour_usd=Decimal(0),
        claimed=Decimal(11),
        hourly_claimed=Decimal("2.5"),
        spent=Decimal(0),
        disk_gb=0.0,
        enforces_end=True,
        created_at=NOW,
        ends_at=NOW + timedelta(hours=4),
    )


@pytest.fixture
async def one_in_each_state(store: Store, tmp_path: Path) -> Store:
    """A database with one booking in every state."""
    settings = Settings(data_dir=tmp_path / "data")
    async with store.write() as connection:
        await mandate_register.add(connection, settings, a_mandate())
        for state in get_args(BookingState):
            quoted = quote(NOW)
            await quote_book.add(connection, settings, quoted)
            await booking_book.add(connection, a_booking(state, quoted.id), "sealed")
    return store


async def test_the_database_lets_a_booking_make_the_legal_moves_and_no_other(one_in_each_state: Store) -> None:
    made: dict[str, set[str]] = {}
    refused: list[str] = []
    async with one_in_each_state.write() as connection:
        for start in BOOKING_STATES:
            made[start] = set()
            for end in BOOKING_STATES:
                moved = update(bookings).where(bookings.c.id == f"in-{start}").values(state=end)
                attempt = await connection.begin_nested()
                try:
                    assert (await connection.execute(moved)).rowcount == 1
                    made[start].add(end)
                except IntegrityError as refusal:
                    refused.append(str(refusal.orig))
                await attempt.rollback()
    assert refused
    assert all("illegal move of a booking" in said for said in refused)
    # staying where it is is no move, and harms nobody
    assert made == {state: {*moves, state} for state, moves in LEGAL_MOVES.items()}


async def test_the_book_refuses_an_illegal_move_before_the_database_does(one_in_each_state: Store) -> None:
    for start in BOOKING_STATES:
        booking = await booking_book.get(one_in_each_state, f"in-{start}")
        assert booking is not None
        for end in set(get_args(BookingState)) - LEGAL_MOVES[start]:
            async with one_in_each_state.write() as connection:
                with pytest.raises(Conflict, match=f"is {start} and cannot become {end}"):
                    await booking_book.move(connection, booking, end, runner=None)


async def test_a_state_nobody_knows_is_refused(one_in_each_state: Store) -> None:
    async with one_in_each_state.write() as connection:
        attempt = await connection.begin_nested()
        with pytest.raises(IntegrityError):
            await connection.execute(update(bookings).where(bookings.c.id == "in-pending").values(state="lost"))
        await attempt.rollback()


def test_every_state_has_its_moves_and_every_end_is_an_end() -> None:
    assert set(LEGAL_MOVES) == set(BOOKING_STATES)
    assert get_args(BookingState) == BOOKING_STATES
    assert {"terminated", "failed", "compensated"} == FINAL_STATES
    for state in set(BOOKING_STATES) - FINAL_STATES:
        reached, rest = {state}, [state]
        while rest:
            further = LEGAL_MOVES[rest.pop()] - reached
            reached |= further
            rest += further
        assert reached & FINAL_STATES, f"{state} leads to no end"


def test_the_page_draws_the_moves_as_they_are() -> None:
    (diagram,) = re.findall(r"```mermaid\n(stateDiagram.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    drawn: dict[str, set[str]] = {state: set() for state in BOOKING_STATES}
    for start, end in re.findall(r"(\S+) --> (\S+)", diagram):
        if start == "[*]":
            assert end == "pending"
        elif end == "[*]":
            assert start in FINAL_STATES
        else:
            drawn[start].add(end)
    assert drawn == LEGAL_MOVES


def test_a_label_fits_the_names_of_providers() -> None:
    assert re.fullmatch(r"[a-z0-9-]{1,63}", label_of("abcdefghijkl", 64))
