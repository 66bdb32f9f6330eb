"""How the commands are written: their names, their options, and the nearest right word for a wrong one."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import NoReturn

from server import approval_commands, audit_commands, mandate_commands, sandbox_commands

SUMMARIES = {
    "stdio": "serve MCP to the program that starts this one",
    "serve": "serve MCP and HTTP on a port of this machine",
    "sync": "fetch prices now",
    "search": "find offers, cheapest first: gpubroker search gpu=H100 region=eu max_price=3",
    "parse": "show how a workload in plain words is understood",
    "call": "call any tool: gpubroker call rank_offers workload='serve Llama 3.1 8B'",
    "demo": "start the server, connect a real MCP client and show a transcript",
    "keys": "make, show and revoke the keys of agents",
    "mandate": "sign, show, raise and revoke what an agent may spend",
    "approve": "show and decide what agents have asked a person for",
    "audit": "verify, export or redact the audit log",
    "sandbox": "run a simulated cloud on this machine, to practise booking at no cost",
    "migrate": "bring the database to this version's schema",
    "doctor": "say what is configured, reachable and stale",
}
_FILTERS = {"search", "call"}


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command and its options; ends the process with code 2 and the nearest right word when one is wrong."""
    root, commands = _parsers()
    arguments, unknown = root.parse_known_args(argv)
    arguments.help = root.format_help()
    if unknown:
        name = arguments.command or ""
        command = commands.get(f"{name} {getattr(arguments, 'step', None)}", commands.get(name, root))
        command.error(_unknown(unknown[0], command, arguments.command))
    return arguments


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    return _parsers()[0]


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    root = _Parser(prog="gpubroker", description="Find, size, compare and book GPU time across clouds.")
    root.add_argument("--version", action="store_true", help="print the version and stop")
    choices = root.add_subparsers(dest="command", metavar="COMMAND")
    common = _Parser(add_help=False)
    common.add_argument("--data-dir", help="folder of the database (GPUBROKER_DATA_DIR)")
    common.add_argument("--json", action="store_true", help="print JSON")
    commands: dict[str, argparse.ArgumentParser] = {
        name: choices.add_parser(name, help=summary, description=summary, parents=[common], allow_abbrev=False)
        for name, summary in SUMMARIES.items()
    }
    for name in ("stdio", "serve"):
        commands[name].add_argument("--read-only", action="store_true", help="offer only tools that change nothing")
        commands[name].add_argument("--toolsets", help="comma-separated toolsets to offer")
        commands[name].add_argument("--no-sync", action="store_true", help="do not fetch prices in the background")
    commands["serve"].add_argument("--host", help="address to listen on (127.0.0.1)")
    commands["serve"].add_argument("--port", type=int, help="port to listen on (10355; 0 takes a free one)")
    commands["sync"].add_argument("provider", nargs="*", help="only these providers")
    commands["demo"].add_argument(
        "--part", choices=["market", "booking"], help="show only one half: finding and ranking, or buying"
    )
    commands["search"].add_argument("words", nargs="*", help="words to look for, or filters such as gpu=H100")
    commands["parse"].add_argument("words", nargs="+", help="the workload")
    commands["call"].add_argument("tool", help="the tool's name")
    commands["call"].add_argument(
        "arguments", nargs="*", metavar="name=value", help="its arguments; a value may be JSON"
    )
    approval_commands.add_options(commands["approve"])
    audit_commands.add_options(commands["audit"])
    sandbox_commands.add_options(commands["sandbox"])
    commands |= mandate_commands.add_key_options(commands["keys"])
    commands |= mandate_commands.add_mandate_options(commands["mandate"])
    return root, commands


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Usage and what is wrong on stderr; for a command that does not exist, the nearest one."""
        wrong = re.search(r"COMMAND: invalid choice: (['\"])(.*?)\1", message)
        if wrong:
            message = f"there is no command `{wrong[2][:60]}`{_nearest(wrong[2], list(SUMMARIES))}"
        elif message.endswith("required: STEP"):
            message = f"what should it do? One of: {', '.join(self._steps())}"
        super().error(message)

    def _steps(self) -> list[str]:
        return [str(step) for action in self._actions if action.dest == "step" for step in action.choices or ()]


def _unknown(word: str, command: argparse.ArgumentParser, name: str | None) -> str:
    if not word.startswith("-"):
        return f"`{word[:60]}` is one word too many"
    option = word.partition("=")[0]
    near = _nearest(option, re.findall(r"--[a-z][\w-]*", command.format_usage()))
    filters = "; filters are written name=value, such as max_price=3" if name in _FILTERS else ""
    return f"there is no option `{option[:60]}`{near or filters}"


def _nearest(word: str, right: Sequence[str]) -> str:
    close = difflib.get_close_matches(word.lower(), right, n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else ""
