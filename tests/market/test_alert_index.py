"""All alerts judged at once, as each would be by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.alert_index import UNKNOWN, AlertIndex, Reading
from market.alerts import CONDITION_KINDS, Alert, Condition, LimitOrder, Target, read_condition, read_target

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TARGETS = [Target(offer_id="a:b:c"), Target(offer_id="a:b:d"), Target(gpu="H100", region="eu"), Target(filters="{}")]
DOLLARS = st.integers(1, 6).map(lambda value: Decimal(value) / 2)


def _threshold(kind: str) -> st.SearchStrategy[Decimal | None]:
    if kind.startswith("avail"):
        return st.none()
    return st.sampled_from([Decimal(2), Decimal(10), Decimal(50)]) if kind in ("price_move", "anomaly") else DOLLARS


@st.composite
def alerts(draw: st.DrawFn) -> list[Alert]:
    """Alerts of every kind, armed and fired, some in their quiet period."""
    return [
        Alert(
            id=f"alert-{number}",
            owner="me",
            target=draw(st.sampled_from(TARGETS)),
            condition=Condition(kind, draw(_threshold(kind))),
            state=draw(st.sampled_from(["armed", "fired", "spent", "expired"])),
            quiet_minutes=draw(st.sampled_from([0, 60])),
            times_fired=0,
            created_at=NOON - timedelta(days=1),
            reference_value=draw(st.sampled_from([Decimal(number) for number in range(4)])),
            last_fired_at=draw(st.sampled_from([None, NOON - timedelta(minutes=60), NOON - timedelta(minutes=59)])),
        )
        for number, kind in enumerate(draw(st.lists(st.sampled_from(CONDITION_KINDS), max_size=12)))
    ]


readings = st.builds(
    Reading,
    price=st.sampled_from([UNKNOWN, 500_000, 1_000_000, 1_010_000, 2_000_000, 2_040_001]),
    stock=st.integers(UNKNOWN, 3),
    deviation=st.sampled_from([float("nan"), -20.0, -9.9, 0.0, 2.0, 50.0]),
    event=st.just("7"),
)


def fires(alert: Alert, seen: Reading) -> bool:
    """One alert by itself, in exact arithmetic."""
    limit, reference = alert.condition.threshold or Decimal(0), alert.reference_value or Decimal(0)
    price = None if seen.price == UNKNOWN else Decimal(seen.price).scaleb(-6)
    match alert.condition.kind:
        case "price_below":
            return price is not None and price <= limit
        case "price_above":
            return price is not None and price >= limit
        case "price_move":
            return price is not None and reference > 0 and abs(price - reference) / reference * 100 >= limit
        case "anomaly":
            return abs(seen.deviation) >= float(limit)
        case "available":
            return seen.stock >= 2
        case "availability_change":
            return seen.stock not in (UNKNOWN, int(reference))


def comes_back(alert: Alert, seen: Reading) -> bool:
    """Whether the value has moved back over the threshold by 2 %."""
    limit = alert.condition.threshold or Decimal(0)
    price = None if seen.price == UNKNOWN else Decimal(seen.price).scaleb(-6)
    match alert.condition.kind:
        case "price_below":
            return price is not None and price > limit * Decimal("1.02")
        case "price_above":
            return price is not None and price < limit * Decimal("0.98")
        case "anomaly":
            return abs(seen.deviation) < float(limit) * 0.98
        case "available":
            return seen.stock in (0, 1)
    return False


@given(alerts(), st.dictionaries(st.integers(0, len(TARGETS) - 1), readings))
def test_all_at_once_and_one_by_one_agree(given_alerts: list[Alert], seen: dict[int, Reading]) -> None:
    index = AlertIndex(given_alerts)
    by_place = {index.place[TARGETS[n]]: one for n, one in seen.items() if TARGETS[n] in index.place}
    judgement = index.judge(by_place, NOON)
    expected_fired: set[str] = set()
    expected_back: set[str] = set()
    expected_later: set[Target] = set()
    for alert in given_alerts:
        one = seen.get(TARGETS.index(alert.target))
        if one is None or alert.state in ("spent", "expired"):
            continue
        quiet = alert.last_fired_at is not None and alert.last_fired_at + timedelta(minutes=alert.quiet_minutes) > NOON
        if alert.state == "armed" and fires(alert, one) and quiet:
            expected_later.add(alert.target)
        elif alert.state == "armed" and fires(alert, one):
            expected_fired.add(alert.id)
        if alert.state == "fired" and comes_back(alert, one):
            expected_back.add(alert.id)
    assert {firing.alert.id for firing in judgement.fired} == expected_fired
    assert {alert.id for alert in judgement.rearmed} == expected_back
    assert set(judgement.look_again) == expected_later


@given(alerts(), st.data())
def test_taken_in_one_by_one_and_anew_the_index_judges_the_same(given_alerts: list[Alert], data: st.DataObject) -> None:
    grown = AlertIndex()
    for alert in given_alerts:
        grown.add([replace(alert, state="armed")])
        grown.add([alert])
    for alert in (
        data.draw(st.lists(st.sampled_from(given_alerts), unique_by=lambda one: one.id)) if given_alerts else ()
    ):
        grown.drop(alert.id)
        given_alerts = [one for one in given_alerts if one.id != alert.id]
    fresh = AlertIndex(given_alerts)
    seen = data.draw(readings)

    def judged(index: AlertIndex) -> tuple[set[str], set[str]]:
        found = index.judge(dict.fromkeys(range(len(index.targets)), seen), NOON)
        return {one.alert.id for one in found.fired}, {one.id for one in found.rearmed}

    assert judged(grown) == judged(fresh)
    assert len(grown) == len(fresh)
    assert grown.expired(NOON) == fresh.expired(NOON) == []


def test_what_was_forgotten_does_not_pile_up() -> None:
    alert = Alert(
        id="alert-1", owner="me", target=TARGETS[0], condition=Condition("available"), state="armed",
        quiet_minutes=0, times_fired=0, created_at=NOON,
    )  # fmt: skip
    index = AlertIndex()
    for number in range(5_000):
        index.add([replace(alert, target=Target(offer_id=f"a:b:{number}"))])
    assert len(index) == 1
    assert len(index.alerts) < 1_100
    assert len(index.targets) < 1_100
    place = index.by_offer["a:b:4999"]
    assert len(index.judge({place: Reading(stock=3)}, NOON).fired) == 1


@pytest.mark.parametrize("target", TARGETS)
def test_targets_and_conditions_read_back_as_they_were_written(target: Target) -> None:
    assert read_target(target.text()) == target
    for condition in (Condition("price_below", Decimal("1.20")), Condition("available")):
        assert read_condition(condition.text()) == condition


def test_a_limit_order_reads_back_as_it_was_written() -> None:
    order = LimitOrder(max_total=Decimal("12.50"), duration_hours=1.5, count=2, disk_gb=10.0, sealed_launch="v1.x")
    begun = replace(order.begun("7", "a:b:c"), quote_id="quote-1", next_try_at=NOON)
    assert LimitOrder.read(order.text()) == order
    assert LimitOrder.read(begun.text()) == begun
    assert begun.ended() == order
