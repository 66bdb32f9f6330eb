"""Mail reaches a real SMTP server, says what happened, holds no secret, and waits while the server is down."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from market import approvals, outbox
from market.context import LOCAL_OWNER, Market
from market.settings import Settings
from tests.conftest import ManualClock
from tools.mail import Postman


class Mailbox:
    """The least an SMTP server can say; `refuses` answers every mail with that code."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.logins: list[bytes] = []
        self.refuses: int | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            word = line[:4].upper()
            if word == b"EHLO":
                writer.write(b"250-here\r\n250 AUTH PLAIN\r\n")
            elif word == b"AUTH":
                self.logins.append(line)
                writer.write(b"235 yes\r\n")
            elif word == b"DATA":
                writer.write(b"354 go on\r\n")
                text = await reader.readuntil(b"\r\n.\r\n")
                if self.refuses is None:
                    parsed = email.message_from_bytes(text[:-5], policy=email.policy.default)
                    assert isinstance(parsed, EmailMessage)
                    self.mails.append(parsed)
                writer.write(b"250 taken\r\n" if self.refuses is None else f"{self.refuses} no\r\n".encode())
            elif word == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 fine\r\n")
        writer.close()


@asynccontextmanager
async def mailbox() -> AsyncIterator[tuple[Mailbox, int]]:
    """A server on a free port of this machine."""
    box = Mailbox()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    try:
        yield box, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def posting(folder: Path, clock: ManualClock, port: int, **given: Any) -> AsyncIterator[Market]:
    """A market whose mail goes to that port."""
    named: dict[str, Any] = {
        "smtp_url": f"smtp://127.0.0.1:{port}",
        "mail_from": "broker@example.com",
        "mail_to": "me@example.com",
    }
    market = Market(Settings(data_dir=folder, **(named | given)), clock=clock, version_check_seconds=0)
    try:
        yield market
    finally:
        await market.close()


async def happens(market: Market, kind: str, subject: str = "b1", **payload: object) -> None:
    store = await market.store()
    async with store.write() as connection:
        await outbox.publish(
            connection, at=market.clock.now(), kind=kind, subject=subject, owner="local-owner", payload=payload
        )


async def test_a_booking_that_is_stuck_is_told_with_its_facts(tmp_path: Path, clock: ManualClock) -> None:
    async with mailbox() as (box, port), posting(tmp_path, clock, port) as market:
        await happens(market, "booking.stuck", "abc234", provider="sandbox", reason="it will not end", spent="1.50")
        await happens(market, "booking.pending")
        await happens(market, "prices.changed")
        postman = Postman(market)
        assert await postman.round() == 1
        assert await postman.round() == 0
    (mail,) = box.mails
    assert (mail["From"], mail["To"]) == ("broker@example.com", "me@example.com")
    assert "STUCK" in mail["Subject"]
    assert "abc234" in mail["Subject"]
    text = mail.get_content()
    assert "reason: it will not end" in text
    assert "spent: 1.50" in text


async def test_an_approval_comes_with_the_link_at_which_it_is_decided(tmp_path: Path, clock: ManualClock) -> None:
    async with mailbox() as (box, port), posting(tmp_path, clock, port) as market:
        store = await market.store()
        approval = await approvals.ask(
            store,
            market.settings,
            subject="quote-1",
            caller=LOCAL_OWNER,
            mandate_id="mandate-1",
            summary="1 machine for 2 hours",
            amount=Decimal(5),
            now=clock.now(),
        )
        await Postman(market).round()
        link = await approvals.link(market.settings, approval)
    (mail,) = box.mails
    assert link in mail.get_content().replace("\n", "")


async def test_nothing_secret_and_no_header_of_somebody_elses_is_sent(tmp_path: Path, clock: ManualClock) -> None:
    async with mailbox() as (box, port), posting(tmp_path, clock, port) as market:
        await happens(
            market,
            "alert.fired",
            "a1\r\nBcc: thief@example.com",
            what="x\r\n.\r\nMAIL FROM:<thief>",
            start_script="curl hunter2",
            nested={"api_token": "hunter2", "gpu": "H100"},
        )
        await Postman(market).round()
    (mail,) = box.mails
    assert mail["Bcc"] is None
    assert "hunter2" not in mail.as_string()
    assert "gpu H100" in mail.get_content()


async def test_mail_waits_for_a_server_that_is_down_and_comes_once(tmp_path: Path, clock: ManualClock) -> None:
    async with mailbox() as (box, port), posting(tmp_path, clock, port) as market:
        postman = Postman(market)
        box.refuses = 451
        await happens(market, "alert.fired")
        assert await postman.round() == 0
        box.refuses = None
        assert await postman.round() == 0, "it waits half a minute first"
        clock.advance(timedelta(seconds=30))
        assert await postman.round() == 1
        assert await postman.round() == 0
    assert len(box.mails) == 1


async def test_after_three_days_a_mail_is_left_out_and_the_next_is_sent(tmp_path: Path, clock: ManualClock) -> None:
    async with mailbox() as (box, port), posting(tmp_path, clock, port) as market:
        postman = Postman(market)
        box.refuses = 550
        await happens(market, "alert.fired", "old")
        await postman.round()
        clock.advance(timedelta(days=3))
        box.refuses = None
        await happens(market, "alert.fired", "new")
        assert await postman.round() == 1
    assert ["new" in mail["Subject"] for mail in box.mails] == [True]


async def test_without_a_mail_server_nothing_is_kept_for_later(tmp_path: Path, clock: ManualClock) -> None:
    async with mailbox() as (box, port):
        async with posting(tmp_path, clock, port, smtp_url="") as market:
            await happens(market, "alert.fired")
            assert await Postman(market).round() == 0
        async with posting(tmp_path, clock, port) as market:
            assert await Postman(market).round() == 0
    assert box.mails == []


async def test_a_password_is_used_and_never_logged(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with mailbox() as (box, port):
        url = f"smtp://me:hunter2@127.0.0.1:{port}"
        async with posting(tmp_path, clock, port, smtp_url=url) as market:
            await happens(market, "alert.fired")
            box.refuses = 550
            await Postman(market).round()
            assert "hunter2" not in repr(market.settings)
    assert len(box.logins) == 1
    assert "550" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "smtp://", "smtp://127.0.0.1:1", "nonsense"])
async def test_a_mail_server_that_cannot_be_used_holds_nothing_up(
    tmp_path: Path, clock: ManualClock, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with posting(tmp_path, clock, 1, smtp_url=url) as market:
        await happens(market, "alert.fired")
        assert await Postman(market).round() == 0
    assert "mail waits" in caplog.text
