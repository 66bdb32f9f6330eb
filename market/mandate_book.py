"""What is held and spent under mandates: the budget is claimed in one conditional UPDATE, and settled afterwards.

Which mandates a caller has, and whether they are in force, is answered here too; what was signed is in the register.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from market import agent_keys, audit
from market.context import LOCAL_OWNER, Caller
from market.errors import InternalFault, MandateRefused, NotFound
from market.mandate_claims import payload
from market.mandate_register import (
    Standing,
    add,
    amend,
    columns,
    entered,
    limits,
    row_of,
    standing_of,
    untrusted,
)
from market.mandates import Mandate, Violation, dollars, period_start, refusal
from market.money import exchange_rates
from market.procurement_tables import bookings, mandates
from market.signing import OwnerKey
from market.store import Store
from market.tables import Millionths

if TYPE_CHECKING:
    from sqlalchemy import Row

    from market.settings import Settings

log = logging.getLogger("gpubroker")

SANDBOX_MANDATE = "mandate-sandbox"
SANDBOX_BUDGET = Decimal(1_000_000)
SANDBOX_LIFETIME = timedelta(days=365)


async def verified(
    store: Store, settings: Settings, mandate_id: str, now: datetime, *, caller: Caller | None = None
) -> Mandate:
    """The mandate, when it is in force: signed by this owner, unchanged, not revoked, for a key that is still good.

    With `caller` it must be bound to them too. Raises MandateRefused saying what is wrong, NotFound for no such id.
    """
    async with store.read() as connection:
        return await _in_force(connection, await row_of(connection, mandate_id), settings, now, caller)


async def for_caller(store: Store, settings: Settings, caller: Caller, now: datetime) -> list[Mandate]:
    """The mandates in force that this caller may buy under, the oldest first.

    The local owner has one for the sandbox without asking; it is signed when it is first needed.
    """
    mine = select(mandates).where(mandates.c.agent == caller.identity)
    async with store.read() as connection:
        rows = (await connection.execute(mine.order_by(mandates.c.created_at, mandates.c.id))).all()
        found = []
        for row in rows:
            try:
                found.append(await _in_force(connection, row, settings, now, caller))
            except MandateRefused as problem:
                log.info("mandate %s is not used: %s", row.id, problem.message)
    own = next((row for row in rows if row.id == SANDBOX_MANDATE), None)
    is_over = own is not None and own.revoked_at is None and now >= own.expires_at
    if caller.identity == LOCAL_OWNER.identity and (own is None or is_over):
        found.append(await _sandbox(store, settings, now))
    return found


async def claim(
    connection: AsyncConnection,
    mandate: Mandate,
    *,
    amount: Decimal,
    hourly: Decimal,
    instances: int,
    now: datetime,
    is_new: bool = True,
) -> list[Violation]:
    """Hold money, rate and instances under the mandate, all or nothing; what is missing, or nothing when all is held.

    One conditional UPDATE: however many claim at once, never more than the mandate allows is held. Call it before the
    booking is written, in the same transaction. A change of a booking is not `is_new`: no recurrence counts it.
    """
    if amount < 0 or hourly < 0 or instances < 0:
        raise ValueError("a claim is of nothing or more")
    held = mandates.c
    conditions: list[ColumnElement[bool]] = [
        held.id == mandate.id,
        held.version == mandate.version,
        held.budget == mandate.budget,
        held.hourly_budget.is_not_distinct_from(mandate.hourly_budget),
        held.max_concurrent.is_not_distinct_from(mandate.max_concurrent),
        held.revoked_at.is_(None),
        held.expires_at > now,
        held.committed + held.spent + held.overrun + _money(amount) <= _money(mandate.budget),
    ]
    if mandate.hourly_budget is not None:
        conditions.append(held.hourly_committed + _money(hourly) <= _money(mandate.hourly_budget))
    if mandate.max_concurrent is not None:
        conditions.append(held.running + instances <= mandate.max_concurrent)
    claimed = await connection.execute(update(mandates).where(*conditions).values(_moved(amount, hourly, instances)))
    if claimed.rowcount != 1:
        return _missing(mandate, await row_of(connection, mandate.id), amount, hourly, instances, now)
    used_up = await _too_often(connection, mandate, now) if is_new else []
    if used_up:
        back = update(mandates).where(held.id == mandate.id)
        await connection.execute(back.values(_moved(-amount, -hourly, -instances)))
    return used_up


async def settle(
    connection: AsyncConnection,
    mandate_id: str,
    *,
    claimed: Decimal,
    hourly: Decimal,
    instances: int,
    spent: Decimal,
) -> None:
    """Give back what was held and book what was spent of it; more than was held goes to `overrun`.

    Money is settled whatever has become of the mandate. Raises InternalFault when less is held than is given back.
    """
    if min(claimed, hourly, spent) < 0 or instances < 0:
        raise ValueError("nothing below zero can be settled")
    held = mandates.c
    within = min(spent, claimed)
    moved = _moved(-claimed, -hourly, -instances)
    moved |= {"spent": held.spent + _money(within), "overrun": held.overrun + _money(spent - within)}
    enough = (held.committed >= claimed, held.hourly_committed >= hourly, held.running >= instances)
    settled = await connection.execute(update(mandates).where(held.id == mandate_id, *enough).values(moved))
    if settled.rowcount != 1:
        raise InternalFault(
            f"The mandate `{mandate_id}` does not hold what was to be given back.",
            next_step="Report this; nothing was booked.",
        )


async def refund(connection: AsyncConnection, mandate_id: str, amount: Decimal) -> None:
    """Give back what was spent and turned out not to be owed: overruns first, then what counts against the budget."""
    if amount < 0:
        raise ValueError("nothing below zero can be given back")
    held = mandates.c
    row = (await connection.execute(select(held.spent, held.overrun).where(held.id == mandate_id))).one()
    over = min(amount, row.overrun)
    back = min(amount - over, row.spent)
    values = {"overrun": held.overrun - over, "spent": held.spent - back}
    await connection.execute(update(mandates).where(held.id == mandate_id).values(values))


async def standing(store: Store, mandate_id: str) -> Standing:
    """What is committed, spent and left. Raises NotFound."""
    async with store.read() as connection:
        return standing_of(await row_of(connection, mandate_id))


def _moved(amount: Decimal, hourly: Decimal, instances: int) -> dict[str, ColumnElement[object]]:
    held = mandates.c
    return {
        "committed": held.committed + _money(amount),
        "hourly_committed": held.hourly_committed + _money(hourly),
        "running": held.running + instances,
    }


def _money(amount: Decimal) -> ColumnElement[Decimal]:
    """As it is stored: in a longer sum SQLAlchemy forgets what a column's amounts are kept as."""
    return literal(amount, Millionths)


async def _too_often(connection: AsyncConnection, mandate: Mandate, now: datetime) -> list[Violation]:
    """Counted after the UPDATE: its row lock makes everyone else who books under this mandate wait for our booking."""
    recurrence = mandate.recurrence
    if recurrence is None:
        return []
    counted = (
        bookings.c.mandate_id == mandate.id,
        bookings.c.state != "failed",
        bookings.c.created_at > period_start(recurrence, now),
    )
    made = (await connection.execute(select(func.count()).select_from(bookings).where(*counted))).scalar_one()
    if made < recurrence.max_bookings:
        return []
    return [
        Violation(
            constraint="recurrence",
            message=f"{made} bookings were made in the last {recurrence.every} already.",
            asked=made + 1,
            allowed=recurrence.max_bookings,
            excess=made + 1 - recurrence.max_bookings,
            would_pass=f"at most {recurrence.max_bookings} bookings in any {recurrence.every}: wait",
        )
    ]


def _missing(
    mandate: Mandate, row: Row[tuple[object, ...]], amount: Decimal, hourly: Decimal, instances: int, now: datetime
) -> list[Violation]:
    """Why a claim was not granted, from the row as it is now."""
    found = standing_of(row)
    lacking = _ended(found, now)
    if row.version != mandate.version or limits(row) != columns(mandate):
        lacking.append(_violation("version", "The mandate was changed meanwhile.", "look at it, then try again"))
    left = found.budget - found.committed - found.spent - found.overrun
    for name, what, asked, allowed in (
        ("budget", "left of the budget", amount, left),
        ("hourly_budget", "an hour left", hourly, _rest(found.hourly_budget, found.hourly_committed)),
    ):
        if allowed is not None and asked > allowed:
            free = max(allowed, Decimal(0))
            message = f"{dollars(asked)} is wanted, {dollars(free)} is {what}."
            lacking.append(_violation(name, message, f"at most {dollars(free)} now", asked, free, asked - free))
    if found.max_concurrent is not None and found.running + instances > found.max_concurrent:
        room = max(0, found.max_concurrent - found.running)
        message = f"{found.running} of {found.max_concurrent} instances run already."
        lacking.append(
            _violation("max_concurrent", message, f"at most {room} instances now", instances, room, instances - room)
        )
    # it was not there a moment ago, and is now: others have given back what they held
    return lacking or [_violation("budget", "Others were faster.", "the same, tried again")]


def _ended(found: Standing, now: datetime) -> list[Violation]:
    if found.revoked_at is not None:
        return [_violation("revoked", "The mandate was revoked.", "a new mandate")]
    if now >= found.expires_at:
        return [_violation("expires_at", "The mandate has expired.", "a new mandate", now, found.expires_at)]
    return []


def _violation(
    constraint: str,
    message: str,
    would_pass: str,
    asked: object = None,
    allowed: object = None,
    excess: object | None = None,
) -> Violation:
    return Violation(
        constraint=constraint, message=message, asked=asked, allowed=allowed, excess=excess, would_pass=would_pass
    )


def _rest(limit: Decimal | None, used: Decimal) -> Decimal | None:
    return None if limit is None else limit - used


async def _in_force(
    connection: AsyncConnection, row: Row[tuple[object, ...]], settings: Settings, now: datetime, caller: Caller | None
) -> Mandate:
    found = entered(row, settings)
    if found.refusal is not None or found.mandate is None:
        raise found.refusal or MandateRefused(f"The mandate `{found.id}` cannot be read.")
    mandate = found.mandate
    if caller is not None and mandate.agent != caller.identity:
        raise untrusted("agent", f"The mandate `{mandate.id}` is bound to another agent.")
    ended = _ended(found.standing, now)
    if ended:
        raise refusal(mandate.id, ended)
    if mandate.not_before is not None and now < mandate.not_before:
        raise untrusted("not_before", f"The mandate `{mandate.id}` begins at {mandate.not_before:%Y-%m-%d %H:%M} UTC.")
    if mandate.agent == LOCAL_OWNER.identity:
        bound, objection = OwnerKey.of(settings).thumbprint, None
    else:
        try:
            key = await agent_keys.get(connection, mandate.agent)
        except NotFound:
            raise untrusted("key", f"The key the mandate `{mandate.id}` is bound to is not known here.") from None
        bound, objection = key.thumbprint, key.objection(now)
    if objection:
        raise untrusted("key", f"The mandate `{mandate.id}` is bound to a key that is not good any more: {objection}")
    if bound != mandate.thumbprint:
        raise untrusted("key", f"The mandate `{mandate.id}` is bound to another key than `{mandate.agent}` has now.")
    return mandate


async def _sandbox(store: Store, settings: Settings, now: datetime) -> Mandate:
    """Sign the local owner's mandate for the sandbox, or anew when it has expired; of several processes one does."""
    start = now.replace(microsecond=0)
    mandate = Mandate(
        id=SANDBOX_MANDATE,
        principal=LOCAL_OWNER.identity,
        agent=LOCAL_OWNER.identity,
        thumbprint=OwnerKey.of(settings, make=True).thumbprint,
        version=1,
        budget=SANDBOX_BUDGET,
        issued_at=start,
        expires_at=start + SANDBOX_LIFETIME,
        providers=frozenset({"sandbox"}),
        currencies=frozenset({"USD", *exchange_rates()}),
        failover=True,
        allow_unverified=True,
    )
    async with store.write() as connection:
        if not await add(connection, settings, mandate):
            row = await row_of(connection, SANDBOX_MANDATE, lock=True)
            if now < row.expires_at:
                return await _in_force(connection, row, settings, now, None)
            mandate = replace(mandate, version=row.version + 1)
            await amend(connection, settings, mandate)
        await audit.append(
            connection,
            at=now,
            actor=LOCAL_OWNER.name,
            action="mandate.create",
            subject=mandate.id,
            details={"claims": payload(mandate)},
        )
    return mandate
