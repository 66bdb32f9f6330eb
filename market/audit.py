"""The audit log: who did what to what, each entry chained to the one before by its hash.

    hash = SHA-256(previous_hash + canonical({"action", "actor", "at", "details", "personal_hash", "seq", "subject"}))

The first `previous_hash` is empty; `at` is the time as `market.canonical` writes it, `details` the canonical JSON *as
text*, `personal_hash` the SHA-256 of the text in `personal` (salted) or empty when there was none. Whoever holds the
exported lines needs nothing of ours to verify them: sorted keys, no spaces, UTF-8.

What a person may ask to have erased belongs in `personal`: erasing it leaves every hash as it was, and is itself an
entry. Names of actors and subjects are identifiers of ours and stay.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from market import audit_anchor
from market.audit_anchor import Head
from market.canonical import canonical, digest
from market.errors import StorageFailed
from market.procurement_tables import audit_head, audit_log
from market.store import Store

if TYPE_CHECKING:
    from market.commitment import Commitment
    from market.settings import Settings

REDACTED = "audit.redacted"
_BATCH = 2_000
_SALT_BYTES = 16
_taking_turns: WeakKeyDictionary[Store, asyncio.Lock] = WeakKeyDictionary()


class HeadMissing(StorageFailed):
    """Somebody removed the one row every writer starts from."""

    def __init__(self) -> None:
        super().__init__(
            "The audit log has lost its head; nothing is spent.", next_step="Run `gpubroker audit verify`."
        )


class Unreadable(StorageFailed):
    """An entry holds what this program never writes."""

    def __init__(self) -> None:
        super().__init__("The audit log holds an entry that cannot be read.", next_step="Run `gpubroker audit verify`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One link. `details` and `personal` are JSON texts; `personal` is None when there was none or it was erased."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: str
    personal_hash: str
    previous_hash: str
    hash: str
    personal: str | None = None
    redacted_at: datetime | None = None

    @property
    def expected_hash(self) -> str:
        """What `hash` must be for these facts after this predecessor."""
        return chained(
            self.previous_hash,
            seq=self.seq,
            at=self.at,
            actor=self.actor,
            action=self.action,
            subject=self.subject,
            details=self.details,
            personal_hash=self.personal_hash,
        )


def chained(previous_hash: str, **facts: object) -> str:
    """The hash of an entry with these facts that follows the one with `previous_hash`."""
    return hashlib.sha256((previous_hash + canonical(facts)).encode()).hexdigest()


def linked(
    previous: Head,
    *,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    details: Mapping[str, object],
    personal: Mapping[str, object] | None = None,
) -> Entry:
    """The entry that follows `previous` and says this; personal details get a fresh salt."""
    kept = None
    if personal is not None:
        kept = canonical({"personal": personal, "salt": secrets.token_hex(_SALT_BYTES)})
    facts: dict[str, Any] = {
        "seq": previous.seq + 1,
        "at": at,
        "actor": actor,
        "action": action,
        "subject": subject,
        "details": canonical(details),
        "personal_hash": "" if kept is None else digest(kept),
    }
    return Entry(**facts, previous_hash=previous.hash, hash=chained(previous.hash, **facts), personal=kept)


async def append(
    connection: AsyncConnection,
    *,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    details: Mapping[str, object],
    personal: Mapping[str, object] | None = None,
) -> Entry:
    """Add an entry in the caller's transaction: both are kept, or neither.

    Every writer waits here until the one before has committed, so let it be the last statement but the commit.
    `details` must hold no secret and nothing personal. Raises StorageFailed when the log's head is missing.
    """
    found = (await connection.execute(select(audit_head).where(audit_head.c.id == 1).with_for_update())).one_or_none()
    if found is None:
        raise HeadMissing
    entry = linked(
        Head(found.seq, found.hash),
        at=at,
        actor=actor,
        action=action,
        subject=subject,
        details=details,
        personal=personal,
    )
    await connection.execute(insert(audit_log).values({name: getattr(entry, name) for name in Entry.__slots__}))
    await connection.execute(update(audit_head).where(audit_head.c.id == 1).values(seq=entry.seq, hash=entry.hash))
    return entry


async def anchor(settings: Settings, store: Store, needed: Entry | None = None) -> None:
    """Write the chain's end outside the database, flushed to the disk; call it before anything is spent.

    With `needed` it is enough that the anchor is at that entry or past it, so that calls at the same time share one
    write. Raises StorageFailed when it cannot be written, or when the log no longer holds what was anchored before:
    then nothing may be spent.
    """
    folder, name = settings.data_dir, place(settings, store)
    async with _taking_turns.setdefault(store, asyncio.Lock()):
        anchored = await asyncio.to_thread(audit_anchor.read, folder, name)
        head, held = await _ends(store, anchored)
        if anchored is not None and held != anchored.hash:
            raise StorageFailed(
                f"The audit log does not hold entry {anchored.seq} as it was anchored: its end was cut off or it was "
                "rewritten. Nothing is spent.",
                next_step="Run `gpubroker audit verify`, and put the database back from a backup.",
                details={"anchored_seq": anchored.seq, "seq": head.seq},
            )
        if anchored is None or anchored.seq < (head if needed is None else needed).seq:
            await asyncio.to_thread(audit_anchor.write, folder, name, head)


async def _ends(store: Store, anchored: Head | None) -> tuple[Head, str | None]:
    """The head as the database knows it, and the hash it holds at the anchored place."""
    async with store.read() as connection:
        found = (await connection.execute(select(audit_head).where(audit_head.c.id == 1))).one_or_none()
        held: str | None = ""
        if anchored is not None and anchored.seq:
            query = select(audit_log.c.hash).where(audit_log.c.seq == anchored.seq)
            held = (await connection.execute(query)).scalar()
    if found is None:
        raise HeadMissing
    return Head(found.seq, found.hash), held


def place(settings: Settings, store: Store) -> str:
    """The database's name in the anchor file: a file in the data folder goes by its own name, so both may be moved."""
    if store.dialect == "sqlite":
        path, folder = Path(store.place).absolute(), settings.data_dir.absolute()
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
    return store.place


async def head(store: Store) -> Head:
    """The newest link, as the database knows it."""
    return (await _ends(store, None))[0]


async def export(store: Store, since: int | None = None) -> AsyncIterator[Entry]:
    """Every entry after number `since`, oldest first."""
    last = since or 0
    while found := await entries(store, after=last, limit=_BATCH):
        for entry in found:
            yield entry
        last = found[-1].seq


async def entries(
    store: Store,
    *,
    after: int,
    limit: int,
    subject: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    since: datetime | None = None,
) -> list[Entry]:
    """At most `limit` entries after number `after`, oldest first; only those of a subject, actor, action or time.

    Raises Unreadable when somebody has put in what cannot be an entry.
    """
    query = select(audit_log).where(audit_log.c.seq > after).order_by(audit_log.c.seq).limit(limit)
    for name, value in (("subject", subject), ("actor", actor), ("action", action)):
        if value is not None:
            query = query.where(audit_log.c[name] == value)
    if since is not None:
        query = query.where(audit_log.c.at >= since)
    try:
        async with store.read() as connection:
            return [Entry(**row._mapping) for row in await connection.execute(query)]
    except (TypeError, ValueError, OverflowError, SQLAlchemyError):
        raise Unreadable from None


async def holds(connection: AsyncConnection, entry: Entry) -> bool:
    """Whether the transaction that appended the entry has been kept."""
    query = select(audit_log.c.hash).where(audit_log.c.seq == entry.seq)
    return (await connection.execute(query)).scalar() == entry.hash


async def redact(
    store: Store,
    *,
    at: datetime,
    subject: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    commitment: Commitment | None = None,
) -> int:
    """Erase the personal details of every entry of a subject, of an actor, or of both at once; how many had any.

    The chain stays whole, and which entries were erased is an entry itself: the intent of `commitment`, or one of the
    program's own. Backups, exports made before, and PostgreSQL until its next vacuum still hold what was erased here.
    """
    named = {name: value for name, value in (("subject", subject), ("actor", actor)) if value is not None}
    if not named:
        raise ValueError("a redaction names a subject or an actor")
    erase = (
        update(audit_log)
        .where(audit_log.c.personal.is_not(None), *(audit_log.c[name] == value for name, value in named.items()))
        .values(personal=None, redacted_at=at)
        .returning(audit_log.c.seq)
    )
    async with store.write() as connection:
        if store.dialect == "sqlite":
            # else the text would stay readable in the freed part of its page
            await connection.exec_driver_sql("PRAGMA secure_delete = ON")
        erased = sorted((await connection.execute(erase)).scalars())
        details = {"entries": runs(erased), **named, **({} if reason is None else {"reason": reason})}
        if commitment is not None:
            await commitment.begin(connection, action=REDACTED, subject="audit", details=details)
        elif erased:
            await append(connection, at=at, actor="gpubroker", action=REDACTED, subject="audit", details=details)
    return len(erased)


def runs(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as runs `[first, last]`."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def erased_by(entry: Entry) -> list[list[int]]:
    """The runs of numbers a redaction says it erased; none for any other entry, or one that cannot be read."""
    if entry.action != REDACTED:
        return []
    try:
        return [[int(first), int(last)] for first, last in json.loads(entry.details)["entries"]]
    except (ValueError, KeyError, TypeError):
        return []
