"""The whole life of bookings, in whatever order things happen: see `tests.life_machine` for what may and what holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.life_machine import Life
from tests.life_world import laboratory

RUNS, STEPS = 500, 6
"""As many as fit into a minute; `python -m tests.faults.life` runs longer ones by the thousand."""
MUST_HAPPEN = {"booked", "extend: done", "died at work", "interrupt", "ended as terminated", "ended as compensated"}


@pytest.fixture
def life() -> Iterator[type[Life]]:
    """The state machine with a template of its own, and nothing counted yet."""
    Life.ran.clear()
    with laboratory() as (Life.runner, Life.template):
        yield Life


@pytest.mark.slow
def test_whatever_happens_in_whatever_order_the_books_hold_and_nothing_is_left_running(life: type[Life]) -> None:
    chosen = settings(
        max_examples=RUNS,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(life, settings=chosen)
    assert life.ran["examples"] >= RUNS
    assert life.ran.keys() >= MUST_HAPPEN
