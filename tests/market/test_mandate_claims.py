"""A mandate is signed as exactly these claims in one spelling, and read back from nothing else."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.canonical import canonical
from market.errors import MandateRefused
from market.mandate_claims import mandate_in, payload
from market.mandates import AmountRange, Mandate, Recurrence
from tests.market.mandate_samples import MANDATES, NOW, a_mandate

FULL = a_mandate(
    amount_range=AmountRange(min=Decimal(1), max=Decimal("20.50")),
    hourly_budget=Decimal(5),
    max_hours=2.5,
    max_concurrent=3,
    recurrence=Recurrence(every="week", max_bookings=7),
    providers=frozenset({"vastai", "runpod"}),
    not_before=NOW + timedelta(hours=1),
    approval_above=Decimal(10),
)


@given(MANDATES)
def test_a_mandate_is_read_back_as_it_was_signed(mandate: Mandate) -> None:
    assert mandate_in(payload(mandate)) == mandate


def test_the_claims_have_the_names_of_their_field() -> None:
    claims: Any = json.loads(payload(FULL))
    assert claims["vct"] == "gpubroker.mandate.1"
    assert claims["cnf"] == {"jkt": "a-thumbprint"}
    assert claims["constraints"]["amount_range"] == {"min": "1", "max": "20.5"}
    assert claims["constraints"]["budget"] == "100"
    assert claims["constraints"]["recurrence"] == {"every": "week", "max_bookings": 7}
    assert claims["constraints"]["providers"] == ["runpod", "vastai"]
    assert claims["exp"] - claims["iat"] == 30 * 24 * 3600


def changed(path: str, value: object) -> str:
    """The claims with one of them replaced, still in canonical spelling."""
    claims: Any = json.loads(payload(FULL))
    inner = claims
    *way, last = path.split(".")
    for name in way:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return canonical(claims)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("vct", "gpubroker.mandate.2", "format"),
        ("vct", None, "claims"),
        ("surprise", 1, "claims"),
        ("constraints.max_gpus", 8, "claims"),
        ("constraints.amount_range.about", "1", "claims"),
        ("constraints.budget", None, "claims"),
        ("constraints.budget", 100, "claims"),
        ("constraints.budget", "100.00", "claims"),
        ("constraints.budget", "1e2", "claims"),
        ("constraints.budget", "-1", "claims"),
        ("constraints.budget", "NaN", "claims"),
        ("constraints.max_concurrent", True, "claims"),
        ("constraints.max_hours", "2.5", "claims"),
        ("constraints.recurrence.every", "hour", "claims"),
        ("constraints.on_revocation", "ignore", "claims"),
        ("constraints.failover", 1, "claims"),
        ("constraints.providers", [], "claims"),
        ("constraints.providers", ["vastai", "runpod"], "claims"),
        ("constraints.providers", "runpod", "claims"),
        ("version", 1.5, "claims"),
        ("exp", "tomorrow", "claims"),
        ("exp", 10**30, "claims"),
        ("cnf", {}, "claims"),
        ("constraints", [], "claims"),
    ],
)
def test_a_claim_that_is_not_ours_is_refused(path: str, value: object, reason: str) -> None:
    with pytest.raises(MandateRefused) as refused:
        mandate_in(changed(path, value))
    assert refused.value.details["reason"] == reason


def test_an_unknown_claim_is_named() -> None:
    with pytest.raises(MandateRefused, match="`max_gpus`"):
        mandate_in(changed("constraints.max_gpus", 8))


@given(st.text(max_size=50) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_what_is_no_mandate_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(MandateRefused):
        mandate_in(text)


def test_a_claim_given_twice_is_refused() -> None:
    text = payload(FULL)
    with pytest.raises(MandateRefused):
        mandate_in(text.replace('"budget":"100"', '"budget":"900","budget":"100"'))
