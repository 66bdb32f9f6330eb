"""Where a price may go: forecasts by name or by backtest, with intervals, never without the naive one beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.backtest import (
    CONTENDERS,
    FIRST_ORIGIN,
    MENU,
    RECENT,
    SEASONAL_CONTENDERS,
    Contender,
    Method,
    Origins,
    Replay,
    naive,
    past_origins,
    positive_paths,
    replayed,
)
from mathcore.intervals import Widths, half_widths
from mathcore.series import Prices, positive_prices

METHODS = (*MENU, "auto")
MOST_STEPS = 1_000
KEPT = 4_096
"""Latest prices that are looked at; older ones do not change a forecast."""
FEWEST_WINDOWS = 3
FITTED_NEEDS = 30


@dataclass(frozen=True, slots=True)
class Backtest:
    """A method's past error of the mean over the horizon, against the naive one's; None where that one had none."""

    method: str
    parameters: str
    ratio: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Values ahead with 80 and 95 % intervals, and the mean over the horizon with its own.

    `backtest_ratio` is the past error of the method used against the naive forecast, of the mean over `window` steps
    from `origins` past moments; `candidates` are all that were tried and `reason` says why this one was taken.
    `fell_back` is true when the choice was automatic and ended at naive.
    """

    method: str
    values: tuple[float, ...]
    low80: tuple[float, ...]
    high80: tuple[float, ...]
    low95: tuple[float, ...]
    high95: tuple[float, ...]
    naive: tuple[float, ...]
    backtest_ratio: float | None
    mean: float
    mean_interval80: tuple[float, float]
    mean_interval95: tuple[float, float]
    parameters: str
    reason: str
    fell_back: bool
    origins: int
    window: int
    naive_error: float | None
    candidates: tuple[Backtest, ...]


def forecast(prices: Prices, steps: int, method: str = "auto", season: int = 0) -> Forecast:
    """Forecast evenly spaced prices, oldest first, `steps` ahead by a method of `METHODS`.

    `auto` replays its contenders from up to 120 past moments without look-ahead and takes the one with the least
    absolute error of the mean price over the horizon, if it beat the last price again by enough: 3 % for the damped
    trend; for the rest 30 %, over six windows apart (two with a season) and in the latest third too. Else it stays
    with the naive forecast and says so. `season` is a number of steps (24
    for hours of a day) and counts once three seasons are there. Intervals: `mathcore.intervals`. Only the latest
    4,096 prices are used. O(n) for `auto`; fitted methods search their parameters. Raises ValueError for prices that
    are none, steps not in 1…1000, an unknown method, a season of 1 or below 0.
    """
    values = positive_prices(prices)[-KEPT:]
    if not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"steps must be at least 1 and at most {MOST_STEPS}, not {steps}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if season < 0 or season == 1:
        raise ValueError(f"season must be 0 (none) or at least 2 steps, not {season}")
    used_season = season if season and values.size >= 3 * season else 0
    trial = _Trial(values, steps, used_season)
    if method == "auto":
        return trial.chosen()
    return trial.named(method)


class _Trial:
    """One series on trial: its origins, the naive replay, and the window over which errors are compared."""

    def __init__(self, values: NDArray[np.float64], steps: int, season: int) -> None:
        self._values, self._steps, self._season = values, steps, season
        self._origins = past_origins(values.size, max(FIRST_ORIGIN, 2 * season))
        self._naive = replayed(values, naive, self._origins, steps)
        span = values.size - 1 - int(self._origins[0]) if self._origins.size else 0
        self._window = min(steps, max(1, span // FEWEST_WINDOWS))

    def chosen(self) -> Forecast:
        """The contender with the least error among those below their bars, else naive."""
        floor = self._naive_error()
        contenders = (*CONTENDERS, *(SEASONAL_CONTENDERS if self._season else ()))
        if floor is None:
            return self._told(_NAIVE, self._naive, None, (), "The series is too short to try anything else.")
        if floor == 0:
            return self._told(_NAIVE, self._naive, 1.0, (), "The price did not move; the last one stands.")
        replays = [self._replay(one.method) for one in contenders]
        ratios = [self._error(replay) / floor for replay in replays]
        tried = tuple(Backtest(one.name, one.parameters, ratio) for one, ratio in zip(contenders, ratios, strict=True))
        past = f"over {self._origins.size} past moments"
        counted = [
            at for at, one in enumerate(contenders) if ratios[at] < one.bar and self._may_count(one, replays[at])
        ]
        if not counted:
            least = int(np.argmin(ratios))
            nearest = f"{contenders[least].name} had {ratios[least]:.2f} of its error"
            reason = f"No method beat the last price by enough {past} (the nearest, {nearest}); the last price stands."
            return self._told(_NAIVE, self._naive, 1.0, tried, reason)
        best = min(counted, key=lambda at: ratios[at] / contenders[at].bar)
        reason = f"{contenders[best].name} had {ratios[best]:.2f} of the error of the last price {past}."
        return self._told(contenders[best], replays[best], ratios[best], tried, reason)

    def named(self, method: str) -> Forecast:
        """The method asked for, whatever its backtest says; below 30 prices a fitted one has none."""
        contender = Contender(method, "fitted" if method not in _GIVEN else "none", MENU[method], 1.0)
        floor = self._naive_error()
        if method not in _GIVEN:
            late = self._origins[self._origins >= max(FITTED_NEEDS, 2 * self._season) - 1]
            self._origins = late
            self._naive = replayed(self._values, naive, late, self._steps)
            floor = self._naive_error()
        replay = self._replay(contender.method) if self._origins.size else self._naive
        ratio = None
        if floor is not None:
            error = self._error(replay)
            ratio = error / floor if floor > 0 else (1.0 if error == 0 else None)
        said = "was asked for" + ("" if ratio is None or ratio <= 1 else "; the last price did better in the past")
        return self._told(
            contender, replay, ratio, (Backtest(method, contender.parameters, ratio),), f"{method} {said}."
        )

    def _may_count(self, contender: Contender, replay: Replay) -> bool:
        """Whether a method that can go far astray was tried often enough, and was below its bar of late too."""
        if contender.windows == 0:
            return True
        errors, floor = (np.abs(one.mean_errors(self._window)) for one in (replay, self._naive))
        span = int(self._origins[errors.size - 1] - self._origins[0]) + 1
        late = slice(int(errors.size * (1 - RECENT)), None)
        often = span / self._window >= contender.windows
        return often and float(errors[late].mean()) < contender.bar * float(floor[late].mean())

    def _replay(self, method: Method) -> Replay:
        return replayed(self._values, method, self._origins, self._steps, self._season)

    def _error(self, replay: Replay) -> float:
        return float(np.abs(replay.mean_errors(self._window)).mean())

    def _naive_error(self) -> float | None:
        if self._origins.size < FEWEST_WINDOWS or np.isnan(self._naive.actual[:, self._window - 1]).all():
            return None
        error = self._error(self._naive)
        # Averages of one and the same price differ from it by their rounding.
        return error if error > 1e-12 * float(self._values.max()) else 0.0

    def _told(
        self, used: Contender, replay: Replay, ratio: float | None, tried: tuple[Backtest, ...], reason: str
    ) -> Forecast:
        values, steps = self._values, self._steps
        now: Origins = np.array([values.size - 1])
        ahead = positive_paths(values, used.method(values, now, steps, self._season))[0]
        widths: Widths = half_widths(values, replay, steps)
        low80, low95 = (_listed(ahead * np.exp(-width)) for width in widths.steps)
        high80, high95 = (_listed(ahead * np.exp(width)) for width in widths.steps)
        mean = float(ahead.mean())
        around = [(float(mean * np.exp(-width)), float(mean * np.exp(width))) for width in widths.mean]
        return Forecast(
            method=used.name,
            values=_listed(ahead),
            low80=low80,
            high80=high80,
            low95=low95,
            high95=high95,
            naive=(float(values[-1]),) * steps,
            backtest_ratio=ratio,
            mean=mean,
            mean_interval80=around[0],
            mean_interval95=around[1],
            parameters=used.parameters,
            reason=reason,
            fell_back=used is _NAIVE,
            origins=int(replay.origins.size),
            window=self._window,
            naive_error=self._naive_error(),
            candidates=tried,
        )


_NAIVE = Contender("naive", "none", naive, 1.0)
_GIVEN = frozenset({"naive", "drift", "linear"})


def _listed(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
