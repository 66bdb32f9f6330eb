"""Smoothing, theta, ARIMA and the isolation forest beside statsmodels, statsforecast and scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mathcore.arima import arima, chosen_arima
from mathcore.isolation import isolation_scores
from mathcore.smoothing import Smoothing, damped_holt, ets_additive, holt, simple, smooth
from mathcore.theta import theta
from tests.mathcore.price_worlds import hourly_world, momentum, walk
from tests.oracles.peer import peer

winters = peer("statsmodels.tsa.holtwinters")
ets = peer("statsmodels.tsa.exponential_smoothing.ets")
PROBLEMS = 1000


def _series(dice: np.random.Generator, points: int) -> np.ndarray:
    return np.asarray(50 + np.cumsum(dice.normal(0, 1, points)) + dice.normal(0, 1, points), dtype=np.float64)


def _fixed(values: np.ndarray, model: Smoothing, kind: int) -> np.ndarray:
    """What statsmodels says with the same parameters and the same start.

    Seasons go to its ETSModel, which takes the first ones latest first: the forecast of its Holt-Winters leaves out the
    last value's season, one season ahead.
    """
    if kind == 3:
        fitted = ets.ETSModel(
            values, error="add", trend="add", damped_trend=True, seasonal="add", seasonal_periods=len(model.seasonal)
        ).smooth(
            [
                model.alpha,
                model.alpha * model.beta,
                model.gamma,
                model.phi,
                model.level,
                model.trend,
                *model.seasonal[::-1],
            ]
        )
        return np.asarray(fitted.forecast(12))
    fitted = winters.ExponentialSmoothing(
        values,
        trend="add" if kind else None,
        damped_trend=kind == 2,
        initialization_method="known",
        initial_level=model.level,
        initial_trend=model.trend if kind else None,
    ).fit(
        smoothing_level=model.alpha,
        smoothing_trend=model.beta if kind else None,
        damping_trend=model.phi if kind == 2 else None,
        optimized=False,
    )
    return np.asarray(fitted.forecast(12))


def test_a_thousand_smoothings_with_given_parameters_agree() -> None:
    dice = np.random.default_rng(0)
    worst = 0.0
    for problem in range(PROBLEMS):
        values = _series(dice, int(dice.integers(20, 60)))
        alpha, beta = dice.uniform(0.05, 0.95, 2)
        kind = problem % 4
        model = Smoothing(float(alpha), float(values[0]))
        if kind:
            phi = float(dice.uniform(0.8, 0.98)) if kind > 1 else 1.0
            model = Smoothing(float(alpha), float(values[0]), float(beta), phi, float(dice.normal()))
        if kind == 3:
            gamma = float(dice.uniform(0, 1 - alpha))
            seasonal = tuple(float(value) for value in dice.normal(0, 1, 4))
            model = Smoothing(model.alpha, model.level, model.beta, model.phi, model.trend, gamma, seasonal)
        ours = smooth(values, model).ahead(12)[0]
        theirs = _fixed(values, model, kind)
        worst = max(worst, float(np.abs(ours - theirs).max() / np.abs(values).max()))
    assert worst < 1e-9


def test_fitted_smoothing_reaches_their_squared_error_or_less() -> None:
    for seed in range(8):
        values = _series(np.random.default_rng(seed), 200)
        pairs = [
            (simple(values), winters.SimpleExpSmoothing(values, initialization_method="estimated").fit()),
            (holt(values), winters.Holt(values, initialization_method="estimated").fit()),
            (damped_holt(values), winters.Holt(values, damped_trend=True, initialization_method="estimated").fit()),
        ]
        for ours, theirs in pairs:
            assert ours.squared_error <= 1.01 * theirs.sse


def test_seasonal_smoothing_reaches_their_squared_error_within_two_percent() -> None:
    # Theirs starts from estimated seasons too; ours from averages.
    for seed in range(3):
        values = hourly_world(seed, 480)
        theirs = winters.ExponentialSmoothing(
            values, seasonal="add", seasonal_periods=24, initialization_method="heuristic"
        ).fit()
        assert ets_additive(values, 24, "none").squared_error <= 1.02 * theirs.sse


@pytest.mark.parametrize("order", [(1, 0, 0), (0, 0, 1), (1, 0, 1), (2, 0, 1), (0, 1, 1), (1, 1, 1), (2, 1, 1)])
def test_arima_reaches_their_likelihood_and_forecasts(order: tuple[int, int, int]) -> None:
    models = peer("statsmodels.tsa.arima.model")
    for seed in range(3):
        values = momentum(seed, 250) * 10 + np.random.default_rng(seed).normal(0, 0.02, 250)
        if order[1] == 0:
            values = np.diff(values) + 3
        ours = arima(values, order)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = models.ARIMA(values, order=order).fit()
        assert ours.log_likelihood >= theirs.llf - 0.05
        if abs(ours.log_likelihood - theirs.llf) < 0.01:
            assert ours.ahead(values, 10)[0] == pytest.approx(theirs.forecast(10), rel=2e-3)
        assert ours.aic == pytest.approx(2 * len(theirs.params) - 2 * ours.log_likelihood)


def test_the_likelihood_at_given_parameters_is_theirs_to_nine_digits() -> None:
    models = peer("statsmodels.tsa.statespace.sarimax")
    from mathcore.arma import Arma, innovations, pole_polynomial

    dice = np.random.default_rng(0)
    worst = 0.0
    for _ in range(200):
        p, q = int(dice.integers(0, 3)), int(dice.integers(0, 3))
        ar, ma = pole_polynomial(dice.normal(0, 0.7, p)), -pole_polynomial(dice.normal(0, 0.7, q))
        values = dice.normal(size=60)
        errors, variances = innovations(values, Arma(tuple(ar), tuple(ma)))
        ours = -0.5 * float((np.log(2 * np.pi * variances) + errors**2 / variances).sum())
        model = models.SARIMAX(values, order=(p, 0, q))
        model.ssm.filter_timing = 0
        worst = max(worst, abs(ours - float(model.loglike([*ar, *ma, 1.0]))) / abs(ours))
    assert worst < 1e-9


def test_a_chosen_order_is_no_worse_by_the_criterion_than_theirs() -> None:
    models = peer("statsforecast.models")
    for seed in range(3):
        values = walk(seed, 200) * 10
        theirs = models.AutoARIMA(max_p=2, max_q=2, seasonal=False, allowdrift=False).fit(values)
        ours = chosen_arima(values)
        order = theirs.model_["arma"]
        if order[5] == ours.order[1] and ours.order[1] == 1:
            assert ours.aicc <= theirs.model_["aicc"] + 0.5


def test_theta_with_their_alpha_forecasts_as_theirs() -> None:
    models = peer("statsforecast.models")
    for seed in range(8):
        values = _series(np.random.default_rng(seed), 120)
        fitted = models.Theta(season_length=1).fit(values)
        alpha = float(fitted.model_["par"]["alpha"])
        theirs = np.asarray(fitted.predict(8)["mean"])
        ours = theta(values).ahead(8)[0]
        same = theta(values, alpha).ahead(8)[0]
        # Their first level is searched too, which leaves a trace where alpha is small.
        nearest = min(float(np.abs(ours - theirs).max()), float(np.abs(same - theirs).max()))
        assert nearest < 0.02 * float(values.std())


def test_the_forest_ranks_as_theirs() -> None:
    ensemble = peer("sklearn.ensemble")
    stats = peer("scipy.stats")
    for seed in range(3):
        rows = np.random.default_rng(seed).normal(size=(720, 2))
        rows[:10] *= 6
        ours = isolation_scores(rows, seed=seed)
        theirs = -ensemble.IsolationForest(random_state=seed).fit(rows).score_samples(rows)
        between = -ensemble.IsolationForest(random_state=seed + 100).fit(rows).score_samples(rows)
        agreement = float(stats.spearmanr(ours, theirs).statistic)
        # As near to it as it is to itself with another seed.
        assert agreement > float(stats.spearmanr(between, theirs).statistic) - 0.02
        assert np.abs(ours - theirs).mean() < 1.5 * np.abs(between - theirs).mean() + 0.005
        assert len(set(np.argsort(ours)[-8:]) & set(np.argsort(theirs)[-10:])) >= 7
