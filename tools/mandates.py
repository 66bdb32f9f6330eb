"""Mandates: signed, shown, signed anew with other limits, and revoked by the owner; over HTTP and the command line."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from market.context import LOCAL_OWNER, Context
from market.errors import Conflict, ValidationFailed
from tools.capability import Door, capability, intent_of
from tools.mandate_forms import (
    CreateMandate,
    ListMandates,
    Mandates,
    MandateView,
    NamedMandate,
    RaiseMandate,
    RevokeMandate,
    view,
)

if TYPE_CHECKING:
    from adapters import Broken
    from adapters.base import Adapter
    from market.agent_keys import AgentKey
    from market.mandates import Mandate

SCOPE = "mandates:sign"
HTTP_DOOR: frozenset[Door] = frozenset({"http"})
DEFAULT_LIFETIME = timedelta(days=30)
LONGEST_LIFETIME = timedelta(days=732)
_LEFT_OUT = {"currencies": "Use three letters such as `EUR`; left out, only offers in USD are allowed."}
_PLAIN_LIMITS = ("budget", "hourly_budget", "max_hours", "max_concurrent", "approval_above")


@capability("POST /mandates", scope=SCOPE, effect="write", doors=HTTP_DOOR)
async def create_mandate(ctx: Context, request: CreateMandate) -> MandateView:
    """Sign what an agent may spend, on what, until when."""
    from market import agent_keys, mandate_register, outbox
    from market.mandate_claims import payload

    commitment = intent_of(ctx)
    market = ctx.market
    if commitment.subject is not None:
        return await _shown(ctx, commitment.subject)
    await _check_names(ctx, request)
    store, now = await market.store(), market.clock.now()
    async with store.write() as connection:
        key = None if request.agent is None else await agent_keys.get(connection, request.agent)
        mandate = _mandate(ctx, request, key, now)
        await mandate_register.add(connection, market.settings, mandate)
        told = {"mandate": mandate.id, "budget": float(mandate.budget), "expires_at": mandate.expires_at}
        await outbox.publish(
            connection, at=now, kind="mandate.created", subject=mandate.id, owner=mandate.agent, payload=told
        )
        await commitment.begin(
            connection, action="mandate.create", subject=mandate.id, details={"claims": payload(mandate)}
        )
    return await _shown(ctx, mandate.id)


@capability("GET /mandates", scope=SCOPE, effect="read", doors=HTTP_DOOR)
async def list_mandates(ctx: Context, request: ListMandates) -> Mandates:
    """List every mandate with what is left of it."""
    from market import mandate_register

    market = ctx.market
    now = market.clock.now()
    found = await mandate_register.entries(await market.store(), market.settings)
    shown = [view(entry, now) for entry in found if request.agent in (None, entry.agent)]
    return Mandates(items=shown if request.all else [one for one in shown if one.state in ("in_force", "not_begun")])


@capability("GET /mandates/{mandate_id}", scope=SCOPE, effect="read", doors=HTTP_DOOR)
async def get_mandate(ctx: Context, request: NamedMandate) -> MandateView:
    """Show one mandate: what was signed, what is left, and why it is not in force when it is not."""
    return await _shown(ctx, request.mandate_id)


@capability("POST /mandates/{mandate_id}/raise", scope=SCOPE, effect="write", doors=HTTP_DOOR)
async def raise_mandate(ctx: Context, request: RaiseMandate) -> MandateView:
    """Sign a mandate anew with other limits, under the same id; what is held and spent under it stays."""
    from market import mandate_register, outbox
    from market.mandate_claims import payload

    commitment = intent_of(ctx)
    market = ctx.market
    if commitment.subject is not None:
        return await _shown(ctx, commitment.subject)
    store, now = await market.store(), market.clock.now()
    found = await mandate_register.entry(store, market.settings, request.mandate_id)
    if found.mandate is None:
        raise Conflict(
            f"The mandate `{found.id}` cannot be raised: it is not what was signed.",
            next_step="Revoke it and create another.",
        )
    mandate = _raised(found.mandate, request, now)
    async with store.write() as connection:
        await mandate_register.amend(connection, market.settings, mandate)
        told = {"mandate": mandate.id, "version": mandate.version, "budget": float(mandate.budget)}
        await outbox.publish(
            connection, at=now, kind="mandate.raised", subject=mandate.id, owner=mandate.agent, payload=told
        )
        details = {"claims": payload(mandate), "before": payload(found.mandate)}
        await commitment.begin(connection, action="mandate.raise", subject=mandate.id, details=details)
    return await _shown(ctx, mandate.id)


@capability("DELETE /mandates/{mandate_id}", scope=SCOPE, effect="write", doors=HTTP_DOOR)
async def revoke_mandate(ctx: Context, request: RevokeMandate) -> MandateView:
    """Revoke a mandate for good; what runs under it goes on or ends as it says, or as you say."""
    from market import mandate_register

    commitment = intent_of(ctx)
    market = ctx.market
    if commitment.subject is not None:
        return await _shown(ctx, commitment.subject)
    store, now = await market.store(), market.clock.now()
    async with store.write() as connection:
        applied = await mandate_register.revoke(
            connection, market.settings, request.mandate_id, now, policy=request.on_revocation
        )
        if applied is None:
            raise Conflict(f"The mandate `{request.mandate_id}` was revoked already.")
        await commitment.begin(
            connection, action="mandate.revoke", subject=request.mandate_id, details={"policy": applied}
        )
    return await _shown(ctx, request.mandate_id)


async def _shown(ctx: Context, mandate_id: str) -> MandateView:
    from market import mandate_register

    found = await mandate_register.entry(await ctx.market.store(), ctx.market.settings, mandate_id)
    return view(found, ctx.market.clock.now(), with_token=True)


async def _check_names(ctx: Context, request: CreateMandate) -> None:
    """Raise ValidationFailed, with the nearest names, for a GPU, provider, region or currency that means nothing."""
    from market import gpus, regions
    from market.money import exchange_rates

    snapshot = await ctx.market.snapshot()
    for word in request.gpus:
        if not gpus.matching(word):
            raise _unknown("gpus", word, gpus.nearest(word))
    adapters, broken = await asyncio.to_thread(_adapters)
    providers = {*snapshot.providers, *adapters, *(one.name for one in broken)}
    for word in request.providers:
        if word not in providers:
            raise _unknown("providers", word, _near(word, sorted(providers)))
    for word in request.regions:
        # the sandbox has regions of its own, which the catalogue need not list
        if not snapshot.knows_region(word) and set(request.providers) != {"sandbox"}:
            raise _unknown("regions", word, regions.nearest(word))
    currencies = ["USD", *exchange_rates()]
    for word in request.currencies:
        if word not in currencies:
            raise _unknown(
                "currencies", word, [name.upper() for name in _near(word, [name.lower() for name in currencies])]
            )


def _adapters() -> tuple[dict[str, type[Adapter]], tuple[Broken, ...]]:
    """Every provider there is; importing them all takes a while."""
    from adapters import discover

    return discover()


def _near(word: str, names: list[str]) -> list[str]:
    from tools.search import near

    return near(word, names)


def _unknown(field: str, word: str, nearest: list[str]) -> ValidationFailed:
    from market.offers import clean_text

    close = ", ".join(f"`{name}`" for name in nearest)
    return ValidationFailed(
        f"`{field}`: nothing is called `{clean_text(word, 60)}`.",
        next_step=f"Nearest: {close}." if close else _LEFT_OUT.get(field, "Leave it out to allow any."),
        details={"field": field, "nearest": nearest},
    )


def _mandate(ctx: Context, request: CreateMandate, key: AgentKey | None, now: datetime) -> Mandate:
    from market import mandate_register
    from market.mandates import AmountRange, Mandate, Recurrence
    from market.signing import OwnerKey

    objection = None if key is None else key.objection(now)
    if objection:
        raise Conflict(objection, next_step="Make the agent a new key with `gpubroker keys create`.")
    start = now.replace(microsecond=0)
    within, often, begins = request.amount_range, request.recurrence, request.not_before
    words: dict[str, Any] = {
        name: frozenset(getattr(request, name)) for name in ("providers", "regions", "gpus", "tags", "currencies")
    }
    mandate = Mandate(
        id=mandate_register.new_id(),
        principal=ctx.caller.identity,
        agent=LOCAL_OWNER.identity if key is None else key.id,
        thumbprint=OwnerKey.of(ctx.market.settings, make=True).thumbprint if key is None else key.thumbprint,
        version=1,
        issued_at=start,
        expires_at=_end(request.expires_in_days, request.expires_at, start),
        not_before=begins.replace(microsecond=0) if begins is not None and begins > now else None,
        amount_range=None if within is None else AmountRange(min=within.min, max=within.max),
        recurrence=None if often is None else Recurrence(every=often.every, max_bookings=often.max_bookings),
        pricing=frozenset(request.pricing),
        on_revocation=request.on_revocation,
        failover=request.failover,
        allow_unverified=request.allow_unverified,
        **words,
        **{name: getattr(request, name) for name in _PLAIN_LIMITS},
    )
    _check_times(mandate, now)
    return mandate


def _raised(before: Mandate, request: RaiseMandate, now: datetime) -> Mandate:
    """The next version: what the request names is changed, all else stays."""
    from market.mandates import AmountRange

    changes: dict[str, Any] = {name: value for name in _PLAIN_LIMITS if (value := getattr(request, name)) is not None}
    if request.max_amount is not None:
        within = before.amount_range or AmountRange()
        if within.min is not None and within.min > request.max_amount:
            raise ValidationFailed(f"`max_amount` is below the least amount, {within.min}.", next_step="Raise it.")
        changes["amount_range"] = replace(within, max=request.max_amount)
    start = now.replace(microsecond=0)
    if request.expires_in_days is not None or request.expires_at is not None:
        changes["expires_at"] = _end(request.expires_in_days, request.expires_at, start)
    if not changes:
        raise ValidationFailed("Nothing is to be changed.", next_step="Name a new limit, such as `budget`.")
    mandate = replace(before, **changes, version=before.version + 1, issued_at=start)
    _check_times(mandate, now)
    return mandate


def _end(days: float | None, at: datetime | None, start: datetime) -> datetime:
    if days is not None and at is not None:
        raise ValidationFailed("`expires_at` and `expires_in_days` say the same.", next_step="Give one of them.")
    if at is not None:
        return at.replace(microsecond=0)
    return start + (DEFAULT_LIFETIME if days is None else timedelta(seconds=round(days * 86_400)))


def _check_times(mandate: Mandate, now: datetime) -> None:
    if mandate.expires_at <= now:
        raise ValidationFailed("`expires_at` lies in the past.", next_step="Give a time to come.")
    if mandate.expires_at - now > LONGEST_LIFETIME:
        raise ValidationFailed(
            f"`expires_at` is more than {LONGEST_LIFETIME.days} days away.",
            next_step="Sign a shorter one; raise it later.",
        )
    if mandate.not_before is not None and mandate.not_before >= mandate.expires_at:
        raise ValidationFailed("`not_before` is not before `expires_at`.", next_step="Correct one of them.")
