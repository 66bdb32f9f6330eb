"""A circuit breaker: a provider that keeps failing is left alone for a while, then tried with a few calls.

    closed ──half of the last ten calls failed──▶ open ──thirty seconds──▶ half_open ──a success──▶ closed
                                                   ▲                          │
                                                   └────────a failure─────────┘

No task and no lock: every step is one synchronous move on the event loop, and time is looked at when somebody asks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from market.errors import ProviderFailed

State = Literal["closed", "open", "half_open"]
Outcome = Literal["answered", "failed", "unknown"]
"""`unknown` is a call that says nothing about the provider: cancelled by us, or told to slow down."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to stop calling and when to try again; an adapter may state its own."""

    window: int = 10
    """How many outcomes are looked at; nothing is judged before that many are known."""
    failure_share: float = 0.5
    open_seconds: float = 30.0
    probes: int = 3
    """Calls in flight at most while half open."""


class Permit:
    """Leave to make one call, to be settled once with how the call ended."""

    __slots__ = ("_breaker", "_epoch", "_settled", "probe")

    def __init__(self, breaker: Breaker, epoch: int, probe: bool) -> None:
        self._breaker = breaker
        self._epoch = epoch
        self._settled = False
        self.probe = probe

    def settle(self, outcome: Outcome) -> None:
        """Report the end of the call; a second report is ignored."""
        if not self._settled:
            self._settled = True
            self._breaker._settle(outcome, self._epoch, self.probe)


class Breaker:
    """The state of one provider as its recent calls show it."""

    def __init__(
        self, name: str, policy: BreakerPolicy | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.policy = policy or BreakerPolicy()
        self._monotonic = monotonic
        self._failed: deque[bool] = deque(maxlen=self.policy.window)
        self._state: State = "closed"
        self._opened_at = 0.0
        self._times_opened = 0
        self._probing = 0
        # A call that began before the last change of state says nothing about the present one.
        self._epoch = 0

    @property
    def state(self) -> State:
        """Where the breaker stands now."""
        if self._state == "open" and self._monotonic() - self._opened_at >= self.policy.open_seconds:
            self._enter("half_open")
        return self._state

    def admit(self) -> Permit:
        """Leave for one call; raises ProviderFailed while the provider is being left alone."""
        state = self.state
        if state == "open":
            wait = round(self.policy.open_seconds - (self._monotonic() - self._opened_at), 1)
            raise self._refusal(f"it is left alone for another {wait} s", wait)
        if state == "half_open":
            if self._probing >= self.policy.probes:
                raise self._refusal("it is being tried again with a few calls first", 1.0)
            self._probing += 1
            return Permit(self, self._epoch, probe=True)
        return Permit(self, self._epoch, probe=False)

    def snapshot(self) -> dict[str, object]:
        """What a health page shows."""
        state = self.state
        waiting = max(0.0, self.policy.open_seconds - (self._monotonic() - self._opened_at))
        return {
            "state": state,
            "calls_seen": len(self._failed),
            "calls_failed": sum(self._failed),
            "probes_in_flight": self._probing,
            "times_opened": self._times_opened,
            "opens_again_in_seconds": round(waiting, 1) if state == "open" else 0.0,
        }

    def _settle(self, outcome: Outcome, epoch: int, probe: bool) -> None:
        if probe:
            self._probing -= 1
        if outcome == "unknown" or epoch != self._epoch:
            return
        failed = outcome == "failed"
        if self._state == "half_open":
            self._enter("open" if failed else "closed")
            return
        self._failed.append(failed)
        full = len(self._failed) == self.policy.window
        if full and sum(self._failed) >= self.policy.failure_share * self.policy.window:
            self._enter("open")

    def _enter(self, state: State) -> None:
        self._state = state
        self._epoch += 1
        if state == "open":
            self._opened_at = self._monotonic()
            self._times_opened += 1
        if state == "closed":
            self._failed.clear()

    def _refusal(self, why: str, wait_seconds: float) -> ProviderFailed:
        return ProviderFailed(
            f"`{self.name}` failed too often lately, so {why}.",
            next_step="Its last known offers stay; use them or another provider meanwhile.",
            details={"provider": self.name, "breaker": self._state, "retry_after_seconds": wait_seconds},
        )
