"""The conformance runner reads the suite's summary rightly; the suite itself runs by `make conformance`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance import run

_SUMMARY = """
=== SUMMARY ===
✓ tools-list: 3 passed, 0 failed
✗ ping: 1 passed, 2 failed
✗ tasks-lifecycle: 2 passed, 7 failed

Total: 6 passed, 9 failed
"""


def test_only_tasks_may_fail() -> None:
    leg = run.scored("fixture", _SUMMARY)
    assert (leg.scenarios, leg.passed, leg.failed, leg.accepted) == (2, 4, 2, 1)
    assert leg.unexpected == ("ping",)


def test_no_summary_is_no_success() -> None:
    assert run.scored("fixture", "connection refused").scenarios == 0


def test_a_package_of_the_right_version_is_not_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TOOLS", tmp_path)
    folder = tmp_path / "node_modules" / "thing"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"version": "1.0.0"}))
    assert run.installed("thing", "1.0.0", ["/does/not/exist"]) == folder


def test_a_failed_check_is_told_in_words(tmp_path: Path) -> None:
    checks = [
        {"id": "a", "status": "SUCCESS"},
        {"id": "b", "status": "FAILURE", "errorMessage": "wrong"},
    ]
    path = tmp_path / "server-ping" / "checks.json"
    path.parent.mkdir()
    path.write_text(json.dumps(checks))
    assert run.failed_checks(path) == ["! server-ping b: wrong"]
