"""Whether the audit log is the one that was written: every link, the head, the anchor, every erasure.

What is found, and how: an edited entry no longer has its hash; a removed one leaves a gap; a moved or inserted one does
not follow its predecessor; a cut tail falls short of the head and of the anchor; a chain made anew does not hold the
anchored hash; personal details that were erased without a redaction are in no redaction's list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from market import audit, audit_anchor
from market.audit_anchor import Head
from market.canonical import digest

if TYPE_CHECKING:
    from market.audit import Entry
    from market.settings import Settings
    from market.store import Store

ProblemKind = Literal["edited", "missing", "order", "personal", "erased", "cut", "head", "rewritten", "no_anchor"]
SHOWN = 20
_BATCH = 2_000
_BEFORE_ALL = -(2**63)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at which entry, and what to do."""

    seq: int
    kind: ProblemKind
    message: str
    next_step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the verification found; the first problems of `problem_count`."""

    entries: int
    redacted: int
    head: Head
    anchor: Head | None
    problems: tuple[Problem, ...]
    problem_count: int

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return self.problem_count == 0


_RESTORE = "Keep this database as evidence, compare with the newest export or backup, and restore that."
_NO_ANCHOR = "Verify on the machine that writes it, or put the file back from a backup; the next write makes a new one."
_REPLACED = f"{_RESTORE} If you replaced the database yourself, move `{audit_anchor.ANCHOR_FILE}` away."


@dataclass(slots=True)
class Walk:
    """The chain followed from its first entry; give it every entry in the order of their numbers."""

    watched: frozenset[int] = frozenset()
    """Numbers whose hashes are wanted afterwards."""
    last: Head = field(default_factory=lambda: Head(0, ""))
    entries: int = 0
    redacted: int = 0
    hash_at: dict[int, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    _unexplained: set[int] = field(default_factory=set)

    def follow(self, found: Iterable[Entry]) -> None:
        """Go on with these entries."""
        for entry in found:
            self._link(entry)
            self._personal(entry)
            self.entries += 1
            self.last = Head(entry.seq, entry.hash)
            if entry.seq in self.watched:
                self.hash_at[entry.seq] = entry.hash

    def finish(self, before: Head | None, now: Head | None, anchor: Head | None) -> None:
        """Hold the end against the log's head, as it was before and after the walk, and against the anchor."""
        for seq in sorted(self._unexplained):
            self._note(seq, "erased", f"The personal details of entry {seq} were erased, but not by a redaction.")
        self._check_head(before, now)
        self._check_anchor(anchor)

    def unreadable(self) -> None:
        """Note that the next entry cannot even be read; the walk ends there."""
        seq = self.last.seq + 1
        self._note(seq, "edited", f"Entry {seq} was edited: it cannot be read, and what follows was not verified.")

    def _note(self, seq: int, kind: ProblemKind, message: str, next_step: str = _RESTORE) -> None:
        """Add a problem."""
        self.problem_count += 1
        if len(self.problems) < SHOWN:
            self.problems.append(Problem(seq, kind, message, next_step))

    def _link(self, entry: Entry) -> None:
        missing, expected = entry.seq - self.last.seq - 1, self.last.seq + 1
        if missing > 0:
            which = f"Entry {expected} is" if missing == 1 else f"Entries {expected} to {entry.seq - 1} are"
            self._note(expected, "missing", f"{which} missing.")
        elif missing < 0:
            self._note(entry.seq, "order", f"Entry {entry.seq} comes before the first one: it was inserted.")
        elif entry.previous_hash != self.last.hash:
            what = f"Entry {entry.seq} does not follow entry {self.last.seq}: one of them was changed or moved."
            self._note(entry.seq, "order", what)
        try:
            unchanged = entry.hash == entry.expected_hash
        except ValueError:
            unchanged = False  # text that could never have been written
        if not unchanged:
            self._note(entry.seq, "edited", f"Entry {entry.seq} was edited: its hash does not fit.")

    def _personal(self, entry: Entry) -> None:
        if entry.personal is not None:
            if digest(entry.personal) != entry.personal_hash:
                self._note(entry.seq, "personal", f"The personal details of entry {entry.seq} were edited.")
        elif entry.personal_hash:
            self.redacted += 1
            self._unexplained.add(entry.seq)
        for first, last in audit.erased_by(entry):
            self._unexplained.difference_update(range(first, min(last, entry.seq - 1) + 1))

    def _check_head(self, before: Head | None, now: Head | None) -> None:
        if before is None or now is None:
            self._note(self.last.seq, "head", "The row that holds the log's head is missing.")
        elif before.seq > self.last.seq:
            what = f"The log ends at entry {self.last.seq}, but its head is {before.seq}."
            self._note(self.last.seq + 1, "cut", what)
        elif before.seq and self.hash_at.get(before.seq) != before.hash:
            self._note(before.seq, "head", f"Entry {before.seq} is not the one the log's head names.")
        elif self.last.seq > now.seq:
            self._note(now.seq + 1, "head", f"Entries after {now.seq} were not written by this program.")

    def _check_anchor(self, anchor: Head | None) -> None:
        if anchor is None:
            if self.entries:
                what = (
                    f"`{audit_anchor.ANCHOR_FILE}` names no end of this log: nobody can tell whether one was cut off."
                )
                self._note(self.last.seq, "no_anchor", what, _NO_ANCHOR)
        elif anchor.seq > self.last.seq:
            what = f"The end was cut off: the log ends at entry {self.last.seq}, but entry {anchor.seq} was anchored."
            self._note(self.last.seq + 1, "cut", what, _REPLACED)
        elif anchor.seq and self.hash_at.get(anchor.seq) != anchor.hash:
            what = f"The log was rewritten: entry {anchor.seq} is not the one that was anchored."
            self._note(anchor.seq, "rewritten", what)


async def verify(store: Store, settings: Settings) -> Verification:
    """Follow the whole log; entries appended meanwhile do no harm. Raises StorageFailed when it cannot be read.

    Takes about 40 seconds of one processor for a million entries.
    """
    name = audit.place(settings, store)
    anchor = await asyncio.to_thread(audit_anchor.read, settings.data_dir, name)
    before = await _head(store)
    walk = Walk(watched=frozenset(one.seq for one in (anchor, before) if one is not None))
    await _follow(walk, store)
    walk.finish(before, await _head(store), anchor)
    return Verification(
        entries=walk.entries,
        redacted=walk.redacted,
        head=walk.last,
        anchor=anchor,
        problems=tuple(walk.problems),
        problem_count=walk.problem_count,
    )


async def _follow(walk: Walk, store: Store) -> None:
    """Every entry up to the first that cannot be read: it holds what this program never writes."""
    after, limit = _BEFORE_ALL, _BATCH
    while True:
        try:
            found = await audit.entries(store, after=after, limit=limit)
        except audit.Unreadable:
            if limit > 1:
                limit = 1
                continue
            walk.unreadable()
            return
        if not found:
            return
        await asyncio.to_thread(walk.follow, found)
        after = found[-1].seq


async def _head(store: Store) -> Head | None:
    try:
        return await audit.head(store)
    except audit.HeadMissing:
        return None
