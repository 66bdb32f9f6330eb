"""One process of the campaign: it buys, recovers or repeats through the capabilities, and kills itself when told.

Everything it needs is imported here, once: a fork server loads this module, so that a killed process costs a fork.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import signal
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import market.commitment
from adapters import discover
from adapters.base import Adapter
from adapters.sandbox import Sandbox
from adapters.transport import ProviderClient
from market import (  # noqa: F401 - loaded before the fork
    approvals,
    audit,
    booking_book,
    journal,
    mandate_book,
    outbox,
    quote_book,
    sealing,
    usage,
)
from market.bookings import Booking
from market.commitment import Commitment
from market.context import LOCAL_OWNER, Context, Market
from market.errors import BrokerError, InFlight
from market.settings import Settings
from market.store import Store
from tests.faults.cloud import NEVER_FREE, NOT_EXTENDED, PLAIN, SECOND_DEARER, SECOND_REFUSED
from tools.capability import capabilities
from tools.fulfilment import Fulfilment, hands
from tools.sync import sync
from tools.watchdog import Watchdog

discover()
capabilities()

SCENARIOS = ("book", "extend", "terminate", "compensate", "failover", "scale", "stop")
ANY_MOMENT = "any moment"
HOURS = 1.0
_BOOTED_WITHIN_SECONDS = 3.0
_SIDE_BY_SIDE = 8

Point = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Site:
    """Where the marketplace keeps its state, and the address of the cloud."""

    data_dir: Path
    database_url: str
    cloud: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client: the same key and body each time it is made."""

    scenario: str
    capability: str
    arguments: Mapping[str, Any]
    key: str


@dataclass(frozen=True, slots=True)
class Fate:
    """Where a process kills itself: at the first of these points, or so many seconds after it began."""

    points: frozenset[str] = frozenset()
    number: int | None = None
    """At the so-many-th point, whichever that is."""
    seconds: float | None = None
    sleeps: bool = False
    """It is stopped there instead, and wakes up when all the others believe it dead."""

    def strikes(self, point: str, number: int) -> bool:
        """Whether this, the `number`-th point, is the end."""
        return point in self.points or number == self.number


@dataclass(slots=True)
class Told:
    """What a process said before it ended."""

    points: list[str] = field(default_factory=list)
    killed_at: str | None = None
    slept_at: str | None = None
    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def run(site: Site, role: str, work: Any, fate: Fate, pipe: Connection) -> None:
    """The whole life of a process; `role` names one of `_ROLES`."""
    asyncio.run(_lived(site, role, work, fate, pipe))


async def _lived(site: Site, role: str, work: Any, fate: Fate, pipe: Connection) -> None:
    logging.getLogger().handlers = [_Defects(pipe)]
    market_here = opened(site)
    point = _pointed(market_here, fate, pipe)
    market_here.kept["fulfilment"] = Fulfilment(market_here, point=point)
    _watch_commitments(point)
    try:
        await market_here.store()
        if fate.seconds is not None:
            threading.Timer(fate.seconds, _killed, (pipe, ANY_MOMENT)).start()
        await _ROLES[role](market_here, work, pipe)
    except Exception as problem:  # noqa: BLE001 - told to the campaign, which counts it as a violation
        pipe.send(("fault", f"{role}: {type(problem).__name__}: {problem}"))
    finally:
        await market_here.close()
    pipe.close()
    os._exit(0)  # a timer that is still to kill us has come too late


def opened(site: Site) -> Market:
    """The marketplace as one process sees it, its cloud at the site's address."""
    settings = Settings(data_dir=site.data_dir, database_url=site.database_url, sync="off", providers="sandbox")

    def connect(kind: type[Adapter]) -> ProviderClient:
        return ProviderClient(kind, environment={"GPUBROKER_SANDBOX_URL": site.cloud})

    return Market(settings, connect=connect)


class _Defects(logging.Handler):
    """Whatever is logged with a traceback is a defect, also when the process went on."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(logging.ERROR)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """Tell the campaign."""
        if record.exc_info and record.exc_info[1] is not None:
            where = traceback.extract_tb(record.exc_info[2])[-1]
            said = f"{record.getMessage()}: {record.exc_info[1]!r} in {where.name}, line {where.lineno}"
            with suppress(OSError):
                self._pipe.send(("fault", said))


def _killed(pipe: Connection, point: str) -> None:
    pipe.send(("killed", point))
    os.kill(os.getpid(), signal.SIGKILL)


def _pointed(market_here: Market, fate: Fate, pipe: Connection) -> Point:
    numbers = itertools.count(1)
    struck = False

    async def point(name: str) -> None:
        nonlocal struck
        pipe.send(("point", name))
        if struck or not fate.strikes(name, next(numbers)):
            return
        struck = True
        if not fate.sleeps:
            _killed(pipe, name)
        pipe.send(("asleep", name))
        async with (await market_here.store())._turn():  # else it may be stopped with SQLite's one write lock in hand
            os.kill(os.getpid(), signal.SIGSTOP)

    return point


def _watch_commitments(point: Point) -> None:
    """Two moments that belong to no booking's step: the purchase is committed, the answer is to be stored."""

    class Watched(Commitment):
        """A commitment that says where it is."""

        async def anchored(self) -> None:
            """Vouched for outside the database."""
            await point("committed, not anchored")
            await Commitment.anchored(self)

        async def done(self, answer: str) -> None:
            """Answered."""
            await point("answer not stored")
            await Commitment.done(self, answer)

    mock.patch.object(market.commitment, "Commitment", Watched).start()  # for good: this process is ours alone


async def _called(market_here: Market, call: Call) -> Any:
    ctx = Context(market_here, LOCAL_OWNER, idempotency_key=call.key or None)
    return await capabilities()[call.capability].call(ctx, call.arguments)


async def _one_call(market_here: Market, call: Call, pipe: Connection) -> None:
    """A client's call, in a process that lives on until the machines have booted."""
    await _made_and_kept(market_here, call, pipe)


async def _one_call_served(market_here: Market, call: Call, pipe: Connection) -> None:
    """The same in a process like `serve`, whose watchdog works beside the call on whatever is due."""

    async def watching() -> None:
        while True:
            await hands(market_here).sweep()
            await asyncio.sleep(0.02)

    watchdog = asyncio.create_task(watching())
    await _made_and_kept(market_here, call, pipe)
    watchdog.cancel()
    await asyncio.gather(watchdog, return_exceptions=True)


async def _made_and_kept(market_here: Market, call: Call, pipe: Connection) -> None:
    try:
        answer = await _called(market_here, call)
    except BrokerError as refusal:
        pipe.send(("answer", call.key, type(refusal).__name__))
        return
    pipe.send(("answer", call.key, answer.id))
    await _brought_up(market_here, answer.id)


async def _brought_up(market_here: Market, booking_id: str) -> Booking | None:
    until = asyncio.get_running_loop().time() + _BOOTED_WITHIN_SECONDS
    found = await booking_book.get(await market_here.store(), booking_id)
    while found and found.state in ("pending", "provisioning") and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.2)
        found = await hands(market_here).advance(booking_id)
    return found


async def _recover(market_here: Market, _work: Any, pipe: Connection) -> None:
    """A process as after a restart: it runs the watchdog until it is told to stop."""
    watching = asyncio.create_task(Watchdog(market_here, serving=True).run())
    await asyncio.to_thread(pipe.recv)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def _repeat(market_here: Market, work: tuple[tuple[Call, ...], float], pipe: Connection) -> None:
    """Clients that send the same again: until they are answered, or refused for good, or out of patience."""
    calls, patience_seconds = work
    gate = asyncio.Semaphore(_SIDE_BY_SIDE)
    until = asyncio.get_running_loop().time() + patience_seconds

    async def repeated(call: Call) -> None:
        while True:
            try:
                async with gate:
                    said = (await _called(market_here, call)).id
                break
            except BrokerError as refusal:
                said = type(refusal).__name__
                late = asyncio.get_running_loop().time() > until
                if late or not (refusal.retryable or isinstance(refusal, InFlight)):
                    break
            await asyncio.sleep(1.0)
        pipe.send(("answer", call.key, said))

    await asyncio.gather(*(repeated(call) for call in calls))


async def _prepare(market_here: Market, work: tuple[tuple[str, ...], str, int], pipe: Connection) -> None:
    """Quotes and running bookings for what is to be killed, one call each; the cloud is calm meanwhile."""
    scenarios, name, seed = work
    await sync(market_here, [Sandbox], connect=market_here.connect)
    await market_here.refresh()
    gate, chance = asyncio.Semaphore(_SIDE_BY_SIDE), random.Random(seed)
    shares = [chance.random() for _ in scenarios]

    async def one(number: int) -> Call:
        async with gate:
            return await _ready(market_here, scenarios[number], f"{name}-{number}", shares[number])

    for call in await asyncio.gather(*map(one, range(len(scenarios)))):
        pipe.send(("call", call))


async def _ready(market_here: Market, scenario: str, key: str, share: float) -> Call:
    buying = {
        "book": ([PLAIN], 1),
        "compensate": ([SECOND_REFUSED if share < 0.5 else SECOND_DEARER], 2),
        "failover": ([NEVER_FREE, PLAIN], 1),
    }
    if scenario in buying:
        offers, count = buying[scenario]
        return Call(scenario, "book_quote", await _purchase(market_here, offers, count, key), key)
    offer = NOT_EXTENDED if scenario == "extend" and share < 0.3 else PLAIN
    bought = await _called(
        market_here, Call("", "book_quote", await _purchase(market_here, [offer], 1, f"{key}-bought"), "")
    )
    found = await _brought_up(market_here, bought.id)
    if found is None or found.state != "active":
        raise RuntimeError(f"a booking to work on is {found and found.state}: {found and found.reason}")
    spends = {"booking_id": bought.id, "max_total": 1_000, "idempotency_key": key}
    arguments = {"extend": {**spends, "hours": HOURS}, "scale": {**spends, "add": 1}}
    return Call(scenario, f"{scenario}_booking", arguments.get(scenario, {"booking_id": bought.id}), key)


async def _purchase(market_here: Market, offers: list[str], count: int, key: str) -> dict[str, Any]:
    wanted = {"offers": offers, "count": count, "duration_hours": HOURS}
    quote = await capabilities()["quote_offer"].call(Context(market_here, LOCAL_OWNER), wanted)
    return {"quote_id": quote.quote_id, "max_total": 1_000, "idempotency_key": key}


async def _finish(market_here: Market, _work: Any, pipe: Connection) -> None:
    """End every booking that is open."""
    gate = asyncio.Semaphore(_SIDE_BY_SIDE)
    store: Store = await market_here.store()

    async def ended(booking: Booking) -> None:
        found: Booking | None = booking
        async with gate:
            for _ in range(10):
                with suppress(BrokerError):
                    await _called(market_here, Call("", "terminate_booking", {"booking_id": booking.id}, ""))
                found = await booking_book.get(store, booking.id)
                if found is None or found.is_final:
                    return
                await asyncio.sleep(2.0)
        pipe.send(("fault", f"booking {booking.id} does not end: {found}"))

    await asyncio.gather(*(ended(one) for one in await booking_book.open_bookings(store)))


_ROLES: Mapping[str, Callable[[Market, Any, Connection], Awaitable[None]]] = {
    "call": _one_call,
    "served call": _one_call_served,
    "recover": _recover,
    "repeat": _repeat,
    "prepare": _prepare,
    "finish": _finish,
}
