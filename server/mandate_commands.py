"""`gpubroker keys` and `gpubroker mandate`: the pen of the owner, who makes keys and signs mandates."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market.settings import Settings

DONE = 0
KEY_STEPS = {
    "create": "make a key for an agent; its secret is shown once",
    "list": "show the keys",
    "revoke": "revoke a key and every mandate bound to it",
}
MANDATE_STEPS = {
    "create": "sign what an agent may spend: gpubroker mandate create --agent KEY --budget 50 --expires 30d",
    "list": "show the mandates in force and what is left of them",
    "show": "show one in full",
    "raise": "sign one anew with other limits; what is spent stays",
    "revoke": "revoke one for good",
}
_FLAGS = {
    "budget": "--budget",
    "hourly_budget": "--hourly",
    "max_hours": "--max-hours",
    "max_concurrent": "--max-concurrent",
    "approval_above": "--approval-above",
    "max_amount": "--max-amount",
    "amount_range.min": "--min-amount",
    "amount_range.max": "--max-amount",
    "min": "--min-amount",
    "max": "--max-amount",
    "recurrence.max_bookings": "--recurrence",
    "recurrence.every": "--recurrence",
    "recurrence": "--recurrence",
    "providers": "--provider",
    "regions": "--region",
    "gpus": "--gpu",
    "tags": "--tag",
    "pricing": "--pricing",
    "currencies": "--currency",
    "agent": "--agent",
    "not_before": "--not-before",
    "expires_at": "--expires",
    "expires_in_days": "--expires",
    "on_revocation": "--on-revocation",
}
"""What a field of the request is called here."""
_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0}
_LIMITS = ("budget", "hourly_budget", "max_hours", "max_concurrent", "approval_above")
_SETS = ("providers", "regions", "gpus", "tags", "pricing", "currencies")


def add_key_options(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The steps of `gpubroker keys` and their options, by how they are called."""
    steps = _steps(parser, KEY_STEPS)
    steps["create"].add_argument("name", help="what to call the agent: letters, digits, spaces and . _ @ -")
    steps["create"].add_argument(
        "--expires", metavar="SPAN", help="how long it is good: 90 (days), 12h, 2w; without: until it is revoked"
    )
    steps["revoke"].add_argument("key", help="its id or name")
    return {f"keys {name}": step for name, step in steps.items()}


def add_mandate_options(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The steps of `gpubroker mandate` and their options, by how they are called."""
    steps = _steps(parser, MANDATE_STEPS)
    create = steps["create"]
    create.add_argument("--agent", metavar="KEY", help="id or name of the agent's key (without: yourself)")
    create.add_argument("--min-amount", metavar="$", help="what one purchase must cost at worst, at least")
    create.add_argument("--recurrence", metavar="N/PERIOD", help="new bookings at most: 5/day, 20/week, 50/month")
    for option, what in (
        ("provider", "only this provider"),
        ("region", "only this area, country or region"),
        ("gpu", "only this GPU"),
        ("tag", "only offers marked so (compliance)"),
        ("pricing", "only on_demand, spot or reserved"),
        ("currency", "only offers priced in it (USD)"),
    ):
        create.add_argument(f"--{option}", action="append", default=[], metavar=option.upper(), help=f"{what}; repeat")
    create.add_argument("--failover", action="store_true", help="the next best may be tried")
    create.add_argument("--allow-unverified", action="store_true", help="providers not yet tried for real may be used")
    create.add_argument("--on-revocation", metavar="POLICY", help="keep what runs (default), or terminate it")
    create.add_argument("--not-before", metavar="TIME", help="when it begins: 2027-01-31T08:00Z (without: now)")
    for step in (create, steps["raise"]):
        step.add_argument("--budget", metavar="$", required=step is create, help="for all purchases together")
        step.add_argument("--hourly", metavar="$", dest="hourly_budget", help="for everything that runs, an hour")
        step.add_argument("--max-amount", metavar="$", help="what one purchase may cost at worst")
        step.add_argument("--max-hours", metavar="HOURS", help="of one booking, extensions included")
        step.add_argument("--max-concurrent", metavar="N", help="machines that run at a time")
        step.add_argument("--approval-above", metavar="$", help="ask a person for each purchase above this; 0 for all")
    create.add_argument("--expires", metavar="SPAN", help="when it ends: 30d (default), 12h, 2w, or a date")
    steps["raise"].add_argument("--expires", metavar="SPAN", help="when it ends now: 30d, 12h, 2w, or a date")
    steps["list"].add_argument("--all", action="store_true", help="those that are over, too")
    for name in ("show", "raise", "revoke"):
        steps[name].add_argument("mandate_id", metavar="ID", help="the mandate")
    steps["revoke"].add_argument("--terminate", action="store_true", help="end what runs under it, whatever it says")
    return {f"mandate {name}": step for name, step in steps.items()}


async def keys(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run one step of `gpubroker keys`."""
    given: dict[str, Any] = {}
    if arguments.step == "create":
        given = {"name": arguments.name}
        if arguments.expires is not None:
            given |= _lifetime(arguments.expires if not arguments.expires.isdigit() else f"{arguments.expires}d")
    elif arguments.step == "revoke":
        given = {"key": arguments.key}
    name = {"create": "create_key", "list": "list_keys", "revoke": "revoke_key"}[arguments.step]
    return _said(arguments, await _called(settings, name, given), _KEY_WORDS[arguments.step])


async def mandate(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run one step of `gpubroker mandate`."""
    name, given = _MANDATE_CALLS[arguments.step](arguments)
    found = await _called(settings, name, given)
    code = _said(arguments, found, _MANDATE_WORDS[arguments.step])
    if arguments.step == "revoke" and not arguments.json:
        print(_what_runs(found, told_to_end=arguments.terminate))
    return code


def _steps(parser: argparse.ArgumentParser, summaries: Mapping[str, str]) -> dict[str, argparse.ArgumentParser]:
    choices = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    steps = {}
    for name, summary in summaries.items():
        step = choices.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        # said before the step or after it: what is left out here must not undo what was said there
        step.add_argument("--data-dir", default=argparse.SUPPRESS, help="folder of the database (GPUBROKER_DATA_DIR)")
        step.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        steps[name] = step
    return steps


async def _called(settings: Settings, name: str, given: Mapping[str, Any]) -> Any:
    """The capability's answer to whoever uses this terminal; a wrong field is told as the option it came from."""
    from market.context import Context, opened
    from market.errors import ValidationFailed
    from server.app import make_market
    from server.callers import local_caller
    from tools.capability import capabilities

    async with opened(make_market(settings)) as market:
        try:
            return await capabilities()[name].call(Context(market, await local_caller(market)), given)
        except ValidationFailed as refusal:
            next_step = refusal.next_step.replace("send again", "run it again")
            raise ValidationFailed(
                _as_options(refusal.message), next_step=_as_options(next_step), details=refusal.details
            ) from None


def _as_options(text: str) -> str:
    """The fields a refusal names, as the options they came from; `--expires` is counted in days there."""
    said = re.sub(
        r"`([a-z_]+(?:\.[a-z_]+)?)(?:\.\d+)?`",
        lambda found: f"`{_FLAGS.get(found[1], found[1])}`",
        text.replace("`amount_range` ", ""),
    )
    return re.sub(
        r"(`--expires` must be [a-z ]+)(\d+(?:\.\d+)?)", lambda found: f"{found[1]}{float(found[2]):g} days", said
    )


def _created(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    given = {
        "agent": arguments.agent,
        "providers": arguments.provider,
        "regions": arguments.region,
        "gpus": arguments.gpu,
        "tags": arguments.tag,
        "pricing": arguments.pricing,
        "currencies": arguments.currency or None,
        "failover": arguments.failover,
        "allow_unverified": arguments.allow_unverified,
        "on_revocation": arguments.on_revocation,
        "not_before": arguments.not_before,
        **_limits(arguments),
    }
    within = _present({"min": arguments.min_amount, "max": arguments.max_amount})
    if within:
        given["amount_range"] = within
    if arguments.recurrence is not None:
        given["recurrence"] = _recurrence(arguments.recurrence)
    return "create_mandate", _present(given)


def _raised(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    given = {"mandate_id": arguments.mandate_id, "max_amount": arguments.max_amount, **_limits(arguments)}
    return "raise_mandate", _present(given)


def _revoked(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    policy = {"on_revocation": "terminate"} if arguments.terminate else {}
    return "revoke_mandate", {"mandate_id": arguments.mandate_id, **policy}


def _limits(arguments: argparse.Namespace) -> dict[str, Any]:
    limits = {name: getattr(arguments, name) for name in _LIMITS}
    return limits if arguments.expires is None else limits | _lifetime(arguments.expires)


def _lifetime(text: str) -> dict[str, Any]:
    from datetime import datetime

    from market.errors import ValidationFailed

    span = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([hdw])", text.strip())
    if span:
        return {"expires_in_days": float(span[1]) * _DAYS[span[2]]}
    try:
        return {"expires_at": datetime.fromisoformat(text.strip()).isoformat()}
    except ValueError:
        raise ValidationFailed(
            f"`--expires` cannot be `{text[:40]}`.", next_step="Write `30d`, `12h`, `2w`, or a date: 2027-01-31."
        ) from None


def _recurrence(text: str) -> dict[str, str]:
    from market.errors import ValidationFailed

    count, sign, every = text.partition("/")
    if not sign:
        raise ValidationFailed(f"`--recurrence` cannot be `{text[:40]}`.", next_step="Write `5/day` or `20/week`.")
    return {"max_bookings": count.strip(), "every": every.strip()}


def _present(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _said(arguments: argparse.Namespace, result: Any, words: Callable[[Any], None]) -> int:
    if arguments.json:
        print(result.brief())
    else:
        words(result)
    return DONE


def _key_made(key: Any) -> None:
    from server.terminal import print_facts

    print_facts(f"Key of {key.name}", _facts(key))
    print("Give the secret to the agent now (GPUBROKER_AGENT_KEY, or `Authorization: Bearer …`): it is kept nowhere.")


def _key_ended(key: Any) -> None:
    ended = f", and with it {', '.join(key.mandates)}" if key.mandates else ""
    print(f"The key {key.id} ({key.name}) is revoked{ended}.")


def _keys_listed(found: Any) -> None:
    if not found.items:
        print("There is no agent key yet. Make one: gpubroker keys create NAME")
        return
    rows = [(key.id, key.name, key.state, _day(key.created_at), _day(key.expires_at)) for key in found.items]
    _table(("id", "name", "state", "made", "expires"), rows)


def _mandate_shown(found: Any) -> None:
    from server.terminal import print_facts

    facts = _facts(found)
    print_facts(f"Mandate {facts.pop('id')}", {name: facts[name] for name in facts if name != "jws"})


def _what_runs(revoked: Any, *, told_to_end: bool) -> str:
    """What becomes of the machines under a mandate that was revoked just now."""
    count = revoked.standing.running
    if not count:
        return "Nothing runs under it."
    if told_to_end or (revoked.constraints is not None and revoked.constraints.on_revocation == "terminate"):
        return f"Machines under it: {count}. The watchdog ends them now; start `gpubroker serve` when none runs."
    return f"Machines under it: {count}. They go on until their end: end them with `terminate_booking`."


def _mandates_listed(found: Any) -> None:
    if not found.items:
        print("No mandate is in force. Sign one: gpubroker mandate create --agent KEY --budget 50")
        return
    rows = [
        (
            one.id,
            one.agent,
            one.state.replace("_", " "),
            _dollars(one.constraints.budget) if one.constraints else "?",
            _dollars(one.standing.remaining),
            _day(one.expires_at),
        )
        for one in found.items
    ]
    _table(("id", "agent", "state", "budget", "left", "expires"), rows)


def _facts(result: Any) -> dict[str, str]:
    """A result as names and words, what is inside others beside them."""
    facts: dict[str, str] = {}
    for name, value in result.model_dump(mode="json", exclude_none=True).items():
        inner = value if name in ("constraints", "standing") else {name: value}
        facts |= {key.replace("_", " "): _worded(key, said) for key, said in inner.items()}
    return facts


def _worded(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if name == "recurrence":
        return f"{value['max_bookings']} new bookings in any {value['every']}"
    if name == "amount_range":
        return f"{_dollars(value.get('min', 0))} to {_dollars(value['max']) if 'max' in value else 'any'}"
    if name == "max_hours":
        return f"{value:g} hours"
    if isinstance(value, float):
        return _dollars(value)
    return str(value)


def _dollars(value: Any) -> str:
    return f"${value:,.2f}"


def _day(moment: Any) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from server.terminal import console

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console().print(table)


_KEY_WORDS = {"create": _key_made, "list": _keys_listed, "revoke": _key_ended}
_MANDATE_WORDS = {step: _mandates_listed if step == "list" else _mandate_shown for step in MANDATE_STEPS}
_MANDATE_CALLS: dict[str, Callable[[argparse.Namespace], tuple[str, dict[str, Any]]]] = {
    "create": _created,
    "list": lambda arguments: ("list_mandates", {"all": arguments.all}),
    "show": lambda arguments: ("get_mandate", {"mandate_id": arguments.mandate_id}),
    "raise": _raised,
    "revoke": _revoked,
}
