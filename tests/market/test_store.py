"""Opening, reading and writing the database, and what it says when that cannot be done."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from market import catalogue
from market.errors import StorageFailed
from market.store import Store, parse_url
from market.tables import catalogue_state
from tests.conftest import NetworkForbidden
from tests.market.examples import SEEN, an_offer

_STATE = text("SELECT version FROM catalogue_state")
_BUMP = text("UPDATE catalogue_state SET version = version + 1")


async def _version(store: Store) -> int:
    async with store.read() as connection:
        return int((await connection.execute(_STATE)).scalar_one())


def _file(url: str) -> Path:
    return Path(url.partition("///")[2])


async def test_what_a_write_block_did_is_kept_and_what_a_read_block_did_is_not(store: Store) -> None:
    async with store.write() as connection:
        await connection.execute(_BUMP)
    async with store.read() as connection:
        await connection.execute(_BUMP)
    assert await _version(store) == 1


async def test_a_write_block_that_raises_keeps_nothing(store: Store) -> None:
    async def fail() -> None:
        async with store.write() as connection:
            await connection.execute(_BUMP)
            raise LookupError("after the write")

    with pytest.raises(LookupError):
        await fail()
    assert await _version(store) == 0


async def test_a_broken_constraint_is_not_mistaken_for_a_storage_failure(store: Store) -> None:
    with pytest.raises(IntegrityError):
        async with store.write() as connection:
            await connection.execute(text("INSERT INTO catalogue_state VALUES (2, 0, 0)"))


async def test_what_a_write_has_read_still_holds_when_it_writes(store: Store) -> None:
    reading = select(catalogue_state.c.version).with_for_update()

    async def add_one() -> None:
        async with store.write() as connection:
            value = (await connection.execute(reading)).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(text("UPDATE catalogue_state SET version = :value"), {"value": value + 1})

    await asyncio.gather(*(add_one() for _ in range(40)))
    assert await _version(store) == 40


async def test_readers_are_not_kept_waiting_by_a_writer(store: Store) -> None:
    async with store.write() as connection:
        await connection.execute(_BUMP)
        assert await _version(store) == 0
    assert await _version(store) == 1


async def test_the_database_is_still_there_when_opened_again(database_url: str) -> None:
    first = await Store.open(database_url)
    await catalogue.record(first, "acme", [an_offer()], seen_at=SEEN, complete=True)
    await first.close()
    second = await Store.open(database_url, migrate=False)
    assert await catalogue.offer(second, "acme:h100-8:us-east-1") is not None
    await second.close()


async def test_an_empty_database_is_not_touched_when_migrating_is_not_allowed(database_url: str) -> None:
    with pytest.raises(StorageFailed, match="gpubroker migrate"):
        await Store.open(database_url, migrate=False)


async def test_several_stores_may_open_a_new_database_at_once(database_url: str) -> None:
    stores = await asyncio.gather(*(Store.open(database_url) for _ in range(4)))
    assert [await _version(one) for one in stores] == [0] * 4
    await asyncio.gather(*(one.close() for one in stores))


_OPEN = """
import asyncio, sys
from market.store import Store
async def main():
    await (await Store.open(sys.argv[1])).close()
asyncio.run(main())
"""


def _opening(url: str, after: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", _OPEN + after, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def test_several_processes_may_open_a_new_database_at_once(database_url: str) -> None:
    started = [_opening(database_url) for _ in range(3)]
    said = [await asyncio.to_thread(one.communicate) for one in started]
    assert [one.returncode for one in started] == [0, 0, 0], said
    assert said == [("", "")] * 3


async def test_a_current_database_opens_without_alembic(database_url: str) -> None:
    await (await Store.open(database_url)).close()
    process = _opening(database_url, "\nassert 'alembic' not in sys.modules")
    assert await asyncio.to_thread(process.communicate) == ("", "")
    assert process.returncode == 0


async def test_the_file_and_its_folder_are_made_for_the_owner_alone(sqlite_url: str) -> None:
    await (await Store.open(sqlite_url)).close()
    folder = _file(sqlite_url).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(_file(sqlite_url).stat().st_mode) == 0o600


async def test_sqlite_runs_with_a_log_and_with_foreign_keys(sqlite_url: str) -> None:
    store = await Store.open(sqlite_url)
    async with store.read() as connection:
        found = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 1, 1]
    await store.close()


async def test_an_unwritable_folder_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(StorageFailed) as caught:
        await Store.open(f"sqlite:///{tmp_path}/taken/gpubroker.db")
    assert f"{tmp_path}/taken/gpubroker.db" in str(caught.value)
    assert "GPUBROKER_DATA_DIR" in str(caught.value)


async def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "gpubroker.db").mkdir()
    with pytest.raises(StorageFailed, match="cannot be created or written"):
        await Store.open(f"sqlite:///{tmp_path}/gpubroker.db")


@pytest.mark.parametrize("content", [b"this is not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 5_000])
async def test_a_file_that_is_no_database_is_to_be_moved_away(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "gpubroker.db"
    path.write_bytes(content)
    with pytest.raises(StorageFailed) as caught:
        await Store.open(f"sqlite:///{path}")
    assert str(path) in str(caught.value)
    assert "Move the file away" in str(caught.value)
    assert "gpubroker doctor" in str(caught.value)
    assert path.read_bytes() == content


async def test_a_database_damaged_in_the_middle_says_so_when_read(sqlite_url: str) -> None:
    store = await Store.open(sqlite_url)
    await catalogue.record(store, "acme", [an_offer(f"n{n}") for n in range(400)], seen_at=SEEN, complete=True)
    await store.close()
    path = _file(sqlite_url)
    content = bytearray(path.read_bytes())
    content[8_192:] = b"\xa5" * (len(content) - 8_192)
    path.write_bytes(content)
    with pytest.raises(StorageFailed, match="damaged"):
        await _use(sqlite_url)


async def _use(url: str) -> None:
    store = await Store.open(url)
    try:
        async for _ in catalogue.load_rows(store):
            await catalogue.current(store)
    finally:
        await store.close()


async def test_a_full_disk_is_told_and_keeps_nothing_of_the_change(sqlite_url: str) -> None:
    store = await Store.open(sqlite_url)
    await catalogue.record(store, "acme", [an_offer("first")], seen_at=SEEN, complete=True)
    async with store.read() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 5}")
    many = [an_offer(f"n{n}") for n in range(2_000)]
    with pytest.raises(StorageFailed, match="full") as caught:
        await catalogue.record(store, "acme", many, seen_at=SEEN, complete=True)
    assert "GPUBROKER_DATA_DIR" in str(caught.value)
    assert [row[0] async for rows in catalogue.load_rows(store) for row in rows] == ["acme:first:us-east-1"]
    await store.close()


async def test_a_file_somebody_else_keeps_locked_is_called_busy(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.store.BUSY_SECONDS", 0.05)
    store = await Store.open(sqlite_url)
    other = sqlite3.connect(_file(sqlite_url), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageFailed, match="busy"):
        await catalogue.record(store, "acme", [an_offer()], seen_at=SEEN, complete=True)
    other.execute("ROLLBACK")
    assert (await catalogue.record(store, "acme", [an_offer()], seen_at=SEEN, complete=True)).inserted == 1
    other.close()
    await store.close()


async def test_a_write_inside_a_write_is_refused_rather_than_waiting_for_ever(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.store.BUSY_SECONDS", 0.05)
    store = await Store.open(sqlite_url)

    async def nested() -> None:
        async with store.write(), store.write():
            pass

    with pytest.raises(StorageFailed, match="busy"):
        await nested()
    await store.close()


async def test_a_newer_database_is_left_alone(database_url: str) -> None:
    store = await Store.open(database_url)
    async with store.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await store.close()
    with pytest.raises(StorageFailed, match="newer than this program"):
        await Store.open(database_url)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.requirement("NFR-S1")
async def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(StorageFailed) as caught:
        await Store.open(f"postgresql://broker:hunter2@127.0.0.1:{_free_port()}/prices?application_name=hunter2")
    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_missing_database_on_the_server_is_told(postgres_url: str) -> None:
    with pytest.raises(StorageFailed, match="cannot be reached"):
        await Store.open(postgres_url + "_missing")


async def test_a_lost_server_connection_is_told_and_the_next_call_works(postgres_url: str) -> None:
    store = await Store.open(postgres_url)
    with pytest.raises(StorageFailed, match="cannot be reached"):
        async with store.write() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert await _version(store) == 0
    await store.close()


@pytest.mark.parametrize(
    "url", ["", "garbage", "mysql://user:hunter2@host/name", "postgresql://user:hunter2@host:port/x"]
)
async def test_an_address_of_another_kind_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(StorageFailed, match="GPUBROKER_DATABASE_URL") as caught:
        await Store.open(url)
    assert "hunter2" not in str(caught.value)


async def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(StorageFailed, match="in memory"):
        await Store.open("sqlite:///:memory:")


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("postgres://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql://u@h/d?sslmode=require&channel_binding=require", "postgresql+asyncpg://u@h/d?ssl=require"),
        ("sqlite:////var/lib/x.db", "sqlite+aiosqlite:////var/lib/x.db"),
    ],
)
def test_short_spellings_of_an_address_are_understood(given: str, understood: str) -> None:
    assert parse_url(given).render_as_string() == understood


def test_the_guard_lets_no_test_leave_the_machine() -> None:
    with socket.socket() as probe, pytest.raises(NetworkForbidden):
        probe.connect(("192.0.2.1", 80))
    with pytest.raises(NetworkForbidden):
        socket.getaddrinfo("example.com", 80)
