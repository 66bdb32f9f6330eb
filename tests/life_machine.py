"""The whole life of bookings as a state machine: whatever buyers, clouds, clocks and crashes do, the books hold.

`Life` is run by `tests/tools/test_booking_life.py` in CI and by `python -m tests.faults.life --runs 10000` for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapters.sandbox_cloud import Temper
from adapters.sandbox_dial import Endpoint, FaultName
from market.bookings import FINAL_STATES
from market.context import LOCAL_OWNER
from market.errors import BrokerError, IdempotencyConflict
from tests.life_world import LifeWorld, Template

MINUTE = timedelta(minutes=1)
_VALUES: dict[str, float | str] = {
    "latency": 30.0,
    "slow_down": 1.0,
    "clock_skew": 900.0,
    "wrong_price": 2.0,
    "refusal": "no_capacity",
}
_ORDERS: tuple[FaultName, ...] = ("duplicate", "no_id", "wrong_price", "vanish", "refusal")
_ANYWHERE: tuple[FaultName, ...] = (
    "latency",
    "lost_reply",
    "reset",
    "truncated",
    "slow_down",
    "server_error",
    "server_error_after",
    "clock_skew",
)
_PLACES = ("*", "launch", "list", "status", "terminate", "bill", "extend", "stop", "start", "price", "account")
_STRIKES = st.sampled_from(
    [
        *((name, place) for name in _ANYWHERE for place in _PLACES),
        *((name, "launch") for name in _ORDERS * 4),
        *((("ignored_termination", "terminate"),) * 4),
    ]
)
_SETTLING_ROUNDS = 2

number = st.integers(0, 3)
hours = st.sampled_from([0.1, 1.0, 4.0])
waits = st.sampled_from([1, 0, 2])
"""Rounds of the watchdog, each after two minutes; a machine has booted by then."""
_PURCHASES = st.fixed_dictionaries(
    {
        "pricing": st.sampled_from(["on_demand", "on_demand", "spot"]),
        "which": st.integers(0, 5),
        "count": st.sampled_from([1, 1, 2]),
        "duration": hours,
        "disk": st.sampled_from([0, 100]),
        "failover": st.booleans(),
        "twice_at_once": st.booleans(),
        "wait": waits,
    }
)


class Life(RuleBasedStateMachine):
    """One marketplace, one cloud; every rule is something that somebody does, or that happens to them."""

    runner: ClassVar[asyncio.Runner]
    template: ClassVar[Template]
    ran: ClassVar[dict[str, int]] = {}
    """How often each outcome was seen, over all examples: shows that the rules reach what they are meant to."""

    def __init__(self) -> None:
        super().__init__()
        self.world: LifeWorld | None = None
        self.quotes: list[str] = []
        self.bookings: list[str] = []
        self.keys: dict[str, str] = {}
        """Booking by key, as the first answer named it."""
        self.asked: dict[str, set[str]] = {}
        """Quotes by the key they were tried under."""
        self.changes = 0
        self.mandate = ""

    @property
    def at(self) -> LifeWorld:
        """The world of this example."""
        assert self.world is not None
        return self.world

    def does(self, asked: Coroutine[Any, Any, Any]) -> Any:
        """What comes of it; refusals are answers, defects are not."""
        return self.runner.run(self.at.tried(asked))

    def saw(self, what: str) -> None:
        """Count an outcome."""
        self.ran[what] = self.ran.get(what, 0) + 1

    @initialize(
        calm=st.booleans(), enforce_end=st.booleans(), budget=st.sampled_from([500, 20, 2]),
        approval_above=st.sampled_from([None, None, None, 1]), strike=st.one_of(st.none(), _STRIKES), bought=_PURCHASES,
    )  # fmt: skip
    def begin(
        self, calm: bool, enforce_end: bool, budget: int, approval_above: int | None, strike: Any,
        bought: dict[str, Any],
    ) -> None:  # fmt: skip
        """A cloud of some temper, a process, a mandate; and a first purchase, during which something may go wrong."""
        temper = Temper.calm() if calm else Temper(spot_mean_seconds=1_800.0, boot_failure_share=0.1, stock_moves=False)
        self.world = LifeWorld(self.template, temper, enforce_end=enforce_end)
        self.runner.run(self.world.open())
        self._mandate(budget, approval_above)
        self.does(self.world.watchdog.tick())
        self.saw("examples")
        if strike is not None:
            self._strike(*strike, times=1)
        self._buy(**bought)

    def _mandate(self, budget: int, approval_above: int | None) -> None:
        wanted: dict[str, Any] = {"agent": self.at.agent.agent_key_id, "budget": budget, "providers": ["sandbox"]}
        if approval_above is not None:
            wanted["approval_above"] = approval_above
        made = self.does(self.at.asks("create_mandate", LOCAL_OWNER, failover=True, **wanted))
        if made is not None and not isinstance(made, BrokerError):
            self.mandate = made.id

    @rule(bought=_PURCHASES)
    def buy(self, bought: dict[str, Any]) -> None:
        """Quote and book under a fresh key, perhaps by two calls at once, and perhaps wait until it runs."""
        self._buy(**bought)

    def _buy(
        self, *, pricing: str, which: int, count: int, duration: float, disk: int, failover: bool, twice_at_once: bool,
        wait: int,
    ) -> None:  # fmt: skip
        quote = self.does(
            self.at.asks(
                "quote_offer",
                offer_id=self.template.offers[pricing][which],
                count=count,
                duration_hours=duration,
                disk_gb=disk,
                failover=failover,
            )
        )
        if quote is None or isinstance(quote, BrokerError):
            return self.saw("quote refused")
        self.quotes.append(quote.quote_id)
        self._book(quote.quote_id, f"key-{len(self.asked)}", at_once=2 if twice_at_once else 1)
        self.runner.run(self.at.passes(2 * wait * MINUTE, wait))

    @rule(which=number, key=number, fresh=st.booleans())
    def book_again(self, which: int, key: int, fresh: bool) -> None:
        """An old quote under an old key or a new one: the same call again, or another body."""
        if not self.quotes:
            return
        quote = self.quotes[-1 - which % len(self.quotes)]
        used = list(self.asked)
        self._book(quote, f"key-{len(used)}" if fresh or not used else used[-1 - key % len(used)])

    def _book(self, quote_id: str, key: str, *, at_once: int = 1) -> None:
        arguments: dict[str, Any] = {"quote_id": quote_id, "idempotency_key": key, "max_total": 10_000}

        async def side_by_side() -> list[Any]:
            calls = [self.at.tried(self.at.asks("book_quote", **arguments)) for _ in range(at_once)]
            return await asyncio.gather(*calls) if at_once > 1 else [await calls[0]]

        tried = self.asked.setdefault(key, set())
        for answer in self.runner.run(side_by_side()):
            if isinstance(answer, BrokerError):
                self.saw(f"booking refused: {answer.code}")
                assert not isinstance(answer, IdempotencyConflict) or tried - {quote_id}
            elif answer is None:
                self.saw("process lost while booking")
            else:
                self.saw("booked")
                known = self.keys.setdefault(key, answer.id)
                assert known == answer.id, f"{key} bought {known} and {answer.id}"
                if answer.id not in self.bookings:
                    self.bookings.append(answer.id)
        tried.add(quote_id)

    @rule(
        which=number, what=st.sampled_from(["extend", "extend", "scale", "stop", "start", "terminate"]),
        duration=hours, beside=st.booleans(), wait=waits,
    )  # fmt: skip
    def change(self, which: int, what: str, duration: float, beside: bool, wait: int) -> None:
        """A booking made longer, larger, halted, begun again or ended, perhaps while the watchdog looks."""
        if not self.bookings:
            return
        self.changes += 1
        arguments: dict[str, Any] = {"booking_id": self.bookings[-1 - which % len(self.bookings)]}
        if what in ("extend", "scale"):
            arguments |= {"idempotency_key": f"{what}-{self.changes}", "max_total": 10_000}
            arguments |= {"hours": duration} if what == "extend" else {"add": 1}

        async def side_by_side() -> Any:
            asked = self.at.tried(self.at.asks(f"{what}_booking", **arguments))
            if not beside:
                return await asked
            return (await asyncio.gather(asked, self.at.tried(self.at.watchdog.tick())))[0]

        answer = self.runner.run(side_by_side())
        self.saw(f"{what}: {answer.code if isinstance(answer, BrokerError) else 'lost' if answer is None else 'done'}")
        self.runner.run(self.at.passes(2 * wait * MINUTE, wait))

    @rule(what=st.sampled_from(["approve", "decline", "raise", "lower", "revoke and keep", "revoke and terminate"]))
    def person_decides(self, what: str) -> None:
        """A person answers what waits, signs other limits, or revokes the mandate and signs another."""
        if what in ("approve", "decline"):
            return self._decide(approved=what == "approve")
        if what in ("raise", "lower"):
            budget = 1_000 if what == "raise" else 5
            self.does(self.at.asks("raise_mandate", LOCAL_OWNER, mandate_id=self.mandate, budget=budget))
            return None
        policy = what.removeprefix("revoke and ")
        self.does(self.at.asks("revoke_mandate", LOCAL_OWNER, mandate_id=self.mandate, on_revocation=policy))
        return self._mandate(500, None)

    def _decide(self, *, approved: bool) -> None:
        waiting = self.does(self.at.asks("list_approvals", LOCAL_OWNER))
        for one in waiting.items if waiting is not None and not isinstance(waiting, BrokerError) else ():
            self.does(self.at.asks("decide_approval", LOCAL_OWNER, approval_id=one.id, approved=approved))
            self.saw("approval decided")
            key = next((key for key, quotes in self.asked.items() if one.subject in quotes), None)
            if key is not None:
                self._book(one.subject, key)

    @rule(seconds=st.sampled_from([20, 120, 900, 4 * 3_600, -1, -45]), rounds=st.integers(1, 2))
    def time_passes(self, seconds: int, rounds: int) -> None:
        """The clock goes on, and the watchdog looks; or somebody sets it back."""
        if seconds < 0:
            self.at.advance(timedelta(seconds=seconds))
        else:
            self.runner.run(self.at.passes(timedelta(seconds=seconds), rounds))

    @rule(which=number, how=st.sampled_from(["interrupt", "vanish"]))
    def machine_is_lost(self, which: int, how: str) -> None:
        """The cloud takes a machine back, or loses it without a trace."""
        cloud = self.at.cloud.cloud
        live = [one.id for one in cloud.machines.values() if one.state != "ended"]
        if live:
            (cloud.interrupt if how == "interrupt" else cloud.vanish)(live[-1 - which % len(live)])
            self.saw(how)

    @rule(strike=_STRIKES, times=st.sampled_from([1, 2, None]), clear=st.booleans())
    def provider_fails(self, strike: tuple[Any, Any], times: int | None, clear: bool) -> None:
        """Something goes wrong at the provider, once, twice or from now on; what went wrong before may be over."""
        if clear:
            self.at.cloud.dial.clear()
        self._strike(*strike, times=times)

    def _strike(self, name: FaultName, endpoint: Endpoint, *, times: int | None) -> None:
        self.at.costs_more = True
        self.at.duplicates = self.at.duplicates or name == "duplicate"
        self.at.cloud.dial.set(name, _VALUES.get(name), endpoint=endpoint, times=times)
        self.saw(f"fault {name}")

    @rule(moments=st.integers(-1, 25))
    def process_dies(self, moments: int) -> None:
        """The process dies after so many more writes and answers, wherever that is, or now."""
        if moments < 0:
            self.runner.run(self.at.lose())
        else:
            self.at.arm(moments)

    @invariant()
    def the_books_hold(self) -> None:
        """After every step: money, states and machines."""
        if self.world is not None:
            wrong = self.world.books()
            assert not wrong, "\n".join(wrong)

    def teardown(self) -> None:
        """The provider is well, everything is ended: then nothing runs, nothing is held, and the audit log is whole."""
        if self.world is None:
            return
        try:
            self.runner.run(self._settled())
        finally:
            self.runner.run(self.world.end())

    async def _settled(self) -> None:
        world = self.at
        world.cloud.dial.clear()
        await world.lose()
        await world.passes(3 * MINUTE, _SETTLING_ROUNDS)
        assert world.books() == []
        assert world.unowned() == [], (world.unowned(), world._states)
        for booking_id in world.open_bookings():
            await world.tried(world.asks("terminate_booking", LOCAL_OWNER, booking_id=booking_id))
        assert world.books() == []
        if world.open_bookings():
            await world.passes(3 * MINUTE, _SETTLING_ROUNDS)
            assert world.books() == []
        assert world.open_bookings() == [], world._states
        assert [one.label for one in world.cloud.cloud.machines.values() if one.state not in ("ended", "failed")] == []
        assert await world.audited() == []
        self.ran["died at work"] = self.ran.get("died at work", 0) + world.deaths
        for state in world._states.values():
            self.saw(f"ended as {state}")
        assert set(world._states.values()) <= FINAL_STATES
