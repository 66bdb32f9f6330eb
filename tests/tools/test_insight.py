"""Price history and the market at a glance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from market import catalogue
from market.context import Market
from market.errors import NotFound, ValidationFailed
from tests.conftest import ManualClock
from tests.market.offer_samples import made, token_offer
from tests.tools.conftest import ask, stocked
from tools.insight import daily_lowest

DAY = timedelta(days=1)


async def _priced(market: Market, clock: ManualClock, *prices: str, **facts: Any) -> None:
    """A price a day, one after the other, the last one today."""
    store = await market.store()
    for place, price in enumerate(prices):
        if place:
            clock.advance(DAY)
        await catalogue.record(store, "aws", [made(price=price, **facts)], seen_at=clock.now(), complete=True)
    await market.refresh()


@pytest.mark.requirement("FR-MATH-009")
async def test_a_series_has_a_price_for_each_day_with_statistics(market: Market, clock: ManualClock) -> None:
    await _priced(market, clock, "2", "2", "4", "3")
    series = await ask(market, "price_history", offer_id="aws:a:us-east-1")
    assert [(point.day, point.price) for point in series.points] == [
        ("2026-01-15", Decimal(2)),
        ("2026-01-16", Decimal(2)),
        ("2026-01-17", Decimal(4)),
        ("2026-01-18", Decimal(3)),
    ]
    assert (series.statistics.lowest, series.statistics.highest, series.statistics.median) == (2, 4, Decimal("2.5"))
    assert series.statistics.change_percent == 50
    assert series.measure == "US dollars an hour for the whole instance"


async def test_the_price_that_stood_before_the_window_counts(market: Market, clock: ManualClock) -> None:
    await _priced(market, clock, "2")
    clock.advance(100 * DAY)
    await market.refresh()
    series = await ask(market, "price_history", offer_id="aws:a:us-east-1", days=10)
    assert len(series.points) == 11
    assert {point.price for point in series.points} == {Decimal(2)}


async def test_the_series_of_a_gpu_is_the_lowest_for_one_whole_card(market: Market, clock: ManualClock) -> None:
    eight = made("aws:x8:us", "16", gpu_count=8)
    slice_ = made("aws:mig:us", "0.1", gpu_fraction=1 / 7)
    spot = made("aws:spot:us:spot", "0.5", pricing="spot")
    await stocked(market, made("aws:x1:us", "3"), eight, slice_, spot)
    series = await ask(market, "price_history", gpu="H100")
    assert [point.price for point in series.points] == [Decimal(2)]
    assert "one GPU" in series.measure


@pytest.mark.requirement("FR-MATH-009")
async def test_a_day_that_stands_out_is_named(market: Market, clock: ManualClock) -> None:
    await _priced(market, clock, "2", "2.1", "2", "9", "2.1", "2", "2.1")
    series = await ask(market, "price_history", offer_id="aws:a:us-east-1")
    assert series.anomalies == ["2026-01-18"]
    assert series.anomaly_methods == {"2026-01-18": ["robust_z_score", "iqr", "isolation_forest"]}


@pytest.mark.requirement("FR-MATH-009")
async def test_a_lasting_change_is_a_shift_of_the_level_and_no_anomaly(market: Market, clock: ManualClock) -> None:
    await _priced(market, clock, *["2"] * 10, *["1.2"] * 10)
    series = await ask(market, "price_history", offer_id="aws:a:us-east-1")
    (shift,) = series.level_shifts
    assert (shift.day, shift.before, shift.after, shift.change_percent) == (
        series.points[10].day,
        Decimal(2),
        Decimal("1.2"),
        -40,
    )
    assert (series.anomalies, series.anomaly_methods) == ([], None)


@pytest.mark.requirement("FR-MATH-010")
async def test_whether_waiting_pays_is_told_from_a_long_history_alone(market: Market, clock: ManualClock) -> None:
    falling = [str(round(Decimal("9") * Decimal("0.99") ** day, 4)) for day in range(80)]
    await _priced(market, clock, *falling)
    told = await ask(market, "price_history", offer_id="aws:a:us-east-1", days=10)
    assert len(told.points) == 11
    assert told.statistics.observations == 11
    assert (told.forecast.days_seen, told.forecast.method) == (80, "drift")
    waiting = told.buy_or_wait
    assert (waiting.advice, waiting.days) == ("wait", 7)
    low, high = waiting.saving_80_percent
    assert 0.5 < low <= waiting.expected_saving_percent <= high < 10
    assert (waiting.chance_cheaper, waiting.chance_dearer) == (1, 0)
    far = await ask(market, "price_history", offer_id="aws:a:us-east-1", forecast_days=40)
    assert far.buy_or_wait is None
    assert far.warnings == ["80 days of history do not tell whether waiting 40 days pays."]


async def test_a_price_that_never_moved_makes_no_difference_to_wait_for(market: Market, clock: ManualClock) -> None:
    await _priced(market, clock, "2")
    clock.advance(89 * DAY)
    await market.refresh()
    told = await ask(market, "price_history", offer_id="aws:a:us-east-1")
    assert (told.buy_or_wait.advice, told.buy_or_wait.expected_saving_percent) == ("no_difference", 0)
    assert (told.forecast.method, told.forecast.naive_error) == ("naive", 0)
    assert "did not move" in told.forecast.reason


@pytest.mark.requirement("FR-MATH-010")
async def test_a_forecast_stands_beside_the_naive_one_with_its_intervals(market: Market, clock: ManualClock) -> None:
    await _priced(market, clock, *(str(Decimal(2) + Decimal(day) / 10) for day in range(30)))
    ahead = (await ask(market, "price_history", offer_id="aws:a:us-east-1", forecast_days=5)).forecast
    assert ahead.naive == Decimal("4.9")
    assert ahead.value > ahead.naive
    assert ahead.error_against_naive < 1
    low95, high95 = ahead.interval_95
    low80, high80 = ahead.interval_80
    assert low95 <= low80 <= ahead.value <= high80 <= high95
    assert (await ask(market, "price_history", offer_id="aws:a:us-east-1", forecast_days=0)).forecast is None


async def test_one_day_is_no_series_to_forecast(market: Market, clock: ManualClock) -> None:
    await _priced(market, clock, "2")
    series = await ask(market, "price_history", offer_id="aws:a:us-east-1")
    assert series.forecast is None
    assert series.warnings == ["Only one day is known so far; the history grows with every sync."]


async def test_a_long_series_lists_its_end_and_says_so(market: Market, clock: ManualClock) -> None:
    await _priced(market, clock, "2")
    clock.advance(90 * DAY)
    await market.refresh()
    series = await ask(market, "price_history", offer_id="aws:a:us-east-1", days=90)
    assert (len(series.points), series.statistics.observations) == (60, 91)
    assert series.warnings == ["The last 60 of 91 days are listed; the figures are of all of them."]


async def test_a_price_ends_when_the_offer_does(market: Market, clock: ManualClock) -> None:
    await _priced(market, clock, "2", "3")
    clock.advance(2 * DAY)
    await catalogue.record(await market.store(), "aws", [made("aws:b:us")], seen_at=clock.now(), complete=True)
    clock.advance(5 * DAY)
    await market.refresh()
    series = await ask(market, "price_history", offer_id="aws:a:us-east-1")
    assert series.points[-1].day == "2026-01-18"
    assert series.buy_or_wait is None
    assert "has not listed it since 2026-01-18" in series.warnings[0]


async def test_a_hosted_model_has_a_series_of_its_token_price(market: Market) -> None:
    await stocked(market, token_offer(price_per_million_output_tokens=Decimal("0.6")))
    series = await ask(market, "price_history", offer_id="deepinfra:llama:global:token")
    assert [point.price for point in series.points] == [Decimal("0.6")]
    assert series.measure == "USD for a million output tokens"


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({}, ValidationFailed, "Neither"),
        ({"gpu": "H1OO"}, ValidationFailed, "H100"),
        ({"gpu": "H100", "region": "germny"}, ValidationFailed, "germany"),
        ({"gpu": "H100", "region": "japan"}, NotFound, "Leave out `region`"),
        ({"gpu": "T4"}, NotFound, "search_offers"),
        ({"offer_id": "aws:a:us-est-1"}, NotFound, "aws:a:us-east-1"),
        ({"gpu": "H100", "days": 0}, ValidationFailed, "`days`"),
        ({"gpu": "H100", "forecast_days": 91}, ValidationFailed, "`forecast_days`"),
    ],
)
async def test_a_question_without_an_answer_says_what_to_do(
    market: Market, asked: dict[str, Any], kind: type[Exception], said: str
) -> None:
    await stocked(market, made())
    with pytest.raises(kind, match=said):
        await ask(market, "price_history", **asked)


def test_days_without_any_price_are_left_out_and_each_price_stands_until_the_next() -> None:
    start = datetime(2026, 1, 1, 15, tzinfo=UTC)
    steps = [[(start, 5.0), (start + 2 * DAY, 3.0)], [(start + DAY, 4.0)], []]
    days, prices = daily_lowest(steps, start - 9 * DAY, start + 3 * DAY)
    assert days == ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
    assert prices == [5.0, 4.0, 3.0, 3.0]
    assert daily_lowest([[]], start, start) == ([], [])
    assert daily_lowest(steps, start, start - DAY) == ([], [])


async def test_the_overview_shows_the_cheapest_of_each_gpu_and_who_does_not_answer(market: Market) -> None:
    spot = made("aws:t4:us:spot", "0.2", gpu="T4", pricing="spot")
    await stocked(market, made(price="4", gpu_count=2), spot, made("vast:a:de", "3", provider="vast"))
    sick = catalogue.ProviderHealth(name="vast", title="Vast", state="unhealthy", stale_after=timedelta(0))
    await catalogue.note_health(await market.store(), sick)
    await market.refresh()
    overview = await ask(market, "market_overview")
    assert (overview.offers, overview.providers) == (3, 2)
    assert [(line.gpu, line.cheapest_per_gpu_hour, line.pricing) for line in overview.gpus] == [
        ("H100-SXM", Decimal(2), None),
        ("T4", Decimal("0.2"), "spot"),
    ]
    assert overview.warnings == ["Not answering: vast; their last known prices stand."]
    assert [line.provider for line in overview.provider_health] == ["aws", "vast"]


async def test_the_overview_of_a_first_start_names_every_provider(seeded: Market) -> None:
    overview = await ask(seeded, "market_overview", gpus=100)
    assert overview.offers > 2_000
    states = {line.provider: line.state for line in overview.provider_health}
    assert states["scaleai"] == "disabled"
    assert states["vastai"] == "unknown"
    assert states["lambdalabs"] == "healthy"


async def test_the_overview_tells_what_the_lowest_price_did_over_a_week(market: Market, clock: ManualClock) -> None:
    await _priced(market, clock, "4", "4", "4", "4", "4", "4", "4")
    first = (await ask(market, "market_overview")).gpus[0]
    assert first.change_7d_percent is None
    assert "change_7d_percent" not in first.brief()
    clock.advance(DAY)
    store = await market.store()
    listed = [made(price="3"), made("aws:t4:us", "0.2", gpu="T4"), made("aws:x2:us", "9", gpu_count=2)]
    await catalogue.record(store, "aws", listed, seen_at=clock.now(), complete=True)
    await market.refresh()
    changes = {line.gpu: line.change_7d_percent for line in (await ask(market, "market_overview")).gpus}
    assert changes == {"H100-SXM": -25, "T4": None}
    clock.advance(7 * DAY)
    changes = {line.gpu: line.change_7d_percent for line in (await ask(market, "market_overview")).gpus}
    assert changes == {"H100-SXM": 0, "T4": 0}


async def test_the_overview_stays_short_with_a_change_for_every_gpu(seeded: Market, clock: ManualClock) -> None:
    await seeded.snapshot()
    clock.advance(8 * DAY)
    await seeded.refresh()
    overview = await ask(seeded, "market_overview")
    assert {line.change_7d_percent for line in overview.gpus} == {0}
    assert len(overview.gpus) == 15
    assert len(overview.brief()) <= 6_750
