"""What a booking is made of before anything is ordered: its first offer, its machines, what they are to run."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from market.bookings import Booking, Machine, label_of

if TYPE_CHECKING:
    from market.instances import Launch


def write_launch(launch: Launch) -> str:
    """What is to be launched as text, to be encrypted."""
    return json.dumps(asdict(launch))


def read_launch(text: str) -> Launch:
    """`write_launch` read back."""
    from market.instances import Launch

    found = json.loads(text)
    return Launch(
        **{
            **found,
            "ssh_public_keys": tuple(found["ssh_public_keys"]),
            "environment": tuple((name, value) for name, value in found["environment"]),
            "ports": tuple(found["ports"]),
        }
    )


def of_leg(leg: Any) -> dict[str, Any]:
    """The columns of a booking that its present leg says."""
    texts = {name: leg[name] for name in ("provider", "offer_id", "external_id", "region", "pricing", "currency")}
    amounts = ("price_per_hour", "price_per_hour_usd", "storage_per_hour_usd")
    return {
        **texts,
        "gpu": leg["gpu"],
        "gpu_count": leg["gpu_count"],
        **{name: Decimal(leg[name]) for name in amounts},
    }


def fresh_booking_id() -> str:
    """Twelve letters and digits: safe in every provider's label."""
    return base64.b32encode(secrets.token_bytes(8)).decode().lower().rstrip("=")[:12]


def first_machines(booking: Booking) -> Booking:
    """The booking with its machines planned."""
    machines = tuple(
        Machine(
            label=label_of(booking.id, number),
            booking_id=booking.id,
            ordinal=number,
            state="planned",
            created_at=booking.created_at,
        )
        for number in range(1, booking.instance_count + 1)
    )
    return replace(booking, machines=machines)
