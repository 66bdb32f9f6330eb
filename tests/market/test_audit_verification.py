"""Whatever somebody does to the audit log in the database, verification finds it, says where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from market import audit, audit_anchor
from market.audit import Entry
from market.audit_anchor import Head
from market.audit_verification import SHOWN, Verification, Walk, verify
from market.settings import Settings
from market.store import Store
from tests.conftest import ManualClock

ENTRIES = 6
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
async def log(store: Store, clock: ManualClock, tmp_path: Path) -> Log:
    """Six anchored entries in a database whose triggers somebody has removed."""
    made = Log(store, Settings(data_dir=tmp_path / "data"))
    for number in range(ENTRIES):
        await made.append(clock, number)
    await audit.anchor(made.settings, store)
    on = " ON audit_log" if store.dialect == "postgresql" else ""
    for trigger in ("audit_log_redaction_only", "audit_log_no_delete"):
        await made.run(f"DROP TRIGGER {trigger}{on}")
    assert (await made.verified()).ok
    return made


class Log:
    """An audit log that is tampered with."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings

    async def append(self, clock: ManualClock, number: int) -> Entry:
        """Another entry, as the program writes it."""
        async with self.store.write() as connection:
            return await audit.append(
                connection,
                at=clock.now(),
                actor="local-owner",
                action="booking.requested",
                subject=f"booking-{number}",
                details={"total": f"{number}.5"},
                personal={"email": "ada@example.org"},
            )

    async def run(self, statement: str, **values: Any) -> None:
        """A statement that only somebody with the database in hand can run."""
        async with self.store.write() as connection:
            await connection.execute(text(statement), values)

    async def verified(self) -> Verification:
        """What verification says."""
        return await verify(self.store, self.settings)

    async def entries(self) -> list[Entry]:
        """The log as it is now."""
        return [entry async for entry in audit.export(self.store)]

    async def put(self, entry: Entry) -> None:
        """Write an entry over the one with its number, or beside the others."""
        await self.run("DELETE FROM audit_log WHERE seq = :seq", seq=entry.seq)
        values = {name: getattr(entry, name) for name in Entry.__slots__ if name != "redacted_at"}
        values["at"] = int(entry.at.timestamp() * 1_000_000)
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        await self.run(f"INSERT INTO audit_log ({names}) VALUES ({marks})", **values)  # noqa: S608 - our own names

    async def rewrite_from(self, entries: list[Entry]) -> None:
        """Make the chain anew so that every hash fits, head included."""
        last = Head(0, "")
        for entry in entries:
            again = replace(entry, seq=last.seq + 1, previous_hash=last.hash)
            again = replace(again, hash=again.expected_hash)
            await self.put(again)
            last = Head(again.seq, again.hash)
        await self.run("DELETE FROM audit_log WHERE seq > :seq", seq=last.seq)
        await self.run("UPDATE audit_head SET seq = :seq, hash = :hash", seq=last.seq, hash=last.hash)


_EDITS: dict[str, Any] = {
    "at": 1_700_000_000_000_000,
    "actor": "somebody-else",
    "action": "booking.ended",
    "subject": "booking-9",
    "details": '{"total":"99.5"}',
    "personal_hash": "0" * 64,
    "previous_hash": "0" * 64,
    "hash": "0" * 64,
}


@pytest.mark.requirement("SEC-AUDIT-1")
@pytest.mark.parametrize(("seq", "column"), [*((3, name) for name in _EDITS), (1, "details"), (ENTRIES, "details")])
async def test_an_edited_entry_is_found_by_its_number(log: Log, column: str, seq: int) -> None:
    await log.run(f"UPDATE audit_log SET {column} = :value WHERE seq = :seq", value=_EDITS[column], seq=seq)  # noqa: S608
    found = await log.verified()
    assert not found.ok
    assert (seq, "edited") in [(one.seq, one.kind) for one in found.problems]
    assert {one.seq for one in found.problems} <= {seq, seq + 1}


async def test_edited_personal_details_are_found(log: Log) -> None:
    await log.run("UPDATE audit_log SET personal = '{}' WHERE seq = 2")
    assert [(one.seq, one.kind) for one in (await log.verified()).problems] == [(2, "personal")]


async def test_personal_details_erased_outside_a_redaction_are_found(log: Log, clock: ManualClock) -> None:
    await audit.redact(log.store, at=clock.now(), subject="booking-3")
    assert (await log.verified()).ok
    await log.run("UPDATE audit_log SET personal = NULL, redacted_at = at WHERE seq = 2")
    found = await log.verified()
    assert [(one.seq, one.kind) for one in found.problems] == [(2, "erased")]
    assert found.redacted == 2


@pytest.mark.parametrize("seq", [1, 3, 5])
async def test_a_removed_entry_is_missed(log: Log, seq: int) -> None:
    await log.run("DELETE FROM audit_log WHERE seq = :seq", seq=seq)
    found = await log.verified()
    assert [(one.seq, one.kind) for one in found.problems] == [(seq, "missing")]
    assert found.problems[0].message == f"Entry {seq} is missing."


async def test_several_removed_entries_are_one_gap(log: Log) -> None:
    await log.run("DELETE FROM audit_log WHERE seq BETWEEN 2 AND 4")
    assert [one.message for one in (await log.verified()).problems] == ["Entries 2 to 4 are missing."]


async def test_two_entries_that_changed_places_are_found(log: Log) -> None:
    entries = await log.entries()
    for seq, other in ((2, entries[3]), (4, entries[1])):
        await log.put(replace(other, seq=seq))
    kinds = {(one.seq, one.kind) for one in (await log.verified()).problems}
    assert {(2, "edited"), (4, "edited"), (2, "order"), (4, "order")} <= kinds


async def test_an_entry_slipped_in_at_the_end_is_found(log: Log, clock: ManualClock) -> None:
    last = (await log.entries())[-1]
    forged = replace(last, seq=ENTRIES + 1, previous_hash=last.hash, subject="booking-9")
    await log.put(replace(forged, hash=forged.expected_hash))
    found = await log.verified()
    assert [(one.seq, one.kind) for one in found.problems] == [(ENTRIES + 1, "head")]


async def test_an_entry_slipped_in_before_the_first_is_found(log: Log) -> None:
    first = (await log.entries())[0]
    await log.put(replace(first, seq=-3))
    assert (-3, "order") in [(one.seq, one.kind) for one in (await log.verified()).problems]


async def test_an_entry_slipped_in_between_with_all_later_hashes_made_anew_is_found(log: Log) -> None:
    entries = await log.entries()
    await log.rewrite_from([*entries[:2], replace(entries[4], subject="booking-9"), *entries[2:]])
    found = await log.verified()
    assert [(one.seq, one.kind) for one in found.problems] == [(ENTRIES, "rewritten")]


async def test_an_edit_with_all_later_hashes_made_anew_is_found(log: Log) -> None:
    entries = await log.entries()
    await log.rewrite_from([entries[0], replace(entries[1], details='{"total":"0"}'), *entries[2:]])
    found = await log.verified()
    assert [(one.seq, one.kind) for one in found.problems] == [(ENTRIES, "rewritten")]
    assert "backup" in found.problems[0].next_step


async def test_a_cut_tail_is_found_though_the_head_was_set_back_with_it(log: Log) -> None:
    await log.rewrite_from((await log.entries())[:4])
    found = await log.verified()
    assert [(one.seq, one.kind) for one in found.problems] == [(5, "cut")]
    assert found.problems[0].message == ("The end was cut off: the log ends at entry 4, but entry 6 was anchored.")
    assert audit_anchor.ANCHOR_FILE in found.problems[0].next_step


async def test_a_cut_tail_alone_is_found_by_the_head_too(log: Log) -> None:
    await log.run("DELETE FROM audit_log WHERE seq > 4")
    assert [(one.seq, one.kind) for one in (await log.verified()).problems] == [(5, "cut"), (5, "cut")]


async def test_a_log_emptied_with_its_head_is_found(log: Log) -> None:
    await log.rewrite_from([])
    assert [(one.seq, one.kind) for one in (await log.verified()).problems] == [(1, "cut")]


async def test_a_head_that_was_set_back_or_removed_is_found(log: Log) -> None:
    fourth = (await log.entries())[3]
    await log.run("UPDATE audit_head SET seq = 4, hash = :hash", hash=fourth.hash)
    assert [(one.seq, one.kind) for one in (await log.verified()).problems] == [(5, "head")]
    await log.run("DELETE FROM audit_head")
    assert [one.kind for one in (await log.verified()).problems] == ["head"]


async def test_a_removed_anchor_is_told(log: Log) -> None:
    (log.settings.data_dir / audit_anchor.ANCHOR_FILE).unlink()
    found = await log.verified()
    assert [(one.seq, one.kind) for one in found.problems] == [(ENTRIES, "no_anchor")]
    assert found.anchor is None


async def test_a_log_that_has_grown_past_its_anchor_is_fine(log: Log, clock: ManualClock) -> None:
    await log.append(clock, ENTRIES)
    found = await log.verified()
    assert found.ok
    assert (found.head.seq, found.anchor and found.anchor.seq) == (ENTRIES + 1, ENTRIES)


async def test_an_empty_log_is_fine(store: Store, tmp_path: Path) -> None:
    found = await verify(store, Settings(data_dir=tmp_path / "data"))
    assert (found.ok, found.entries, found.anchor) == (True, 0, None)


async def test_an_entry_that_cannot_even_be_read_is_found(sqlite_url: str, clock: ManualClock, tmp_path: Path) -> None:
    store = await Store.open(sqlite_url)
    log = Log(store, Settings(data_dir=tmp_path / "data"))
    for number in range(ENTRIES):
        await log.append(clock, number)
    await audit.anchor(log.settings, store)
    await log.run("DROP TRIGGER audit_log_redaction_only")
    for damage in ("at = 'yesterday'", "at = 9223372036854775807", "details = CAST(x'ff' AS TEXT)"):
        await log.run(f"UPDATE audit_log SET {damage} WHERE seq = 4")  # noqa: S608
        kinds = [(one.seq, one.kind) for one in (await log.verified()).problems]
        assert kinds[0] == (4, "edited"), damage
    await store.close()


async def test_of_many_problems_the_first_are_shown_and_all_are_counted(store: Store, tmp_path: Path) -> None:
    log = Log(store, Settings(data_dir=tmp_path / "data"))
    chain = _chain([f"booking-{n}" for n in range(30)])
    for entry in chain:
        await log.put(replace(entry, actor="somebody-else"))
    found = await log.verified()
    assert len(found.problems) == SHOWN
    assert found.problem_count >= 30


def _chain(subjects: list[str], personal: bool = True) -> list[Entry]:
    made: list[Entry] = []
    last = Head(0, "")
    for number, subject in enumerate(subjects):
        entry = audit.linked(
            last,
            at=NOW + timedelta(seconds=number),
            actor="local-owner",
            action="booking.requested",
            subject=subject,
            details={"number": number},
            personal={"email": subject} if personal and number % 2 else None,
        )
        made.append(entry)
        last = Head(entry.seq, entry.hash)
    return made


def _problems(entries: list[Entry], end: Head) -> Walk:
    walk = Walk(watched=frozenset({end.seq}))
    walk.follow(entries)
    walk.finish(end, end, end)
    return walk


_SUBJECTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=12)
_FACTS = ("seq", "at", "actor", "action", "subject", "details", "personal_hash", "previous_hash", "hash", "personal")
Tampering = Callable[[list[Entry], st.DataObject], list[Entry]]


@given(_SUBJECTS)
def test_a_chain_nobody_touched_is_whole_whatever_was_written(subjects: list[str]) -> None:
    entries = _chain(subjects)
    assert _problems(entries, Head(entries[-1].seq, entries[-1].hash)).problem_count == 0


def _edit(entries: list[Entry], data: st.DataObject) -> list[Entry]:
    at = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from(_FACTS))
    before = getattr(entries[at], name)
    changed: Any
    if name == "seq":
        changed = data.draw(st.integers(-5, 40).filter(lambda value: value != before))
    elif name == "at":
        changed = before + timedelta(microseconds=data.draw(st.integers(1, 10**9)))
    elif name == "personal":
        changed = None if before else "{}"
        if before is None and not entries[at].personal_hash:
            changed = data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
    else:
        changed = data.draw(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=80).filter(lambda t: t != before)
        )
    edited = [*entries[:at], replace(entries[at], **{name: changed}), *entries[at + 1 :]]
    return sorted(edited, key=lambda entry: entry.seq)


def _remove(entries: list[Entry], data: st.DataObject) -> list[Entry]:
    at = data.draw(st.integers(0, len(entries) - 1))
    return entries[:at] + entries[at + 1 :]


def _insert(entries: list[Entry], data: st.DataObject) -> list[Entry]:
    """A forged entry between two, with its own hash right and those behind it moved up."""
    at = data.draw(st.integers(0, len(entries)))
    last = Head(entries[at - 1].seq, entries[at - 1].hash) if at else Head(0, "")
    forged = audit.linked(last, at=NOW, actor="local-owner", action="b", subject="forged", details={})
    return [*entries[:at], forged, *(replace(entry, seq=entry.seq + 1) for entry in entries[at:])]


def _swap(entries: list[Entry], data: st.DataObject) -> list[Entry]:
    first, second = sorted(data.draw(st.sets(st.integers(0, len(entries) - 1), min_size=2, max_size=2)))
    moved = list(entries)
    moved[first] = replace(entries[second], seq=entries[first].seq)
    moved[second] = replace(entries[first], seq=entries[second].seq)
    return moved


def _cut(entries: list[Entry], data: st.DataObject) -> list[Entry]:
    return entries[: data.draw(st.integers(0, len(entries) - 1))]


def _forge_all(entries: list[Entry], data: st.DataObject) -> list[Entry]:
    """An edit after which every later hash was made anew."""
    at = data.draw(st.integers(0, len(entries) - 1))
    made, last = list(entries[:at]), Head(entries[at - 1].seq, entries[at - 1].hash) if at else Head(0, "")
    for entry in [replace(entries[at], actor="somebody-else"), *entries[at + 1 :]]:
        again = replace(entry, previous_hash=last.hash)
        again = replace(again, hash=again.expected_hash)
        made.append(again)
        last = Head(again.seq, again.hash)
    return made


@pytest.mark.parametrize("tamper", [_edit, _remove, _insert, _swap, _cut, _forge_all])
@given(st.data())
def test_any_single_tampering_is_found(tamper: Tampering, data: st.DataObject) -> None:
    entries = _chain(data.draw(_SUBJECTS.filter(lambda subjects: len(subjects) > 1)))
    end = Head(entries[-1].seq, entries[-1].hash)
    tampered = tamper(entries, data)
    assert tampered != entries
    assert _problems(tampered, end).problem_count > 0
