"""`gpubroker serve` as a program: on its port, until a signal."""

from __future__ import annotations

import shutil
import signal
import socket
import sqlite3
from pathlib import Path

import httpx
import pytest
from mcp import Client

from server.rest import MAX_BODY_BYTES
from tests.server.program import gpubroker, serving


@pytest.fixture
def folder(filled_folder: Path, tmp_path: Path) -> Path:
    """A copy of the filled folder."""
    return Path(shutil.copytree(filled_folder, tmp_path / "data"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(folder: Path, number: signal.Signals) -> None:
    with serving(folder) as served:
        assert httpx.get(f"{served.address}/health").status_code == 200
        assert httpx.get(f"{served.address}/api/v2/providers").json()["total"] > 0
        code, said = served.end(number)
    assert (code, said) == (0, "")
    assert not (folder / "gpubroker.db-wal").exists()
    with sqlite3.connect(folder / "gpubroker.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_signal_ends_it_while_a_client_keeps_a_stream_open(folder: Path, era: str) -> None:
    with serving(folder) as served:
        async with Client(f"{served.address}/mcp", mode=era) as client:
            found = await client.call_tool("search_offers", {"gpu": "H100", "limit": 1})
            code, said = served.end()
    assert not found.is_error
    assert code == 0
    assert "Traceback" not in said


def test_fetching_without_a_network_leaves_it_answering(folder: Path) -> None:
    with serving(folder, GPUBROKER_SYNC="on", GPUBROKER_PROVIDERS="vultr") as served:
        for _ in range(3):
            assert httpx.get(f"{served.address}/api/v2/providers?gpu=H100").json()["total"] > 0
        code, said = served.end()
    assert code == 0
    assert "Traceback" not in said


def test_a_body_too_large_is_refused_and_the_next_request_answered(folder: Path) -> None:
    with serving(folder) as served:
        search = f"{served.address}/api/v2/providers/search"
        refused = httpx.post(search, content=b" " * (5 * MAX_BODY_BYTES))
        assert refused.status_code == 413
        assert refused.json()["error"]["code"] == "TOO_LARGE"
        assert httpx.post(search, json={"gpu": "H100"}).status_code == 200


def test_bytes_that_are_no_http_and_a_caller_who_hangs_up_do_no_harm(folder: Path) -> None:
    with serving(folder) as served:
        host, port = served.address.removeprefix("http://").split(":")
        for sent in (
            b"\x16\x03\x01\x02\x00garbage\r\n\r\n",
            b"GET /api/v2/providers HTTP/1.1\r\n\r\n",
            b"POST /api/v2/providers/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{",
        ):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(sent)
        assert httpx.get(f"{served.address}/health").status_code == 200
        code, said = served.end()
    assert code == 0
    assert "Traceback" not in said


def test_a_request_without_a_host_is_refused(folder: Path) -> None:
    with serving(folder) as served:
        host, port = served.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert connection.recv(64).startswith(b"HTTP/1.1 403 ")


def test_it_listens_on_ipv6_too(folder: Path) -> None:
    with serving(folder, "--host", "::1") as served:
        assert served.address.startswith("http://[::1]:")
        assert httpx.get(f"{served.address}/health").status_code == 200


def test_a_taken_port_is_named_with_the_way_out(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = gpubroker(folder, "serve", "--port", port)
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_address_that_others_reach_is_refused_with_words(folder: Path) -> None:
    ended = gpubroker(folder, "serve", "--host", "0.0.0.0")  # noqa: S104 - refused, that is the point
    assert ended.returncode == 1
    assert "this machine only" in ended.stderr
    assert "127.0.0.1" in ended.stderr


def test_a_port_that_is_none_is_refused(folder: Path) -> None:
    assert "`port` must be at most 65535" in gpubroker(folder, "serve", "--port", "70000").stderr
