"""`gpubroker demo`: the real server over stdio, a real client, a transcript; no network anywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from server import demo
from server.commands import DONE, FAILED
from server.demo import REQUEST
from tests.server.program import gpubroker

PROMISED = (
    "estimate_workload",
    "search_offers",
    "rank_offers",
    "get_offer",
    "market_overview",
    REQUEST,
    "understood:",
    "GB of GPU memory",
    "offers match, cheapest first",
    "published 20",
    "Against the first",
    "source_url",
    "price_as_of",
    "live sources that answered",
)


@pytest.mark.requirement("FR-MKT-1")
def test_on_an_empty_folder_it_shows_the_main_job_from_sizing_to_sources(tmp_path: Path) -> None:
    shown = gpubroker(tmp_path / "new", "demo", "--part", "market")
    assert shown.returncode == DONE, shown.stderr
    assert [part for part in PROMISED if part not in shown.stdout] == []
    assert "Traceback" not in shown.stderr


def test_without_a_network_it_says_so_and_goes_on(tmp_path: Path) -> None:
    shown = gpubroker(tmp_path / "new", "demo", "--part", "market", GPUBROKER_SYNC="on")
    assert shown.returncode == DONE, shown.stderr
    assert "none (prices are the published ones, as dated)" in shown.stdout
    assert "unhealthy: akash" in shown.stdout
    assert [part for part in PROMISED if part not in shown.stdout] == []


def test_its_settings_reach_the_server(tmp_path: Path) -> None:
    shown = gpubroker(
        tmp_path / "new", "demo", "--part", "market", "--json", GPUBROKER_SYNC="on", GPUBROKER_PROVIDERS="vultr"
    )
    health = {one["provider"]: one["state"] for one in json.loads(shown.stdout)["market"]["provider_health"]}
    assert health["vultr"] == "unhealthy"
    assert health["akash"] == "unknown"


def test_with_json_stdout_holds_the_answers_and_nothing_else(filled_folder: Path, tmp_path: Path) -> None:
    shown = gpubroker(Path(shutil.copytree(filled_folder, tmp_path / "data")), "demo", "--part", "market", "--json")
    said = json.loads(shown.stdout)
    assert list(said) == ["estimate", "search", "ranking", "offer", "market"]
    assert said["offer"]["id"] == said["ranking"]["items"][0]["id"]
    assert said["search"]["items"]
    assert "GPUBroker: what a client sees" in shown.stderr


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_it_fits_the_terminal(filled_folder: Path, columns: str) -> None:
    shown = gpubroker(filled_folder, "demo", "--part", "market", COLUMNS=columns)
    assert shown.returncode == DONE
    assert max(map(len, shown.stdout.splitlines())) <= min(int(columns), demo.MOST_COLUMNS)


def test_a_server_that_refuses_is_quoted(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    shown = gpubroker(blocked / "data", "demo", "--part", "market")
    assert shown.returncode == FAILED
    assert "The demo stopped at `estimate_workload`" in shown.stderr
    assert "Make its folder writable" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    shown = gpubroker(tmp_path, "demo", "--part", "market", GPUBROKER_REQUEST_STATE_KEY="short")
    assert shown.returncode == FAILED
    assert "GPUBROKER_REQUEST_STATE_KEY" in shown.stderr
    assert "The server that the demo started has ended." in shown.stderr
    assert "Traceback" not in shown.stderr


BOUGHT = (
    "gpubroker keys create demo-agent",
    "the mandate says no",
    "MANDATE_REFUSED",
    "gpubroker mandate raise",
    "held for it",
    "answers: SSH-2.0",
    "one hour more for",
    "terminated; final cost",
    "The provider's figure",
    "every link holds",
)


@pytest.mark.requirement("FR-BOOK-1")
def test_an_agent_buys_in_the_sandbox_and_a_person_holds_the_purse(tmp_path: Path) -> None:
    shown = gpubroker(tmp_path / "untouched", "demo", "--part", "booking", "--json")
    assert shown.returncode == DONE, shown.stderr
    assert [part for part in BOUGHT if part not in shown.stderr] == []
    purchase = json.loads(shown.stdout)["purchase"]
    assert purchase["booking"]["state"] == "terminated"
    assert purchase["audit"]["problem_count"] == 0
    assert not (tmp_path / "untouched").exists()
