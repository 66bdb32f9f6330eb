"""Kill real processes with SIGKILL at every journalled point, restart, and look what is left.

`python -m tests.faults.crash --kills 1000 --seed 7 --database both [--record docs/reliability.md]`

The cloud is served over HTTP and fails often; clients, watchdogs and the killed are processes of their own on one
database. A batch: purchases are prepared, processes carrying them on kill themselves, two fresh processes recover side
by side (a third is killed while it recovers), the clients send the same again, and within 30 seconds everything must
be in order. The seed decides which scenarios, points and faults are drawn; which process wins a race is the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from market.context import Market
from tests.faults import checks, databases, record
from tests.faults.cloud import WatchedCloud
from tests.faults.databases import DATABASES, Database
from tests.faults.hatchery import Hatchery, Staying
from tests.faults.report import RECOVERY, Result, shown
from tests.faults.worker import SCENARIOS, Call, Fate, Site, Told, opened
from tests.sandbox import served
from tools import strays

BATCH = 40
SLEEPERS = 2
"""Processes of a batch that are stopped instead of killed, and go on when all has been settled without them."""
SETTLED_WITHIN_SECONDS = 30.0
IN_FLIGHT_SECONDS = 61.0
"""A call that died is believed to run for a minute; after that the same call must be answered."""
_GIVEN_UP_AFTER_SECONDS = 120.0
_ANY_MOMENT_SHARE = 0.12
_SERVED_SHARE = 0.33
"""A served process also holds what others have left, and takes it with it: the next one waits for that hold."""
_LONGEST_LIFE_SECONDS = 1.2
_KILLS_AT_FIRST = 6
_ENOUGH_VIOLATIONS = 10
_POINTS_AT_FIRST = 6


class Campaign:
    """Batches of kills on one database."""

    def __init__(
        self, database: Database, kills: int, seed: int, at_once: int, folder: Path, minutes: float = math.inf
    ) -> None:
        self.result = Result(database, seed)
        self._wanted = kills
        self._until = time.monotonic() + 60 * minutes
        self._chance = random.Random(f"{seed} {database}")
        self._cloud = WatchedCloud(seed)
        self._at_once = at_once
        self._folder = folder
        self._late: list[tuple[float, tuple[Call, ...]]] = []
        self._batch = 0

    async def run(self) -> Result:
        """Kill as many as wanted. Whatever is wrong is in `violations`."""
        began = time.monotonic()
        with served(self._cloud) as address:
            async with databases.empty(self.result.database, self._folder) as url:
                site = Site(self._folder, url, address)
                hatchery, market = Hatchery(site, self._at_once), opened(site)
                try:
                    while self._goes_on():
                        await self._one_batch(hatchery, market)
                    await self._last(hatchery, market)
                finally:
                    hatchery.close()
                    await market.close()
        self.result.seconds = time.monotonic() - began
        return self.result

    def _goes_on(self) -> bool:
        enough = self._killed() >= self._wanted or len(self.result.violations) >= _ENOUGH_VIOLATIONS
        return not enough and time.monotonic() < self._until

    def _killed(self) -> int:
        return self.result.kills.total()

    async def _one_batch(self, hatchery: Hatchery, market: Market) -> None:
        self._batch += 1
        before = len(self.result.violations)
        self._cloud.dial.clear()
        missing = min(BATCH, self._wanted - self._killed())
        scenarios = tuple(self._drawn(number) for number in range(missing + missing // 5 + SLEEPERS))
        work = (scenarios, f"{self.result.database}-{self._batch}", self._chance.randrange(2**32))
        prepared = await hatchery.lived("prepare", work)
        self.result.violations += prepared.faults
        calls = tuple(self._chance.sample(prepared.calls, len(prepared.calls)))
        self._cloud.storm()
        asleep = [await hatchery.stays("call", call, self._sleep()) for call in calls[:SLEEPERS]]
        await asyncio.gather(*(self._struck(hatchery, call) for call in calls[SLEEPERS:]))
        self._late.append((time.monotonic() + IN_FLIGHT_SECONDS, calls))
        await self._recovered(hatchery, market, calls, asleep)
        self._cloud.dial.clear()
        await self._checked(market, calls)
        await self._answered_late(hatchery, wait=False)
        await self._finished(hatchery, market)
        found = f"settled after {self.result.settled_seconds[-2]:.1f} s, {len(self.result.violations)} violations"
        print(f"  {self.result.database}: batch {self._batch}, {self._killed()} kills, {found}", flush=True)
        for one in self.result.violations[before:]:
            print(f"    {one}", flush=True)

    def _drawn(self, number: int) -> str:
        """Every scenario as often as any other, in an order of chance."""
        return SCENARIOS[number] if number < len(SCENARIOS) else self._chance.choice(SCENARIOS)

    async def _struck(self, hatchery: Hatchery, call: Call) -> None:
        """One process that makes a call and is killed on the way, if it comes to where it is to die."""
        async with hatchery.gate:
            fate = self._fate(call.scenario)
            role = "served call" if self._chance.random() < _SERVED_SHARE else "call"
            told = await hatchery.lived(role, call, fate)
        self._noted(call.scenario, told)

    def _fate(self, scenario: str) -> Fate:
        """Where a process dies: at points this scenario was struck at less than elsewhere; first at any, by number."""
        if self._chance.random() < _ANY_MOMENT_SHARE:
            return Fate(seconds=self._chance.uniform(0.02, _LONGEST_LIFE_SECONDS))
        if sum(n for (told, _), n in self.result.kills.items() if told == scenario) < _KILLS_AT_FIRST:
            return Fate(number=self._chance.randint(1, _POINTS_AT_FIRST))
        points = sorted({point for told, point in self.result.met if told == scenario})
        struck = {point: self.result.kills[scenario, point] for point in points}
        average = sum(struck.values()) / len(struck) if struck else 0
        rare = {point for point, count in struck.items() if count < average}
        return Fate(points=frozenset(rare | {self._chance.choice(points)}))

    def _noted(self, scenario: str, told: Told) -> None:
        self.result.met.update((scenario, point) for point in set(told.points))
        self.result.violations += told.faults
        if told.killed_at is not None:
            self.result.kills[scenario, told.killed_at] += 1

    def _sleep(self) -> Fate:
        """To be stopped at one of the first points."""
        return Fate(number=self._chance.randint(1, _POINTS_AT_FIRST), sleeps=True)

    async def _recovered(
        self, hatchery: Hatchery, market: Market, calls: tuple[Call, ...], asleep: list[Staying]
    ) -> None:
        """Two fresh processes go on with what was left, a third dies of it, and the clients repeat their calls.

        Then those that were believed dead wake up, and there must be nothing left for them to spoil.
        """
        restarted = time.monotonic()
        doomed = await hatchery.stays("recover", fate=self._fate(RECOVERY))
        fresh = [await hatchery.stays("recover") for _ in range(2)]
        repeating = asyncio.ensure_future(hatchery.lived("repeat", (calls, 0.0)))
        died: list[float] = []
        doomed.ended.add_done_callback(lambda _ended: died.append(time.monotonic()))
        await self._settled(market, restarted, died, repeating)
        for one in asleep:
            told = await one.woken()
            self.result.violations += told.faults
            if told.slept_at is not None:
                self.result.slept[told.slept_at] += 1
        await self._settled(market, time.monotonic(), [], repeating)
        repeated = await repeating
        self.result.violations += repeated.faults
        self.result.answers.update("at once: " + _kind(said) for said in repeated.answers.values())
        self._noted(RECOVERY, await doomed.stop())
        for one in fresh:
            told = await one.stop()
            self.result.met.update((RECOVERY, point) for point in set(told.points))
            self.result.violations += told.faults

    async def _settled(
        self, market: Market, restarted: float, died: list[float], repeating: asyncio.Future[Told]
    ) -> None:
        """Wait until all is settled. Each booking has half a minute: from the restart, or the last death, or from
        the moment a client has begun something new with it."""
        store = await market.store()
        began: dict[str, float] = {}
        slowest, last, first_look = 0.0, "", True
        while True:
            left = checks.unsettled(await checks.books(store))
            now, last_death = time.monotonic(), max([restarted, *died])
            began = {each: began.get(each, restarted if first_look else now) for each in left}
            first_look = False
            for each, moment in began.items():
                if (took := now - max(moment, last_death)) > slowest:
                    slowest, last = took, left[each]
            if now - last_death > _GIVEN_UP_AFTER_SECONDS:
                self.result.violations += [f"not settled at all: {one}" for one in left.values()]
                break
            if not left and repeating.done():
                break
            await asyncio.sleep(0.5)
        self.result.settled_seconds.append(slowest)
        if slowest > SETTLED_WITHIN_SECONDS:
            self.result.violations += [f"settled after {slowest:.0f} s only: {last}"]

    async def _checked(self, market: Market, calls: Sequence[Call]) -> None:
        """The search that the watchdog makes every minute, then every rule."""
        await strays.search(market)
        self.result.violations += await checks.violations(market, self._cloud, calls)

    async def _answered_late(self, hatchery: Hatchery, *, wait: bool) -> None:
        """Once the in-flight minute of the dead is over, the same call has to be answered, and by the same booking."""
        while self._late and (wait or self._late[0][0] <= time.monotonic()):
            due, calls = self._late.pop(0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            told = await hatchery.lived("repeat", (calls, 30.0))
            self.result.violations += told.faults
            for call in calls:
                said = told.answers.get(call.key, "nothing")
                self.result.answers["a minute later: " + _kind(said)] += 1
                if said == "InFlight" or (call.capability == "book_quote" and not _is_booking(said)):
                    self.result.violations.append(f"{call.key} ({call.scenario}) was answered {said} a minute later")

    async def _finished(self, hatchery: Hatchery, market: Market) -> None:
        """End what is open; then nothing of ours may run anywhere, and nothing may be held."""
        self.result.violations += (await hatchery.lived("finish")).faults
        await strays.search(market)
        await strays.search(market)
        found = await checks.books(await market.store())
        self.result.violations += [f"{one.id} is {one.state} at the end" for one in found.bookings if not one.is_final]
        self.result.violations += [f"machine {one.id} still runs at the end" for one in self._cloud.alive()]
        self.result.violations += await checks.violations(market, self._cloud, ())

    async def _last(self, hatchery: Hatchery, market: Market) -> None:
        """The last answers, the last end, and the sums."""
        await self._answered_late(hatchery, wait=True)
        await self._finished(hatchery, market)
        found = await checks.books(await market.store())
        result, cloud = self.result, self._cloud
        keys = [subject for key, subject in found.keys.items()]
        result.states.update(one.state for one in found.bookings)
        result.orders = len(cloud.taken)
        result.made_twice = sum(one.twice for one in cloud.taken)
        result.made_dearer = sum(one.dearer for one in cloud.taken)
        result.spent = sum((one.final_cost or Decimal(0) for one in found.bookings), Decimal(0))
        booked = {one.provider_instance_id for each in found.bookings for one in each.machines}
        result.charged_for_strays = cloud.charged({each for each in cloud.machines if each not in booked})
        result.audit_entries = await checks.audit_entries(market)
        assert keys, "nothing was bought"


def _is_booking(said: str) -> bool:
    return len(said) == 12 and said == said.lower()


def _kind(said: str) -> str:
    return "answered" if _is_booking(said) else said


async def campaign(kinds: Sequence[Database], kills: int, seed: int, minutes: float = math.inf) -> list[Result]:
    """The kills shared among the databases, side by side."""
    with contextlib.ExitStack() as folders:
        at_once = 4 // len(kinds)
        share = -(-kills // len(kinds))
        runs = [
            Campaign(kind, share, seed, at_once, Path(folders.enter_context(tempfile.TemporaryDirectory())), minutes)
            for kind in kinds
        ]
        return await asyncio.gather(*(one.run() for one in runs))


def main() -> int:
    """The campaign from the command line; 1 when a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="in all, shared among the databases")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no batch later than that")
    parser.add_argument("--record", type=Path, help="write the tables into this page")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
    kinds = DATABASES if asked.database == "both" else (asked.database,)
    results = asyncio.run(campaign(kinds, asked.kills, asked.seed, asked.minutes))
    command = f"python -m tests.faults.crash --kills {asked.kills} --seed {asked.seed} --database {asked.database}"
    command += f" --minutes {asked.minutes:g}" if asked.minutes < math.inf else ""
    text = "\n\n".join([f"`{command}`", record.surroundings(), *map(shown, results)])
    print(text)
    if asked.record:
        record.write(asked.record, "crash", text)
    return 1 if any(result.violations for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
