"""Ranking: the order, the reasons, and the range of weights that keeps the winner."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.context import Market
from market.errors import ValidationFailed
from market.offers import Offer
from mathcore.topsis import topsis
from tests.market.offer_samples import made, token_offer
from tests.tools.conftest import ask, stocked
from tools.rank import BENEFIT, CRITERIA, Table, why

CHEAP = made("vast:4090:de", "0.5", provider="vast", gpu="RTX-4090", memory_gb=24.0, availability="available")
FAST = made("aws:b200:us", "6", gpu="B200", memory_gb=180.0, availability="available", reliability=0.99)
WORSE = made("aws:h100:us", "7", availability="unknown", reliability=0.9)
ODD = made("aws:odd:us", "1", gpu=None, gpu_raw="Mystery", memory_gb=None, availability="limited", reliability=None)


async def test_the_first_is_explained_against_the_field_and_the_others_against_the_first(market: Market) -> None:
    await stocked(market, CHEAP, FAST, WORSE)
    ranking = await ask(market, "rank_offers", weights={"price": 1, "performance": 3})
    assert [item.id for item in ranking.items] == [FAST.id, WORSE.id, CHEAP.id]
    assert ranking.weights == {"price": 0.25, "performance": 0.75, "memory": 0, "availability": 0, "reliability": 0}
    assert ranking.items[0].why == "First: performance 2250 dense TFLOPS beats 2 of 2; price 6 $/h beats 1 of 2."
    assert ranking.items[1].why == (
        "Against the first: loses on performance 989.4 dense TFLOPS against 2250 dense TFLOPS, "
        "price 7 $/h against 6 $/h."
    )
    assert ranking.items[2].why == (
        "Against the first: loses on performance 165.2 dense TFLOPS against 2250 dense TFLOPS; "
        "wins on price 0.5 $/h against 6 $/h."
    )
    assert (ranking.compared, ranking.warnings) == (3, None)


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


@settings(deadline=None, max_examples=60)
@given(_offers(), st.lists(st.sampled_from([0.0, 0.1, 1.0, 5.0]), min_size=5, max_size=5).filter(any))
def test_no_offer_stands_above_one_that_beats_it_and_every_explanation_is_true(
    offers: list[Offer], weights: list[float]
) -> None:
    table = Table.of(offers)
    named: dict[str, float] = dict(zip(CRITERIA, weights, strict=True))
    order = topsis([table.columns[name] for name in CRITERIA], weights, BENEFIT).order.tolist()
    assert all(math.isfinite(value) for column in table.columns.values() for value in column)
    signed = {
        name: [-value if name == "price" else value for value in table.columns[name]]
        for name in CRITERIA
        if named[name] > 0
    }
    for place, at in enumerate(order):
        for above in order[:place]:
            ahead = [values[at] - values[above] for values in signed.values()]
            assert not (min(ahead) >= 0 and max(ahead) > 0)
        told = why(table, named, order[0], at)
        losing, _, winning = told.partition("wins on")
        for name, values in signed.items():
            if at != order[0]:
                assert (f"{name} " in losing) == (values[at] < values[order[0]])
                assert (f"{name} " in winning) == (values[at] > values[order[0]])


async def test_hosted_models_are_never_ranked_beside_machines(market: Market) -> None:
    await stocked(market, FAST, token_offer(price_per_million_output_tokens=Decimal(1)))
    assert [item.id for item in (await ask(market, "rank_offers")).items] == [FAST.id]
