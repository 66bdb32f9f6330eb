"""The audit log: one chain whoever writes, no spending without its anchor, erasure that leaves it whole."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from market import audit, audit_anchor
from market.audit import Entry
from market.audit_verification import verify
from market.errors import StorageFailed
from market.settings import Settings
from market.store import Store
from tests.conftest import ManualClock
from tests.house import ROOT

PERSON = {"email": "ada@example.org"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The folder that holds the anchor (and the file of the embedded database)."""
    return Settings(data_dir=tmp_path / "data")


async def _append(store: Store, clock: ManualClock, number: int = 1, **changes: Any) -> Entry:
    facts: dict[str, Any] = {
        "at": clock.now(),
        "actor": "local-owner",
        "action": "booking.requested",
        "subject": f"booking-{number}",
        "details": {"total": "12.5", "number": number},
    }
    async with store.write() as connection:
        return await audit.append(connection, **(facts | changes))


async def _all(store: Store) -> list[Entry]:
    return [entry async for entry in audit.export(store)]


@pytest.mark.requirement("PROP-17")
async def test_each_entry_hashes_the_one_before_as_anybody_can_compute(store: Store, clock: ManualClock) -> None:
    for number in range(3):
        await _append(store, clock, number, personal=PERSON if number == 1 else None)
        clock.advance(timedelta(seconds=1, microseconds=number))
    entries = await _all(store)
    previous = ""
    for seq, entry in enumerate(entries, start=1):
        at = entry.at.replace(tzinfo=None).isoformat() + "Z"
        personal_hash = hashlib.sha256(entry.personal.encode()).hexdigest() if entry.personal else ""
        facts = {
            "action": "booking.requested",
            "actor": "local-owner",
            "at": at,
            "details": f'{{"number":{seq - 1},"total":"12.5"}}',
            "personal_hash": personal_hash,
            "seq": seq,
            "subject": f"booking-{seq - 1}",
        }
        text_of_it = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert entry.previous_hash == previous
        assert entry.hash == hashlib.sha256((previous + text_of_it).encode()).hexdigest()
        previous = entry.hash
    assert await audit.head(store) == audit_anchor.Head(3, previous)


async def test_an_entry_is_kept_with_the_change_it_tells_of_or_not_at_all(store: Store, clock: ManualClock) -> None:
    await _append(store, clock)

    async def fail() -> None:
        async with store.write() as connection:
            await audit.append(
                connection, at=clock.now(), actor="a", action="b", subject="c", details={}, personal=PERSON
            )
            raise LookupError("after the entry")

    with pytest.raises(LookupError):
        await fail()
    assert [entry.seq for entry in await _all(store)] == [1]
    assert (await _append(store, clock, 2)).seq == 2


async def test_writers_at_the_same_time_keep_one_unbroken_chain(
    store: Store, clock: ManualClock, settings: Settings
) -> None:
    await asyncio.gather(*(_append(store, clock, number) for number in range(60)))
    await audit.anchor(settings, store)
    found = await verify(store, settings)
    assert (found.ok, found.entries) == (True, 60)


_APPENDING = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from market import audit
from market.settings import Settings
from market.store import Store
async def main():
    settings = Settings(data_dir=Path(sys.argv[2]), database_url=sys.argv[1])
    store = await Store.open(sys.argv[1])
    async def one(number):
        async with store.write() as connection:
            await audit.append(connection, at=datetime.now(UTC), actor=sys.argv[3], action="a", subject=str(number),
                               details={"number": number})
        await audit.anchor(settings, store)
    await asyncio.gather(*(one(number) for number in range(25)))
    await store.close()
asyncio.run(main())
"""


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)


async def test_several_processes_keep_one_chain_and_one_anchor(
    store: Store, database_url: str, settings: Settings
) -> None:
    command = [sys.executable, "-W", "error", "-c", _APPENDING, database_url, str(settings.data_dir)]
    started = [_started([*command, f"p{n}"]) for n in range(3)]
    said = [await asyncio.to_thread(one.communicate) for one in started]
    assert [one.returncode for one in started] == [0, 0, 0], said
    found = await verify(store, settings)
    assert (found.ok, found.entries) == (True, 75)
    assert found.anchor == found.head


async def test_the_anchor_names_the_newest_entry_and_only_moves_forward(
    store: Store, clock: ManualClock, settings: Settings
) -> None:
    first = await _append(store, clock)
    await audit.anchor(settings, store)
    place = audit.place(settings, store)
    assert audit_anchor.read(settings.data_dir, place) == audit_anchor.Head(1, first.hash)
    second = await _append(store, clock, 2)
    await audit.anchor(settings, store)
    audit_anchor.write(settings.data_dir, place, audit_anchor.Head(1, first.hash))
    assert audit_anchor.read(settings.data_dir, place) == audit_anchor.Head(2, second.hash)


async def test_each_database_has_an_anchor_of_its_own(store: Store, clock: ManualClock, settings: Settings) -> None:
    other = audit_anchor.Head(9, "f" * 64)
    audit_anchor.write(settings.data_dir, "another.db", other)
    await _append(store, clock)
    await audit.anchor(settings, store)
    assert audit_anchor.read(settings.data_dir, "another.db") == other
    assert (await verify(store, settings)).ok


async def test_many_that_anchor_at_once_share_the_flush(
    store: Store, clock: ManualClock, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    real = audit_anchor.write

    def counted(folder: Path, database: str, head: audit_anchor.Head) -> None:
        flushed.append(head.seq)
        real(folder, database, head)

    monkeypatch.setattr(audit_anchor, "write", counted)
    await asyncio.gather(*(_append(store, clock, number) for number in range(20)))
    await asyncio.gather(*(audit.anchor(settings, store) for _ in range(20)))
    assert flushed == [20]
    entries = await asyncio.gather(*(_append(store, clock, number) for number in range(20)))
    await asyncio.gather(*(audit.anchor(settings, store, entry) for entry in entries))
    assert flushed == [20, 40]


async def test_a_log_that_lost_what_was_anchored_lets_nothing_be_spent(
    store: Store, clock: ManualClock, settings: Settings
) -> None:
    _, shorter, _ = [await _append(store, clock, number) for number in range(3)]
    await audit.anchor(settings, store)
    await _cut(store, shorter)
    with pytest.raises(StorageFailed, match="cut off") as caught:
        await audit.anchor(settings, store)
    assert caught.value.details == {"anchored_seq": 3, "seq": 2}
    for number in range(4):  # growing past the anchor again hides nothing
        await _append(store, clock, number)
        with pytest.raises(StorageFailed, match="gpubroker audit verify"):
            await audit.anchor(settings, store)


async def _cut(store: Store, last: Entry) -> None:
    """What somebody with the database in hand does to forget the newest entries."""
    on = " ON audit_log" if store.dialect == "postgresql" else ""
    async with store.write() as connection:
        await connection.execute(text(f"DROP TRIGGER audit_log_no_delete{on}"))
        await connection.execute(text("DELETE FROM audit_log WHERE seq > :seq"), {"seq": last.seq})
        await connection.execute(text("UPDATE audit_head SET seq = :seq, hash = :hash"), _head_of(last))


def _head_of(entry: Entry) -> dict[str, Any]:
    return {"seq": entry.seq, "hash": entry.hash}


async def test_without_its_head_the_log_takes_nothing_more(
    store: Store, clock: ManualClock, settings: Settings
) -> None:
    async with store.write() as connection:
        await connection.execute(text("DELETE FROM audit_head"))
    with pytest.raises(StorageFailed, match="lost its head"):
        await _append(store, clock)
    with pytest.raises(StorageFailed, match="lost its head"):
        await audit.anchor(settings, store)


@pytest.mark.requirement("NFR-SEC-005")
async def test_the_database_refuses_every_change_but_an_erasure(store: Store, clock: ManualClock) -> None:
    await _append(store, clock, personal=PERSON)
    for change in (
        "UPDATE audit_log SET actor = 'somebody-else'",
        "UPDATE audit_log SET hash = 'f'",
        "UPDATE audit_log SET personal = 'other'",
        "DELETE FROM audit_log",
    ):
        with pytest.raises(IntegrityError):
            await _run(store, change)
    await _run(store, "UPDATE audit_log SET personal = NULL")


async def _run(store: Store, statement: str) -> None:
    async with store.write() as connection:
        await connection.execute(text(statement))


async def test_erasing_personal_details_leaves_the_chain_whole_and_says_so(
    store: Store, clock: ManualClock, settings: Settings
) -> None:
    before = [await _append(store, clock, number % 2, personal=PERSON) for number in range(5)]
    at = clock.advance(timedelta(days=1))
    assert await audit.redact(store, at=at, subject="booking-0", reason="case 7") == 3
    assert await audit.redact(store, at=at, subject="booking-0") == 0
    entries = await _all(store)
    assert [entry.personal is None for entry in entries[:5]] == [True, False, True, False, True]
    assert [entry.hash for entry in entries[:5]] == [entry.hash for entry in before]
    assert [entry.redacted_at for entry in entries[:2]] == [at, None]
    assert (entries[5].action, len(entries)) == (audit.REDACTED, 6)
    told = {"entries": [[1, 1], [3, 3], [5, 5]], "reason": "case 7", "subject": "booking-0"}
    assert json.loads(entries[5].details) == told
    await audit.anchor(settings, store)
    found = await verify(store, settings)
    assert (found.ok, found.redacted) == (True, 3)


async def test_the_same_person_is_never_recognised_by_the_hash(store: Store, clock: ManualClock) -> None:
    first, second = [await _append(store, clock, number, personal=PERSON) for number in range(2)]
    assert first.personal_hash != second.personal_hash


async def test_what_was_erased_is_gone_from_the_file(sqlite_url: str, clock: ManualClock, settings: Settings) -> None:
    store = await Store.open(sqlite_url)
    await _append(store, clock, personal=PERSON)
    await audit.redact(store, at=clock.now(), actor="local-owner")
    async with store.read() as connection:
        await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    await store.close()
    files = [path for path in settings.data_dir.iterdir() if path.is_file()]
    assert files
    assert not [path.name for path in files if b"ada@example.org" in path.read_bytes()]


async def test_a_redaction_names_whom_it_is_about(store: Store, clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="subject or an actor"):
        await audit.redact(store, at=clock.now())


def test_numbers_are_listed_as_runs() -> None:
    assert audit.runs([1, 2, 3, 7, 9, 10]) == [[1, 3], [7, 7], [9, 10]]
    assert audit.runs([]) == []


async def test_a_disk_without_room_for_the_anchor_is_told(store: Store, clock: ManualClock, settings: Settings) -> None:
    await _append(store, clock)
    await audit.anchor(settings, store)
    before = audit_anchor.read(settings.data_dir, audit.place(settings, store))
    # the kernel's own full disk in the place of the draft
    (settings.data_dir / ".audit.head.new").symlink_to("/dev/full")
    await _append(store, clock, 2)
    with pytest.raises(StorageFailed, match="No space left on device") as caught:
        await audit.anchor(settings, store)
    assert "Nothing is spent" in str(caught.value)
    assert audit_anchor.read(settings.data_dir, audit.place(settings, store)) == before
    (settings.data_dir / ".audit.head.new").unlink()
    await audit.anchor(settings, store)
    assert (await verify(store, settings)).ok


async def test_a_disk_that_fails_to_flush_is_told(
    store: Store, clock: ManualClock, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _append(store, clock)

    def failing(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("market.audit_anchor.os.fsync", failing)
    with pytest.raises(StorageFailed, match="Nothing is spent"):
        await audit.anchor(settings, store)
    assert audit_anchor.read(settings.data_dir, audit.place(settings, store)) is None


async def test_a_folder_that_cannot_be_made_is_told(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    await _append(store, clock)
    with pytest.raises(StorageFailed, match="cannot be kept"):
        await audit.anchor(Settings(data_dir=tmp_path / "taken" / "data"), store)


@pytest.mark.parametrize("content", [b"{", b'{"seq": 1}\n', b"[]\n", b"\xff\xfe"])
async def test_an_anchor_somebody_wrote_in_lets_nothing_be_spent(
    store: Store, clock: ManualClock, settings: Settings, content: bytes
) -> None:
    await _append(store, clock)
    settings.data_dir.mkdir(exist_ok=True)
    (settings.data_dir / audit_anchor.ANCHOR_FILE).write_bytes(content)
    with pytest.raises(StorageFailed, match="was changed"):
        await audit.anchor(settings, store)
    with pytest.raises(StorageFailed, match="was changed"):
        await verify(store, settings)


_LIMITED = """
import asyncio, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from market import audit
from market.errors import StorageFailed
from market.settings import Settings
from market.store import Store
async def main():
    folder = Path(sys.argv[1])
    settings = Settings(data_dir=folder)
    store = await Store.open(settings.store_url)
    async def one(number):
        async with store.write() as connection:
            await audit.append(connection, at=datetime.now(UTC), actor="a", action="b", subject="c",
                               details={"filling": "x" * 20_000})
    await one(0)
    await audit.anchor(settings, store)
    room = max(path.stat().st_size for path in folder.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    refused = 0
    for number in range(5):
        try:
            await one(number)
        except StorageFailed:
            refused += 1
    print(refused)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
asyncio.run(main())
"""


async def test_a_database_that_may_not_grow_takes_no_half_an_entry(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    command = [sys.executable, "-W", "error", "-c", _LIMITED, str(folder)]
    ended = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode in {0, 1}, ended.stderr
    assert int(ended.stdout) >= 1, ended.stderr
    settings = Settings(data_dir=folder)
    store = await Store.open(settings.store_url)
    found = await verify(store, settings)
    assert found.ok
    assert found.entries == 6 - int(ended.stdout)
    await store.close()


async def test_a_full_database_takes_no_entry_and_nothing_that_goes_with_it(
    sqlite_url: str, clock: ManualClock
) -> None:
    store = await Store.open(sqlite_url)
    await _append(store, clock)
    async with store.read() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageFailed, match="full"):
        await _append(store, clock, details={"filling": "x" * 100_000})
    assert [entry.seq for entry in await _all(store)] == [1]
    assert (await audit.head(store)).seq == 1
    await store.close()
