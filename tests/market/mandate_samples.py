"""Mandates and purchases for tests: one typical of each, and strategies for any that can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

from hypothesis import strategies as st

from market.context import LOCAL_OWNER
from market.mandates import AmountRange, Mandate, OnRevocation, Period, Purchase, Recurrence
from market.settings import Settings
from market.signing import OwnerKey
from market.store import Store

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)

_TYPICAL = Mandate(
    id="mandate-typical",
    principal="local-owner",
    agent="local-owner",
    thumbprint="a-thumbprint",
    version=1,
    budget=Decimal(100),
    issued_at=NOW,
    expires_at=NOW + timedelta(days=30),
)
_PURCHASE = Purchase(
    provider="runpod",
    region="EU-RO-1",
    country="RO",
    area="eu-east",
    gpu="H100-SXM",
    gpu_count=1,
    instance_count=1,
    pricing="on_demand",
    tags=frozenset({"secure"}),
    hours=4.0,
    worst_total=Decimal("12.40"),
    hourly_total=Decimal("3.10"),
    currency="USD",
    unverified=False,
)


def a_mandate(**changes: Any) -> Mandate:
    """A mandate for a hundred dollars and a month, free in all else."""
    return replace(_TYPICAL, **changes)


def a_purchase(**changes: Any) -> Purchase:
    """Four hours of one H100 for at most 12.40."""
    return replace(_PURCHASE, **changes)


def owned(settings: Settings, **changes: Any) -> Mandate:
    """A mandate of the local owner, bound to the key of this installation."""
    return a_mandate(thumbprint=OwnerKey.of(settings, make=True).thumbprint, agent=LOCAL_OWNER.identity, **changes)


async def spoiled(store: Store, mandate_id: str, column: str, value: object) -> None:
    """What somebody does who can write to the database."""
    mark = "?" if store.dialect == "sqlite" else "$1"
    async with store.write() as connection:
        await connection.exec_driver_sql(
            f"UPDATE mandates SET {column} = {mark} WHERE id = '{mandate_id}'",  # noqa: S608 - our own names
            (value,),
        )


AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=6)
_WORDS = st.sampled_from(["runpod", "vastai", "eu", "RO", "EU-RO-1", "us-east", "H100", "H100-SXM", "A100", "?", "é"])
_SETS = st.frozensets(_WORDS, max_size=3)
_MOMENTS = st.datetimes(min_value=datetime(2025, 1, 1), max_value=datetime(2027, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
_TAGS = st.frozensets(st.sampled_from(["secure", "Secure", "soc2", "gdpr"]), max_size=2)

MANDATES = st.builds(
    Mandate,
    id=st.just("mandate-any"),
    principal=st.just("local-owner"),
    agent=st.sampled_from(["local-owner", "key-0123"]),
    thumbprint=st.just("a-thumbprint"),
    version=st.integers(min_value=1, max_value=10),
    budget=AMOUNTS,
    issued_at=_MOMENTS,
    expires_at=_MOMENTS,
    not_before=st.none() | _MOMENTS,
    amount_range=st.none() | st.builds(AmountRange, min=st.none() | AMOUNTS, max=st.none() | AMOUNTS),
    hourly_budget=st.none() | AMOUNTS,
    max_hours=st.none() | st.floats(min_value=0.001, max_value=10_000),
    max_concurrent=st.none() | st.integers(min_value=0, max_value=100),
    recurrence=st.none()
    | st.builds(Recurrence, every=st.sampled_from(get_args(Period)), max_bookings=st.integers(1, 100)),
    providers=_SETS,
    regions=_SETS,
    gpus=_SETS,
    tags=_TAGS,
    pricing=st.frozensets(st.sampled_from(["on_demand", "spot", "reserved"])),
    currencies=st.frozensets(st.sampled_from(["USD", "EUR", "GBP"])),
    approval_above=st.none() | AMOUNTS,
    on_revocation=st.sampled_from(get_args(OnRevocation)),
    failover=st.booleans(),
    allow_unverified=st.booleans(),
)
PURCHASES = st.builds(
    Purchase,
    provider=_WORDS | st.text(max_size=10),
    region=_WORDS | st.text(max_size=10),
    country=st.none() | st.sampled_from(["RO", "US", "DE", ""]),
    area=st.none() | st.sampled_from(["eu-east", "us-east", ""]),
    gpu=st.none() | st.sampled_from(["H100-SXM", "H100-PCIe", "A100", ""]),
    gpu_count=st.integers(-1, 8),
    instance_count=st.integers(-1, 100),
    pricing=st.sampled_from(["on_demand", "spot", "reserved_1m", "token", ""]),
    tags=_TAGS,
    hours=st.floats(allow_nan=True, allow_infinity=True),
    worst_total=st.decimals(allow_nan=True, allow_infinity=True),
    hourly_total=st.decimals(allow_nan=True, allow_infinity=True),
    currency=st.sampled_from(["USD", "EUR", "XTS", ""]),
    unverified=st.booleans(),
)
"""Also those no quote would ever make: the check must not rely on the quote."""
