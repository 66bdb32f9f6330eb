"""The anchor: where the audit chain ended when something was last spent, kept outside the table it vouches for.

A chain alone does not show that its tail was cut off. So the newest link is also written to `audit.head` in the data
folder, one line of JSON for each database this folder has written to, replaced whole and flushed to the disk.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from market.errors import StorageFailed

ANCHOR_FILE = "audit.head"
_LOCK_FILE = "audit.lock"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link of the chain: its number (0 when there is none) and its hash."""

    seq: int
    hash: str


def read(folder: Path, database: str) -> Head | None:
    """The anchor of this database; None when it has none here. Raises StorageFailed when it cannot be read."""
    try:
        return _lines(folder).get(database)
    except OSError as problem:
        raise _unusable(folder, problem) from None


def write(folder: Path, database: str, head: Head) -> None:
    """Move the anchor to `head` unless it is further already. Raises StorageFailed when it cannot be kept for certain.

    Blocks for as long as the disk takes; several processes take turns.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _turn(folder):
            lines = _lines(folder)
            before = lines.get(database)
            if before is None or before.seq < head.seq:
                _replace(folder, {**lines, database: head})
    except OSError as problem:
        raise _unusable(folder, problem) from None


def _lines(folder: Path) -> dict[str, Head]:
    path = folder / ANCHOR_FILE
    found: dict[str, Head] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return found
    except UnicodeDecodeError:
        raise _damaged(path) from None
    for line in text.splitlines():
        try:
            facts = json.loads(line)
            found[str(facts["database"])] = Head(int(facts["seq"]), str(facts["hash"]))
        except (ValueError, KeyError, TypeError):
            raise _damaged(path) from None
    return found


def _replace(folder: Path, lines: dict[str, Head]) -> None:
    """A new file in place of the old one: a crash or a full disk leaves the old one whole."""
    draft = folder / f".{ANCHOR_FILE}.new"
    written = "".join(
        json.dumps({"database": name, "seq": head.seq, "hash": head.hash}, ensure_ascii=False) + "\n"
        for name, head in sorted(lines.items())
    )
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(written)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / ANCHOR_FILE)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _unusable(folder: Path, problem: OSError) -> StorageFailed:
    return StorageFailed(
        f"The audit log's anchor, `{folder / ANCHOR_FILE}`, cannot be kept ({problem.strerror}). Nothing is spent.",
        next_step="Free space and make the folder writable, then run `gpubroker audit verify`.",
    )


def _damaged(path: Path) -> StorageFailed:
    return StorageFailed(
        f"The anchor of the audit log, `{path}`, was changed: it cannot be read. Nothing is spent.",
        next_step="Put it back from a backup, then run `gpubroker audit verify`.",
    )
