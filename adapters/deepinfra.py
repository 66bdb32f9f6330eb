"""DeepInfra: hosted models by the token, from its public model list.

Prices come in US cents per single token, so dollars per million are cents times 10,000. The list mixes models billed by
the second, the image or the character: those have no token price and are refused with that reason. A model to be
retired later is kept and tagged with the day; one already retired is dropped. The cached rate is a multiplier on the
input price, not a price, and is not used; a running discount is tagged, the price stays the one before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from adapters.base import Adapter, Offer, Unlistable, clean_text

_CENTS_PER_TOKEN_TO_DOLLARS_PER_MILLION = 10_000
_YEAR_2100 = 4_102_444_800


class DeepInfra(Adapter):
    """Token prices of the models DeepInfra hosts; its dedicated GPUs have no public price."""

    name, title, website = "deepinfra", "DeepInfra", "https://deepinfra.com"
    base_url, catalogue_path = "https://api.deepinfra.com", "/models/list"
    source_url = "https://deepinfra.com/pricing"
    price_source = "token_equivalent"
    interval, stale_after, drop_after = timedelta(hours=1), timedelta(hours=6), timedelta(days=7)
    per_second, concurrency = 1.0, 1

    def rows(self, page: Any) -> Iterable[Any]:
        """The models; the answer is a bare list, an object is an error."""
        if not isinstance(page, list):
            raise TypeError("not a list")
        return page

    def parse(self, row: Any) -> Iterable[Offer]:
        """One offer for a public model that is sold by the token and not retired."""
        model = row["model_name"]
        if row.get("private"):
            raise Unlistable("private model")
        retirement = self._retirement_tags(row.get("deprecated"))
        prompt, completion = _per_million(row)
        yield self.listed_tokens(
            model=model,
            price_per_million_input_tokens=prompt,
            price_per_million_output_tokens=completion,
            tags=(*retirement, *_tags(row)),
            source_url=f"{self.website}/{quote(model)}",
        )

    def _retirement_tags(self, deprecated: object) -> tuple[str, ...]:
        """Nothing for a model that stays, a dated tag for one that will go; raises for one that is gone."""
        if deprecated is None or deprecated is False:
            return ()
        if deprecated is True or (moment := Decimal(str(deprecated))) <= Decimal(self.now.timestamp()):
            raise Unlistable("deprecated model")
        if moment >= _YEAR_2100:
            return ("deprecated-later",)
        return (f"deprecated-{datetime.fromtimestamp(float(moment), UTC):%Y-%m-%d}",)


def _per_million(row: dict[str, Any]) -> tuple[Decimal, Decimal]:
    pricing = row.get("pricing")
    if not pricing:
        raise Unlistable("no price")
    if pricing["type"] != "tokens":
        raise Unlistable(f"priced by {clean_text(pricing['type'], 30)}, not by the token")
    cents_in, cents_out = pricing.get("cents_per_input_token"), pricing.get("cents_per_output_token")
    if cents_in is None:
        raise Unlistable("no token price")
    if cents_out is None:
        if _kind(row) == "text-generation":
            raise Unlistable("no price of output tokens")
        cents_out = 0
    prompt, completion = (
        Decimal(str(cents)) * _CENTS_PER_TOKEN_TO_DOLLARS_PER_MILLION for cents in (cents_in, cents_out)
    )
    if prompt == 0 and completion == 0:
        raise Unlistable("free model")
    return prompt, completion


def _kind(row: dict[str, Any]) -> str:
    return str(row.get("reported_type") or row.get("type") or "")


def _tags(row: dict[str, Any]) -> tuple[str, ...]:
    tags = [_kind(row)]
    if row.get("max_tokens"):
        tags.append(f"context-{int(row['max_tokens'])}")
    if row["pricing"].get("discount"):
        tags.append("discount-not-counted")
    return tuple(tags)
