"""What must hold after whatever was killed: machines, money, states and secrets, in our book and at the cloud."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import func, select

from market import booking_book, mandate_register, strays
from market.audit_verification import verify
from market.bookings import Booking
from market.context import Market
from market.procurement_tables import idempotency, journal, launch_secrets, usage_ledger
from market.store import Store
from tests.faults.cloud import WatchedCloud, booking_of
from tests.faults.worker import Call

MANDATE = "mandate-sandbox"
_EVERYTHING = 1_000_000
_RESTING = {"active": {"running"}, "stopped": {"stopped"}}
_GONE = {"gone", "failed"}


@dataclass(frozen=True, slots=True)
class Books:
    """Everything the database says, read at once."""

    bookings: Sequence[Booking]
    ledger: Mapping[str, Decimal]
    unfinished: Mapping[str, int]
    extensions: Mapping[str, int]
    keys: Mapping[str, str]
    """Booking by idempotency key."""
    secrets: frozenset[str]
    """Bookings whose launch is still kept."""


async def books(store: Store) -> Books:
    """Read the books."""
    bookings = await booking_book.of_caller(store, None, limit=_EVERYTHING)
    async with store.read() as connection:
        by_booking = usage_ledger.c.booking_id
        sums = select(by_booking, func.sum(usage_ledger.c.amount)).group_by(by_booking)
        ledger = {row[0]: row[1] for row in await connection.execute(sums)}
        open_steps = select(journal.c.booking_id).where(journal.c.state == "intended")
        unfinished = Counter((await connection.execute(open_steps)).scalars())
        extensions = Counter(
            (await connection.execute(select(journal.c.booking_id).where(journal.c.step == "extend"))).scalars()
        )
        named = select(idempotency.c.key, idempotency.c.subject)
        keys = {row[0]: row[1] for row in await connection.execute(named)}
        secrets = frozenset((await connection.execute(select(launch_secrets.c.booking_id))).scalars())
    return Books(bookings, ledger, unfinished, extensions, keys, secrets)


def unsettled(found: Books) -> dict[str, str]:
    """The bookings that are neither over, nor stuck, nor at rest with nothing left to do; how each of them stands."""
    return {
        one.id: f"{one.id} is {one.state}, {', '.join(f'{each.label[-2:]} {each.state}' for each in one.machines)}, "
        f"{found.unfinished.get(one.id, 0)} steps open, next look at {one.next_check_at}, held until "
        f"{one.runner_until}, settles at {one.settle_until}, {one.reason}"
        for one in found.bookings
        if not _settled(one, found.unfinished)
    }


def _settled(booking: Booking, unfinished: Mapping[str, int]) -> bool:
    if booking.is_final or booking.state == "stuck":
        return True
    states = {machine.state for machine in booking.machines} - _GONE
    return states == _RESTING.get(booking.state) and not unfinished.get(booking.id)


async def violations(market: Market, cloud: WatchedCloud, calls: Sequence[Call]) -> list[str]:
    """Everything that is wrong, in words; nothing when all holds."""
    store = await market.store()
    found = await books(store)
    reported = {one.provider_instance_id for one in await strays.unresolved(store)}
    return [
        *_double_launches(found, cloud),
        *_machines_without_owner(found, cloud, reported),
        *_not_as_bought(found, cloud, {call.arguments.get("booking_id") for call in calls if call.scenario == "scale"}),
        *await _money(market, found, cloud),
        *_twice_for_one_key(found, calls),
        *(f"secrets of the ended booking {one.id} are kept" for one in found.bookings if _keeps(one, found)),
        *await _audit(market),
    ]


def _keeps(booking: Booking, found: Books) -> bool:
    return booking.is_final and booking.id in found.secrets


def _double_launches(found: Books, cloud: WatchedCloud) -> Iterator[str]:
    taken = Counter(one.label for one in cloud.taken)
    yield from (f"{count} orders were accepted for {label}" for label, count in taken.items() if count > 1)
    twice = Counter(booking_of(one.label) for one in cloud.taken if one.twice)
    alive = Counter(booking_of(one.label) for one in cloud.alive())
    for booking in found.bookings:
        if alive[booking.id] > booking.instance_count:
            yield f"{alive[booking.id]} machines of {booking.id} are alive, {booking.instance_count} were bought"
        if cloud.most_alive.get(booking.id, 0) > booking.instance_count + twice[booking.id]:
            yield f"{cloud.most_alive[booking.id]} machines of {booking.id} were alive at once"


def _machines_without_owner(found: Books, cloud: WatchedCloud, reported: set[str]) -> Iterator[str]:
    owned = {
        machine.provider_instance_id
        for booking in found.bookings
        if not booking.is_final
        for machine in booking.machines
        if machine.state not in _GONE
    }
    lost_orders = {
        machine.label for booking in found.bookings if booking.state == "stuck" for machine in booking.machines
    }
    for machine in cloud.alive():
        if machine.id not in owned | reported and machine.label not in lost_orders:
            yield f"machine {machine.id} ({machine.label}) is alive, owned by no open booking and not reported"
    alive = {machine.id for machine in cloud.alive()}
    for booking in found.bookings:
        for known in booking.machines if booking.state == "active" else ():
            if known.state == "running" and known.provider_instance_id not in alive:
                yield f"{known.label} is running in our book and gone at the cloud"


def _not_as_bought(found: Books, cloud: WatchedCloud, grown: set[object]) -> Iterator[str]:
    """An active booking has all its machines, at the price agreed, and the cloud ends them when our book says."""
    for booking in found.bookings:
        if booking.state != "active":
            continue
        machines = [cloud.machines[str(one.provider_instance_id)] for one in booking.machines if one.state == "running"]
        if len(machines) < booking.instance_count and booking.id not in grown:
            yield f"{booking.id} is active with {len(machines)} of {booking.instance_count} machines"
        if any(one.price_per_hour > booking.price_per_hour for one in machines):
            yield f"{booking.id} goes on with a machine dearer than agreed"
        if any(one.ends_at != booking.ends_at for one in machines):
            yield f"{booking.id} ends at {booking.ends_at} in our book, at another time at the cloud"


async def _money(market: Market, found: Books, cloud: WatchedCloud) -> list[str]:
    standing = (await mandate_register.entry(await market.store(), market.settings, MANDATE)).standing
    finals = sum((one.final_cost or Decimal(0) for one in found.bookings if one.is_final), Decimal(0))
    claims = sum((one.claimed for one in found.bookings), Decimal(0))
    running = sum(one.instance_count for one in found.bookings if not one.is_final)
    wrong = []
    if standing.spent + standing.overrun != finals:
        wrong.append(f"the mandate has spent {standing.spent + standing.overrun}, the bookings cost {finals}")
    if standing.committed != claims:
        wrong.append(f"the mandate holds {standing.committed}, the open bookings claim {claims}")
    if standing.running != running:
        wrong.append(f"the mandate counts {standing.running} machines, the open bookings have {running}")
    if standing.overrun:
        wrong.append(f"{standing.overrun} was spent beyond what was held")
    if standing.spent + standing.committed > standing.budget:
        wrong.append("the budget is exceeded")
    for booking in found.bookings:
        counted = found.ledger.get(booking.id, Decimal(0))
        said = booking.final_cost if booking.is_final else booking.spent
        if counted != said:
            wrong.append(f"the ledger of {booking.id} ({booking.state}) says {counted}, the booking {said}")
        machines = {one.provider_instance_id for one in booking.machines if one.provider_instance_id}
        if booking.provider_cost is not None and booking.currency == "USD" and machines:
            charged = cloud.charged({each for each in machines if each})
            if charged != booking.final_cost:
                wrong.append(f"{booking.id} cost {booking.final_cost}, the cloud charges {charged} for its machines")
    return wrong


def _twice_for_one_key(found: Books, calls: Sequence[Call]) -> Iterator[str]:
    quotes = Counter(booking.quote_id for booking in found.bookings)
    yield from (f"{count} bookings of {quote}" for quote, count in quotes.items() if count > 1)
    by_id = {booking.id: booking for booking in found.bookings}
    for call in calls:
        booking_id = found.keys.get(call.key)
        if booking_id is None:
            continue
        booking = by_id.get(booking_id)
        if booking is None:
            yield f"the key {call.key} names a booking that is not there"
        elif call.scenario == "extend" and found.extensions.get(booking_id, 0) > 1:
            yield f"{booking_id} was made longer {found.extensions[booking_id]} times under one key"
        elif call.scenario == "scale" and len(booking.machines) > 2:
            yield f"{booking_id} grew to {len(booking.machines)} machines under one key"
        elif "quote_id" in call.arguments and booking.quote_id != call.arguments["quote_id"]:
            yield f"the key {call.key} bought another quote"


async def audit_entries(market: Market) -> int:
    """How many entries the audit chain has."""
    return (await verify(await market.store(), market.settings)).entries


async def _audit(market: Market) -> list[str]:
    checked = await verify(await market.store(), market.settings)
    return [f"audit: {problem.message}" for problem in checked.problems]
