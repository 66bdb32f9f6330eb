"""One marketplace process beside one cloud, to be lost and begun again at any moment, and the books read from outside.

The database and the key files lie in a folder that is copied for every example from one prepared once: migrated, the
catalogue read, an agent with a key. What holds is read with plain SQL, beside the product's own code.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from adapters.base import Adapter
from adapters.sandbox_cloud import Temper
from adapters.transport import ProviderClient
from market.audit_verification import verify
from market.bookings import FINAL_STATES, LEGAL_MOVES
from market.context import Caller, Context, Market
from market.errors import BrokerError, InternalFault
from market.settings import Settings
from market.snapshot import Snapshot
from tests.buying import opened
from tests.conftest import ManualClock
from tests.one_thread import one_thread
from tests.sandbox import SandboxWorld
from tools.capability import capabilities
from tools.watchdog import Watchdog

AGENT_SCOPES = frozenset({"market:read", "procure:quote", "procure:spend", "bookings:read"})
SEED = 1
_UNATTENDED = timedelta(minutes=5)
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of ours is made in it, when there is one


class Killed(BaseException):
    """The process is no more: nothing catches this, and nothing of it reaches database or cloud any more."""


class Template:
    """The folder every example begins with, and what of the process's memory costs most to make."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        root = tempfile.mkdtemp(prefix="gpubroker-life-", dir=_MEMORY if _MEMORY.is_dir() else None)
        self.root = Path(root)
        self.folder = self.root / "data"
        self.offers: dict[str, list[str]] = {}
        self.snapshot: Snapshot | None = None
        self.agent = Caller("buyer", AGENT_SCOPES)

    async def prepare(self) -> None:
        """Migrate, read the catalogue, make an agent's key."""
        async with opened(self.folder, ManualClock(), seed=SEED) as buying:
            made = await buying.asks("create_key", name="buyer")
            self.agent = Caller("buyer", AGENT_SCOPES, agent_key_id=made.id)
            for pricing in ("on_demand", "spot"):
                wanted: dict[str, Any] = {"provider": ["sandbox"], "pricing": [pricing], "limit": 6}
                self.offers[pricing] = [one.id for one in (await buying.asks("search_offers", **wanted)).items]
            self.snapshot = await buying.market.snapshot()
        shutil.copytree(self.folder, self.root / "template")

    def restore(self) -> None:
        """The folder as it was prepared, at the same place: the audit log's anchor names it."""
        self._chance.seed(SEED)
        shutil.rmtree(self.folder)
        shutil.copytree(self.root / "template", self.folder)


@contextmanager
def laboratory() -> Iterator[tuple[asyncio.Runner, Template]]:
    """An event loop and a template for many examples, without threads and without chance."""
    with one_thread() as chance, asyncio.Runner() as runner:
        template = Template(chance)
        try:
            runner.run(template.prepare())
            gc.freeze()  # what was made so far stays, and need not be looked through again and again
            yield runner, template
        finally:
            gc.unfreeze()
            shutil.rmtree(template.root)


class LifeWorld:
    """One example: a cloud, a clock, a database, and a process that may be lost."""

    def __init__(self, template: Template, temper: Temper, *, enforce_end: bool) -> None:
        template.restore()
        self._template = template
        self.agent = template.agent
        self.clock, self._clouds_clock = ManualClock(), ManualClock()
        self.cloud = SandboxWorld(self._clouds_clock, seed=SEED, temper=temper, enforce_end=enforce_end)
        self.costs_more = False
        """Whether something was done to it that may cost more than was held."""
        self.duplicates = False
        """Whether the cloud was ever told to make two machines of one order."""
        self.deaths = 0
        """How often the process was lost in the middle of something."""
        self.defects: list[str] = []
        self._armed: int | None = None
        self._dead = False
        self._states: dict[str, str] = {}
        self._log = _Defects(self.defects)
        logging.getLogger("gpubroker").addHandler(self._log)
        self._begin()

    def _begin(self) -> None:
        """A new process on the same database."""
        self._dead, self._armed = False, None
        settings = Settings(data_dir=self._template.folder, sync="off")
        self.market = Market(settings, clock=self.clock, connect=self._connect, version_check_seconds=3_600)
        self.market.sleep = self._sleep
        self.watchdog = Watchdog(self.market, serving=True)

    async def open(self) -> None:
        """Open the database; what was read of the catalogue is the template's, which is the same."""
        market, snapshot = self.market, self._template.snapshot
        assert snapshot is not None
        store = await market.store()
        lend, take = store.write, store.read

        @asynccontextmanager
        async def write() -> AsyncIterator[Any]:
            self._strike()
            async with lend() as connection:
                yield connection
            self._strike()

        @asynccontextmanager
        async def read() -> AsyncIterator[Any]:
            self._gone()
            async with take() as connection:
                yield connection

        store.write, store.read = write, read  # type: ignore[method-assign]
        market._snapshot = snapshot

    def _connect(self, adapter: type[Adapter]) -> ProviderClient:
        client = self.cloud.connect(adapter)
        http = client._http
        sent = http.send

        async def send(*arguments: Any, **options: Any) -> httpx.Response:
            self._gone()
            answer = await sent(*arguments, **options)
            self._strike()
            return answer

        http.send = send  # type: ignore[method-assign]
        return client

    async def _sleep(self, seconds: float) -> None:
        self._gone()
        self.advance(timedelta(seconds=seconds))
        await asyncio.sleep(0)

    def advance(self, span: timedelta) -> None:
        """Let time pass here and at the cloud; back it is set here alone."""
        self.clock.advance(span)
        self._clouds_clock.advance(max(span, timedelta(0)))

    def arm(self, moments: int) -> None:
        """The process dies after so many writes and answers more."""
        self._armed = moments

    def _strike(self) -> None:
        if self._armed is not None:
            self._armed -= 1
            self._dead = self._dead or self._armed < 0
        self._gone()

    def _gone(self) -> None:
        if self._dead:
            raise Killed

    async def lose(self) -> None:
        """The process is gone, and another begins where it was."""
        self._dead = True
        await asyncio.sleep(0)
        store, lost = self.market._store, self.market
        lost.kept.clear()
        if store is not None:
            await store.close()
        self._begin()
        await self.open()

    async def end(self) -> None:
        """Close what is open."""
        logging.getLogger("gpubroker").removeHandler(self._log)
        await self.market.close()

    async def asks(self, capability: str, /, caller: Caller | None = None, **arguments: Any) -> Any:
        """A capability called as every door calls it, by the agent unless said."""
        context = Context(self.market, caller or self.agent)
        return await capabilities()[capability].call(context, arguments)

    async def tried(self, asked: Coroutine[Any, Any, Any]) -> Any:
        """The answer, or the refusal in its words; a process that dies over it is begun again and answers None.

        A defect of ours is neither.
        """
        try:
            return await asked
        except InternalFault as fault:
            raise AssertionError(f"a defect: {fault} ({fault.__cause__!r})") from fault
        except BrokerError as refusal:
            return refusal
        except Killed:
            self.deaths += 1
            await self.lose()
            return None

    async def passes(self, span: timedelta, rounds: int) -> None:
        """Let time pass, with so many rounds of the watchdog."""
        if rounds and span / rounds > _UNATTENDED and not self.cloud.cloud.enforce_end:
            self.costs_more = True  # nobody looked when the lease was over, and the cloud goes on charging
        for _ in range(rounds):
            self.advance(span / rounds)
            await self.tried(self.watchdog.tick())

    # What holds

    def books(self) -> list[str]:
        """What is wrong in the database and at the cloud right now; nothing when all holds."""
        connection = sqlite3.connect(self._template.folder / "gpubroker.db", timeout=1)
        connection.row_factory = sqlite3.Row
        try:
            return [*self.defects, *self._money(connection), *self._moves(connection), *self._machines(connection)]
        finally:
            connection.close()

    def _money(self, connection: sqlite3.Connection) -> Iterator[str]:
        per_mandate = """
            SELECT m.id, m.budget, m.committed, m.spent, m.overrun, m.hourly_committed, m.running,
                   coalesce(sum(b.claimed), 0) AS claimed, coalesce(sum(b.final_cost), 0) AS final,
                   coalesce(sum(b.hourly_claimed), 0) AS hourly,
                   coalesce(sum(CASE WHEN b.final_cost IS NULL THEN b.instance_count END), 0) AS instances
            FROM mandates m LEFT JOIN bookings b ON b.mandate_id = m.id GROUP BY m.id"""
        for row in connection.execute(per_mandate):
            wrong = {
                "committed is not what open bookings claim": row["committed"] != row["claimed"],
                "spent is not what final bookings cost": row["spent"] + row["overrun"] != row["final"],
                "more is held and spent than the budget": row["committed"] + row["spent"] > row["budget"],
                "hourly rates do not add up": row["hourly_committed"] != row["hourly"],
                "running instances do not add up": row["running"] != row["instances"],
                "more was owed than held": row["overrun"] > 0 and not self.costs_more,
            }
            yield from (f"{row['id']}: {what} {dict(row)}" for what, holds in wrong.items() if holds)
        per_booking = """
            SELECT b.id, b.state, b.spent, b.final_cost, b.claimed, s.booking_id AS secret,
                   (SELECT coalesce(sum(amount), 0) FROM usage_ledger u WHERE u.booking_id = b.id) AS ledger,
                   (SELECT count(*) FROM journal j WHERE j.booking_id = b.id AND j.state = 'intended') AS unfinished
            FROM bookings b LEFT JOIN launch_secrets s ON s.booking_id = b.id"""
        for row in connection.execute(per_booking):
            final = row["state"] in FINAL_STATES
            wrong = {
                "the ledger is not what was spent": row["ledger"] != row["spent"],
                "final cost is not the ledger's": final and row["final_cost"] != row["ledger"],
                "a final cost before the end": not final and row["final_cost"] is not None,
                "money held after the end": final and row["claimed"] != 0,
                "secrets kept after the end": final and row["secret"] is not None,
            }
            yield from (f"{row['id']}: {what} {dict(row)}" for what, holds in wrong.items() if holds)

    def _moves(self, connection: sqlite3.Connection) -> Iterator[str]:
        """Every booking has come from where it was to where it is by legal moves, and none has disappeared."""
        now: dict[str, str] = dict(connection.execute("SELECT id, state FROM bookings").fetchall())
        for booking_id, before in self._states.items():
            if now.get(booking_id) not in _REACHED[before]:
                yield f"{booking_id}: {before} became {now.get(booking_id)}"
        self._states = now

    def _machines(self, connection: sqlite3.Connection) -> Iterator[str]:
        """One machine for an order at most, no more than were bought, and none once the booking is over."""
        if self.duplicates:
            return
        of_open = "SELECT id, CASE WHEN final_cost IS NULL THEN instance_count ELSE 0 END FROM bookings"
        bought = dict(connection.execute(of_open).fetchall())
        running: dict[str, list[str]] = {}
        for one in self.cloud.cloud.machines.values():
            if one.state not in ("ended", "failed"):
                running.setdefault(_booking_of(one.label), []).append(one.label)
        for booking_id, labels in running.items():
            if len(set(labels)) < len(labels):
                yield f"{booking_id}: two machines of one order run: {labels}"
            if len(labels) > bought.get(booking_id, 0):
                yield f"{booking_id}: {len(labels)} machines run, {bought.get(booking_id, 0)} were bought"

    def unowned(self) -> list[str]:
        """Machines of ours that run and belong to no open booking."""
        return [
            one.label
            for one in self.cloud.cloud.machines.values()
            if one.state != "ended" and self._states.get(_booking_of(one.label), "") in {*FINAL_STATES, ""}
        ]

    def open_bookings(self) -> list[str]:
        """Those that are not over."""
        return [booking_id for booking_id, state in self._states.items() if state not in FINAL_STATES]

    async def audited(self) -> list[str]:
        """What the verification of the audit log finds."""
        found = await verify(await self.market.store(), self.market.settings)
        return [problem.message for problem in found.problems]


class _Defects(logging.Handler):
    """Defects that the engine has only written into the log, because the booking is tried again."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, unless it is about the process being lost, a failure with a name, or a machine that will not end."""
        fault = record.exc_info[1] if record.exc_info else None
        named = isinstance(fault, Killed | BrokerError) and not isinstance(fault, InternalFault)
        if (fault is not None and not named) or "come to rest" in record.getMessage():
            self._found.append(f"{record.getMessage()}: {fault!r}")


def _booking_of(label: str) -> str:
    return label.removeprefix("gpubroker-").rpartition("-")[0]


def _reached() -> dict[str, frozenset[str]]:
    """From each state, the states that legal moves lead to, itself among them."""
    found: dict[str, frozenset[str]] = {}
    for state in LEGAL_MOVES:
        seen, more = {state}, {state}
        while more:
            more = {to for one in more for to in LEGAL_MOVES[one]} - seen
            seen |= more
        found[state] = frozenset(seen)
    return found


_REACHED = _reached()
