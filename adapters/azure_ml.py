"""Microsoft Azure: GPU machines from the Retail Prices API (no key): pay as you go, spot and reservations.

Azure Machine Learning bills its compute as these machines without a surcharge, so one list serves both. The API is a
price list: it carries no stock, and no hardware either, which is read from the size's name (`azure_sizes`). The answer
mixes meters; left out are Windows, Cloud Services, dedicated hosts, low priority (retired), test rates, tiers, prices
of 0 (meaning unknown), canary regions and prices not yet or no longer in force. Of several meters of one size, place
and term the one primary for the region wins, then the newest. The price of a reservation is of its whole term.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlsplit

from adapters.azure_sizes import size
from adapters.base import Adapter, Offer, SyncReport, Unlistable
from market.errors import ProviderFailed
from market.offers import Pricing

PRICES = "/api/retail/prices"
MOST_PAGES = 200
_HOURS: dict[str, tuple[Pricing, int]] = {"1 Year": ("reserved_1y", 8760), "3 Years": ("reserved_3y", 26_280)}
_SMALLEST_TERM_PRICE = 300  # dollars; by the hour no size costs as much, for a whole term none costs less
_TERM_MINUTES: dict[Pricing, int] = {pricing: hours * 60 for pricing, hours in _HOURS.values()}
_WINDOWS = re.compile(r"\bWin(dows)?\b")
_OTHER_PRODUCT = ("Cloud Services", "CloudServices", "Dedicated")
_CANARY = re.compile(r"euap$|stg$|^brazilus$")
_Rank = tuple[bool, str]


class Azure(Adapter):
    """The two walks of the price list: consumption (with spot) and reservations."""

    name = "azure_ml"
    title = "Microsoft Azure"
    website = "https://azure.microsoft.com/"
    base_url = "https://prices.azure.com"
    catalogue_path = PRICES
    source_url = "https://azure.microsoft.com/pricing/details/virtual-machines/linux/"
    price_source = "price_list"
    interval = timedelta(days=1)
    stale_after = timedelta(days=3)
    drop_after = timedelta(days=14)
    per_second = 2.0
    concurrency = 1
    max_body_bytes = 16 * 1024 * 1024
    timeout_seconds = 60.0
    price_types: ClassVar[tuple[str, ...]] = ("Consumption", "Reservation")

    async def offers(self, report: SyncReport) -> AsyncIterator[Offer]:
        """Every offer, once: meters of the same machine are compared before the best is given out."""
        best: dict[str, tuple[_Rank, Offer]] = {}
        broken: list[ProviderFailed] = []
        for price_type in self.price_types:
            try:
                async for page in self._walk(price_type):
                    for row in page["Items"]:
                        self._keep_best(best, row, report)
            except ProviderFailed as problem:
                broken.append(problem)
                report.complete = False
                report.warnings.append(f"{price_type} prices are incomplete: {problem.message}")
        if broken and not best:
            raise broken[0]
        for _, offer in best.values():
            yield offer

    def _keep_best(self, best: dict[str, tuple[_Rank, Offer]], row: Any, report: SyncReport) -> None:
        for offer in self.read({"Items": (row,)}, report):
            rank = (row.get("isPrimaryMeterRegion") is not False, str(row.get("effectiveStartDate", "")))
            held = best.get(offer.id)
            if held is not None:
                report.offers -= 1
                report.reject("another meter of the same machine")
            if held is None or rank > held[0]:
                best[offer.id] = (rank, offer)

    async def _walk(self, price_type: str) -> AsyncIterator[Any]:
        """The pages of one price type; the link to the next must stay on the host and never lead back."""
        question = {
            "api-version": "2023-01-01-preview",
            "currencyCode": "USD",
            "$filter": f"serviceName eq 'Virtual Machines' and priceType eq '{price_type}' "
            "and contains(armSkuName,'Standard_N') and contains(productName,'Windows') eq false",
        }
        page = await self.client.get_json(self.base_url + PRICES, params=question)
        seen: set[str] = set()
        while True:
            if not isinstance(page, dict) or not isinstance(page.get("Items"), list):
                raise ProviderFailed(f"`{self.name}` answered in a shape we do not know (no list of items).")
            yield page
            link = page.get("NextPageLink")
            if not link:
                return
            target = urlsplit(str(link))
            if target.scheme != "https" or target.hostname != urlsplit(self.base_url).hostname:
                raise ProviderFailed(f"`{self.name}` named a next page on another host.")
            if link in seen or len(seen) >= MOST_PAGES:
                raise ProviderFailed(f"`{self.name}` named a next page that was read before.")
            seen.add(link)
            page = await self.client.get_json(str(link))

    def rows(self, page: Any) -> Iterable[Any]:
        """The meters of one page."""
        items: Iterable[Any] = page["Items"]
        return items

    def parse(self, row: Any) -> Iterable[Offer]:
        """The offer of one meter, if it prices a GPU machine under Linux by the hour."""
        sku = row["armSkuName"]
        region = str(row["armRegionName"]).lower()
        self._refuse_other_meters(row, region)
        machine = size(sku)
        pricing, price = _price(row)
        yield self.listed(
            sku=sku,
            gpu=machine.gpu,
            gpu_count=machine.gpu_count,
            gpu_fraction=machine.gpu_fraction,
            memory_gb=machine.memory_gb,
            form_factor=machine.form_factor,
            cpu_arch=machine.cpu_arch,
            interconnect="InfiniBand" if machine.infiniband else None,
            name=f"{sku} ({machine.gpu_count}x {machine.gpu})",
            region=region,
            pricing=pricing,
            price_per_hour=price,
            currency=row["currencyCode"],
            cpu_cores=float(machine.vcpus),
            ram_gb=machine.ram_gb,
            min_rental_minutes=_TERM_MINUTES.get(pricing),
            tags=("promo",) if machine.promo else (),
        )

    def _refuse_other_meters(self, row: Any, region: str) -> None:
        product, meter = str(row.get("productName", "")), f"{row.get('skuName', '')} {row.get('meterName', '')}"
        reasons = {
            "Windows": _WINDOWS.search(product),
            "another product": any(word in product for word in _OTHER_PRODUCT),
            "low priority": "Low Priority" in meter,
            "not by the hour": row["unitOfMeasure"] != "1 Hour",
            "a tier": row.get("tierMinimumUnits", 0) != 0,
            "no place": not region,
            "a canary region": _CANARY.search(region),
            "not in force": not self._in_force(row),
        }
        for reason, holds in reasons.items():
            if holds:
                raise Unlistable(f"meter: {reason}")

    def _in_force(self, row: Any) -> bool:
        start, end = _time(row.get("effectiveStartDate")), _time(row.get("effectiveEndDate"))
        return not (start and start > self.now) and not (end and end <= self.now)


def _price(row: Any) -> tuple[Pricing, object]:
    """The pricing model of a meter and its price by the hour."""
    price = row["retailPrice"]
    if row["type"] == "Reservation":
        term = _HOURS.get(row["reservationTerm"])
        if term is None:
            raise Unlistable("meter: a term we do not list")
        if 0 < price < _SMALLEST_TERM_PRICE:
            raise Unlistable("meter: a reservation too cheap to be of the whole term")
        return term[0], Decimal(str(price)) / term[1]
    if row["type"] != "Consumption":
        raise Unlistable("meter: a test rate")
    spot = "Spot" in f"{row.get('skuName', '')} {row.get('meterName', '')}"
    return ("spot" if spot else "on_demand"), price


def _time(text: object) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
