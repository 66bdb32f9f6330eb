"""What the operator of the simulated cloud may do, and no customer: set faults, stock and time, see every account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from adapters.sandbox_cloud import SandboxCloud, SandboxRefusal
from adapters.sandbox_dial import ENDPOINTS, FAULTS, Fault
from adapters.sandbox_requests import bad, read_number, read_whole

Operation = Callable[[SandboxCloud, Mapping[str, Any]], Any]
_LONGEST_SKIP_SECONDS = 10 * 366 * 86_400


def show_dial(cloud: SandboxCloud, _body: Mapping[str, Any]) -> Any:
    """The faults in force, and all there are."""
    rules = [
        {
            "fault": rule.fault.name,
            "value": rule.fault.value,
            "endpoint": rule.endpoint,
            "probability": rule.probability,
            "times": rule.times,
        }
        for rule in cloud.dial.rules
    ]
    return {"rules": rules, "faults": dict(FAULTS), "endpoints": list(ENDPOINTS)}


def set_dial(cloud: SandboxCloud, body: Mapping[str, Any]) -> Any:
    """Clear the dial when told to, then add rules and scripts. Raises SandboxRefusal and changes nothing."""
    rules = [_rule(one) for one in _entries(body.get("faults", []))]
    script = body.get("script") or {}
    if not isinstance(script, dict):
        raise bad("A script is an object of lists, by endpoint.")
    scripts = {
        endpoint: [None if one is None else _fault(one) for one in _entries(faults)]
        for endpoint, faults in script.items()
    }
    if unknown := sorted(set(scripts) - set(ENDPOINTS)):
        raise bad(f"There is no endpoint `{unknown[0][:40]}`.")
    if body.get("clear") is True:
        cloud.dial.clear()
    for fault, placed in rules:
        cloud.dial.set(fault.name, fault.value, **placed)
    for endpoint, faults in scripts.items():
        cloud.dial.script(endpoint, faults)
    return show_dial(cloud, {})


def set_stock(cloud: SandboxCloud, body: Mapping[str, Any]) -> Any:
    """Pin how many machines of a type others leave free in a region; null lets it move again."""
    kind, region = str(body.get("type", "")), str(body.get("region", ""))
    free = body.get("free")
    cloud.pin_stock(kind, region, None if free is None else read_whole(free, 0, 1_000_000, "free"))
    return {"type": kind, "region": region, "free": cloud.quote(kind, region, "on_demand")[2]}


def move_clock(cloud: SandboxCloud, body: Mapping[str, Any]) -> Any:
    """Let time pass for the cloud alone; says what time it is then."""
    seconds = read_number(body.get("advance_seconds", 0), "advance_seconds")
    if seconds > _LONGEST_SKIP_SECONDS:
        raise bad("`advance_seconds` is ten years at most.")
    return {"now": cloud.skip(timedelta(seconds=float(seconds))).isoformat()}


def interrupt(cloud: SandboxCloud, body: Mapping[str, Any]) -> Any:
    """Take a machine back, as a spot market does."""
    cloud.interrupt(_machine(cloud, body))
    return show_state(cloud, {})


def vanish(cloud: SandboxCloud, body: Mapping[str, Any]) -> Any:
    """Lose a machine without a trace for its account."""
    cloud.vanish(_machine(cloud, body))
    return show_state(cloud, {})


def show_state(cloud: SandboxCloud, _body: Mapping[str, Any]) -> Any:
    """Every machine of every account, with what it has cost."""
    now = cloud.now()
    return {
        "now": now.isoformat(),
        "seed": cloud.seed,
        "enforces_end": cloud.enforce_end,
        "calls": cloud.dial.calls,
        "machines": [
            {
                "id": one.id,
                "account": one.account,
                "label": one.label,
                "type": one.kind,
                "region": one.region,
                "pricing": one.pricing,
                "state": one.state,
                "end_reason": one.end_reason,
                "seconds": one.billed_seconds(now),
                "amount": str(one.amount(now)),
                "currency": one.currency,
            }
            for one in cloud.machines.values()
        ],
    }


def _machine(cloud: SandboxCloud, body: Mapping[str, Any]) -> str:
    machine_id = str(body.get("id", ""))
    if machine_id not in cloud.machines:
        raise SandboxRefusal("not_found", "There is no such machine.")
    return machine_id


def _entries(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise bad("Faults come as a list.")
    return value


def _fault(entry: object) -> Fault:
    facts: Any = {"fault": entry} if isinstance(entry, str) else entry
    if not isinstance(facts, dict) or facts.get("fault") not in FAULTS:
        raise bad(f"A fault is one of {', '.join(FAULTS)}.")
    value = facts.get("value")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        raise bad("The `value` of a fault is a number or a text.")
    return Fault(facts["fault"], value)


def _rule(entry: Any) -> tuple[Fault, dict[str, Any]]:
    """A fault and where it strikes."""
    fault = _fault(entry)
    facts = entry if isinstance(entry, dict) else {}
    endpoint, times = facts.get("endpoint", "*"), facts.get("times")
    probability = float(read_number(facts.get("probability", 1), "probability"))
    if endpoint not in ENDPOINTS:
        raise bad(f"An endpoint is one of {', '.join(ENDPOINTS)}.")
    if probability > 1:
        raise bad("A probability is 1 at most.")
    limited = None if times is None else read_whole(times, 1, 1_000_000, "times")
    return fault, {"endpoint": endpoint, "probability": probability, "times": limited}
