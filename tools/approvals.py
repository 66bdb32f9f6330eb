"""Approvals for the people who decide them: what waits, what exactly is asked, yes or no.

An agent that shows its key decides nothing, whatever its scopes; nor does it see what others have asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import NotAllowed, NotFound
from market.money import Money
from tools.capability import Request, Result, capability
from tools.math_door import HTTP_ONLY
from tools.offer_view import Moment, Number
from tools.quote import QuotedLine, shown_line

if TYPE_CHECKING:
    from market.approval_states import Approval, Via
    from market.quote_book import Leg, Quote

DECIDE = "approvals:decide"


class ApprovalFilter(Request):
    """Which approvals."""

    state: Literal["waiting", "all"] = "waiting"
    limit: int = Field(default=50, ge=1, le=100)


class ApprovalNamed(Request):
    """Which approval."""

    approval_id: str = Field(
        min_length=1, max_length=60, validation_alias=AliasChoices("approval_id", "id"), description="Approval id."
    )


class ApprovalDecision(ApprovalNamed):
    """Which approval, yes or no."""

    approved: bool = Field(validation_alias=AliasChoices("approved", "approve"))


class ApprovalLine(Result):
    """One question and its answer. `amount` is the most that may be spent on it, in US dollars."""

    id: str
    state: Literal["waiting", "approved", "declined", "expired", "used"]
    summary: str
    amount: Money
    subject: str = Field(description="The quote, or the change of a booking, it is about.")
    caller: str = Field(description="Who asks: an agent key, or the local owner.")
    mandate_id: str
    requested_at: Moment
    expires_at: Moment
    decided_at: Moment | None = None
    decided_by: str | None = None
    decided_via: str | None = None


class ApprovalPage(Result):
    """Those that wait, the oldest first; or all, the newest first."""

    items: list[ApprovalLine]


class ApprovedLeg(Result):
    """One offer that may be booked with it."""

    offer_id: str
    provider: str
    region: str
    pricing: str
    gpu: str | None = None
    gpu_count: int
    price_per_hour: Money = Field(description="US dollars, of one machine.")
    worst_total: Money


class ApprovalSheet(ApprovalLine):
    """One question in full: exactly what is bought when it is approved."""

    mandate_remaining: Money | None = Field(default=None, description="What is left of the mandate's budget.")
    machines: int | None = None
    duration_hours: Number | None = None
    disk_gb: Number | None = None
    expected_total: Money | None = None
    legs: list[ApprovedLeg] | None = Field(default=None, description="In the order they are tried; one is bought.")
    lines: list[QuotedLine] | None = Field(default=None, description="Of the first.")
    assumptions: list[str] | None = None


@capability("GET /approvals", scope=DECIDE, effect="read", doors=HTTP_ONLY)
async def list_approvals(ctx: Context, query: ApprovalFilter) -> ApprovalPage:
    """Approvals that wait for a person, or all of them."""
    from market import approvals

    people_only(ctx)
    store, now = await ctx.market.store(), ctx.market.clock.now()
    found = await approvals.listed(
        store, ctx.market.settings, now=now, waiting=query.state == "waiting", limit=query.limit
    )
    return ApprovalPage(items=[ApprovalLine(**_facts(one, ctx)) for one in found])


@capability("GET /approvals/{approval_id}", scope=DECIDE, effect="read", doors=HTTP_ONLY)
async def get_approval(ctx: Context, query: ApprovalNamed) -> ApprovalSheet:
    """One approval with exactly what it allows."""
    people_only(ctx)
    return await sheet(ctx, await existing(ctx, query.approval_id))


@capability("POST /approvals/{approval_id}/decision", scope=DECIDE, effect="write", doors=HTTP_ONLY)
async def decide_approval(ctx: Context, query: ApprovalDecision) -> ApprovalSheet:
    """Approve or decline, once and for all."""
    if ctx.commitment is not None and ctx.commitment.subject is not None:
        return await sheet(ctx, await existing(ctx, ctx.commitment.subject))
    return await decided(ctx, query.approval_id, approved=query.approved, via="api")


async def decided(ctx: Context, approval_id: str, *, approved: bool, via: Via) -> ApprovalSheet:
    """A person's answer, by whatever way. Raises NotFound, and Conflict when there is nothing to decide (any more)."""
    from market import approvals

    people_only(ctx)
    approval = await approvals.decide(
        await ctx.market.store(),
        ctx.market.settings,
        approval_id,
        approved=approved,
        by=ctx.caller.name,
        via=via,
        now=ctx.market.clock.now(),
        commitment=ctx.commitment,
    )
    return await sheet(ctx, approval)


async def linked(ctx: Context, approval_id: str, signature: str) -> Approval:
    """The approval a signed link leads to. Raises NotFound alike for a wrong id and a wrong signature."""
    from market import approvals

    people_only(ctx)
    approval = await approvals.find(await ctx.market.store(), ctx.market.settings, approval_id)
    if approval is None or not approvals.link_holds(ctx.market.settings, approval, signature):
        raise NotFound(
            "This link leads to no approval.",
            next_step="Open it exactly as it was given, or run `gpubroker approve list`.",
        )
    return approval


async def existing(ctx: Context, approval_id: str) -> Approval:
    """An approval by its id. Raises NotFound."""
    from market import approvals

    approval = await approvals.find(await ctx.market.store(), ctx.market.settings, approval_id)
    if approval is None:
        raise NotFound(
            "There is no such approval.",
            next_step="List those that wait with `gpubroker approve list`.",
            details={"approval_id": approval_id},
        )
    return approval


def people_only(ctx: Context) -> None:
    """Raises NotAllowed for an agent: it must not answer its own questions."""
    if ctx.caller.agent_key_id is not None:
        raise NotAllowed(
            "An agent's key cannot decide approvals.", next_step="Ask the person who owns this GPUBroker to decide."
        )


async def sheet(ctx: Context, approval: Approval) -> ApprovalSheet:
    """Everything a person should know before they decide."""
    from market import mandate_book, quote_book

    store = await ctx.market.store()
    try:
        remaining = (await mandate_book.standing(store, approval.mandate_id)).remaining
    except NotFound:
        remaining = None
    quote = await quote_book.find(store, ctx.market.settings, approval.subject)
    bought = {} if quote is None else _bought(quote)
    return ApprovalSheet(**_facts(approval, ctx), mandate_remaining=remaining, **bought)


def _facts(approval: Approval, ctx: Context) -> dict[str, Any]:
    names = ApprovalLine.model_fields.keys() - {"state"}
    facts: dict[str, Any] = {name: getattr(approval, name) for name in names}
    return {**facts, "state": approval.state(ctx.market.clock.now())}


def _bought(quote: Quote) -> dict[str, Any]:
    terms = quote.terms
    return {
        "machines": terms.instance_count,
        "duration_hours": terms.duration_hours,
        "disk_gb": terms.disk_gb,
        "expected_total": quote.expected_total,
        "legs": _legs(terms.legs),
        "lines": [shown_line(line) for line in terms.lines[0]],
        "assumptions": list(terms.assumptions),
    }


def _legs(legs: Sequence[Leg]) -> list[ApprovedLeg]:
    return [
        ApprovedLeg(
            offer_id=leg.offer_id,
            provider=leg.provider,
            region=leg.region,
            pricing=leg.pricing,
            gpu=leg.gpu,
            gpu_count=leg.gpu_count,
            price_per_hour=leg.price_per_hour_usd,
            worst_total=leg.worst_total_usd,
        )
        for leg in legs
    ]
