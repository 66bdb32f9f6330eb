"""Reading a provider's answer safely: never more bytes than the cap, packed or unpacked, and only what was promised."""

from __future__ import annotations

import codecs
import email.utils
import json
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn

import httpx

_PIECE = 256 * 1024
_LONGEST_LINE = 4 * 1024 * 1024
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class Unusable(Exception):
    """An answer we cannot use; the message is our own words and completes "`acme` ..."."""


async def body(response: httpx.Response, max_bytes: int) -> AsyncIterator[bytes]:
    """The unpacked bytes of an answer in pieces of bounded size; raises Unusable above `max_bytes`.

    Unpacking is done here and not by httpx, which unpacks a whole network read at once: a few packed kilobytes could
    fill the memory before anyone counts.
    """
    stated = response.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > max_bytes:
        raise too_long(max_bytes)
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise Unusable("answered in a packing we did not ask for")
    packed = encoding not in ("identity", "")
    unpack = zlib.decompressobj(_GZIP_OR_ZLIB) if packed else None
    seen = 0
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise Unusable("answered over a transport that is not asynchronous")
    async for chunk in response.stream:
        for piece in _unpacked(chunk, unpack) if unpack else (chunk,):
            seen += len(piece)
            if seen > max_bytes:
                raise too_long(max_bytes)
            yield piece
    if unpack and seen and not unpack.eof:
        raise Unusable("stopped in the middle of its answer")
    if unpack and unpack.unused_data:
        raise Unusable("answered with more after the end of its packed data")


def _unpacked(chunk: bytes, unpack: Any) -> Any:
    try:
        while chunk:
            yield unpack.decompress(chunk, _PIECE)
            chunk = unpack.unconsumed_tail
    except zlib.error:
        raise Unusable("answered with packed data that does not unpack") from None


def too_long(max_bytes: int) -> Unusable:
    """The answer is above the cap."""
    return Unusable(f"answered with more than the {shown_size(max_bytes)} we read")


def shown_size(size: int) -> str:
    """A number of bytes as a person reads it."""
    return f"{size / 1024 / 1024:g} MB" if size >= 1024 * 1024 else f"{size:,} bytes"


def decoded(raw: bytes) -> Any:
    """JSON with every number that has a point as an exact Decimal; raises Unusable for anything else."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unusable("answered with bytes that are not UTF-8 text") from None
    if text.lstrip()[:1] == "<":
        raise Unusable("answered with a web page instead of data")
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        what = "nothing" if not text.strip() else "something that is not whole JSON"
        raise Unusable(f"answered with {what}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The lines of a text answer without their ends; raises Unusable for bytes that are not UTF-8 or endless lines."""
    decode = codecs.getincrementaldecoder("utf-8-sig")()
    rest = ""
    async for piece in pieces:
        try:
            rest += decode.decode(piece)
        except UnicodeDecodeError:
            raise Unusable("answered with bytes that are not UTF-8 text") from None
        *whole, rest = rest.split("\n")
        for line in whole:
            yield line.removesuffix("\r")
        if len(rest) > _LONGEST_LINE:
            raise Unusable("answered with a line without an end")
    try:
        rest += decode.decode(b"", final=True)
    except UnicodeDecodeError:
        raise Unusable("stopped in the middle of a character") from None
    if rest:
        yield rest.removesuffix("\r")


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds a Retry-After header asks for (a number or a date); None when there is none to be read."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header.strip()[:9])
    try:
        at = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
