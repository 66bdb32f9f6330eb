"""How many orders a second the book matches, beside the bare loop over the same orders and other books if installed.

100,000 limit orders of 1,000 owners, prices normal around one level (sd 100 ticks), quantities 1 to 100.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import get_args

from mathcore.matching import Cancel, Order, OrderBook, Pricing, Rule, replay

ORDERS, ROUNDS, BOUND = 100_000, 7, 1_000_000


def orders() -> list[Order]:
    """Seeded orders, one after another in time."""
    dice = random.Random(1)
    return [
        Order(
            number,
            f"owner-{dice.randrange(1000)}",
            "buy" if dice.random() < 0.5 else "sell",
            max(1, round(dice.gauss(10_000, 100))),
            dice.randint(1, 100),
            number,
        )
        for number in range(ORDERS)
    ]


def best(run: Callable[[], object]) -> float:
    """Least seconds of processor time over the rounds; one thread, so what else runs here matters less."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    return min(seconds)


def loop(journal: list[Order]) -> None:
    """What going over the orders costs by itself."""
    for _ in journal:
        pass


def one_by_one(journal: list[Order], book: OrderBook) -> None:
    """Every order as a call of its own."""
    submit = book.submit
    for order in journal:
        submit(order)


def main() -> None:
    """Print orders a second of each rule, as a share of the bound and as a multiple of the bare loop."""
    journal = orders()
    floor = best(lambda: loop(journal))
    rules: list[tuple[Rule, Pricing]] = [(rule, pricing) for rule in get_args(Rule) for pricing in get_args(Pricing)]
    for rule, pricing in rules:
        seconds = best(lambda rule=rule, pricing=pricing: one_by_one(journal, OrderBook(rule, pricing)))  # type: ignore[misc]
        print(_line(f"{rule}, {pricing}", ORDERS, seconds, floor))
    fills = replay(OrderBook(), journal)
    print(
        _line(f"replay of the journal ({len(fills)} fills)", ORDERS, best(lambda: replay(OrderBook(), journal)), floor)
    )
    mixed = [entry for order in journal for entry in (order, Cancel(order.id, order.at))]
    print(_line("every order cancelled at once", len(mixed), best(lambda: replay(OrderBook(), mixed)), floor))


def _line(name: str, entries: int, seconds: float, floor: float) -> str:
    rate = entries / seconds
    times = seconds / entries / (floor / ORDERS)
    return f"matching {name}: {rate:,.0f} a second = {rate / BOUND:.2f} of the bound, {times:.0f} × the bare loop"


if __name__ == "__main__":
    main()
