"""Measures alerts: 100,000 of them judged against a pass that changes 10,000 prices, beside a plain pass of look-ups.

python -m tests.bench.alerts

60 of 100 alerts watch one offer, 39 a GPU in a region, one a search of its own. The floor goes over the changes once,
finds the alerts of each offer in a dict and compares: it knows no regions, searches, quiet periods or hysteresis.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import insert

from market import catalogue, outbox
from market.alert_index import AlertIndex
from market.alerts import Alert, Condition, Target
from market.context import Market
from market.money import MILLIONTH
from market.offers import Offer
from market.procurement_tables import alerts as table
from market.rows import to_offer
from market.settings import Settings
from tests.bench._rows import SEEN, data_folder, rows
from tests.bench.search import GPUS, REGIONS
from tools.alerting import CONSUMER, Alerting

ALERTS, OFFERS, CHANGED, ROUNDS = 100_000, 20_000, 10_000, 5
SEARCHES = 200
"""Different searches; each costs one look into the catalogue."""
BOUND_SECONDS = 1.0


def made(dice: random.Random, offers: Sequence[Offer]) -> list[Alert]:
    """Alerts whose thresholds lie around the present prices, so that about one in a hundred fires."""
    found = []
    for number in range(ALERTS):
        share = number % 100
        offer = dice.choice(offers)
        price = offer.price_per_hour_usd or Decimal(1)
        if share < 60:
            target = Target(offer_id=offer.id)
        elif share < 99:
            target = Target(
                gpu=dice.choice(GPUS), region=dice.choice(REGIONS), pricing=dice.choice(("on_demand", "spot"))
            )
            price = Decimal(dice.randrange(1, 300)) / 10_000
        else:
            number_of_search = dice.randrange(SEARCHES)
            target = Target(
                filters=f'{{"gpu": ["{GPUS[number_of_search % 12]}"], "gpu_count_min": {number_of_search}}}'
            )
        below = (price * Decimal(dice.uniform(0.5, 0.98))).quantize(MILLIONTH)
        found.append(
            Alert(
                id=f"alert-{number:016x}", owner=f"owner-{number % 1_000}", target=target,
                condition=Condition("price_below", max(below, MILLIONTH)), state="armed", quiet_minutes=60,
                times_fired=0, created_at=SEEN, reference_value=price,
            )
        )  # fmt: skip
    return found


async def kept(market: Market, alerts: Sequence[Alert]) -> None:
    """The alerts in the database, past the events of their making."""
    store = await market.store()
    columns = ("id", "owner", "state", "quiet_minutes", "times_fired", "created_at", "reference_value")
    values = [
        {name: getattr(one, name) for name in columns}
        | {"target": one.target.text(), "condition": one.condition.text()}
        for one in alerts
    ]
    async with store.write() as connection:
        await connection.execute(insert(table), values)


def floor(alerts: Sequence[Alert], events: Sequence[outbox.Event]) -> float:
    """Seconds of the plain pass."""
    by_offer: dict[str, list[float]] = {}
    for one in alerts:
        if one.target.offer_id is not None:
            by_offer.setdefault(one.target.offer_id, []).append(float(one.condition.threshold or 0))
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        hits = 0
        for event in events:
            for offer_id, _, price, _ in event.payload["offers"]:
                thresholds = by_offer.get(offer_id)
                if thresholds and price is not None:
                    hits += sum(float(price) <= threshold for threshold in thresholds)
        best = min(best, time.perf_counter() - began)
    return best


async def measure(folder: Path) -> None:
    """One pass of a sync, judged with and without writing what fires."""
    offers = [replace(to_offer(row), provider="bench") for row in rows(OFFERS)]
    offers = [offer for offer in offers if offer.price_per_hour_usd is not None]
    dice = random.Random(1)
    market = Market(Settings(data_dir=folder, sync="off"), version_check_seconds=0)
    store = await market.store()
    await catalogue.record(store, "bench", offers, seen_at=SEEN, complete=True)
    await kept(market, made(dice, offers))
    judge = Alerting(market)
    began = time.perf_counter()
    await judge.round()
    print(f"  read in and judged for the first time: {time.perf_counter() - began:.2f} s")
    changed = [_dearer_or_cheaper(dice, offer) for offer in dice.sample(offers, CHANGED)]
    began = time.perf_counter()
    await catalogue.record(store, "bench", changed, seen_at=SEEN + timedelta(hours=1), complete=False)
    synced = time.perf_counter() - began
    events = await outbox.read_after(store, CONSUMER, 10_000)
    changes = [event for event in events if event.kind == "prices.changed"]
    told = sum(len(event.payload["offers"]) for event in changes)
    snapshot = await market.refresh()
    index = judge._index
    if index is None:
        raise RuntimeError("the alerts were not read in")
    alerts = [alert for alert in index.alerts if index.get(alert.id) is alert]
    seconds, fired = _judged(judge, index, snapshot, changes, market)
    plain = floor(alerts, changes)
    began = time.perf_counter()
    while await judge.round():
        pass
    whole = time.perf_counter() - began
    print(f"  {len(alerts):,} alerts on {len(index.targets):,} targets, {told:,} prices changed, {fired:,} fire")
    bound = seconds / BOUND_SECONDS
    print(f"  judged: {seconds:.3f} s = {bound:.2f} of the bound, {seconds / plain:.1f} × plain look-ups")
    print(f"  with outbox read, firings written and told (SQLite): {whole:.3f} s = {whole / synced:.2f} of the sync")
    await market.close()


def _judged(
    judge: Alerting, index: AlertIndex, snapshot: object, changes: Sequence[outbox.Event], market: Market
) -> tuple[float, int]:
    """Best of some rounds, nothing remembered of the catalogue between them, and how many fire."""
    from tools import readings

    best, fired = float("inf"), 0
    for _ in range(ROUNDS):
        readings._LOWEST.clear()
        began = time.perf_counter()
        looked = judge._changed(index, snapshot, changes)  # type: ignore[arg-type]
        fired = len(index.judge(looked, market.clock.now()).fired)
        best = min(best, time.perf_counter() - began)
    return best, fired


def _dearer_or_cheaper(dice: random.Random, offer: Offer) -> Offer:
    price = ((offer.price_per_hour_usd or Decimal(1)) * Decimal(dice.uniform(0.9, 1.2))).quantize(MILLIONTH)
    return replace(
        offer, price_per_hour=max(price, MILLIONTH), price_per_hour_usd=max(price, MILLIONTH), currency="USD"
    )


def main() -> int:
    """Run the measurement."""
    if not (data_folder() / "catalogue").is_dir():
        print(f"Skipped: no catalogue rows in {data_folder().name}/catalogue; set GPUBROKER_TEST_DATA.")
        return 0
    with TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
