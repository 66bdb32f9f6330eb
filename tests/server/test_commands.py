"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from market.mandates import Violation, refusal
from server.commands import COMMANDS, DONE, FAILED, NOTHING, UNWELL, USAGE, _named, _say_refusal, main
from server.usage import SUMMARIES
from tests.house import ROOT
from tests.server.program import environment, gpubroker


@pytest.fixture(scope="module")
def folder(filled_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the filled folder."""
    return Path(shutil.copytree(filled_folder, tmp_path_factory.mktemp("cli") / "data"))


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a command that runs in this process."""
    for name in [name for name in os.environ if name.startswith("GPUBROKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GPUBROKER_DATA_DIR", str(folder))
    monkeypatch.setenv("GPUBROKER_SYNC", "off")
    # A table with an API of its own would be asked.
    monkeypatch.setenv("GPUBROKER_PROVIDERS", "verda")


def test_the_version_is_told_without_loading_anything_heavy(folder: Path) -> None:
    code = (
        "import sys; from server.commands import main; main(['--version']);"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith("gpubroker ")
    heavy = {"mcp", "pydantic", "starlette", "sqlalchemy", "numpy", "rich", "httpx", "adapters", "tools", "market"}
    assert not [name for name in heavy if f"'{name}'" in ended.stderr]


def test_every_command_has_a_summary_and_a_function() -> None:
    assert SUMMARIES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


JSON_COMMANDS: dict[str, tuple[list[str], int]] = {
    "search": (["search", "gpu=H100", "region=eu"], DONE),
    "search in vain": (["search", "nobody sells this"], NOTHING),
    "search refused": (["search", "gpu=H1000"], FAILED),
    "parse": (["parse", "fine-tune Llama 3 8B under $3 an hour"], DONE),
    "parse in vain": (["parse", "hello"], NOTHING),
    "call": (["call", "rank_offers", "workload=serve Llama 3.1 8B"], DONE),
    "call refused": (["call", "get_offer", "id=nobody:x:y"], FAILED),
    "call nothing": (["call", "serch_offers"], FAILED),
    "sync": (["sync", "verda"], DONE),
    "sync nobody": (["sync", "vrda"], FAILED),
    "migrate": (["migrate"], DONE),
    "doctor": (["doctor"], DONE),
    "serve refused": (["serve", "--host", "0.0.0.0"], FAILED),  # noqa: S104 - refused, that is the point
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("case", JSON_COMMANDS)
def test_json_is_the_only_thing_on_stdout(capsys: pytest.CaptureFixture[str], case: str) -> None:
    arguments, code = JSON_COMMANDS[case]
    assert main([*arguments, "--json"]) == code
    said = capsys.readouterr()
    body: Any = json.loads(said.out)
    assert ("error" in body) == (code == FAILED)
    assert said.err == ""


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("case", JSON_COMMANDS)
def test_people_read_words_and_find_faults_on_stderr(capsys: pytest.CaptureFixture[str], case: str) -> None:
    arguments, code = JSON_COMMANDS[case]
    assert main(arguments) == code
    said = capsys.readouterr()
    assert bool(said.out) == (code != FAILED)
    assert bool(said.err) == (code == FAILED)
    assert "Traceback" not in said.err


def test_a_mandates_refusal_says_in_words_what_would_pass(capsys: pytest.CaptureFixture[str]) -> None:
    lacking = Violation(
        constraint="max_hours", message="9 is more than 8.", asked=9, allowed=8, excess=1, would_pass="at most 8 hours"
    )
    _say_refusal(refusal("mandate-1", [lacking]), as_json=False)
    assert capsys.readouterr().err.splitlines()[1:] == ["  would_pass (max_hours): at most 8 hours"]


USAGES: dict[str, tuple[list[str], str]] = {
    "a wrong command": (["serach"], "did you mean `search`?"),
    "a foreign command": (["bogus"], "there is no command `bogus`"),
    "a wrong option": (["search", "--jsno"], "did you mean `--json`?"),
    "a filter as an option": (["search", "--max-price", "3"], "max_price=3"),
    "a wrong option with a value": (["serve", "--prot=1"], "did you mean `--port`?"),
    "a word too many": (["doctor", "now"], "`now` is one word too many"),
    "a missing word": (["call"], "tool"),
    "no number": (["serve", "--port", "x"], "invalid int value"),
}


@pytest.mark.parametrize("case", USAGES)
def test_wrong_usage_is_code_2_with_the_nearest_right_word(capsys: pytest.CaptureFixture[str], case: str) -> None:
    arguments, word = USAGES[case]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    assert ended.value.code == USAGE
    assert word in said.err
    assert said.out == ""


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == USAGE
    assert "doctor" in capsys.readouterr().out


REFUSALS: dict[str, tuple[list[str], str]] = {
    "a tool": (["call", "serch_offers"], "search_offers"),
    "something of another world": (["call", "xyz"], "market_overview"),
    "what is no tool": (["call", "list_gpus"], "There is no tool"),
    "a provider": (["sync", "vast"], "vastai"),
    "a provider nobody knows": (["sync", "qqqqqq"], "gpubroker doctor"),
    "a GPU": (["search", "gpu=H1000"], "`H100`"),
    "a filter": (["search", "gpuu=H100"], "`gpu`"),
    "an argument": (["call", "search_offers", "H100"], "name=value"),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("case", REFUSALS)
def test_a_wrong_name_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str], case: str) -> None:
    arguments, word = REFUSALS[case]
    assert main(arguments) == FAILED
    assert word in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("gpu=4090", "4090"),
        ("gpu=H100,A100", "H100,A100"),
        ('gpu=["H100","A100"]', ["H100", "A100"]),
        ('weights={"price":1}', {"price": 1}),
        ('q="3"', "3"),
        ("q=[half", "[half"),
        ("q=NaN", "NaN"),
        ("q=" + "[" * 100_000, "[" * 100_000),
        ("q=a=b", "a=b"),
        ("q=", ""),
    ],
)
def test_an_argument_stays_text_unless_it_is_written_as_json(word: str, value: Any) -> None:
    assert list(_named([word])[0].values()) == [value]


def test_a_name_given_twice_is_a_list_and_other_words_stay_words() -> None:
    assert _named(["gpu=H100", "cheap", "gpu=A100", "1=2"]) == ({"gpu": ["H100", "A100"]}, ["cheap", "1=2"])


@pytest.mark.usefixtures("here")
def test_numbers_and_lists_are_understood_from_words(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gpu=4090", "gpu=H100", "max_price=2.5", "limit=50", "availability=unknown"]
    assert main(["search", *words, "--json"]) == DONE
    offers = json.loads(capsys.readouterr().out)["items"]
    assert {offer["gpu"].partition("-")[0] for offer in offers} == {"RTX", "H100"}
    assert all(offer.get("price_per_hour_usd", offer["price_per_hour"]) <= 2.5 for offer in offers)


HIDDEN = "geheim"
WRONG_SETTINGS: dict[str, dict[str, str]] = {
    "`port` must be": {"GPUBROKER_PORT": "abc"},
    "`port` must be at most 65535": {"GPUBROKER_PORT": "99999"},
    "`sync` must be one of": {"GPUBROKER_SYNC": "maybe"},
    "`log_level` must be one of": {"GPUBROKER_LOG_LEVEL": "LOUD"},
    "`read_only` must be": {"GPUBROKER_READ_ONLY": "perhaps"},
    "GPUBROKER_DATABASE_URL": {"GPUBROKER_DATABASE_URL": f"mysql://u:{HIDDEN}@h/d"},
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("said", WRONG_SETTINGS)
def test_a_wrong_setting_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    for name, value in WRONG_SETTINGS[said].items():
        monkeypatch.setenv(name, value)
    assert main(["search"]) == FAILED
    words = capsys.readouterr().err
    assert said in words
    assert HIDDEN not in words


def test_sync_says_which_provider_could_not_be_asked_and_ends_with_code_4(folder: Path) -> None:
    for arguments in (["sync", "vultr"], ["sync", "vultr", "--json"]):
        ended = gpubroker(folder, *arguments)
        assert ended.returncode == UNWELL
        assert "vultr" in ended.stdout
        assert "Traceback" not in ended.stderr
    assert gpubroker(folder, "search", "provider=vultr").returncode == DONE


def test_whoever_stops_reading_ends_it_quietly(folder: Path) -> None:
    for arguments in (["search", "limit=50"], ["search", "limit=50", "--json"], ["doctor", "--json"]):
        with subprocess.Popen(
            [sys.executable, "-m", "server", *arguments],
            cwd=ROOT,
            env=environment(folder, GPUBROKER_PROVIDERS="verda"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode in {DONE, UNWELL}


def test_ctrl_c_ends_it_quietly(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "server", "stdio"],
        cwd=ROOT,
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ask = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        process.stdin.write(json.dumps(ask).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in said


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_utf_8_is_no_reason_to_fail(folder: Path, encoding: str) -> None:
    for arguments in (["search", "gpu=H100", "limit=2"], ["search", "nobody sells this"], ["search", "gpu=H1000"]):
        ended = gpubroker(folder, *arguments, PYTHONIOENCODING=encoding)
        assert ended.returncode in {DONE, FAILED, NOTHING}
        assert "Traceback" not in ended.stderr
    found = gpubroker(folder, "search", "gpu=H100", "--json", PYTHONIOENCODING=encoding)
    assert json.loads(found.stdout)["total"] > 0
