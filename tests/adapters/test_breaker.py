"""The circuit breaker: when it opens, what it lets through, and that no order of events breaks its rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.breaker import Breaker, BreakerPolicy, Outcome, Permit, State
from market.errors import ProviderFailed


class HandClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def calls(breaker: Breaker, outcome: Outcome, times: int) -> None:
    for _ in range(times):
        breaker.admit().settle(outcome)


def stands(breaker: Breaker) -> State:
    """The state, asked anew each time."""
    return breaker.state


def opened() -> tuple[Breaker, HandClock]:
    clock = HandClock()
    breaker = Breaker("acme", monotonic=clock)
    calls(breaker, "failed", 10)
    return breaker, clock


@pytest.mark.requirement("BR-6")
@pytest.mark.requirement("FR-3.1")
@pytest.mark.requirement("FR-3.2")
@pytest.mark.requirement("NFR-REL-006")
def test_five_failures_in_the_last_ten_calls_open_it() -> None:
    breaker = Breaker("acme", monotonic=HandClock())
    calls(breaker, "answered", 5)
    calls(breaker, "failed", 4)
    assert stands(breaker) == "closed"
    calls(breaker, "failed", 1)
    assert stands(breaker) == "open"


def test_nothing_is_judged_before_ten_calls_are_known() -> None:
    breaker = Breaker("acme", monotonic=HandClock())
    calls(breaker, "failed", 9)
    assert stands(breaker) == "closed"


def test_old_failures_leave_the_window() -> None:
    breaker = Breaker("acme", monotonic=HandClock())
    for _ in range(5):
        calls(breaker, "failed", 4)
        calls(breaker, "answered", 10)
    assert stands(breaker) == "closed"
    assert breaker.snapshot()["calls_failed"] == 0


@pytest.mark.requirement("FR-3.3")
def test_an_open_breaker_refuses_and_says_for_how_long() -> None:
    breaker, clock = opened()
    clock.now += 12
    with pytest.raises(ProviderFailed) as refused:
        breaker.admit()
    assert refused.value.details["retry_after_seconds"] == 18.0
    assert "`acme`" in str(refused.value)


@pytest.mark.requirement("BR-7")
@pytest.mark.requirement("FR-3.4")
@pytest.mark.requirement("FR-PROV-008")
def test_after_thirty_seconds_three_calls_are_let_through_and_no_fourth() -> None:
    breaker, clock = opened()
    clock.now += 29.9
    assert stands(breaker) == "open"
    clock.now += 0.1
    assert stands(breaker) == "half_open"
    probes = [breaker.admit() for _ in range(3)]
    for _ in range(20):
        with pytest.raises(ProviderFailed):
            breaker.admit()
    probes[0].settle("unknown")
    assert breaker.admit().probe


@pytest.mark.requirement("FR-3.5")
def test_the_first_success_closes_it_and_forgets_the_past() -> None:
    breaker, clock = opened()
    clock.now += 30
    breaker.admit().settle("answered")
    assert stands(breaker) == "closed"
    calls(breaker, "failed", 9)
    assert stands(breaker) == "closed"


def test_a_failed_probe_opens_it_again_for_the_full_time() -> None:
    breaker, clock = opened()
    clock.now += 30
    breaker.admit().settle("failed")
    clock.now += 29
    assert stands(breaker) == "open"
    assert breaker.snapshot()["times_opened"] == 2


def test_a_late_answer_from_before_the_opening_does_not_close_it() -> None:
    clock = HandClock()
    breaker = Breaker("acme", monotonic=clock)
    late = breaker.admit()
    calls(breaker, "failed", 10)
    clock.now += 30
    assert stands(breaker) == "half_open"
    late.settle("answered")
    assert stands(breaker) == "half_open"


def test_a_call_settled_twice_counts_once() -> None:
    breaker = Breaker("acme", monotonic=HandClock())
    permit = breaker.admit()
    permit.settle("failed")
    permit.settle("failed")
    assert breaker.snapshot()["calls_seen"] == 1


def test_an_adapter_states_its_own_thresholds() -> None:
    breaker = Breaker("acme", BreakerPolicy(window=2, failure_share=1.0), monotonic=HandClock())
    calls(breaker, "failed", 2)
    assert stands(breaker) == "open"


GRAPH: set[tuple[State, State]] = {
    ("closed", "open"),
    ("open", "half_open"),
    ("half_open", "closed"),
    ("half_open", "open"),
}
events = st.lists(
    st.one_of(
        st.just(("call", 0.0)),
        st.tuples(st.sampled_from(["answered", "failed", "unknown"]), st.floats(0, 1)),
        st.tuples(st.just("wait"), st.floats(0, 40)),
    ),
    max_size=200,
)


@pytest.mark.requirement("F5")
@pytest.mark.requirement("PROP-15")
@given(events)
def test_whatever_the_callers_do_states_follow_the_graph_and_three_probes_are_the_most(
    script: list[tuple[str, float]],
) -> None:
    clock = HandClock()
    breaker = Breaker("acme", BreakerPolicy(window=4), monotonic=clock)
    in_flight: list[Permit] = []
    before: State = "closed"
    for event, figure in script:
        if event == "wait":
            clock.now += figure
        elif event == "call":
            try:
                in_flight.append(breaker.admit())
            except ProviderFailed:
                assert stands(breaker) != "closed"
        elif in_flight:
            permit = in_flight.pop(int(figure * (len(in_flight) - 1)))
            permit.settle(event)  # type: ignore[arg-type]
        after = breaker.state
        assert after == before or (before, after) in GRAPH
        assert sum(permit.probe for permit in in_flight) <= 3
        before = after
