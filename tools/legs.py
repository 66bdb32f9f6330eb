"""The legs of a quote: which offers, at which price now, and what each comes to for the whole rental."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import anyio

from market.context import Context, Market
from market.errors import BrokerError, Conflict, NotFound, ValidationFailed
from tools.evidence import is_doubtful, told
from tools.offer_facts import no_such_offer
from tools.offer_view import confirmed_at, is_stale

if TYPE_CHECKING:
    from adapters.base import Adapter
    from market.costs import Costs, Wanted
    from market.offers import Offer
    from market.quote_book import Leg

LIVE_PRICE_SECONDS = 2.0
"""How long a provider may take to say what something costs now."""
ALTERNATIVES = 2
"""How many further offers a failover plan adds by itself."""
DEARER_AT_MOST = Decimal("1.5")
"""How many times the price of the first offer an alternative may cost when no `max_price` is given."""
_LOOKED_AT = 50
_SANDBOX = "sandbox"
NOT_BOOKABLE = "not bookable through GPUBroker: no adapter to book it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """One leg with its price, and what should be said of it."""

    offer: Offer
    costs: Costs
    is_live: bool
    bookable: bool
    unverified: bool
    notes: tuple[str, ...] = ()

    def leg(self) -> Leg:
        """As the quote keeps it."""
        from market.quote_book import Leg

        offer, costs = self.offer, self.costs
        return Leg(
            offer_id=offer.id,
            provider=offer.provider,
            external_id=offer.external_id,
            region=offer.region,
            country=offer.country,
            area=offer.area,
            gpu=offer.gpu,
            gpu_count=offer.gpu_count,
            pricing=offer.pricing,
            price_per_hour=costs.price_per_hour,
            currency=costs.currency,
            price_per_hour_usd=costs.price_per_hour_usd,
            storage_price_per_gb_month=offer.storage_price_per_gb_month,
            storage_per_hour_usd=costs.storage_per_hour_usd,
            min_rental_minutes=offer.min_rental_minutes,
            billing_unit=offer.billing_unit,
            tags=offer.tags,
            worst_total_usd=costs.worst_total,
            hourly_total_usd=costs.hourly_total,
            priced_live=self.is_live,
        )


async def named(ctx: Context, offer_ids: Sequence[str]) -> list[Offer]:
    """The offers of these ids, in their order. Raises NotFound, with the nearest, for one that is not sold now."""
    from market import catalogue

    store, snapshot = await ctx.market.store(), await ctx.market.snapshot()
    found = []
    for offer_id in dict.fromkeys(offer_ids):
        stored = await catalogue.offer(store, offer_id)
        if stored is None:
            raise no_such_offer(offer_id, snapshot)
        if stored.gone_at is not None:
            near = [name for name in snapshot.nearest_ids(offer_id) if name != offer_id]
            raise NotFound(
                f"Offer `{offer_id}` is gone: its provider has not listed it since "
                f"{stored.gone_at:%Y-%m-%d %H:%M} UTC.",
                next_step=f"Nearest: {', '.join(f'`{name}`' for name in near)}." if near else "Search anew.",
                details={"nearest": near},
            )
        found.append(stored.offer)
    return found


async def alternatives(
    market: Market,
    given: Sequence[Offer],
    max_price: Decimal | None,
    *,
    bookable: frozenset[str] | None,
    most: int = ALTERNATIVES,
) -> list[Offer]:
    """The next best offers with GPUs and pricing equal to the first one given: of other providers, else other regions.

    `bookable` names the providers that count, None all of them. What shares provider and region with one chosen
    before would fail with it, and what was refused lately would be again; the sandbox is an alternative to itself
    alone.
    """
    from market.query import Query

    snapshot, refused = await market.snapshot(), await market.refusals()
    states = await market.provider_states()
    first = given[0]
    if first.gpu is None or first.price_per_hour_usd is None:
        return []
    limit = max_price if max_price is not None else first.price_per_hour_usd * DEARER_AT_MOST
    query = Query(
        gpu=(first.gpu,),
        gpu_count_min=first.gpu_count,
        gpu_count_max=first.gpu_count,
        pricing=(first.pricing,) if not first.pricing.startswith("reserved") else ("reserved",),
        provider=(_SANDBOX,) if first.provider == _SANDBOX else (),
        price_max=limit,
        include_fractions=first.gpu_fraction != 1,
        limit=_LOOKED_AT,
    )
    found = [
        offer
        for offer in snapshot.search(query).offers
        if (offer.gpu, offer.pricing, offer.gpu_fraction) == (first.gpu, first.pricing, first.gpu_fraction)
        and (offer.provider == _SANDBOX) == (first.provider == _SANDBOX)
        and offer.availability != "unavailable"
        and (bookable is None or offer.provider in bookable)
        and not is_doubtful(offer, refused, states.get(offer.provider))
    ]
    chosen = list(given)
    for is_apart in (_other_provider, _other_place):
        for offer in found:
            if len(chosen) < len(given) + most and all(is_apart(offer, before) for before in chosen):
                chosen.append(offer)
    return chosen[len(given) :]


def _other_provider(offer: Offer, before: Offer) -> bool:
    return offer.provider != before.provider


def _other_place(offer: Offer, before: Offer) -> bool:
    return (offer.provider, offer.region) != (before.provider, before.region)


async def bookable_providers() -> frozenset[str]:
    """The providers with an adapter that can buy."""
    from adapters import discover

    found = (await asyncio.to_thread(discover))[0]
    return frozenset(name for name, kind in found.items() if kind.bookable())


async def priced(ctx: Context, offers: Sequence[Offer], wanted: Wanted) -> list[Priced]:
    """Each offer with its costs, at a live price where the provider can be asked within two seconds.

    Raises what `market.costs.itemised` does, and Conflict for a bookable offer whose price is neither fresh nor live.
    """
    asked = await asyncio.gather(*(_live(ctx, offer) for offer in offers))
    states, now = await ctx.market.provider_states(), ctx.market.clock.now()
    refused = await ctx.market.refusals()
    found = []
    for offer, (kind, live, note) in zip(offers, asked, strict=True):
        bookable = kind is not None and kind.bookable()
        state = states.get(offer.provider)
        notes = [note] if note else []
        if live is None and is_stale(offer, state, now):
            seen = f"{confirmed_at(offer, state):%Y-%m-%d %H:%M} UTC"
            if bookable:
                raise Conflict(
                    f"The price of `{offer.id}` was last confirmed at {seen}, which is too long ago to promise it.",
                    next_step=f"Run `gpubroker sync {offer.provider}`, then quote again; or take another offer.",
                    details={"reason": "stale", "offer_id": offer.id},
                )
            notes.append(f"last confirmed at {seen}")
        if offer.availability == "unavailable":
            notes.append("sold out when last seen")
        if offer.id in refused:
            notes.append(told(refused[offer.id]))
        if not bookable:
            notes.append(NOT_BOOKABLE)
        found.append(
            Priced(
                offer=offer,
                costs=_costs(offer, wanted, live),
                is_live=live is not None,
                bookable=bookable,
                unverified=bookable and kind is not None and kind.unverified,
                notes=tuple(f"{offer.id}: {said}." for said in notes),
            )
        )
    return found


async def within_bounds(ctx: Context, offers: Sequence[Offer], wanted: Wanted) -> list[Offer]:
    """Those of the offers that can be quoted at all; for alternatives nobody has named."""
    from market.costs import itemised

    found = []
    states, now = await ctx.market.provider_states(), ctx.market.clock.now()
    for offer in offers:
        try:
            itemised(offer, wanted)
        except ValidationFailed:
            continue
        if not is_stale(offer, states.get(offer.provider), now):
            found.append(offer)
    return found


def _costs(offer: Offer, wanted: Wanted, live: tuple[Decimal, str] | None) -> Costs:
    from market.costs import itemised

    try:
        return itemised(offer, wanted, live)
    except ValidationFailed as problem:
        problem.details.setdefault("offer_id", offer.id)
        raise


def _says_live_prices(kind: type[Adapter]) -> bool:
    from adapters.base import Adapter

    return kind.live_price is not Adapter.live_price


async def _live(ctx: Context, offer: Offer) -> tuple[type[Adapter] | None, tuple[Decimal, str] | None, str]:
    """The adapter, the price it says now, and what to say of that."""
    from tools.providers import known, provider

    try:
        kind = await asyncio.to_thread(known, offer.provider)
    except NotFound:
        return None, None, ""
    if not _says_live_prices(kind):
        return kind, None, "price from the catalogue; this provider cannot be asked for one" if kind.bookable() else ""
    live: tuple[Decimal, str] | None = None
    try:
        with anyio.move_on_after(LIVE_PRICE_SECONDS):
            live = await provider(ctx.market, offer.provider).live_price(offer.external_id, offer.region, offer.pricing)
    except BrokerError as problem:
        return kind, None, f"price from the catalogue; asking for a live one failed ({problem.code})"
    if live is None:
        return kind, None, "price from the catalogue; the provider gave no live one in time"
    price, currency = live
    if (price, currency) == (offer.price_per_hour, offer.currency):
        return kind, live, ""
    listed = f"{offer.price_per_hour:f} {offer.currency}"
    return kind, live, f"the live price, {price:f} {currency} an hour, differs from the listed {listed} and is used"
