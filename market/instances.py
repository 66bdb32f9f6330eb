"""What a bookable provider is asked to start, and what it says of a machine: the words adapters and bookings share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from market.offers import Pricing

Power = Literal["booting", "running", "stopped", "ending", "gone", "failed"]
LaunchField = Literal["image", "ssh_public_keys", "start_script", "environment", "ports", "disk_gb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What runs on the machine; the adapter's `honours` says which of it the provider can do."""

    image: str = ""
    ssh_public_keys: tuple[str, ...] = ()
    start_script: str = field(default="", repr=False)
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ports: tuple[int, ...] = ()
    disk_gb: float = 0.0

    def asked_for(self) -> frozenset[LaunchField]:
        """The fields somebody has filled in."""
        given: dict[LaunchField, object] = {
            "image": self.image,
            "ssh_public_keys": self.ssh_public_keys,
            "start_script": self.start_script,
            "environment": self.environment,
            "ports": self.ports,
            "disk_gb": self.disk_gb,
        }
        return frozenset(name for name, value in given.items() if value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One machine to start: the exact product, under our label, until `ends_at` where the provider can enforce it.

    `price_per_hour` is what we will pay at most, of the whole instance, in `currency`.
    """

    label: str
    external_id: str
    region: str
    pricing: Pricing
    price_per_hour: Decimal
    currency: str
    ends_at: datetime
    launch: Launch


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One machine as its provider describes it now; None means the provider does not say."""

    id: str
    label: str
    power: Power
    price_per_hour: Decimal | None = None
    currency: str = "USD"
    started_at: datetime | None = None
    ends_at: datetime | None = None
    ssh_host: str | None = None
    ssh_port: int = 22
    ssh_user: str = "root"
    ports: tuple[tuple[int, str], ...] = ()
    """Inner port and the address it is reached at."""
    interrupted: bool = False
    """Ended by the provider: spot taken back, or its own end reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What the provider charges for one machine so far."""

    amount: Decimal
    currency: str
    final: bool
    seconds: float | None = None
