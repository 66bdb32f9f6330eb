"""What a rental costs, item by item: exact sums in US dollars, the expected total and the worst that can be owed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One item of a quote: `quantity` times `unit_price` is `amount`, in US dollars."""

    item: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    amount: Decimal
