"""The command line: `gpubroker stdio | serve | sync | search | parse | call | demo | migrate | doctor`.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 nothing matched, 4 something is not well (doctor, sync).
Every command takes `--json`; words for people go to stdout only where a person asked for them, faults to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market.context import Market
    from market.settings import Settings

DONE, FAILED, USAGE, NOTHING, UNWELL = 0, 1, 2, 3, 4
Command = Callable[[argparse.Namespace, "Settings"], Coroutine[Any, Any, int]]


SUMMARIES = {
    "stdio": "serve MCP to the program that starts this one",
    "serve": "serve MCP and HTTP on a port of this machine",
    "sync": "fetch prices now",
    "search": "find offers, cheapest first",
    "parse": "show how a workload in plain words is understood",
    "call": "call any tool, such as: gpubroker call rank_offers workload='serve Llama 3.1 8B'",
    "demo": "start the server, connect a real MCP client and show a transcript",
    "migrate": "bring the database to this version's schema",
    "doctor": "say what is configured, reachable and stale",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(argv)
    if arguments.version:
        from importlib.metadata import version

        print(f"gpubroker {version('gpubroker')}")
        return DONE
    if arguments.command is None:
        parser().print_help()
        return USAGE
    from market.errors import BrokerError

    try:
        return asyncio.run(COMMANDS[arguments.command](arguments, _settings(arguments)))
    except BrokerError as refusal:
        _say_refusal(refusal, as_json=getattr(arguments, "json", False))
        return FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has had enough; nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    root = argparse.ArgumentParser(prog="gpubroker", description="Find, size and compare GPU time across clouds.")
    root.add_argument("--version", action="store_true", help="print the version and stop")
    commands = root.add_subparsers(dest="command", metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data-dir", help="folder of the database (GPUBROKER_DATA_DIR)")
    common.add_argument("--json", action="store_true", help="print JSON")

    def command(name: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=SUMMARIES[name], description=SUMMARIES[name], parents=[common])

    for name in ("stdio", "serve"):
        door = command(name)
        door.add_argument("--read-only", action="store_true", help="offer only tools that change nothing")
        door.add_argument("--toolsets", help="comma-separated toolsets to offer")
        door.add_argument("--no-sync", action="store_true", help="do not fetch prices in the background")
    door.add_argument("--host", help="address to listen on (127.0.0.1)")
    door.add_argument("--port", type=int, help="port to listen on (10355; 0 takes a free one)")
    command("sync").add_argument("provider", nargs="*", help="only these providers")
    command("search").add_argument("words", nargs="*", help="words to look for, or filters such as gpu=H100")
    command("parse").add_argument("words", nargs="+", help="the workload")
    call = command("call")
    call.add_argument("tool", help="the tool's name")
    call.add_argument("arguments", nargs="*", metavar="name=value", help="its arguments; a value may be JSON")
    for name in ("demo", "migrate", "doctor"):
        command(name)
    return root


def _settings(arguments: argparse.Namespace) -> Settings:
    """The environment's settings with the options of this command over them. Raises ValidationFailed."""
    from pathlib import Path

    from pydantic import ValidationError

    from market.errors import ValidationFailed
    from market.settings import Settings
    from tools.capability import explained

    given: dict[str, Any] = {
        name: value
        for name in ("host", "port", "toolsets", "read_only")
        if (value := getattr(arguments, name, None)) not in (None, False)
    }
    if arguments.data_dir:
        given["data_dir"] = Path(arguments.data_dir)
    if getattr(arguments, "no_sync", False):
        given["sync"] = "off"
    try:
        return Settings(**given)
    except ValidationError as problem:
        said = explained(problem)
        raise ValidationFailed(
            f"A setting is wrong: {said['message']}",
            next_step="Correct the option or the `GPUBROKER_…` variable of that name.",
            details=said["details"],
        ) from None


def _say_refusal(refusal: Any, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(refusal.envelope("")))
    else:
        print(f"{refusal.code}: {refusal}", file=sys.stderr)


async def _stdio(_arguments: argparse.Namespace, settings: Settings) -> int:
    from server.app import keep_fresh, make_market
    from server.mcp_stdio import run_stdio

    market = make_market(settings)
    await run_stdio(market, settings, on_first_answer=lambda: keep_fresh(market))
    return DONE


async def _serve(_arguments: argparse.Namespace, settings: Settings) -> int:
    from server.listen import listen

    await listen(settings)
    return DONE


async def _sync(arguments: argparse.Namespace, settings: Settings) -> int:
    from server.terminal import follow_sync, print_json
    from tools.sync import chosen, sync

    names = frozenset(arguments.provider) or settings.chosen_providers
    adapters = chosen(names)
    async with _market(settings) as market:
        if arguments.json:
            runs = await sync(market, adapters)
            print_json([{**_plain(run), "rows_per_second": round(run.rows_per_second, 1)} for run in runs])
        else:
            runs = await follow_sync(market, adapters)
    return UNWELL if any(run.error for run in runs) else DONE


async def _search(arguments: argparse.Namespace, settings: Settings) -> int:
    filters, words = _named(arguments.words)
    if words:
        filters.setdefault("q", " ".join(words))
    result = await _called(settings, "search_offers", filters)
    from server.terminal import print_offers

    if arguments.json:
        print(result.brief())
    else:
        print_offers(result)
    return DONE if result.total else NOTHING


async def _parse(arguments: argparse.Namespace, settings: Settings) -> int:
    from dataclasses import asdict

    from server.terminal import print_facts, print_json
    from tools.intake import read

    heard = {name: value for name, value in asdict(read(" ".join(arguments.words))).items() if value not in (None, [])}
    if arguments.json:
        print_json(heard)
    else:
        print_facts("Understood", heard)
    return DONE if heard.get("workload") else NOTHING


async def _call(arguments: argparse.Namespace, settings: Settings) -> int:
    named, rest = _named(arguments.arguments)
    if rest:
        from market.errors import ValidationFailed

        raise ValidationFailed(f"`{rest[0][:60]}` is no argument.", next_step="Write arguments as name=value.")
    result = await _called(settings, arguments.tool, named)
    from server.terminal import print_json

    if arguments.json:
        print(result.brief())
    else:
        print_json(json.loads(result.brief()))
    return DONE


async def _demo(arguments: argparse.Namespace, settings: Settings) -> int:
    from server.demo import run

    return await run(settings, as_json=arguments.json)


async def _migrate(arguments: argparse.Namespace, settings: Settings) -> int:
    async with _market(settings) as market:
        await market.store()
    said = {"database": "ready"}
    print(json.dumps(said) if arguments.json else "The database has this version's schema.")
    return DONE


async def _doctor(arguments: argparse.Namespace, settings: Settings) -> int:
    from server.doctor import examine
    from server.terminal import print_examination, print_json

    found = await examine(settings)
    if arguments.json:
        print_json(found)
    else:
        print_examination(found)
    return UNWELL if found["problems"] else DONE


COMMANDS: dict[str, Command] = {
    "stdio": _stdio,
    "serve": _serve,
    "sync": _sync,
    "search": _search,
    "parse": _parse,
    "call": _call,
    "demo": _demo,
    "migrate": _migrate,
    "doctor": _doctor,
}


def _market(settings: Settings) -> Any:
    from market.context import opened
    from server.app import make_market

    return opened(make_market(settings))


async def _called(settings: Settings, name: str, arguments: dict[str, Any]) -> Any:
    """A tool's result for the local owner. Raises NotFound with the nearest name for one that does not exist."""
    from market.context import Context
    from market.errors import NotFound
    from tools.capability import capabilities
    from tools.search import near

    chosen = capabilities().get(name)
    if chosen is None:
        nearest = near(name, list(capabilities()))
        raise NotFound(f"There is no tool `{name[:60]}`.", next_step=f"Nearest: {', '.join(nearest)}.")
    market: Market
    async with _market(settings) as market:
        return await chosen.call(Context(market), arguments)


def _named(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """`name=value` pairs (a value may be JSON), and the other words; a name given twice becomes a list."""
    named: dict[str, Any] = {}
    rest: list[str] = []
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name.isidentifier():
            rest.append(word)
            continue
        read = _value(value)
        named[name] = [*_as_list(named[name]), *_as_list(read)] if name in named else read
    return named, rest


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _plain(record: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(record)
