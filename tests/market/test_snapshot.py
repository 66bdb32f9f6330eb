"""The snapshot answers as a plain loop over the offers would."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.errors import CursorExpired
from market.money import to_millionths
from market.offers import Offer
from market.query import SORTS, Query
from market.snapshot import Hits, Snapshot
from market.snapshot_builder import from_offers
from tests.market import naive_search
from tests.market.offer_samples import FILTERS, NOON, made, offers, queries, token_offer

STALE = frozenset({"vast"})


def found(snapshot: Snapshot, query: Query) -> Hits:
    return snapshot.search(query, stale_providers=STALE)


def ids(listed: list[Offer]) -> list[str]:
    return [offer.id for offer in listed]


def every_page(snapshot: Snapshot, query: Query) -> list[list[str]]:
    pages, hits = [], found(snapshot, query)
    while True:
        pages.append(ids(hits.offers))
        if hits.next_position is None:
            return pages
        hits = found(snapshot, query.after(hits.next_position))


@pytest.mark.requirement("FR-PROV-004")
@pytest.mark.requirement("FR-MKT-1")
@pytest.mark.requirement("FR-7.4")
@pytest.mark.requirement("FR-7.5")
@pytest.mark.requirement("PROP-4")
@settings(max_examples=200, deadline=None)
@given(offers(), queries())
def test_a_search_finds_what_a_plain_loop_finds_in_the_same_order(catalogue: list[Offer], query: Query) -> None:
    expected = naive_search.matching(catalogue, query, STALE)
    hits = found(from_offers(catalogue), replace(query, limit=100))
    assert hits.offers == expected
    assert hits.listed == len(expected)
    assert hits.total == naive_search.machines(expected, catalogue)
    assert hits.next_position is None


@pytest.mark.requirement("PROP-4")
@pytest.mark.parametrize("name", sorted(FILTERS))
@settings(max_examples=25, deadline=None)
@given(catalogue=offers(), data=st.data())
def test_each_filter_alone_keeps_exactly_what_it_says(name: str, catalogue: list[Offer], data: st.DataObject) -> None:
    query = Query(**{name: data.draw(FILTERS[name])}, limit=100)
    check = naive_search.filters(query, STALE)[name]
    shown = set(ids(found(from_offers(catalogue), query).offers))
    sold_by_the_hour = {offer.id for offer in catalogue if offer.pricing != "token"} if name != "pricing" else set()
    eligible = sold_by_the_hour or {offer.id for offer in catalogue}
    if name != "pricing":
        eligible = sold_by_the_hour
    assert shown == {offer.id for offer in catalogue if offer.id in eligible and check(offer)}


@pytest.mark.requirement("FR-7.6")
@pytest.mark.requirement("PROP-5")
@settings(max_examples=150, deadline=None)
@given(offers(), queries())
def test_pages_by_cursor_are_a_partition_of_the_result(catalogue: list[Offer], query: Query) -> None:
    pages = every_page(from_offers(catalogue), query)
    assert [offer_id for page in pages for offer_id in page] == ids(naive_search.matching(catalogue, query, STALE))
    assert all(len(page) == query.limit for page in pages[:-1])


@pytest.mark.requirement("PROP-5")
@settings(max_examples=100, deadline=None)
@given(offers(), queries())
def test_pages_by_offset_are_a_partition_of_the_result(catalogue: list[Offer], query: Query) -> None:
    snapshot = from_offers(catalogue)
    starts = range(0, len(catalogue) + 1, query.limit)
    paged = [found(snapshot, replace(query, offset=start)) for start in starts]
    assert ids([offer for hits in paged for offer in hits.offers]) == ids(
        naive_search.matching(catalogue, query, STALE)
    )
    assert len({hits.total for hits in paged}) == 1


@settings(max_examples=100, deadline=None)
@given(offers())
def test_every_offer_comes_back_as_it_went_in(catalogue: list[Offer]) -> None:
    snapshot = from_offers(catalogue, version=7)
    assert (snapshot.count, snapshot.version) == (len(catalogue), 7)
    for offer in catalogue:
        assert snapshot.get(offer.id) == offer
    assert snapshot.get("no:such:offer") is None


@settings(max_examples=100, deadline=None)
@given(offers(), queries(), st.sampled_from([Decimal("0.9"), Decimal("1.2")]))
def test_a_cursor_from_before_a_price_change_still_moves_forward(
    catalogue: list[Offer], query: Query, move: Decimal
) -> None:
    by_price = replace(query, sort="price", pricing=("on_demand", "spot", "reserved"))
    position = found(from_offers(catalogue), by_price).next_position
    moved = [replace(offer, price_per_hour_usd=(offer.price_per_hour_usd or 1) * move) for offer in catalogue]
    if position is not None:
        later = naive_search.matching(moved, replace(by_price, limit=100), STALE)
        shown = found(from_offers(moved), replace(by_price.after(position), limit=100)).offers
        end = (position[0], position[1])
        assert ids(shown) == ids(
            [one for one in later if (to_millionths(one.price_per_hour_usd or Decimal(0)), one.id) > end]
        )


def test_a_cursor_continues_after_an_offer_that_has_gone() -> None:
    catalogue = [made(f"aws:{name}:x", "1") for name in "abcd"]
    position = from_offers(catalogue).search(Query(limit=2)).next_position
    assert position is not None
    later = from_offers([offer for offer in catalogue if offer.id != "aws:b:x"]).search(Query().after(position))
    assert ids(later.offers) == ["aws:c:x", "aws:d:x"]


@pytest.mark.parametrize(
    "position", [[], ["1", "x"], [1], [float("nan"), "x"], [1e300, "x"], [1, 2], "1x", [2**80, "x"]]
)
def test_a_position_no_page_ends_at_is_an_expired_cursor(position: list[object]) -> None:
    with pytest.raises(CursorExpired):
        Query().after(position)


def test_equal_prices_are_ordered_by_id() -> None:
    catalogue = [made(f"aws:{name}:x", "1") for name in ("c", "a", "b")]
    for sort in SORTS:
        assert ids(from_offers(catalogue).search(Query(sort=sort)).offers) == ["aws:a:x", "aws:b:x", "aws:c:x"]


def test_an_empty_catalogue_answers_everything() -> None:
    snapshot = from_offers([])
    query = Query(text="h100", gpu=("h100",), region=("eu",), tags=("gdpr",), price_max=Decimal(1), memory_gb_min=1)
    for sort in SORTS:
        hits = snapshot.search(replace(query, sort=sort))
        assert (hits.total, hits.offers, hits.next_position) == (0, [], None)
    assert snapshot.search(query.after([1, "x"])).offers == []
    assert snapshot.get("x") is None
    assert snapshot.nearest_ids("x") == []
    assert snapshot.cheapest_by_gpu() == {}
    assert snapshot.providers == snapshot.gpus == snapshot.regions == ()


def test_offers_by_the_token_show_only_when_asked_for() -> None:
    snapshot = from_offers([made(), token_offer()])
    assert ids(snapshot.search(Query()).offers) == ["aws:a:us-east-1"]
    assert ids(snapshot.search(Query(pricing=("token",))).offers) == ["deepinfra:llama:global:token"]
    both = snapshot.search(Query(pricing=("token", "on_demand")))
    assert ids(both.offers) == ["aws:a:us-east-1", "deepinfra:llama:global:token"]
    assert snapshot.search(Query(pricing=("token",), price_max=Decimal(1_000))).total == 0


def test_a_share_of_a_card_is_never_cheaper_than_a_card() -> None:
    slice_, card = made("aws:mig:x", "0.2", gpu_fraction=1 / 7, memory_gb=10.0), made("aws:card:x", "3")
    snapshot = from_offers([slice_, card])
    assert ids(snapshot.search(Query(sort="price")).offers) == ["aws:mig:x", "aws:card:x"]
    assert ids(snapshot.search(Query(sort="price_per_gpu")).offers) == ["aws:card:x", "aws:mig:x"]
    assert ids(snapshot.search(Query(price_per_gpu_max=Decimal(5))).offers) == ["aws:card:x"]
    assert ids(snapshot.search(Query(include_fractions=False)).offers) == ["aws:card:x"]
    assert snapshot.cheapest_by_gpu()["H100-SXM"].offer_id == "aws:card:x"


def test_a_machine_sold_twice_is_shown_twice_and_counted_once() -> None:
    direct = made("lambda:a:x", "2", provider="lambda")
    resold = made("shadeform:a:x", "2.1", provider="shadeform", direct_offer_id="lambda:a:x")
    snapshot = from_offers([direct, resold, made("aws:b:x", "3")])
    hits = snapshot.search(Query())
    assert (hits.total, hits.listed, len(hits.offers)) == (2, 3, 3)
    only_reseller = snapshot.search(Query(provider=("shadeform",)))
    assert (only_reseller.total, ids(only_reseller.offers)) == (1, ["shadeform:a:x"])


def test_offers_that_link_to_each_other_are_still_counted() -> None:
    one, other = made("aws:a:x", direct_offer_id="aws:b:x"), made("aws:b:x", direct_offer_id="aws:a:x")
    itself = made("aws:c:x", direct_offer_id="aws:c:x")
    assert from_offers([one, other, itself]).search(Query()).total == 3


def test_a_gpu_nobody_knows_is_found_by_the_providers_name() -> None:
    known, unknown = made(), made("aws:m:x", gpu=None, gpu_raw="Mystery H100-like 3000", memory_gb=None)
    snapshot = from_offers([known, unknown])
    assert ids(snapshot.search(Query(gpu=("MYSTERY",))).offers) == ["aws:m:x"]
    assert snapshot.search(Query(gpu=("h100",))).total == 2
    assert snapshot.search(Query(gpu=("mystery", "H100-SXM"))).total == 2
    assert snapshot.search(Query(gpu=("zzz",))).total == 0
    assert snapshot.knows_gpu("mystery")
    assert snapshot.knows_gpu("H100")
    assert snapshot.knows_gpu("b200")
    assert not snapshot.knows_gpu("zzz")


def test_performance_per_dollar_puts_cards_without_figures_last() -> None:
    cheap = made("aws:mystery:x", "0.01", gpu=None, gpu_raw="Mystery")
    dear, fair = made("aws:dear:x", "9"), made("aws:fair:x", "3")
    slice_ = made("aws:slice:x", "1", gpu_fraction=0.5)
    snapshot = from_offers([cheap, dear, fair, slice_])
    expected = ["aws:slice:x", "aws:fair:x", "aws:dear:x", "aws:mystery:x"]
    assert ids(snapshot.search(Query(sort="performance_per_dollar")).offers) == expected


def test_newest_and_largest_memory_come_first() -> None:
    old = made("aws:old:x", "1", last_updated=NOON - timedelta(hours=1), memory_gb=141.0)
    new = made("aws:new:x", "2", memory_gb=None)
    snapshot = from_offers([old, new])
    assert ids(snapshot.search(Query(sort="freshness")).offers) == ["aws:new:x", "aws:old:x"]
    assert ids(snapshot.search(Query(sort="memory")).offers) == ["aws:old:x", "aws:new:x"]
    assert ids(snapshot.search(Query(sort="-price")).offers) == ["aws:new:x", "aws:old:x"]


def test_every_word_must_begin_a_word_of_the_offer() -> None:
    snapshot = from_offers([made(name="8x H100-SXM5 box", tags=("hipaa",)), made("aws:b:x", name="A10 node")])
    for text, total in {
        "h100 hip": 1,
        "100": 0,
        "BOX sxm": 1,
        "p5.4xlarge": 2,
        "aws node": 1,
        "aws zzz": 0,
        "--": 2,
    }.items():
        assert snapshot.search(Query(text=text)).total == total, text


def test_two_offers_with_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="same id"):
        from_offers([made(), made()])


def test_overview_names_and_counts_what_is_there() -> None:
    spot = made("aws:spot:x", "0.5", pricing="spot")
    other = made("vast:b:x", "0.3", provider="vast", region="Germany, DE", gpu="RTX-4090", pricing="spot")
    snapshot = from_offers([made(), spot, other, token_offer()])
    assert snapshot.providers == ("aws", "deepinfra", "vast")
    assert snapshot.gpus == ("H100-SXM", "RTX-4090")
    assert snapshot.counts_by_provider() == {"aws": 2, "vast": 1, "deepinfra": 1}
    cheapest = snapshot.cheapest_by_gpu()
    assert (cheapest["H100-SXM"].offer_id, cheapest["H100-SXM"].offers) == ("aws:a:us-east-1", 2)
    assert (cheapest["RTX-4090"].pricing, cheapest["RTX-4090"].price_per_gpu_hour) == ("spot", Decimal("0.3"))
    assert snapshot.nearest_ids("aws:a:us-east-2") == ["aws:a:us-east-1"]
    assert snapshot.knows_region("Germany, DE")
    assert snapshot.knows_region("asia")
    assert not snapshot.knows_region("atlantis")
