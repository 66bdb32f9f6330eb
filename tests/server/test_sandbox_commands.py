"""`gpubroker sandbox` as a program: what it prints works, its machines outlive it, and it is no part of the market."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from server import doctor
from server.commands import DONE, FAILED
from tests.house import ROOT
from tests.server.program import environment, gpubroker
from tests.server.test_doctor import configured

ME = {"Authorization": "Bearer me"}
H100 = {"label": "job-0", "type": "h100-1", "region": "eu-frankfurt"}


@contextmanager
def sandbox(folder: Path, *arguments: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """A running sandbox: what it says of itself, and its process, killed afterwards if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "server", "sandbox", "--json", *arguments],
        cwd=ROOT,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            yield json.loads(line), process
        finally:
            if process.poll() is None:
                process.kill()


def test_what_it_says_works_and_a_signal_ends_it(tmp_path: Path) -> None:
    with sandbox(tmp_path, "--port", "0", "--calm", "--seed", "5", "--no-enforced-end") as (said, process):
        assert (said["seed"], said["enforces_end"], said["machines"]) == (5, False, 0)
        account = httpx.get(f"{said['address']}/v1/account", headers=ME).json()
        assert account["enforces_end"] is False
        machine = httpx.post(f"{said['address']}/v1/instances", json=H100, headers=ME).json()
        httpx.post(f"{said['address']}/_clock", json={"advance_seconds": 120})
        up = httpx.get(f"{said['address']}/v1/instances/{machine['id']}", headers=ME).json()
        assert said["ssh"] == f"{up['ssh']['host']}:{up['ssh']['port']}"
        with socket.create_connection((up["ssh"]["host"], up["ssh"]["port"]), timeout=30) as connection:
            assert connection.recv(100).startswith(b"SSH-2.0-")
        searched = gpubroker(tmp_path, "sync", "sandbox", "--json", GPUBROKER_SANDBOX_URL=said["address"])
        assert (searched.returncode, json.loads(searched.stdout)[0]["offers"]) == (DONE, 94)
        process.send_signal(signal.SIGTERM)
        rest, faults = process.communicate(timeout=60)
    assert (process.returncode, rest, faults) == (0, "", "")
    found = gpubroker(tmp_path, "search", "provider=sandbox", "gpu=H100", "--json")
    assert json.loads(found.stdout)["total"] == 18


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_its_machines_outlive_it(tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "cloud.json"
    options = ("--port", "0", "--calm", "--state", str(file))
    with sandbox(tmp_path, *options, "--seed", "7") as (said, process):
        made = httpx.post(f"{said['address']}/v1/instances", json=H100, headers=ME).json()
        process.send_signal(number)
        process.communicate(timeout=60)
    with sandbox(tmp_path, *options) as (again, _):
        assert (again["seed"], again["machines"]) == (7, 1)
        kept = httpx.get(f"{again['address']}/v1/instances/{made['id']}", headers=ME).json()
        assert (kept["label"], kept["created_at"]) == ("job-0", made["created_at"])
    other = gpubroker(tmp_path, "sandbox", *options, "--seed", "8")
    assert other.returncode == FAILED
    assert "was begun with seed 7" in other.stderr


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = gpubroker(tmp_path, "sandbox", "--port", str(taken.getsockname()[1]))
    assert refused.returncode == FAILED
    assert "`--port 0`" in refused.stderr
    assert gpubroker(tmp_path, "sandbox", "--port", "99999").returncode == FAILED


def test_a_state_file_of_no_use_is_told_and_left(tmp_path: Path) -> None:
    file = tmp_path / "cloud.json"
    file.write_text("half", encoding="utf-8")
    refused = gpubroker(tmp_path, "sandbox", "--port", "0", "--state", str(file))
    assert (refused.returncode, file.read_text(encoding="utf-8")) == (FAILED, "half")
    assert "STORAGE_UNAVAILABLE" in refused.stderr


def test_people_are_told_what_to_type(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "server", "sandbox", "--port", "0"],
        cwd=ROOT,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout is not None
            said = "".join(process.stdout.readline() for _ in range(12))
        finally:
            process.kill()
    address = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert address
    assert f"export GPUBROKER_SANDBOX_URL={address[0]}" in said
    assert "gpubroker sync sandbox" in said


async def test_a_sandbox_that_does_not_run_is_no_problem_to_doctor(tmp_path: Path) -> None:
    async def nobody_at_home(host: str, _port: int) -> bool:
        return host != "127.0.0.1"

    found = await doctor.examine(configured(tmp_path), reach=nobody_at_home)
    assert found["problems"] == []
    line = next(line for line in found["providers"] if line["provider"] == "sandbox")
    assert (line["reachable"], "`gpubroker sandbox`" in line["remarks"]) == (False, True)


async def test_doctor_knocks_where_the_sandbox_was_moved_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUBROKER_SANDBOX_URL", "http://127.0.0.1:4711/")
    asked: list[tuple[str, int]] = []

    async def noted(host: str, port: int) -> bool:
        asked.append((host, port))
        return True

    await doctor.examine(configured(tmp_path, providers="sandbox"), reach=noted)
    assert asked == [("127.0.0.1", 4711)]
