"""A disk that is full, at each write of a booking: nothing is bought unwritten, and all settles when it is freed.

Every INSERT, UPDATE, DELETE and COMMIT between a quote and the end of its booking is refused in turn, once or until the
disk is freed, as SQLite refuses it: SQLITE_FULL.
"""

from __future__ import annotations

import asyncio
import errno
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import aiosqlite.core
import pytest
import sqlalchemy.event

from adapters.sandbox_cloud import Temper
from market import audit_anchor
from market.errors import StorageFailed
from tests.life_world import LifeWorld, Template, laboratory

MINUTE = timedelta(minutes=1)
_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


class Disk:
    """Counts writes, and refuses the one whose turn it is; `stays` goes on refusing until it is freed."""

    def __init__(self) -> None:
        self.written = 0
        self._refuse_at: int | None = None
        self._stays = False
        self.refused = 0

    def fill(self, after: int, *, stays: bool) -> None:
        """Be full after so many more writes."""
        self.written, self.refused = 0, 0
        self._refuse_at, self._stays = after, stays

    def free(self) -> None:
        """There is room again."""
        self._refuse_at = None

    def write(self) -> None:
        """One more write. Raises what the driver raises for a full disk."""
        self.written += 1
        if self._refuse_at is None or self.written <= self._refuse_at:
            return
        if not self._stays:
            self._refuse_at = None
        self.refused += 1
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise full


class Story:
    """A booking from quote to end, in a world whose disk may be full and whose cloud checks what it is asked."""

    def __init__(self, runner: asyncio.Runner, template: Template, disk: Disk) -> None:
        self.runner = runner
        self.disk = disk
        self.folder = template.folder
        self.world = LifeWorld(template, Temper.calm(), enforce_end=True)
        self.runner.run(self.world.open())
        self.offer = template.offers["on_demand"][0]
        self.unwritten: list[str] = []
        self._launch = self.world.cloud.cloud.launch
        self.world.cloud.cloud.launch = self._watched  # type: ignore[method-assign, assignment]
        self._does("create_mandate", agent=self.world.agent.agent_key_id, budget=500, providers=["sandbox"])
        self.quote = self._asks("quote_offer", offer_id=self.offer, duration_hours=4).quote_id
        self.booking = ""

    def _watched(self, account: str, order: Any, *rest: Any) -> Any:
        """An order arrives: by then its intent, its audit entry and the anchor of that must be on the disk."""
        booking_id = order.label.removeprefix("gpubroker-").rpartition("-")[0]
        connection = sqlite3.connect(self.folder / "gpubroker.db")
        intents = "SELECT count(*) FROM journal WHERE label = ? AND step = 'launch' AND state = 'intended'"
        if not connection.execute(intents, (order.label,)).fetchone()[0]:
            self.unwritten.append(f"{order.label}: no intent")
        entries = "SELECT min(seq) FROM audit_log WHERE subject = ? AND action LIKE 'book_quote%'"
        seq = connection.execute(entries, (booking_id,)).fetchone()[0]
        anchored = json.loads((self.folder / audit_anchor.ANCHOR_FILE).read_text().splitlines()[0])["seq"]
        if seq is None or anchored < seq:
            self.unwritten.append(f"{order.label}: audit entry {seq}, anchored up to {anchored}")
        connection.close()
        return self._launch(account, order, *rest)

    def _does(self, capability: str, **arguments: Any) -> Any:
        from market.context import LOCAL_OWNER

        return self.runner.run(self.world.asks(capability, LOCAL_OWNER, **arguments))

    def _asks(self, capability: str, **arguments: Any) -> Any:
        return self.runner.run(self.world.asks(capability, **arguments))

    # The chapters

    def book(self) -> None:
        """Buy it; the same key each time."""
        self.booking = self._asks("book_quote", quote_id=self.quote, idempotency_key="one", max_total=500).id

    def quotes(self, times: int) -> None:
        """Ask for so many quotes, each of which is a row."""
        for number in range(times):
            self._asks("quote_offer", offer_id=self.offer, duration_hours=number + 1)

    def boot(self) -> None:
        """Wait until its machines run."""
        self.world.advance(MINUTE)
        self.runner.run(self.world.watchdog.tick())
        self.world.advance(MINUTE)
        self.runner.run(self.world.watchdog.tick())

    def extend(self) -> None:
        """Keep it an hour longer; the same key each time."""
        self._asks("extend_booking", booking_id=self.booking, hours=1, idempotency_key="two", max_total=500)

    def scale(self) -> None:
        """One more machine; the same key each time."""
        self._asks("scale_booking", booking_id=self.booking, idempotency_key="three", max_total=500)

    def terminate(self) -> None:
        """End it."""
        self._asks("terminate_booking", booking_id=self.booking)

    def until(self, chapter: str) -> None:
        """Everything before a chapter, on a good disk."""
        for name in CHAPTERS[: CHAPTERS.index(chapter)]:
            getattr(self, name)()

    def settles(self) -> None:
        """The disk is freed: whatever was begun comes to its end, and the story can be told to its end."""
        self.disk.free()
        self.runner.run(self.world.passes(2 * MINUTE, 4))
        assert self.world.books() == []
        assert self.world.unowned() == []
        self.book()
        assert len(self.world.open_bookings() or [1]) == 1
        self.runner.run(self.world.passes(2 * MINUTE, 2))
        self.terminate()
        self.runner.run(self.world.passes(2 * MINUTE, 3))
        assert self.world.books() == []
        assert len(self.world._states) == 1
        assert self.world.open_bookings() == [], self.world._states
        assert [one.label for one in self.world.cloud.cloud.machines.values() if one.state != "ended"] == []
        assert self.runner.run(self.world.audited()) == []
        assert self.unwritten == []

    def close(self) -> None:
        """Close what is open."""
        self.runner.run(self.world.end())


EVERY = 3
"""A disk that refuses one write alone is told of every third write: it costs as much as the other, and shows less."""
CHAPTERS = ("book", "boot", "extend", "scale", "terminate")


@pytest.fixture(scope="module")
def disk() -> Disk:
    """The disk of every database in this module."""
    return Disk()


@pytest.fixture(scope="module")
def tell(disk: Disk) -> Iterator[Callable[[], Story]]:
    """A new story on a good disk."""
    committed = aiosqlite.core.Connection.commit

    async def commit(connection: Any) -> None:
        if connection.in_transaction:
            disk.write()
        await committed(connection)

    def do_execute(_cursor: Any, statement: str, _parameters: Any, _context: Any) -> None:
        if _WRITES.match(statement):
            disk.write()

    with pytest.MonkeyPatch.context() as patch, laboratory() as (runner, template):
        patch.setattr(aiosqlite.core.Connection, "commit", commit)
        engine = sqlalchemy.Engine
        sqlalchemy.event.listen(engine, "do_execute", do_execute)
        try:
            yield lambda: Story(runner, template, disk)
        finally:
            sqlalchemy.event.remove(engine, "do_execute", do_execute)


def _told(chapter: Callable[[], None]) -> StorageFailed | None:
    """The failure that a chapter ends with, if it does."""
    try:
        chapter()
    except StorageFailed as problem:
        return problem
    return None


@pytest.mark.slow
@pytest.mark.parametrize("stays", [True, False], ids=["until it is freed", "once"])
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_full_disk_at_any_write_loses_nothing(
    tell: Callable[[], Story], disk: Disk, chapter: str, stays: bool
) -> None:
    at, refused = 0, True
    while refused:
        story = tell()
        try:
            story.until(chapter)
            disk.fill(at, stays=stays)
            told = _told(getattr(story, chapter))
            assert told is None or ("is full" in told.message and "Free some space" in told.next_step), told
            refused = disk.refused > 0
            story.settles()
        except BaseException as problem:
            problem.add_note(f"chapter {chapter}, write {at}")
            raise
        finally:
            disk.free()
            story.close()
        at += 1 if stays else EVERY
    assert at > 5


@pytest.mark.parametrize("chapter", ["book", "extend", "scale"])
def test_without_the_anchor_of_the_audit_log_nothing_is_asked_of_the_provider(
    tell: Callable[[], Story], monkeypatch: pytest.MonkeyPatch, chapter: str
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    story = tell()
    try:
        story.until(chapter)
        before = [one for one in story.world.cloud.requests if one[0] != "GET"]
        with monkeypatch.context() as patch:
            patch.setattr(audit_anchor, "_replace", full)
            with pytest.raises(StorageFailed, match="Nothing is spent") as refused:
                getattr(story, chapter)()
            assert "No space left" in refused.value.message
            assert [one for one in story.world.cloud.requests if one[0] != "GET"] == before
        story.settles()
    finally:
        story.close()


def test_a_database_that_may_not_grow_refuses_in_words_and_goes_on_when_it_may(tell: Callable[[], Story]) -> None:
    pages: int | None = None

    def limited(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages or 1_000_000}")

    story = tell()
    engine = story.runner.run(story.world.market.store())._engine.sync_engine
    sqlalchemy.event.listen(engine, "begin", limited)
    try:
        database = sqlite3.connect(story.folder / "gpubroker.db")
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.close()
        with pytest.raises(StorageFailed, match="is full; nothing of this change was kept"):
            story.quotes(200)
        with suppress(StorageFailed):
            story.book()
        story.boot()
        pages = None
        story.settles()
    finally:
        sqlalchemy.event.remove(engine, "begin", limited)
        story.close()
