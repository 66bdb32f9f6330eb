"""Webhooks: addresses that are called about what happens, and the address at which providers call us."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field, WithJsonSchema

from market.context import Context
from market.errors import Conflict, NotFound, ValidationFailed
from tools.capability import Door, Request, Result, capability, intent_of
from tools.offer_view import Moment

if TYPE_CHECKING:
    from market.webhook_book import Delivery, Webhook

READ, WRITE, CALLBACK = "webhooks:read", "webhooks:write", "callbacks:write"
MOST_OF_OWNER = 1_000
OVERLAP = timedelta(hours=24)
"""So long a replaced secret signs beside the new one, unless said."""
_HTTP: frozenset[Door] = frozenset({"http"})
_ID = Field(max_length=40)

Pattern = Annotated[str, Field(max_length=60, pattern=r"^(\*|[a-z_]+\.(\*|[a-z_]+))$")]


class CreateWebhook(Request):
    """Where to call, and about what."""

    url: str = Field(max_length=2_000, description="Public https address.")
    events: list[Pattern] = Field(
        default_factory=lambda: ["*"],
        min_length=1,
        max_length=30,
        description="Kinds such as `booking.active`, groups such as `alert.*`, or `*` for all that concern you.",
    )


class WebhookView(Result):
    """One webhook. `secret` is shown when it is made, and never again."""

    id: str
    url: str
    events: list[str]
    created_at: Moment
    failures: int = Field(description="Calls that failed since one arrived.")
    disabled_at: Moment | None = None
    disabled_reason: str | None = None
    secret: str | None = Field(default=None, description="Signs every call: see `GPUBroker-Signature`.")
    previous_secret_until: Moment | None = Field(default=None, description="Until then the replaced one signs too.")


class ListWebhooks(Request):
    """No arguments."""


class Webhooks(Result):
    """All of them, the oldest first."""

    items: list[WebhookView]


class OneWebhook(Request):
    """Which."""

    webhook_id: str = _ID


class Removed(Result):
    """What is gone."""

    deleted: str


class ListDeliveries(Request):
    """Of which webhook."""

    webhook_id: str = _ID
    limit: int = Field(default=20, ge=1, le=100)


class DeliveryView(Result):
    """One event on its way: `waiting`, `delivered` or `given_up`."""

    id: str
    event_id: int
    kind: str
    state: str
    attempts: int
    response_status: int | None = None
    error: str | None = None
    created_at: Moment
    next_attempt_at: Moment | None = None
    delivered_at: Moment | None = None


class Deliveries(Result):
    """The newest first."""

    items: list[DeliveryView]


class Replay(Request):
    """What to deliver again: one delivery, or every event since a moment."""

    webhook_id: str = _ID
    delivery_id: str | None = Field(default=None, max_length=40)
    since: Annotated[datetime, WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40})] | None = None


class Replayed(Result):
    """How many were queued."""

    queued: int


class Rotate(Request):
    """How long the old secret signs beside the new one."""

    webhook_id: str = _ID
    overlap_hours: float = Field(default=OVERLAP / timedelta(hours=1), ge=0, le=168)


class ReceiveCallback(Request):
    """What a provider says happened. It is only a reason to look: nothing of it is believed."""

    provider: str = Field(max_length=60)
    event_id: str = Field(min_length=1, max_length=200, validation_alias=AliasChoices("event_id", "id", "eventId"))
    instance_id: str = Field(
        min_length=1, max_length=200, validation_alias=AliasChoices("instance_id", "instance", "instanceId")
    )
    kind: str = Field(default="", max_length=200, validation_alias=AliasChoices("kind", "type", "event"))
    data: Annotated[
        Any,
        AfterValidator(lambda value: _bounded(value)),
        WithJsonSchema({"type": "object", "description": "Anything; not read."}),
    ] = None


class CallbackTaken(Result):
    """What it has led to."""

    effect: Literal["checking", "duplicate", "none"] = Field(
        description="`none`: we know no such machine that is still ours."
    )


@capability("POST /webhooks", scope=WRITE, effect="write", doors=_HTTP)
async def create_webhook(ctx: Context, request: CreateWebhook) -> WebhookView:
    """Be called, signed, at an https address about what happens; the secret is shown this once."""
    from adapters.callout import check_webhook_address
    from market import webhook_book
    from market.sealing import Sealer
    from market.webhook_signature import new_secret

    settings = ctx.market.settings
    url = check_webhook_address(request.url, allow_loopback=settings.webhook_loopback)
    store, owner, secret = await ctx.market.store(), ctx.caller.identity, new_secret()
    if len(await webhook_book.of_owner(store, owner)) >= MOST_OF_OWNER:
        raise Conflict(f"You have {MOST_OF_OWNER:,} webhooks already.", next_step="Delete some first.")
    webhook = webhook_book.Webhook(
        id=webhook_book.new_webhook_id(),
        owner=owner,
        url=url,
        sealed_secret=Sealer.of(settings).encrypt(secret),
        events=tuple(dict.fromkeys(request.events)),
        created_at=ctx.market.clock.now(),
    )
    commitment = intent_of(ctx)
    async with store.write() as connection:
        if commitment.subject is not None:
            # An earlier call with this key died before its secret was seen.
            await webhook_book.remove(connection, owner, commitment.subject)
        await webhook_book.add(connection, webhook)
        await commitment.begin(
            connection, action="create_webhook", subject=webhook.id, details={"events": list(webhook.events)}
        )
    return _view(webhook, ctx).model_copy(update={"secret": secret})


@capability("GET /webhooks", scope=READ, effect="read", doors=_HTTP)
async def list_webhooks(ctx: Context, _request: ListWebhooks) -> Webhooks:
    """Your webhooks."""
    from market import webhook_book

    found = await webhook_book.of_owner(await ctx.market.store(), ctx.caller.identity)
    return Webhooks(items=[_view(one, ctx) for one in found])


@capability("DELETE /webhooks/{webhook_id}", scope=WRITE, effect="write", doors=_HTTP)
async def delete_webhook(ctx: Context, request: OneWebhook) -> Removed:
    """Delete a webhook with all that waits for it."""
    from market import webhook_book

    commitment = intent_of(ctx)
    if commitment.subject is not None:
        return Removed(deleted=commitment.subject)
    store = await ctx.market.store()
    async with store.write() as connection:
        if not await webhook_book.remove(connection, ctx.caller.identity, request.webhook_id):
            raise _no_such_webhook()
        await commitment.begin(connection, action="delete_webhook", subject=request.webhook_id, details={})
    return Removed(deleted=request.webhook_id)


@capability("GET /webhooks/{webhook_id}/deliveries", scope=READ, effect="read", doors=_HTTP)
async def list_deliveries(ctx: Context, request: ListDeliveries) -> Deliveries:
    """What was sent to a webhook, and what waits to be."""
    from market import webhook_book

    await _mine(ctx, request.webhook_id)
    found = await webhook_book.deliveries_of(await ctx.market.store(), request.webhook_id, limit=request.limit)
    return Deliveries(items=[_delivery_view(one) for one in found])


@capability("POST /webhooks/{webhook_id}/replay", scope=WRITE, effect="write", doors=_HTTP)
async def replay_deliveries(ctx: Context, request: Replay) -> Replayed:
    """Deliver again, with the same event ids; a disabled webhook is enabled by it."""
    from market import webhook_book

    if (request.delivery_id is None) == (request.since is None):
        raise ValidationFailed("One of `delivery_id` and `since` is needed.", next_step="Give exactly one of them.")
    since = request.since
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    await _mine(ctx, request.webhook_id)
    store, now = await ctx.market.store(), ctx.market.clock.now()
    async with store.write() as connection:
        queued = await webhook_book.replay(
            connection, request.webhook_id, now, delivery_id=request.delivery_id, since=since
        )
        if request.delivery_id is not None and not queued:
            raise NotFound(
                "This webhook has no such delivery.", next_step="`GET /webhooks/{webhook_id}/deliveries` shows them."
            )
        await intent_of(ctx).begin(
            connection, action="replay_deliveries", subject=request.webhook_id, details={"queued": queued}
        )
    return Replayed(queued=queued)


@capability("POST /webhooks/{webhook_id}/rotate", scope=WRITE, effect="write", doors=_HTTP)
async def rotate_webhook_secret(ctx: Context, request: Rotate) -> WebhookView:
    """Replace a webhook's secret; for a while both sign, so that the receiver can change over."""
    from market import webhook_book
    from market.sealing import Sealer
    from market.webhook_signature import new_secret

    webhook = await _mine(ctx, request.webhook_id)
    sealer, secret = Sealer.of(ctx.market.settings), new_secret()
    until = ctx.market.clock.now() + timedelta(hours=request.overlap_hours)
    sealed, sealed_previous = sealer.encrypt(secret), webhook.sealed_previous_secret
    commitment = intent_of(ctx)
    if commitment.subject is None:
        # Else an earlier call with this key died: the present secret was never seen, the one before it is in use.
        sealed_previous = sealer.encrypt(json.dumps([until.isoformat(), sealer.decrypt(webhook.sealed_secret)]))
    store = await ctx.market.store()
    async with store.write() as connection:
        if not await webhook_book.rotate(
            connection, webhook.owner, webhook.id, sealed_secret=sealed, sealed_previous_secret=sealed_previous
        ):
            raise _no_such_webhook()
        await commitment.begin(connection, action="rotate_webhook_secret", subject=webhook.id, details={})
    return _view(await _mine(ctx, webhook.id), ctx).model_copy(update={"secret": secret})


@capability("POST /callbacks/{provider}", scope=CALLBACK, effect="write", doors=_HTTP)
async def receive_callback(ctx: Context, request: ReceiveCallback) -> CallbackTaken:
    """A provider tells of a machine: its state is asked for at once, and only that answer counts."""
    from market import webhook_book
    from tools.providers import known

    known(request.provider)
    body_hash = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    store, now = await ctx.market.store(), ctx.market.clock.now()
    async with store.write() as connection:
        booking_id = await webhook_book.booking_at(connection, request.provider, request.instance_id)
        if booking_id is None:
            # Nothing is kept of it: whoever can reach us must not be able to fill the disk.
            return CallbackTaken(effect="none")
        first = await webhook_book.look_soon(connection, request.provider, request.event_id, body_hash, booking_id, now)
        if not first:
            return CallbackTaken(effect="duplicate")
        await intent_of(ctx).begin(
            connection, action="receive_callback", subject=booking_id, details={"provider": request.provider}
        )
    return CallbackTaken(effect="checking")


def secrets_of(webhook: Webhook, ctx_settings: Any, now: datetime) -> list[str]:
    """The secrets that sign now: the present one, and the replaced one for as long as it may.

    Raises ValueError when they were sealed with another key.
    """
    from market.sealing import Sealer

    sealer = Sealer.of(ctx_settings)
    found = [sealer.decrypt(webhook.sealed_secret)]
    if webhook.sealed_previous_secret is not None:
        until, previous = json.loads(sealer.decrypt(webhook.sealed_previous_secret))
        if now < datetime.fromisoformat(until):
            found.append(previous)
    return found


def _bounded(value: Any) -> Any:
    if len(json.dumps(value, default=str)) > 16_000:
        raise ValueError("must have at most 16,000 characters")
    return value


async def _mine(ctx: Context, webhook_id: str) -> Webhook:
    from market import webhook_book

    found = await webhook_book.of_owner(await ctx.market.store(), ctx.caller.identity, webhook_id)
    if not found:
        raise _no_such_webhook()
    return found[0]


def _no_such_webhook() -> NotFound:
    return NotFound("No such webhook of yours.", next_step="`GET /webhooks` shows them.")


def _view(webhook: Webhook, ctx: Context) -> WebhookView:
    from market.sealing import Sealer

    until: datetime | None = None
    if webhook.sealed_previous_secret is not None:
        until = datetime.fromisoformat(
            json.loads(Sealer.of(ctx.market.settings).decrypt(webhook.sealed_previous_secret))[0]
        )
    return WebhookView(
        id=webhook.id,
        url=webhook.url,
        events=list(webhook.events),
        created_at=webhook.created_at,
        failures=webhook.failures,
        disabled_at=webhook.disabled_at,
        disabled_reason=webhook.disabled_reason,
        previous_secret_until=until if until is not None and until > ctx.market.clock.now() else None,
    )


def _delivery_view(one: Delivery) -> DeliveryView:
    return DeliveryView(**{name: getattr(one, name) for name in DeliveryView.model_fields})
