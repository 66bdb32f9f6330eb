"""Every live alert as columns, so that one change of prices is judged for all of them at once.

Alerts on the same thing share one target; a change is a price and a stock code a target, and the rest is a few
comparisons of arrays. Prices are integer millionths of a US dollar, times microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from market.alerts import CONDITION_KINDS, IN_STOCK, REARM_MARGIN, Alert, Firing, Target
from market.money import from_millionths, to_millionths
from market.rows import from_micros, to_micros

UNKNOWN = -1
"""Where a target has no price, or its stock was not looked at."""
_NEVER = np.iinfo(np.int64).max
_KIND: dict[str, int] = {kind: code for code, kind in enumerate(CONDITION_KINDS)}
_LEFTOVERS = 1_024
"""Rows of forgotten alerts that are carried along before the columns are made anew."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a target is at now: the price, the stock, how far the price lies from its usual level, and which offer."""

    price: int = UNKNOWN
    stock: int = UNKNOWN
    deviation: float = float("nan")
    offer_id: str | None = None
    event: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows from a change: alerts that fire, alerts that may fire again, and when to look once more."""

    fired: list[Firing]
    rearmed: list[Alert]
    look_again: dict[Target, datetime]
    """Targets whose alerts would fire but are in their quiet period, and when the first of these ends."""


class AlertIndex:
    """The live alerts of one market; rows of the columns are alerts, in no order."""

    def __init__(self, alerts: Iterable[Alert] = ()) -> None:
        self._clear()
        self.add(alerts)

    def _clear(self) -> None:
        self.alerts: list[Alert] = []
        self.targets: list[Target] = []
        self.place: dict[Target, int] = {}
        """Where a target is in `targets`."""
        self.by_offer: dict[str, int] = {}
        """The targets that are one offer, by its id."""
        self._row: dict[str, int] = {}
        self._target = np.empty(0, dtype=np.int64)
        self._kind = np.empty(0, dtype=np.int64)
        self._threshold = np.empty(0, dtype=np.float64)
        self._reference = np.empty(0, dtype=np.int64)
        self._quiet_until = np.empty(0, dtype=np.int64)
        self._expires = np.empty(0, dtype=np.int64)
        self._armed = np.empty(0, dtype=np.bool_)
        self._live = np.empty(0, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._row)

    def add(self, alerts: Iterable[Alert]) -> None:
        """Take in new alerts, or newer states of known ones; those that can never fire again are left out."""
        fresh: list[Alert] = []
        for alert in alerts:
            self.drop(alert.id)
            if alert.state in ("armed", "fired"):
                fresh.append(alert)
        if not fresh:
            return
        if len(self.alerts) > 2 * len(self._row) + _LEFTOVERS:
            kept = [self.alerts[row] for row in self._row.values()]
            self._clear()
            fresh = [*kept, *fresh]
        for alert in fresh:
            if alert.target not in self.place:
                self.place[alert.target] = len(self.targets)
                self.targets.append(alert.target)
                if alert.target.offer_id is not None:
                    self.by_offer[alert.target.offer_id] = self.place[alert.target]
            self._row[alert.id] = len(self.alerts)
            self.alerts.append(alert)
        self._target = _grown(self._target, [self.place[alert.target] for alert in fresh])
        self._kind = _grown(self._kind, [_KIND[alert.condition.kind] for alert in fresh])
        self._threshold = _grown(self._threshold, [_threshold(alert) for alert in fresh])
        self._reference = _grown(self._reference, [_reference(alert) for alert in fresh])
        self._quiet_until = _grown(self._quiet_until, [_quiet_until(alert) for alert in fresh])
        self._expires = _grown(
            self._expires, [_NEVER if a.expires_at is None else to_micros(a.expires_at) for a in fresh]
        )
        self._armed = _grown(self._armed, [alert.state == "armed" for alert in fresh])
        self._live = _grown(self._live, [True] * len(fresh))

    def drop(self, alert_id: str) -> None:
        """Forget an alert; one that is not here is no fault."""
        row = self._row.pop(alert_id, None)
        if row is not None:
            self._live[row] = False

    def get(self, alert_id: str) -> Alert | None:
        """The alert as it was last put in."""
        row = self._row.get(alert_id)
        return None if row is None else self.alerts[row]

    def groups(self) -> list[int]:
        """The targets that are more than one offer and still have a live alert."""
        live = np.unique(self._target[self._live]).tolist()
        return [place for place in live if self.targets[place].offer_id is None]

    def deviating(self) -> set[int]:
        """The targets somebody watches for anomalies."""
        return set(self._target[self._live & (self._kind == _KIND["anomaly"])].tolist())

    def expired(self, now: datetime) -> list[Alert]:
        """Alerts whose time is over."""
        return [self.alerts[row] for row in np.flatnonzero(self._live & (self._expires <= to_micros(now))).tolist()]

    def judge(self, readings: Mapping[int, Reading], now: datetime) -> Judgement:
        """What follows for every alert on the targets that were read. Changes nothing here: `add` the outcome."""
        price = np.full(len(self.targets), UNKNOWN, dtype=np.int64)
        stock = np.full(len(self.targets), UNKNOWN, dtype=np.int64)
        deviation = np.full(len(self.targets), np.nan)
        read = np.zeros(len(self.targets), dtype=np.bool_)
        at = np.fromiter(readings, dtype=np.int64, count=len(readings))
        read[at] = True
        price[at] = [reading.price for reading in readings.values()]
        stock[at] = [reading.stock for reading in readings.values()]
        deviation[at] = [reading.deviation for reading in readings.values()]
        rows = np.flatnonzero(self._live & read[self._target])
        hit, clear = self._holds(rows, price, stock, deviation)
        armed, quiet = self._armed[rows], self._quiet_until[rows] > to_micros(now)
        fired = [self._firing(row, readings[int(self._target[row])]) for row in rows[hit & armed & ~quiet].tolist()]
        rearmed = [self.alerts[row] for row in rows[clear & ~armed].tolist()]
        return Judgement(fired, rearmed, self._look_again(rows[hit & armed & quiet]))

    def _holds(
        self,
        rows: npt.NDArray[np.intp],
        prices: npt.NDArray[np.int64],
        stocks: npt.NDArray[np.int64],
        deviations: npt.NDArray[np.float64],
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """For each row whether its condition holds, and whether it has clearly ceased to."""
        target, kind = self._target[rows], self._kind[rows]
        threshold, reference = self._threshold[rows], self._reference[rows]
        price, stock, deviation = prices[target], stocks[target], np.abs(deviations[target])
        priced = price >= 0
        move = np.abs(price - reference) * 100.0 / np.maximum(reference, 1)
        hits = {
            "price_below": priced & (price <= threshold),
            "price_above": priced & (price >= threshold),
            "price_move": priced & (reference > 0) & (move >= threshold),
            "anomaly": deviation >= threshold,
            "available": stock >= IN_STOCK,
            "availability_change": (stock != UNKNOWN) & (stock != reference),
        }
        clears = {
            "price_below": priced & (price > threshold * (1 + REARM_MARGIN)),
            "price_above": priced & (price < threshold * (1 - REARM_MARGIN)),
            "anomaly": deviation < threshold * (1 - REARM_MARGIN),
            "available": (stock != UNKNOWN) & (stock < IN_STOCK),
        }
        hit, clear = np.zeros(rows.size, dtype=np.bool_), np.zeros(rows.size, dtype=np.bool_)
        for name, holds in hits.items():
            hit |= (kind == _KIND[name]) & holds
        for name, holds in clears.items():
            clear |= (kind == _KIND[name]) & holds
        return hit, clear

    def _firing(self, row: int, reading: Reading) -> Firing:
        alert = self.alerts[row]
        kind = alert.condition.kind
        new = (
            from_millionths(reading.price)
            if kind in ("price_below", "price_above", "price_move")
            else Decimal(repr(round(reading.deviation, 4)))
            if kind == "anomaly"
            else Decimal(reading.stock)
        )
        return Firing(
            alert=alert,
            event=reading.event,
            old=alert.reference_value if alert.last_value is None else alert.last_value,
            new=new,
            offer_id=reading.offer_id,
        )

    def _look_again(self, rows: npt.NDArray[np.intp]) -> dict[Target, datetime]:
        soonest: dict[Target, datetime] = {}
        for row in rows.tolist():
            target, ends = self.targets[self._target[row]], from_micros(int(self._quiet_until[row]))
            soonest[target] = min(soonest.get(target, ends), ends)
        return soonest


def _grown(column: npt.NDArray[Any], more: Sequence[object]) -> npt.NDArray[Any]:
    return np.concatenate([column, np.array(more, dtype=column.dtype)])


def _threshold(alert: Alert) -> float:
    """In what it is compared with: millionths of a dollar, percent, deviations."""
    value = alert.condition.threshold
    if value is None:
        return float("nan")
    return float(to_millionths(value)) if alert.condition.kind in ("price_below", "price_above") else float(value)


def _reference(alert: Alert) -> int:
    value = alert.reference_value
    if value is None:
        return UNKNOWN
    return int(value) if alert.condition.kind == "availability_change" else to_millionths(value)


def _quiet_until(alert: Alert) -> int:
    if alert.last_fired_at is None:
        return 0
    return to_micros(alert.last_fired_at) + alert.quiet_minutes * 60_000_000
