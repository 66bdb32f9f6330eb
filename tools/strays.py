"""The search for strays: what runs at a provider under our name against what our book knows, both ways.

A machine of ours that no open booking owns is ended: it is a late answer to an order that was given up, or the second
machine of one order. One whose label our book has never seen may belong to another GPUBroker on the same account: it
is reported and left alone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from market.bookings import LABEL_PREFIX
from market.context import Market
from market.errors import BrokerError

if TYPE_CHECKING:
    from adapters.base import Adapter
    from market.instances import Instance
    from market.store import Store
    from market.strays import Known

log = logging.getLogger("gpubroker.bookings")

_LIVE = frozenset({"launching", "booting", "running", "stopped", "terminating"})


async def search(market: Market) -> int:
    """Compare every provider we have booked at with our book; how many strays there are now."""
    from market import strays
    from tools.providers import provider

    store = await market.store()
    found = 0
    for name in await strays.providers_used(store):
        try:
            adapter = provider(market, name)
            there = [one for one in await adapter.instances() if one.power not in ("gone", "ending")]
        except BrokerError as problem:
            log.info("strays at %s cannot be looked for now: %s", name, problem)
            continue
        found += await _compared(market, store, adapter, there)
    return found


async def _compared(market: Market, store: Store, adapter: Adapter, there: list[Instance]) -> int:
    from market import strays

    known = await strays.known_machines(store, adapter.name)
    strange: set[str] = set()
    for one in there:
        if not one.label.startswith(LABEL_PREFIX):
            continue
        machine = known.get(one.label)
        if machine is None or not _owned(machine, one):
            strange.add(one.id)
            await _orphan(market, store, adapter, one, machine)
    ids = {one.id for one in there}
    for machine in known.values():
        lost = machine.state in ("booting", "running", "stopped") and machine.provider_instance_id not in ids
        if lost and machine.provider_instance_id is not None:
            strange.add(machine.provider_instance_id)
            await _ghost(market, store, adapter.name, machine)
    async with store.write() as connection:
        await strays.resolve(connection, adapter.name, strange, market.clock.now())
    return len(strange)


def _owned(machine: Known, seen: Instance) -> bool:
    """Whether an open booking has this very machine, or its order is still without an answer."""
    if machine.state not in _LIVE:
        return False
    return machine.provider_instance_id in (None, seen.id)


async def _orphan(market: Market, store: Store, adapter: Adapter, one: Instance, machine: Known | None) -> None:
    from market import audit, outbox, strays

    action = "reported: its label is not in our book"
    if machine is not None:
        try:
            await adapter.terminate(one.id)
            action = "ended"
        except BrokerError as problem:
            action = f"could not be ended yet: {problem.message}"
    at = market.clock.now()
    async with store.write() as connection:
        new = await strays.note(
            connection,
            provider=adapter.name,
            provider_instance_id=one.id,
            kind="orphan",
            label=one.label,
            booking_id=machine.booking_id if machine else None,
            action=action,
            at=at,
        )
        if not new:
            return
        told = {"provider": adapter.name, "instance_id": one.id, "label": one.label, "action": action}
        owner = machine.owner if machine else ""
        subject = machine.booking_id if machine else one.label
        await outbox.publish(connection, at=at, kind="booking.orphan", subject=subject, owner=owner, payload=told)
        await audit.append(connection, at=at, actor="gpubroker", action="booking.orphan", subject=subject, details=told)
    log.warning("orphan %s at %s: %s", one.id, adapter.name, action)


async def _ghost(market: Market, store: Store, provider: str, machine: Known) -> None:
    """Our book has it, the provider's list does not: its booking is looked at now, whatever is due."""
    from market import booking_book, outbox, strays

    at = market.clock.now()
    async with store.write() as connection:
        new = await strays.note(
            connection,
            provider=provider,
            provider_instance_id=machine.provider_instance_id or "",
            kind="ghost",
            label=machine.label,
            booking_id=machine.booking_id,
            action="its booking is being looked at",
            at=at,
        )
        await booking_book.change(connection, machine.booking_id, runner=None, next_check_at=at)
        if new:
            told = {"provider": provider, "instance_id": machine.provider_instance_id, "label": machine.label}
            await outbox.publish(
                connection, at=at, kind="booking.ghost", subject=machine.booking_id, owner=machine.owner, payload=told
            )
