"""`gpubroker keys` and `gpubroker mandate`: what is signed is shown, and a wrong option is named as it was written."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from server.commands import DONE, FAILED, USAGE, main
from server.mandate_commands import _FLAGS, _what_runs
from server.usage import parser
from tools.mandate_forms import Constraints, CreateMandate, MandateView, RaiseMandate, StandingView


@pytest.fixture(autouse=True)
def here(filled_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a command that runs in this process, over a catalogue without keys."""
    for name in [name for name in os.environ if name.startswith("GPUBROKER_")]:
        monkeypatch.delenv(name)
    shutil.copytree(filled_folder, tmp_path / "data")
    monkeypatch.setenv("GPUBROKER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("GPUBROKER_SYNC", "off")


class Terminal:
    """Runs commands and reads what they say."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *words: str, code: int = DONE) -> str:
        """What a command says: its output, or its complaint when it is to fail."""
        assert main(list(words)) == code, self._capsys.readouterr()
        said = self._capsys.readouterr()
        return said.out if code == DONE else said.err

    def json(self, *words: str) -> Any:
        """What a command says to a program."""
        return json.loads(self.run(*words, "--json"))


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal."""
    return Terminal(capsys)


EVERYTHING = """
--budget 50 --hourly 5 --max-hours 8 --max-concurrent 2 --min-amount 1 --max-amount 20 --recurrence 5/day
--provider runpod --provider vastai --gpu H100 --region eu --tag soc2 --pricing on_demand
--currency USD --currency EUR --approval-above 20 --failover --allow-unverified --on-revocation terminate --expires 30d
"""


def test_what_is_signed_is_shown(terminal: Terminal) -> None:
    made = terminal.run("keys", "create", "researcher", "--expires", "90")
    assert "gpbk_" in made
    said = terminal.run("mandate", "create", "--agent", "researcher", *EVERYTHING.split())
    for words in ("$50.00", "$1.00 to $20.00", "5 new bookings in any day", "runpod, vastai", "8 hours", "terminate"):
        assert words in said
    (one,) = terminal.json("mandate", "list")["items"]
    constraints = one["constraints"]
    assert constraints["amount_range"] == {"min": 1.0, "max": 20.0}
    assert constraints["currencies"] == ["EUR", "USD"]
    assert (constraints["failover"], constraints["allow_unverified"]) == (True, True)
    table = terminal.run("mandate", "list")
    assert one["id"] in table
    assert "$50.00" in table
    assert terminal.json("mandate", "show", one["id"])["jws"].count(".") == 2


def test_a_mandate_is_raised_and_revoked(terminal: Terminal) -> None:
    mandate_id = terminal.json("mandate", "create", "--budget", "5", "--expires", "12h")["id"]
    raised = terminal.json("mandate", "raise", mandate_id, "--budget", "50", "--hourly", "3", "--expires", "2w")
    assert (raised["version"], raised["constraints"]["budget"], raised["constraints"]["hourly_budget"]) == (2, 50, 3)
    said = terminal.run("mandate", "revoke", mandate_id, "--terminate")
    assert "revoked" in said
    assert said.endswith("Nothing runs under it.\n")
    assert "No mandate is in force" in terminal.run("mandate", "list")
    assert mandate_id in terminal.run("mandate", "list", "--all")
    assert "already" in terminal.run("mandate", "revoke", mandate_id, code=FAILED)


def test_a_revoked_key_says_what_ended_with_it(terminal: Terminal) -> None:
    assert "no agent key yet" in terminal.run("keys", "list")
    key = terminal.json("keys", "create", "agent")
    mandate_id = terminal.json("mandate", "create", "--agent", key["id"], "--budget", "5")["id"]
    assert mandate_id in terminal.run("keys", "revoke", "agent")
    (listed,) = terminal.json("keys", "list")["items"]
    assert listed["state"] == "revoked"
    assert "secret" not in listed


def test_an_agent_is_not_let_to_the_pen(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUBROKER_AGENT_KEY", terminal.json("keys", "create", "agent")["secret"])
    assert "mandates:sign" in terminal.run("mandate", "create", "--budget", "5", code=FAILED)
    assert "keys:manage" in terminal.run("keys", "create", "another", code=FAILED)
    monkeypatch.setenv("GPUBROKER_AGENT_KEY", "gpbk_wrong")
    assert "AUTHENTICATION_ERROR" in terminal.run("mandate", "list", code=FAILED)


REFUSED = {
    "--budget abc": "`--budget` must be a number",
    "--budget 0": "`--budget` must be above 0",
    "--budget 0.00000001": "`--budget` must have at most 6 decimals",
    "--budget 5 --hourly -1": "`--hourly` must be at least 0",
    "--budget 5 --max-amount x": "`--max-amount` must be a number",
    "--budget 5 --gpu H1000": "`--gpu`: nothing is called `H1000`",
    "--budget 5 --provider rumpod": "`--provider`: nothing",
    "--budget 5 --region eurpe": "`--region`: nothing",
    "--budget 5 --currency USB": "`--currency`: nothing",
    "--budget 5 --currency QQQ": "left out, only offers in USD are allowed",
    "--budget 5 --recurrence 5": "`--recurrence` cannot be `5`",
    "--budget 5 --recurrence x/day": "`--recurrence` must be a whole number",
    "--budget 5 --recurrence 5/hour": "`--recurrence` must be one of",
    "--budget 5 --expires soon": "`--expires` cannot be `soon`",
    "--budget 5 --expires 2020-01-01": "`--expires` lies in the past",
    "--budget 5 --expires 999999d": "`--expires` must be at most 732 days. Correct and run it again.",
    "--budget 5 --expires 0h": "`--expires` must be above 0 days",
    "--budget 5 --pricing cheap": "`--pricing` must be one of",
    "--budget 5 --min-amount 9 --max-amount 5": ": `--min-amount` must not be above `--max-amount`",
    "--budget 5 --on-revocation forget": "`--on-revocation` must be one of",
    "--budget 5 --agent nobody": "There is no agent key `nobody`",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_wrong_option_is_named_as_it_was_written(terminal: Terminal, line: str) -> None:
    said = terminal.run("mandate", "create", *line.split(), code=FAILED)
    assert REFUSED[line] in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mandate create", "--budget"),
        ("mandate", "One of: create, list, show, raise, revoke"),
        ("audit", "One of: verify, export, redact"),
        ("mandate sing", "invalid choice"),
        ("mandate create --budget 5 --hurly 2", "did you mean"),
        ("keys create", "name"),
        ("keys revoke", "key"),
    ],
)
def test_wrong_usage_is_code_2(capsys: pytest.CaptureFixture[str], line: str, words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == USAGE
    assert words in capsys.readouterr().err


def test_every_field_has_its_option() -> None:
    fields = {*CreateMandate.model_fields, *RaiseMandate.model_fields} - {"mandate_id", "failover", "allow_unverified"}
    assert fields - {"amount_range"} <= _FLAGS.keys()
    usage = parser().parse_args(["mandate", "create", *EVERYTHING.split()])
    given = {name.removeprefix("--").partition("=")[0] for name in EVERYTHING.split() if name.startswith("--")}
    assert {flag.removeprefix("--") for flag in _FLAGS.values()} - {"agent", "not-before"} <= given
    assert usage.budget == "50"


@pytest.mark.parametrize(
    ("policy", "option", "words"),
    [
        ("keep", False, "Machines under it: 2. They go on until their end: end them with `terminate_booking`."),
        ("keep", True, "Machines under it: 2. The watchdog ends them now; start `gpubroker serve` when none runs."),
        (
            "terminate",
            False,
            "Machines under it: 2. The watchdog ends them now; start `gpubroker serve` when none runs.",
        ),
    ],
)
def test_what_becomes_of_running_machines_is_said(policy: str, option: bool, words: str) -> None:
    revoked = MandateView.model_construct(
        standing=StandingView.model_construct(running=2), constraints=Constraints.model_construct(on_revocation=policy)
    )
    assert _what_runs(revoked, told_to_end=option) == words
