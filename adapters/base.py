"""What a provider module must say. One file, one class, one provider: `adapters/<name>.py`.

The smallest adapter names itself and parses a row:

    class Acme(Adapter):
        "Acme Cloud's public price list."
        name, title, website = "acme", "Acme Cloud", "https://acme.example"
        base_url, catalogue_path = "https://api.acme.example", "/v1/prices"
        sample = {"plans": [...]}

        def rows(self, page): return page["plans"]
        def parse(self, row): yield self.listed(sku=row["id"], gpu=row["gpu"], price_per_hour=row["usd"])

Everything else (sync job, retries, breaker, limits, health, published table, contract tests) follows from the class.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from adapters.breaker import BreakerPolicy
from market.errors import ProviderFailed
from market.instances import Bill, Instance, LaunchField, Order
from market.offers import Offer, PriceSource, Pricing, Unlistable, clean_text, listed, listed_tokens

if TYPE_CHECKING:
    from adapters.transport import ProviderClient


@dataclass(slots=True)
class SyncReport:
    """What one pass over a provider saw: rows read, offers made, rows refused by reason, warnings for people."""

    provider: str
    rows: int = 0
    offers: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    unknown_gpus: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    complete: bool = True

    def reject(self, reason: str) -> None:
        """Count one refused row under its reason."""
        self.rejects[reason] = self.rejects.get(reason, 0) + 1


class Adapter:
    """One provider. Class attributes say what it is; `pages`, `rows` and `parse` say how its answers become offers."""

    name: ClassVar[str] = ""
    """The slug used in offer ids, settings and the command line."""
    title: ClassVar[str] = ""
    website: ClassVar[str] = ""
    base_url: ClassVar[str] = ""
    """Scheme and host of the API; empty for a provider known from its published table alone."""
    extra_hosts: ClassVar[tuple[str, ...]] = ()
    """Further hosts the adapter may be redirected to or must call."""
    catalogue_path: ClassVar[str] = ""
    source_url: ClassVar[str] = ""
    """The page a person opens to check a price; `base_url + catalogue_path` when empty."""
    price_source: ClassVar[PriceSource] = "live_api"
    interval: ClassVar[timedelta] = timedelta(minutes=5)
    stale_after: ClassVar[timedelta] = timedelta(minutes=30)
    drop_after: ClassVar[timedelta] = timedelta(days=7)
    base_url_variable: ClassVar[str] = ""
    """Environment name that moves `base_url`, for what a person runs on an address of their own."""
    on_this_machine: ClassVar[bool] = False
    """Lives on this machine: its own address may be a loopback one, without TLS."""
    optional: ClassVar[bool] = False
    """Not running is no fault of anybody's: it is then `disabled`, not `unhealthy`."""
    secrets: ClassVar[tuple[str, ...]] = ()
    """Environment names it needs to read prices; empty means keyless."""
    per_second: ClassVar[float] = 5.0
    concurrency: ClassVar[int] = 4
    max_body_bytes: ClassVar[int] = 32 * 1024 * 1024
    timeout_seconds: ClassVar[float] = 20.0
    """For one call with all its retries; of a streamed answer, the longest silence."""
    breaker: ClassVar[BreakerPolicy] = BreakerPolicy()
    notice: ClassVar[str] = ""
    """A dated truth about the provider that people should read beside its offers (defunct, free quota, no stock)."""
    booking_secrets: ClassVar[tuple[str, ...]] = ()
    """Environment names it needs to buy, beside those to read prices."""
    unverified: ClassVar[bool] = True
    """Buying was never proved against the real cloud: it spends only after an explicit opt-in."""
    enforces_end: ClassVar[bool] = False
    """Whether the provider itself ends a machine at the order's `ends_at`."""
    honours: ClassVar[frozenset[LaunchField]] = frozenset()
    """Which fields of a launch it can do; the others are refused before anything is bought."""
    settle_seconds: ClassVar[float] = 15.0
    """How long after a lost reply a machine that was made may still be missing from its list."""
    boot_seconds: ClassVar[float] = 900.0
    """A machine that has not come up by then is given back."""
    end_seconds: ClassVar[float] = 120.0
    """A machine that is still there so long after it was to end is reported as stuck (and tried again)."""
    sample: ClassVar[Any] = None
    """An answer of the API for the contract test; longer ones live in `tests/samples/<name>.json`."""

    def __init__(self, client: ProviderClient, now: datetime | None = None) -> None:
        self.client = client
        self.now = now or datetime.now(UTC)

    @classmethod
    def address(cls, environment: Mapping[str, str] | None = None) -> str:
        """Scheme and host of the API, without a slash at its end: `base_url`, or where the environment moves it."""
        given = os.environ if environment is None else environment
        return (given.get(cls.base_url_variable) or cls.base_url).rstrip("/")

    @classmethod
    def has_api(cls) -> bool:
        """Whether there is an API to ask at all."""
        reads = cls.parse is not Adapter.parse or cls.read is not Adapter.read or cls.offers is not Adapter.offers
        return bool(cls.base_url) and reads

    @property
    def is_live(self) -> bool:
        """`has_api`, of an instance."""
        return self.has_api()

    @classmethod
    def published(cls, now: datetime) -> Iterator[Offer]:
        """The provider's dated list prices shipped with the product: a start without network, never called live."""
        from adapters.published import published

        return published(cls, now)

    async def pages(self) -> AsyncIterator[Any]:
        """The decoded answers of the API, one by one; one plain GET unless overridden."""
        yield await self.client.get_json(self.base_url + self.catalogue_path)

    def rows(self, page: Any) -> Iterable[Any]:
        """The rows of one answer."""
        return page  # type: ignore[no-any-return]

    def parse(self, row: Any) -> Iterable[Offer]:
        """The offers of one row; Unlistable, lookup, type, value and arithmetic errors refuse the row, not the page."""
        raise ProviderFailed(f"`{self.name}` has no API to read prices from.")

    async def offers(self, report: SyncReport) -> AsyncIterator[Offer]:
        """Every offer the API has now, counted in `report`. Raises ProviderFailed for a page in an unknown shape."""
        async for page in self.pages():
            for offer in self.read(page, report):
                yield offer

    def read(self, page: Any, report: SyncReport) -> Iterator[Offer]:
        """The offers of one answer; bad rows are counted and left out."""
        try:
            rows = iter(self.rows(page))
        except (KeyError, TypeError, AttributeError, ValueError) as problem:
            raise ProviderFailed(
                f"`{self.name}` answered in a shape we do not know ({type(problem).__name__}).",
                next_step="Its last known offers stay; the adapter needs a look if this goes on.",
            ) from problem
        for row in rows:
            report.rows += 1
            try:
                for offer in self.parse(row):
                    report.offers += 1
                    if offer.gpu is None and offer.gpu_raw:
                        report.unknown_gpus.add(offer.gpu_raw)
                    yield offer
            except Unlistable as refusal:
                report.reject(str(refusal))
            except (KeyError, TypeError, AttributeError, ValueError, IndexError, ArithmeticError) as problem:
                report.reject(f"unreadable row ({type(problem).__name__})")

    @classmethod
    def bookable(cls) -> bool:
        """Whether machines can be bought from it: by having a `launch`."""
        return cls.launch is not Adapter.launch

    @classmethod
    def refusal(cls, status: int, body: Any) -> ProviderFailed | None:
        """What this provider means by an answer to an order that is no success; None leaves it to the status.

        `body` is the decoded answer, None when it cannot be read. An error made here says that nothing was done, in
        our own words, unless it is a ReplyLost.
        """
        return None

    async def end_enforced(self) -> bool:
        """Whether the provider ends machines by itself for this account."""
        return self.enforces_end

    async def live_price(self, external_id: str, region: str, pricing: Pricing) -> tuple[Decimal, str] | None:
        """Price of the whole instance an hour and its currency, asked now; None when the provider cannot be asked."""
        return None

    async def launch(self, order: Order) -> Instance:
        """Start one machine under the order's label.

        Raises ProviderRefused or one of its kinds, or SlowDown, when certainly nothing was made; ReplyLost when
        nobody knows. Never tries twice.
        """
        raise NotImplementedError

    async def find_by_label(self, label: str) -> list[Instance]:
        """Every machine under this label that still exists."""
        return [one for one in await self.instances() if one.label == label]

    async def instances(self) -> list[Instance]:
        """Every machine of the account that is not gone, ours and others."""
        raise NotImplementedError

    async def status(self, instance_id: str) -> Instance | None:
        """The machine now; None when the provider knows none of this id."""
        raise NotImplementedError

    async def terminate(self, instance_id: str) -> None:
        """End it for good; ending what is gone is no error."""
        raise NotImplementedError

    async def bill(self, instance_id: str) -> Bill | None:
        """What it has cost so far by the provider's own count; None when the provider does not say."""
        return None

    async def extend(self, instance_id: str, ends_at: datetime) -> Instance | None:
        """Move the end the provider enforces; None where it enforces none."""
        return None

    async def stop(self, instance_id: str) -> None:
        """Halt it and keep its disk."""
        raise NotImplementedError

    async def start(self, instance_id: str) -> None:
        """Run it again after `stop`."""
        raise NotImplementedError

    def listed(self, *, sku: str, gpu: str, price_per_hour: object, **facts: Any) -> Offer:
        """`market.offers.listed` with what is the same for every row of this provider."""
        facts.setdefault("price_source", self.price_source)
        facts.setdefault("price_as_of", self.now)
        facts.setdefault("source_url", self.source_url or self.base_url + self.catalogue_path)
        return listed(provider=self.name, sku=sku, gpu=gpu, price_per_hour=price_per_hour, seen_at=self.now, **facts)

    def listed_tokens(self, *, model: str, **facts: Any) -> Offer:
        """`market.offers.listed_tokens` likewise."""
        facts.setdefault("source_url", self.source_url or self.base_url + self.catalogue_path)
        return listed_tokens(provider=self.name, model=model, price_as_of=self.now, seen_at=self.now, **facts)


def cents(value: object) -> object:
    """A price in cents as dollars, for the providers that count so."""
    return None if value is None else Decimal(str(value)) / 100


__all__ = ["Adapter", "Bill", "Instance", "Offer", "Order", "SyncReport", "Unlistable", "cents", "clean_text"]
