"""How a booking is shown: one line with its state, how to reach it, what it has cost and will, the same everywhere."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import Field

from market.money import Money
from tools.capability import Result
from tools.offer_view import Moment

if TYPE_CHECKING:
    from market.bookings import Booking

_HOUR = timedelta(hours=1)


class BookingLine(Result):
    """One booking. Amounts are US dollars of all its instances."""

    id: str
    state: str = Field(
        description="pending, provisioning, active, stopped, terminating, terminated, failed, compensated or stuck."
    )
    reason: str | None = None
    offer_id: str
    gpu: str | None = None
    gpu_count: int
    instances: int
    ssh: list[str] | None = Field(default=None, description="Commands that log in, one for each instance.")
    ports: dict[str, str] | None = Field(default=None, description="Inner port: where it is reached.")
    ends_at: Moment
    minutes_left: int | None = None
    ends_itself: bool | None = Field(default=None, description="The provider enforces the end.")
    price_per_hour: Money
    spent: Money
    projected: Money = Field(description="Total if it runs to its end.")
    held: Money | None = Field(default=None, description="What the mandate holds for it: the most it can cost.")
    cost_note: str | None = None
    next: str | None = Field(default=None, description="What to do now.")


class BookedQuote(BookingLine):
    """The booking; when it failed, what could be quoted instead."""

    alternatives: list[str] = Field(default_factory=list)


def line(booking: Booking, now: datetime) -> BookingLine:
    """The booking as it is shown at this moment."""
    spent = booking.final_cost if booking.final_cost is not None else booking.spent + _unmetered(booking, now)
    left = max(timedelta(0), booking.ends_at - now)
    live = not booking.is_final
    hourly = booking.price_per_hour_usd * booking.instance_count
    to_come = (hourly * Decimal(left / _HOUR)).quantize(Decimal("0.01")) if booking.state != "stopped" else Decimal(0)
    ports = {inner: where for machine in booking.machines for inner, where in _ports(machine.access).items()}
    return BookingLine(
        id=booking.id,
        state=booking.state,
        reason=booking.reason,
        offer_id=booking.offer_id,
        gpu=booking.gpu,
        gpu_count=booking.gpu_count,
        instances=booking.instance_count,
        ssh=_logins(booking) if live else None,
        ports=ports if live and ports else None,
        ends_at=booking.ends_at if booking.ended_at is None else booking.ended_at,
        minutes_left=round(left / timedelta(minutes=1)) if live else None,
        ends_itself=booking.enforces_end if live else None,
        price_per_hour=hourly,
        spent=spent,
        projected=spent + to_come if live else spent,
        held=booking.claimed if live else None,
        cost_note=booking.cost_note,
        next=_next(booking),
    )


def _unmetered(booking: Booking, now: datetime) -> Decimal:
    """What has been running up since the last line of the ledger."""
    from market.usage import running_cost

    live = [one for one in booking.machines if one.state in ("booting", "running", "stopped", "terminating")]
    return sum((running_cost(booking, one, now) for one in live), Decimal(0))


def _logins(booking: Booking) -> list[str] | None:
    found = []
    for machine in booking.machines:
        access = machine.access
        if access and machine.state == "running":
            found.append(f"ssh -p {access['ssh_port']} {access['ssh_user']}@{access['ssh_host']}")
    return found or None


def _ports(access: object) -> dict[str, str]:
    ports = access.get("ports") if isinstance(access, dict) else None
    return {str(inner): str(where) for inner, where in ports.items()} if isinstance(ports, dict) else {}


def _next(booking: Booking) -> str | None:
    if booking.state == "pending":
        return "The provider's answer is being looked for; ask `list_bookings` again in a few seconds."
    if booking.state == "provisioning":
        return "It boots; ask `list_bookings` again in half a minute."
    if booking.state == "failed":
        return "Nothing was made and nothing is owed. Quote another offer."
    if booking.state == "compensated":
        return "What was made has been given back. Quote another offer."
    if booking.state == "stuck":
        return f"Look at the console of {booking.provider}: it may still cost money. We go on trying."
    return None
