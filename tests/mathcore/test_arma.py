"""The Kalman filter against the whole covariance matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.arma import Arma, innovations, pole_polynomial

_free = st.lists(st.floats(-1.5, 1.5), max_size=3)


def _autocovariances(arma: Arma, n: int) -> np.ndarray:
    """By the weights of the infinite moving average."""
    weights = np.zeros(6000)
    shocks = [1.0, *arma.ma]
    for at in range(weights.size):
        weights[at] = shocks[at] if at < len(shocks) else 0.0
        for lag, value in enumerate(arma.ar, 1):
            if at >= lag:
                weights[at] += value * weights[at - lag]
    return np.array([weights[lag:] @ weights[: weights.size - lag] for lag in range(n)])


@settings(max_examples=40, deadline=None)
@given(_free, _free, st.integers(0, 1000))
def test_errors_and_variances_are_those_of_the_whole_covariance_matrix(
    ar: list[float], ma: list[float], seed: int
) -> None:
    arma = Arma(tuple(pole_polynomial(np.array(ar))), tuple(-pole_polynomial(np.array(ma))))
    n = 25
    values = np.random.default_rng(seed).normal(size=n)
    covariances = _autocovariances(arma, n)
    matrix = covariances[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]
    lower = np.linalg.cholesky(matrix)
    errors, variances = innovations(values, arma)
    assert variances == pytest.approx(np.diag(lower) ** 2, rel=1e-6)
    assert errors / np.sqrt(variances) == pytest.approx(np.linalg.solve(lower, values), rel=1e-5, abs=1e-6)


def test_the_settled_filter_goes_on_as_the_recursion() -> None:
    values = np.random.default_rng(0).normal(size=400)
    arma = Arma((0.5, 0.2), (0.4,))
    errors, variances = innovations(values, arma)
    assert variances[-1] == 1.0
    last = values[399] - 0.5 * values[398] - 0.2 * values[397] - 0.4 * errors[398]
    assert errors[399] == pytest.approx(last, abs=1e-12)


def test_several_series_are_filtered_as_one_by_one() -> None:
    table = np.random.default_rng(0).normal(size=(60, 2))
    arma = Arma((0.9,), (0.3, -0.2))
    both = innovations(table, arma)[0]
    for column in range(2):
        assert both[:, column] == pytest.approx(innovations(table[:, column], arma)[0], abs=1e-12)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=5))
def test_free_numbers_always_give_a_stationary_polynomial(free: list[float]) -> None:
    coefficients = pole_polynomial(np.array(free))
    roots = np.roots(np.concatenate([[1.0], -coefficients]))
    assert (np.abs(roots) < 1 + 1e-6).all()
