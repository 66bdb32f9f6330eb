"""`python -m tests.faults.budget`: fifty claims at once against a budget for ten, a hundred times on each database.

Every round has a mandate of its own. Prints how many claims each round granted and what the mandate holds at the end;
exits with 1 when any round granted more or fewer than the budget allows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from market import mandate_book, mandate_register
from market.context import LOCAL_OWNER
from market.mandates import Mandate
from market.settings import Settings
from market.signing import OwnerKey
from market.store import Store
from tests.faults.databases import DATABASES, Database, empty

PRICE = Decimal("10.000001")


@dataclass(frozen=True, slots=True)
class Tally:
    """What the rounds on one database granted."""

    database: Database
    rounds: int
    least: int
    most: int
    exact: int
    overspent: int
    seconds: float


async def main(argv: Sequence[str] | None = None) -> int:
    """Run the rounds on both databases, or on those named, and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=100)
    options.add_argument("--claims", type=int, default=50, help="at once")
    options.add_argument("--granted", type=int, default=10, help="what the budget is enough for")
    options.add_argument("--database", choices=DATABASES, action="append", help="default: both")
    chosen = options.parse_args(argv)
    tallies = [
        await campaign(kind, rounds=chosen.rounds, claims=chosen.claims, enough_for=chosen.granted)
        for kind in chosen.database or DATABASES
    ]
    print("| database | rounds | claims at once | budget for | granted (least–most) | exact rounds | overspent | s |")
    print("|---|---|---|---|---|---|---|---|")
    for one in tallies:
        print(
            f"| {one.database} | {one.rounds} | {chosen.claims} | {chosen.granted} | {one.least}–{one.most} "
            f"| {one.exact} | {one.overspent} | {one.seconds:.1f} |"
        )
    return 0 if all(one.exact == one.rounds and one.overspent == 0 for one in tallies) else 1


async def campaign(kind: Database, *, rounds: int, claims: int, enough_for: int) -> Tally:
    """All rounds on a fresh database of this kind."""
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(data_dir=Path(name))
        async with empty(kind, Path(name)) as address:
            store = await Store.open(address)
            try:
                start = time.perf_counter()
                results = [await one_round(store, settings, turn, claims, enough_for) for turn in range(rounds)]
                seconds = time.perf_counter() - start
            finally:
                await store.close()
    granted = [count for count, _ in results]
    return Tally(
        database=kind,
        rounds=rounds,
        least=min(granted),
        most=max(granted),
        exact=sum(count == enough_for for count in granted),
        overspent=sum(overspent for _, overspent in results),
        seconds=seconds,
    )


async def one_round(store: Store, settings: Settings, turn: int, claims: int, enough_for: int) -> tuple[int, bool]:
    """How many of the claims were granted, and whether more is held than was granted or allowed."""
    mandate = _mandate(settings, f"mandate-{turn}", PRICE * (enough_for + 1) - Decimal("0.000001"))
    async with store.write() as connection:
        await mandate_register.add(connection, settings, mandate)

    async def claim() -> bool:
        async with store.write() as connection:
            missing = await mandate_book.claim(
                connection, mandate, amount=PRICE, hourly=Decimal(1), instances=1, now=mandate.issued_at
            )
        return not missing

    granted = sum(await asyncio.gather(*(claim() for _ in range(claims))))
    held = await mandate_book.standing(store, mandate.id)
    return granted, held.committed != PRICE * granted or held.committed > held.budget or held.running != granted


def _mandate(settings: Settings, mandate_id: str, budget: Decimal) -> Mandate:
    """A mandate of the local owner: the budget is a millionth short of one purchase more."""
    now = datetime.now(UTC).replace(microsecond=0)
    return Mandate(
        id=mandate_id,
        principal=LOCAL_OWNER.identity,
        agent=LOCAL_OWNER.identity,
        thumbprint=OwnerKey.of(settings, make=True).thumbprint,
        version=1,
        budget=budget,
        issued_at=now,
        expires_at=now + timedelta(days=1),
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
