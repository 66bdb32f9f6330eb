"""`gpubroker audit verify | export | redact`: the log for those who check it, without a server.

The export verifies with nothing of ours. Of each line take `action`, `actor`, `at`, `details`, `personal_hash`, `seq`
and `subject` as one JSON object with sorted keys, no spaces and UTF-8; put the hash of the line before in front (none
for the first); its SHA-256 must be the line's `hash`. The last hash must be the one in the closing `head` line, and
that of any head you noted before must still be in its place.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market.context import Market
    from market.settings import Settings

DONE, UNWELL = 0, 4
AT_ONCE = 500
STEPS = {
    "verify": "find any entry that was edited, removed, moved or cut off; exit code 4 when there is one",
    "export": "write every entry with its hash as JSON lines, the head last",
    "redact": "erase personal details of a subject or an actor; the chain stays whole",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The three steps and their options."""
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    for name, summary in STEPS.items():
        step = steps.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        # said before the step or after it: what is left out here must not undo what was said there
        step.add_argument("--data-dir", default=argparse.SUPPRESS, help="folder of the database (GPUBROKER_DATA_DIR)")
        step.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        if name != "verify":
            step.add_argument("--subject", help="only entries about it, such as a booking id")
            step.add_argument("--actor", help="only entries by them")
        if name == "export":
            step.add_argument("--after", type=int, default=0, help="only entries after this number")
            step.add_argument("--since", help="only entries from this time on (ISO 8601)")
        if name == "redact":
            step.add_argument("--reason", help="a case number; it stays in the log")


async def audit(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run one step for whoever uses this terminal."""
    from market.context import opened
    from server.app import make_market

    async with opened(make_market(settings)) as market:
        return await {"verify": _verify, "export": _export, "redact": _redact}[arguments.step](arguments, market)


async def _verify(arguments: argparse.Namespace, market: Market) -> int:
    found = await _called(market, "verify_audit", {})
    if arguments.json:
        print(found.brief())
    else:
        for line in _words(found):
            print(line)
    return DONE if found.intact else UNWELL


def _words(found: Any) -> list[str]:
    if not found.entries and found.intact:
        return ["The audit log is empty: nothing has been changed or bought yet."]
    head = f"entry {found.head.seq} ({found.head.hash})" if found.entries else "nothing"
    if found.intact:
        erased = f"; personal details of {found.redacted} were erased on purpose" if found.redacted else ""
        return [
            f"The audit log is whole: {found.entries:,} entries, each follows the one before{erased}.",
            f"It ends with {head}; anchored at entry {found.anchor.seq}.",
        ]
    lines = [f"The audit log is NOT as it was written. Problems: {found.problem_count}. It ends with {head}."]
    for problem in found.problems:
        lines += [f"- {problem.message}", f"  {problem.next_step}"]
    return lines


async def _export(arguments: argparse.Namespace, market: Market) -> int:
    given = {name: getattr(arguments, name) for name in ("subject", "actor", "since", "after")}
    async for line in _lines(market, {name: value for name, value in given.items() if value is not None}):
        sys.stdout.write(line + "\n")
    return DONE


async def _lines(market: Market, filters: dict[str, Any]) -> AsyncIterator[str]:
    """Each entry up to the head as it is now, then `{"head": …}`; what is appended meanwhile is for the next export."""
    head = None
    while True:
        page = await _called(market, "list_audit_entries", {**filters, "limit": AT_ONCE})
        head = head or page.head
        for entry in page.items:
            if entry.seq <= head.seq:
                yield entry.model_dump_json(exclude_none=True)
        if page.next_after is None or page.next_after >= head.seq:
            break
        filters = {**filters, "after": page.next_after}
    yield json.dumps({"head": head.model_dump()})


async def _redact(arguments: argparse.Namespace, market: Market) -> int:
    given = {name: getattr(arguments, name) for name in ("subject", "actor", "reason")}
    found = await _called(market, "redact_audit", {name: value for name, value in given.items() if value is not None})
    if arguments.json:
        print(found.brief())
    else:
        if not found.redacted:
            print("Nothing was erased: no such entry holds personal details.")
            return DONE
        print(f"Personal details were erased from {found.redacted} entries; every hash is as it was.")
    return DONE


async def _called(market: Market, name: str, arguments: dict[str, Any]) -> Any:
    """The capability's answer to whoever uses this terminal; a wrong value is told as the option it came from."""
    from market.context import Context
    from market.errors import ValidationFailed
    from server.callers import local_caller
    from tools.capability import capabilities

    try:
        return await capabilities()[name].call(Context(market, await local_caller(market)), arguments)
    except ValidationFailed as refusal:
        said = re.sub(r"`(subject|actor|since|after|reason)`", r"`--\1`", refusal.message)
        said = said.replace("`request` needs", "This needs")
        next_step = refusal.next_step.replace("send again", "run it again")
        raise ValidationFailed(said, next_step=next_step, details=refusal.details) from None
