"""Approvals: one question to a person, for one exact purchase, decided once and used once.

Elicitation, link, command line and API all decide the same row. Every state of a row is sealed anew, so that neither
what was asked nor what was answered can be changed in the database.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from market import audit, outbox
from market.approval_states import Approval, Via, refuse_deciding, refuse_use
from market.context import Caller
from market.errors import ApprovalRequired, Conflict, NotFound
from market.money import MILLIONTH
from market.procurement_tables import approvals, quotes
from market.sealing import Sealer
from market.settings import Settings
from market.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Row

    from market.commitment import Commitment

log = logging.getLogger("gpubroker")

LONGEST = timedelta(hours=24)
"""A question nobody answers, or an answer nobody uses, is over after this; with its quote when that is sooner."""


async def ask(
    store: Store,
    settings: Settings,
    *,
    subject: str,
    caller: Caller,
    mandate_id: str,
    summary: str,
    amount: Decimal,
    now: datetime,
) -> Approval:
    """The question about this subject: the one that stands (in whatever state), else a new one.

    A question whose time is over, or that was about something else and is undecided, gives way to a new one. Raises
    Conflict when what was decided was about another amount, mandate or caller.
    """
    asked = Approval(
        id="approval-" + secrets.token_hex(10),
        subject=subject,
        caller=caller.identity,
        mandate_id=mandate_id,
        summary=summary,
        amount=amount.quantize(MILLIONTH, rounding=ROUND_CEILING),
        requested_at=now,
        expires_at=now + LONGEST,
    )
    async with store.write() as connection:
        stands = await _standing(connection, settings, asked, now)
        if stands is not None:
            return stands
        quoted_until = await connection.scalar(select(quotes.c.expires_at).where(quotes.c.id == subject))
        asked = replace(asked, expires_at=min(asked.expires_at, quoted_until or asked.expires_at))
        insert = sqlite.insert if store.dialect == "sqlite" else postgresql.insert
        values = {**asdict(asked), "seal": _seal(settings, asked)}
        added = await connection.execute(insert(approvals).values(**values).on_conflict_do_nothing())
        if added.rowcount == 0:  # another process asked the same in this moment
            other = await _standing(connection, settings, asked, now)
            if other is not None:
                return other
            raise Conflict("The same question is being asked by another call.", next_step="Try again.")
        await _tell(connection, "approval.requested", asked, asked.caller, now)
    await audit.anchor(settings, store)
    return asked


async def decide(
    store: Store,
    settings: Settings,
    approval_id: str,
    *,
    approved: bool,
    by: str,
    via: Via,
    now: datetime,
    commitment: Commitment | None = None,
) -> Approval:
    """A person's answer. Raises NotFound, or Conflict when it was decided, used, changed, or is over.

    With a `commitment` its intent is written in the same transaction, in place of an audit entry of our own.
    """
    async with store.write() as connection:
        before = await _locked(connection, settings, approvals.c.id == approval_id)
        if before is None:
            raise NotFound(
                "No such approval.",
                next_step="List those that wait with `gpubroker approve list`.",
                details={"approval_id": approval_id[:60]},
            )
        refuse_deciding(before, now)
        after = replace(
            before,
            decision="approved" if approved else "declined",
            decided_by=by,
            decided_via=via,
            decided_at=now,
        )
        await _change(connection, settings, before, after)
        await _tell(connection, "approval.decided", after, by, now, commitment)
    if commitment is None:
        await audit.anchor(settings, store)
    else:
        await commitment.anchored()
    return after


async def use(
    connection: AsyncConnection,
    settings: Settings,
    *,
    subject: str,
    caller: Caller,
    mandate_id: str,
    amount: Decimal,
    now: datetime,
) -> None:
    """Use the approval of this subject up, in the caller's transaction.

    Raises ApprovalRequired while nobody has decided, and Conflict (`details["reason"]`) when it is missing, declined,
    expired, used, changed, or was given to another caller, mandate, or for less money.
    """
    approval = await _locked(connection, settings, approvals.c.subject == subject)
    if approval is None:
        raise Conflict(
            "Nobody was asked to approve this.",
            next_step="Make the same call again: it asks.",
            details={"reason": "missing"},
        )
    refuse_use(approval, caller.identity, mandate_id, amount, now)
    if approval.state(now) == "waiting":
        raise await required(settings, approval)
    await _change(connection, settings, approval, replace(approval, used_at=now))


async def find(store: Store, settings: Settings, approval_id: str) -> Approval | None:
    """One approval; None when there is none. Raises Conflict for one that was changed."""
    if "\0" in approval_id:  # PostgreSQL refuses to compare with it, and links come from anywhere
        return None
    async with store.read() as connection:
        row = (await connection.execute(select(approvals).where(approvals.c.id == approval_id))).one_or_none()
    return None if row is None else _read(row, settings)


async def listed(
    store: Store,
    settings: Settings,
    *,
    now: datetime,
    caller: str | None = None,
    waiting: bool = True,
    limit: int = 100,
) -> list[Approval]:
    """Approvals by time asked, the oldest that waits first; of one caller, or of all. Changed rows are left out."""
    query = select(approvals).limit(limit)
    if caller is not None:
        query = query.where(approvals.c.caller == caller)
    if waiting:
        query = query.where(_waits(now)).order_by(approvals.c.requested_at, approvals.c.id)
    else:
        query = query.order_by(approvals.c.requested_at.desc(), approvals.c.id)
    async with store.read() as connection:
        rows = (await connection.execute(query)).all()
    found = []
    for row in rows:
        try:
            found.append(_read(row, settings))
        except Conflict:
            log.warning("approval %s was changed after it was written; it is not shown", row.id)
    return found


async def waiting_count(store: Store, caller: str, now: datetime) -> int:
    """How many questions of this caller nobody has answered yet."""
    query = select(func.count()).select_from(approvals).where(approvals.c.caller == caller, _waits(now))
    async with store.read() as connection:
        return int(await connection.scalar(query) or 0)


async def link(settings: Settings, approval: Approval) -> str:
    """The signed address of the page where a person decides this approval."""
    signature = Sealer.of(settings).seal("approval-link", _linked(approval))
    return f"{settings.base_url}/approvals/{approval.id}?{urlencode({'sig': signature})}"


def link_holds(settings: Settings, approval: Approval, signature: str) -> bool:
    """Whether this is the signature of the link to this approval; constant time."""
    return Sealer.of(settings).holds("approval-link", _linked(approval), signature)


async def required(settings: Settings, approval: Approval) -> ApprovalRequired:
    """The refusal that asks a person: over MCP as a question, else by its link."""
    address = await link(settings, approval)
    return ApprovalRequired(
        f"A person has to approve this: at most {approval.amount:,.2f} USD.",
        approval_id=approval.id,
        question=f"Approve this purchase? {approval.summary}",
        next_step=f"Give them {address} (or: `gpubroker approve yes {approval.id}`), then make the same call again.",
        details={
            "link": address,
            "amount": float(approval.amount),
            "expires_at": approval.expires_at.isoformat(timespec="seconds"),
        },
    )


async def _standing(connection: AsyncConnection, settings: Settings, asked: Approval, now: datetime) -> Approval | None:
    """What was asked about the subject before and still counts; what does not is taken away."""
    before = await _locked(connection, settings, approvals.c.subject == asked.subject)
    if before is None:
        return None
    same = before.about() == asked.about()
    if before.used_at is None and (now >= before.expires_at or (not same and before.decision is None)):
        await connection.execute(delete(approvals).where(approvals.c.id == before.id))
        return None
    if not same:
        raise Conflict(
            "An approval for this was decided for another amount, mandate or caller.",
            next_step="Ask for a new quote with `quote_offer`, and book that.",
            details={"reason": "other", "approval_id": before.id},
        )
    return before


async def _locked(connection: AsyncConnection, settings: Settings, which: Any) -> Approval | None:
    row = (await connection.execute(select(approvals).where(which).with_for_update())).one_or_none()
    return None if row is None else _read(row, settings)


async def _change(connection: AsyncConnection, settings: Settings, before: Approval, after: Approval) -> None:
    """Write the next state of a row, provided that it still is as it was read."""
    changed = await connection.execute(
        update(approvals)
        .where(approvals.c.id == before.id, approvals.c.seal == _seal(settings, before))
        .where(approvals.c.used_at.is_(None))
        .values(
            decision=after.decision,
            decided_by=after.decided_by,
            decided_via=after.decided_via,
            decided_at=after.decided_at,
            used_at=after.used_at,
            seal=_seal(settings, after),
        )
    )
    if changed.rowcount != 1:
        raise Conflict("The approval was decided or used in this moment.", next_step="Look at it again.")


async def _tell(
    connection: AsyncConnection,
    kind: str,
    approval: Approval,
    actor: str,
    now: datetime,
    commitment: Commitment | None = None,
) -> None:
    facts: Mapping[str, object] = {
        "approval_id": approval.id,
        "subject": approval.subject,
        "mandate_id": approval.mandate_id,
        "amount": approval.amount,
        "decision": approval.decision,
        "decided_via": approval.decided_via,
    }
    payload = {**facts, "summary": approval.summary, "expires_at": approval.expires_at}
    await outbox.publish(connection, at=now, kind=kind, subject=approval.id, owner=approval.caller, payload=payload)
    if commitment is None:
        await audit.append(connection, at=now, actor=actor, action=kind, subject=approval.id, details=facts)
    else:
        await commitment.begin(connection, action=kind, subject=approval.id, details=facts)


def _waits(now: datetime) -> Any:
    return approvals.c.decision.is_(None) & approvals.c.used_at.is_(None) & (approvals.c.expires_at > now)


def _linked(approval: Approval) -> dict[str, object]:
    return {"id": approval.id, "expires_at": approval.expires_at}


def _seal(settings: Settings, approval: Approval) -> str:
    return Sealer.of(settings).seal("approval", asdict(approval))


def _read(row: Row[Any], settings: Settings) -> Approval:
    approval = Approval(**{name: row._mapping[name] for name in Approval.__slots__})
    if not Sealer.of(settings).holds("approval", asdict(approval), row.seal):
        raise Conflict(
            "This approval was changed after it was written; it is not honoured.",
            next_step="Ask for a new quote with `quote_offer`; the old row is evidence for `gpubroker audit`.",
            details={"reason": "changed", "approval_id": approval.id[:60]},
        )
    return approval
