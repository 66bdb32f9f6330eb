"""Where sized work fits: looked for in a thread, and costed however long it takes."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest

from market.context import Market
from tests.market.offer_samples import made
from tests.tools.conftest import ask, stocked
from tools.fits import Fit, fits_of


async def test_the_search_for_what_fits_keeps_nobody_waiting(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    await stocked(market, made("aws:h100:us", "4"))
    looked: list[int] = []

    def looking(*given: Any) -> list[Fit]:
        looked.append(threading.get_ident())
        return fits_of(*given)

    monkeypatch.setattr("tools.estimate.fits_of", looking)
    assert (await ask(market, "estimate_workload", text="serve Llama 3.1 8B")).fits
    assert looked != [threading.get_ident()]


async def test_work_that_would_never_end_still_has_a_cost(market: Market) -> None:
    await stocked(market, made("aws:a100:us", "400000", gpu="A100-SXM4-80GB"))
    (fit,) = (
        await ask(
            market,
            "estimate_workload",
            workload="video_generation",
            quantity=1e16,
            measured_per_second=1e-6,
            measured_on="GB200",
        )
    ).fits
    assert fit.cost_high > Decimal(10) ** 24
    assert fit.cost_low == sum(item.low for item in fit.cost)
