"""One machine of the simulated cloud: how it boots, runs, stops and ends, and what it costs to the second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Literal

from adapters.sandbox_market import MINIMUM_SECONDS, STORAGE_PRICE_PER_GB_MONTH, SandboxPricing

State = Literal["booting", "running", "stopped", "failed", "ended"]
EndReason = Literal["terminated", "interrupted", "reached_end", "vanished"]

_MILLIONTH = Decimal("0.000001")
_HOUR_SECONDS = 3600
_MONTH_SECONDS = 730 * _HOUR_SECONDS
_SECOND = timedelta(seconds=1)


@dataclass(slots=True, kw_only=True)
class Machine:
    """A machine and its meter. Compute is charged while it runs, ordered disk from the order until the end."""

    id: str
    account: str
    label: str
    kind: str
    region: str
    pricing: SandboxPricing
    gpu_count: int
    price_per_hour: Decimal
    currency: str
    created_at: datetime
    ready_at: datetime
    boot_fails: bool = False
    lives_seconds: float | None = None
    """How long a spot machine runs before it is taken back; None for one that never is."""
    ends_at: datetime | None = None
    disk_gb: Decimal = Decimal(0)
    image: str = ""
    ports: tuple[int, ...] = ()
    environment_names: tuple[str, ...] = ()
    ssh_keys: int = 0
    start_script: bool = False
    state: State = "booting"
    running_since: datetime | None = None
    first_ran_at: datetime | None = None
    ran: timedelta = timedelta(0)
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    boots: int = 1
    launched: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was ordered to run, in full; kept in memory alone, as it may hold secrets."""

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is left but its bill."""
        return self.state == "ended"

    def advance(self, now: datetime, *, enforce_end: bool) -> None:
        """Let everything happen that is due by `now`, in the order of time."""
        while True:
            due = [(at, step) for at, step in self._agenda(enforce_end=enforce_end) if at <= now]
            if not due:
                return
            at, step = min(due, key=lambda entry: entry[0])
            if step == "boot":
                self._boot(at)
            else:
                self.end(at, step)

    def _agenda(self, *, enforce_end: bool) -> list[tuple[datetime, Any]]:
        """What will happen by itself: when, and `boot` or the reason for the end. At one moment the end comes first."""
        agenda: list[tuple[datetime, Any]] = []
        if self.is_gone:
            return agenda
        if enforce_end and self.ends_at is not None:
            agenda.append((self.ends_at, "reached_end"))
        if self.state == "running" and self.running_since is not None and self.lives_seconds is not None:
            left = timedelta(seconds=self.lives_seconds) - self.ran
            agenda.append((self.running_since + max(left, timedelta(0)), "interrupted"))
        if self.state == "booting":
            agenda.append((self.ready_at, "boot"))
        return agenda

    def _boot(self, at: datetime) -> None:
        if self.boot_fails:
            self.state = "failed"
            return
        self.state, self.running_since = "running", at
        self.first_ran_at = self.first_ran_at or at

    def halt(self, now: datetime) -> None:
        """Stop the meter of compute; the disk stays."""
        if self.running_since is not None:
            self.ran += now - self.running_since
        self.state, self.running_since = "stopped", None

    def restart(self, ready_at: datetime) -> None:
        """Boot again after a halt."""
        self.state, self.ready_at, self.boots = "booting", ready_at, self.boots + 1

    def end(self, at: datetime, reason: EndReason) -> None:
        """The end for good."""
        self.halt(at)
        self.state, self.ended_at, self.end_reason = "ended", at, reason

    def billed_seconds(self, now: datetime) -> int:
        """Seconds of compute that are charged by `now`: all it ran, rounded up to a second, at least the minimum."""
        ran = self.ran if self.running_since is None else self.ran + (now - self.running_since)
        if self.first_ran_at is None:
            return 0
        return max(MINIMUM_SECONDS, -(-ran // _SECOND))

    def disk_seconds(self, now: datetime) -> int:
        """Seconds the ordered disk is charged for; a machine that failed to boot charges nothing."""
        if self.boot_fails and self.state != "booting":
            return 0
        return -(-((self.ended_at or now) - self.created_at) // _SECOND)

    def amount(self, now: datetime) -> Decimal:
        """What it has cost by `now`, in its currency, to the millionth."""
        compute = self.price_per_hour * self.billed_seconds(now) / _HOUR_SECONDS
        disk = STORAGE_PRICE_PER_GB_MONTH * self.disk_gb * self.disk_seconds(now) / _MONTH_SECONDS
        return (compute + disk).quantize(_MILLIONTH, rounding=ROUND_HALF_EVEN)

    def stored(self) -> dict[str, Any]:
        """As JSON can hold it, without what was ordered to run."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self) if one.name != "launched"}

    @classmethod
    def restored(cls, facts: Mapping[str, Any]) -> Machine:
        """The machine `stored` wrote down. Raises KeyError, TypeError or ValueError for anything else."""
        read = dict(facts)
        for name in _TIMES:
            read[name] = None if read[name] is None else datetime.fromisoformat(read[name])
        for name in ("price_per_hour", "disk_gb"):
            read[name] = Decimal(read[name])
        for name in ("ports", "environment_names"):
            read[name] = tuple(read[name])
        read["ran"] = timedelta(microseconds=read["ran"])
        return cls(**read)


_TIMES = ("created_at", "ready_at", "ends_at", "running_since", "first_ran_at", "ended_at")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    return str(value) if isinstance(value, Decimal) else list(value) if isinstance(value, tuple) else value
