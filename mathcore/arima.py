"""ARIMA models by exact likelihood: fitting, the order by AICc, forecasts from any origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.arma import Arma, innovations, pole_polynomial
from mathcore.solvers import scipy_part

Point = Sequence[float] | NDArray[np.float64]
MOST_ORDER = 5
KPSS_BOUND = 0.463
"""5 % bound of the level test of Kwiatkowski, Phillips, Schmidt and Shin (1992)."""


@dataclass(frozen=True, slots=True)
class Arima:
    """A fitted ARIMA model (signs as in Box and Jenkins with + for moving averages, as R and statsmodels have them).

    `ar` and `ma` are the whole polynomials, seasons multiplied in; `log_likelihood`, `aic` and `aicc` are those of the
    differenced series, `sigma2` the maximum-likelihood variance of the errors.
    """

    order: tuple[int, int, int]
    seasonal: tuple[int, int, int, int]
    ar: tuple[float, ...]
    ma: tuple[float, ...]
    mean: float
    sigma2: float
    log_likelihood: float
    aic: float
    aicc: float

    def ahead(
        self, values: NDArray[np.float64], steps: int, origins: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Forecasts from each origin (position of the last known value; else the end), origins × steps.

        The model's parameters stay; each forecast uses the values up to its origin alone.
        """
        last = np.array([values.size - 1]) if origins is None else np.asarray(origins)
        lags = _difference_lags(self.order[1], self.seasonal)
        changes = _differenced(values, lags) - self.mean
        lost = sum(lags)
        errors = innovations(changes, Arma(self.ar, self.ma))[0] if changes.size else changes
        paths = _arma_ahead(self, changes, errors, last - lost, steps) + self.mean
        return _undifferenced(values, lags, last, paths)


def arima(
    values: NDArray[np.float64], order: tuple[int, int, int], seasonal: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> Arima:
    """Fit ARIMA(p,d,q)(P,D,Q)s by exact maximum likelihood, the Kalman filter giving the errors and their variances.

    Stationarity and invertibility by partial autocorrelations (Jones 1980; Monahan 1984); the mean of an undifferenced
    series by generalised least squares inside, the variance concentrated out; L-BFGS. O(n·(p+q)) an evaluation, less
    once the filter has settled. Raises ValueError for orders outside 0…5 and for too few values.
    """
    _check(values, order, seasonal)
    p, d, q = order
    big_p, _, big_q, season = seasonal
    lags = _difference_lags(d, seasonal)
    changes = _differenced(values, lags)
    with_mean = not lags
    spread = float(changes.std())
    if spread <= 1e-9 * float(np.abs(values).max()):
        return _still(order, seasonal, float(changes.mean()), changes.size)
    scaled = changes / spread
    sizes = (p, q, big_p, big_q)

    def polynomials(point: Point) -> Arma:
        return _polynomials(np.asarray(point, dtype=np.float64), sizes, season)

    def loss(point: Point) -> float:
        return -_likelihood(scaled, polynomials(point), with_mean)[0] / scaled.size

    best = _searched(loss, sizes, scaled)
    arma = polynomials(best)
    likelihood, mean, sigma2 = _likelihood(scaled, arma, with_mean)
    likelihood -= changes.size * float(np.log(spread))
    return _with_criteria(
        order, seasonal, arma, (mean * spread, sigma2 * spread**2, likelihood), changes.size, with_mean
    )


def chosen_arima(values: NDArray[np.float64], most: int = 2) -> Arima:
    """The ARIMA(p,d,q) with the lowest AICc, d of 0 or 1 by the KPSS test for a level.

    Over p and q up to `most` with p + q below twice that: eight fits at 2. A model with too many parameters for the
    values is left out; ARIMA(0,d,0) always fits.
    """
    d = 0 if kpss(values) <= KPSS_BOUND else 1
    if values.size <= d + 2:
        return arima(values, (0, min(d, values.size - 1), 0))
    room = min(max(0, (values.size - d - 3) // 2), max(2 * most - 1, 0))
    tried = [arima(values, (p, d, q)) for p in range(most + 1) for q in range(most + 1) if p + q <= room]
    return min(tried, key=lambda fitted: fitted.aicc)


def kpss(values: NDArray[np.float64]) -> float:
    """The KPSS statistic of a level (1992): Σ S²/(n²·s²), s² with Bartlett weights over ⌊3√n/13⌋ lags; 0 when still.

    The lag rule is that of Hyndman and Khandakar (2008).
    """
    n = values.size
    gaps = values - values.mean()
    variance = float(gaps @ gaps) / n
    if variance <= (1e-9 * float(np.abs(values).max())) ** 2:
        return 0.0
    lags = int(3 * np.sqrt(n) / 13)
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(gaps[lag:] @ gaps[:-lag]) / n
    sums = np.cumsum(gaps)
    return float(sums @ sums) / (n * n * max(variance, 1e-300))


def _check(values: NDArray[np.float64], order: tuple[int, int, int], seasonal: tuple[int, int, int, int]) -> None:
    if min(*order, *seasonal) < 0 or max(*order, *seasonal[:3]) > MOST_ORDER:
        raise ValueError(f"orders must be from 0 to {MOST_ORDER}, not {order} and {seasonal}")
    if any(seasonal[:3]) and seasonal[3] < 2:
        raise ValueError(f"a seasonal order needs a season of at least 2 steps, not {seasonal[3]}")
    lost = sum(_difference_lags(order[1], seasonal))
    parameters = order[0] + order[2] + seasonal[0] + seasonal[2]
    if values.ndim != 1 or not np.isfinite(values).all() or values.size < lost + parameters + 1:
        raise ValueError(f"{order} {seasonal} needs at least {lost + parameters + 1} finite values, not {values.size}")


def _searched(
    loss: Callable[[Point], float], sizes: tuple[int, ...], scaled: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The best point found from two starts: hardly any dependence, and what the first autocorrelation suggests.

    With both parts of order two or more the surface has several valleys, and both starts are followed to the end.
    """
    total = sum(sizes)
    if total == 0:
        return np.zeros(0)
    gaps = scaled - scaled.mean()
    follow = float(np.clip(gaps[1:] @ gaps[:-1] / max(float(gaps @ gaps), 1e-12), -0.9, 0.9))
    hint = follow / np.sqrt(1 - follow * follow)
    starts: list[Point] = [[0.1] * total]
    if sizes[0]:
        starts.append([hint, *([0.0] * (total - 1))])
    elif sizes[1]:
        starts.append([-hint, *([0.0] * (total - 1))])
    if sizes[0] < 2 or sizes[1] < 2:
        starts = [min(starts, key=loss)]
    found = [
        scipy_part("optimize").minimize(
            loss, start, method="L-BFGS-B", bounds=[(-60.0, 60.0)] * total, options={"maxiter": 100}
        )
        for start in starts
    ]
    return np.asarray(min(found, key=lambda one: float(one.fun)).x, dtype=np.float64)


def _polynomials(point: NDArray[np.float64], sizes: tuple[int, ...], season: int) -> Arma:
    p, q, big_p, _ = sizes
    parts = np.split(point, np.cumsum([p, q, big_p]))
    ar, ma, big_ar, big_ma = (pole_polynomial(part) for part in parts)
    return Arma(_product(ar, big_ar, season, -1.0), _product(-ma, -big_ma, season, 1.0))


def _product(near: NDArray[np.float64], far: NDArray[np.float64], season: int, sign: float) -> tuple[float, ...]:
    """The coefficients of (1 + sign·Σ near Bⁱ)(1 + sign·Σ far B^(s·i)), as those after the one with that sign."""
    if far.size == 0:
        return tuple(float(value) for value in near)
    short = np.concatenate([[1.0], sign * near])
    long = np.zeros(season * far.size + 1)
    long[0] = 1.0
    long[season::season] = sign * far
    return tuple(float(value) for value in sign * np.convolve(short, long)[1:])


def _likelihood(scaled: NDArray[np.float64], arma: Arma, with_mean: bool) -> tuple[float, float, float]:
    """Log-likelihood with the variance concentrated out, the mean by generalised least squares, and the variance."""
    n = scaled.size
    columns = np.column_stack([scaled, np.ones(n)]) if with_mean else scaled[:, None]
    errors, variances = innovations(columns, arma)
    mean = 0.0
    residuals = errors[:, 0]
    if with_mean:
        ones = errors[:, 1]
        mean = float(ones / variances @ residuals) / float(ones / variances @ ones)
        residuals = residuals - mean * ones
    sigma2 = max(float(residuals / variances @ residuals) / n, 1e-300)
    return -0.5 * (n * (np.log(2 * np.pi * sigma2) + 1) + float(np.log(variances).sum())), mean, sigma2


def _with_criteria(
    order: tuple[int, int, int],
    seasonal: tuple[int, int, int, int],
    arma: Arma,
    found: tuple[float, float, float],
    n: int,
    with_mean: bool,
) -> Arima:
    mean, sigma2, likelihood = found
    parameters = order[0] + order[2] + seasonal[0] + seasonal[2] + int(with_mean) + 1
    aic = 2 * parameters - 2 * likelihood
    left = n - parameters - 1
    aicc = aic + 2 * parameters * (parameters + 1) / left if left > 0 else float("inf")
    return Arima(order, seasonal, arma.ar, arma.ma, mean, sigma2, likelihood, aic, aicc)


def _still(order: tuple[int, int, int], seasonal: tuple[int, int, int, int], mean: float, n: int) -> Arima:
    """Changes that are all the same leave nothing to estimate: no dependence, no variance, likelihood stated as 0."""
    return _with_criteria(order, seasonal, Arma((), ()), (mean, 0.0, 0.0), n, not _difference_lags(order[1], seasonal))


def _difference_lags(d: int, seasonal: tuple[int, int, int, int]) -> list[int]:
    return [seasonal[3]] * seasonal[1] + [1] * d


def _differenced(values: NDArray[np.float64], lags: Sequence[int]) -> NDArray[np.float64]:
    for lag in lags:
        values = values[lag:] - values[:-lag]
    return values


def _arma_ahead(
    model: Arima,
    changes: NDArray[np.float64],
    errors: NDArray[np.float64],
    last: NDArray[np.int64],
    steps: int,
) -> NDArray[np.float64]:
    """Forecasts of the differenced series less its mean; before its start everything is 0."""
    p, q = len(model.ar), len(model.ma)
    pad = max(p, q, 1)
    seen = np.concatenate([np.zeros(pad), changes])
    known = np.concatenate([np.zeros(pad), errors])
    at = np.maximum(last, -1) + pad
    path = np.zeros((last.size, p + steps))
    for lag in range(p):
        path[:, p - 1 - lag] = seen[at - lag]
    for step in range(steps):
        value = np.zeros(last.size)
        for lag in range(p):
            value += model.ar[lag] * path[:, p + step - 1 - lag]
        for lag in range(step, q):
            value += model.ma[lag] * known[at - (lag - step)]
        path[:, p + step] = value
    return path[:, p:]


def _undifferenced(
    values: NDArray[np.float64], lags: Sequence[int], last: NDArray[np.int64], paths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add back, innermost difference first, what each differencing took away."""
    stages = [values]
    for lag in lags:
        stages.append(_differenced(stages[-1], [lag]))
    lost = sum(lags)
    for stage, lag in zip(reversed(stages[:-1]), reversed(lags), strict=True):
        lost -= lag
        at = np.maximum(last - lost, lag - 1)
        whole = np.concatenate([stage[at[:, None] - lag + 1 + np.arange(lag)], np.zeros_like(paths)], axis=1)
        for step in range(paths.shape[1]):
            whole[:, lag + step] = paths[:, step] + whole[:, step]
        paths = whole[:, lag:]
    return paths
