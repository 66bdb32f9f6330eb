"""The sandbox adapter: the whole contract of buying, and every fault of the dial as the error it must become."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.base import SyncReport
from adapters.sandbox import Sandbox
from adapters.sandbox_dial import ENDPOINTS, FAULTS, Endpoint, Fault, FaultName
from market.errors import (
    CredentialsRefused,
    NoCapacity,
    OrderRefused,
    ProviderFailed,
    ProviderRefused,
    QuotaExceeded,
    ReplyLost,
    SlowDown,
)
from market.instances import Instance, Launch, Order
from tests.conftest import ManualClock
from tests.sandbox import SandboxWorld


@pytest.fixture
def world(clock: ManualClock) -> SandboxWorld:
    """A calm cloud on the hand-moved clock."""
    return SandboxWorld(clock)


@pytest.fixture
def sandbox(world: SandboxWorld) -> Sandbox:
    """The adapter, connected to it."""
    return world.adapter()


def order(clock: ManualClock, **changed: Any) -> Order:
    """An order for an H100 in Frankfurt, for two hours."""
    facts: dict[str, Any] = {
        "label": "gpubroker-abc-0",
        "external_id": "h100-1",
        "region": "eu-frankfurt",
        "pricing": "on_demand",
        "price_per_hour": Decimal("2.89"),
        "currency": "USD",
        "ends_at": clock.now() + timedelta(hours=2),
        "launch": Launch(),
    }
    return Order(**facts | changed)


async def running(sandbox: Sandbox, clock: ManualClock, **changed: Any) -> Instance:
    """A machine that has come up."""
    made = await sandbox.launch(order(clock, **changed))
    clock.advance(timedelta(minutes=2))
    found = await sandbox.status(made.id)
    assert found is not None
    assert found.power == "running"
    return found


def test_what_it_promises_of_itself() -> None:
    assert Sandbox.bookable()
    assert Sandbox.enforces_end
    assert Sandbox.optional
    assert not Sandbox.unverified
    everything = Launch(
        image="a", ssh_public_keys=("k",), start_script="s", environment=(("A", "b"),), ports=(1,), disk_gb=1
    ).asked_for()
    assert everything <= Sandbox.honours


async def test_its_offers_are_live_bookable_and_priced_as_they_are_sold(sandbox: Sandbox) -> None:
    offers = {offer.id: offer async for offer in sandbox.offers(SyncReport("sandbox"))}
    assert len(offers) == 94
    assert {offer.price_source for offer in offers.values()} == {"live_api"}
    assert all(offer.bookable and offer.gpu and "sandbox" in offer.tags for offer in offers.values())
    assert {offer.area for offer in offers.values()} >= {"eu-central", "eu-north", "us-east", "us-west"}
    for offer in (offers["sandbox:h100-1:eu-frankfurt"], offers["sandbox:t4-1:eu-stockholm:spot"]):
        priced = await sandbox.live_price(offer.external_id, offer.region, offer.pricing)
        assert priced == (offer.price_per_hour, offer.currency)


async def test_a_machine_from_order_to_final_bill(sandbox: Sandbox, world: SandboxWorld, clock: ManualClock) -> None:
    launch = Launch(
        image="registry/trainer:1",
        ssh_public_keys=("ssh-ed25519 AAAA",),
        start_script="python train.py",
        environment=(("TOKEN", "s3cret"),),
        ports=(8080,),
        disk_gb=100.0,
    )
    made = await sandbox.launch(order(clock, launch=launch))
    assert (made.power, made.label, made.price_per_hour) == ("booting", "gpubroker-abc-0", Decimal("2.89"))
    assert made.ends_at == clock.now() + timedelta(hours=2)
    machine = world.cloud.machines[made.id]
    assert (machine.image, machine.ssh_keys, machine.disk_gb) == (launch.image, 1, Decimal(100))
    assert machine.launched == {"environment": {"TOKEN": "s3cret"}, "start_script": "python train.py"}
    assert "s3cret" not in world.cloud.dump()
    assert await sandbox.find_by_label("gpubroker-abc-0") == await sandbox.instances() == [made]
    assert await sandbox.find_by_label("gpubroker-abc") == []

    clock.advance(timedelta(minutes=30))
    up = await sandbox.status(made.id)
    assert up is not None
    assert (up.power, up.ssh_host, up.ssh_port) == ("running", "127.0.0.1", world.cloud.ssh_port)
    assert up.started_at == machine.first_ran_at
    assert [port for port, _ in up.ports] == [8080]
    so_far = await sandbox.bill(made.id)
    assert so_far is not None
    assert (so_far.amount, so_far.final) == (machine.amount(clock.now()), False)

    longer = await sandbox.extend(made.id, clock.now() + timedelta(hours=9))
    assert longer is not None
    assert longer.ends_at == clock.now() + timedelta(hours=9)
    await sandbox.stop(made.id)
    halted = await sandbox.status(made.id)
    assert halted is not None
    assert halted.power == "stopped"
    await sandbox.start(made.id)
    clock.advance(timedelta(minutes=10))
    await sandbox.terminate(made.id)
    await sandbox.terminate(made.id)
    gone = await sandbox.status(made.id)
    assert gone is not None
    assert (gone.power, gone.interrupted) == ("gone", False)
    final = await sandbox.bill(made.id)
    assert final is not None
    assert (final.final, final.seconds) == (True, machine.billed_seconds(clock.now()))
    assert await sandbox.instances() == []


async def test_what_the_cloud_does_not_know_is_none_and_ending_it_is_no_error(sandbox: Sandbox) -> None:
    assert await sandbox.status("sb-000009") is None
    assert await sandbox.bill("sb-000009") is None
    assert await sandbox.status("../../_state") is None
    await sandbox.terminate("sb-000009")
    with pytest.raises(OrderRefused):
        await sandbox.stop("sb-000009")


async def test_a_list_of_several_pages_is_read_to_its_end(sandbox: Sandbox, world: SandboxWorld) -> None:
    for number in range(450):
        clock_order = order(ManualClock(), external_id="t4-1", region="us-oregon", label=f"job-{number}")
        await sandbox.launch(clock_order)
    world.requests.clear()
    assert [one.label for one in await sandbox.instances()] == [f"job-{number}" for number in range(450)]
    assert len(world.requests) == 3


async def test_what_the_cloud_ended_itself_is_told_apart(
    sandbox: Sandbox, world: SandboxWorld, clock: ManualClock
) -> None:
    ended = await running(sandbox, clock)
    spot = await running(sandbox, clock, pricing="spot", label="spot")
    world.cloud.interrupt(spot.id)
    clock.advance(timedelta(hours=3))
    for machine in (ended, spot):
        now = await sandbox.status(machine.id)
        assert now is not None
        assert (now.power, now.interrupted) == ("gone", True)


async def test_a_cloud_without_ends_says_so_and_moves_none(clock: ManualClock) -> None:
    sandbox = SandboxWorld(clock, enforce_end=False).adapter()
    assert not await sandbox.end_enforced()
    machine = await running(sandbox, clock)
    assert machine.ends_at is None
    assert await sandbox.extend(machine.id, clock.now() + timedelta(hours=9)) is None
    assert await SandboxWorld(clock).adapter().end_enforced()


@pytest.mark.parametrize(
    ("changed", "kind", "reason"),
    [
        ({"external_id": "h900"}, OrderRefused, "unknown_type"),
        ({"region": "mars"}, OrderRefused, "unknown_region"),
        ({"external_id": "mi300x-8"}, OrderRefused, "not_sold"),
        ({"launch": Launch(image="does-not-exist")}, OrderRefused, "bad_image"),
        ({"price_per_hour": Decimal("2.8")}, OrderRefused, "price_too_high"),
        ({"label": "no label"}, OrderRefused, "bad_request"),
        ({"pricing": "reserved_1y"}, OrderRefused, "bad_request"),
        ({"launch": Launch(ports=(70_000,))}, OrderRefused, "bad_request"),
    ],
)
async def test_what_cannot_be_ordered_is_refused_with_its_reason(
    sandbox: Sandbox, world: SandboxWorld, clock: ManualClock, changed: Any, kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind) as caught:
        await sandbox.launch(order(clock, **changed))
    assert isinstance(caught.value, ProviderFailed)
    assert caught.value.details["reason"] == reason
    assert world.cloud.machines == {}


async def test_nobody_at_the_address_is_a_refusal_to_an_order(
    sandbox: Sandbox, world: SandboxWorld, clock: ManualClock
) -> None:
    world.down = True
    with pytest.raises(ProviderRefused) as caught:
        await sandbox.launch(order(clock))
    assert caught.value.details["reason"] == "unreachable"


LAUNCH_FAULTS: list[tuple[FaultName, Any, type[Exception] | None, int]] = [
    ("latency", 1.0, None, 1),
    ("latency", 60.0, ReplyLost, 1),
    ("lost_reply", None, ReplyLost, 1),
    ("reset", None, ReplyLost, 0),
    ("truncated", None, ReplyLost, 1),
    ("slow_down", None, SlowDown, 0),
    ("slow_down", 7, SlowDown, 0),
    ("server_error", None, ReplyLost, 0),
    ("server_error_after", None, ReplyLost, 1),
    ("duplicate", None, None, 2),
    ("clock_skew", -600, None, 1),
    ("no_id", None, ReplyLost, 1),
    ("wrong_price", 2, None, 1),
    ("ignored_termination", None, None, 1),
    ("vanish", None, None, 0),
    ("refusal", "no_capacity", NoCapacity, 0),
    ("refusal", "quota_exceeded", QuotaExceeded, 0),
    ("refusal", "bad_image", OrderRefused, 0),
    ("refusal", "unauthorized", CredentialsRefused, 0),
]


def test_every_fault_is_tried_on_an_order() -> None:
    assert {name for name, *_ in LAUNCH_FAULTS} == set(FAULTS)


@pytest.mark.parametrize(("name", "value", "kind", "made"), LAUNCH_FAULTS)
async def test_every_fault_of_an_order_becomes_its_error_and_is_found_by_label(
    sandbox: Sandbox,
    world: SandboxWorld,
    clock: ManualClock,
    name: FaultName,
    value: Any,
    kind: type[Exception] | None,
    made: int,
) -> None:
    world.dial.set(name, value, endpoint="launch", times=1)
    if kind is None:
        await sandbox.launch(order(clock))
    else:
        with pytest.raises(kind) as caught:
            await sandbox.launch(order(clock))
        assert type(caught.value) is kind
        if name == "slow_down":
            assert isinstance(caught.value, SlowDown)
            assert caught.value.details.get("retry_after_seconds") == value
    assert len(await sandbox.find_by_label("gpubroker-abc-0")) == made
    assert [path for method, path in world.requests if method == "POST"] == ["/v1/instances"], "asked once"


async def test_answers_that_lie_are_told_as_they_came(
    sandbox: Sandbox, world: SandboxWorld, clock: ManualClock
) -> None:
    world.dial.script("launch", [Fault("wrong_price", 2), Fault("clock_skew", -600)])
    assert (await sandbox.launch(order(clock))).price_per_hour == Decimal("5.78")
    early = await sandbox.launch(order(clock))
    assert early.ends_at == clock.now() + timedelta(hours=2) - timedelta(minutes=10)
    world.dial.set("wrong_price", 3, endpoint="price", times=1)
    assert await sandbox.live_price("h100-1", "eu-frankfurt", "on_demand") == (Decimal("8.67"), "USD")


async def test_a_machine_that_is_not_ended_or_vanishes_is_seen_to(
    sandbox: Sandbox, world: SandboxWorld, clock: ManualClock
) -> None:
    machine = await running(sandbox, clock)
    world.dial.script("terminate", ["ignored_termination"])
    await sandbox.terminate(machine.id)
    still = await sandbox.status(machine.id)
    assert still is not None
    assert still.power == "running"
    world.dial.script("status", ["vanish"])
    assert await sandbox.status(machine.id) is None
    assert await sandbox.instances() == []
    assert await sandbox.bill(machine.id) is None
    other = await running(sandbox, clock, label="other")
    world.dial.script("list", ["vanish"])
    assert await sandbox.instances() == []
    assert await sandbox.status(other.id) is None


WIRE_FAULTS: tuple[FaultName, ...] = ("latency", "lost_reply", "reset", "truncated", "server_error", "slow_down")
READS: tuple[Endpoint, ...] = ("types", "price", "account", "list", "status", "bill")
CHANGES: tuple[Endpoint, ...] = ("terminate", "extend", "stop", "start")


async def called(sandbox: Sandbox, endpoint: Endpoint, machine: Instance, clock: ManualClock) -> Any:
    """One call of the adapter that goes to an endpoint."""
    match endpoint:
        case "types":
            return [offer async for offer in sandbox.offers(SyncReport("sandbox"))]
        case "price":
            return await sandbox.live_price("h100-1", "eu-frankfurt", "on_demand")
        case "account":
            return await sandbox.end_enforced()
        case "list":
            return await sandbox.instances()
        case "extend":
            return await sandbox.extend(machine.id, clock.now() + timedelta(hours=5))
        case "status" | "bill" | "terminate" | "stop" | "start":
            return await getattr(sandbox, endpoint)(machine.id)
        case _:
            raise AssertionError(endpoint)


def test_every_endpoint_is_tried() -> None:
    assert {*READS, *CHANGES, "launch", "*"} == set(ENDPOINTS)


@pytest.mark.parametrize("fault", WIRE_FAULTS)
@pytest.mark.parametrize("endpoint", READS)
async def test_a_question_survives_one_fault_and_fails_clearly_at_many(
    sandbox: Sandbox, world: SandboxWorld, clock: ManualClock, endpoint: Endpoint, fault: FaultName
) -> None:
    machine = await running(sandbox, clock)
    world.dial.set(fault, 3, endpoint=endpoint, times=1)
    assert await called(sandbox, endpoint, machine, clock)
    world.dial.set(fault, 3_600, endpoint=endpoint)
    with pytest.raises(ProviderFailed) as caught:
        await called(sandbox, endpoint, machine, clock)
    assert not isinstance(caught.value, ReplyLost | ProviderRefused)
    assert isinstance(caught.value, SlowDown) is (fault == "slow_down")


@pytest.mark.parametrize("fault", [name for name in WIRE_FAULTS if name != "truncated"])
@pytest.mark.parametrize("endpoint", CHANGES)
async def test_a_change_is_asked_for_once_and_may_be_lost(
    sandbox: Sandbox, world: SandboxWorld, clock: ManualClock, endpoint: Endpoint, fault: FaultName
) -> None:
    machine = await running(sandbox, clock)
    if endpoint == "start":
        await sandbox.stop(machine.id)
    world.requests.clear()
    world.dial.set(fault, 3_600, endpoint=endpoint)
    with pytest.raises(SlowDown if fault == "slow_down" else ReplyLost):
        await called(sandbox, endpoint, machine, clock)
    assert len(world.requests) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {},
        [],
        {"instances": None, "next_cursor": None},
        {"instances": [{}], "next_cursor": None},
        {"instances": [{"id": 7}], "next_cursor": None},
    ],
)
async def test_a_list_in_another_shape_is_an_error_and_no_empty_list(
    world: SandboxWorld, clock: ManualClock, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = world.adapter()

    async def answer(*_asked: Any, **_given: Any) -> Any:
        return broken

    monkeypatch.setattr(sandbox.client, "get_json", answer)
    with pytest.raises(ProviderFailed, match="shape we do not know"):
        await sandbox.instances()
    for ask in (sandbox.end_enforced(), sandbox.bill("x"), sandbox.live_price("a", "b", "spot")):
        with pytest.raises(ProviderFailed, match="shape we do not know"):
            await ask
