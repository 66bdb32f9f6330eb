"""Favourites and saved searches belong to who made them."""

from __future__ import annotations

import pytest

from market.context import Caller, Context, Market
from market.errors import Conflict, NotFound, ValidationFailed
from tests.market.offer_samples import made
from tests.tools.conftest import ask, stocked
from tools.capability import capabilities

OFFER = "aws:a:us-east-1"


async def test_a_favourite_is_shown_with_its_present_price_until_it_is_removed(market: Market) -> None:
    await stocked(market, made(OFFER, "3"), made("aws:b:us-east-1", "4"))
    await ask(market, "add_favorite", offer_id=OFFER, note="first")
    await ask(market, "add_favorite", offer_id=OFFER, note="for training")
    await stocked(market, made(OFFER, "2"))
    (kept,) = (await ask(market, "list_favorites")).items
    assert (kept.offer_id, kept.note, kept.offer.price_per_hour) == (OFFER, "for training", 2)
    await stocked(market, made("aws:b:us-east-1", "4"))
    (kept,) = (await ask(market, "list_favorites")).items
    assert kept.offer is None
    await ask(market, "remove_favorite", offer_id=OFFER)
    assert (await ask(market, "list_favorites")).items == []
    with pytest.raises(NotFound):
        await ask(market, "remove_favorite", offer_id=OFFER)
    with pytest.raises(NotFound):
        await ask(market, "add_favorite", offer_id="aws:none:us-east-1")


async def test_a_saved_search_is_checked_kept_and_watched(market: Market) -> None:
    await stocked(market, made(OFFER, "3"))
    with pytest.raises(ValidationFailed):
        await ask(market, "save_search", name="x", filters={"gpu": "H9000"})
    saved = await ask(market, "save_search", name="cheap h100", filters={"gpu_type": "H100", "max_price": 5, "page": 2})
    assert saved.filters == {"gpu": ["H100"], "max_price": "5"}
    alert = await ask(market, "create_alert", search="cheap h100", when="price_below", threshold=1)
    assert alert.price_now == 3
    await ask(market, "save_search", name="cheap h100", filters={"gpu": "A100"})
    (one,) = (await ask(market, "list_searches")).items
    assert one.filters == {"gpu": ["A100"]}
    await ask(market, "delete_search", name="cheap h100")
    assert (await ask(market, "list_searches")).items == []
    with pytest.raises(NotFound):
        await ask(market, "delete_search", name="cheap h100")
    assert len((await ask(market, "list_alerts")).items) == 1, "an alert made of it stays"


async def test_nobody_sees_or_removes_what_is_somebody_elses(market: Market) -> None:
    await stocked(market, made(OFFER, "3"))
    await ask(market, "add_favorite", offer_id=OFFER)
    await ask(market, "save_search", name="mine", filters={"gpu": "H100"})
    stranger = Context(market, Caller("stranger", frozenset({"alerts:read", "alerts:write"}), agent_key_id="key-1"))
    every = capabilities()
    assert (await every["list_favorites"].call(stranger, {})).items == []
    assert (await every["list_searches"].call(stranger, {})).items == []
    for name, arguments in (("remove_favorite", {"offer_id": OFFER}), ("delete_search", {"name": "mine"})):
        with pytest.raises(NotFound):
            await every[name].call(stranger, arguments)


async def test_there_is_an_end_to_what_one_may_keep(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.favourites.MOST_KEPT", 1)
    await stocked(market, made(OFFER, "3"), made("aws:b:us-east-1", "4"))
    await ask(market, "add_favorite", offer_id=OFFER)
    await ask(market, "add_favorite", offer_id=OFFER, note="again")
    with pytest.raises(Conflict):
        await ask(market, "add_favorite", offer_id="aws:b:us-east-1")
