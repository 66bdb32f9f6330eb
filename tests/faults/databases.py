"""Databases for a campaign: a file, or a fresh database on the PostgreSQL server of this machine."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import asyncpg

Database = Literal["sqlite", "postgresql"]
DATABASES: tuple[Database, ...] = ("sqlite", "postgresql")
_USERS = ("postgres", "root")


@asynccontextmanager
async def empty(kind: Database, folder: Path) -> AsyncIterator[str]:
    """The address of an empty database, removed afterwards. Raises ConnectionError without a PostgreSQL server."""
    if kind == "sqlite":
        yield f"sqlite+aiosqlite:///{folder / 'gpubroker.db'}"
        return
    admin, user = await _admin()
    name = f"gpubroker_faults_{secrets.token_hex(6)}"
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"postgresql+asyncpg://{user}@127.0.0.1:5432/{name}"
        finally:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


async def _admin() -> tuple[asyncpg.Connection, str]:
    for user in _USERS:
        try:
            return await asyncpg.connect(host="127.0.0.1", port=5432, user=user, database="postgres", timeout=5), user
        except (OSError, asyncpg.PostgresError):
            continue
    raise ConnectionError("no PostgreSQL on 127.0.0.1:5432 lets us in")
