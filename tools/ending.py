"""Giving machines back: end each, see with the provider's own eyes that it is gone, then settle the account.

A machine that will not go makes its booking `stuck`: that is told at once, and tried again until it is gone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from market import booking_book, journal, usage
from market.bookings import Booking, Machine
from market.errors import BrokerError
from market.money import in_usd
from tools.work import Work, began, log

if TYPE_CHECKING:
    from market.instances import Bill, Instance

END_AGAIN_SECONDS = 2.0
STUCK_AGAIN_SECONDS = 30.0
CENT = Decimal("0.01")


async def step(work: Work) -> bool:
    """The next thing to do for a booking that is being ended, or is stuck; False when only time helps."""
    for machine in work.live():
        if not await _ended(work, machine):
            return await _waited(work)
    booking = work.booking
    return await close(work, booking.closes_as or "terminated", booking.reason or "")


async def _ended(work: Work, machine: Machine) -> bool:
    """Whether the machine is gone now; its order is looked for first when nobody knows what came of it."""
    if machine.state == "planned":
        return await _never_was(work, machine)
    try:
        if machine.provider_instance_id is None:
            return await _found_and_ended(work, machine)
        seen = await _terminated(work, machine, machine.provider_instance_id)
    except BrokerError as problem:
        log.warning("booking %s: %s cannot be ended yet: %s", work.booking.id, machine.label, problem)
        return False
    if seen is not None and seen.power != "gone":
        return False
    await _gone(work, machine)
    return True


async def _terminated(work: Work, machine: Machine, instance_id: str) -> Instance | None:
    """Ask for its end, and what the provider says of it afterwards. Asking twice does no harm."""
    seen = await work.adapter.status(instance_id)
    if seen is None or seen.power == "gone":
        return seen
    if seen.power != "ending":
        async with work.store.write() as connection:
            entry = await journal.intend(
                connection,
                booking_id=work.booking.id,
                step="terminate",
                label=machine.label,
                at=work.now,
                intent={"instance_id": instance_id},
            )
            if machine.state != "terminating":
                # What it cost so far at the price of the state it leaves.
                await usage.meter(connection, work.booking, machine, work.now)
                await booking_book.change_machine(connection, machine.label, state="terminating")
        await work.point("end intended")
        await work.adapter.terminate(instance_id)
        await work.point("end asked for")
        async with work.store.write() as connection:
            await journal.conclude(connection, entry, state="done", at=work.now)
    return await work.adapter.status(instance_id)


async def _found_and_ended(work: Work, machine: Machine) -> bool:
    """An order whose answer is missing: what is found under its label is ours from now on, so that its cost is too."""
    found = [one for one in await work.adapter.find_by_label(machine.label) if one.power != "gone"]
    if found:
        async with work.store.write() as connection:
            for entry in await journal.unfinished(connection, work.booking.id):
                if entry.step == "launch" and entry.label == machine.label:
                    outcome = {"instance_id": found[0].id}
                    await journal.conclude(connection, entry.id, state="done", at=work.now, outcome=outcome)
            await booking_book.change_machine(
                connection,
                machine.label,
                state="booting",
                provider_instance_id=found[0].id,
                started_at=began(found[0], machine, work.now),
                provider_ends_at=found[0].ends_at,
                last_seen_at=work.now,
            )
        await work.point("found to be ended")
        for extra in found[1:]:
            await work.adapter.terminate(extra.id)
        await work.reload()
        return await _ended(work, next(one for one in work.live() if one.label == machine.label))
    if work.now < (work.booking.settle_until or work.now):
        return False
    await work.point("nothing found")
    return await _never_was(work, machine)


async def _never_was(work: Work, machine: Machine) -> bool:
    async with work.store.write() as connection:
        for entry in await journal.unfinished(connection, work.booking.id):
            if entry.label == machine.label:
                await journal.conclude(connection, entry.id, state="unknown", at=work.now, outcome={"found": 0})
        await booking_book.change_machine(connection, machine.label, state="failed", ended_at=work.now)
    await work.reload()
    return True


async def _gone(work: Work, machine: Machine) -> None:
    ended = min(work.now, machine.provider_ends_at or work.now)
    async with work.store.write() as connection:
        fresh = next(one for one in (await _again(work)).machines if one.label == machine.label)
        await usage.meter(connection, work.booking, fresh, max(ended, fresh.metered_until or ended))
        for entry in await journal.unfinished(connection, work.booking.id):
            if entry.label == machine.label:
                await journal.conclude(connection, entry.id, state="done", at=work.now, outcome={"gone": True})
        await booking_book.change_machine(connection, machine.label, state="gone", ended_at=ended)
    await work.point("gone")
    await work.reload()


async def _again(work: Work) -> Booking:
    return await work.reload()


async def _waited(work: Work) -> bool:
    """Look again soon; a machine that has outlived all patience is reported."""
    booking = work.booking
    if booking.state == "stuck":
        return await work.wait(STUCK_AGAIN_SECONDS)
    if booking.settle_until is not None and work.now < booking.settle_until:
        return await work.wait(END_AGAIN_SECONDS)
    left = [machine.provider_instance_id or machine.label for machine in work.live()]
    async with work.store.write() as connection:
        reason = f"could not be ended: {', '.join(left)} may still cost money at {booking.provider}"
        await work.move(connection, "stuck", reason)
    log.error("booking %s is stuck: %s", booking.id, reason)
    await work.reload()
    return await work.wait(STUCK_AGAIN_SECONDS)


async def close(work: Work, closes_as: str, reason: str) -> bool:
    """Settle the account and end the booking: bills, minimum rentals, the mandate's claim, the secrets."""
    booking = work.booking
    bills = {machine.label: await _bill(work, machine) for machine in booking.machines if machine.provider_instance_id}
    from market import mandate_book

    async with work.store.write() as connection:
        # First of all: whoever was succeeded meanwhile settles nothing.
        await booking_book.change(connection, booking.id, runner=work.runner, next_check_at=None)
        metered = await usage.total(connection, booking.id)
        metered += await _minimum(work, booking, connection)
        owed = charged(list(bills.values())) if bills else Decimal(0)
        for label, bill in bills.items():
            if bill is not None:
                await booking_book.change_machine(connection, label, bill=bill.amount)
        final = metered if owed is None else owed
        if owed is not None and owed != metered:
            last = next(label for label in bills)
            note = "difference to the provider's bill"
            await usage.adjust(connection, booking, last, "adjustment", owed - metered, work.now, note)
        await mandate_book.settle(
            connection,
            booking.mandate_id,
            claimed=booking.claimed,
            hourly=booking.hourly_claimed,
            instances=booking.instance_count,
            spent=final,
        )
        await booking_book.erase_launch(connection, booking.id)
        await work.move(
            connection,
            closes_as,  # type: ignore[arg-type]
            reason,
            final_cost=final,
            provider_cost=owed if bills else None,
            cost_note=explained(metered, owed, bills),
            claimed=Decimal(0),
            hourly_claimed=Decimal(0),
            ended_at=max((one.ended_at for one in booking.machines if one.ended_at), default=work.now),
        )
    await work.point("closed")
    await work.reload()
    return True


async def _bill(work: Work, machine: Machine) -> Bill | None:
    try:
        return await work.adapter.bill(machine.provider_instance_id or "")
    except BrokerError:
        return None


async def _minimum(work: Work, booking: Booking, connection: object) -> Decimal:
    """What the provider charges though the machine ended earlier."""
    minutes = booking.plan[0].get("min_rental_minutes") if booking.plan else None
    added = Decimal(0)
    for machine in booking.machines:
        if not minutes or machine.started_at is None or machine.ended_at is None:
            continue
        short = timedelta(minutes=int(minutes)) - (machine.ended_at - machine.started_at)
        if short > timedelta(0):
            amount = usage.cost(booking.price_per_hour_usd, short)
            note = f"minimum rental of {minutes} minutes"
            added += await usage.adjust(
                connection,  # type: ignore[arg-type]
                booking,
                machine.label,
                "minimum",
                amount,
                machine.ended_at,
                note,
            )
    return added


def charged(bills: list[Bill | None]) -> Decimal | None:
    """The provider's own total in US dollars; None when one bill is missing, not final, or in no known currency."""
    total = Decimal(0)
    for bill in bills:
        converted = in_usd(bill.amount, bill.currency) if bill is not None and bill.final else None
        if converted is None:
            return None
        total += converted[0]
    return total


def explained(metered: Decimal, charged: Decimal | None, bills: dict[str, Bill | None]) -> str:
    """Why the provider's figure and ours differ, in words."""
    if not bills:
        return "Nothing was made, nothing is owed."
    if charged is None:
        return "By our own count of seconds: the provider has not stated a final figure."
    difference = charged - metered
    if abs(difference) < CENT:
        return "The provider's figure, equal to our count of seconds within a cent."
    seconds = [bill.seconds for bill in bills.values() if bill is not None and bill.seconds is not None]
    counted = f" It counted {sum(seconds):,.0f} seconds." if seconds else ""
    way = "more" if difference > 0 else "less"
    return f"The provider's figure, {abs(difference):f} USD {way} than our count of seconds.{counted}"


def overdue(booking: Booking, now: datetime) -> bool:
    """Whether its time is over."""
    return booking.ends_at <= now
