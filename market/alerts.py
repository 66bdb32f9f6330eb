"""What an alert watches and when it fires: the offer or offers, the condition, and what may be bought then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, get_args

ConditionKind = Literal["price_below", "price_above", "price_move", "anomaly", "available", "availability_change"]
CONDITION_KINDS: tuple[ConditionKind, ...] = get_args(ConditionKind)
AlertState = Literal["armed", "fired", "spent", "expired"]

OF_PRICE = frozenset({"price_below", "price_above", "price_move", "anomaly"})
REARM_MARGIN = 0.02
"""How far the value must move back over its threshold, as a share of it, before the alert can fire again."""
STOCK_CODES: Mapping[str, int] = {"unavailable": 0, "unknown": 1, "limited": 2, "available": 3}
IN_STOCK = STOCK_CODES["limited"]
"""From this code on something can be had."""


@dataclass(frozen=True, slots=True)
class Target:
    """One offer, or a GPU in a region (its lowest price per GPU), or all offers a search finds (the cheapest)."""

    offer_id: str | None = None
    gpu: str | None = None
    region: str | None = None
    pricing: str = "on_demand"
    """Of a GPU in a region: the one kind of price that is watched."""
    filters: str | None = None
    """Arguments of `search_offers` as JSON with sorted names."""

    @property
    def measure(self) -> str:
        """What its price is of."""
        return "price_per_gpu_hour" if self.gpu is not None else "price_per_hour"

    def text(self) -> str:
        """As kept in the database."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None}, sort_keys=True)

    def shown(self) -> str:
        """In words, for people."""
        if self.offer_id is not None:
            return self.offer_id
        if self.gpu is not None:
            return f"{self.gpu} in {self.region or 'any region'} ({self.pricing})"
        return f"search {self.filters}"


@dataclass(frozen=True, slots=True)
class Condition:
    """`threshold`: US dollars an hour, percent of a move, or robust deviations; None where stock is watched."""

    kind: ConditionKind
    threshold: Decimal | None = None

    def text(self) -> str:
        """As kept in the database."""
        return json.dumps({"kind": self.kind, "threshold": None if self.threshold is None else str(self.threshold)})


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOrder:
    """What to book once when the alert fires, and how far that has come.

    `sealed_launch` holds what to launch, encrypted. `event`, `offer_id`, `quote_id` and `next_try_at` are of the
    attempt under way; without an event there is none.
    """

    max_total: Decimal
    duration_hours: float
    count: int
    disk_gb: float
    sealed_launch: str
    event: str | None = None
    offer_id: str | None = None
    quote_id: str | None = None
    next_try_at: datetime | None = None

    def text(self) -> str:
        """As kept in the database."""
        return json.dumps(asdict(self), sort_keys=True, default=str)

    @classmethod
    def read(cls, text: str) -> LimitOrder:
        """From the database."""
        facts: dict[str, Any] = json.loads(text)
        later = facts["next_try_at"]
        return cls(
            **{
                **facts,
                "max_total": Decimal(facts["max_total"]),
                "next_try_at": None if later is None else datetime.fromisoformat(later),
            }
        )

    def begun(self, event: str, offer_id: str | None) -> LimitOrder:
        """The same order with an attempt under way."""
        return replace(self, event=event, offer_id=offer_id, quote_id=None, next_try_at=None)

    def ended(self) -> LimitOrder:
        """The same order with no attempt under way."""
        return replace(self, event=None, offer_id=None, quote_id=None, next_try_at=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert as the database has it. Values are US dollars an hour, or a code of `STOCK_CODES`."""

    id: str
    owner: str
    target: Target
    condition: Condition
    state: AlertState
    quiet_minutes: int
    times_fired: int
    created_at: datetime
    reference_value: Decimal | None = None
    """What a move or a change is measured from: the value at creation, or when it last fired."""
    last_value: Decimal | None = None
    """The value it last fired at."""
    last_event: str | None = None
    expires_at: datetime | None = None
    last_fired_at: datetime | None = None
    note: str | None = None
    limit_order: LimitOrder | None = None
    booking_id: str | None = None

    @property
    def is_ordering(self) -> bool:
        """Whether its limit order is under way; it then neither fires nor ends."""
        return self.limit_order is not None and self.limit_order.event is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """One alert that fires: what it saw before and now (dollars, a stock code or a deviation), and the offer seen."""

    alert: Alert
    event: str
    old: Decimal | None
    new: Decimal | None
    offer_id: str | None

    @property
    def keeps_armed(self) -> bool:
        """A move and a change of stock go on from the new value; the others wait until the value has come back."""
        return self.alert.condition.kind in ("price_move", "availability_change")

    def outcome(self, now: datetime) -> Alert:
        """The alert as it is once it has fired; what it is to book is begun in the same breath."""
        alert = self.alert
        order = alert.limit_order
        return replace(
            alert,
            state="armed" if self.keeps_armed and order is None else "fired",
            times_fired=alert.times_fired + 1,
            last_value=self.new,
            reference_value=self.new if self.keeps_armed else alert.reference_value,
            last_event=self.event,
            last_fired_at=now,
            limit_order=None if order is None else order.begun(self.event, self.offer_id),
        )

    def payload(self) -> dict[str, object]:
        """What is told of it."""
        stock = self.alert.condition.kind in ("available", "availability_change")
        return {
            "alert_id": self.alert.id,
            "what": self.alert.target.shown(),
            "condition": self.alert.condition.kind,
            "threshold": self.alert.condition.threshold,
            "measure": "availability" if stock else self.alert.target.measure,
            "old": _stock_name(self.old) if stock else self.old,
            "new": _stock_name(self.new) if stock else self.new,
            "offer_id": self.offer_id,
            "event": self.event,
            "books": self.alert.limit_order is not None,
        }


@lru_cache(maxsize=65_536)
def read_target(text: str) -> Target:
    """From the database."""
    return Target(**json.loads(text))


@lru_cache(maxsize=65_536)
def read_condition(text: str) -> Condition:
    """From the database."""
    facts = json.loads(text)
    threshold = facts["threshold"]
    return Condition(facts["kind"], None if threshold is None else Decimal(threshold))


def _stock_name(value: Decimal | None) -> str | None:
    if value is None:
        return None
    return next(name for name, code in STOCK_CODES.items() if code == int(value))
