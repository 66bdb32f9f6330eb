"""Fixtures every test may use: both databases, a clock moved by hand, a guard that lets no test leave the machine."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from market.store import Store

_POSTGRES_USERS = ("postgres", "root")
_LOCAL_NAMES = {"", "localhost", "localhost.localdomain"}


class NetworkForbidden(RuntimeError):
    """A test tried to leave the machine."""


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime = datetime(2026, 1, 15, 12, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """The present moment of the test."""
        return self._now

    def advance(self, span: timedelta) -> datetime:
        """Move on, and say what time it is then."""
        self._now += span
        return self._now


@pytest.fixture
def anyio_backend() -> str:
    """The one event loop we run on."""
    return "asyncio"


@pytest.fixture
def clock() -> ManualClock:
    """A clock moved by hand; it starts in the past of the databases' own clocks."""
    return ManualClock()


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Connecting to, sending to or looking up anything but this machine fails the test."""
    with pytest.MonkeyPatch.context() as patch:
        for name, position in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
            patch.setattr(socket.socket, name, _guarded_call(getattr(socket.socket, name), position))
        patch.setattr(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo))
        yield


def _guarded_call(original: Any, position: int) -> Any:
    def call(self: socket.socket, *arguments: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_local(arguments[position][0]):
            raise NetworkForbidden(f"a test tried to reach {arguments[position]!r}")
        return original(self, *arguments)

    return call


def _guarded_lookup(original: Any) -> Any:
    def lookup(host: Any, *arguments: Any, **options: Any) -> Any:
        if not _is_local(host):
            raise NetworkForbidden(f"a test tried to look up {host!r}")
        return original(host, *arguments, **options)

    return lookup


def _is_local(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host or ""
    if name in _LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database file that does not exist yet."""
    return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'gpubroker.db'}"


async def _postgres_admin() -> asyncpg.Connection:
    """A connection to the local server as whoever it trusts; without one the test is skipped, and fails under CI."""
    failures: list[str] = []
    for user in _POSTGRES_USERS:
        try:
            return await asyncpg.connect(host="127.0.0.1", port=5432, user=user, database="postgres", timeout=5)
        except (OSError, asyncpg.PostgresError) as problem:
            failures.append(f"{user}: {type(problem).__name__}")
    reason = f"NOT TESTED: no PostgreSQL on 127.0.0.1:5432 that lets us in ({', '.join(failures)})"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
async def postgres_url() -> AsyncIterator[str]:
    """A fresh, empty PostgreSQL database, dropped afterwards."""
    name = f"gpubroker_test_{secrets.token_hex(6)}"
    admin = await _postgres_admin()
    try:
        user = await admin.fetchval("SELECT current_user")
        await admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"postgresql+asyncpg://{user}@127.0.0.1:5432/{name}"
        finally:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, once of each kind."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """An open, migrated, empty store, once on each database."""
    opened = await Store.open(database_url)
    yield opened
    await opened.close()
