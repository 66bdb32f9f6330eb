"""`gpubroker audit`: plain words and exit codes for those who check the log, and an export anybody can verify."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from market import audit
from market.settings import Settings
from market.store import Store
from server.commands import DONE, FAILED, UNWELL, USAGE, main

ENTRIES = 5


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder whose log has five entries, anchored."""
    monkeypatch.setenv("GPUBROKER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GPUBROKER_SYNC", "off")
    asyncio.run(_filled(Settings(data_dir=tmp_path)))
    return tmp_path


async def _filled(settings: Settings) -> None:
    store = await Store.open(settings.store_url)
    for number in range(ENTRIES):
        async with store.write() as connection:
            await audit.append(
                connection,
                at=datetime(2026, 1, 15, 12, tzinfo=UTC) + timedelta(microseconds=number),
                actor="key-abc",
                action="booking.requested",
                subject=f"booking-{number}",
                details={"total": "12.5", "name": "Zürich"},
                personal={"email": "ada@example.org"},
            )
    await audit.anchor(settings, store)
    await store.close()


def _tampered(folder: Path, *statements: str) -> None:
    database = sqlite3.connect(folder / "gpubroker.db")
    for statement in ("DROP TRIGGER audit_log_redaction_only", "DROP TRIGGER audit_log_no_delete", *statements):
        database.execute(statement)
    database.commit()
    database.close()


def _exported(capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    assert main(["audit", "export", *options]) == DONE
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_whole_log_is_said_to_be_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify"]) == DONE
    said = capsys.readouterr().out
    assert "whole: 5 entries" in said
    assert "anchored at entry 5" in said
    assert main(["audit", "verify", "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["intact"], found["entries"], found["problems"]) == (True, ENTRIES, [])


def test_an_edited_log_is_told_in_plain_words_and_by_the_exit_code(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _tampered(folder, "UPDATE audit_log SET details = '{}' WHERE seq = 3")
    assert main(["audit", "verify"]) == UNWELL
    said = capsys.readouterr().out
    assert "NOT as it was written" in said
    assert "Entry 3 was edited" in said
    assert "backup" in said
    assert main(["audit", "--json", "verify"]) == UNWELL
    assert json.loads(capsys.readouterr().out)["problems"][0]["seq"] == 3


def test_a_cut_tail_is_told_though_the_database_fits_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _tampered(
        folder,
        "DELETE FROM audit_log WHERE seq > 3",
        "UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit_log WHERE seq = 3)",
    )
    assert main(["audit", "verify"]) == UNWELL
    assert "ends at entry 3, but entry 5 was anchored" in capsys.readouterr().out


def test_an_empty_log_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPUBROKER_DATA_DIR", str(tmp_path))
    assert main(["audit", "verify"]) == DONE
    assert "empty" in capsys.readouterr().out


def test_the_export_verifies_with_nothing_of_ours(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *entries, end = _exported(capsys)
    assert [one["seq"] for one in entries] == [1, 2, 3, 4, 5]
    previous = ""
    for one in entries:
        hashed = {name: one[name] for name in ("action", "actor", "at", "details", "personal_hash", "seq", "subject")}
        line = previous + json.dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert one["previous_hash"] == previous
        assert one["hash"] == hashlib.sha256(line.encode()).hexdigest()
        previous = one["hash"]
    assert end == {"head": {"seq": ENTRIES, "hash": previous}}


def test_an_export_goes_over_many_pages(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.audit_commands.AT_ONCE", 2)
    assert [one.get("seq") for one in _exported(capsys)] == [1, 2, 3, 4, 5, None]


def test_an_export_can_be_narrowed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [one["seq"] for one in _exported(capsys, "--subject", "booking-2")[:-1]] == [3]
    assert [one["seq"] for one in _exported(capsys, "--after", "3")[:-1]] == [4, 5]
    assert _exported(capsys, "--since", "2026-01-16")[:-1] == []


def test_personal_details_are_erased_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "redact", "--subject", "booking-1", "--reason", "case 7"]) == DONE
    assert "from 1 entries" in capsys.readouterr().out
    entries = _exported(capsys)
    assert ["personal" in one for one in entries[:ENTRIES]] == [True, False, True, True, True]
    assert main(["audit", "verify"]) == DONE
    assert "1 were erased on purpose" in capsys.readouterr().out
    assert main(["audit", "redact", "--actor", "key-abc", "--json"]) == DONE
    assert json.loads(capsys.readouterr().out) == {"redacted": 4}


def test_what_is_missing_or_wrong_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "redact"]) == FAILED
    assert "`--subject` or `--actor`" in capsys.readouterr().err
    for wrong in (["audit"], ["audit", "shred"], ["audit", "verify", "--actor", "key-abc"]):
        with pytest.raises(SystemExit) as ended:
            main(wrong)
        assert ended.value.code == USAGE


def test_nothing_to_erase_is_said_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "redact", "--subject", "booking-99"]) == DONE
    assert "Nothing was erased" in capsys.readouterr().out


def test_a_terminal_that_shows_an_agents_key_reads_and_erases_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["keys", "create", "agent", "--json"]) == DONE
    monkeypatch.setenv("GPUBROKER_AGENT_KEY", json.loads(capsys.readouterr().out)["secret"])
    for words in (["verify"], ["export"], ["redact", "--subject", "booking-1"]):
        assert main(["audit", *words]) == FAILED
        assert "AUTHORIZATION_ERROR" in capsys.readouterr().err
