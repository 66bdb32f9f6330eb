"""What the HTTP-only capabilities of the mathematics share: their door, their bounds, and where the sums are done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, WithJsonSchema

from market.errors import ValidationFailed
from tools.capability import Door

HTTP_ONLY: frozenset[Door] = frozenset({"http"})
READ = "market:read"
TOOLSET = "math"

MOST_ALTERNATIVES = 10_000
MOST_CRITERIA = 50
WEIGHTS_WITHIN = 0.001
T = TypeVar("T")

Real = Annotated[float, Field(ge=-1e300, le=1e300, allow_inf_nan=False)]
"""A finite number: no NaN, no infinity."""


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie within the years 1 to 9999 in UTC") from None


Time = Annotated[
    datetime,
    AfterValidator(_in_utc),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40}),
]
"""A date or a time by ISO 8601; without a zone it is one of UTC."""

Price = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


Prices = Annotated[list[Price], Field(min_length=1, max_length=MOST_ALTERNATIVES)]
"""Evenly spaced prices, oldest first."""


async def computed(work: Callable[[], T]) -> T:
    """The answer of a sum done in a worker thread, its imports too, so that others are served meanwhile.

    Raises ValidationFailed with the mathematics' own words for a value it refuses: they name the value and why.
    """
    try:
        return await asyncio.to_thread(work)
    except ValueError as refusal:
        said = str(refusal).rstrip(".")
        raise ValidationFailed(
            f"{said[:1].upper()}{said[1:]}.", next_step="Correct the value and send again."
        ) from None


def check_sum_of_one(weights: list[float]) -> None:
    """Raise ValidationFailed unless the weights sum to one within a thousandth."""
    total = sum(weights)
    if abs(total - 1) > WEIGHTS_WITHIN:
        raise ValidationFailed(
            "Weights must sum to 1.0.",
            next_step=f"They sum to {total:.6g}; divide each by that."
            if total > 0
            else "Give weights of zero or above, at least one of them above zero.",
            details={"field": "weights", "sum": round(total, 9)},
        )
