"""The command line: `gpubroker COMMAND`, the commands as `server.usage` lists them.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 nothing matched, 4 something is not well (`audit verify`,
`doctor`, `sync`).
Every command takes `--json`; words for people go to stdout only where a person asked for them, faults to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from server import approval_commands, audit_commands, mandate_commands, sandbox_commands
from server.usage import parsed

if TYPE_CHECKING:
    from market.context import Market
    from market.errors import BrokerError
    from market.settings import Settings

DONE, FAILED, USAGE, NOTHING, UNWELL = 0, 1, 2, 3, 4
INTERRUPTED = 130
Command = Callable[[argparse.Namespace, "Settings"], Coroutine[Any, Any, int]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parsed(argv)
    if arguments.version:
        from server.version import product_version

        print(f"gpubroker {product_version()}")
        return DONE
    if arguments.command is None:
        print(arguments.help, end="")
        return USAGE
    _speak(as_json=arguments.json)
    from market.errors import BrokerError

    try:
        code = asyncio.run(COMMANDS[arguments.command](arguments, _settings(arguments)))
        sys.stdout.flush()
        return code
    except BrokerError as refusal:
        _say_refusal(refusal, as_json=arguments.json)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough; nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _speak(*, as_json: bool) -> None:
    """JSON is UTF-8; for people, what a terminal cannot show becomes a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if as_json and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


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
        if (value := getattr(arguments, name, None)) is not None and value is not False
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


def _say_refusal(refusal: BrokerError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(refusal.envelope(""), default=str))
    else:
        print("\n".join([f"{refusal.code}: {refusal}", *_would_pass(refusal)]), file=sys.stderr)


def _would_pass(refusal: BrokerError) -> list[str]:
    """What a mandate would allow instead, one line for each thing that is wrong."""
    found = refusal.details.get("violations")
    return (
        [f"  would_pass ({one['constraint']}): {one['would_pass']}" for one in found] if isinstance(found, list) else []
    )


async def _stdio(_arguments: argparse.Namespace, settings: Settings) -> int:
    from server.app import keep_going, make_market
    from server.mcp_stdio import run_stdio

    market = make_market(settings)
    await run_stdio(market, settings, on_first_answer=lambda: keep_going(market, serving=False))
    return DONE


async def _serve(_arguments: argparse.Namespace, settings: Settings) -> int:
    from server.listen import listen

    await listen(settings)
    return DONE


async def _sync(arguments: argparse.Namespace, settings: Settings) -> int:
    from dataclasses import asdict

    from server.terminal import follow_sync, print_json
    from tools.sync import chosen, sync

    names = frozenset(arguments.provider) or settings.chosen_providers
    async with _market(settings) as market:
        if arguments.json:
            runs = await sync(market, chosen(names))
            print_json([{**asdict(run), "rows_per_second": round(run.rows_per_second, 1)} for run in runs])
        else:
            runs = await follow_sync(market, names)
    return UNWELL if any(run.error for run in runs) else DONE


async def _search(arguments: argparse.Namespace, settings: Settings) -> int:
    filters, words = _named(arguments.words)
    if words:
        filters["q"] = " ".join([*([str(filters["q"])] if "q" in filters else []), *words])
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
    elif heard.keys() <= {"unread"}:
        print("Nothing was understood. Say what to run and on what: fine-tune Llama 3 8B, EU, under $3 an hour")
    else:
        unread = heard.pop("unread", [])
        print_facts("Understood", {**heard, **({"not said": ", ".join(unread)} if unread else {})})
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

    return await run(settings, as_json=arguments.json, part=arguments.part)


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
    "keys": mandate_commands.keys,
    "mandate": mandate_commands.mandate,
    "approve": approval_commands.approve,
    "audit": audit_commands.audit,
    "sandbox": sandbox_commands.sandbox,
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
    from server.callers import local_caller
    from tools.capability import capabilities
    from tools.search import near

    tools = {one.name: one for one in capabilities().values() if "tool" in one.doors}
    if name not in tools:
        nearest = near(name, list(tools))
        raise NotFound(
            f"There is no tool `{name[:60]}`.",
            next_step=f"{'Nearest' if nearest else 'There are'}: {', '.join(nearest or tools)}.",
            details={"nearest": nearest},
        )
    market: Market
    async with _market(settings) as market:
        if tools[name].scope == "bookings:read":
            await _brought_on(market)
        return await tools[name].call(Context(market, await local_caller(market)), arguments)


async def _brought_on(market: Market) -> None:
    """No process of ours may be running: what is due for bookings is done now, so that what is shown is not old."""
    from tools.fulfilment import hands

    await hands(market).sweep()


def _named(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """`name=value` pairs, and the other words; a name given twice becomes a list."""
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
    """A list, an object or a quoted text when it is written as JSON; all else stays text, for the request to read."""
    if text[:1] not in ("[", "{", '"'):
        return text
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
