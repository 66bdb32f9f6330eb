"""The database: opened and migrated once, then lent out as read and write transactions.

SQLite (WAL, one file) by default, PostgreSQL by its URL; the code above is the same for both. A write on SQLite begins
IMMEDIATE, so that what a transaction reads still holds when it writes.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, MissingGreenlet, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from market import storage_faults
from market.errors import StorageFailed
from market.migrations import CURRENT, KNOWN

Dialect = Literal["sqlite", "postgresql"]
Open = AsyncConnection
"""A connection inside a transaction, for those who pass one on and write no SQL themselves."""

BUSY_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_COMMAND_SECONDS = 300.0
_RETRY_SECONDS = 0.05
_MIGRATION_LOCK = 0x67707562
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -32768",
)


class Store:
    """One open database. `read()` and `write()` lend a connection inside a transaction; `write` commits at the end."""

    def __init__(self, engine: AsyncEngine, url: URL) -> None:
        self._engine = engine
        self._url = url
        self.dialect: Dialect = "sqlite" if url.get_backend_name() == "sqlite" else "postgresql"
        self._writing = asyncio.Lock()
        self._returning: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, url: str, *, migrate: bool = True) -> Store:
        """Open the database, create or migrate it when needed. Raises StorageFailed saying what to do."""
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite":
            _make_file(parsed)
            store = cls(_sqlite_engine(parsed), parsed)
        else:
            store = cls(_postgres_engine(parsed), parsed)
        try:
            version = await store._first_look()
            if version != CURRENT:
                store._accept(version)
                if not migrate:
                    raise storage_faults.older(parsed)
                await store._migrate()
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def place(self) -> str:
        """The file, or the server without its password: for people."""
        return storage_faults.place(self._url)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of the database; whatever is written on it is lost."""
        connection = await self._connection()
        try:
            yield connection
        except SQLAlchemyError as problem:
            self._translate(problem)
            raise
        finally:
            await self._give_back(connection)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose changes are all kept at the end of the block, or none when it raises."""
        async with self._turn():
            connection = await self._connection()
            try:
                await connection.execution_options(gpubroker_write=True)
                async with connection.begin():
                    yield connection
            except SQLAlchemyError as problem:
                self._translate(problem)
                raise
            finally:
                await self._give_back(connection)

    async def close(self) -> None:
        """Close every connection; the store cannot be used afterwards."""
        await asyncio.gather(*self._returning, return_exceptions=True)
        await self._engine.dispose()

    async def _give_back(self, connection: AsyncConnection) -> None:
        """Return a connection to the pool whatever becomes of the caller; `close` waits for those under way."""
        await asyncio.shield(self._kept(asyncio.ensure_future(connection.close())))

    def _kept(self, returning: asyncio.Task[None]) -> asyncio.Task[None]:
        self._returning.add(returning)
        returning.add_done_callback(self._returning.discard)
        return returning

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """SQLite has one writer: ours queue here in order instead of polling the file's lock."""
        if self.dialect != "sqlite":
            yield
            return
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                await self._writing.acquire()
        except TimeoutError:
            raise storage_faults.busy(self._url) from None
        try:
            yield
        finally:
            self._writing.release()

    async def _connection(self) -> AsyncConnection:
        """A connection out of the pool; a caller who gives up while it is being made leaves it to be given back."""
        connecting = asyncio.ensure_future(self._connected())
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            self._kept(asyncio.ensure_future(_unused(connecting)))
            raise

    async def _connected(self) -> AsyncConnection:
        if self.dialect == "sqlite":
            try:
                return await self._engine.connect()
            except SQLAlchemyError as problem:
                self._translate(problem)
                raise
        import asyncpg

        try:
            return await self._engine.connect()
        except SQLAlchemyError as problem:
            self._translate(problem)
            raise
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, TypeError) as problem:
            # the driver's message can quote the address, so only the kind of failure is told
            raise storage_faults.unreachable(self._url, type(problem).__name__) from None

    def _translate(self, problem: SQLAlchemyError) -> None:
        explained = storage_faults.explained(problem, self._url)
        if explained is not None:
            raise explained from problem

    async def _first_look(self) -> str | None:
        """The version of the database, waiting while another process that opens it for the first time has it locked."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + BUSY_SECONDS
        while True:
            try:
                async with self.read() as connection:
                    return await self._version(connection)
            except StorageFailed as problem:
                if not _is_busy(problem.__cause__) or loop.time() > give_up_at:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

    async def _version(self, connection: AsyncConnection) -> str | None:
        exists = (
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
            if self.dialect == "sqlite"
            else "SELECT to_regclass('alembic_version')::text"
        )
        if (await connection.exec_driver_sql(exists)).scalar() is None:
            return None
        return (await connection.exec_driver_sql("SELECT version_num FROM alembic_version")).scalar()

    def _accept(self, version: str | None) -> None:
        if version is not None and version not in KNOWN:
            raise storage_faults.newer(self._url, version)

    async def _migrate(self) -> None:
        """Bring the database to `CURRENT`; of several processes one does it and the others wait."""
        await asyncio.to_thread(importlib.import_module, "alembic.command")
        async with self.write() as connection:
            if self.dialect == "postgresql":
                await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            version = await self._version(connection)
            self._accept(version)
            if version != CURRENT:
                await connection.run_sync(_upgrade)


async def _unused(connecting: asyncio.Future[AsyncConnection]) -> None:
    """Give back a connection nobody waits for any more."""
    with suppress(SQLAlchemyError, StorageFailed, OSError):
        await (await connecting).close()


def parse_url(url: str) -> URL:
    """The address as SQLAlchemy wants it; the short spellings of both databases are understood."""
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise storage_faults.not_a_database_url() from None
    if backend == "sqlite":
        if not parsed.database or ":memory:" in parsed.database:
            raise StorageFailed(
                "A database in memory cannot be shared by the parts of this program.",
                next_step="Give a file: `sqlite:///path/to/file.db`.",
            )
        return parsed.set(drivername="sqlite+aiosqlite")
    if backend not in {"postgresql", "postgres"}:
        raise storage_faults.not_a_database_url()
    query = dict(parsed.query)
    query.pop("channel_binding", None)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return parsed.set(drivername="postgresql+asyncpg", query=query)


def _make_file(url: URL) -> None:
    """Create the file, and its folder, for the owner alone; the driver reports less clearly what stands in the way."""
    path = Path(url.database or "")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as problem:
        raise (storage_faults.full(url) if problem.errno == errno.ENOSPC else storage_faults.unwritable(url)) from None


def _sqlite_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, connect_args={"isolation_level": None, "timeout": BUSY_SECONDS})

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "invalidate")
    def roll_back(connection: Any, _record: object, _problem: object) -> None:
        # a cancelled call leaves its cursor open, and sqlite3 keeps a closed connection and its write lock for as
        # long as a cursor lives: in a traceback that may be long, so the transaction is ended before the connection
        with suppress(sqlite3.Error, ValueError, MissingGreenlet, asyncio.CancelledError):
            connection.rollback()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("gpubroker_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres_engine(url: URL) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_pre_ping=True,
        connect_args={
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _COMMAND_SECONDS,
            "server_settings": {"application_name": "gpubroker"},
        },
    )


def _is_busy(problem: BaseException | None) -> bool:
    if not isinstance(problem, DBAPIError) or not isinstance(problem.orig, sqlite3.Error):
        return False
    return getattr(problem.orig, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
