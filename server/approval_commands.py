"""`gpubroker approve list | yes ID | no ID`: a person decides what an agent has asked to spend."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market.settings import Settings

DONE, NOTHING = 0, 3
STEPS = {
    "list": "show what waits for a decision",
    "yes": "approve one; the agent may then buy exactly that, once",
    "no": "decline one",
}

_FOLLOWS = {
    "yes": "Whoever asked may now make the same call again: it buys exactly this, once.",
    "no": "It will not be bought; asking for the same again changes nothing.",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The three steps and their options."""
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    for name, summary in STEPS.items():
        step = steps.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        # said before the step or after it: what is left out here must not undo what was said there
        step.add_argument("--data-dir", default=argparse.SUPPRESS, help="folder of the database (GPUBROKER_DATA_DIR)")
        step.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        if name == "list":
            step.add_argument("--all", action="store_true", help="decided, used and expired ones too")
        else:
            step.add_argument("id", help="the approval's id, as `list` shows it")


async def approve(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run one step for the person at this terminal."""
    from market.context import Context, opened
    from server.app import make_market
    from server.callers import local_caller
    from tools.approvals import decided
    from tools.capability import capabilities

    async with opened(make_market(settings)) as market:
        ctx = Context(market, await local_caller(market))
        if arguments.step != "list":
            sheet = await decided(ctx, arguments.id[:60], approved=arguments.step == "yes", via="cli")
            print(sheet.brief() if arguments.json else "\n".join([*_line(sheet), _FOLLOWS[arguments.step]]))
            return DONE
        page = await capabilities()["list_approvals"].call(ctx, {"state": "all" if arguments.all else "waiting"})
    if arguments.json:
        print(page.brief())
    else:
        print("\n".join(_listed(page.items)))
    return DONE if page.items else NOTHING


def _listed(items: list[Any]) -> list[str]:
    if not items:
        return ["Nothing waits for a decision."]
    lines = [line for item in items for line in _line(item)]
    if any(item.state == "waiting" for item in items):
        lines.append("Decide with `gpubroker approve yes ID` or `gpubroker approve no ID`.")
    return lines


def _line(item: Any) -> list[str]:
    decided = f" by {item.decided_by} ({item.decided_via})" if item.decided_by else ""
    until = f", until {item.expires_at:%Y-%m-%d %H:%M} UTC" if item.state in ("waiting", "approved") else ""
    return [
        f"{item.id}  {item.state}{decided}{until}",
        f"  {item.summary}",
        f"  asked by {item.caller} under {item.mandate_id}: at most {item.amount:,.2f} USD",
    ]
