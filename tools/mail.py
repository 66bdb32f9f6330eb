"""Mail about what a person should know: approvals, bookings, alerts. Plain text, over SMTP, when it is configured.

Read from the outbox one event at a time, so that each is sent at least once; what cannot be sent for three days is
left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from market.context import Market
from market.offers import clean_text

if TYPE_CHECKING:
    from email.message import EmailMessage

    from market.outbox import Event
    from market.settings import Settings

log = logging.getLogger("gpubroker.mail")

CONSUMER = "mail"
TOLD: Mapping[str, str] = {
    "approval.requested": "Your approval is needed",
    "booking.active": "Booking is running",
    "booking.extended": "Booking is extended",
    "booking.warning": "Booking ends soon",
    "booking.terminated": "Booking has ended",
    "booking.failed": "Booking has failed",
    "booking.compensated": "Booking was undone",
    "booking.stuck": "BOOKING IS STUCK and may still cost money",
    "alert.fired": "Alert",
    "alert.booked": "Limit order has booked",
    "alert.waiting": "Limit order waits for your approval",
    "alert.refused": "Limit order was refused",
    "webhook.disabled": "Webhook is disabled",
}
"""What is told by mail, and under which subject."""
GIVEN_UP_AFTER = timedelta(days=3)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
_SMTP_SECONDS = 20.0
_NEVER_SHOWN = ("secret", "token", "password", "environment", "script", "authorization", "signature", "private")


class Postman:
    """Sends the mail of one process; remembers when to try again."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._again_at: datetime | None = None
        self._wait = _FIRST_WAIT

    async def round(self) -> int:
        """Send what there is to tell; how many mails went out. A server that is down is asked again later."""
        from market import outbox

        now, settings = self._market.clock.now(), self._market.settings
        if self._again_at is not None and now < self._again_at:
            return 0
        store, sent = await self._market.store(), 0
        for event in await outbox.read_after(store, CONSUMER):
            if is_configured(settings) and event.kind in TOLD and now - event.at < GIVEN_UP_AFTER:
                problem = await self._sent(await self._letter(event))
                if problem is not None:
                    log.warning("mail waits %s: %s", self._wait, problem)
                    self._again_at, self._wait = now + self._wait, min(self._wait * 2, _LONGEST_WAIT)
                    return sent
                sent += 1
            # One at a time: a crash then repeats one mail, not many.
            await outbox.advance(store, CONSUMER, event.position)
        self._again_at, self._wait = None, _FIRST_WAIT
        return sent

    async def _letter(self, event: Event) -> EmailMessage:
        link = ""
        if event.kind == "approval.requested":
            from market import approvals

            approval = await approvals.find(await self._market.store(), self._market.settings, event.subject)
            link = "" if approval is None else await approvals.link(self._market.settings, approval)
        return letter(event, self._market.settings, link)

    async def _sent(self, message: EmailMessage) -> str | None:
        """None when the server has taken it, else what was wrong, without its address or password."""
        import smtplib

        try:
            await asyncio.to_thread(_send, self._market.settings.smtp_url, message)
        except smtplib.SMTPResponseException as problem:
            return f"the mail server refuses (code {problem.smtp_code})"
        except (smtplib.SMTPException, OSError, ValueError) as problem:
            return f"the mail server cannot be used ({type(problem).__name__})"
        return None


def is_configured(settings: Settings) -> bool:
    """Whether mail can be sent at all."""
    return bool(settings.smtp_url and settings.mail_from and settings.mail_to)


def letter(event: Event, settings: Settings, link: str = "") -> EmailMessage:
    """The mail about one event: its facts as lines of text, never a secret."""
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"], message["To"] = settings.mail_from, settings.mail_to
    message["Subject"] = clean_text(f"GPUBroker: {TOLD.get(event.kind, event.kind)} ({event.subject})", 150)
    message["Message-ID"] = f"<event-{event.id}@gpubroker.invalid>"
    message["Date"] = event.at
    lines = [f"{TOLD.get(event.kind, event.kind)}: {clean_text(event.subject, 120)}", ""]
    lines += [f"{name.replace('_', ' ')}: {_shown(value)}" for name, value in event.payload.items() if _harmless(name)]
    if link:
        lines += ["", "Decide here:", link]
    lines += ["", f"At {event.at:%Y-%m-%d %H:%M} UTC, event {event.id}."]
    message.set_content("\n".join(lines))
    return message


def _harmless(name: str) -> bool:
    return not any(word in name.lower() for word in _NEVER_SHOWN)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        inner = [f"{name} {_shown(one)}" for name, one in value.items() if _harmless(str(name))]
        return clean_text("; ".join(inner), 500)
    if isinstance(value, list):
        return clean_text(", ".join(_shown(one) for one in value[:10]), 500)
    return clean_text(str(value), 500)


def _send(url: str, message: EmailMessage) -> None:
    """Hand one mail to the server; blocks. A password goes over TLS only, except to this machine."""
    import smtplib
    import ssl
    from urllib.parse import unquote, urlsplit

    at = urlsplit(url)
    if at.scheme not in ("smtp", "smtps") or not at.hostname:
        raise ValueError("not an SMTP address")
    context = ssl.create_default_context()
    if at.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(at.hostname, at.port or 465, timeout=_SMTP_SECONDS, context=context)
    else:
        server = smtplib.SMTP(at.hostname, at.port or 587, timeout=_SMTP_SECONDS)
    with server:
        server.ehlo()
        if at.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
        elif at.scheme == "smtp" and at.username and at.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("the server offers no TLS, and a password is not sent without")
        if at.username:
            server.login(unquote(at.username), unquote(at.password or ""))
        server.send_message(message)
