"""The simulated cloud: accounts, stock, machines and bills, as a state machine that a seed and a clock decide alone.

No network and no time of its own: whoever holds it gives it a clock, and everything due by then happens when the next
question comes. The same seed, the same times and the same calls tell the same story. `sandbox_http` serves it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from adapters.sandbox_dial import Dial, Fault, FaultName
from adapters.sandbox_machine import EndReason, Machine
from adapters.sandbox_market import REGIONS, TYPES, SandboxPricing, chance, left_by_others, price_per_hour

Faults = Mapping[FaultName, Fault]
NO_FAULTS: Faults = {}
REFUSALS: dict[str, int] = {
    "bad_request": 400,
    "unauthorized": 401,
    "quota_exceeded": 403,
    "not_found": 404,
    "unknown_type": 404,
    "unknown_region": 404,
    "bad_state": 409,
    "no_capacity": 409,
    "price_too_high": 409,
    "bad_image": 422,
    "not_sold": 422,
}
"""Every error code and its HTTP status."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:@-]{0,254}")
_NO_SUCH_IMAGE = "does-not-exist"
MAX_DISK_GB = 65_536
PLENTY = 1_000_000
"""Machines free and GPUs allowed where nothing is to run out."""


class SandboxRefusal(Exception):
    """What the cloud will not do: a code of `REFUSALS` and words for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return REFUSALS[self.code]


@dataclass(slots=True)
class Temper:
    """How the cloud behaves when no fault is dialled; `calm()` is one that nothing surprising comes from."""

    boot_seconds: tuple[float, float] = (15.0, 90.0)
    boot_failure_share: float = 0.03
    spot_mean_seconds: float | None = 6 * 3600.0
    """Mean time until a spot machine is taken back; None for never."""
    listing_lag_seconds: float = 1.0
    """How long a new machine is missing from lists."""
    gpu_quota: int = 64
    stock_moves: bool = True
    """Whether others take machines too; else there are plenty."""

    @classmethod
    def calm(cls) -> Temper:
        """Every boot succeeds, no spot machine is taken back, lists are up to date, stock and quota have no end."""
        return cls(
            boot_failure_share=0.0,
            spot_mean_seconds=None,
            listing_lag_seconds=0.0,
            gpu_quota=PLENTY,
            stock_moves=False,
        )


@dataclass(slots=True, kw_only=True)
class LaunchOrder:
    """What an account orders; `max_price_per_hour` refuses a dearer machine."""

    label: str
    type: str
    region: str
    pricing: SandboxPricing
    ends_at: datetime | None = None
    max_price_per_hour: Decimal | None = None
    image: str = ""
    ssh_public_keys: Sequence[str] = ()
    start_script: str = field(default="", repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: Sequence[int] = ()
    disk_gb: Decimal = Decimal(0)


class SandboxCloud:
    """One cloud. `clock` says the time; `offset` is what an operator has skipped."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        seed: int = 0,
        enforce_end: bool = True,
        temper: Temper | None = None,
    ) -> None:
        self.seed = seed
        self.enforce_end = enforce_end
        self.temper = temper or Temper()
        self.dial = Dial(seed)
        self.machines: dict[str, Machine] = {}
        self.pinned_stock: dict[tuple[str, str], int] = {}
        """Free machines as an operator has set them, by type and region."""
        self.offset = timedelta(0)
        self.made = 0
        self.ssh_host, self.ssh_port = "127.0.0.1", 10357
        self._live: dict[str, Machine] = {}
        self._clock = clock
        self._now = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """The cloud's time, never behind what it was; everything due by then has happened."""
        self._now = max(self._now, self._clock() + self.offset)
        for machine in list(self._live.values()):
            machine.advance(self._now, enforce_end=self.enforce_end)
            if machine.is_gone:
                del self._live[machine.id]
        return self._now

    def is_awake(self) -> bool:
        """Whether any machine runs."""
        self.now()
        return any(machine.state == "running" for machine in self._live.values())

    def skip(self, span: timedelta) -> datetime:
        """Let time pass for the cloud alone. Raises ValueError for a span backwards."""
        if span < timedelta(0):
            raise ValueError("time does not go back")
        self.offset += span
        return self.now()

    def pin_stock(self, kind: str, region: str, free: int | None) -> None:
        """Set how many machines others leave free; None lets it move again. Raises SandboxRefusal or ValueError."""
        self._product(kind, region)
        if free is None:
            self.pinned_stock.pop((kind, region), None)
        elif free < 0:
            raise ValueError("stock is never negative")
        else:
            self.pinned_stock[kind, region] = free

    def products(self) -> Iterator[tuple[str, str, dict[SandboxPricing, Decimal], int]]:
        """Type, region, price an hour by pricing, and how many are free now."""
        now = self.now()
        for kind in TYPES.values():
            for name in kind.regions:
                region = REGIONS[name]
                prices: dict[SandboxPricing, Decimal] = {
                    "on_demand": price_per_hour(self.seed, kind, region, "on_demand", now),
                    "spot": price_per_hour(self.seed, kind, region, "spot", now),
                }
                yield kind.name, name, prices, self._free(kind.name, name, now)

    def quote(self, kind: str, region: str, pricing: SandboxPricing) -> tuple[Decimal, str, int]:
        """Price an hour, its currency and the stock of one product now. Raises SandboxRefusal."""
        self._product(kind, region)
        now = self.now()
        price = price_per_hour(self.seed, TYPES[kind], REGIONS[region], pricing, now)
        return price, REGIONS[region].currency, self._free(kind, region, now)

    def gpus_in_use(self, account: str) -> int:
        """GPUs of the account's machines that are not ended, failed or stopped."""
        return sum(
            one.gpu_count
            for one in self._live.values()
            if one.account == account and one.state in ("booting", "running")
        )

    def launch(self, account: str, order: LaunchOrder, faults: Faults = NO_FAULTS) -> Machine:
        """Make a machine, two of them under the fault `duplicate`; the first is returned. Raises SandboxRefusal."""
        now = self.now()
        if (refusal := faults.get("refusal")) is not None:
            code = str(refusal.value) if refusal.value in REFUSALS else "no_capacity"
            raise SandboxRefusal(code, "The fault dial says no.")
        self._product(order.type, order.region)
        self._check(order, now)
        kind = TYPES[order.type]
        price = price_per_hour(self.seed, kind, REGIONS[order.region], order.pricing, now)
        if order.max_price_per_hour is not None and price > order.max_price_per_hour:
            raise SandboxRefusal("price_too_high", f"It costs {price} an hour now.")
        if self.gpus_in_use(account) + kind.gpu_count > self.temper.gpu_quota:
            raise SandboxRefusal("quota_exceeded", f"The account may use {self.temper.gpu_quota} GPUs at once.")
        if (wrong := faults.get("wrong_price")) is not None:
            price = (price * Decimal(str(wrong.number(1.5)))).quantize(price)
        wanted = 2 if "duplicate" in faults else 1
        if self._free(order.type, order.region, now) < wanted:
            raise SandboxRefusal("no_capacity", "There is none left in this region.")
        made = [self._make(account, order, price, now) for _ in range(wanted)]
        if "vanish" in faults:
            self._ended(made[0], "vanished")
        return made[0]

    def get(self, account: str, machine_id: str) -> Machine:
        """A machine of the account, also one that has ended. Raises SandboxRefusal for any other."""
        self.now()
        machine = self.machines.get(machine_id)
        if machine is None or machine.account != account or machine.end_reason == "vanished":
            raise SandboxRefusal("not_found", "The account has no such machine.")
        return machine

    def listed(self, account: str, *, label: str | None = None, everything: bool = False) -> list[Machine]:
        """The account's machines as lists show them, oldest first; ended ones only when asked for."""
        latest = self.now() - timedelta(seconds=self.temper.listing_lag_seconds)
        return [
            one
            for one in (self.machines if everything else self._live).values()
            if one.account == account
            and one.created_at <= latest
            and one.end_reason != "vanished"
            and (label is None or one.label == label)
        ]

    def terminate(self, account: str, machine_id: str, faults: Faults = NO_FAULTS) -> Machine:
        """End a machine for good; one that has ended stays so. Raises SandboxRefusal."""
        machine = self.get(account, machine_id)
        return machine if "ignored_termination" in faults else self._ended(machine, "terminated")

    def vanish(self, machine_id: str) -> None:
        """Lose a machine without a trace for its account."""
        if (machine := self.machines.get(machine_id)) is not None:
            self._ended(machine, "vanished")
            machine.end_reason = "vanished"

    def interrupt(self, machine_id: str) -> None:
        """Take a machine back now, as a spot market does. Raises KeyError for one that does not exist."""
        self._ended(self.machines[machine_id], "interrupted")

    def stop(self, account: str, machine_id: str) -> Machine:
        """Halt a running machine. Raises SandboxRefusal."""
        machine = self.get(account, machine_id)
        if machine.state == "stopped":
            return machine
        if machine.state != "running" or machine.pricing == "spot":
            raise SandboxRefusal("bad_state", "Only a running on-demand machine can be stopped.")
        machine.halt(self._now)
        return machine

    def start(self, account: str, machine_id: str) -> Machine:
        """Boot a stopped machine, where there is room for it. Raises SandboxRefusal."""
        machine = self.get(account, machine_id)
        if machine.state in ("booting", "running"):
            return machine
        if machine.state != "stopped":
            raise SandboxRefusal("bad_state", "Only a stopped machine can be started.")
        if self._free(machine.kind, machine.region, self._now) < 1:
            raise SandboxRefusal("no_capacity", "There is none left in this region.")
        if self.gpus_in_use(account) + machine.gpu_count > self.temper.gpu_quota:
            raise SandboxRefusal("quota_exceeded", f"The account may use {self.temper.gpu_quota} GPUs at once.")
        machine.restart(self._now + self._boot_time(machine.id, machine.boots + 1))
        return machine

    def extend(self, account: str, machine_id: str, ends_at: datetime) -> Machine:
        """Move the end, later or earlier. Raises SandboxRefusal where the cloud enforces none."""
        machine = self.get(account, machine_id)
        if machine.state in ("failed", "ended") or not self.enforce_end:
            raise SandboxRefusal("bad_state", "This machine has no end to move.")
        if ends_at <= self._now:
            raise SandboxRefusal("bad_request", "The end must lie ahead.")
        machine.ends_at = ends_at
        return machine

    def dump(self) -> str:
        """Everything but the dial and what runs on the machines, as JSON."""
        state = {
            "format": 1,
            "seed": self.seed,
            "made": self.made,
            "offset_seconds": self.offset.total_seconds(),
            "now": self._now.isoformat(),
            "pinned_stock": [[kind, region, free] for (kind, region), free in self.pinned_stock.items()],
            "machines": [machine.stored() for machine in self.machines.values()],
        }
        return json.dumps(state, separators=(",", ":"))

    def load(self, text: str) -> None:
        """Go on where `dump` left off. Raises ValueError for a text it did not make."""
        try:
            state = json.loads(text)
            if state["format"] != 1:
                raise ValueError("another format")
            machines = [Machine.restored(facts) for facts in state["machines"]]
            self.seed, self.made = int(state["seed"]), int(state["made"])
            self.dial.seed = self.seed
            self.offset = timedelta(seconds=state["offset_seconds"])
            self._now = datetime.fromisoformat(state["now"])
            self.pinned_stock = {(kind, region): free for kind, region, free in state["pinned_stock"]}
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as problem:
            raise ValueError(f"not the state of a simulated cloud ({type(problem).__name__})") from problem
        self.machines = {machine.id: machine for machine in machines}
        self._live = {machine.id: machine for machine in machines if not machine.is_gone}

    def _ended(self, machine: Machine, reason: EndReason) -> Machine:
        now = self.now()
        if not machine.is_gone:
            machine.end(now, reason)
            del self._live[machine.id]
        return machine

    def _free(self, kind: str, region: str, now: datetime) -> int:
        """Machines to be had now: what others leave, less those of all accounts here."""
        left = self.pinned_stock.get((kind, region))
        if left is None:
            moving = self.temper.stock_moves
            left = left_by_others(self.seed, TYPES[kind], REGIONS[region], now) if moving else PLENTY
        taken = sum(
            (one.kind, one.region) == (kind, region) and one.state in ("booting", "running")
            for one in self._live.values()
        )
        return max(0, left - taken)

    def _product(self, kind: str, region: str) -> None:
        if kind not in TYPES:
            raise SandboxRefusal("unknown_type", "There is no such instance type.")
        if region not in REGIONS:
            raise SandboxRefusal("unknown_region", "There is no such region.")
        if region not in TYPES[kind].regions:
            raise SandboxRefusal("not_sold", "This type is not sold in this region.")

    def _check(self, order: LaunchOrder, now: datetime) -> None:
        if not _LABEL.fullmatch(order.label):
            raise SandboxRefusal("bad_request", "A label has up to 63 letters, digits and hyphens.")
        if order.ends_at is not None and order.ends_at <= now:
            raise SandboxRefusal("bad_request", "The end must lie ahead.")
        if order.image and (not _IMAGE.fullmatch(order.image) or _NO_SUCH_IMAGE in order.image):
            raise SandboxRefusal("bad_image", "There is no such image.")
        if not all(1 <= port <= 65_535 for port in order.ports):
            raise SandboxRefusal("bad_request", "A port lies between 1 and 65535.")
        if not order.disk_gb.is_finite() or not 0 <= order.disk_gb <= MAX_DISK_GB:
            raise SandboxRefusal("bad_request", f"A disk has up to {MAX_DISK_GB} GB.")

    def _make(self, account: str, order: LaunchOrder, price: Decimal, now: datetime) -> Machine:
        self.made += 1
        machine_id = f"sb-{self.made:06d}-{int(chance(self.seed, 'id', self.made) * 16**6):06x}"
        spot_mean = self.temper.spot_mean_seconds
        lives = None
        if order.pricing == "spot" and spot_mean is not None:
            lives = -math.log(1.0 - chance(self.seed, "interruption", machine_id)) * spot_mean
        machine = Machine(
            id=machine_id,
            account=account,
            label=order.label,
            kind=order.type,
            region=order.region,
            pricing=order.pricing,
            gpu_count=TYPES[order.type].gpu_count,
            price_per_hour=price,
            currency=REGIONS[order.region].currency,
            created_at=now,
            ready_at=now + self._boot_time(machine_id, 1),
            boot_fails=chance(self.seed, "boot failure", machine_id) < self.temper.boot_failure_share,
            lives_seconds=lives,
            ends_at=order.ends_at if self.enforce_end else None,
            disk_gb=order.disk_gb,
            image=order.image,
            ports=tuple(order.ports),
            environment_names=tuple(sorted(order.environment)),
            ssh_keys=len(order.ssh_public_keys),
            start_script=bool(order.start_script),
            launched={"environment": dict(order.environment), "start_script": order.start_script},
        )
        self.machines[machine_id] = self._live[machine_id] = machine
        return machine

    def _boot_time(self, machine_id: str, boot: int) -> timedelta:
        shortest, longest = self.temper.boot_seconds
        share = chance(self.seed, "boot", machine_id, boot)
        return timedelta(seconds=round(shortest + (longest - shortest) * share, 3))
