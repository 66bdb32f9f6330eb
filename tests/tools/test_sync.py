"""Fetching: what is recorded, what stands in, and what a failure costs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.base import Adapter
from market import catalogue
from market.context import Market
from market.errors import NotFound, StorageFailed
from market.settings import Settings
from tests.conftest import ManualClock
from tests.market.offer_samples import made
from tests.tools.conftest import stocked
from tests.tools.providers import Answers, provider, row, table_only
from tools.sync import ProviderRun, chosen, seed, sync

DAY = timedelta(days=1)


async def _live(market: Market) -> dict[str, str]:
    """Id to price source of every live offer."""
    snapshot = await market.refresh()
    return {offer.id: offer.price_source for offer in (snapshot.offer(at) for at in range(snapshot.count))}


async def _one(market: Market, adapter: type[Adapter], answers: Answers) -> ProviderRun:
    (run,) = await sync(market, [adapter], connect=answers.connect)
    return run


async def test_an_empty_catalogue_is_seeded_and_one_that_held_anything_is_not(market: Market) -> None:
    store = await market.store()
    await stocked(market, made())
    await seed(store, market.clock.now())
    assert set(await catalogue.provider_states(store)) == {"aws"}


async def test_a_seeding_that_was_cut_off_is_finished_and_never_repeated(tmp_path: Path, clock: ManualClock) -> None:
    market = Market(Settings(data_dir=tmp_path), clock=clock, seed=seed)
    whole = (await market.snapshot()).count
    store = await market.store()
    states = await catalogue.provider_states(store)
    await market.close()
    again = Market(Settings(data_dir=tmp_path), clock=clock, seed=seed)
    assert (await again.snapshot()).version == (await catalogue.current(await again.store())).version
    assert await catalogue.provider_states(await again.store()) == states
    await again.close()
    half = Market(Settings(data_dir=tmp_path / "half"), clock=clock)
    cut = await half.store()
    names = iter(chosen(None))
    for adapter in (next(names), next(names)):
        offers = list(adapter.published(clock.now()))
        await catalogue.record(cut, adapter.name, offers, seen_at=clock.now(), complete=True)
        await catalogue.note_health(
            cut, catalogue.ProviderHealth(name=adapter.name, interval=adapter.interval, drop_after=adapter.drop_after)
        )
    await seed(cut, clock.now())
    assert (await half.snapshot()).count == whole
    await half.close()


async def test_a_first_caller_who_gives_up_does_not_stop_the_seeding(tmp_path: Path, clock: ManualClock) -> None:
    market = Market(Settings(data_dir=tmp_path), clock=clock, seed=seed)
    impatient = asyncio.create_task(market.snapshot())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    assert (await market.snapshot()).count > 2_000
    await market.close()


@pytest.mark.requirement("FR-PROV-004")
async def test_a_failing_provider_costs_only_itself(market: Market) -> None:
    answers = Answers({"good": [row("a")], "sick": [row("old")]})
    good, sick = provider("good"), provider("sick")
    await sync(market, [good, sick], connect=answers.connect)
    answers.rows["sick"] = 500
    broken = provider("broken", parse=lambda self, row: 1 / 0)
    runs = {run.provider: run for run in await sync(market, [good, sick, broken], connect=answers.connect)}
    assert runs["good"].error is None
    assert "sick" in (runs["sick"].error or "")
    assert set(await _live(market)) == {"good:a:global", "sick:old:global"}
    states = await catalogue.provider_states(await market.store())
    assert (states["good"].state, states["sick"].state, states["sick"].offers) == ("healthy", "unhealthy", 1)


async def test_a_defect_of_an_adapter_is_told_without_its_words(market: Market) -> None:
    def explode(_self: object) -> object:
        raise RuntimeError("inner secret")

    run = await _one(market, provider("odd", pages=explode), Answers())
    assert run.error == "the adapter failed (RuntimeError); see the log"
    table = provider("bad_table", base_url="", published=classmethod(lambda cls, now: explode(cls)))
    runs = await sync(market, [table, provider("good")], connect=Answers({"good": [row("a")]}).connect)
    assert [run.error for run in runs] == ["the adapter failed (RuntimeError); see the log", None]


async def test_a_run_tells_rows_rejects_and_why(market: Market) -> None:
    rows = [row("a"), row("b", "0"), row("c", None), row("d", "3", gpu="Frobnicator 9"), {"sku": "e"}, row("a", "2")]
    heard: list[str] = []

    async def told(run: ProviderRun) -> None:
        heard.append(run.provider)

    (run,) = await sync(market, [provider("acme")], connect=Answers({"acme": rows}).connect, told=told)
    assert (run.rows, run.offers, run.inserted, run.source) == (6, 2, 2, "live")
    assert sum(run.rejects.values()) == 4
    assert run.rejects["unreadable row (KeyError)"] == 1
    assert run.rejects["the same offer twice; the cheaper was kept"] == 1
    assert run.unknown_gpus == ("Frobnicator 9",)
    assert run.rows_per_second > 0
    assert heard == ["acme"]
    (logged,) = await catalogue.recent_runs(await market.store())
    assert (logged.rows, logged.rejects) == (6, run.rejects)


async def test_the_published_table_stands_in_until_the_provider_itself_was_read(
    market: Market, clock: ManualClock
) -> None:
    acme = provider("acme", published_rows=2, drop_after=7 * DAY)
    answers = Answers({"acme": 500})
    run = await _one(market, acme, answers)
    assert (run.source, run.offers) == ("published table", 2)
    assert run.error is not None
    assert set((await _live(market)).values()) == {"static_table"}
    answers.rows["acme"] = [row("a")]
    await _one(market, acme, answers)
    assert await _live(market) == {"acme:a:global": "live_api"}
    answers.rows["acme"] = 500
    clock.advance(DAY)
    assert (await _one(market, acme, answers)).source == "live"
    assert await _live(market) == {"acme:a:global": "live_api"}
    clock.advance(7 * DAY)
    assert (await _one(market, acme, answers)).source == "published table"
    await catalogue.drop_stale(await market.store(), clock.now())
    assert set((await _live(market)).values()) == {"static_table"}


async def test_an_answer_without_any_offer_is_a_failure_and_keeps_the_old_ones(market: Market) -> None:
    answers = Answers({"acme": [row("a")]})
    acme = provider("acme")
    await _one(market, acme, answers)
    answers.rows["acme"] = []
    run = await _one(market, acme, answers)
    assert "without a single usable offer" in (run.error or "")
    assert set(await _live(market)) == {"acme:a:global"}


async def test_a_provider_whose_key_is_missing_is_known_from_its_table_and_says_so(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACME_KEY", raising=False)
    answers = Answers()
    run = await _one(market, provider("acme", published_rows=1, secrets=("ACME_KEY",)), answers)
    assert (run.source, run.error, answers.asked) == ("published table", None, [])
    assert "Set ACME_KEY" in (await catalogue.provider_states(await market.store()))["acme"].notice


async def test_warnings_make_a_provider_degraded(market: Market) -> None:
    async def offers(self: Adapter, report: object) -> object:
        report.warnings.append("Half of the regions did not answer.")  # type: ignore[attr-defined]
        yield self.listed(sku="a", gpu="H100", price_per_hour=1)

    run = await _one(market, provider("acme", offers=offers), Answers())
    assert run.warnings
    assert (await catalogue.provider_states(await market.store()))["acme"].state == "degraded"


async def test_providers_are_asked_side_by_side(market: Market) -> None:
    both_asked = asyncio.Barrier(2)
    answers = Answers({"one": [row("a")], "two": [row("a")]}, waits={"one": both_asked.wait, "two": both_asked.wait})
    # one after the other would wait for ever at the barrier
    async with asyncio.timeout(30):
        runs = await sync(market, [provider("one"), provider("two")], connect=answers.connect)
    assert [run.error for run in runs] == [None, None]


async def test_a_pass_that_is_cancelled_leaves_nothing_half_written(market: Market) -> None:
    await market.store()
    before = asyncio.all_tasks()
    answers = Answers({"acme": [row("a")], "slow": [row("a")]})
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    answers.waits["slow"] = hang
    running = asyncio.create_task(sync(market, [provider("acme"), provider("slow")], connect=answers.connect))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    states = await catalogue.provider_states(await market.store())
    assert "slow" not in states
    assert asyncio.all_tasks() <= before


async def test_a_storage_failure_is_raised_and_ends_the_others(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_given: object, **_named: object) -> None:
        raise StorageFailed("The disk is full.")

    answers = Answers({"acme": [row("a")], "slow": []}, waits={"slow": asyncio.Event().wait})
    await market.store()
    monkeypatch.setattr(catalogue, "record", full)
    with pytest.raises(StorageFailed, match="disk is full"):
        await sync(market, [provider("acme"), provider("slow")], connect=answers.connect)


async def test_a_table_of_a_provider_without_an_api_is_all_there_is(market: Market) -> None:
    await sync(market, [table_only("acme", 3)])
    assert len(await _live(market)) == 3
    await sync(market, [table_only("acme", 1)])
    assert len(await _live(market)) == 1
    assert (await catalogue.provider_states(await market.store()))["acme"].state == "healthy"


def test_providers_are_chosen_by_name_and_an_unknown_one_gets_the_nearest() -> None:
    assert [adapter.name for adapter in chosen(frozenset({"vastai", "runpod"}))] == ["runpod", "vastai"]
    assert len(chosen(None)) > 30
    with pytest.raises(NotFound, match="vastai"):
        chosen(frozenset({"vast_ai"}))
    with pytest.raises(NotFound, match="doctor"):
        chosen(frozenset({"%%%%"}))
