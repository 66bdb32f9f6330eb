"""When nothing matches: which constraint to loosen, how far, and what that finds; pairs when no single one helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from market.columns import Rows
from market.constraints import Constraint
from market.frame import NO_AMOUNT, Frame
from market.money import from_millionths


@dataclass(frozen=True, slots=True)
class Relaxation:
    """One way to find something: `constraint` names the query's field (or two), `change` says what to do with it.

    `suggested` is the value to ask for instead of `asked`; None means to leave the constraint out.
    """

    constraint: str
    asked: object
    suggested: object
    change: str
    total: int
    cheapest_per_hour: Decimal | None


def relaxations(frame: Frame, demanded: Sequence[Constraint]) -> list[Relaxation]:
    """Ways out of an empty answer, the smallest concession first; none when there is nothing to give up."""
    asked = [constraint for constraint in demanded if not constraint.implied]
    fixed = [condition for each in demanded if each.implied for condition in each.conditions]
    failed: npt.NDArray[np.uint32] = np.zeros(frame.size, dtype=np.uint32)
    for place, constraint in enumerate(asked):
        missed = np.uint32(1 << place)
        for condition in constraint.conditions:
            failed |= np.where(condition.holds(slice(None)), np.uint32(0), missed)
    possible = np.ones(frame.size, dtype=np.bool_)
    for condition in fixed:
        possible &= condition.holds(slice(None))
    rest = failed & (failed - np.uint32(1))
    possible &= failed != 0
    near = np.flatnonzero(possible & (rest == 0))
    if not near.size:
        near = np.flatnonzero(possible & (rest & (rest - np.uint32(1)) == 0))
    found = []
    for unmet in sorted(set(failed[near].tolist())):
        given_up = [constraint for place, constraint in enumerate(asked) if unmet >> place & 1]
        found.append(_loosened(frame, given_up, near[failed[near] == unmet]))
    return found


def _loosened(frame: Frame, given_up: Sequence[Constraint], rows: Rows) -> Relaxation:
    suggested: list[object] = []
    changes: list[str] = []
    for constraint in given_up:
        value, change, rows = _nearest(constraint, rows)
        suggested.append(value)
        changes.append(change)
    price = int(frame.amounts["price_per_hour_usd"][rows[0]])
    names = [constraint.field for constraint in given_up]
    named = [f"`{name}`: {change}" for name, change in zip(names, changes, strict=True)]
    single = len(given_up) == 1
    return Relaxation(
        constraint=", ".join(names),
        asked=given_up[0].asked if single else tuple(constraint.asked for constraint in given_up),
        suggested=suggested[0] if single else tuple(suggested),
        change=changes[0] if single else "; ".join(named),
        total=frame.machines(rows),
        cheapest_per_hour=None if price == NO_AMOUNT else from_millionths(price),
    )


def _nearest(constraint: Constraint, rows: Rows) -> tuple[object, str, Rows]:
    """The value closest to what was asked that still finds a row, how to say it, and the rows it finds."""
    if constraint.bound is not None:
        figures = constraint.bound.figures(rows)
        if not np.isnan(figures).all():
            upward = constraint.bound.direction == "raise"
            figure = np.nanmin(figures) if upward else np.nanmax(figures)
            value = constraint.bound.said(figure)
            enough = figures <= figure if upward else figures >= figure
            return value, f"{constraint.bound.direction} to {_plain(value)}", rows[enough]
    return None, "leave it out", rows


def _plain(value: Decimal | float) -> str:
    text = f"{value:f}" if isinstance(value, Decimal) else f"{value:.10g}"
    return text.rstrip("0").rstrip(".") if "." in text else text
