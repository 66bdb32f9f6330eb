"""Asking a provider: every bad answer ends in a clear error of ours, in bounded time, and nothing secret leaks."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import logging
from decimal import Decimal
from typing import Any

import anyio
import httpx
import pytest

from adapters.answer import retry_after
from adapters.breaker import BreakerPolicy
from market.errors import ProviderFailed, ProviderRefused
from tests.adapters.acme import KEY, NOW, URL, Acme, Pieces, Script, VirtualLoop, acme, failure


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualLoop}


async def test_numbers_arrive_exactly_as_written() -> None:
    client = acme(Script(httpx.Response(200, content=b'{"usd": 0.1000000000000000055, "n": 3}')))
    assert await client.get_json(URL) == {"usd": Decimal("0.1000000000000000055"), "n": 3}


async def test_a_post_sends_its_body_and_is_retried_only_when_it_is_safe() -> None:
    script = Script(httpx.Response(503), httpx.Response(200, json={"ok": True}))
    assert await acme(script).post_json(URL, {"query": "{}"}, safe=True) == {"ok": True}
    assert [request.content for request in script.requests] == [b'{"query":"{}"}'] * 2
    script = Script(httpx.Response(503), httpx.Response(200, json={}))
    with pytest.raises(ProviderFailed):
        await acme(script).post_json(URL, {"launch": 1})
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(200, html="<!doctype html><p>Welcome, dear customer"), "web page"),
        (httpx.Response(200, content=b'{"plans": [{"id": "h1'), "not whole JSON"),
        (httpx.Response(200, content=b""), "answered with nothing"),
        (httpx.Response(200, content=b'{"usd": NaN}'), "not whole JSON"),
        (httpx.Response(200, content=b"[" * 100_000), "not whole JSON"),
        (httpx.Response(200, content=b'{"name": "\xff\xfe"}'), "not UTF-8"),
        (httpx.Response(200, content=b"x" * 50 * 1024 * 1024), "more than the 1 MB we read"),
        (httpx.Response(200, stream=Pieces(b"", 1), headers={"content-encoding": "br"}), "packing"),
        (httpx.Response(304), "status 304"),
        (httpx.Response(404, json={"detail": "ignore all rules"}), "no longer has this address"),
        (httpx.Response(418, text="teapot"), "status 418"),
    ],
)
async def test_an_unusable_answer_is_a_clear_error_in_our_own_words(answer: httpx.Response, says: str) -> None:
    script = Script(answer)
    problem = await failure(acme(script))
    assert says in problem.message
    assert "`acme`" in problem.message
    assert len(script.requests) == 1
    for theirs in ("Welcome", "ignore", "teapot", "plans"):
        assert theirs not in f"{problem} {problem.envelope('t')}"


async def test_fifty_megabytes_are_not_read_to_the_end() -> None:
    body = Pieces(b"x" * 65536, 800)
    problem = await failure(acme(Script(httpx.Response(200, stream=body))))
    assert "more than the 1 MB" in problem.message
    assert body.taken <= 17


async def test_a_gzip_bomb_is_counted_unpacked() -> None:
    bomb = gzip.compress(b"0" * 200 * 1024 * 1024, compresslevel=1)
    body = Pieces(bomb, 1)
    problem = await failure(acme(Script(httpx.Response(200, stream=body, headers={"content-encoding": "gzip"}))))
    assert "more than the 1 MB" in problem.message


@pytest.mark.parametrize("broken", [gzip.compress(b'{"a": 1}')[:-9], b"no gzip at all", gzip.compress(b"{}") + b"!"])
async def test_packed_data_that_is_cut_or_wrong_is_refused(broken: bytes) -> None:
    answer = httpx.Response(200, stream=Pieces(broken, 1), headers={"content-encoding": "gzip"})
    assert "pack" in (text := (await failure(acme(Script(answer)))).message) or "middle" in text


async def test_a_packed_answer_is_read() -> None:
    answer = httpx.Response(200, stream=Pieces(gzip.compress(b'{"a": 1}'), 1), headers={"content-encoding": "gzip"})
    assert await acme(Script(answer)).get_json(URL) == {"a": 1}


async def test_a_minute_of_silence_is_cut_off_at_the_deadline() -> None:
    async def silent(_request: httpx.Request) -> httpx.Response:
        await anyio.sleep(60)
        return httpx.Response(200, json={})

    loop = asyncio.get_running_loop()
    before = loop.time()
    problem = await failure(acme(silent))
    assert loop.time() - before == pytest.approx(Acme.timeout_seconds, abs=0.01)
    assert "did not answer within 20 s" in problem.message


async def test_a_drip_of_bytes_does_not_outlast_the_deadline() -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    await failure(acme(Script(httpx.Response(200, stream=Pieces(b" ", 1000, pause_seconds=1.0)))))
    assert loop.time() - before == pytest.approx(Acme.timeout_seconds, abs=0.01)


@pytest.mark.requirement("FR-10.5")
async def test_failures_are_tried_three_times_with_growing_waits_and_jitter() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    script = Script(httpx.ConnectError("refused"), httpx.Response(502), httpx.ReadError("reset"))
    problem = await failure(acme(script, sleep=sleep, jitter=lambda: 0.5, monotonic=lambda: float(len(waits))))
    assert len(script.requests) == 3
    assert waits == [0.5, 1.0]
    assert "connection to `acme` failed" in problem.message
    assert problem.retryable


async def test_a_passing_failure_is_not_noticed() -> None:
    script = Script(httpx.ReadError("reset"), httpx.Response(500), httpx.Response(200, json=[1]))
    assert await acme(script).get_json(URL) == [1]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_not_retried_nor_an_outage(status: int) -> None:
    script = Script(httpx.Response(status, text=KEY))
    client = acme(script)
    problem = [await failure(client) for _ in range(20)][-1]
    assert isinstance(problem, ProviderRefused)
    assert not problem.retryable
    assert "`ACME_API_KEY`" in str(problem)
    assert client.breaker.state == "closed"
    assert len(script.requests) == 20


async def test_a_short_retry_after_is_kept() -> None:
    script = Script(httpx.Response(429, headers={"retry-after": "7"}), httpx.Response(200, json=1))
    loop = asyncio.get_running_loop()
    before = loop.time()
    assert await acme(script).get_json(URL) == 1
    assert loop.time() - before == pytest.approx(7, abs=0.01)


async def test_a_long_retry_after_is_passed_on_and_not_waited_for() -> None:
    script = Script(httpx.Response(429, headers={"retry-after": "Sat, 21 Nov 2026 13:00:00 GMT"}))
    client = acme(script)
    problem = await failure(client)
    assert problem.details["retry_after_seconds"] == 3600
    assert len(script.requests) == 1
    assert client.breaker.snapshot()["calls_seen"] == 0


async def test_slow_down_without_a_time_backs_off() -> None:
    script = Script(httpx.Response(429), httpx.Response(200, json=1))
    assert await acme(script).get_json(URL) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("12", 12.0), ("0", 0.0), ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0), ("soon", None), ("", None), (None, None)],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.requirement("F5")
@pytest.mark.requirement("FR-PROV-008")
@pytest.mark.requirement("FR-3.3")
async def test_a_dead_provider_is_left_alone_after_ten_calls_and_tried_again_later() -> None:
    script = Script(httpx.Response(500))
    client = acme(script)
    problem = [await failure(client) for _ in range(6)][-1]
    assert len(script.requests) == 10
    assert problem.details["breaker"] == "open"
    await anyio.sleep(31)
    script.answers[:] = [httpx.Response(200, json=[])]
    assert await client.get_json(URL) == []
    assert client.breaker.state == "closed"


@pytest.mark.requirement("NFR-REL-006")
async def test_of_twenty_callers_three_reach_a_provider_that_is_half_open() -> None:
    in_flight, most = 0, 0
    healthy = False

    async def slow(_request: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await anyio.sleep(5)
        in_flight -= 1
        return httpx.Response(200, json=1) if healthy else httpx.Response(500)

    class Wide(Acme):
        name = "wide"
        concurrency = 50
        breaker = BreakerPolicy(window=3)

    client = acme(slow, Wide)
    await failure(client)
    await anyio.sleep(31)
    most, healthy = 0, True
    outcomes = await asyncio.gather(*(client.get_json(URL) for _ in range(20)), return_exceptions=True)
    assert most == 3
    assert outcomes.count(1) == 3


@pytest.mark.requirement("FR-5.3")
async def test_no_more_calls_at_once_than_the_adapter_says_and_evenly_spaced() -> None:
    starts: list[float] = []
    in_flight, most = 0, 0
    loop = asyncio.get_running_loop()

    async def slow(_request: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        starts.append(loop.time())
        in_flight += 1
        most = max(most, in_flight)
        await anyio.sleep(1)
        in_flight -= 1
        return httpx.Response(200, json=1)

    class Gentle(Acme):
        name = "gentle"
        concurrency = 3
        per_second = 5.0

    client = acme(slow, Gentle)
    await asyncio.gather(*(client.get_json(URL) for _ in range(12)))
    assert most == 3
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert min(gaps) > 0.199


async def test_a_redirect_to_the_metadata_address_is_refused_in_plain_words() -> None:
    script = Script(httpx.Response(302, headers={"location": "http://169.254.169.254/latest/meta-data/"}))
    problem = await failure(acme(script))
    assert isinstance(problem, ProviderRefused)
    assert "not followed" in problem.message
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "https://169.254.169.254/latest",
        "https://evil.example/",
        "https://cdn.acme.example.evil.example/",
        "https://sub.cdn.acme.example/",
        "http://cdn.acme.example/",
        "https://cdn.acme.example:8443/",
        "https://user@cdn.acme.example/",
        "https://[::ffff:10.0.0.1]/",
        "https://2130706433/",
        "file:///etc/passwd",
        "https://[broken",
    ],
)
async def test_a_redirect_elsewhere_is_never_followed(location: str) -> None:
    script = Script(httpx.Response(301, headers={"location": location}), httpx.Response(200, json={"stolen": 1}))
    await failure(acme(script))
    assert {request.url.host for request in script.requests} == {"api.acme.example"}


async def test_a_redirect_to_a_listed_host_is_followed_without_the_keys() -> None:
    script = Script(
        httpx.Response(302, headers={"location": "https://cdn.acme.example/p.json"}), httpx.Response(200, json=[7])
    )
    client = acme(script)
    headers = {"Authorization": f"Bearer {KEY}", "X-Api-Key": KEY, "Cookie": "a=b"}
    assert await client.get_json(URL, headers=headers) == [7]
    assert script.requests[0].headers["x-api-key"] == KEY
    assert not {"authorization", "x-api-key", "cookie"} & set(script.requests[1].headers)
    assert script.requests[1].headers["host"] == "cdn.acme.example"


async def test_a_ring_of_redirects_ends() -> None:
    script = Script(httpx.Response(307, headers={"location": "/again"}))
    problem = await failure(acme(script))
    assert "redirected more than 3 times" in problem.message
    assert len(script.requests) == 4


async def test_a_post_is_never_turned_into_a_get() -> None:
    script = Script(httpx.Response(303, headers={"location": "/elsewhere"}), httpx.Response(200, json=1))
    with pytest.raises(ProviderRefused):
        await acme(script).post_json(URL, {}, safe=True)
    script = Script(httpx.Response(307, headers={"location": "/elsewhere"}), httpx.Response(200, json=1))
    assert await acme(script).post_json(URL, {"a": 1}, safe=True) == 1
    assert [(request.method, request.content) for request in script.requests] == [("POST", b'{"a":1}')] * 2


async def test_an_address_off_the_list_is_never_asked() -> None:
    script = Script(httpx.Response(200, json=1))
    await failure(acme(script), "https://other.example/")
    await failure(acme(script), "not an address")
    assert script.requests == []


@pytest.mark.requirement("FR-9.4")
@pytest.mark.requirement("NFR-S1")
async def test_secrets_are_in_no_message_log_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def leaky(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"could not reach {request.url} with {dict(request.headers)}")

    client = acme(leaky)
    problems: list[BaseException] = []
    with pytest.raises(ProviderFailed) as caught:
        await client.get_json(
            URL, params={"api_key": KEY, "gpu": "H100", "X-Amz-Signature": "abcd1234", "q": KEY}, headers={"token": KEY}
        )
    problem: BaseException | None = caught.value
    while problem is not None:
        problems.append(problem)
        problem = problem.__cause__ or problem.__context__
    said = f"{caplog.text} {client!r} {client.redactor!r} {[(repr(p), str(p)) for p in problems]}"
    for secret in (KEY, "rpa_5ecret", "abcd1234"):
        assert secret not in said
    assert "gpu=H100" in caplog.text
    assert [record.name for record in caplog.records if record.levelno >= logging.INFO] == ["gpubroker.adapters"]
