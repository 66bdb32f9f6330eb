"""What went wrong with the database, in words that say what to do; never a password, never a driver's own text."""

from __future__ import annotations

import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from market.errors import StorageFailed

_DOCTOR = "then run `gpubroker doctor`."
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNWRITABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


def place(url: URL) -> str:
    """Where the database is, for a message: the file, or the server without its password."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    return url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)


def not_a_database_url() -> StorageFailed:
    """The setting is no URL we can use; it is not repeated, because it may hold a password."""
    return StorageFailed(
        "`GPUBROKER_DATABASE_URL` is not a database address we know.",
        next_step="Use `sqlite:///path/to/file.db` or `postgresql://user:password@host:5432/name`, or leave it empty.",
    )


def unwritable(url: URL) -> StorageFailed:
    """The folder or the file cannot be created or written."""
    return StorageFailed(
        f"The database file `{place(url)}` cannot be created or written.",
        next_step=f"Make its folder writable or choose another with `GPUBROKER_DATA_DIR`, {_DOCTOR}",
    )


def full(url: URL) -> StorageFailed:
    """No room left for the file to grow."""
    return StorageFailed(
        f"The disk that holds `{place(url)}` is full; nothing of this change was kept.",
        next_step=f"Free some space or move the data folder with `GPUBROKER_DATA_DIR`, {_DOCTOR}",
    )


def busy(url: URL) -> StorageFailed:
    """Somebody else has held the database for longer than we wait."""
    return StorageFailed(
        f"The database `{place(url)}` is busy: another process has been writing for too long.",
        next_step="Try again; if it stays, close the other program that has it open.",
    )


def newer(url: URL, version: str) -> StorageFailed:
    """A database no version of this program up to this one has written."""
    return StorageFailed(
        f"The database `{place(url)}` is at version `{version}`, which is newer than this program.",
        next_step="Upgrade gpubroker, or choose another database (`GPUBROKER_DATA_DIR`, `GPUBROKER_DATABASE_URL`).",
    )


def older(url: URL) -> StorageFailed:
    """A database that must be migrated first, when migrating was not allowed."""
    return StorageFailed(
        f"The database `{place(url)}` is older than this program.", next_step="Run `gpubroker migrate`."
    )


def unreachable(url: URL, why: str) -> StorageFailed:
    """The PostgreSQL server does not answer or does not let us in."""
    return StorageFailed(
        f"The PostgreSQL database `{place(url)}` cannot be reached ({why}).",
        next_step=f"Check that the server runs and that `GPUBROKER_DATABASE_URL` is right, {_DOCTOR}",
    )


def explained(problem: BaseException, url: URL) -> StorageFailed | None:
    """The storage failure behind a database error; None when the error is a broken constraint or a mistake of ours."""
    if isinstance(problem, PoolTimeout):
        return busy(url)
    if not isinstance(problem, DBAPIError) or isinstance(problem, IntegrityError):
        return None
    if isinstance(problem.orig, sqlite3.Error):
        return _explained_sqlite(problem.orig, url)
    if problem.connection_invalidated or isinstance(problem, OperationalError | InterfaceError):
        return unreachable(url, "the connection was lost")
    return _explained_postgres(getattr(problem.orig, "sqlstate", None) or "", url)


def _explained_sqlite(problem: sqlite3.Error, url: URL) -> StorageFailed | None:
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return full(url)
    if code in _CORRUPT:
        return StorageFailed(
            f"The database file `{place(url)}` is damaged or is no database.",
            next_step=f"Move the file away (a new one is made and filled by the next sync), {_DOCTOR}",
        )
    if code in _BUSY:
        return busy(url)
    if code in _UNWRITABLE:
        return unwritable(url)
    if code == sqlite3.SQLITE_IOERR:
        return StorageFailed(
            f"The disk that holds `{place(url)}` fails to read or write.", next_step=f"Check the disk, {_DOCTOR}"
        )
    return None


def _explained_postgres(sqlstate: str, url: URL) -> StorageFailed | None:
    if sqlstate == "53100":
        return StorageFailed(
            f"The disk of `{place(url)}` is full; nothing of this change was kept.",
            next_step=f"Free some space on the database server, {_DOCTOR}",
        )
    if sqlstate in {"55P03", "40P01", "40001"}:
        return busy(url)
    if sqlstate.startswith(("08", "28", "3D", "53", "57")):
        return unreachable(url, f"SQLSTATE {sqlstate}")
    return None
