"""Calls to addresses that users give (webhooks): public https only, no redirects, the name pinned to what was judged.

Nothing of the answer but its status is read. Over http and to this machine only when the settings say so.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import httpcore
import httpx

from adapters.egress import EgressGuard, GuardedNetwork, GuardedTransport, literal_address
from market.errors import ProviderFailed, ProviderRefused, ValidationFailed

MOST_CONNECTIONS = 50
_PORTS_BELOW_1024 = (443,)
_UNREACHABLE = (httpx.TransportError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


class Callout:
    """One process's way out to webhooks. Raises in our own words only; the answer's text is never read."""

    def __init__(self, *, allow_loopback: bool = False, network: GuardedNetwork | None = None) -> None:
        self.guard = EgressGuard("webhook", None, allow_loopback=allow_loopback)
        self._http = httpx.AsyncClient(
            transport=GuardedTransport(self.guard, connections=MOST_CONNECTIONS, network=network),
            follow_redirects=False,
            trust_env=False,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> int:
        """Send a body, and the status of the answer, a redirect's too.

        Raises ProviderRefused for an address we do not go to, ProviderFailed when nobody answers in time.
        """
        target = checked_address(url, self.guard)
        request = self._http.build_request("POST", target, content=body, headers=dict(headers))
        try:
            with anyio.fail_after(timeout_seconds):
                response = await self._http.send(request, stream=True)
                await response.aclose()
        except (TimeoutError, *_UNREACHABLE) as problem:
            what = "did not answer in time" if _is_slow(problem) else "cannot be reached"
            raise ProviderFailed(f"The webhook's host {what}.", next_step="It is tried again.") from None
        return response.status_code

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()


def checked_address(url: str, guard: EgressGuard) -> httpx.URL:
    """The address, when it is one we would call. Raises ProviderRefused; what its name resolves to is judged later."""
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise _refused("cannot be read") from None
    if not target.host:
        raise _refused("names no host")
    guard.check(target)
    loopback = target.host == "localhost" or ((at := literal_address(target.host)) is not None and at.is_loopback)
    port = target.port or 443
    if not loopback and port < 1024 and port not in _PORTS_BELOW_1024:
        raise _refused("has a port that is another service's")
    return target


def check_webhook_address(url: str, *, allow_loopback: bool = False) -> str:
    """The address as it will be called. Raises ValidationFailed with what would be right."""
    try:
        return str(checked_address(url, EgressGuard("webhook", None, allow_loopback=allow_loopback)))
    except ProviderRefused as refusal:
        raise ValidationFailed(
            f"`url`: {refusal.message}", next_step="Give a public https address, on port 443 or above 1023."
        ) from None


def host_of(url: str) -> str:
    """Host and port: what connections, breakers and bounds are counted by."""
    target = httpx.URL(url)
    return f"{target.host}:{target.port or (443 if target.scheme == 'https' else 80)}"


def _is_slow(problem: BaseException) -> bool:
    return isinstance(problem, TimeoutError | httpx.TimeoutException | httpcore.TimeoutException)


def _refused(what: str) -> ProviderRefused:
    return ProviderRefused(f"The address {what}.", next_step="Change it.")
