"""Minding the machines of a booking while they boot and run: are they there, what have they cost, is it time to end."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from market import booking_book, journal, usage
from market.bookings import Machine
from market.errors import BrokerError
from tools import changes
from tools.work import Work, access_of, announce, began

if TYPE_CHECKING:
    from market.instances import Instance

SOON_AGAIN_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 30.0
WARN_BEFORE = timedelta(minutes=10)


async def step(work: Work) -> bool:
    """The next thing to do for a booking that boots, runs or is stopped; False when only time helps."""
    booking = work.booking
    if await changes.finish(work):
        return True
    closes_as = "terminated" if booking.started_at else "compensated"
    if vanished := next((one for one in booking.machines if one.state == "gone"), None):
        return await work.end(vanished.reason or "a machine is gone", closes_as)
    if booking.ends_at <= work.now:
        return await work.end("its time is over")
    for machine in work.live():
        if machine.state in ("planned", "launching"):
            continue
        problem = await _seen(work, machine)
        if problem:
            return await work.end(problem, closes_as)
    await work.reload()
    if booking.state == "provisioning" and all(one.state == "running" for one in work.live()):
        return await _active(work)
    return await _waited(work)


async def _active(work: Work) -> bool:
    started = min(one.started_at for one in work.live() if one.started_at)
    async with work.store.write() as connection:
        await work.move(connection, "active", started_at=started)
    await work.point("active")
    await work.reload()
    return True


async def _seen(work: Work, machine: Machine) -> str | None:
    """Look at one machine and write down what is seen; why the booking has to end, if it has."""
    assert machine.provider_instance_id is not None  # noqa: S101 - only planned and lost orders have none
    try:
        seen = await work.adapter.status(machine.provider_instance_id)
    except BrokerError:
        return None  # the provider is silent: nothing is known, so nothing is concluded
    now, since = work.now, machine.started_at or machine.created_at
    if seen is None:
        young = now - machine.created_at < timedelta(seconds=work.adapter.settle_seconds)
        return None if young and machine.state == "booting" else await _vanished(work, machine, None)
    if seen.power == "gone":
        return await _vanished(work, machine, seen)
    if seen.power == "failed":
        return "a machine failed to start"
    patience = max(since + timedelta(seconds=work.adapter.boot_seconds), work.booking.settle_until or since)
    if seen.power == "booting" and now > patience:
        return f"a machine was not up after {work.adapter.boot_seconds / 60:g} minutes"
    await _noted(work, machine, seen)
    return None


async def _vanished(work: Work, machine: Machine, seen: Instance | None) -> str:
    """A machine that is gone without our doing: a spot machine taken back, or an end the provider enforced."""
    now = work.now
    ended = min(now, (seen.ends_at if seen is not None and seen.ends_at is not None else now))
    reason = "the provider took a machine back" if seen is not None and seen.interrupted else "a machine is gone"
    if work.booking.ends_at <= now:
        reason = "its time is over"
    async with work.store.write() as connection:
        await usage.meter(connection, work.booking, machine, ended)
        await booking_book.change_machine(
            connection, machine.label, state="gone", reason=reason, ended_at=ended, last_seen_at=now
        )
        facts = {"label": machine.label, "interrupted": seen.interrupted if seen is not None else None}
        await announce(connection, work.booking, "booking.machine_gone", now, facts)
    await work.point("machine gone")
    await work.reload()
    return reason


async def _noted(work: Work, machine: Machine, seen: Instance) -> None:
    states = {"running": "running", "stopped": "stopped", "booting": "booting"}
    state = states.get(seen.power, machine.state)
    if machine.state == "running" and state == "booting":
        state = "running"
    async with work.store.write() as connection:
        fresh = work.booking.machines
        current = next(one for one in fresh if one.label == machine.label)
        if work.booking.started_at is not None:
            await usage.meter(connection, work.booking, current, work.now)
        await booking_book.change_machine(
            connection,
            machine.label,
            state=state,
            access=access_of(seen) or machine.access,
            started_at=machine.started_at or began(seen, machine, work.now),
            provider_ends_at=seen.ends_at,
            last_seen_at=work.now,
        )


async def _waited(work: Work) -> bool:
    """Warn before the end, end what has used up what was held for it, else look again."""
    booking, now = work.booking, work.now
    if booking.spent >= booking.claimed > 0:
        return await work.end("it has used up what the mandate holds for it")
    async with work.store.read() as connection:
        unfinished = await journal.unfinished(connection, booking.id)
    if unfinished or booking.state == "provisioning" or any(one.state == "booting" for one in work.live()):
        return await work.wait(SOON_AGAIN_SECONDS)
    left = booking.ends_at - now
    if left <= WARN_BEFORE and booking.warned_at is None:
        async with work.store.write() as connection:
            await booking_book.change(connection, booking.id, runner=work.runner, warned_at=now)
            await announce(connection, booking, "booking.warning", now, {"minutes_left": left / timedelta(minutes=1)})
        await work.reload()
    return await work.wait(min(LOOK_AGAIN_SECONDS, max(0.0, left.total_seconds())))
