"""The fault dial of the simulated cloud: what goes wrong, where, how often or in which order.

A rule holds for one endpoint or all (`*`), with a probability, and for so many times when it says so; a script is a
list of faults used up one call after the other. Chance is seeded and counted, so the same calls fail the same way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from adapters.sandbox_market import chance

Endpoint = Literal[
    "*", "types", "price", "account", "launch", "list", "status", "terminate", "bill", "extend", "stop", "start"
]
FaultName = Literal[
    "latency",
    "lost_reply",
    "reset",
    "truncated",
    "slow_down",
    "server_error",
    "server_error_after",
    "duplicate",
    "clock_skew",
    "no_id",
    "wrong_price",
    "ignored_termination",
    "vanish",
    "refusal",
]

ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
FAULTS: dict[FaultName, str] = {
    "latency": "the answer comes `value` seconds late; what was asked has been done by then",
    "lost_reply": "what was asked is done, then the connection is reset without an answer",
    "reset": "the connection is reset and nothing is done",
    "truncated": "what was asked is done, the answer breaks off in the middle",
    "slow_down": "429; `value` is its Retry-After in seconds, none without",
    "server_error": "500, nothing is done",
    "server_error_after": "500, but what was asked is done",
    "duplicate": "one order makes two machines and answers with the first",
    "clock_skew": "times in the answer are `value` seconds ahead, or behind when negative",
    "no_id": "success without the id of the machine that was made",
    "wrong_price": "the machine is made at `value` times the price",
    "ignored_termination": "termination is answered with success and not carried out",
    "vanish": "the machine is gone afterwards and nobody ever heard of it",
    "refusal": "the order is refused with the error code `value`",
}
"""Every fault and what it does."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong in one call; `value` is what the fault's description says."""

    name: FaultName
    value: float | str | None = None

    def number(self, otherwise: float) -> float:
        """The value as a number."""
        return float(self.value) if isinstance(self.value, int | float) else otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A fault that strikes an endpoint with a probability, `times` times at most when given."""

    fault: Fault
    endpoint: Endpoint = "*"
    probability: float = 1.0
    times: int | None = None


@dataclass(slots=True)
class Dial:
    """The rules and scripts in force."""

    seed: int = 0
    rules: list[Rule] = field(default_factory=list)
    calls: int = 0
    _scripts: dict[Endpoint, deque[Fault | None]] = field(default_factory=dict)

    def set(
        self,
        name: FaultName,
        value: float | str | None = None,
        *,
        endpoint: Endpoint = "*",
        probability: float = 1.0,
        times: int | None = None,
    ) -> None:
        """Add a rule. Raises ValueError for a fault, endpoint, probability or count that makes no sense."""
        if name not in FAULTS:
            raise ValueError(f"no fault is called {name!r}")
        if endpoint not in ENDPOINTS:
            raise ValueError(f"no endpoint is called {endpoint!r}")
        if not 0 <= probability <= 1 or (times is not None and times < 1):
            raise ValueError("a probability lies between 0 and 1, and `times` is 1 or more")
        self.rules.append(Rule(fault=Fault(name, value), endpoint=endpoint, probability=probability, times=times))

    def script(self, endpoint: Endpoint, faults: Sequence[Fault | FaultName | None]) -> None:
        """The faults of the next calls to an endpoint, one each; None lets a call pass."""
        told = [Fault(one) if isinstance(one, str) else one for one in faults]
        self._scripts.setdefault(endpoint, deque()).extend(told)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.rules.clear()
        self._scripts.clear()

    def draw(self, endpoint: Endpoint) -> dict[FaultName, Fault]:
        """What goes wrong in the call that begins now: the script's next fault, else every rule that strikes."""
        self.calls += 1
        script = self._scripts.get(endpoint)
        if script:
            next_fault = script.popleft()
            return {} if next_fault is None else {next_fault.name: next_fault}
        struck: dict[FaultName, Fault] = {}
        kept: list[Rule] = []
        for place, rule in enumerate(self.rules):
            hit = rule.endpoint in ("*", endpoint) and (chance(self.seed, "dial", self.calls, place) < rule.probability)
            if hit:
                struck[rule.fault.name] = rule.fault
            if not hit or rule.times is None:
                kept.append(rule)
            elif rule.times > 1:
                kept.append(replace(rule, times=rule.times - 1))
        self.rules[:] = kept
        return struck
