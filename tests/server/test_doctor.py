"""`gpubroker doctor`: whatever is wrong is named, with what to do, and never ends in a fault of its own."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from adapters import Broken
from market.settings import Settings
from server import app, doctor
from server.commands import DONE, UNWELL
from tests.server.program import gpubroker

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


def test_it_ends_with_code_4_when_something_is_wrong_and_0_when_not(folder: Path) -> None:
    offline = gpubroker(folder, "doctor")
    assert offline.returncode == UNWELL
    assert offline.stdout.strip().splitlines()[-1].startswith("problem") or "network" in offline.stdout
    assert gpubroker(folder, "doctor", GPUBROKER_PROVIDERS="verda").returncode == DONE
