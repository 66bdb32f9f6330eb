"""What a crash campaign did and found, and its tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from tests.faults.databases import Database
from tests.faults.worker import ANY_MOMENT, SCENARIOS

RECOVERY = "recovery"


@dataclass(slots=True)
class Result:
    """What a campaign on one database did and found."""

    database: Database
    seed: int
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By scenario and point."""
    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    slept: Counter[str] = field(default_factory=Counter)
    """By point: processes that were stopped there and woke up after they had been succeeded."""
    settled_seconds: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    orders: int = 0
    made_twice: int = 0
    made_dearer: int = 0
    spent: Decimal = Decimal(0)
    charged_for_strays: Decimal = Decimal(0)
    audit_entries: int = 0
    seconds: float = 0.0


def shown(result: Result) -> str:
    """The tables of one database, as text."""
    scenarios = [*SCENARIOS, RECOVERY]
    points = sorted({point for _, point in result.met} | {ANY_MOMENT})
    lines = [f"| point | {' | '.join(scenarios)} |", f"|---|{'---|' * len(scenarios)}"]
    for point in points:
        cells = [
            str(result.kills[one, point]) if result.met[one, point] or point == ANY_MOMENT else "" for one in scenarios
        ]
        lines.append(f"| {point} | {' | '.join(cells)} |")
    sums = Counter[str]()
    for (scenario, _), count in result.kills.items():
        sums[scenario] += count
    lines.append(f"| **all** | {' | '.join(str(sums[one]) for one in scenarios)} |")
    settled = sorted(result.settled_seconds) or [0.0]
    facts = {
        "kills": result.kills.total(),
        "stopped, succeeded, woken up": ", ".join(
            f"{count} at {point}" for point, count in sorted(result.slept.items())
        ),
        "batches": len(result.settled_seconds) // 2,
        "minutes": f"{result.seconds / 60:.1f}",
        "settled after a restart (median, slowest)": f"{settled[len(settled) // 2]:.1f} s, {settled[-1]:.1f} s",
        "orders the cloud carried out": result.orders,
        "of them two machines for one order, by the cloud's fault": result.made_twice,
        "of them dearer than agreed": result.made_dearer,
        "bookings": ", ".join(f"{count} {state}" for state, count in sorted(result.states.items())),
        "spent": f"{result.spent:f} USD",
        "charged by the cloud for machines that no booking owns": f"{result.charged_for_strays:f} USD",
        "repeated calls": ", ".join(f"{count} {said}" for said, count in sorted(result.answers.items())),
        "audit entries verified": result.audit_entries,
        "violations": len(result.violations),
    }
    table = [f"| {name} | {value} |" for name, value in facts.items()]
    return "\n".join(
        [f"### {result.database}", "", *lines, "", "| | |", "|---|---|", *table, ""]
        + [f"- VIOLATION ({count} times): {one}" for one, count in Counter(result.violations).items()]
    )
