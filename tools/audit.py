"""The audit log for those who check it: verify the chain, read its entries, erase personal details."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from market.canonical import canonical
from market.context import Context
from market.offers import clean_text
from tools.capability import Request, Result, capability
from tools.math_door import HTTP_ONLY, Time
from tools.offer_view import Moment

if TYPE_CHECKING:
    from market.audit import Entry

READ = "audit:read"
REDACT = "audit:redact"
MOST_ENTRIES = 500


class AuditHead(Result):
    """A link of the chain: its number and its hash."""

    seq: int
    hash: str


class AuditProblem(Result):
    """What is wrong, at which entry, and what to do."""

    seq: int
    kind: str = Field(
        description="edited, missing, order, personal, erased, cut, head, rewritten or no_anchor: the last means that "
        "a cut tail could not be looked for."
    )
    message: str
    next_step: str


class AuditVerified(Result):
    """Whether the log is as it was written. Compare `head` with one you noted earlier to be sure of its end."""

    intact: bool
    entries: int
    redacted: int = Field(description="Entries whose personal details were erased on purpose.")
    head: AuditHead = Field(description="The newest entry.")
    anchor: AuditHead | None = Field(default=None, description="The newest entry vouched for outside the database.")
    problems: list[AuditProblem] = Field(description="The first 20.")
    problem_count: int


class AuditEntry(Result):
    """One entry, with what its hash is made of.

    `hash` = SHA-256 of `previous_hash` followed by the JSON object of `action`, `actor`, `at`, `details`,
    `personal_hash`, `seq` and `subject`, in that order, without spaces, UTF-8. `details` is JSON kept as text.
    `personal_hash` = SHA-256 of the text `personal`; empty when there was none.
    """

    seq: int
    at: str = Field(description="UTC, exactly as it was hashed.")
    actor: str
    action: str
    subject: str
    details: str
    personal_hash: str
    previous_hash: str
    hash: str
    personal: str | None = None
    redacted_at: Moment | None = None


class AuditPage(Result):
    """Entries, oldest first; `next_after` is absent on the last page."""

    items: list[AuditEntry]
    head: AuditHead = Field(description="The newest entry of the whole log.")
    next_after: int | None = None


class AuditRedacted(Result):
    """How many entries had personal details of that subject or actor."""

    redacted: int


class AuditVerify(Request):
    """Nothing to say."""


class AuditFilter(Request):
    """Which entries."""

    after: int = Field(default=0, ge=0, le=2**53, description="Entries after this number; page on with `next_after`.")
    limit: int = Field(default=100, ge=1, le=MOST_ENTRIES)
    subject: str | None = Field(default=None, min_length=1, max_length=300, description="e.g. a booking id.")
    actor: str | None = Field(default=None, min_length=1, max_length=300)
    action: str | None = Field(default=None, min_length=1, max_length=100)
    since: Time | None = Field(default=None, description="Entries from this time on, ISO 8601.")


class AuditRedaction(Request):
    """Whose personal details are to be erased. For good: there is no way back."""

    subject: str | None = Field(default=None, min_length=1, max_length=300, description="Entries about it.")
    actor: str | None = Field(default=None, min_length=1, max_length=300, description="Entries by them.")
    reason: str | None = Field(
        default=None, max_length=200, description="Kept for ever in the log: a case number, nothing personal."
    )
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=255)

    @model_validator(mode="after")
    def _names_somebody(self) -> AuditRedaction:
        if self.subject is None and self.actor is None:
            raise ValueError("needs `subject` or `actor`")
        return self


@capability("GET /audit/verify", scope=READ, effect="read", doors=HTTP_ONLY)
async def verify_audit(ctx: Context, query: AuditVerify) -> AuditVerified:
    """Verify the audit log: find any entry that was edited, removed, moved, inserted or cut off."""
    from market.audit_verification import verify

    found = await verify(await ctx.market.store(), ctx.market.settings)
    return AuditVerified(
        intact=found.ok,
        entries=found.entries,
        redacted=found.redacted,
        head=AuditHead(seq=found.head.seq, hash=found.head.hash),
        anchor=None if found.anchor is None else AuditHead(seq=found.anchor.seq, hash=found.anchor.hash),
        problems=[
            AuditProblem(seq=one.seq, kind=one.kind, message=one.message, next_step=one.next_step)
            for one in found.problems
        ],
        problem_count=found.problem_count,
    )


@capability("GET /audit/entries", scope=READ, effect="read", doors=HTTP_ONLY)
async def list_audit_entries(ctx: Context, query: AuditFilter) -> AuditPage:
    """Read the audit log with its hashes, oldest first, so that it can be verified by anybody."""
    from market import audit

    store = await ctx.market.store()
    found = await audit.entries(
        store,
        after=query.after,
        limit=query.limit + 1,
        subject=query.subject,
        actor=query.actor,
        action=query.action,
        since=query.since,
    )
    page = found[: query.limit]
    head = await audit.head(store)
    return AuditPage(
        items=[_shown(entry) for entry in page],
        head=AuditHead(seq=head.seq, hash=head.hash),
        next_after=page[-1].seq if len(found) > len(page) else None,
    )


@capability("POST /audit/redact", scope=REDACT, effect="write", doors=HTTP_ONLY)
async def redact_audit(ctx: Context, query: AuditRedaction) -> AuditRedacted:
    """Erase the personal details of a subject or an actor from the audit log; the chain stays whole."""
    from market import audit

    erased = await audit.redact(
        await ctx.market.store(),
        at=ctx.market.clock.now(),
        subject=query.subject,
        actor=query.actor,
        reason=None if query.reason is None else clean_text(query.reason, 200),
        commitment=ctx.commitment,
    )
    return AuditRedacted(redacted=erased)


def _shown(entry: Entry) -> AuditEntry:
    facts: dict[str, Any] = {name: getattr(entry, name) for name in AuditEntry.model_fields}
    return AuditEntry(**{**facts, "at": _as_hashed(entry.at)})


def _as_hashed(at: datetime) -> str:
    return str(json.loads(canonical(at)))
