"""What the caller's mandates say of a purchase before it is made: allowed or not, what would pass, what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from market.context import Context
from tools.authority import NO_MANDATE_STEP, permitted

if TYPE_CHECKING:
    from market.mandate_register import Standing
    from market.mandates import Mandate, Purchase, Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The mandate that comes closest, and what it says of each leg; `mandate` is None where there is none."""

    mandate: Mandate | None
    violations: tuple[Violation, ...]
    allowed: tuple[bool, ...]
    needs_approval: bool
    remaining: Decimal


async def judged(ctx: Context, purchases: Sequence[Purchase]) -> Judgement:
    """The verdict on a purchase with its alternatives, by the mandate under which the fewest things are wrong."""
    from market import mandate_book
    from market.mandates import needs_approval, violations

    store, now = await ctx.market.store(), ctx.market.clock.now()
    closest: Judgement | None = None
    for mandate in await mandate_book.for_caller(store, ctx.market.settings, ctx.caller, now):
        standing = await mandate_book.standing(store, mandate.id)
        tried = [purchases[n] for n in permitted(mandate, purchases, ctx)]
        dearest = max(tried, key=lambda one: one.worst_total)
        of_each = [violations(mandate, one, now) for one in purchases]
        broken = {one.constraint for one in of_each[0]}
        lacking = [one for one in _lacking(standing, tried) if one.constraint not in broken]
        found = (*of_each[0], *lacking)
        judgement = Judgement(
            mandate=mandate,
            violations=found,
            allowed=tuple(not each and not lacking for each in of_each),
            needs_approval=not found and needs_approval(mandate, dearest),
            remaining=standing.remaining,
        )
        if closest is None or len(found) < len(closest.violations):
            closest = judgement
    return closest or _without_mandate(len(purchases))


def _lacking(standing: Standing, tried: Sequence[Purchase]) -> list[Violation]:
    """What is not left of the mandate now; the booking itself settles that when it claims."""
    worst = max(one.worst_total for one in tried)
    hourly = max(one.hourly_total for one in tried)
    instances = tried[0].instance_count
    found = [_above("budget", "of the budget is left", worst, standing.remaining)]
    if standing.hourly_budget is not None:
        left = standing.hourly_budget - standing.hourly_committed
        found.append(_above("hourly_budget", "an hour is left", hourly, left))
    if standing.max_concurrent is not None:
        room = max(0, standing.max_concurrent - standing.running)
        if instances > room:
            found.append(
                _violation(
                    "max_concurrent",
                    f"{standing.running} of {standing.max_concurrent} instances run already.",
                    (instances, room, instances - room),
                    f"at most {room} instances now",
                )
            )
    return [one for one in found if one is not None]


def _above(constraint: str, what: str, asked: Decimal, left: Decimal) -> Violation | None:
    from market.mandates import dollars

    free = max(left, Decimal(0))
    if asked <= free:
        return None
    message = f"{dollars(asked)} may be needed, {dollars(free)} {what}."
    return _violation(constraint, message, (asked, free, asked - free), f"at most {dollars(free)} now")


def _violation(constraint: str, message: str, figures: tuple[object, object, object], would_pass: str) -> Violation:
    from market.mandates import Violation

    asked, allowed, excess = figures
    return Violation(
        constraint=constraint, message=message, asked=asked, allowed=allowed, excess=excess, would_pass=would_pass
    )


def _without_mandate(legs: int) -> Judgement:
    return Judgement(
        mandate=None,
        violations=(_violation("mandate", "No mandate lets you spend.", ("a mandate", None, None), NO_MANDATE_STEP),),
        allowed=(False,) * legs,
        needs_approval=False,
        remaining=Decimal(0),
    )
