"""Buy now or wait: what waiting is expected to save, and how likely it is to cost more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.backtest import CONTENDERS, MENU, SEASONAL_CONTENDERS, Method, past_origins, replayed
from mathcore.forecast import FEWEST_WINDOWS, KEPT, MOST_STEPS, Forecast, forecast
from mathcore.intervals import ENOUGH, bearing, weighted_quantiles
from mathcore.series import Prices, positive_prices

NO_DIFFERENCE = 0.005
"""A relative change below this is none."""
TOO_RISKY = 0.4
"""Waiting is not advised when it costs more with a probability above this."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What waiting so many steps does, relative to today's price and in money an hour.

    `expected_saving` is below zero where waiting is expected to cost more; `saving_low` and `saving_high` hold it with
    80 %. The probabilities are shares of the price's past surprises, carried to today's forecast; what is left
    over from both is a price that hardly differs (0.5 %).
    """

    steps: int
    expected_price: float
    expected_saving: float
    saving_per_hour: float
    saving_low: float
    saving_high: float
    probability_cheaper: float
    probability_dearer: float
    surprises: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The advice (`buy_now`, `wait` or `no_difference`), why, the wait it is about, and every wait looked at."""

    advice: str
    reason: str
    best: Wait
    waits: tuple[Wait, ...]
    price_now: float
    forecast: Forecast


def buy_or_wait(
    prices: Prices,
    waits: Sequence[int],
    duration_steps: int = 1,
    season: int = 0,
    cost_of_waiting_per_step: float = 0.0,
) -> Waiting:
    """Compare buying at the last price with buying after each number of steps, for a job of `duration_steps`.

    The price paid is the mean over the job from its start. What may come is the forecast times the ratios of price to
    forecast seen at past moments at that distance, scaled to how much the price moves now, weighted as in
    `mathcore.intervals` and held within the 95 % interval; fewer than six windows apart give no probabilities but the
    interval's own, by its 80 % width. The cost of waiting, in the price's unit, is taken off the saving. Wait is
    advised where the expected saving is above 0.5 % and dearer no likelier than 40 %; where a whole distribution lies
    within 0.5 % there is no difference. It is an expectation over past behaviour, no promise. Raises ValueError for
    prices that are none, no waits, a wait or duration below 1 or beyond 1,000 steps in all, a cost below zero.
    """
    values = positive_prices(prices)[-KEPT:]
    if not waits or min(waits) < 1 or duration_steps < 1:
        raise ValueError(f"waits and duration_steps must be at least 1, not {list(waits)} and {duration_steps}")
    if not (np.isfinite(cost_of_waiting_per_step) and cost_of_waiting_per_step >= 0):
        raise ValueError(f"cost_of_waiting_per_step must not be below zero, not {cost_of_waiting_per_step}")
    horizon = max(waits) + duration_steps - 1
    if horizon > MOST_STEPS:
        raise ValueError(f"waits and duration_steps reach {horizon} steps ahead; at most {MOST_STEPS} are taken")
    found = forecast(prices, horizon, season=season)
    surprises = _Surprises(values, found, horizon, season)
    options = tuple(surprises.wait(steps, duration_steps, cost_of_waiting_per_step) for steps in sorted(set(waits)))
    best = max(options, key=lambda one: one.expected_saving)
    return Waiting(*_advice(best, found), best, options, float(values[-1]), found)


class _Surprises:
    """Past ratios of price to forecast, by distance, carried over to today."""

    def __init__(self, values: NDArray[np.float64], found: Forecast, horizon: int, season: int) -> None:
        self._values, self._found = values, found
        used = season if season and values.size >= 3 * season else 0
        origins = past_origins(values.size, max(10, 2 * used))
        self._replay = replayed(values, _method_of(found), origins, horizon, used)
        self._bearing = bearing(values, origins)
        self._spacing = float(np.median(np.diff(origins))) if origins.size > 1 else 1.0

    def wait(self, steps: int, duration: int, cost: float) -> Wait:
        """The distribution of the mean price of a job that starts after so many steps, against the last price."""
        now = float(self._values[-1])
        window = slice(steps - 1, steps - 1 + duration)
        said = float(np.mean(self._found.values[window]))
        half80 = float(np.log(self._found.high80[steps - 1] / self._found.values[steps - 1]))
        half95 = float(np.log(self._found.high95[steps - 1] / self._found.values[steps - 1]))
        logs, weights, seen = self._logs(window, half80, half95)
        outcomes, shares = said * np.exp(logs), weights / weights.sum()
        low, high = weighted_quantiles(outcomes[:, None], shares[:, None], (0.1, 0.9))[:, 0]
        extra = cost * steps
        expected = float(outcomes @ shares)
        saving = now - expected - extra
        dearer, cheaper = (outcomes + extra) / now - 1 > NO_DIFFERENCE, (outcomes + extra) / now - 1 < -NO_DIFFERENCE
        return Wait(
            steps=steps,
            expected_price=expected,
            expected_saving=saving / now,
            saving_per_hour=saving,
            saving_low=(now - float(high) - extra) / now,
            saving_high=(now - float(low) - extra) / now,
            probability_cheaper=float(shares[cheaper].sum()),
            probability_dearer=float(shares[dearer].sum()),
            surprises=seen,
        )

    def _logs(
        self, window: slice, half80: float, half95: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Surprises at the end of the window, their weights, and how many were seen."""
        replay = self._replay
        if replay.origins.size:
            known = ~np.isnan(replay.actual[:, window.stop - 1])
            actual, said = replay.actual[known, window].mean(axis=1), replay.paths[known, window].mean(axis=1)
            logs = np.log(actual / said) * self._bearing.relative[known]
            if logs.size >= FEWEST_WINDOWS and logs.size * self._spacing / window.stop >= ENOUGH:
                return np.clip(logs, -half95, half95), self._bearing.weights[known], int(logs.size)
        # Too little was seen: equally likely both ways, as wide as the interval says.
        spread = half80 * np.array([-1.6, -1.0, -0.7, -0.4, -0.1, 0.1, 0.4, 0.7, 1.0, 1.6])
        return np.clip(spread, -half95, half95), np.ones(spread.size), 0


def _method_of(found: Forecast) -> Method:
    for one in (*CONTENDERS, *SEASONAL_CONTENDERS):
        if (one.name, one.parameters) == (found.method, found.parameters):
            return one.method
    return MENU[found.method]


def _advice(best: Wait, found: Forecast) -> tuple[str, str]:
    basis = "the last price is the best forecast" if found.fell_back else found.reason.rstrip(".")
    if best.probability_cheaper == 0 and best.probability_dearer == 0:
        return "no_difference", f"After {best.steps} steps the price hardly ever differed by 0.5 %."
    if best.expected_saving > NO_DIFFERENCE and best.probability_dearer <= TOO_RISKY:
        return "wait", (
            f"Waiting {best.steps} steps saves {best.expected_saving:.1%} in expectation and costs more with a"
            f" probability of {best.probability_dearer:.0%}; {basis}."
        )
    return "buy_now", (
        f"The best wait, {best.steps} steps, saves {best.expected_saving:.1%} in expectation and costs more with a"
        f" probability of {best.probability_dearer:.0%}; {basis}."
    )
