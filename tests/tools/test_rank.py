"""Ranking: the order, the reasons, and the range of weights that keeps the winner."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.context import Market
from market.errors import ValidationFailed
from market.offers import Offer
from tests.market.offer_samples import made, token_offer
from tests.tools.conftest import ask, stocked
from tools.criteria import CRITERIA, Table, why
from tools.ordering import Method, decide

CHEAP = made("vast:4090:de", "0.5", provider="vast", gpu="RTX-4090", memory_gb=24.0, availability="available")
FAST = made("aws:b200:us", "6", gpu="B200", memory_gb=180.0, availability="available", reliability=0.99)
WORSE = made("aws:h100:us", "7", availability="unknown", reliability=0.9)
ODD = made("aws:odd:us", "1", gpu=None, gpu_raw="Mystery", memory_gb=None, availability="limited", reliability=None)


async def test_the_first_is_explained_against_the_field_and_the_others_against_the_first(market: Market) -> None:
    await stocked(market, CHEAP, FAST, WORSE)
    ranking = await ask(market, "rank_offers", weights={"price": 1, "performance": 3})
    assert [item.id for item in ranking.items] == [FAST.id, WORSE.id, CHEAP.id]
    assert ranking.weights == {"price": 0.25, "performance": 0.75, "memory": 0, "availability": 0, "reliability": 0}
    told = [re.sub(r" \(0\.\d{3}\)", "", item.why) for item in ranking.items]
    assert told == [
        "First: performance 2250 dense TFLOPS beats 2 of 2; price 6 $/h beats 1 of 2.",
        "Against the first: loses on performance 989.4 against 2250 dense TFLOPS, price 7 against 6 $/h.",
        "Against the first: loses on performance 165.2 against 2250 dense TFLOPS; wins on price 0.5 against 6 $/h.",
    ]
    assert (ranking.compared, ranking.warnings) == (3, None)


async def test_what_each_criterion_brings_and_costs_sums_to_the_scores(market: Market) -> None:
    await stocked(market, CHEAP, FAST, WORSE, ODD)
    ranking = await ask(market, "rank_offers", weights={"price": 1, "performance": 3, "memory": 1})
    first = ranking.items[0]
    for item in ranking.items:
        assert list(item.contributions) == ["price", "performance", "memory"]
        assert sum(item.contributions.values()) == pytest.approx(item.score, abs=3e-4)
        losses, _, gains = item.why.partition("wins on")
        cost = sum(map(float, re.findall(r"\((0\.\d+)\)", losses)))
        won = sum(map(float, re.findall(r"\((0\.\d+)\)", gains)))
        expected = first.score if item is first else first.score - item.score
        assert cost - won == pytest.approx(expected, abs=3e-3)


@pytest.mark.parametrize("method", ["wsm", "wpm", "promethee"])
async def test_a_score_that_is_a_sum_has_its_parts_and_solved_ranges(market: Market, method: str) -> None:
    await stocked(market, CHEAP, FAST, WORSE)
    ranking = await ask(market, "rank_offers", method=method, weights={"price": 2, "performance": 3})
    for item in ranking.items:
        whole = sum(item.contributions.values())
        assert (math.exp(whole) if method == "wpm" else whole) == pytest.approx(item.score, abs=3e-4)
    assert {found.criterion for found in ranking.winner_stays} == {"price", "performance"}
    assert "not sampled" in ranking.stability


@pytest.mark.requirement("FR-MATH-013")
async def test_the_critical_weight_is_where_the_named_offer_takes_over(market: Market) -> None:
    await stocked(market, CHEAP, FAST, WORSE, ODD)
    for method in ("topsis", "wsm", "wpm", "promethee"):
        ranking = await ask(market, "rank_offers", method=method, weights={"price": 1, "performance": 1})
        critical, winner = ranking.critical, ranking.items[0].id
        for beyond, first in ((0.002, critical.then_first), (-0.002, winner)):
            step = beyond if critical.at > 0.5 else -beyond
            other = "price" if critical.criterion == "performance" else "performance"
            weights = {critical.criterion: critical.at + step, other: 1 - critical.at - step}
            assert (await ask(market, "rank_offers", method=method, weights=weights)).items[0].id == first, method


@pytest.mark.parametrize("method", ["vikor", "borda"])
async def test_a_first_place_that_cannot_be_solved_for_is_tried_and_said_so(market: Market, method: str) -> None:
    await stocked(market, CHEAP, FAST, WORSE)
    ranking = await ask(market, "rank_offers", method=method)
    assert (ranking.winner_stays, ranking.critical) == (None, None)
    assert re.match(r"Tried, not solved for: .* keeps the first in \d of 8 trials", ranking.stability)


async def test_a_compromise_shows_what_each_criterion_brings_and_which_is_regretted_most(market: Market) -> None:
    await stocked(market, CHEAP, FAST, WORSE)
    ranking = await ask(market, "rank_offers", method="vikor", weights={"price": 3, "performance": 1})
    sums = await ask(market, "rank_offers", method="wsm", weights={"price": 3, "performance": 1})
    # S of VIKOR is what is missing to the weighted sum of criteria scaled by their range.
    assert {item.id: item.contributions for item in ranking.items} == {
        item.id: item.contributions for item in sums.items
    }
    told = {item.id: re.findall(r"Greatest regret: (\w+) \((.*)\)\.$", item.why) for item in ranking.items}
    for item in ranking.items:
        left = {"price": 0.75 - item.contributions["price"], "performance": 0.25 - item.contributions["performance"]}
        most = max(left, key=lambda name: left[name])
        assert told[item.id] == [(most, f"{left[most]:.3f}")]


async def test_a_count_shows_what_each_method_brings(market: Market) -> None:
    await stocked(market, CHEAP, FAST, WORSE)
    ranking = await ask(market, "rank_offers", method="borda")
    for item in ranking.items:
        assert item.contributions.keys() == item.places.keys()
        assert sum(item.contributions.values()) == pytest.approx(item.score, abs=5e-4)
        # Of three places in five rankings the first brings all a ranking has, the last nothing.
        assert {name: round(1 + 10 * (0.2 - part)) for name, part in item.contributions.items()} == item.places


async def test_a_count_over_all_methods_shows_the_place_each_gives(market: Market) -> None:
    gone = made("aws:a100:us", "3", gpu="A100-SXM4-80GB", availability="unavailable")
    await stocked(market, CHEAP, FAST, WORSE)
    alone = {
        method: [item.id for item in (await ask(market, "rank_offers", method=method)).items]
        for method in ("topsis", "wsm", "wpm", "vikor", "promethee")
    }
    ranking = await ask(market, "rank_offers", method="borda")
    for item in ranking.items:
        assert item.places == {method: order.index(item.id) + 1 for method, order in alone.items()}
    await stocked(market, CHEAP, FAST, WORSE, gone)
    without = await ask(market, "rank_offers", method="borda")
    assert set(without.items[0].places) == {"topsis", "wsm", "vikor", "promethee"}
    assert any("availability is 0 for some" in said for said in without.warnings)
    with pytest.raises(ValidationFailed, match="availability is 0 for some"):
        await ask(market, "rank_offers", method="wpm")
    with pytest.raises(ValidationFailed, match="must be one of"):
        await ask(market, "rank_offers", method="magic")


async def test_an_offer_beaten_everywhere_names_the_best_that_does(market: Market) -> None:
    await stocked(market, CHEAP, FAST, WORSE)
    ranking = await ask(market, "rank_offers")
    assert {item.id: (item.pareto, item.dominated_by) for item in ranking.items} == {
        CHEAP.id: (True, None),
        FAST.id: (True, None),
        WORSE.id: (False, FAST.id),
    }


async def test_an_offer_alone_has_nothing_to_be_firm_against(market: Market) -> None:
    await stocked(market, FAST)
    for method in ("topsis", "wsm", "wpm", "vikor", "promethee", "borda"):
        ranking = await ask(market, "rank_offers", method=method)
        assert (ranking.compared, ranking.winner_stays, ranking.critical, ranking.stability) == (1, None, None, None)
        assert ranking.items[0].pareto


async def test_cards_that_hold_the_work_only_together_in_sum_are_not_ranked(market: Market) -> None:
    small = made("aws:a10x8:us", "3", gpu="A10", memory_gb=24.0, gpu_count=8)
    whole = made("aws:l40s:us", "5", gpu="L40S", memory_gb=48.0)
    await stocked(market, small, whole)
    ranking = await ask(market, "rank_offers", workload="render a scene of 30 gb")
    assert [item.id for item in ranking.items] == [whole.id]


async def test_a_figure_nobody_publishes_is_never_told_as_one(market: Market) -> None:
    await stocked(market, CHEAP, FAST, ODD)
    ranking = await ask(market, "rank_offers", weights={"performance": 1, "reliability": 1, "availability": 1})
    told = {item.id: item.why for item in ranking.items}
    assert "reliability 0.99" in told[FAST.id]
    assert "not stated" in told[ODD.id]
    assert "availability limited against available" in told[ODD.id]
    assert "1 of 3 state no performance; taken as the slowest of the others." in ranking.warnings
    assert "2 of 3 state no reliability; taken as the middle of the others." in ranking.warnings


async def test_a_criterion_nobody_states_decides_nothing(market: Market) -> None:
    await stocked(market, CHEAP, ODD)
    ranking = await ask(market, "rank_offers", weights={"price": 1, "reliability": 5})
    assert ranking.items[0].id == CHEAP.id
    assert "reliability not stated" in ranking.items[0].why
    assert "2 of 2 state no reliability; it decides nothing." in ranking.warnings


async def test_on_demand_is_the_default_and_spot_is_asked_for_by_field_or_words(market: Market) -> None:
    spot = made("aws:h100:us:spot", "2", pricing="spot")
    await stocked(market, WORSE, spot)

    async def ids(**asked: Any) -> list[str]:
        return [item.id for item in (await ask(market, "rank_offers", **asked)).items]

    assert await ids() == [WORSE.id]
    assert await ids(pricing="spot") == [spot.id]
    assert await ids(workload="serve llama 3.1 8b on spot") == [spot.id]
    assert set(await ids(pricing="spot,on_demand")) == {spot.id, WORSE.id}
    with pytest.raises(ValidationFailed, match="tokens"):
        await ids(pricing="token")


async def test_words_keep_only_what_holds_the_work(market: Market) -> None:
    await stocked(market, CHEAP, FAST, WORSE)
    ranking = await ask(market, "rank_offers", workload="serve Llama 3.1 70B in 8-bit")
    assert [item.id for item in ranking.items] == [FAST.id]
    assert ranking.assumptions[0].startswith("Understood: workload llm_inference, model Llama 3.1 70B, precision int8")
    vague = await ask(market, "rank_offers", workload="train a resnet")
    assert vague.compared == 3
    assert any("not restricted by memory" in said for said in vague.assumptions)
    with pytest.raises(ValidationFailed, match="not clear"):
        await ask(market, "rank_offers", workload="something nice")


@pytest.mark.parametrize(
    ("asked", "way"),
    [
        ({"max_price": "0.1"}, ("max_price", "raise to 0.5")),
        ({"pricing": "spot"}, ("pricing", 'give `["on_demand", "spot", "reserved"]`')),
        ({"workload": "serve llama 3.1 70b in 8-bit under $1/h"}, ("workload", "say another max price: raise to 6")),
        ({"workload": "serve llama 3.1 405b"}, ("workload", "say a smaller one: at most 180 GB of GPU memory")),
    ],
)
async def test_an_empty_ranking_says_what_to_change_in_the_requests_own_terms(
    market: Market, asked: dict[str, Any], way: tuple[str, str]
) -> None:
    await stocked(market, CHEAP, FAST, WORSE)
    ranking = await ask(market, "rank_offers", **asked)
    assert (ranking.compared, ranking.items) == (0, [])
    assert way in [(each.constraint, each.change) for each in ranking.relax]


async def test_following_the_way_to_other_pricing_finds_what_it_promised(market: Market) -> None:
    await stocked(market, made("aws:h100:us:spot", "2", pricing="spot"))
    (way,) = (await ask(market, "rank_offers")).relax
    assert (await ask(market, "rank_offers", pricing=["on_demand", "spot", "reserved"])).compared == way.total == 1


async def test_all_zero_weights_are_refused(market: Market) -> None:
    with pytest.raises(ValidationFailed, match="all zero"):
        await ask(market, "rank_offers", weights={})
    with pytest.raises(ValidationFailed, match=r"weights\.price"):
        await ask(market, "rank_offers", weights={"price": -1})
    with pytest.raises(ValidationFailed, match=r"weights\.colour"):
        await ask(market, "rank_offers", weights={"colour": 1})


async def test_equal_offers_stand_by_price_and_then_by_id(market: Market) -> None:
    twins = [made(f"aws:{name}:us-east-1", "3") for name in "dcba"]
    await stocked(market, *twins)
    ranking = await ask(market, "rank_offers")
    assert [item.id for item in ranking.items] == sorted(offer.id for offer in twins)
    assert ranking.items[1].why == "Equal to the first on every criterion."


async def test_more_candidates_than_are_compared_are_told(market: Market) -> None:
    await stocked(market, *(made(f"aws:n{number}:us", str(1 + number)) for number in range(510)))
    ranking = await ask(market, "rank_offers", limit=1)
    assert ranking.compared == 500
    assert "Compared the 500 cheapest of 510; narrow the filters to compare all." in ranking.warnings


async def test_the_winner_stays_within_the_ranges_when_ranked_again(market: Market) -> None:
    await stocked(market, CHEAP, FAST, WORSE, ODD)
    ranking = await ask(market, "rank_offers")
    weights = ranking.weights
    for found in ranking.winner_stays:
        rest = sum(weight for name, weight in weights.items() if name != found.criterion)
        for moved in (found.low, found.high):
            others = {name: weight / rest * (1 - moved) for name, weight in weights.items() if name != found.criterion}
            again = await ask(market, "rank_offers", weights={**others, found.criterion: moved})
            # Where a criterion has all the weight, those equal in it share the first place.
            scores = {item.id: item.score for item in again.items}
            assert scores[ranking.items[0].id] == again.items[0].score, found


@st.composite
def _offers(draw: st.DrawFn) -> list[Offer]:
    return [
        made(
            f"aws:{number}:us",
            str(draw(st.sampled_from(["0.5", "1", "2", "2.000001", "90"]))),
            gpu=draw(st.sampled_from(["H100-SXM", "RTX-4090", "T4", None])),
            gpu_count=draw(st.sampled_from([1, 2, 8])),
            memory_gb=draw(st.sampled_from([None, 16.0, 24.0, 80.0])),
            availability=draw(st.sampled_from(["available", "limited", "unknown", "unavailable"])),
            reliability=draw(st.sampled_from([None, 0.5, 0.99])),
        )
        for number in range(draw(st.integers(1, 7)))
    ]


@settings(deadline=None, max_examples=100)
@given(
    _offers(),
    st.lists(st.sampled_from([0.0, 0.1, 1.0, 5.0]), min_size=5, max_size=5).filter(any),
    st.sampled_from(["topsis", "wsm", "wpm", "vikor", "promethee", "borda"]),
)
def test_no_offer_stands_above_one_that_beats_it_and_every_explanation_is_true(
    offers: list[Offer], weights: list[float], method: Method
) -> None:
    table = Table.of(offers)
    assert all(math.isfinite(value) for column in table.columns.values() for value in column)
    named: dict[str, float] = {name: weight / sum(weights) for name, weight in zip(CRITERIA, weights, strict=True)}
    signed = {
        name: [-value if name == "price" else value for value in table.columns[name]]
        for name in CRITERIA
        if named[name] > 0
    }
    if method == "wpm" and min(table.columns["availability"]) == 0 and named["availability"] > 0:
        method = "wsm"
    verdict = decide(table.columns, named, method, len(offers))
    order = verdict.order
    for place, at in enumerate(order):
        beaten_by = [other for other in order if _dominates(signed, other, at)]
        assert not set(beaten_by) & set(order[place:])
        assert verdict.dominators.get(at) == (beaten_by[0] if beaten_by else None)
        losses = verdict.losses.get(at, {})
        if method == "vikor":
            assert sum(losses.values()) == pytest.approx(
                sum(verdict.contributions[order[0]].values()) - sum(verdict.contributions[at].values()), abs=1e-9
            )
        elif losses and method != "wpm":
            assert sum(losses.values()) == pytest.approx(verdict.scores[order[0]] - verdict.scores[at], abs=1e-9)
        told = why(table, named, order[0], at, losses)
        losing, _, winning = told.partition("wins on")
        for name, values in signed.items():
            if at != order[0]:
                assert (f"{name} " in losing) == (values[at] < values[order[0]])
                assert (f"{name} " in winning) == (values[at] > values[order[0]])


def _dominates(signed: Mapping[Any, list[float]], one: int, other: int) -> bool:
    ahead = [values[one] - values[other] for values in signed.values()]
    return min(ahead) >= 0 and max(ahead) > 0


async def test_hosted_models_are_never_ranked_beside_machines(market: Market) -> None:
    await stocked(market, FAST, token_offer(price_per_million_output_tokens=Decimal(1)))
    assert [item.id for item in (await ask(market, "rank_offers")).items] == [FAST.id]


@pytest.mark.parametrize("method", ["topsis", "wsm", "wpm", "vikor", "promethee", "borda"])
async def test_a_default_ranking_of_the_published_market_is_short_by_every_method(seeded: Market, method: str) -> None:
    ranking = await ask(seeded, "rank_offers", method=method, workload="serve llama 3.1 70b in 8-bit")
    assert (ranking.compared, len(ranking.items)) == (500, 5)
    assert len(ranking.brief()) <= 6_750
