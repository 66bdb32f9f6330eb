"""Getting the machines of a booking: ask once, write down what came of it, look before ever asking again.

No provider takes an idempotency key that can be relied on. So an order whose answer was lost is never repeated: we
look for our label until the provider's list must show it (`settle_seconds`), take what is there, and give back what is
there twice. Only what a provider has clearly refused may be tried elsewhere.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from market import booking_book, journal
from market.bookings import Machine, label_of
from market.errors import BrokerError, NoCapacity, ProviderRefused, SlowDown
from tools import authority, ending
from tools.orders import of_leg, read_launch
from tools.work import Work, access_of, announce, began, log, price_in_usd

if TYPE_CHECKING:
    from market.instances import Instance, Launch, Order

LOOK_AGAIN_SECONDS = 1.0
LOOKING_PATIENCE_SECONDS = 15.0
"""How much longer than it should take we keep looking while the provider does not answer."""
MOST_SLOW_DOWNS = 3


async def step(work: Work) -> bool:
    """The next thing to do for a booking whose machines are not all there; False when only time helps."""
    if work.booking.state == "pending" and len(work.live()) < work.booking.instance_count:
        return await _given_up(work)
    machine = next((one for one in work.booking.machines if one.state in ("planned", "launching")), None)
    if machine is None:
        return await _all_made(work)
    if machine.state == "launching":
        return await look(work, machine)
    if work.booking.ends_at <= work.now:
        return await _nothing_made(work, machine, "its time was over before it was started")
    try:
        enforces_end = await authority.ends_for_certain(work.market, work.adapter)
    except BrokerError as problem:
        return await _nothing_made(work, machine, problem.message)
    return await _order(work, machine, enforces_end=enforces_end)


async def _all_made(work: Work) -> bool:
    if work.booking.state == "pending":
        async with work.store.write() as connection:
            await work.move(connection, "provisioning")
        await work.reload()
    return True


async def _order(work: Work, machine: Machine, *, enforces_end: bool) -> bool:
    from market import audit

    order = await _as_order(work, machine)
    booking = work.booking
    async with work.store.write() as connection:
        entry = await journal.intend(
            connection,
            booking_id=booking.id,
            step="launch",
            label=machine.label,
            attempt=booking.attempts + 1,
            at=work.now,
            intent={"offer_id": booking.offer_id, "price_per_hour": booking.price_per_hour, "ends_at": order.ends_at},
        )
        await booking_book.change_machine(connection, machine.label, state="launching", created_at=work.now)
        settle_until = work.now + timedelta(seconds=work.adapter.timeout_seconds + work.adapter.settle_seconds)
        await booking_book.change(
            connection,
            booking.id,
            runner=work.runner,
            attempts=booking.attempts + 1,
            enforces_end=enforces_end,
            settle_until=settle_until,
            next_check_at=work.now + timedelta(seconds=LOOK_AGAIN_SECONDS),
        )
    await audit.anchor(work.market.settings, work.store)
    await work.point("launch intended")
    # Whoever slept here for longer than the hold has been succeeded by somebody who looked and found nothing.
    await booking_book.refuse_lost(work.store, booking.id, work.runner, now=work.now)
    try:
        instance = await work.adapter.launch(order)
    except (ProviderRefused, SlowDown) as refusal:
        await work.point("launch refused")
        return await _refused(work, machine, entry, refusal)
    except (BrokerError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as problem:
        # An answer nobody can read is as good as none: the machine may be there.
        log.warning("booking %s: the order's answer is lost (%s)", booking.id, type(problem).__name__)
        await work.point("launch answer lost")
        return await _lost(work)
    await work.point("launched")
    if not instance.id:
        return await _lost(work)
    return await _made(work, machine, instance)


async def _as_order(work: Work, machine: Machine) -> Order:
    from market.instances import Order

    booking = work.booking
    return Order(
        label=machine.label,
        external_id=booking.external_id,
        region=booking.region,
        pricing=booking.pricing,  # type: ignore[arg-type]
        price_per_hour=booking.price_per_hour,
        currency=booking.currency,
        ends_at=booking.ends_at,
        launch=await _launch_of(work),
    )


async def _launch_of(work: Work) -> Launch:
    from market.sealing import Sealer

    sealed = await booking_book.sealed_launch(work.store, work.booking.id)
    return read_launch(Sealer.of(work.market.settings).decrypt(sealed or ""))


async def _made(work: Work, machine: Machine, instance: Instance) -> bool:
    """A machine is there and ours. One that is dearer than was agreed is given back at once."""
    booking, now = work.booking, work.now
    usd = price_in_usd(instance)
    dearer = usd is not None and usd > booking.price_per_hour_usd
    async with work.store.write() as connection:
        for entry in await journal.unfinished(connection, booking.id):
            if entry.label != machine.label:
                continue
            # What else is open is a duplicate's end that nobody finished; whoever has just looked has ended it anew.
            outcome = {"instance_id": instance.id, "price_per_hour_usd": usd} if entry.step == "launch" else {}
            state: journal.Ended = "done" if entry.step == "launch" else "unknown"
            await journal.conclude(connection, entry.id, state=state, at=now, outcome=outcome)
        await booking_book.change_machine(
            connection,
            machine.label,
            state="booting",
            provider_instance_id=instance.id,
            access=access_of(instance),
            started_at=began(instance, machine, now),
            provider_ends_at=instance.ends_at,
            last_seen_at=now,
        )
        await booking_book.change(connection, booking.id, runner=work.runner, settle_until=None)
        if dearer:
            # In this transaction: who goes on after a crash must not keep it.
            said = f"the provider charges {usd:f} USD an hour where {booking.price_per_hour_usd:f} was agreed"
            await work.begin_end(connection, said, "compensated")
    await work.point("launch written")
    await work.reload()
    return True


async def _lost(work: Work) -> bool:
    """Nobody knows whether there is a machine: from now on we look."""
    until = work.now + timedelta(seconds=work.adapter.settle_seconds)
    async with work.store.write() as connection:
        await booking_book.change(connection, work.booking.id, runner=work.runner, settle_until=until)
    booking = await work.reload()
    machine = next(one for one in booking.machines if one.state == "launching")
    return await look(work, machine)


async def look(work: Work, machine: Machine) -> bool:
    """Find the machine of an order whose answer is missing, by its label."""
    until = work.booking.settle_until or work.now
    try:
        found = sorted(await work.adapter.find_by_label(machine.label), key=lambda one: (one.power == "gone", one.id))
    except BrokerError as problem:
        if work.now < until + timedelta(seconds=LOOKING_PATIENCE_SECONDS):
            return await work.wait(LOOK_AGAIN_SECONDS)
        return await _cannot_tell(work, str(problem))
    here = [one for one in found if one.power != "gone"]
    await work.point("looked")
    if here:
        for extra in here[1:]:
            await _give_back(work, machine, extra)
        return await _made(work, machine, here[0])
    if work.now < until:
        return await work.wait(LOOK_AGAIN_SECONDS)
    return await _nothing_made(work, machine, "the order's answer was lost and no machine was made")


async def _give_back(work: Work, machine: Machine, extra: Instance) -> None:
    """A second machine for one order; the sweep for strays finds it again if this fails."""
    async with work.store.write() as connection:
        entry = await journal.intend(
            connection,
            booking_id=work.booking.id,
            step="terminate",
            label=machine.label,
            at=work.now,
            intent={"instance_id": extra.id, "why": "two machines for one order"},
        )
    await work.point("duplicate to be ended")
    state: journal.Ended = "done"
    try:
        await work.adapter.terminate(extra.id)
    except BrokerError:
        state = "unknown"
    async with work.store.write() as connection:
        await journal.conclude(connection, entry, state=state, at=work.now)
        facts = {"instance_id": extra.id, "ended": state == "done"}
        await announce(connection, work.booking, "booking.duplicate", work.now, facts)


async def _cannot_tell(work: Work, why: str) -> bool:
    async with work.store.write() as connection:
        reason = f"cannot tell whether a machine was made: {why}"
        await work.move(connection, "stuck", reason, closes_as="compensated")
    await work.reload()
    return await work.wait(ending.STUCK_AGAIN_SECONDS)


async def _refused(work: Work, machine: Machine, entry: int, refusal: BrokerError) -> bool:
    """The provider said no: nothing was made, so another offer may be tried."""
    async with work.store.write() as connection:
        outcome = {"error": type(refusal).__name__, "message": refusal.message}
        await journal.conclude(connection, entry, state="refused", at=work.now, outcome=outcome)
    if isinstance(refusal, SlowDown) and work.booking.attempts < MOST_SLOW_DOWNS:
        seconds = refusal.details.get("retry_after_seconds")
        async with work.store.write() as connection:
            await booking_book.change_machine(connection, machine.label, state="planned")
        return await work.wait(min(float(seconds), 10.0) if isinstance(seconds, int | float) else 2.0)
    if isinstance(refusal, NoCapacity):
        await _note_refusal(work, refusal)
    return await _nothing_made(work, machine, refusal.message)


async def _note_refusal(work: Work, refusal: BrokerError) -> None:
    """Listed and not to be had: the ranking hears of it."""
    from market import availability

    booking = work.booking
    async with work.store.write() as connection:
        await availability.refused(
            connection,
            offer_id=booking.offer_id,
            provider=booking.provider,
            region=booking.region,
            gpu=booking.gpu,
            reason=type(refusal).__name__,
            at=work.now,
        )
    work.market.look_again()


async def _nothing_made(work: Work, machine: Machine, reason: str) -> bool:
    """One machine cannot be had; the next step finds a purchase that is short of it, whoever takes that step."""
    async with work.store.write() as connection:
        for entry in await journal.unfinished(connection, work.booking.id):
            if entry.step == "launch" and entry.label == machine.label:
                outcome = {"found": 0, "reason": reason}
                await journal.conclude(connection, entry.id, state="unknown", at=work.now, outcome=outcome)
        await booking_book.change_machine(connection, machine.label, state="failed", reason=reason, ended_at=work.now)
    await work.point("machine failed")
    await work.reload()
    return True


async def _given_up(work: Work) -> bool:
    """A purchase that is short of a machine: the next offer of the plan, or all of it is given back."""
    booking = work.booking
    short = max((one for one in booking.machines if one.state == "failed"), key=lambda one: one.ordinal, default=None)
    reason = (short.reason if short else None) or "a machine could not be had"
    if any(one.state != "planned" for one in work.live()):
        return await work.end(f"not all machines could be had: {reason}", "compensated")
    if len(booking.plan) > 1 and work.now < booking.ends_at:
        return await _next_leg(work, reason)
    return await ending.close(work, "failed", reason)


async def _next_leg(work: Work, reason: str) -> bool:
    """The next offer of the plan, within what the mandate already holds."""
    booking = work.booking
    plan = booking.plan[1:]
    leg = plan[0]
    ordinal = max(one.ordinal for one in booking.machines)
    fresh = [
        Machine(
            label=label_of(booking.id, ordinal + number),
            booking_id=booking.id,
            ordinal=ordinal + number,
            state="planned",
            created_at=work.now,
        )
        for number in range(1, booking.instance_count + 1)
    ]
    async with work.store.write() as connection:
        for one in work.live():
            await booking_book.change_machine(connection, one.label, state="failed", reason=reason, ended_at=work.now)
        await booking_book.add_machines(connection, fresh)
        await booking_book.change(
            connection, booking.id, runner=work.runner, plan=plan, settle_until=None, **of_leg(leg)
        )
        facts = {"instead_of": booking.offer_id, "offer": leg["offer_id"], "reason": reason}
        await announce(connection, booking, "booking.failover", work.now, facts)
    await work.point("next offer chosen")
    await work.reload()
    return True
