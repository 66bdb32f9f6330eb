"""A simulated cloud that remembers every order it took, refuses the second of some, and can be made to fail often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from adapters.sandbox_cloud import LaunchOrder, SandboxCloud, SandboxRefusal, Temper
from adapters.sandbox_dial import Endpoint, Fault, FaultName
from adapters.sandbox_machine import Machine

PLAIN = "sandbox:t4-1:eu-frankfurt"
SECOND_REFUSED = "sandbox:a10g-1:us-virginia"
SECOND_DEARER = "sandbox:a10g-1:us-oregon"
NEVER_FREE = "sandbox:a10g-1:eu-frankfurt"
NOT_EXTENDED = "sandbox:rtx4090-1:us-oregon"
"""Offers by what the cloud does with them."""

WEATHER: tuple[tuple[FaultName, float | str | None, Endpoint, float], ...] = (
    ("latency", 0.3, "*", 0.06),
    ("slow_down", 0.2, "*", 0.02),
    ("reset", None, "*", 0.02),
    ("truncated", None, "*", 0.02),
    ("server_error_after", None, "*", 0.02),
    ("lost_reply", None, "*", 0.02),
    ("lost_reply", None, "launch", 0.06),
    ("slow_down", 0.2, "launch", 0.04),
    ("no_id", None, "launch", 0.04),
    ("duplicate", None, "launch", 0.08),
    ("lost_reply", None, "extend", 0.06),
    ("lost_reply", None, "terminate", 0.06),
)
"""Fault, its value, where it strikes and how often; drawn by the cloud's seed."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One order the cloud carried out."""

    label: str
    machine_id: str
    twice: bool
    """By the cloud's own fault."""
    dearer: bool


class WatchedCloud(SandboxCloud):
    """Calm, large and quick to boot until the weather is let in."""

    def __init__(self, seed: int) -> None:
        temper = Temper.calm()
        temper.boot_seconds = (0.1, 0.5)
        temper.gpu_quota = 1_000_000
        temper.listing_lag_seconds = 1.0
        super().__init__(lambda: datetime.now(UTC), seed=seed, temper=temper)
        self.taken: list[Taken] = []
        self.most_alive: dict[str, int] = {}
        """How many machines of one booking were ever alive at once."""
        for offer in (PLAIN, SECOND_REFUSED, SECOND_DEARER, NEVER_FREE, NOT_EXTENDED):
            _, kind, region = offer.split(":")
            self.pin_stock(kind, region, 1_000_000)

    def storm(self) -> None:
        """Let everything of `WEATHER` go wrong from now on."""
        for name, value, endpoint, probability in WEATHER:
            self.dial.set(name, value, endpoint=endpoint, probability=probability)

    def launch(self, account: str, order: LaunchOrder, faults: Mapping[FaultName, Fault] | None = None) -> Machine:
        """Make a machine, unless it is the second of a product that has only one."""
        offer = f"sandbox:{order.type}:{order.region}"
        is_first = order.label.endswith("-1")
        struck = dict(faults or {})
        if offer == NEVER_FREE or (offer == SECOND_REFUSED and not is_first):
            raise SandboxRefusal("no_capacity", "There is none left in this region.")
        if offer == SECOND_DEARER and not is_first:
            struck["wrong_price"] = Fault("wrong_price", 2.0)
        machine = super().launch(account, order, struck)
        self.taken.append(Taken(order.label, machine.id, "duplicate" in struck, "wrong_price" in struck))
        booking_id = booking_of(order.label)
        alive = sum(one.state != "ended" and booking_of(one.label) == booking_id for one in self.machines.values())
        self.most_alive[booking_id] = max(alive, self.most_alive.get(booking_id, 0))
        return machine

    def extend(self, account: str, machine_id: str, ends_at: datetime) -> Machine:
        """Move the end, except of a product that is never extended."""
        machine = self.get(account, machine_id)
        if f"sandbox:{machine.kind}:{machine.region}" == NOT_EXTENDED:
            raise SandboxRefusal("bad_request", "This type is not rented longer.")
        return super().extend(account, machine_id, ends_at)

    def alive(self) -> list[Machine]:
        """The machines that cost money now."""
        self.now()
        return [one for one in list(self.machines.values()) if one.state != "ended"]

    def charged(self, machine_ids: set[str]) -> Decimal:
        """What the cloud charges for these machines, in their own currency."""
        now = self.now()
        return sum((self.machines[each].amount(now) for each in machine_ids), Decimal(0))


def booking_of(label: str) -> str:
    """The booking a label belongs to."""
    return label.removeprefix("gpubroker-").rpartition("-")[0]
