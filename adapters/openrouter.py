"""OpenRouter: hosted models by the token, from its public model list.

Prices come as decimal text in dollars per single token. Free variants and router models without a price of their own
are left out. The list price excludes the fee OpenRouter takes when credits are bought (about 5.5 %, tagged).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from adapters.base import Adapter, Offer, Unlistable

_TOKENS_PER_MILLION = 1_000_000


class OpenRouter(Adapter):
    """Token prices of every model OpenRouter routes to; sells no GPU time."""

    name, title, website = "openrouter", "OpenRouter", "https://openrouter.ai"
    base_url, catalogue_path = "https://openrouter.ai", "/api/v1/models"
    source_url = "https://openrouter.ai/models"
    price_source = "token_equivalent"
    interval, stale_after, drop_after = timedelta(hours=1), timedelta(hours=6), timedelta(days=7)
    per_second, concurrency = 1.0, 1

    def rows(self, page: Any) -> Iterable[Any]:
        """The models of the list."""
        return page["data"]  # type: ignore[no-any-return]

    def parse(self, row: Any) -> Iterable[Offer]:
        """One offer for a model with a fixed price by the token."""
        pricing = row["pricing"]
        prompt, completion = _per_million(pricing.get("prompt")), _per_million(pricing.get("completion"))
        if min(prompt, completion) < 0:
            raise Unlistable("price varies with the model chosen")
        if max(prompt, completion) == 0:
            raise Unlistable("not priced by the token" if _has_other_price(pricing) else "free model")
        yield self.listed_tokens(
            model=row["id"],
            name=row.get("name") or row["id"],
            price_per_million_input_tokens=prompt,
            price_per_million_output_tokens=completion,
            tags=_tags(row, pricing),
            source_url=f"{self.website}/{quote(row['id'])}",
        )


def _per_million(per_token: object) -> Decimal:
    if per_token is None or per_token == "":
        raise Unlistable("no token price")
    return Decimal(str(per_token)) * _TOKENS_PER_MILLION


def _has_other_price(pricing: dict[str, Any]) -> bool:
    return any(Decimal(str(pricing.get(unit) or 0)) > 0 for unit in ("request", "image"))


def _tags(row: dict[str, Any], pricing: dict[str, Any]) -> tuple[str, ...]:
    """What changes the bill beyond the two prices, and how much text fits."""
    tags = ["credit-fee-5.5-percent"]
    if row.get("context_length"):
        tags.append(f"context-{int(row['context_length'])}")
    if Decimal(str(pricing.get("request") or 0)) > 0:
        tags.append("fee-per-request")
    if pricing.get("overrides"):
        tags.append("price-differs-by-use")
    return tuple(tags)
