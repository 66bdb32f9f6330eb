"""The search a reader can check by eye: plain loops over offers, to compare the snapshot with."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from market import gpus, regions
from market.offers import Offer
from market.query import Query, words


def at_least(value: Any, limit: Any) -> bool:
    return limit is None or (value is not None and value >= limit)


def at_most(value: Any, limit: Any) -> bool:
    return limit is None or (value is not None and value <= limit)


def gpu_matches(offer: Offer, word: str) -> bool:
    names = gpus.matching(word)
    if names and offer.gpu is not None:
        return offer.gpu in names
    return word in offer.gpu_raw.casefold()


def text_matches(offer: Offer, word: str) -> bool:
    texts = (offer.name, offer.gpu_raw, offer.provider, offer.external_id, *offer.tags)
    return any(token.startswith(word) for text in texts for token in words(text))


def pricing_matches(offer: Offer, wanted: tuple[str, ...]) -> bool:
    if not wanted:
        return offer.pricing != "token"
    return offer.pricing in wanted or ("reserved" in wanted and offer.pricing.startswith("reserved_"))


def whole_gpu_price(offer: Offer) -> Decimal | None:
    return offer.price_per_gpu_hour_usd if offer.gpu_fraction == 1.0 else None


def filters(query: Query, stale: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Each filter of the query alone, as a predicate of one offer."""

    def placed(offer: Offer) -> bool:
        place = regions.locate(offer.provider, offer.region, offer.country)
        return any(regions.selects(term, place) for term in query.region)

    def total_memory(offer: Offer) -> float | None:
        return None if offer.memory_gb is None else offer.memory_gb * offer.gpu_count

    return {
        "text": lambda o: all(text_matches(o, word) for word in query.text.split()),
        "gpu": lambda o: not query.gpu or any(gpu_matches(o, word) for word in query.gpu),
        "provider": lambda o: not query.provider or o.provider.casefold() in query.provider,
        "region": lambda o: not query.region or placed(o),
        "availability": lambda o: not query.availability or o.availability in query.availability,
        "tags": lambda o: {tag.casefold() for tag in o.tags} >= set(query.tags),
        "pricing": lambda o: pricing_matches(o, query.pricing),
        "memory_gb_min": lambda o: at_least(o.memory_gb, query.memory_gb_min),
        "memory_gb_max": lambda o: at_most(o.memory_gb, query.memory_gb_max),
        "total_memory_gb_min": lambda o: at_least(total_memory(o), query.total_memory_gb_min),
        "gpu_count_min": lambda o: at_least(o.gpu_count, query.gpu_count_min),
        "gpu_count_max": lambda o: at_most(o.gpu_count, query.gpu_count_max),
        "price_min": lambda o: at_least(o.price_per_hour_usd, query.price_min),
        "price_max": lambda o: at_most(o.price_per_hour_usd, query.price_max),
        "price_per_gpu_max": lambda o: at_most(whole_gpu_price(o), query.price_per_gpu_max),
        "cpu_cores_min": lambda o: at_least(o.cpu_cores, query.cpu_cores_min),
        "ram_gb_min": lambda o: at_least(o.ram_gb, query.ram_gb_min),
        "storage_gb_min": lambda o: at_least(o.storage_gb, query.storage_gb_min),
        "cpu_arch": lambda o: query.cpu_arch in (None, o.cpu_arch),
        "security_tier": lambda o: query.security_tier in (None, o.security_tier),
        "reliability_min": lambda o: at_least(o.reliability, query.reliability_min),
        "price_source": lambda o: not query.price_source or o.price_source in query.price_source,
        "bookable": lambda o: query.bookable in (None, o.bookable),
        "fresh_only": lambda o: not query.fresh_only or o.provider not in stale,
        "include_fractions": lambda o: query.include_fractions or o.gpu_fraction == 1.0,
    }


def tflops(offer: Offer) -> float | None:
    card = gpus.catalogue().get(offer.gpu) if offer.gpu else None
    return (card.bf16_tflops or card.fp16_tflops) if card else None


def sort_key(offer: Offer, sort: str) -> tuple[Any, ...]:
    """Smaller comes first; what a sort cannot compare comes last; ties by id."""
    price = offer.price_per_hour_usd
    last = (9, Decimal(0))
    if sort == "freshness":
        return (0, -offer.last_updated.timestamp(), offer.id)
    if sort == "memory":
        return (*((0, -offer.memory_gb) if offer.memory_gb is not None else last), offer.id)
    if price is None:
        return (*last, offer.id)
    if sort == "price":
        return (0, price, offer.id)
    if sort == "-price":
        return (0, -price, offer.id)
    if sort == "price_per_gpu":
        return (0 if offer.gpu_fraction == 1.0 else 1, offer.price_per_gpu_hour_usd, offer.id)
    speed = tflops(offer)
    per_dollar = speed * offer.gpu_count * offer.gpu_fraction / float(price) if speed else None
    return (*((0, -per_dollar) if per_dollar else last), offer.id)


def matching(offers: Sequence[Offer], query: Query, stale: frozenset[str] = frozenset()) -> list[Offer]:
    """Every offer that meets the query, in its order."""
    checks = filters(query, stale).values()
    return sorted((o for o in offers if all(check(o) for check in checks)), key=lambda o: sort_key(o, query.sort))


def machines(matched: Sequence[Offer], offers: Sequence[Offer]) -> int:
    """How many of the matched offers are different machines: a resold one counts with the direct one it links to."""
    direct = {offer.id for offer in offers if offer.direct_offer_id is None}
    found = {offer.id for offer in matched}
    return sum(not (offer.direct_offer_id in direct and offer.direct_offer_id in found) for offer in matched)
