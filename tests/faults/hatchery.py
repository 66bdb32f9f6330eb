"""Starts the processes of a campaign from a fork server that has everything loaded, and hears what they say."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from tests.faults.worker import Fate, Site, Told, run

HUNG_AFTER_SECONDS = 400.0
UNHARMED = Fate()


class Hatchery:
    """Processes at one site, so many of the short-lived ones at once."""

    def __init__(self, site: Site, at_once: int) -> None:
        self._site = site
        self.gate = asyncio.Semaphore(at_once)
        """Held for each short-lived process by whoever starts it."""
        self._alive: set[int] = set()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.faults.worker", "pytest"])

    async def lived(self, role: str, work: Any = None, fate: Fate = UNHARMED) -> Told:
        """One process from its birth to its end."""
        process, pipe = await asyncio.to_thread(self._born, role, work, fate)
        return await asyncio.to_thread(self._heard, process, pipe)

    async def stays(self, role: str, work: Any = None, fate: Fate = UNHARMED) -> Staying:
        """A process that goes on beside the others: until it is told to stop, is done, or kills itself."""
        process, pipe = await asyncio.to_thread(self._born, role, work, fate)
        return Staying(process.pid, pipe, asyncio.ensure_future(asyncio.to_thread(self._heard, process, pipe)))

    def _born(self, role: str, work: Any, fate: Fate) -> tuple[Any, Any]:
        ours, theirs = self._context.Pipe()
        process: Any = self._context.Process(target=run, args=(self._site, role, work, fate, theirs), daemon=True)
        process.start()
        theirs.close()
        self._alive.add(process.pid)
        return process, ours

    def _heard(self, process: Any, pipe: Any) -> Told:
        told = _heard(process, pipe)
        self._alive.discard(process.pid)
        return told

    def close(self) -> None:
        """Let none outlive the campaign, however that ended."""
        for pid in self._alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Staying:
    """One that stays: `ended` is done when it is over, however that came."""

    def __init__(self, pid: int, pipe: Connection, ended: asyncio.Future[Told]) -> None:
        self._pid = pid
        self._pipe = pipe
        self.ended = ended

    async def woken(self) -> Told:
        """Let it go on where it was stopped, to its end."""
        if not self.ended.done():
            os.kill(self._pid, signal.SIGCONT)
        return await self.ended

    async def stop(self) -> Told:
        """Tell it to stop, and hear the rest."""
        if not self.ended.done():
            with suppress(OSError):  # it may have died this moment
                self._pipe.send("stop")
        return await self.ended


def _heard(process: Any, pipe: Connection) -> Told:
    """Everything a process says, until its end of the pipe is closed by itself or by its death."""
    told = Told()
    try:
        while pipe.poll(HUNG_AFTER_SECONDS):
            what, *said = pipe.recv()
            if what == "point":
                told.points.append(said[0])
            elif what == "killed":
                told.killed_at = said[0]
            elif what == "asleep":
                told.slept_at = said[0]
            elif what == "answer":
                told.answers[said[0]] = said[1]
            elif what == "call":
                told.calls.append(said[0])
            else:
                told.faults.append(str(said[0]))
    except (EOFError, OSError):
        pass
    else:
        told.faults.append("a process has said nothing for a long time")
        process.kill()
    process.join()
    pipe.close()
    died = process.exitcode == -9
    if told.killed_at is not None and not died:
        told.killed_at = None  # it ended on its own before the signal reached it
    elif process.exitcode != 0 and told.killed_at is None:
        told.faults.append(f"a process ended with {process.exitcode} (process {os.getpid()} saw it)")
    return told
