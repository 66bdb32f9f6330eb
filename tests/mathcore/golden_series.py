"""How the published cases about series are asked of our functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mathcore.anomaly import extreme_studentized, z_scores
from mathcore.arima import arima
from mathcore.smoothing import holt, simple

Case = dict[str, Any]


def smoothing_case(case: Case) -> None:
    """A smoothing forecast with given parameters."""
    inputs = case["inputs"]
    values = np.array(inputs["series"])
    found = holt(values, inputs["alpha"], inputs["beta"]) if "beta" in inputs else simple(values, inputs["alpha"])
    assert found.ahead(inputs["horizon"])[0] == pytest.approx(case["expected"]["forecast"], abs=case["tolerance"])


def arima_case(case: Case) -> None:
    """A fitted seasonal model: coefficients, variance, likelihood."""
    inputs, expected = case["inputs"], case["expected"]
    p, d, q = inputs["order"]
    big_p, big_d, big_q, season = inputs["seasonal"]
    found = arima(np.log10(np.array(inputs["series"], dtype=float)), (p, d, q), (big_p, big_d, big_q, season))
    assert found.ma[0] == pytest.approx(expected["ma1"], abs=case["tolerance"])
    assert found.ma[season - 1] == pytest.approx(expected["sma1"], abs=case["tolerance"])
    assert found.sigma2 == pytest.approx(expected["sigma2"], rel=0.01)
    assert found.log_likelihood == pytest.approx(expected["loglik"], abs=0.05)
    assert found.aic == pytest.approx(expected["aic"], abs=0.1)


def anomaly_case(case: Case) -> None:
    """The z-score of a point, or the generalised test for several outliers."""
    inputs, expected = case["inputs"], case["expected"]
    values = inputs["series"]
    if "point" in inputs:
        at = values.index(inputs["point"])
        assert np.mean(values) == expected["mean"]
        assert z_scores(values)[at] == pytest.approx(expected["z_population"], abs=case["tolerance"])
        assert z_scores(values, sample=True)[at] == pytest.approx(expected["z_sample"], abs=case["tolerance"])
        return
    outliers, statistics = extreme_studentized(values, len(expected["R"]))
    assert statistics == pytest.approx(expected["R"], abs=case["tolerance"])
    assert [values[at] for at in outliers] == expected["outliers_esd"]
