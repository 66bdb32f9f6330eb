"""The Kalman filter of an ARMA process: one-step errors and their variances, exact from the first value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.solvers import scipy_part

SETTLED = 1e-12
"""Once the variance of an error is this near to that of the shocks, the filter is the ARMA recursion itself."""


@dataclass(frozen=True, slots=True)
class Arma:
    """x = Σ ar·x(before) + e + Σ ma·e(before)."""

    ar: tuple[float, ...]
    ma: tuple[float, ...]


def innovations(columns: NDArray[np.float64], arma: Arma) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One-step errors of one or several zero-mean series under one ARMA model, and their variances / shock variance.

    The Kalman filter of Harvey's state form, started in the stationary distribution, in the recursions of Chandrasekhar
    (Morf, Sidhu and Kailath 1974; Pearlman 1980), O(n·max(p, q + 1)). When the variance has settled the rest is
    solved as the banded system it then is. `columns` is n, or n × k for k series.
    """
    table = columns[:, None] if columns.ndim == 1 else columns
    variances, gains = _gains(table.shape[0], arma)
    errors = _filtered(table, arma, variances, gains)
    return (errors[:, 0] if columns.ndim == 1 else errors), variances


def pole_polynomial(free: NDArray[np.float64]) -> NDArray[np.float64]:
    """Free numbers to the coefficients of a stationary autoregression (Monahan 1984): x/√(1 + x²), then Levinson."""
    coefficients = np.zeros(0)
    for partial in free / np.sqrt(1 + free * free):
        coefficients = np.concatenate([coefficients - partial * coefficients[::-1], [partial]])
    return coefficients


def _gains(n: int, arma: Arma) -> tuple[NDArray[np.float64], list[list[float]]]:
    """Variances of all n errors, and the filter's gain (T·P·Z′/F) for each step until it has settled."""
    size = max(len(arma.ar), len(arma.ma) + 1)
    ar = [*arma.ar, *([0.0] * (size - len(arma.ar)))]
    shock = np.array([1.0, *arma.ma, *([0.0] * (size - 1 - len(arma.ma)))])
    first = _stationary(ar, shock)
    variance = float(first[0, 0])
    gain = _moved(ar, [float(value) for value in first[:, 0]])
    move, weight = list(gain), -1.0 / variance
    variances = np.ones(n)
    gains: list[list[float]] = []
    for at in range(n):
        if abs(variance - 1.0) <= SETTLED:
            break
        variances[at] = variance
        gains.append([value / variance for value in gain])
        head = move[0]
        step = weight * head
        following = max(variance + step * head, 1.0)
        gain = [now + step * part for now, part in zip(gain, _moved(ar, move), strict=True)]
        weight += step * step / variance
        moved = _moved(ar, move)
        move = [part - value / following * head for part, value in zip(moved, gain, strict=True)]
        variance = following
    return variances, gains


def _filtered(
    table: NDArray[np.float64], arma: Arma, variances: NDArray[np.float64], gains: list[list[float]]
) -> NDArray[np.float64]:
    n, width = table.shape
    errors = np.empty((n, width))
    begun = len(gains)
    size = max(len(arma.ar), len(arma.ma) + 1)
    ar = [*arma.ar, *([0.0] * (size - len(arma.ar)))]
    for column in range(width):
        state = [0.0] * size
        seen = table[:begun, column].tolist()
        out: list[float] = []
        for value, gain in zip(seen, gains, strict=True):
            error = value - state[0]
            out.append(error)
            state = [part + weight * error for part, weight in zip(_moved(ar, state), gain, strict=True)]
        errors[:begun, column] = out
    if begun < n:
        errors[begun:] = _settled(table, arma, errors, begun)
    return errors


def _settled(table: NDArray[np.float64], arma: Arma, errors: NDArray[np.float64], begun: int) -> NDArray[np.float64]:
    """e = x − Σ ar·x(before) − Σ ma·e(before) from `begun` on: a banded system with ones on its diagonal."""
    rest = table[begun:].copy()
    for lag, value in enumerate(arma.ar, 1):
        start = max(begun, lag)
        rest[start - begun :] -= value * table[start - lag : table.shape[0] - lag]
    q = len(arma.ma)
    if q == 0:
        return rest
    for lag, value in enumerate(arma.ma, 1):
        count = min(lag, begun, rest.shape[0] + lag)
        for at in range(max(begun, lag), min(begun + lag, table.shape[0])):
            rest[at - begun] -= value * errors[at - lag] if count else 0.0
    length = rest.shape[0]
    bands = np.zeros((q + 1, length))
    bands[0] = 1.0
    for lag, value in enumerate(arma.ma, 1):
        bands[lag, : max(length - lag, 0)] = value
    return np.asarray(
        scipy_part("linalg").solve_banded((q, 0), bands, rest, overwrite_b=True, check_finite=False), dtype=np.float64
    )


def _moved(ar: list[float], state: list[float]) -> list[float]:
    """The state one step on without a shock: T·state, T the companion matrix."""
    head = state[0]
    return [value * head + after for value, after in zip(ar, [*state[1:], 0.0], strict=True)]


def _stationary(ar: list[float], shock: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance P = T·P·T′ + R·R′ of the state before anything was seen, shocks of variance one."""
    size = shock.size
    if not any(ar):
        # A moving average: the state is a finite sum of shocks.
        table = np.array([np.concatenate([shock[row:], np.zeros(row)]) for row in range(size)])
        return np.asarray(table @ table.T, dtype=np.float64)
    companion = np.zeros((size, size))
    companion[:, 0] = ar
    companion[np.arange(size - 1), np.arange(1, size)] = 1.0
    solve = scipy_part("linalg").solve_discrete_lyapunov
    return np.asarray(solve(companion, np.outer(shock, shock)), dtype=np.float64)
