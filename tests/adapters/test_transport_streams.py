"""Reading answers too large to hold: piece by piece, bounded in bytes, silence and time."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from market.errors import ProviderFailed
from tests.adapters.acme import URL, Acme, Pieces, Script, VirtualLoop, acme, drained


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualLoop}


async def test_a_large_text_is_read_line_by_line() -> None:
    body = b"a,b\r\n" + "\u20ac,2\n".encode() + b"last"
    answer = httpx.Response(200, stream=Pieces(gzip.compress(body), 1), headers={"content-encoding": "gzip"})
    lines = [line async for line in acme(Script(answer)).stream_lines(URL, max_bytes=1000)]
    assert lines == ["a,b", "\u20ac,2", "last"]


async def test_characters_cut_between_pieces_are_whole_again() -> None:
    halves = "\u20ac1\n".encode()

    class Halved(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for index in range(len(halves)):
                yield halves[index : index + 1]

    assert [line async for line in acme(Script(httpx.Response(200, stream=Halved()))).stream_lines(URL)] == ["\u20ac1"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (Pieces(b"row\n", 1000), "more than the 2,000 bytes"),
        (Pieces(b"\xff\xff\n", 1), "not UTF-8"),
        (Pieces(b"\xe2\x82", 1), "middle of a character"),
        (Pieces(b"row\n", 2, pause_seconds=60), "did not answer within 20 s"),
    ],
)
async def test_a_stream_that_goes_wrong_keeps_what_was_read_and_says_so(body: Pieces, says: str) -> None:
    lines = acme(Script(httpx.Response(200, stream=body))).stream_lines(URL, max_bytes=2000)
    read: list[str] = []
    with pytest.raises(ProviderFailed, match=says):
        await drained(lines, read)
    assert set(read) <= {"row"}
    assert len(read) in (0, 1, 500)


async def test_a_stream_may_not_last_for_ever() -> None:
    client = acme(Script(httpx.Response(200, stream=Pieces(b"row\n", 10_000, pause_seconds=10))))
    loop = asyncio.get_running_loop()
    before = loop.time()
    with pytest.raises(ProviderFailed):
        await drained(client.stream_lines(URL, timeout_seconds=100), [])
    assert loop.time() - before == pytest.approx(100, abs=11)


async def test_the_beginning_of_a_stream_is_retried() -> None:
    script = Script(httpx.Response(503), httpx.Response(200, content=b"row"))
    assert [line async for line in acme(script).stream_lines(URL)] == ["row"]


async def test_a_stream_left_early_gives_its_place_back() -> None:
    class One(Acme):
        name = "one"
        concurrency = 1

    client = acme(Script(httpx.Response(200, content=b"1\n2\n")), One)
    lines = client.stream_lines(URL)
    assert await anext(lines) == "1"
    await lines.aclose()
    with anyio.fail_after(5):
        assert [line async for line in client.stream_lines(URL)] == ["1", "2"]
    await client.aclose()
