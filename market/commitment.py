"""One write or spend between its intent and its outcome: what an idempotency key stands for, and its audit entries.

The gate makes a Commitment for every call that changes something. The capability *begins* it in the transaction of its
own first write, so that the key, the intent in the audit log and that write are kept together or not at all. What is
refused before that stores nothing, and the same key may be tried again. After it:

- the answer is stored with `done` and given again to the same key and body for 24 hours, encrypted at rest;
- an error is never stored: the next call with the key learns the `subject` that was begun, and answers from it;
- a call that died leaves its subject too, found once its in-flight minute is over.

Another body or another operation under the same key: IdempotencyConflict (422). The same call while it runs: InFlight
(409). Both as the Agentic Commerce Protocol wants them. A key belongs to one caller.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from market import audit
from market.canonical import canonical, digest
from market.errors import IdempotencyConflict, InFlight, StorageFailed, ValidationFailed
from market.procurement_tables import idempotency

if TYPE_CHECKING:
    from market.context import Context

log = logging.getLogger("gpubroker")

KEY_FIELD = "idempotency_key"
LONGEST_KEY = 255
KEPT = timedelta(hours=24)
IN_FLIGHT = timedelta(seconds=60)
"""How long a call that says nothing is believed to run. A longer one loses nothing: whoever repeats it is given the
subject it began, and whatever works on that subject holds a lease of its own."""
_ASK_AGAIN_SECONDS = 5


class Commitment:
    """The key (when there is one) and the audit entries of one call."""

    def __init__(self, ctx: Context, *, operation: str, key: str | None, body_hash: str) -> None:
        self.subject: str | None = None
        """What an earlier call with the same key had begun and not finished; the capability answers from it."""
        self._ctx = ctx
        self._operation = operation
        self._key = key
        self._body_hash = body_hash
        self._caller = ctx.caller.identity
        self._until: datetime | None = None
        self._intent: audit.Entry | None = None

    @classmethod
    async def of(cls, ctx: Context, *, operation: str, request: str) -> Commitment:
        """The commitment of a call. Its key is `idempotency_key` of the request (JSON), else the door's, else none.

        Raises ValidationFailed for a key that is empty, too long, or no printable text.
        """
        body: dict[str, Any] = json.loads(request)
        stated = body.pop(KEY_FIELD, None)
        key = ctx.idempotency_key if stated is None else str(stated)
        if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
            raise ValidationFailed(
                f"An idempotency key has 1 to {LONGEST_KEY} printable characters.",
                next_step="Use a fresh random one (a UUID) for each purchase, and the same one for its retries.",
            )
        return cls(ctx, operation=operation, key=key, body_hash=digest(canonical(body)))

    async def answer(self) -> str | None:
        """The stored answer of this key and body; None when the work is to be done (or taken up: see `subject`).

        Raises IdempotencyConflict when the key was used for something else, InFlight while the same call runs.
        """
        if self._key is None:
            return None
        store, now = await self._ctx.market.store(), self._ctx.market.clock.now()
        async with store.read() as connection:
            row = (await connection.execute(select(idempotency).where(*self._mine()))).one_or_none()
        if row is None or row.expires_at <= now:
            return None
        self._check(row, now)
        if row.answer is not None:
            return self._opened(row.answer)
        await self._take_up(row, now)
        return None

    async def overtaken(self) -> str | None:
        """After a refusal: the answer of a call with this key and body that was quicker, or None when there is none.

        What was refused may have been refused for what that call has done: it used the quote, or the rest of a budget.
        Raises InFlight while it runs, IdempotencyConflict like `answer`.
        """
        if self._key is None or self._intent is not None or self.subject is not None:
            return None
        store, now = await self._ctx.market.store(), self._ctx.market.clock.now()
        async with store.read() as connection:
            row = (await connection.execute(select(idempotency).where(*self._mine()))).one_or_none()
        if row is None or row.expires_at <= now:
            return None
        self._check(row, now)
        return None if row.answer is None else self._opened(row.answer)

    async def begin(
        self,
        connection: AsyncConnection,
        *,
        action: str,
        subject: str,
        details: Mapping[str, object],
        personal: Mapping[str, object] | None = None,
    ) -> None:
        """Claim the key and append the intent to the audit log, in the caller's transaction and as its last statement.

        `subject` names what is begun, so that a repeated call finds it; `details` hold no secret and nothing personal.
        Raises InFlight or IdempotencyConflict when another call has taken the key meanwhile.
        """
        now = self._ctx.market.clock.now()
        if self._key is not None:
            await self._claim(connection, subject, now)
        self._intent = await audit.append(
            connection,
            at=now,
            actor=self._caller,
            action=action,
            subject=subject,
            details={**self._who(), **details},
            personal=personal,
        )

    async def anchored(self) -> None:
        """Have the intent vouched for outside the database; call it after that transaction and before spending.

        Raises StorageFailed when it cannot be: then nothing may be spent.
        """
        await audit.anchor(self._ctx.market.settings, await self._ctx.market.store(), self._intent)

    async def done(self, answer: str) -> None:
        """Append the outcome and store the answer. Nothing happens when nothing was begun.

        What has been done cannot be undone by a full disk: that is logged, and the answer still goes to the caller.
        """
        if self._intent is None and self.subject is None:
            return
        try:
            store, now = await self._ctx.market.store(), self._ctx.market.clock.now()
            async with store.write() as connection:
                if self._key is not None:
                    kept = {"answer": self._sealer().encrypt(answer), "in_flight_until": now}
                    unanswered = (*self._mine(), idempotency.c.body_hash == self._body_hash)
                    await connection.execute(
                        update(idempotency).where(*unanswered, idempotency.c.answer.is_(None)).values(kept)
                    )
                outcome = await self._outcome(connection, now, {"outcome": "done"})
            await audit.anchor(self._ctx.market.settings, store, outcome)
        except StorageFailed as problem:
            log.error("the outcome of `%s` could not be recorded: %s", self._operation, problem)

    async def failed(self, code: str) -> None:
        """Append the outcome; the key is free when nothing was kept, else the next call is told the subject."""
        if self._intent is None and self.subject is None:
            return
        try:
            store, now = await self._ctx.market.store(), self._ctx.market.clock.now()
            async with store.write() as connection:
                if self._intent is not None and not await audit.holds(connection, self._intent):
                    return
                if self._key is not None:
                    still_mine = (*self._mine(), idempotency.c.in_flight_until == self._until)
                    await connection.execute(
                        update(idempotency)
                        .where(*still_mine, idempotency.c.answer.is_(None))
                        .values(in_flight_until=now)
                    )
                await self._outcome(connection, now, {"outcome": "failed", "code": code})
        except StorageFailed as problem:
            log.error("the failure of `%s` could not be recorded: %s", self._operation, problem)

    async def _outcome(self, connection: AsyncConnection, now: datetime, said: Mapping[str, object]) -> audit.Entry:
        intent = self._intent
        return await audit.append(
            connection,
            at=now,
            actor=self._caller,
            action=f"{self._operation}.{said['outcome']}",
            subject=self.subject or "" if intent is None else intent.subject,
            details={**self._who(), **said, **({} if intent is None else {"intent": intent.seq})},
        )

    async def _claim(self, connection: AsyncConnection, subject: str, now: datetime) -> None:
        """Insert the key; a row that expired, or that this call has taken up, is written anew."""
        until = now + IN_FLIGHT
        values = {
            "operation": self._operation,
            "body_hash": self._body_hash,
            "subject": subject,
            "answer": None,
            "claimed_at": now,
            "in_flight_until": until,
            "expires_at": now + KEPT,
        }
        inserting = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        statement = inserting(idempotency).values(caller=self._caller, key=self._key, **values)
        free = idempotency.c.expires_at <= now
        if self._until is not None:
            free = or_(free, idempotency.c.in_flight_until == self._until)
        claimed = await connection.execute(
            statement.on_conflict_do_update(index_elements=["caller", "key"], set_=values, where=free).returning(
                idempotency.c.key
            )
        )
        if claimed.first() is None:
            row = (await connection.execute(select(idempotency).where(*self._mine()))).one()
            self._check(row, now)
            raise _in_flight(1)
        self._until = until

    async def _take_up(self, row: Any, now: datetime) -> None:
        """Make this the one call that goes on with what another has left. Raises InFlight when it is not."""
        until = now + IN_FLIGHT
        store = await self._ctx.market.store()
        async with store.write() as connection:
            left = (*self._mine(), idempotency.c.in_flight_until == row.in_flight_until, idempotency.c.answer.is_(None))
            taken = await connection.execute(update(idempotency).where(*left).values(in_flight_until=until))
        if not taken.rowcount:
            raise _in_flight(1)
        self.subject, self._until = row.subject, until

    def _check(self, row: Any, now: datetime) -> None:
        if (row.operation, row.body_hash) != (self._operation, self._body_hash):
            raise IdempotencyConflict(
                "This idempotency key was used for another request.",
                next_step="Use a new key for a new request; to repeat the first one, send it unchanged.",
                details={"used_for": row.operation},
            )
        if row.answer is None and row.in_flight_until > now:
            raise _in_flight(math.ceil((row.in_flight_until - now).total_seconds()))

    def _mine(self) -> tuple[Any, Any]:
        return idempotency.c.caller == self._caller, idempotency.c.key == self._key

    def _who(self) -> dict[str, object]:
        return {"trace": self._ctx.trace_id} if self._ctx.trace_id else {}

    def _sealer(self) -> Any:
        from market.sealing import Sealer

        return Sealer.of(self._ctx.market.settings)

    def _opened(self, sealed: str) -> str:
        try:
            return str(self._sealer().decrypt(sealed))
        except ValueError:
            raise StorageFailed(
                "The answer stored for this idempotency key cannot be read with the seal key of this process.",
                next_step="Give every process the same `GPUBROKER_SEAL_KEY`, or the same `seal.key`.",
            ) from None


async def prune(connection: AsyncConnection, now: datetime) -> int:
    """Remove the keys whose day is over; how many."""
    return (await connection.execute(delete(idempotency).where(idempotency.c.expires_at <= now))).rowcount


def _in_flight(seconds: int) -> InFlight:
    return InFlight(
        "The same call with this idempotency key is still being worked on.",
        next_step="Send it again, unchanged, after the time given.",
        details={"retry_after_seconds": min(max(1, seconds), _ASK_AGAIN_SECONDS)},
    )
