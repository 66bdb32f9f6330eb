"""The sandbox: a simulated cloud to practise on, reached over HTTP like any other, costing nothing.

`gpubroker sandbox` runs it on this machine. Its offers are shown only to those who ask for provider `sandbox`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from adapters.base import Adapter, Bill, Instance, Offer, Order, clean_text
from adapters.breaker import BreakerPolicy
from adapters.orders import lost
from market.errors import NoCapacity, OrderRefused, ProviderFailed, ProviderRefused, QuotaExceeded
from market.instances import LaunchField, Power
from market.offers import Pricing

if TYPE_CHECKING:
    from adapters.transport import ProviderClient

_POWER: dict[str, Power] = {
    "booting": "booting",
    "running": "running",
    "stopped": "stopped",
    "failed": "failed",
    "ended": "gone",
}
_BY_ITSELF = frozenset({"interrupted", "reached_end"})
_MOST_PAGES = 1_000
_FEW = 2


class Sandbox(Adapter):
    """The simulated cloud of `gpubroker sandbox`."""

    name, title, website = "sandbox", "Sandbox (simulated)", "https://pypi.org/project/gpubroker"
    base_url, catalogue_path = "http://127.0.0.1:10356", "/v1/types"
    base_url_variable = "GPUBROKER_SANDBOX_URL"
    on_this_machine = True
    optional = True
    notice = "A simulated cloud to practise on; its machines are not real. Start it with `gpubroker sandbox`."
    interval, stale_after, drop_after = timedelta(seconds=60), timedelta(minutes=5), timedelta(minutes=30)
    per_second, concurrency, timeout_seconds = 500.0, 32, 10.0
    # A machine that is to be ended must not wait half a minute because other calls of ours have failed.
    breaker = BreakerPolicy(open_seconds=5.0)
    unverified = False
    enforces_end = True
    honours: ClassVar[frozenset[LaunchField]] = frozenset(
        {"image", "ssh_public_keys", "start_script", "environment", "ports", "disk_gb"}
    )
    settle_seconds = 5.0
    boot_seconds = 300.0
    account: ClassVar[str] = "gpubroker"
    """The bearer token; any will do, each is an account of its own."""

    def __init__(self, client: ProviderClient, now: datetime | None = None) -> None:
        super().__init__(client, now)
        self._url = client.base_url
        self._headers = {"Authorization": f"Bearer {self.account}"}

    async def pages(self) -> AsyncIterator[Any]:
        """Everything it sells, in one answer."""
        yield await self.client.get_json(f"{self._url}/v1/types")

    def rows(self, page: Any) -> Iterable[Any]:
        """A type in a region each."""
        return page["types"]  # type: ignore[no-any-return]

    def parse(self, row: Any) -> Iterator[Offer]:
        """The offers of a type in a region: on demand and spot."""
        free = int(row["free"])
        for pricing, price in row["price_per_hour"].items():
            if pricing not in ("on_demand", "spot"):
                continue
            yield self.listed(
                sku=row["type"],
                gpu=row["gpu"],
                gpu_count=row["gpu_count"],
                memory_gb=float(row["gpu_memory_gb"]),
                price_per_hour=price,
                currency=row["currency"],
                pricing=pricing,
                region=row["region"],
                country=row["country"],
                cpu_cores=float(row["vcpus"]),
                ram_gb=float(row["ram_gb"]),
                storage_gb=float(row["storage_gb"]),
                storage_price_per_gb_month=row["storage_price_per_gb_month"],
                egress_price_per_gb=row["egress_price_per_gb"],
                billing_unit="second",
                min_rental_minutes=1,
                availability="unavailable" if not free else "limited" if free <= _FEW else "available",
                availability_evidence=f"{free} free, says the simulated cloud",
                tags=("sandbox", *row["tags"]),
                security_tier="datacenter",
                bookable=True,
                source_url=f"{self._url}/v1/types",
            )

    async def live_price(self, external_id: str, region: str, pricing: Pricing) -> tuple[Decimal, str] | None:
        """What a machine costs an hour now."""
        params = {"type": external_id, "region": region, "pricing": pricing}
        told = await self.client.get_json(f"{self._url}/v1/price", params=params)
        try:
            return _amount(told["price_per_hour"]), _currency(told["currency"])
        except _UNREADABLE as problem:
            raise self._unreadable(problem) from problem

    async def end_enforced(self) -> bool:
        """Whether the cloud was started with ends that it enforces."""
        told = await self.client.get_json(f"{self._url}/v1/account", headers=self._headers)
        try:
            return told["enforces_end"] is True
        except _UNREADABLE as problem:
            raise self._unreadable(problem) from problem

    @classmethod
    def refusal(cls, status: int, body: Any) -> ProviderFailed | None:
        """Stock, quota and reasons by the error's code."""
        try:
            code = body["error"]["code"]
        except _UNREADABLE:
            return None
        if code == "no_capacity":
            return NoCapacity(f"`{cls.name}` has none of it now.", next_step="Take another offer, or try later.")
        if code == "quota_exceeded":
            return QuotaExceeded(
                f"`{cls.name}` lets the account use no more GPUs at once.",
                next_step="End a machine, or take another provider.",
            )
        if status < 500 and code in _REASONS:
            return OrderRefused(
                f"`{cls.name}` refused the order: {_REASONS[code]}.",
                next_step="Nothing was ordered; change what is asked for, or take another offer.",
                details={"reason": code},
            )
        return None

    async def launch(self, order: Order) -> Instance:
        """Order one machine, at the price of the order at most."""
        launch = order.launch
        body = {
            "label": order.label,
            "type": order.external_id,
            "region": order.region,
            "pricing": order.pricing,
            "ends_at": _written(order.ends_at),
            "max_price_per_hour": str(order.price_per_hour),
            "image": launch.image,
            "ssh_public_keys": list(launch.ssh_public_keys),
            "start_script": launch.start_script,
            "environment": dict(launch.environment),
            "ports": list(launch.ports),
            "disk_gb": launch.disk_gb,
        }
        made = await self.client.order("POST", f"{self._url}/v1/instances", json=body, headers=self._headers)
        try:
            return _instance(made)
        except _UNREADABLE:
            raise lost(type(self), "took an order and did not say what it made") from None

    async def instances(self) -> list[Instance]:
        """Every machine of the account that has not ended."""
        return await self._list({})

    async def find_by_label(self, label: str) -> list[Instance]:
        """Those under one label."""
        return [one for one in await self._list({"label": label}) if one.label == label]

    async def status(self, instance_id: str) -> Instance | None:
        """The machine now, also for a while after its end; None when the cloud knows none of this id."""
        try:
            return self._readable(await self.client.get_json(self._of(instance_id), headers=self._headers))
        except ProviderRefused as refusal:
            if refusal.details.get("status") == 404:
                return None
            raise

    async def terminate(self, instance_id: str) -> None:
        """End it for good; one that is unknown has ended."""
        try:
            await self.client.order("DELETE", self._of(instance_id), headers=self._headers)
        except ProviderRefused as refusal:
            if refusal.details.get("status") != 404:
                raise

    async def bill(self, instance_id: str) -> Bill | None:
        """What the cloud charges for it; None when it knows none of this id."""
        try:
            told = await self.client.get_json(f"{self._of(instance_id)}/bill", headers=self._headers)
        except ProviderRefused as refusal:
            if refusal.details.get("status") == 404:
                return None
            raise
        try:
            amount, seconds = _amount(told["amount"]), float(told["seconds"])
            return Bill(
                amount=amount, currency=_currency(told["currency"]), final=told["final"] is True, seconds=seconds
            )
        except _UNREADABLE as problem:
            raise self._unreadable(problem) from problem

    async def extend(self, instance_id: str, ends_at: datetime) -> Instance | None:
        """Move the end; None where the cloud was started without enforcing any."""
        try:
            told = await self.client.order(
                "POST", f"{self._of(instance_id)}/extend", json={"ends_at": _written(ends_at)}, headers=self._headers
            )
        except OrderRefused as refusal:
            if refusal.details.get("reason") == "bad_state" and not await self.end_enforced():
                return None
            raise
        try:
            return _instance(told)
        except _UNREADABLE:
            raise lost(type(self), "moved an end and did not say to when") from None

    async def stop(self, instance_id: str) -> None:
        """Halt it and keep its disk; a spot machine cannot be halted."""
        await self.client.order("POST", f"{self._of(instance_id)}/stop", headers=self._headers)

    async def start(self, instance_id: str) -> None:
        """Boot it again."""
        await self.client.order("POST", f"{self._of(instance_id)}/start", headers=self._headers)

    def _of(self, instance_id: str) -> str:
        return f"{self._url}/v1/instances/{quote(instance_id, safe='')}"

    async def _list(self, filters: Mapping[str, str]) -> list[Instance]:
        """Every page; an answer that cannot be read is no shorter list but an error."""
        found: list[Instance] = []
        cursor = ""
        for _ in range(_MOST_PAGES):
            params = {**filters, "limit": "200"} | ({"cursor": cursor} if cursor else {})
            page = await self.client.get_json(f"{self._url}/v1/instances", params=params, headers=self._headers)
            try:
                rows, after = list(page["instances"]), page["next_cursor"]
            except _UNREADABLE as problem:
                raise self._unreadable(problem) from problem
            found += map(self._readable, rows)
            if not after:
                return found
            cursor = str(after)
        raise ProviderFailed(f"`{self.name}` has no end to its list of machines.")

    def _readable(self, row: Any) -> Instance:
        try:
            return _instance(row)
        except _UNREADABLE as problem:
            raise self._unreadable(problem) from problem

    def _unreadable(self, problem: Exception) -> ProviderFailed:
        return ProviderFailed(f"`{self.name}` answered in a shape we do not know ({type(problem).__name__}).")


_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, InvalidOperation)
_REASONS = {
    "unknown_type": "it has no such instance type",
    "unknown_region": "it has no such region",
    "not_sold": "this type is not sold in this region",
    "bad_image": "there is no such image",
    "price_too_high": "it costs more now than the order allows",
    "bad_request": "a field of it makes no sense",
    "bad_state": "the machine is in no state for that",
}


def _instance(row: Any) -> Instance:
    """A machine as the API shows it. Raises one of `_UNREADABLE` for what cannot be one."""
    if not isinstance(row["id"], str) or not row["id"]:
        raise ValueError("no id")
    ssh = row["ssh"] or {}
    return Instance(
        id=clean_text(row["id"], 80),
        label=clean_text(row["label"], 80),
        power=_POWER[row["state"]],
        price_per_hour=_amount(row["price_per_hour"]),
        currency=_currency(row["currency"]),
        started_at=_read(row["started_at"]),
        ends_at=_read(row["ends_at"]),
        ssh_host=clean_text(ssh["host"], 80) if ssh else None,
        ssh_port=int(ssh["port"]) if ssh else 22,
        ssh_user=clean_text(ssh["user"], 40) if ssh else "root",
        ports=tuple((int(each["port"]), clean_text(each["address"], 120)) for each in row["ports"]),
        interrupted=row["end_reason"] in _BY_ITSELF,
    )


def _amount(value: Any) -> Decimal:
    amount = Decimal(value)
    if not amount.is_finite() or amount < 0:
        raise ValueError("no amount of money")
    return amount


def _currency(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 3:
        raise ValueError("no currency")
    return value.upper()


def _read(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
