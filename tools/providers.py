"""Providers to buy from: one open connection each for as long as the process lives, so that its breaker remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market.context import Market
from market.errors import NotFound

if TYPE_CHECKING:
    from adapters.base import Adapter
    from adapters.transport import ProviderClient


def provider(market: Market, name: str) -> Adapter:
    """The adapter of this name, ready to be asked. Raises NotFound for one that does not exist."""
    kind = known(name)
    key = f"provider {name}"
    if key not in market.kept:
        market.kept[key] = _connected(market, kind)
    client: ProviderClient = market.kept[key]  # type: ignore[assignment]
    return kind(client, market.clock.now())


def known(name: str) -> type[Adapter]:
    """The adapter class of this name. Raises NotFound."""
    from adapters import discover

    found = discover()[0].get(name)
    if found is None:
        raise NotFound(f"There is no provider `{name[:60]}`.", next_step="`gpubroker doctor` lists all of them.")
    return found


def _connected(market: Market, kind: type[Adapter]) -> ProviderClient:
    from adapters.transport import ProviderClient

    client: ProviderClient = (market.connect or ProviderClient)(kind)
    return client
