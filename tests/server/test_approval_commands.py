"""`gpubroker approve`: a person at a terminal sees what waits and decides it once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from market import approvals
from market.approval_states import Approval
from market.context import Caller, SystemClock
from market.settings import Settings
from market.store import Store
from server.commands import main

AGENT = Caller("an agent", frozenset(), agent_key_id="key-one")
Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command over a folder of the test."""
    monkeypatch.setenv("GPUBROKER_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("GPUBROKER_AGENT_KEY", raising=False)
    return lambda *words: main(["approve", *words])


def asked(folder: Path, subject: str = "extend:abc:1") -> Approval:
    """A question in the database of this folder."""

    async def ask() -> Approval:
        settings = Settings(data_dir=folder)
        store = await Store.open(settings.store_url)
        try:
            return await approvals.ask(
                store,
                settings,
                subject=subject,
                caller=AGENT,
                mandate_id="mandate-one",
                summary="Ten hours more.",
                amount=Decimal("12.5"),
                now=SystemClock().now(),
            )
        finally:
            await store.close()

    return asyncio.run(ask())


def test_nothing_waiting_is_said_with_its_own_exit_code(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 3
    assert "Nothing waits" in capsys.readouterr().out


def test_what_waits_is_listed_and_approved_once(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    approval = asked(tmp_path)
    assert run("list") == 0
    shown = capsys.readouterr().out
    for told in (approval.id, "Ten hours more.", "12.50 USD", "key-one", "mandate-one", "gpubroker approve yes"):
        assert told in shown
    assert run("yes", approval.id) == 0
    said = capsys.readouterr().out
    assert "approved by local-owner (cli)" in said
    assert "make the same call again" in said
    assert run("no", approval.id) == 1
    assert "approved by local-owner (cli) already" in capsys.readouterr().err
    assert run("list") == 3


def test_a_decline_is_listed_among_all_as_json(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    approval = asked(tmp_path)
    assert run("no", approval.id, "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == "declined"
    assert run("list", "--all", "--json") == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert (item["id"], item["state"], item["decided_via"]) == (approval.id, "declined", "cli")


def test_an_unknown_id_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("yes", "approval-none") == 1
    assert "NOT_FOUND" in capsys.readouterr().err


def test_a_terminal_that_shows_an_agents_key_decides_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    approval = asked(tmp_path)
    assert main(["keys", "create", "an-agent", "--json"]) == 0
    monkeypatch.setenv("GPUBROKER_AGENT_KEY", json.loads(capsys.readouterr().out)["secret"])
    for words in (("list",), ("yes", approval.id)):
        assert run(*words) == 1
        said = capsys.readouterr().err
        assert "AUTHORIZATION_ERROR" in said
