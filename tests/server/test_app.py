"""The composition root: what starts, what stops, and what goes on when part of it fails."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from adapters import Broken
from market.context import Market
from market.errors import ValidationFailed
from market.settings import Settings
from server import app
from server.rest import PREFIX
from tests.server.facade import opened_app


@pytest.mark.requirement("FR-6.4")
def test_health_tells_of_the_catalogue_and_of_every_provider(settings: Settings) -> None:
    with opened_app(settings) as http:
        answer = http.get("/health")
    body = answer.json()
    assert answer.status_code == 200
    assert body["status"] == "healthy"
    assert body["catalogue"]["offers"] > 1_000
    assert body["providers"].keys() == app.providers()[0].keys()
    assert body["providers"]["verda"]["state"] == "healthy"
    assert body["providers"]["verda"]["offers"] > 0
    assert body["uptime_seconds"] >= 0


def test_a_provider_that_cannot_be_imported_is_unhealthy_and_harms_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = app.providers()[0]
    monkeypatch.setattr("adapters.discover", lambda: (found, (Broken("acme", "ImportError: no"),)))
    with opened_app(settings) as http:
        body = http.get("/health").json()
        assert http.get(f"{PREFIX}/providers").status_code == 200
    assert body["status"] == "degraded"
    assert body["providers"]["acme"]["state"] == "unhealthy"


def test_health_is_503_with_the_way_out_when_the_database_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "gpubroker.db").write_bytes(b"this is no database, whatever its name says" * 200)
    with opened_app(Settings(data_dir=tmp_path, sync="off")) as http:
        for path in ("/health", f"{PREFIX}/providers", f"{PREFIX}/market/overview"):
            answer = http.get(path)
            assert answer.status_code == 503, path
            assert answer.json()["error"]["code"] == "STORAGE_UNAVAILABLE"
            assert "doctor" in answer.json()["error"]["details"]["next_step"]
        assert http.get("/openapi.json").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", ""])  # noqa: S104 - refused, that is the point
def test_an_address_that_others_reach_is_refused(tmp_path: Path, host: str) -> None:
    settings = Settings(data_dir=tmp_path, host=host, sync="off")
    with pytest.raises(ValidationFailed, match="this machine only"):
        app.http_app(settings, app.make_market(settings))


def test_an_empty_folder_answers_at_once_from_the_published_tables(tmp_path: Path) -> None:
    with opened_app(Settings(data_dir=tmp_path / "new", sync="off")) as http:
        assert http.get(f"{PREFIX}/providers").json()["total"] > 1_000


def test_answers_go_on_when_fetching_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_market: Market, *, serving: bool) -> None:
        raise RuntimeError("the scheduler broke")

    monkeypatch.setattr(app, "keep_going", broken)
    with caplog.at_level(logging.ERROR, logger="gpubroker"), opened_app(settings) as http:
        assert http.get(f"{PREFIX}/providers").status_code == 200
    assert "not fetched and bookings not watched" in caplog.text


def test_fetching_is_cancelled_and_the_database_let_go_at_the_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    markets: list[Market] = []

    async def endless(market: Market, *, serving: bool) -> None:
        assert serving
        markets.append(market)
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")

    monkeypatch.setattr(app, "keep_going", endless)
    with opened_app(settings) as http:
        assert http.get(f"{PREFIX}/providers").status_code == 200
        assert told == []
    assert told == ["cancelled"]
    assert not Path(settings.data_dir / "gpubroker.db-wal").exists()


async def test_bookings_are_watched_but_nothing_fetched_when_fetching_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = asyncio.Event()

    async def tick(_self: object) -> None:
        watched.set()

    monkeypatch.setattr("tools.watchdog.Watchdog.tick", tick)
    monkeypatch.delattr("tools.scheduler.Scheduler")
    market = app.make_market(Settings(data_dir=tmp_path / "data", sync="off"))
    going = asyncio.create_task(app.keep_going(market, serving=False))
    await asyncio.wait_for(watched.wait(), timeout=10)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    await market.close()


async def test_fetching_into_an_unusable_folder_ends_with_a_word_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tools.scheduler.TICK_SECONDS", 0)
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    market = app.make_market(Settings(data_dir=blocked / "data", sync="on"))
    task = asyncio.create_task(app.keep_going(market, serving=False))
    with caplog.at_level(logging.WARNING, logger="gpubroker"):
        await asyncio.wait([task], timeout=0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await market.close()
    assert "Make its folder writable" in caplog.text
