"""What became of offers when somebody tried to have them: a refusal counts against a listing for an hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from market.context import Market
from tools.offer_view import confirmed_at

if TYPE_CHECKING:
    from market.availability import Refused
    from market.catalogue import ProviderHealth
    from market.offers import Availability, Offer

MOST_TOLD = 3
REFUSALS_THAT_SETTLE_IT = 2


async def proved(market: Market, offers: Sequence[Offer]) -> tuple[list[Offer], list[str]]:
    """The offers as they proved to be, in their order, and what to warn of."""
    refused, states = await market.refusals(), await market.provider_states()
    found = [as_proved(offer, refused.get(offer.id), states.get(offer.provider)) for offer in offers]
    doubtful = [f"`{offer.id}`: {offer.availability_evidence}." for offer in found if offer.id in refused]
    if len(doubtful) > MOST_TOLD:
        doubtful[MOST_TOLD:] = [f"{len(doubtful) - MOST_TOLD} more were refused lately."]
    return found, doubtful


def as_proved(offer: Offer, refused: Refused | None, state: ProviderHealth | None) -> Offer:
    """An offer that was refused lately is limited at best; refused again and not listed anew since, unavailable."""
    if refused is None:
        return offer
    settled = refused.times >= REFUSALS_THAT_SETTLE_IT and not listed_since(offer, refused, state)
    availability: Availability = "unavailable" if settled or offer.availability == "unavailable" else "limited"
    return replace(
        offer, availability=availability, availability_evidence=told(refused), availability_as_of=refused.last_at
    )


def listed_since(offer: Offer, refused: Refused, state: ProviderHealth | None) -> bool:
    """Whether its provider has listed it again after it was last refused; a published table says nothing of stock."""
    return offer.price_source != "static_table" and confirmed_at(offer, state) > refused.last_at


def told(refused: Refused) -> str:
    """The refusals in words."""
    times = "once" if refused.times == 1 else f"{refused.times} times"
    return f"listed, refused {times}, last at {refused.last_at:%Y-%m-%d %H:%M} UTC"


def is_doubtful(offer: Offer, refused: Mapping[str, Refused], state: ProviderHealth | None) -> bool:
    """Whether it was refused lately and nobody has listed it since."""
    found = refused.get(offer.id)
    return found is not None and not listed_since(offer, found, state)
