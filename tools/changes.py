"""Changes of a running booking that were written down and not finished: a longer lease, a stop, a start.

Each of them may be asked of the provider twice without harm (an end is an absolute time), so an unfinished one is
simply done again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from market import booking_book, journal, usage
from market.bookings import BookingState, InstanceState
from market.errors import BrokerError, ProviderRefused
from tools.work import Work, announce


async def finish(work: Work) -> bool:
    """Take the oldest unfinished change to its end; whether there was one and it is settled now."""
    async with work.store.read() as connection:
        waiting = await journal.unfinished(connection, work.booking.id)
    for entry in waiting:
        if entry.step == "extend":
            return await _extend(work, entry)
        if entry.step in ("stop", "start"):
            return await _power(work, entry)
    return False


async def _extend(work: Work, entry: journal.Entry) -> bool:
    """Move the end: at the provider first where it enforces one, then in our book."""
    ends_at = datetime.fromisoformat(str(entry.intent["ends_at"]).replace("Z", "+00:00"))
    amount = Decimal(str(entry.intent["amount"]))
    try:
        if work.booking.enforces_end:
            for machine in work.live():
                if machine.provider_instance_id is not None:
                    await work.point("extension to be asked for")
                    await work.adapter.extend(machine.provider_instance_id, ends_at)
                    await work.point("extension asked for")
    except ProviderRefused as refusal:
        return await _not_extended(work, entry, amount, refusal.message)
    except BrokerError:
        if work.booking.ends_at > work.now:
            return False  # nobody knows: asked again at the next look
        return await _not_extended(work, entry, amount, "the provider did not answer in time")
    async with work.store.write() as connection:
        await journal.conclude(connection, entry.id, state="done", at=work.now, outcome={"ends_at": ends_at})
        for machine in work.live():
            await booking_book.change_machine(connection, machine.label, provider_ends_at=ends_at)
        await booking_book.change(
            connection, work.booking.id, runner=work.runner, ends_at=ends_at, warned_at=None, next_check_at=None
        )
        await announce(connection, work.booking, "booking.extended", work.now, {"new_end": ends_at})
    await work.point("extension written")
    await work.reload()
    return True


async def _not_extended(work: Work, entry: journal.Entry, amount: Decimal, why: str) -> bool:
    """Give back what was held for it; where some machines were extended already the earlier end stands for us."""
    from market import mandate_book

    booking = work.booking
    async with work.store.write() as connection:
        await booking_book.change(connection, booking.id, runner=work.runner, claimed=booking.claimed - amount)
        await journal.conclude(connection, entry.id, state="refused", at=work.now, outcome={"reason": why})
        await mandate_book.settle(
            connection, booking.mandate_id, claimed=amount, hourly=Decimal(0), instances=0, spent=Decimal(0)
        )
        await announce(connection, booking, "booking.not_extended", work.now, {"reason": why})
    await work.point("extension given up")
    await work.reload()
    return True


async def _power(work: Work, entry: journal.Entry) -> bool:
    """Stop or start every machine; what it cost until then is metered at the price of the state it leaves."""
    stops = entry.step == "stop"
    machine_state: InstanceState = "stopped" if stops else "booting"
    try:
        for machine in work.live():
            if machine.provider_instance_id is not None:
                await work.point(f"{entry.step} to be asked for")
                await (work.adapter.stop if stops else work.adapter.start)(machine.provider_instance_id)
    except ProviderRefused as refusal:
        async with work.store.write() as connection:
            outcome = {"reason": refusal.message}
            await journal.conclude(connection, entry.id, state="refused", at=work.now, outcome=outcome)
        await work.reload()
        return True
    except BrokerError:
        return False
    to: BookingState = "stopped" if stops else "active"
    async with work.store.write() as connection:
        for machine in work.live():
            await usage.meter(connection, work.booking, machine, work.now)
            await booking_book.change_machine(connection, machine.label, state=machine_state)
        await journal.conclude(connection, entry.id, state="done", at=work.now)
        booted_by = None if stops else work.now + timedelta(seconds=work.adapter.boot_seconds)
        if work.booking.state != to:
            await work.move(connection, to, settle_until=booted_by)
    await work.point(f"{entry.step} written")
    await work.reload()
    return True
