"""How a webhook is signed, and how its receiver checks that: HMAC-SHA256 over the time and the body.

    GPUBroker-Signature: t=1767225600,v1=<hex>[,v1=<hex>]

Each `v1` is over `<t>.<body>` with one secret; while a secret is being replaced there are two, and one match is enough.
A receiver refuses what is older (or newer) than 300 seconds, so that a recorded call cannot be sent again later, and
keeps the event ids it has seen: deliveries come at least once, in no order.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

HEADER = "GPUBroker-Signature"
TOLERANCE_SECONDS = 300
PREFIX = "whsec_"
"""How a secret begins, so that one is known when it is seen where it should not be."""


def new_secret() -> str:
    """A secret of 256 bits, as text."""
    return PREFIX + secrets.token_urlsafe(32)


def signature(signing_secrets: Iterable[str], body: bytes, at: datetime) -> str:
    """The header for a body sent at this moment, one signature for each secret."""
    stamp = int(at.timestamp())
    return ",".join([f"t={stamp}", *(f"v1={_mac(secret, stamp, body)}" for secret in signing_secrets)])


def verify_signature(
    secret: str, header: str, body: bytes, now: datetime, tolerance_seconds: int = TOLERANCE_SECONDS
) -> bool:
    """Whether the body was signed with this secret within the tolerance; compares in constant time."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    stamps = [value for name, _, value in pairs if name == "t"]
    if len(stamps) != 1 or not (stamps[0].isascii() and stamps[0].isdigit()) or len(stamps[0]) > 12:
        return False
    stamp = int(stamps[0])
    if abs(now.timestamp() - stamp) > tolerance_seconds:
        return False
    expected = _mac(secret, stamp, body).encode()
    given = [value.encode("utf-8", "replace") for name, _, value in pairs if name == "v1"]
    return any(hmac.compare_digest(expected, one) for one in given)


def _mac(secret: str, stamp: int, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
