"""`gpubroker doctor`: whatever is wrong is named, with what to do, and never ends in a fault of its own."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters import Broken
from market import booking_book, leases, strays
from market.settings import Settings
from server import app, doctor
from server.commands import DONE, UNWELL
from tests.buying import Buying, opened
from tests.conftest import ManualClock
from tests.server.program import gpubroker
from tools.authority import WATCHDOG_LEASE

LONG_AGO = 1_577_836_800_000_000
"""The first of January 2020 as it is stored."""


@pytest.fixture
def folder(filled_folder: Path, tmp_path: Path) -> Path:
    """A copy of the filled folder."""
    return Path(shutil.copytree(filled_folder, tmp_path / "data"))


def configured(folder: Path, **changed: Any) -> Settings:
    """Settings over a folder."""
    return Settings(**{"data_dir": folder, "sync": "off", **changed})


async def everybody(_host: str, _port: int) -> bool:
    """All answer."""
    return True


async def nobody(_host: str, _port: int) -> bool:
    """None answers."""
    return False


async def test_nothing_is_wrong_when_nothing_is(folder: Path) -> None:
    found = await doctor.examine(configured(folder), reach=everybody)
    assert found["problems"] == []
    assert {line["provider"] for line in found["providers"]} == set(app.providers()[0])
    assert int(found["configuration"]["offers"]) > 1_000
    assert found["configuration"]["database"] == str(folder / "gpubroker.db")


async def test_sources_that_cannot_be_reached_are_one_problem(folder: Path) -> None:
    found = await doctor.examine(configured(folder), reach=nobody)
    assert len(found["problems"]) == 1
    assert "vultr" in found["problems"][0]
    assert "Is there a network?" in found["problems"][0]


async def test_only_the_chosen_providers_are_asked(folder: Path) -> None:
    asked: list[str] = []

    async def noted(host: str, port: int) -> bool:
        asked.append(f"{host}:{port}")
        return True

    found = await doctor.examine(configured(folder, providers="vultr,verda"), reach=noted)
    assert asked == ["api.vultr.com:443"]
    assert [line["provider"] for line in found["providers"] if line["live"]] == ["vultr"]


async def test_a_provider_module_that_cannot_be_imported_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = app.providers()[0]
    monkeypatch.setattr("adapters.discover", lambda: (found, (Broken("acme", "SyntaxError: line 3"),)))
    problems = (await doctor.examine(configured(folder), reach=everybody))["problems"]
    assert problems == ["provider module `acme` cannot be imported: SyntaxError: line 3"]


async def test_a_source_that_failed_or_is_late_is_named(folder: Path) -> None:
    with sqlite3.connect(folder / "gpubroker.db") as database:
        database.execute("UPDATE providers SET state='unhealthy', last_error='It sent HTML.' WHERE name='vultr'")
        database.execute("UPDATE providers SET last_complete_at=?, state='healthy' WHERE name='akash'", (LONG_AGO,))
    database.close()
    found = await doctor.examine(configured(folder), reach=everybody)
    assert "vultr can be connected to, but: It sent HTML." in found["problems"]
    assert "Not confirmed lately: akash. Run `gpubroker sync akash`." in found["problems"]


async def test_a_disk_that_is_almost_full_is_a_problem(folder: Path) -> None:
    found = await doctor.examine(configured(folder), reach=everybody, enough_disk_bytes=1 << 60)
    assert len(found["problems"]) == 1
    assert str(folder) in found["problems"][0]
    assert "GPUBROKER_DATA_DIR" in found["problems"][0]


@pytest.mark.parametrize("wrong", ["corrupt", "a file in the way"])
async def test_a_database_that_cannot_be_used_is_named_and_the_rest_still_looked_at(tmp_path: Path, wrong: str) -> None:
    folder = tmp_path / "data"
    if wrong == "corrupt":
        folder.mkdir()
        (folder / "gpubroker.db").write_bytes(b"no database, whatever its name says " * 300)
    else:
        folder.write_text("a file")
        folder = folder / "below"
    found = await doctor.examine(configured(folder), reach=nobody)
    assert str(folder / "gpubroker.db") in found["problems"][0]
    assert any("vultr" in problem for problem in found["problems"])
    assert found["providers"]


async def test_a_password_is_never_shown(folder: Path) -> None:
    hidden = "geheim"
    settings = configured(folder, database_url=f"postgresql://u:{hidden}@127.0.0.1:1/gpu")
    found = await doctor.examine(settings, reach=everybody)
    assert found["problems"]
    assert hidden not in str(found)


async def test_a_connection_is_tried_for_real() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await doctor.reachable("127.0.0.1", port)
    assert not await doctor.reachable("127.0.0.1", port)


async def bought(folder: Path) -> Buying:
    """A booking under the sandbox mandate, in a folder whose market is closed again."""
    async with opened(folder, ManualClock(datetime.now(UTC))) as buying:
        await buying.books()
        return buying


async def test_nothing_bought_is_nothing_to_watch(folder: Path) -> None:
    found = await doctor.examine(configured(folder), reach=everybody)
    assert found["purchases"] == {
        "watchdog": "none runs",
        "bookings open": "0, 0 of them stuck",
        "strays": "0",
        "mandates in force": "0",
        "approvals waiting": "0",
        "audit log": "empty",
    }


async def test_an_open_booking_that_nobody_watches_is_a_problem_until_somebody_does(tmp_path: Path) -> None:
    await bought(tmp_path)
    found = await doctor.examine(configured(tmp_path, providers="verda"), reach=everybody)
    assert found["purchases"]["bookings open"] == "1, 0 of them stuck"
    assert found["purchases"]["mandates in force"] == "1"
    assert "anchored at entry" in found["purchases"]["audit log"]
    (problem,) = found["problems"]
    assert "no watchdog runs" in problem
    assert "gpubroker serve" in problem

    async with opened(tmp_path, ManualClock(datetime.now(UTC))) as buying:
        store, now = await buying.store(), buying.clock.now()
        assert await leases.take(store, WATCHDOG_LEASE, "a server", timedelta(minutes=1), now)
    watched = await doctor.examine(configured(tmp_path, providers="verda"), reach=everybody)
    assert (watched["purchases"]["watchdog"], watched["problems"]) == ("runs", [])


async def test_what_may_cost_money_unseen_is_named(tmp_path: Path) -> None:
    async with opened(tmp_path, ManualClock(datetime.now(UTC))) as buying:
        booked = await buying.books()
        store, booking = await buying.store(), await buying.booking(booked.id)
        async with store.write() as connection:
            await booking_book.move(connection, booking, "stuck", runner=None, reason="could not be ended")
            await strays.note(
                connection,
                provider="sandbox",
                provider_instance_id="m-77",
                kind="orphan",
                label="gpubroker-zzz-1",
                booking_id=None,
                action="reported: its label is not in our book",
                at=buying.clock.now(),
            )
    found = await doctor.examine(configured(tmp_path, providers="verda"), reach=everybody)
    assert found["purchases"]["bookings open"] == "1, 1 of them stuck"
    assert found["purchases"]["strays"] == "1"
    assert f"Booking {booked.id} is stuck: could not be ended. Look at the console of sandbox." in found["problems"]
    assert any("m-77" in problem and "of no booking of ours" in problem for problem in found["problems"])


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE mandates SET budget = budget * 2", "does not say what was signed"),
        ("UPDATE audit_log SET hash = 'f' || substr(hash, 2) || 'f' WHERE seq > 0", "as it was anchored"),
        ("DELETE FROM audit_log", "as it was anchored"),
    ],
)
async def test_a_mandate_or_a_log_that_was_changed_is_named(tmp_path: Path, statement: str, words: str) -> None:
    await bought(tmp_path)
    with sqlite3.connect(tmp_path / "gpubroker.db") as database:
        for trigger in ("audit_log_redaction_only", "audit_log_no_delete"):
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute(statement)
    database.close()
    found = await doctor.examine(configured(tmp_path, providers="verda"), reach=everybody)
    assert any(words in problem for problem in found["problems"])


async def test_a_lost_anchor_is_named(tmp_path: Path) -> None:
    await bought(tmp_path)
    (tmp_path / "audit.head").unlink()
    found = await doctor.examine(configured(tmp_path, providers="verda"), reach=everybody)
    assert "no anchor" in found["purchases"]["audit log"]
    assert any("no anchor in this data folder" in problem for problem in found["problems"])


def test_it_ends_with_code_4_when_something_is_wrong_and_0_when_not(folder: Path) -> None:
    offline = gpubroker(folder, "doctor")
    assert offline.returncode == UNWELL
    assert offline.stdout.strip().splitlines()[-1].startswith("problem") or "network" in offline.stdout
    assert gpubroker(folder, "doctor", GPUBROKER_PROVIDERS="verda").returncode == DONE
