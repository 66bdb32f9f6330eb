"""Where sized work fits: each GPU at the smallest count that holds it, with what the job takes and costs there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_UP, Context, Decimal
from typing import TYPE_CHECKING, Any

from pydantic import Field

from market.money import Money
from tools.capability import Result
from tools.offer_view import Number
from tools.placement import hours, placed, speed
from tools.sizing import DISK_GB, Sized

if TYPE_CHECKING:
    from market.gpus import Gpu
    from market.offers import Offer
    from market.snapshot import Snapshot
    from mathcore.workload import Placement

SHOWN = 6
_LOOKED_THROUGH = 25
_WIDE = Context(prec=80)
"""The cost of a job nobody would wait for still has all its digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an offer must meet besides holding the work; None is no limit."""

    region: str | None = None
    max_price: Decimal | None = None
    gpu: str | None = None
    gpu_count: int | None = None
    pricing: str = "on_demand"

    def given(self) -> dict[str, Any]:
        """Those that were set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class CostItem(Result):
    """One line of a cost range in US dollars."""

    item: str
    low: Money
    high: Money


class Fit(Result):
    """A GPU and count that hold the work, the cheapest offer of it, and what the job would take and cost there."""

    gpu: str
    gpu_count: int
    total_memory_gb: Number
    offer_id: str
    price_per_hour: Money
    availability: str
    tokens_per_second: list[Number] | None = Field(
        default=None, description="Low, likely, high; all requests together."
    )
    items_per_second: list[Number] | None = Field(
        default=None, description="Low, likely, high: texts, images, clips, seconds of sound or frames."
    )
    split: str | None = Field(default=None, description="How it spreads: tensor, layers, shards or copies.")
    most_requests: int | None = Field(default=None, description="Requests of this context that fit at once.")
    hours: list[Number] | None = Field(default=None, description="Low, likely, high.")
    hours_by_part: dict[str, list[Number]] | None = Field(default=None, description="What the hours are made of.")
    cost: list[CostItem] | None = None
    cost_low: Money | None = None
    cost_high: Money | None = None


def fits_of(snapshot: Snapshot, sized: Sized, limits: Limits) -> list[Fit]:
    """The cheapest offer of each GPU at the smallest count that holds the work, cheapest total (else hour) first."""
    fits = [_fit(sized, *found) for found in _candidates(snapshot, sized, limits)]
    return sorted(fits, key=lambda fit: (fit.cost_low is None, fit.cost_low or 0, fit.price_per_hour, fit.offer_id))[
        :SHOWN
    ]


def counts_sold(snapshot: Snapshot, limits: Limits) -> list[int]:
    """The counts asked for, else those really sold, smallest first."""
    if limits.gpu_count:
        return [limits.gpu_count]
    return sorted(int(count) for count in snapshot.counts("gpu_count"))


def _candidates(snapshot: Snapshot, sized: Sized, limits: Limits) -> Iterator[tuple[Gpu, Offer, Decimal, Placement]]:
    from market import gpus
    from market.query import Query

    wanted = gpus.matching(limits.gpu) if limits.gpu else None
    counts = counts_sold(snapshot, limits)
    query = Query(
        region=(limits.region,) if limits.region else (),
        price_max=limits.max_price,
        availability=("available", "limited", "unknown"),
        pricing=(limits.pricing,),
        include_fractions=False,
        limit=_LOOKED_THROUGH,
    )
    for name in snapshot.gpus:
        card = gpus.catalogue().get(name)
        if card is None or (wanted is not None and name not in wanted):
            continue
        for count in counts:
            at_most = placed(sized, card, None, count)
            if at_most is None or not at_most.fits:
                continue
            narrowed = replace(
                query, gpu=(name,), gpu_count_min=count, gpu_count_max=count, memory_gb_min=at_most.needed_gb
            )
            # A name may stand for several cards (`H100` for every form); only its own offers count here.
            offers = [offer for offer in snapshot.search(narrowed).offers if offer.gpu == name]
            found = next((held for offer in offers if (held := _held(sized, card, offer))), None)
            if found is not None:
                yield card, *found
                break


def _held(sized: Sized, card: Gpu, offer: Offer) -> tuple[Offer, Decimal, Placement] | None:
    """The offer with its price and placement, where it has a price and holds the work."""
    placement = placed(sized, card, offer.memory_gb, offer.gpu_count)
    if offer.price_per_hour_usd is None or placement is None or not placement.fits:
        return None
    return offer, offer.price_per_hour_usd, placement


def _fit(sized: Sized, card: Gpu, offer: Offer, price: Decimal, placement: Placement) -> Fit:
    found = speed(sized, card, offer.gpu_count)
    took = hours(sized, card, offer.gpu_count)
    items = _cost(offer, price, took.total) if took else None
    shown = [round(value, 2 if value > 1 else 5) for value in (found.low, found.likely, found.high)] if found else None
    in_tokens = sized.work.kind in ("llm_inference", "notebook")
    return Fit(
        gpu=card.name,
        gpu_count=offer.gpu_count,
        total_memory_gb=(offer.memory_gb or card.memory_gb or 0) * offer.gpu_count,
        offer_id=offer.id,
        price_per_hour=price,
        availability=offer.availability,
        tokens_per_second=shown if in_tokens else None,
        items_per_second=None if in_tokens else shown,
        split=placement.split if offer.gpu_count > 1 else None,
        most_requests=placement.most_streams,
        hours=[round(value, 3) for value in took.total] if took else None,
        hours_by_part={name: [round(value, 3) for value in part] for name, part in took.parts.items()}
        if took
        else None,
        cost=items,
        cost_low=sum((item.low for item in items), Decimal(0)) if items else None,
        cost_high=sum((item.high for item in items), Decimal(0)) if items else None,
    )


def _cost(offer: Offer, price: Decimal, took: tuple[float, float, float]) -> list[CostItem]:
    """At least the shortest rental, and never nothing: amounts are rounded up to a hundredth of a cent."""
    least = (offer.min_rental_minutes or 0) / 60
    low, _, high = (Decimal(str(max(value, least))) for value in took)

    def item(name: str, hourly: Decimal) -> CostItem:
        return CostItem(item=name, low=_rounded_up(hourly * low), high=_rounded_up(hourly * high))

    items = [item("GPU time", price)]
    if offer.storage_price_per_gb_month:
        items.append(item(f"{DISK_GB} GB disk", offer.storage_price_per_gb_month * DISK_GB / 730))
    return items


def _rounded_up(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.0001"), rounding=ROUND_UP, context=_WIDE)
