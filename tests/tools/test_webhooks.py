"""Webhooks are made, shown, given another secret and deleted by who owns them; no wrong address gets in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from market.context import Caller, Context, Market
from market.errors import BrokerError, NotFound, ValidationFailed
from market.settings import Settings
from market.webhook_signature import HEADER, verify_signature
from tests.conftest import ManualClock
from tests.tools.conftest import ask
from tests.tools.receivers import HOOK, Receivers, delivered, happens, hook
from tools.capability import capabilities
from tools.delivery import Courier, queue_events


@pytest.fixture
def receivers() -> Receivers:
    return Receivers()


@pytest.fixture
def courier(market: Market, receivers: Receivers, clock: ManualClock) -> Courier:
    start = clock.now()
    return Courier(
        market, callout=receivers, monotonic=lambda: (clock.now() - start).total_seconds(), jitter=lambda: 1.0
    )


async def test_a_deleted_webhook_is_called_no_more_and_a_strangers_is_not_there(
    market: Market, courier: Courier, receivers: Receivers
) -> None:
    made = await hook(market)
    stranger = Context(market, Caller("stranger", frozenset({"*"}), agent_key_id="key-2"))
    for name in ("delete_webhook", "list_deliveries", "rotate_webhook_secret"):
        with pytest.raises(NotFound):
            await capabilities()[name].call(stranger, {"webhook_id": made.id})
    await happens(market)
    await queue_events(market)
    await ask(market, "delete_webhook", webhook_id=made.id)
    assert await delivered(market, courier) == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.8/",
        "https://2130706433/",
        "https://user:pw@hooks.example/",
        "https://hooks.example:22/",
        "ftp://hooks.example/",
        "https://",
        "hooks.example",
        "",
    ],
)
async def test_an_address_we_do_not_call_is_refused_when_it_is_given(market: Market, url: str) -> None:
    with pytest.raises(ValidationFailed, match="url"):
        await hook(market, url)


@pytest.mark.parametrize("events", [[], ["everything"], ["booking.*.x"], ["Booking.active"], ["*"] * 31])
async def test_kinds_that_do_not_exist_in_form_are_refused(market: Market, events: list[str]) -> None:
    with pytest.raises(BrokerError):
        await hook(market, events=events)


async def test_loopback_is_for_those_who_switch_it_on(market: Market) -> None:
    open_market = Market(
        Settings(data_dir=market.settings.data_dir, webhook_loopback=True), clock=market.clock, version_check_seconds=0
    )
    try:
        assert (await hook(open_market, "http://127.0.0.1:9/x")).url == "http://127.0.0.1:9/x"
    finally:
        await open_market.close()


async def again_with_its_key(market: Market, monkeypatch: pytest.MonkeyPatch, name: str, **arguments: Any) -> Any:
    """A call whose process dies after its transaction, and the same call with the same key once that is noticed."""
    ctx = Context(market, idempotency_key="the same")
    with monkeypatch.context() as patch:
        patch.setattr("market.commitment.Commitment.done", _dies)
        patch.setattr("market.commitment.Commitment.failed", _nothing)
        with pytest.raises(BrokerError):
            await capabilities()[name].call(ctx, arguments)
    assert isinstance(market.clock, ManualClock)
    market.clock.advance(timedelta(minutes=2))
    return await capabilities()[name].call(ctx, arguments)


async def _dies(*_arguments: object) -> None:
    raise MemoryError


async def _nothing(*_arguments: object) -> None:
    return None


async def test_a_repeated_creation_makes_one_webhook_whose_secret_is_the_one_shown(
    market: Market, courier: Courier, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await again_with_its_key(market, monkeypatch, "create_webhook", url=HOOK)
    assert [one.id for one in (await ask(market, "list_webhooks")).items] == [made.id]
    await happens(market)
    await delivered(market, courier)
    ((_, body, headers),) = receivers.calls
    assert verify_signature(made.secret, headers[HEADER], body, market.clock.now())


async def test_a_repeated_rotation_keeps_the_secret_the_receiver_still_uses(
    market: Market, courier: Courier, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await hook(market)
    new = await again_with_its_key(market, monkeypatch, "rotate_webhook_secret", webhook_id=old.id)
    await happens(market)
    await delivered(market, courier)
    _, body, headers = receivers.calls[-1]
    assert verify_signature(new.secret, headers[HEADER], body, market.clock.now())
    assert verify_signature(old.secret, headers[HEADER], body, market.clock.now())
