"""The same idempotency key sent many times, many at once; and many purchases at once against a budget for few.

`python -m tests.faults.keys --times 1000 --rounds 100 --database both [--record docs/reliability.md]`

Every purchase takes the whole path: the gate, the mandate, the journal, and a cloud served over HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters.sandbox import Sandbox
from market import agent_keys, mandate_register
from market.context import LOCAL_OWNER, Caller, Context, Market
from market.errors import BrokerError, IdempotencyConflict
from market.mandates import Mandate
from tests.faults import checks, databases, record
from tests.faults.cloud import PLAIN, WatchedCloud
from tests.faults.databases import DATABASES, Database
from tests.faults.worker import HOURS, Site, opened
from tests.sandbox import served
from tools.capability import capabilities
from tools.sync import sync

AT_ONCE = 50
ENOUGH_FOR = 10
_DAY = timedelta(days=1)


@dataclass(slots=True)
class Result:
    """What came of it on one database."""

    database: Database
    answers: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


@asynccontextmanager
async def _trading(kind: Database, seed: int) -> AsyncIterator[tuple[Market, WatchedCloud]]:
    """A marketplace on an empty database beside a calm cloud, with its offers in the catalogue."""
    cloud = WatchedCloud(seed)
    with tempfile.TemporaryDirectory() as name, served(cloud) as address:
        async with databases.empty(kind, Path(name)) as url:
            market = opened(Site(Path(name), url, address))
            try:
                await _sold_now(market)
                yield market, cloud
            finally:
                await market.close()


async def _sold_now(market: Market) -> None:
    """Its offers in the catalogue, confirmed just now: an old price is not quoted."""
    await sync(market, [Sandbox], connect=market.connect)
    await market.refresh()


async def _asks(market: Market, capability: str, caller: Caller = LOCAL_OWNER, **arguments: Any) -> Any:
    return await capabilities()[capability].call(Context(market, caller), arguments)


async def _side_by_side(calls: Iterable[Awaitable[Any]]) -> list[Any]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(call: Awaitable[Any]) -> Any:
        async with gate:
            return await call

    return await asyncio.gather(*map(one, calls), return_exceptions=True)


async def same_key(kind: Database, times: int, seed: int = 7) -> Result:
    """One key sent `times` times, fifty at once, then once with another body: one booking, one machine, one answer."""
    began, result = time.monotonic(), Result(kind)
    async with _trading(kind, seed) as (market, cloud):
        quotes = [await _asks(market, "quote_offer", offers=[PLAIN], duration_hours=HOURS) for _ in range(2)]
        body = {"quote_id": quotes[0].quote_id, "max_total": 100, "idempotency_key": "the-same"}
        answers = await _side_by_side(_asks(market, "book_quote", **body) for _ in range(times))
        for said in answers:
            name = "the booking" if not isinstance(said, BaseException) else _named(said)
            result.answers[name] += 1
        told = {said.id for said in answers if not isinstance(said, BaseException)}
        if len(told) != 1:
            result.violations.append(f"{len(told)} different bookings were answered")
        if unexpected := set(result.answers) - {"the booking", "InFlight (409)"}:
            result.violations.append(f"unexpected: {sorted(unexpected)}")
        again = await _asks(market, "book_quote", **body)
        if {again.id} != told:
            result.violations.append("the stored answer names another booking")
        for change in ({"quote_id": quotes[1].quote_id}, {"max_total": 101}):
            try:
                await _asks(market, "book_quote", **{**body, **change})
            except IdempotencyConflict as conflict:
                result.answers[f"another body: {conflict.code} ({conflict.status})"] += 1
            else:
                result.violations.append(f"another body was accepted: {sorted(change)}")
        found = await checks.books(await market.store())
        if (len(found.bookings), len(cloud.taken)) != (1, 1):
            result.violations.append(f"{len(found.bookings)} bookings, {len(cloud.taken)} orders")
        result.violations += await checks.violations(market, cloud, ())
    result.seconds = time.monotonic() - began
    return result


async def small_budget(kind: Database, rounds: int, seed: int = 7) -> Result:
    """In each round fifty purchases at once under a mandate whose budget is enough for ten: exactly ten are made."""
    began, result = time.monotonic(), Result(kind)
    async with _trading(kind, seed) as (market, cloud):
        for number in range(rounds):
            await _sold_now(market)
            caller, mandate_id = await _buyer(market, number)
            quotes = await _side_by_side(
                _asks(market, "quote_offer", caller, offers=[PLAIN], duration_hours=HOURS) for _ in range(AT_ONCE)
            )
            orders = len(cloud.taken)
            answers = await _side_by_side(
                _asks(
                    market, "book_quote", caller,
                    quote_id=quote.quote_id, max_total=100, idempotency_key=f"{number}-{place}",
                )
                for place, quote in enumerate(quotes)
            )  # fmt: skip
            made = sum(not isinstance(said, BaseException) for said in answers)
            result.answers.update("booked" if not isinstance(one, BaseException) else _named(one) for one in answers)
            standing = (await mandate_register.entry(await market.store(), market.settings, mandate_id)).standing
            if (made, standing.running, len(cloud.taken) - orders) != (ENOUGH_FOR, ENOUGH_FOR, ENOUGH_FOR):
                result.violations.append(
                    f"round {number}: {made} answered, {standing.running} held, {len(cloud.taken) - orders} ordered"
                )
            if standing.committed > standing.budget:
                result.violations.append(f"round {number}: {standing.committed} held of {standing.budget}")
            await _side_by_side(
                _asks(market, "terminate_booking", caller, booking_id=said.id)
                for said in answers
                if not isinstance(said, BaseException)
            )
            result.violations += [f"machine {one.id} still runs" for one in cloud.alive()]
    result.seconds = time.monotonic() - began
    return result


async def _buyer(market: Market, number: int) -> tuple[Caller, str]:
    """An agent with a key of its own, and a mandate over ten times the worst case of one purchase."""
    store, now = await market.store(), market.clock.now().replace(microsecond=0)
    quote = await _asks(market, "quote_offer", offers=[PLAIN], duration_hours=HOURS)
    async with store.write() as connection:
        key, _secret = await agent_keys.create(
            connection, name=f"agent-{number}", created_by=LOCAL_OWNER.name, now=now, expires_at=now + _DAY
        )
        mandate = Mandate(
            id=f"mandate-small-{number}",
            principal=LOCAL_OWNER.identity,
            agent=key.id,
            thumbprint=key.thumbprint,
            version=1,
            budget=Decimal(str(quote.worst_total)) * ENOUGH_FOR + Decimal("0.01"),
            issued_at=now,
            expires_at=now + _DAY,
            providers=frozenset({"sandbox"}),
        )
        await mandate_register.add(connection, market.settings, mandate)
    return key.caller, mandate.id


def _named(problem: BaseException) -> str:
    if isinstance(problem, BrokerError):
        return f"{type(problem).__name__} ({problem.status})"
    return repr(problem)


def shown(title: str, results: list[Result]) -> str:
    """A table of what was answered, and what was wrong."""
    lines = [f"### {title}", "", "| database | answers | seconds | violations |", "|---|---|---|---|"]
    for result in results:
        said = ", ".join(f"{count} {name}" for name, count in sorted(result.answers.items()))
        lines.append(f"| {result.database} | {said} | {result.seconds:.1f} | {len(result.violations)} |")
    wrong = [f"- VIOLATION ({one.database}): {each}" for one in results for each in one.violations]
    return "\n".join([*lines, *([""] if wrong else []), *wrong])


async def both(kinds: tuple[Database, ...], times: int, rounds: int, seed: int) -> tuple[list[Result], list[Result]]:
    """Both campaigns on each database, one after the other."""
    repeated = [await same_key(kind, times, seed) for kind in kinds]
    budgets = [await small_budget(kind, rounds, seed) for kind in kinds]
    return repeated, budgets


def main() -> int:
    """The campaigns from the command line; 1 when a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.keys", description=__doc__)
    parser.add_argument("--times", type=int, default=1_000, help="how often one key is sent")
    parser.add_argument("--rounds", type=int, default=100, help="of fifty purchases against a budget for ten")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--record", type=Path, help="write the tables into this page")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
    kinds = DATABASES if asked.database == "both" else (asked.database,)
    repeated, budgets = asyncio.run(both(kinds, asked.times, asked.rounds, asked.seed))
    command = f"python -m tests.faults.keys --times {asked.times} --rounds {asked.rounds} --seed {asked.seed}"
    title = f"{asked.rounds} rounds of {AT_ONCE} purchases at once, a budget for {ENOUGH_FOR}"
    text = "\n\n".join(
        [
            f"`{command} --database {asked.database}`",
            record.surroundings(),
            shown(f"One key {asked.times} times, {AT_ONCE} at once", repeated),
            shown(title, budgets),
        ]
    )
    print(text)
    if asked.record:
        record.write(asked.record, "keys", text)
    return 1 if any(one.violations for one in [*repeated, *budgets]) else 0


if __name__ == "__main__":
    sys.exit(main())
