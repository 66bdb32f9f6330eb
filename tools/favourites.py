"""Favourite offers and saved searches of the caller, over HTTP."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from market.context import Context
from market.errors import NotFound
from market.offers import clean_text
from tools.alerts import checked_filters
from tools.capability import Door, Request, Result, capability, intent_of
from tools.evidence import proved
from tools.offer_facts import no_such_offer
from tools.offer_view import Moment, OfferLine, line

READ, WRITE = "alerts:read", "alerts:write"
_HTTP_DOOR: frozenset[Door] = frozenset({"http"})
_NAME = Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f/]+$")


class AddFavorite(Request):
    """Which offer, and why."""

    offer_id: str = Field(max_length=300)
    note: str = Field(default="", max_length=500)


class FavoriteOffer(Result):
    """One favourite; `offer` is absent once nobody lists it any more."""

    offer_id: str
    note: str
    created_at: Moment
    offer: OfferLine | None = None


class Favorites(Result):
    """All favourites, the newest first."""

    items: list[FavoriteOffer]


class Nothing(Request):
    """No arguments."""


class RemoveFavorite(Request):
    """Which offer."""

    offer_id: str = Field(max_length=300)


class Removed(Result):
    """What is kept no longer."""

    removed: str


class SaveSearch(Request):
    """A name, and arguments of `search_offers`."""

    name: str = _NAME
    filters: Annotated[
        dict[str, Any], WithJsonSchema({"type": "object", "description": "Arguments of `search_offers`."})
    ] = Field(max_length=30)


class SavedSearchView(Result):
    """One saved search."""

    name: str
    filters: dict[str, Any]
    created_at: Moment


class SavedSearches(Result):
    """All of them, by name."""

    items: list[SavedSearchView]


class DeleteSearch(Request):
    """Which saved search."""

    name: str = _NAME


@capability("POST /users/favorites", "POST /users/favourites", scope=WRITE, effect="write", doors=_HTTP_DOOR)
async def add_favorite(ctx: Context, request: AddFavorite) -> FavoriteOffer:
    """Keep an offer as a favourite; doing it again changes the note."""
    from market import favourites
    from market.favourites import Favourite

    snapshot = await ctx.market.snapshot()
    offer = snapshot.get(request.offer_id)
    if offer is None:
        raise no_such_offer(request.offer_id, snapshot)
    now = ctx.market.clock.now()
    note = clean_text(request.note, 500)
    store = await ctx.market.store()
    async with store.write() as connection:
        await favourites.keep(connection, ctx.caller.identity, Favourite(request.offer_id, note, now))
        await intent_of(ctx).begin(connection, action="add_favorite", subject=request.offer_id, details={})
    states = await ctx.market.provider_states()
    (shown,), _ = await proved(ctx.market, [offer])
    return FavoriteOffer(offer_id=request.offer_id, note=note, created_at=now, offer=line(shown, states, now))


@capability("GET /users/favorites", "GET /users/favourites", scope=READ, effect="read", doors=_HTTP_DOOR)
async def list_favorites(ctx: Context, _request: Nothing) -> Favorites:
    """Your favourite offers as they are now."""
    from market import favourites

    snapshot, states = await ctx.market.snapshot(), await ctx.market.provider_states()
    now = ctx.market.clock.now()
    items = []
    kept = await favourites.kept(await ctx.market.store(), ctx.caller.identity)
    listed = [offer for one in kept if (offer := snapshot.get(one.offer_id)) is not None]
    offers = {offer.id: offer for offer in (await proved(ctx.market, listed))[0]}
    for one in kept:
        offer = offers.get(one.offer_id)
        shown = None if offer is None else line(offer, states, now)
        items.append(FavoriteOffer(offer_id=one.offer_id, note=one.note, created_at=one.created_at, offer=shown))
    return Favorites(items=items)


@capability(
    "DELETE /users/favorites/{offer_id}",
    "DELETE /users/favourites/{offer_id}",
    scope=WRITE,
    effect="write",
    doors=_HTTP_DOOR,
)
async def remove_favorite(ctx: Context, request: RemoveFavorite) -> Removed:
    """Keep an offer as a favourite no longer."""
    from market import favourites

    commitment = intent_of(ctx)
    if commitment.subject is not None:
        return Removed(removed=commitment.subject)
    store = await ctx.market.store()
    async with store.write() as connection:
        if not await favourites.let_go(connection, ctx.caller.identity, request.offer_id):
            raise NotFound("That offer is no favourite of yours.", next_step="`GET /users/favorites` shows them.")
        await commitment.begin(connection, action="remove_favorite", subject=request.offer_id, details={})
    return Removed(removed=request.offer_id)


@capability("POST /users/searches", scope=WRITE, effect="write", doors=_HTTP_DOOR)
async def save_search(ctx: Context, request: SaveSearch) -> SavedSearchView:
    """Save the filters of a search under a name; the same name again replaces them."""
    from market import favourites
    from market.favourites import SavedSearch

    filters = await checked_filters(ctx, request.filters)
    now = ctx.market.clock.now()
    store = await ctx.market.store()
    async with store.write() as connection:
        await favourites.save_search(connection, ctx.caller.identity, SavedSearch(request.name, filters, now))
        await intent_of(ctx).begin(connection, action="save_search", subject=request.name, details={})
    return SavedSearchView(name=request.name, filters=json.loads(filters), created_at=now)


@capability("GET /users/searches", scope=READ, effect="read", doors=_HTTP_DOOR)
async def list_searches(ctx: Context, _request: Nothing) -> SavedSearches:
    """Your saved searches."""
    from market import favourites

    found = await favourites.searches(await ctx.market.store(), ctx.caller.identity)
    return SavedSearches(
        items=[
            SavedSearchView(name=one.name, filters=json.loads(one.filters), created_at=one.created_at) for one in found
        ]
    )


@capability("DELETE /users/searches/{name}", scope=WRITE, effect="write", doors=_HTTP_DOOR)
async def delete_search(ctx: Context, request: DeleteSearch) -> Removed:
    """Delete a saved search; alerts made from it stay."""
    from market import favourites

    commitment = intent_of(ctx)
    if commitment.subject is not None:
        return Removed(removed=commitment.subject)
    store = await ctx.market.store()
    async with store.write() as connection:
        if not await favourites.forget_search(connection, ctx.caller.identity, request.name):
            raise NotFound("No saved search of yours has this name.", next_step="`GET /users/searches` shows them.")
        await commitment.begin(connection, action="delete_search", subject=request.name, details={})
    return Removed(removed=request.name)
