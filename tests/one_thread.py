"""The product without threads and without chance: short runs by the thousand, and each of them the same every time.

Nothing of the product changes: aiosqlite gives every statement to a thread of its own and waits; here the queue to that
thread does the work at once, and no write is flushed to the disk. What goes to `asyncio.to_thread` runs where it is
awaited, and `secrets` tells what a seed decides. A database that is opened again gets its engine again, with the
statements it has compiled.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import aiosqlite.core
import pytest
import sqlalchemy.event
from sqlalchemy.engine import Engine

from market import store


class _AtOnce:
    """The queue to the thread: what is put on it is done by whoever puts it there."""

    def put_nowait(self, work: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, function = work
        try:
            result = function()
        except Exception as problem:  # noqa: BLE001 - whatever it is, it belongs to who waits
            if future is not None:
                future.set_exception(problem)
        else:
            if future is not None:
                future.set_result(result)


class _NoThread:
    daemon = True

    def start(self) -> None:
        """There is nothing to start."""


async def _here(function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
    await asyncio.sleep(0)
    return function(*arguments, **options)


@contextmanager
def one_thread() -> Iterator[random.Random]:
    """A block without threads; the source of chance within it, to be seeded anew for each run."""
    chance = random.Random(0)
    made = aiosqlite.core.Connection.__init__

    def without_thread(self: Any, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **options)
        self._tx, self._thread = _AtOnce(), _NoThread()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiosqlite.core.Connection, "__init__", without_thread)
        patch.setattr(store, "_sqlite_engine", cache(store._sqlite_engine))
        patch.setattr(asyncio, "to_thread", _here)
        patch.setattr(secrets, "token_bytes", lambda size=32: chance.randbytes(size))
        patch.setattr(secrets, "token_hex", lambda size=32: chance.randbytes(size).hex())
        sqlalchemy.event.listen(Engine, "connect", _unflushed)
        try:
            yield chance
        finally:
            sqlalchemy.event.remove(Engine, "connect", _unflushed)


def _unflushed(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()
