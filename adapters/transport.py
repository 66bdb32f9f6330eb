"""The way to a provider: every adapter asks through a `ProviderClient`, which keeps all of them safe and polite.

Per provider: a deadline over all tries, a cap on what is read, retries with back-off and full jitter, a circuit
breaker, a rate and a number of calls at once, an egress guard on every hop, and secrets kept out of every message.
Numbers with a point arrive as exact Decimals. Whatever goes wrong is a ProviderFailed in our own words; a
ProviderRefused when trying again cannot help.

The retry loop is written out here because Retry-After, the deadline and the breaker all have a say in it.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import httpcore
import httpx

from adapters import answer, orders
from adapters.answer import Unusable, retry_after
from adapters.breaker import Breaker, Outcome
from adapters.egress import EgressGuard, GuardedTransport
from adapters.pace import Pace
from adapters.redaction import Redactor
from market.errors import CredentialsRefused, ProviderFailed, ProviderRefused, SlowDown

if TYPE_CHECKING:
    from adapters.base import Adapter

T = TypeVar("T")
log = logging.getLogger("gpubroker.adapters")

CONNECT_SECONDS = 5.0
MOST_TRIES = 3
MOST_REDIRECTS = 3
BACKOFF_SECONDS = 0.5
STREAM_SECONDS = 900.0
_AGENT = "gpubroker (+https://pypi.org/project/gpubroker)"
_NEUTRAL_HEADERS = frozenset({"accept", "content-type", "user-agent", "accept-encoding"})
_BROKEN = (httpx.TransportError, httpcore.NetworkError, httpcore.ProtocolError)
_TOO_SLOW = (TimeoutError, httpx.TimeoutException, httpcore.TimeoutException)
_LAST_KNOWN = "Its last known offers stay; it is asked again at the next sync."


@dataclass(frozen=True, slots=True)
class _Failure:
    """How a try failed: the error to raise, whether another try may help and when, what it says of the provider."""

    error: ProviderFailed
    again: bool = False
    wait_seconds: float | None = None
    outcome: Outcome = "failed"


class _Failed(Exception):
    """Carries a _Failure from where it is found to the retry loop."""

    def __init__(self, failure: _Failure) -> None:
        super().__init__()
        self.failure = failure


class ProviderClient:
    """One provider's connection. `transport`, clocks, sleep and random are given by tests."""

    def __init__(
        self,
        adapter: type[Adapter],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random.random,
        environment: Mapping[str, str] | None = None,
        allow_loopback: bool = False,
    ) -> None:
        self.adapter = adapter
        self._monotonic, self._clock, self._sleep, self._jitter = monotonic, clock, sleep, jitter
        given = os.environ if environment is None else environment
        needed = (*adapter.secrets, *adapter.booking_secrets)
        self._secrets = {name: given[name] for name in needed if given.get(name)}
        self.redactor = Redactor(self._secrets.values())
        self.base_url = adapter.address(given)
        hosts = (self.base_url, *adapter.extra_hosts)
        self.guard = EgressGuard(
            adapter.name, hosts, allow_loopback=allow_loopback, listed_loopback=adapter.on_this_machine
        )
        self.breaker = Breaker(adapter.name, adapter.breaker, monotonic=monotonic)
        self._pace = Pace(adapter.per_second, adapter.concurrency, monotonic=monotonic, sleep=sleep)
        patience = httpx.Timeout(adapter.timeout_seconds, connect=CONNECT_SECONDS)
        self._http = httpx.AsyncClient(
            transport=transport or GuardedTransport(self.guard, connections=adapter.concurrency),
            headers={"User-Agent": _AGENT, "Accept": "application/json", "Accept-Encoding": "gzip"},
            timeout=patience,
            follow_redirects=False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"ProviderClient({self.adapter.name!r}, {self.breaker.state})"

    def secret(self, name: str) -> str | None:
        """A credential of this adapter by its environment name; None when it is not set."""
        return self._secrets.get(name)

    async def get_json(
        self, url: str, *, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Ask with GET and read JSON."""
        return await self._json(self._build("GET", url, params=params, headers=headers), safe=True)

    async def post_json(
        self, url: str, json: Any, *, headers: Mapping[str, str] | None = None, safe: bool = False
    ) -> Any:
        """Ask with POST and read JSON; `safe` says that asking twice does no harm, so that it may be retried."""
        return await self._json(self._build("POST", url, json=json, headers=headers), safe=safe)

    async def order(self, method: str, url: str, *, json: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Ask once for something to be done and read JSON; None for an empty answer. Never tried again, never led on.

        Raises ProviderRefused, one of its kinds, or SlowDown when certainly nothing was done; ReplyLost when nobody
        knows.
        """
        request = self._build(method, url, headers=headers, **({} if json is None else {"json": json}))
        async with self._pace.slot():
            try:
                permit = self.breaker.admit()
            except ProviderFailed as refusal:
                raise orders.left_alone(self.adapter, refusal) from None
            outcome: Outcome = "unknown"
            try:
                with anyio.fail_after(self.adapter.timeout_seconds):
                    done = await self._done(request)
                outcome = "answered"
                return done
            except _Failed as failed:
                outcome, failure = failed.failure.outcome, failed.failure
            except orders.NEVER_SENT:
                outcome, failure = "failed", _Failure(orders.unreachable(self.adapter))
            except Unusable as problem:
                outcome, failure = "failed", _Failure(orders.lost(self.adapter, str(problem)))
            except (*_TOO_SLOW, *_BROKEN) as problem:
                what = "did not answer an order in time" if isinstance(problem, _TOO_SLOW) else "cut an order short"
                outcome, failure = "failed", _Failure(orders.lost(self.adapter, what))
            finally:
                permit.settle(outcome)
        raise self._told(failure, request, tries=1)

    async def stream_bytes(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        timeout_seconds: float = STREAM_SECONDS,
    ) -> AsyncGenerator[bytes, None]:
        """A large answer in pieces, unpacked; only its beginning is retried, and silence in it is cut off."""
        request = self._build("GET", url, params=params, headers=headers)
        deadline = self._monotonic() + timeout_seconds
        failure: _Failure | None = None
        async with self._pace.slot():
            response = await self._tries(request, _kept_open, safe=True)
            pieces = aiter(answer.body(response, max_bytes or self.adapter.max_body_bytes))
            try:
                while failure is None:
                    try:
                        with anyio.fail_after(min(self.adapter.timeout_seconds, deadline - self._monotonic())):
                            piece = await anext(pieces)
                    except StopAsyncIteration:
                        break
                    except (Unusable, *_TOO_SLOW, *_BROKEN) as problem:
                        failure = self._explained(problem)
                    else:
                        yield piece
            finally:
                await response.aclose()
        if failure:
            with suppress(ProviderFailed):
                self.breaker.admit().settle("failed")
            raise self._told(failure, request, tries=1)

    async def stream_lines(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        timeout_seconds: float = STREAM_SECONDS,
    ) -> AsyncGenerator[str, None]:
        """A large text answer line by line, without line ends."""
        failure: _Failure | None = None
        pieces = self.stream_bytes(
            url, params=params, headers=headers, max_bytes=max_bytes, timeout_seconds=timeout_seconds
        )
        async with aclosing(pieces):
            try:
                async for line in answer.lines(pieces):
                    yield line
            except Unusable as problem:
                failure = self._explained(problem)
        if failure:
            raise failure.error

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    def _build(self, method: str, url: str, **parts: Any) -> httpx.Request:
        with suppress(httpx.InvalidURL, ValueError):
            return self._http.build_request(method, url, **parts)
        raise self._refused("led to an address that cannot be read")

    async def _json(self, request: httpx.Request, *, safe: bool) -> Any:
        async with self._pace.slot():
            return await self._tries(request, self._read, safe=safe)

    async def _read(self, response: httpx.Response) -> Any:
        """The whole answer as JSON."""
        try:
            pieces = [piece async for piece in answer.body(response, self.adapter.max_body_bytes)]
        finally:
            await response.aclose()
        return answer.decoded(b"".join(pieces))

    async def _done(self, request: httpx.Request) -> Any:
        """The answer to an order. A redirect is not followed: some of them mean that it was carried out."""
        self.guard.check(request.url)
        response = await self._http.send(request, stream=True)
        try:
            if not response.is_success:
                raise _Failed(await self._declined(response))
            pieces = [piece async for piece in answer.body(response, self.adapter.max_body_bytes)]
        finally:
            await response.aclose()
        raw = b"".join(pieces)
        return answer.decoded(raw) if raw.strip() else None

    async def _declined(self, response: httpx.Response) -> _Failure:
        """An order that was not answered with success, in our own words."""
        body: Any = None
        with suppress(Unusable, *_TOO_SLOW, *_BROKEN):
            pieces = [piece async for piece in answer.body(response, orders.MAX_REFUSAL_BYTES)]
            body = answer.decoded(b"".join(pieces))
        error = orders.declined(self.adapter, response.status_code, body, self._facts(response)[0])
        outcome: Outcome = "answered" if isinstance(error, ProviderRefused) else "failed"
        return _Failure(error, outcome="unknown" if isinstance(error, SlowDown) else outcome)

    async def _tries(self, request: httpx.Request, take: Callable[[httpx.Response], Awaitable[T]], *, safe: bool) -> T:
        """Ask until it works, it cannot work, or tries or time run out; the deadline spans all of it."""
        deadline = self._monotonic() + self.adapter.timeout_seconds
        tried = 0
        while True:
            tried += 1
            try:
                return await self._once(request, take, deadline - self._monotonic())
            except _Failed as failed:
                failure = failed.failure
            wait = self._wait(failure, tried)
            hopeless = not (failure.again and safe) or self.breaker.state == "open"
            if hopeless or tried == MOST_TRIES or self._monotonic() + wait >= deadline:
                break
            await self._sleep(wait)
            await self._pace.turn()
        raise self._told(failure, request, tried)

    async def _once(self, request: httpx.Request, take: Callable[[httpx.Response], Awaitable[T]], patience: float) -> T:
        permit = self.breaker.admit()
        outcome: Outcome = "unknown"
        try:
            with anyio.fail_after(patience):
                taken = await take(await self._opened(request))
            outcome = "answered"
            return taken
        except _Failed as failed:
            outcome = failed.failure.outcome
            raise
        except ProviderRefused as refused:
            raise _Failed(_Failure(refused)) from None
        except (Unusable, *_TOO_SLOW, *_BROKEN) as problem:
            outcome = "failed"
            raise _Failed(self._explained(problem)) from None
        finally:
            permit.settle(outcome)

    async def _opened(self, request: httpx.Request) -> httpx.Response:
        """The answer of the last hop, its body still to be read; every hop passes the guard."""
        for _ in range(MOST_REDIRECTS + 1):
            self.guard.check(request.url)
            response = await self._http.send(request, stream=True)
            if response.is_success:
                return response
            await response.aclose()
            if not response.has_redirect_location:
                raise _Failed(self._status(response))
            request = self._redirected(request, response)
        raise self._refused(f"redirected more than {MOST_REDIRECTS} times")

    def _redirected(self, request: httpx.Request, response: httpx.Response) -> httpx.Request:
        """The next hop. A POST stays a POST on its own host or is not followed; keys never move to another host."""
        try:
            target = request.url.join(response.headers["location"])
        except (httpx.InvalidURL, ValueError):
            raise self._refused("redirected to an address that cannot be read") from None
        self.guard.check(target)
        own_host = target.netloc == request.url.netloc and target.scheme == request.url.scheme
        if request.method != "GET" and not (own_host and response.status_code in (307, 308)):
            raise self._refused("redirected a query it should have answered")
        headers = [
            (name, value)
            for name, value in request.headers.items()
            if name not in ("host", "content-length") and (own_host or name in _NEUTRAL_HEADERS)
        ]
        return self._http.build_request(request.method, target, headers=headers, content=request.content or None)

    def _status(self, response: httpx.Response) -> _Failure:
        """What an answer that is no answer means."""
        status = response.status_code
        facts, wait = self._facts(response)
        if status == 429:
            slow_down = SlowDown(
                f"`{self.adapter.name}` asked us to slow down (status 429).", next_step=_LAST_KNOWN, details=facts
            )
            return _Failure(slow_down, again=True, wait_seconds=wait, outcome="unknown")
        if status == 408 or status >= 500:
            down = ProviderFailed(
                f"`{self.adapter.name}` is failing (status {status}).", next_step=_LAST_KNOWN, details=facts
            )
            return _Failure(down, again=True, wait_seconds=wait)
        if status in (401, 403):
            names = ", ".join(f"`{name}`" for name in self.adapter.secrets)
            step = f"Check {names} in the environment." if names else "It may have closed this address to the public."
            said = f"`{self.adapter.name}` did not let us in (status {status})."
            error = CredentialsRefused(said, next_step=step, details=facts)
            return _Failure(error, outcome="answered")
        gone = "no longer has this address" if status in (404, 410) else "refused the question"
        return _Failure(self._refused(f"{gone} (status {status})", facts=facts), outcome="answered")

    def _facts(self, response: httpx.Response) -> tuple[dict[str, object], float | None]:
        """What an error tells of an answer, and how long the provider wants us to wait."""
        facts: dict[str, object] = {"provider": self.adapter.name, "status": response.status_code}
        wait = retry_after(response.headers.get("retry-after"), self._clock())
        if wait is not None:
            facts["retry_after_seconds"] = round(wait, 1)
        return facts, wait

    def _explained(self, problem: BaseException) -> _Failure:
        """A broken, silent or unusable answer in our own words."""
        name, facts = self.adapter.name, {"provider": self.adapter.name}
        if isinstance(problem, Unusable):
            return _Failure(ProviderFailed(f"`{name}` {problem}.", next_step=_LAST_KNOWN, details=facts))
        if isinstance(problem, orders.NEVER_SENT):
            facts["reason"] = "unreachable"
        what = (
            f"`{name}` did not answer within {self.adapter.timeout_seconds:g} s."
            if isinstance(problem, _TOO_SLOW)
            else f"The connection to `{name}` failed."
        )
        return _Failure(ProviderFailed(what, next_step=_LAST_KNOWN, details=facts), again=True)

    def _refused(
        self, what: str, step: str = _LAST_KNOWN, facts: Mapping[str, object] | None = None
    ) -> ProviderRefused:
        return ProviderRefused(
            f"`{self.adapter.name}` {what}.", next_step=step, details=facts or {"provider": self.adapter.name}
        )

    def _wait(self, failure: _Failure, tried: int) -> float:
        """What the provider asks for, else exponential back-off with full jitter."""
        if failure.wait_seconds is not None:
            return failure.wait_seconds
        return self._jitter() * BACKOFF_SECONDS * 2.0**tried

    def _told(self, failure: _Failure, request: httpx.Request, tries: int) -> ProviderFailed:
        """The error to raise, once it is in the log."""
        level = logging.INFO if failure.again else logging.WARNING
        shown = self.redactor.shown_url(str(request.url))
        log.log(level, "%s %s, tries %d: %s", request.method, shown, tries, failure.error.message)
        return failure.error


async def _kept_open(response: httpx.Response) -> httpx.Response:
    return response
