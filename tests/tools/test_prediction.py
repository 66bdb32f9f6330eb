"""What a workload will cost over the next 30 days, from the prices the catalogue has seen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from market import catalogue
from market.context import Market
from market.settings import Settings
from tests.conftest import ManualClock
from tests.market.offer_samples import made
from tests.tools.math_door import Door, opened_door

DAYS = 100


async def _lived(folder: Path, clock: ManualClock) -> None:
    """A hundred days in which one H100 got dearer by a cent a day and one in Germany stayed as it was."""
    market = Market(Settings(data_dir=folder, sync="off"), clock=clock)
    store = await market.store()
    steady = made("vast:a:de", "9", provider="vast", gpu_count=2, region="Germany, DE", country="DE", area="eu-central")
    for day in range(DAYS):
        clock.advance(timedelta(days=1))
        rising = made(price=str(Decimal(2) + Decimal(day) / 100))
        await catalogue.record(store, "aws", [rising], seen_at=clock.now(), complete=True)
        await catalogue.record(store, "vast", [steady], seen_at=clock.now(), complete=True)
    await market.close()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Door, date]]:
    """The door over those days, and the last of them."""
    folder, clock = tmp_path_factory.mktemp("lived"), ManualClock()
    asyncio.run(_lived(folder, clock))
    with opened_door(folder, clock) as opened:
        yield opened, clock.now().date()


def test_gpu_hours_and_region_give_thirty_days_with_intervals(lived: tuple[Door, date]) -> None:
    door, today = lived
    found = door.asked("/predict", gpu="H100", hours=50, region="us-east")
    ahead = found["forecast"]
    assert [one["date"] for one in ahead] == [(today + timedelta(days=day)).isoformat() for day in range(1, 31)]
    for one in ahead:
        assert 0 < one["low_95"] <= one["low_80"] <= one["price_per_gpu_hour"] <= one["high_80"] <= one["high_95"]
        assert one["cost"] == pytest.approx(50 * one["price_per_gpu_hour"])
        assert one["cost_low_95"] <= one["cost"] <= one["cost_high_95"]
    assert found["current_price_per_gpu_hour"] == found["naive"] == pytest.approx(2.99)
    assert found["history_days"] == DAYS
    assert "warnings" not in found


def test_a_steady_rise_goes_on_and_beats_the_last_price(lived: tuple[Door, date]) -> None:
    found = lived[0].asked("/predict", gpu="H100", region="us-east", hours=1)
    assert found["error_against_naive"] < 1
    assert found["forecast"][-1]["price_per_gpu_hour"] > found["naive"]
    assert found["past_error_percent"] < 10
    low, high = found["expected_cost_interval_95"]
    assert low < found["expected_cost"] < high


def test_the_price_of_an_instance_is_divided_by_its_gpus_and_the_region_counts(lived: tuple[Door, date]) -> None:
    found = lived[0].asked("/predict", gpu_type="H100", region="germany", hours=1)
    assert found["current_price_per_gpu_hour"] == 4.5
    assert (found["method"], found["fell_back"]) == ("naive", True)
    assert lived[0].asked("/predict", gpu="H100")["current_price_per_gpu_hour"] == pytest.approx(2.99)


def test_a_single_day_is_no_history_and_it_is_said(door: Door) -> None:
    found = door.asked("/predict", gpu="H100", hours=10)
    assert found["history_days"] == 1
    assert found["fell_back"]
    assert "Only 1 days of prices are known" in found["warnings"][0]
    assert "past_error_percent" not in found
    assert len(found["forecast"]) == 30


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({}, 400, "`gpu` is required"),
        ({"gpu": "H1OO"}, 400, "H1OO"),
        ({"gpu": "H100", "hours": 0}, 400, "above 0"),
        ({"gpu": "H100", "region": "germny"}, 400, "germny"),
        ({"gpu": "H100", "pricing": "token"}, 400, "must be one of"),
        ({"gpu": "H100", "pricing": "reserved"}, 404, "No reserved price"),
    ],
)
def test_what_cannot_be_predicted_says_what_to_change(
    lived: tuple[Door, date], asked: dict[str, Any], status: int, said: str
) -> None:
    found = lived[0].post("/predict", **asked)
    assert found[0] == status
    assert said in found[1]["error"]["message"]
