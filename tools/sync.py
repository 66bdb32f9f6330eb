"""Fetching: every provider on its own clock, all of them side by side, one process at a time by lease.

A provider that fails costs only itself: its last known offers stay, and the run says why. On an empty catalogue the
published price tables come first, so that the very first question has an answer without any network.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from market.context import Market
from market.errors import BrokerError, NotFound, ProviderFailed, StorageFailed

if TYPE_CHECKING:
    from adapters.base import Adapter, SyncReport
    from adapters.transport import ProviderClient
    from market.catalogue import HealthState, ProviderHealth, SyncRun
    from market.ingest import Recorded
    from market.offers import Offer
    from market.store import Store

log = logging.getLogger("gpubroker.sync")

SIDE_BY_SIDE = 8


@dataclass(frozen=True, slots=True)
class ProviderRun:
    """One pass over one provider: what was read, what changed, what was refused and why, how long it took."""

    provider: str
    started_at: datetime
    seconds: float
    source: str
    rows: int = 0
    offers: int = 0
    inserted: int = 0
    changed: int = 0
    gone: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    unknown_gpus: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None
    absent: bool = False
    """Nobody answered at the address of a provider that need not run."""

    @property
    def rows_per_second(self) -> float:
        """Rows read a second, fetching and storing together."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0


Provider: TypeAlias = "type[Adapter]"
Providers = list["type[Adapter]"]
Connect = Callable[["type[Adapter]"], "ProviderClient"]
Told = Callable[[ProviderRun], Awaitable[None]]


async def _untold(_run: ProviderRun) -> None:
    return None


async def seed(store: Store, now: datetime) -> None:
    """Fill an empty catalogue from the published price tables; one that has ever held anything is left alone.

    A seeding that was cut off before its end is finished.
    """
    from adapters import discover
    from market import catalogue

    states = await catalogue.provider_states(store)
    cut_off = all(state.interval is not None for state in states.values())
    if states and (not cut_off or await catalogue.recent_runs(store, limit=1)):
        return
    for name, adapter in discover()[0].items():
        if name in states:
            continue
        try:
            offers = await _record_published(store, adapter, now)
        except StorageFailed:
            raise
        except Exception:
            log.exception("the published prices of %s cannot be read", name)
            continue
        await catalogue.note_health(store, _health(adapter, now, offers=offers))


async def _record_published(store: Store, adapter: type[Adapter], now: datetime) -> int:
    """The published table into the catalogue; it is the whole truth only of a provider that has no API."""
    from market import catalogue

    offers = list(adapter.published(now))
    await catalogue.record(store, adapter.name, offers, seen_at=now, complete=not adapter.has_api())
    return len(offers)


def chosen(names: frozenset[str] | None) -> list[type[Adapter]]:
    """The adapters of these names, or all. Raises NotFound with the nearest names for one that does not exist."""
    from adapters import discover
    from tools.search import near

    found, _ = discover()
    for name in sorted(names or ()):
        if name not in found:
            nearest = near(name, list(found))
            raise NotFound(
                f"There is no provider `{name[:60]}`.",
                next_step=f"Nearest: {', '.join(nearest)}." if nearest else "`gpubroker doctor` lists all of them.",
                details={"nearest": nearest},
            )
    return [adapter for name, adapter in found.items() if names is None or name in names]


async def sync(
    market: Market, adapters: list[type[Adapter]], *, connect: Connect | None = None, told: Told = _untold
) -> list[ProviderRun]:
    """Ask every one of these providers, side by side; `told` hears of each as it ends. Raises StorageFailed only."""
    gate = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(adapter: type[Adapter]) -> ProviderRun:
        async with gate:
            run = await sync_provider(market, adapter, connect=connect)
        await told(run)
        return run

    passes = [asyncio.create_task(one(adapter)) for adapter in adapters]
    try:
        return list(await asyncio.gather(*passes))
    finally:
        # After a failure or a cancellation nobody waits for the others any more: they end before we do.
        for each in passes:
            each.cancel()
        await asyncio.gather(*passes, return_exceptions=True)


async def sync_provider(market: Market, adapter: type[Adapter], *, connect: Connect | None = None) -> ProviderRun:
    """One pass over one provider: fetch, record, note its health. Its own failures end up in the run, never raised."""
    from market import catalogue

    store = await market.store()
    now = market.clock.now()
    began = time.perf_counter()
    before = (await catalogue.provider_states(store)).get(adapter.name)
    try:
        if adapter.has_api() and not _missing_secrets(adapter):
            run = await _fetched(store, adapter, now, connect)
        else:
            run = await _published(store, adapter, now)
        if run.error is not None and _is_bare(adapter, before, now):
            run = await _stood_in(store, adapter, now, run)
    except StorageFailed:
        raise
    except Exception as fault:
        log.exception("adapter %s failed", adapter.name)
        run = ProviderRun(adapter.name, now, 0.0, "none", error=_defect(fault))
    run = replace(run, seconds=time.perf_counter() - began)
    kept = run.absent or (run.error is not None and not run.offers)
    live = run.offers if not kept else before.offers if before is not None else 0
    await catalogue.note_health(store, _health(adapter, now, offers=live, run=run))
    if not run.absent:
        await catalogue.note_run(store, _logged(run, now))
    return run


def _logged(run: ProviderRun, now: datetime) -> SyncRun:
    from market.catalogue import SyncRun

    return SyncRun(
        provider=run.provider,
        started_at=now,
        finished_at=now + timedelta(seconds=run.seconds),
        rows=run.rows,
        offers=run.offers,
        inserted=run.inserted,
        changed=run.changed,
        gone=run.gone,
        rejects=run.rejects,
        error=run.error,
    )


def _defect(fault: Exception) -> str:
    return f"the adapter failed ({type(fault).__name__}); see the log"


async def _published(store: Store, adapter: type[Adapter], now: datetime) -> ProviderRun:
    offers = await _record_published(store, adapter, now)
    return ProviderRun(adapter.name, now, 0.0, "published table", rows=offers, offers=offers)


def _missing_secrets(adapter: type[Adapter]) -> list[str]:
    import os

    return [name for name in adapter.secrets if not os.environ.get(name)]


async def _fetched(store: Store, adapter: type[Adapter], now: datetime, connect: Connect | None) -> ProviderRun:
    """Ask the provider and record what it says; a failure is a run with an error."""
    from adapters.base import SyncReport
    from adapters.transport import ProviderClient
    from market import catalogue

    client = (connect or ProviderClient)(adapter)
    report = SyncReport(adapter.name)
    try:
        offers: list[Offer] = [offer async for offer in adapter(client, now).offers(report)]
        if not offers:
            raise ProviderFailed(f"`{adapter.name}` answered without a single usable offer.")
        recorded = await catalogue.record(store, adapter.name, offers, seen_at=now, complete=report.complete)
    except StorageFailed:
        raise
    except BrokerError as problem:
        if adapter.optional and problem.details.get("reason") == "unreachable":
            return ProviderRun(adapter.name, now, 0.0, "not running", warnings=(adapter.notice,), absent=True)
        return _run(adapter, now, report, error=str(problem))
    except Exception as fault:  # a defect in one adapter must not stop the others
        log.exception("adapter %s failed", adapter.name)
        return _run(adapter, now, report, error=_defect(fault))
    finally:
        await client.aclose()
    return _stored(_run(adapter, now, report), recorded)


def _stored(run: ProviderRun, recorded: Recorded) -> ProviderRun:
    """The run with what the catalogue made of it: what it refused is refused, with its reason."""
    rejects = dict(run.rejects)
    refused = dict(recorded.refused)
    if recorded.duplicates:
        refused["the same offer twice; the cheaper was kept"] = recorded.duplicates
    for reason, count in refused.items():
        rejects[reason] = rejects.get(reason, 0) + count
    return replace(
        run,
        offers=run.offers - sum(refused.values()),
        inserted=recorded.inserted,
        changed=recorded.changed,
        gone=recorded.gone,
        rejects=rejects,
    )


def _run(adapter: type[Adapter], now: datetime, report: SyncReport, error: str | None = None) -> ProviderRun:
    return ProviderRun(
        provider=adapter.name,
        started_at=now,
        seconds=0.0,
        source="live",
        rows=report.rows,
        offers=report.offers if error is None else 0,
        rejects=dict(report.rejects),
        unknown_gpus=tuple(sorted(report.unknown_gpus)),
        warnings=tuple(report.warnings),
        error=error,
    )


def _is_bare(adapter: type[Adapter], before: ProviderHealth | None, now: datetime) -> bool:
    """Whether nothing read from the provider itself is left: never read whole, or so long ago that it is dropped."""
    confirmed = before.last_complete_at if before is not None else None
    return confirmed is None or now - confirmed > adapter.drop_after


async def _stood_in(store: Store, adapter: type[Adapter], now: datetime, run: ProviderRun) -> ProviderRun:
    """The published table where the provider's own answer should be; the failure stays told."""
    offers = await _record_published(store, adapter, now)
    return replace(run, offers=offers, source="published table") if offers else run


def _health(adapter: type[Adapter], now: datetime, *, offers: int, run: ProviderRun | None = None) -> ProviderHealth:
    """What is to be noted of a provider: before it was asked (`run` is None), or after a pass."""
    from market.catalogue import ProviderHealth

    asked = run is not None
    well = run.error is None and not run.absent if run is not None else not adapter.has_api()
    missing = _missing_secrets(adapter)
    notice = f"{adapter.notice} Set {', '.join(missing)} for live prices.".strip() if missing else adapter.notice
    return ProviderHealth(
        name=adapter.name,
        title=adapter.title,
        state=_state(adapter, run, offers),
        last_attempt_at=now if asked or not adapter.has_api() else None,
        last_success_at=now if well else None,
        last_error=run.error if run is not None else None,
        response_time_ms=round(run.seconds * 1000, 1) if run is not None and run.source == "live" else None,
        offers=offers,
        rejects=run.rejects if run is not None else {},
        interval=adapter.interval,
        stale_after=adapter.stale_after,
        drop_after=adapter.drop_after,
        notice=notice,
    )


def _state(adapter: type[Adapter], run: ProviderRun | None, offers: int) -> HealthState:
    if not adapter.has_api() and offers == 0:
        return "disabled"
    if run is not None and run.absent:
        return "disabled"
    if run is None:
        return "unknown" if adapter.has_api() else "healthy"
    if run.error is not None:
        return "unhealthy"
    return "degraded" if run.warnings else "healthy"
