"""The simulated cloud: seeded and clock-driven, with bills exact to the second and stock that is never negative."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from adapters.sandbox_cloud import LaunchOrder, SandboxCloud, SandboxRefusal, Temper
from adapters.sandbox_dial import Fault
from adapters.sandbox_machine import Machine
from adapters.sandbox_market import REGIONS, TYPES, left_by_others, price_per_hour
from tests.adapters.served import untimed
from tests.conftest import ManualClock

ME = "account"
START = datetime(2026, 1, 15, 12, tzinfo=UTC)


def order(**changed: Any) -> LaunchOrder:
    """An order for an H100 in Frankfurt."""
    facts: dict[str, Any] = {"label": "job-0", "type": "h100-1", "region": "eu-frankfurt", "pricing": "on_demand"}
    return LaunchOrder(**facts | changed)


def calm(clock: ManualClock, **given: Any) -> SandboxCloud:
    """A cloud in which nothing surprising happens."""
    return SandboxCloud(clock.now, temper=Temper.calm(), **given)


def running(clock: ManualClock, cloud: SandboxCloud, **changed: Any) -> Machine:
    """A machine that has just come up, with the clock at that moment."""
    machine = cloud.launch(ME, order(**changed))
    clock.advance(machine.ready_at - clock.now())
    cloud.now()
    assert machine.state == "running"
    return machine


def refused(code: str) -> Any:
    """The refusal with this code."""
    return pytest.raises(SandboxRefusal, check=lambda refusal: refusal.code == code)


def test_a_machine_boots_runs_and_ends_when_the_cloud_was_told(clock: ManualClock) -> None:
    cloud = calm(clock)
    machine = cloud.launch(ME, order(ends_at=START + timedelta(hours=2)))
    assert machine.state == "booting"
    assert not machine.amount(cloud.now())
    assert timedelta(seconds=15) <= machine.ready_at - machine.created_at <= timedelta(seconds=90)
    clock.advance(timedelta(hours=5))
    assert cloud.get(ME, machine.id).state == "ended"
    assert (machine.end_reason, machine.ended_at) == ("reached_end", START + timedelta(hours=2))
    ran = START + timedelta(hours=2) - machine.ready_at
    assert machine.billed_seconds(cloud.now()) == -(-ran // timedelta(seconds=1))
    assert cloud.listed(ME) == []
    assert cloud.listed(ME, everything=True) == [machine]


def test_a_cloud_that_enforces_no_end_runs_on(clock: ManualClock) -> None:
    cloud = calm(clock, enforce_end=False)
    machine = cloud.launch(ME, order(ends_at=START + timedelta(hours=2)))
    clock.advance(timedelta(days=3))
    assert (cloud.get(ME, machine.id).state, machine.ends_at) == ("running", None)
    with refused("bad_state"):
        cloud.extend(ME, machine.id, START + timedelta(days=9))


def test_an_end_moves(clock: ManualClock) -> None:
    cloud = calm(clock)
    machine = running(clock, cloud, ends_at=START + timedelta(hours=1))
    cloud.extend(ME, machine.id, START + timedelta(hours=3))
    clock.advance(timedelta(hours=2))
    assert cloud.get(ME, machine.id).state == "running"
    with refused("bad_request"):
        cloud.extend(ME, machine.id, clock.now())


def test_a_minute_is_charged_at_least_and_the_disk_while_stopped(clock: ManualClock) -> None:
    cloud = calm(clock)
    brief = running(clock, cloud)
    clock.advance(timedelta(seconds=5))
    cloud.terminate(ME, brief.id)
    assert brief.amount(cloud.now()) == (brief.price_per_hour / 60).quantize(Decimal("0.000001"))
    kept = running(clock, cloud, disk_gb=Decimal(730))
    clock.advance(timedelta(hours=1))
    cloud.stop(ME, kept.id)
    at_stop = kept.amount(clock.now())
    clock.advance(timedelta(hours=10))
    assert cloud.get(ME, kept.id).state == "stopped"
    assert kept.amount(clock.now()) - at_stop == Decimal("1.000000"), "730 GB at 0.10 a month of 730 hours, ten hours"
    cloud.start(ME, kept.id)
    clock.advance(kept.ready_at - clock.now() + timedelta(minutes=30))
    cloud.terminate(ME, kept.id)
    assert kept.billed_seconds(cloud.now()) == 5_400
    clock.advance(timedelta(days=1))
    assert kept.amount(cloud.now()) == kept.amount(kept.ended_at or START)


def test_spot_is_taken_back_in_time_and_failed_boots_cost_nothing(clock: ManualClock) -> None:
    cloud = SandboxCloud(clock.now, temper=Temper(boot_failure_share=0.0, spot_mean_seconds=60.0, stock_moves=False))
    spot = cloud.launch(ME, order(pricing="spot"))
    clock.advance(timedelta(days=1))
    assert (cloud.get(ME, spot.id).end_reason, spot.ran) == (
        "interrupted",
        timedelta(seconds=spot.lives_seconds or 0),
    )
    cloud.temper = Temper(boot_failure_share=1.0, stock_moves=False)
    lame = cloud.launch(ME, order(disk_gb=Decimal(1_000)))
    clock.advance(timedelta(days=1))
    assert cloud.get(ME, lame.id).state == "failed"
    assert cloud.listed(ME) == [lame]
    assert not lame.amount(cloud.now())
    assert not cloud.terminate(ME, lame.id).amount(cloud.now())


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"type": "h900"}, "unknown_type"),
        ({"region": "mars"}, "unknown_region"),
        ({"type": "mi300x-8"}, "not_sold"),
        ({"image": "registry/does-not-exist:1"}, "bad_image"),
        ({"image": "Not an image"}, "bad_image"),
        ({"label": "no spaces"}, "bad_request"),
        ({"label": "x" * 64}, "bad_request"),
        ({"ends_at": START}, "bad_request"),
        ({"ports": (0,)}, "bad_request"),
        ({"disk_gb": Decimal("NaN")}, "bad_request"),
        ({"disk_gb": Decimal(-1)}, "bad_request"),
        ({"max_price_per_hour": Decimal("2.88")}, "price_too_high"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_made(
    clock: ManualClock, changed: dict[str, Any], code: str
) -> None:
    cloud = calm(clock)
    with refused(code):
        cloud.launch(ME, order(**changed))
    assert cloud.machines == {}


def test_quota_and_stock_bound_what_can_be_had(clock: ManualClock) -> None:
    cloud = calm(clock)
    cloud.temper.gpu_quota = 2
    first, _ = cloud.launch(ME, order()), cloud.launch(ME, order())
    with refused("quota_exceeded"):
        cloud.launch(ME, order())
    cloud.launch("another", order())
    cloud.terminate(ME, first.id)
    cloud.launch(ME, order())
    cloud.pin_stock("h100-1", "eu-frankfurt", 3)
    with refused("no_capacity"):
        cloud.launch("another", order())
    cloud.pin_stock("h100-1", "eu-frankfurt", None)
    cloud.launch("another", order())
    with pytest.raises(ValueError, match="never negative"):
        cloud.pin_stock("h100-1", "eu-frankfurt", -1)


def test_machines_are_their_accounts_own(clock: ManualClock) -> None:
    cloud = calm(clock)
    machine = cloud.launch(ME, order())
    assert cloud.listed("another") == []
    for forbidden in (cloud.get, cloud.terminate, cloud.stop, cloud.start):
        with refused("not_found"):
            forbidden("another", machine.id)


def test_a_new_machine_is_missing_from_lists_for_a_while(clock: ManualClock) -> None:
    cloud = calm(clock)
    cloud.temper.listing_lag_seconds = 2.0
    machine = cloud.launch(ME, order())
    assert cloud.listed(ME, label="job-0") == []
    assert cloud.get(ME, machine.id) is machine
    clock.advance(timedelta(seconds=2))
    assert cloud.listed(ME, label="job-0") == [machine]


def test_only_a_running_on_demand_machine_stops_and_only_a_stopped_one_starts(clock: ManualClock) -> None:
    cloud = calm(clock)
    booting = cloud.launch(ME, order())
    spot = running(clock, cloud, pricing="spot")
    for machine in (cloud.launch(ME, order()), spot):
        with refused("bad_state"):
            cloud.stop(ME, machine.id)
    cloud.terminate(ME, booting.id)
    with refused("bad_state"):
        cloud.start(ME, booting.id)
    stopped = running(clock, cloud)
    cloud.stop(ME, stopped.id)
    assert cloud.stop(ME, stopped.id) is stopped
    cloud.pin_stock("h100-1", "eu-frankfurt", 0)
    with refused("no_capacity"):
        cloud.start(ME, stopped.id)


@pytest.mark.parametrize("name", ["duplicate", "wrong_price", "vanish", "refusal"])
def test_faults_of_the_cloud_do_what_the_dial_says(clock: ManualClock, name: Any) -> None:
    cloud = calm(clock)
    faults = {name: Fault(name, "quota_exceeded" if name == "refusal" else None)}
    if name == "refusal":
        with refused("quota_exceeded"):
            cloud.launch(ME, order(), faults)
        return
    machine = cloud.launch(ME, order(), faults)
    assert len(cloud.machines) == (2 if name == "duplicate" else 1)
    assert machine.price_per_hour == Decimal("4.3350" if name == "wrong_price" else "2.8900")
    assert (machine in cloud.listed(ME)) is (name != "vanish")


def test_time_never_goes_back(clock: ManualClock) -> None:
    cloud = calm(clock)
    later = cloud.skip(timedelta(hours=1))
    assert later == START + timedelta(hours=1)
    clock.advance(timedelta(hours=-3))
    assert cloud.now() == later
    with pytest.raises(ValueError, match="back"):
        cloud.skip(timedelta(seconds=-1))


@pytest.mark.parametrize("spoiled", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "machines": [{}]}', "nonsense"])
def test_a_state_it_did_not_write_is_refused(clock: ManualClock, spoiled: str) -> None:
    with pytest.raises(ValueError, match="not the state of a simulated cloud"):
        calm(clock).load(spoiled)


@given(seed=st.integers(0, 2**32), minutes=st.integers(0, 10**7), name=st.sampled_from(sorted(TYPES)))
@settings(parent=untimed)
def test_stock_and_prices_are_bounded_and_the_same_for_everyone_who_asks(seed: int, minutes: int, name: str) -> None:
    kind, now = TYPES[name], START + timedelta(minutes=minutes)
    for region in (REGIONS[each] for each in kind.regions):
        free = left_by_others(seed, kind, region, now)
        assert 0 <= free <= kind.capacity
        assert free == left_by_others(seed, kind, region, now)
        spot = price_per_hour(seed, kind, region, "spot", now)
        assert 0 < spot < price_per_hour(seed, kind, region, "on_demand", now)


def test_stock_moves_and_sometimes_there_is_none() -> None:
    kind, region = TYPES["h100-8"], REGIONS["eu-frankfurt"]
    seen = {left_by_others(0, kind, region, START + timedelta(minutes=minute)) for minute in range(0, 3_000, 5)}
    assert seen == set(range(kind.capacity + 1))


class Life(RuleBasedStateMachine):
    """Any calls at any times against a lively cloud, beside a twin of the same seed and a meter kept by hand."""

    machines = Bundle("machines")

    @initialize(seed=st.integers(0, 1_000))
    def begin(self, seed: int) -> None:
        self.clock = ManualClock(START)
        temper = Temper(spot_mean_seconds=1_800.0, boot_failure_share=0.1)
        self.cloud, self.twin = (SandboxCloud(self.clock.now, seed=seed, temper=temper) for _ in range(2))
        self.seen: dict[str, Decimal] = {}

    def both(self, call: Any) -> Any:
        """Do it to both; they answer the same."""
        answers: list[Any] = []
        for cloud in (self.cloud, self.twin):
            try:
                answers.append(call(cloud).id)
            except SandboxRefusal as refusal:
                answers.append(refusal.code)
        assert answers[0] == answers[1]
        return answers[0]

    @rule(
        target=machines,
        name=st.sampled_from(["h100-1", "mi300x-8", "t4-1"]),
        pricing=st.sampled_from(["on_demand", "spot"]),
        hours=st.none() | st.floats(0.001, 5),
        disk=st.integers(0, 5_000),
    )
    def launch(self, name: str, pricing: Any, hours: float | None, disk: int) -> str:
        ends_at = None if hours is None else self.clock.now() + timedelta(hours=hours)
        wanted = order(type=name, region="us-virginia", pricing=pricing, ends_at=ends_at, disk_gb=Decimal(disk))
        return str(self.both(lambda cloud: cloud.launch(ME, wanted)))

    @rule(seconds=st.floats(0, 20_000))
    def wait(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule(machine=machines, call=st.sampled_from(["stop", "start", "get"]))
    def change(self, machine: str, call: str) -> None:
        self.both(lambda cloud: getattr(cloud, call)(ME, machine))

    @rule(machine=consumes(machines))
    def terminate(self, machine: str) -> None:
        self.both(lambda cloud: cloud.terminate(ME, machine))

    @rule()
    def restart(self) -> None:
        text = self.cloud.dump()
        again = SandboxCloud(self.clock.now, temper=self.cloud.temper)
        again.load(text)
        assert again.dump() == text
        self.cloud = again

    @invariant()
    def twins_agree(self) -> None:
        assert self.cloud.now() == self.twin.now()
        assert json.loads(self.cloud.dump()) == json.loads(self.twin.dump())

    @invariant()
    def stock_is_never_negative(self) -> None:
        assert min(free for *_, free in self.cloud.products()) >= 0

    @invariant()
    def every_bill_is_seconds_times_price(self) -> None:
        now = self.cloud.now()
        for machine in self.cloud.machines.values():
            ran = machine.ran + (now - machine.running_since if machine.running_since else timedelta(0))
            seconds = machine.billed_seconds(now)
            assert seconds == (0 if machine.first_ran_at is None else max(60, -(-ran // timedelta(seconds=1))))
            exact = Fraction(machine.price_per_hour) * seconds / 3_600
            exact += Fraction(machine.disk_gb) * machine.disk_seconds(now) / 10 / (730 * 3_600)
            assert abs(Fraction(machine.amount(now)) - exact) <= Fraction(1, 2_000_000)

    @invariant()
    def what_has_ended_costs_no_more(self) -> None:
        now = self.cloud.now()
        for machine in self.cloud.machines.values():
            if machine.is_gone:
                amount = self.seen.setdefault(machine.id, machine.amount(now))
                assert machine.amount(now + timedelta(days=9)) == amount


Life.TestCase.settings = settings(parent=untimed, max_examples=60, stateful_step_count=25)
TestLife = Life.TestCase
