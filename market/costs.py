"""What a rental costs, item by item: exact sums in US dollars, the expected total and the worst that can be owed.

Every amount is rounded up to the millionth, so that a quote never states less than is owed. The price is that of the
offer's own pricing model: a spot offer is never priced as on demand, nor the reverse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

from market.errors import ValidationFailed
from market.money import MILLIONTH, in_usd
from market.offers import Offer, slug

TEARDOWN_SECONDS = 600
"""How long after its end a machine may still be billed, until it is shown to be gone."""
HOURS_PER_MONTH = 730
LONGEST_HOURS = 8_760
MOST_INSTANCES = 64
DEAREST = Decimal(1_000_000_000)
"""A total from here on is a mistake; it is also where a JSON number stops holding every millionth."""

ASSUMED_STORAGE_PER_GB_MONTH = Decimal("0.20")
ASSUMED_EGRESS_PER_GB = Decimal("0.12")
"""US dollars where a provider states no price: what the dearer of the large clouds list."""

_HOUR = 3_600
_DAY_HOURS = 24
_UNIT_SECONDS: Mapping[str, int] = {"second": 1, "minute": 60, "hour": _HOUR, "month": HOURS_PER_MONTH * _HOUR}
_TERM_DAYS: Mapping[str, int] = {
    "reserved_1w": 7,
    "reserved_1m": 30,
    "reserved_3m": 90,
    "reserved_6m": 180,
    "reserved_1y": 365,
    "reserved_3y": 3 * 365,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One item of a quote: `quantity` (to six decimals) times `unit_price` comes to `amount`, in US dollars."""

    item: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How much of an offer: equal instances, hours from now, disk of each instance, traffic out of all of them."""

    instance_count: int = 1
    duration_hours: float
    disk_gb: float = 0.0
    egress_gb: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What it comes to, in US dollars but for `price_per_hour`; the lines add up to `expected_total`.

    `hourly_total` is an hour of all instances with their disks, `stopped_per_day` a day of the disks alone.
    """

    lines: tuple[Line, ...]
    expected_total: Decimal
    worst_total: Decimal
    price_per_hour: Decimal
    currency: str
    price_per_hour_usd: Decimal
    storage_per_hour_usd: Decimal
    hourly_total: Decimal
    stopped_per_day: Decimal
    assumptions: tuple[str, ...]


def itemised(offer: Offer, wanted: Wanted, live: tuple[Decimal, str] | None = None) -> Costs:
    """The costs of a rental at the catalogue's price, or at a `live` one (price of one instance an hour, currency).

    Raises ValidationFailed for an offer that is not sold by the hour or says two things of its pricing model, for a
    currency without a rate, and for amounts out of bounds.
    """
    _refuse_amounts(wanted)
    _refuse_offer(offer, wanted)
    price, currency = live if live is not None else (offer.price_per_hour or Decimal(0), offer.currency)
    hourly, rate_note = _dollars(price, currency, "price an hour")
    storage_hourly, storage_note = _storage(offer, wanted)
    asked = math.ceil(Decimal(repr(float(wanted.duration_hours))) * _HOUR)
    lines = [
        *_compute_lines(offer, wanted, hourly, asked),
        *_disk_lines(wanted, storage_hourly, asked),
    ]
    egress, egress_note = _egress_line(offer, wanted)
    if egress is not None:
        lines.append(egress)
    expected = sum((line.amount for line in lines), Decimal(0))
    worst = _worst(offer, wanted, hourly, storage_hourly, asked) + (egress.amount if egress else 0)
    if worst >= DEAREST:
        raise ValidationFailed("This comes to more than a thousand million US dollars.", next_step="Ask for less.")
    return Costs(
        lines=tuple(lines),
        expected_total=expected,
        worst_total=worst,
        price_per_hour=price,
        currency=currency,
        price_per_hour_usd=hourly,
        storage_per_hour_usd=storage_hourly,
        hourly_total=wanted.instance_count * (hourly + storage_hourly),
        stopped_per_day=wanted.instance_count * storage_hourly * _DAY_HOURS,
        assumptions=tuple(
            note for note in (rate_note, storage_note, egress_note, _minimum_note(offer, asked), _GRACE_NOTE) if note
        ),
    )


_GRACE_NOTE = f"The worst case adds {TEARDOWN_SECONDS // 60} minutes until the machines are shown to be gone."


def billed_seconds(offer: Offer, seconds: int) -> int:
    """What is billed for so many seconds of one instance: whole billing units, and the minimum rental at least."""
    return max(_whole_units(offer, seconds), minimum_seconds(offer))


def minimum_seconds(offer: Offer) -> int:
    """The minimum rental: as stated, and the whole term where the price is that of a commitment."""
    return max((offer.min_rental_minutes or 0) * 60, _TERM_DAYS.get(offer.pricing, 0) * 86_400)


def _whole_units(offer: Offer, seconds: int) -> int:
    unit = _UNIT_SECONDS[offer.billing_unit]
    return -(-seconds // unit) * unit


def _compute_lines(offer: Offer, wanted: Wanted, hourly: Decimal, asked: int) -> list[Line]:
    """The hours asked for, what rounding to the billing unit adds, and what the minimum rental adds."""
    rounded = _whole_units(offer, asked)
    steps = [
        (f"{wanted.instance_count} x {offer.gpu_count} GPU, {offer.pricing.replace('_', ' ')}", asked),
        (f"rounding up to the {offer.billing_unit}", rounded),
        (
            "minimum rental" if offer.pricing not in _TERM_DAYS else "rest of the committed term",
            billed_seconds(offer, asked),
        ),
    ]
    lines = []
    seconds_before, amount_before = 0, Decimal(0)
    for item, seconds in steps:
        amount = _for(wanted.instance_count * hourly, seconds)
        if seconds > seconds_before:
            quantity = _hours(wanted.instance_count * (seconds - seconds_before))
            lines.append(
                Line(
                    item=item,
                    quantity=quantity,
                    unit="instance hour",
                    unit_price=hourly,
                    amount=amount - amount_before,
                )
            )
        seconds_before, amount_before = seconds, amount
    return lines


def _disk_lines(wanted: Wanted, storage_hourly: Decimal, asked: int) -> list[Line]:
    if not storage_hourly:
        return []
    return [
        Line(
            item=f"disk while running, {wanted.disk_gb:g} GB each",
            quantity=_hours(wanted.instance_count * asked),
            unit="disk hour",
            unit_price=storage_hourly,
            amount=_for(wanted.instance_count * storage_hourly, asked),
        )
    ]


def _worst(offer: Offer, wanted: Wanted, hourly: Decimal, storage_hourly: Decimal, asked: int) -> Decimal:
    latest = asked + TEARDOWN_SECONDS
    return _for(wanted.instance_count * hourly, billed_seconds(offer, latest)) + _for(
        wanted.instance_count * storage_hourly, _whole_units(offer, latest)
    )


def _storage(offer: Offer, wanted: Wanted) -> tuple[Decimal, str]:
    """US dollars an hour for the disk of one instance, and what was assumed."""
    if not wanted.disk_gb:
        return Decimal(0), ""
    size = Decimal(repr(float(wanted.disk_gb)))
    if offer.storage_price_per_gb_month is not None:
        monthly, note = _dollars(offer.storage_price_per_gb_month, offer.currency, "storage price")
    elif offer.storage_gb is not None and wanted.disk_gb <= offer.storage_gb:
        return Decimal(0), f"The {offer.storage_gb:g} GB disk of the machine holds what was asked; no price is added."
    else:
        monthly = ASSUMED_STORAGE_PER_GB_MONTH
        note = f"The provider states no storage price: {monthly} USD a GB-month is assumed."
    return _up(size * monthly / HOURS_PER_MONTH), note


def _egress_line(offer: Offer, wanted: Wanted) -> tuple[Line | None, str]:
    if not wanted.egress_gb:
        return None, "Traffic out is not in the total." if offer.egress_price_per_gb else ""
    size = _up(Decimal(repr(float(wanted.egress_gb))))
    if offer.egress_price_per_gb is not None:
        price, note = _dollars(offer.egress_price_per_gb, offer.currency, "egress price")
    else:
        price = ASSUMED_EGRESS_PER_GB
        note = f"The provider states no price of traffic out: {price} USD a GB is assumed."
    return Line(item="traffic out", quantity=size, unit="GB", unit_price=price, amount=_up(size * price)), note


def _minimum_note(offer: Offer, asked: int) -> str:
    minimum = minimum_seconds(offer)
    if minimum <= asked:
        return ""
    return f"{_hours(minimum):f} hours are billed at least, however short the rental."


def _dollars(price: Decimal, currency: str, what: str) -> tuple[Decimal, str]:
    """In US dollars, and the rate in words. Raises ValidationFailed for no rate or an amount that makes no sense."""
    if not price.is_finite() or price <= 0:
        raise ValidationFailed(f"The offer's {what} is not a positive amount.", next_step="Take another offer.")
    converted = in_usd(price.quantize(MILLIONTH, rounding=ROUND_HALF_EVEN), currency)
    if converted is None or converted[0] <= 0:
        raise ValidationFailed(
            f"There is no exchange rate for the currency of this offer's {what}.",
            next_step="Take an offer priced in US dollars, or in a currency of `market/exchange_rates.csv`.",
        )
    dollars, rate = converted
    if rate is None:
        return dollars, ""
    return dollars, f"{currency} at {rate.usd_per_unit} USD, the rate of {rate.as_of:%Y-%m-%d}."


def _refuse_amounts(wanted: Wanted) -> None:
    hours = float(wanted.duration_hours)
    if not math.isfinite(hours) or not 0 < hours <= LONGEST_HOURS:
        raise ValidationFailed(f"`duration_hours` must be above 0 and at most {LONGEST_HOURS}.")
    if not 1 <= wanted.instance_count <= MOST_INSTANCES:
        raise ValidationFailed(f"`count` must be from 1 to {MOST_INSTANCES}.")
    for name, size in (("disk_gb", wanted.disk_gb), ("egress_gb", wanted.egress_gb)):
        if not math.isfinite(size) or not 0 <= size <= 1_000_000:
            raise ValidationFailed(f"`{name}` must be from 0 to 1000000.")


def _refuse_offer(offer: Offer, wanted: Wanted) -> None:
    if offer.pricing == "token" or offer.billing_unit == "token" or offer.price_per_hour is None:
        raise ValidationFailed(
            "This offer is a hosted model sold by the token: there is no machine to rent by the hour.",
            next_step="Choose an offer with `price_per_hour` from `search_offers`.",
        )
    said = offer.id.split(":")[3:]
    if said != ([] if offer.pricing == "on_demand" else [slug(offer.pricing)]):
        raise ValidationFailed(
            f"The offer's id and its pricing (`{offer.pricing}`) contradict each other: spot is never priced as on "
            "demand, nor the reverse.",
            next_step="Choose another offer; this one waits for the next sync.",
        )
    if offer.max_rental_minutes is not None and wanted.duration_hours * 60 > offer.max_rental_minutes:
        raise ValidationFailed(
            f"The provider rents this for at most {offer.max_rental_minutes / 60:g} hours.",
            next_step=f"Ask for `duration_hours` up to {offer.max_rental_minutes / 60:g}, or choose another offer.",
            details={"max_duration_hours": offer.max_rental_minutes / 60},
        )


def _for(hourly: Decimal, seconds: int) -> Decimal:
    return _up(hourly * seconds / _HOUR)


def _hours(seconds: int) -> Decimal:
    return (Decimal(seconds) / _HOUR).quantize(MILLIONTH, rounding=ROUND_HALF_EVEN)


def _up(amount: Decimal) -> Decimal:
    return amount.quantize(MILLIONTH, rounding=ROUND_CEILING)
