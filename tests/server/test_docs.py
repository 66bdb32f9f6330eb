"""The generated pages: they name everything there is, and the contract with clients only grows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from market.settings import Settings
from server import docs
from server.usage import SUMMARIES
from tests.house import ROOT, project
from tools.capability import capabilities


def test_the_page_in_the_tree_is_what_the_code_generates() -> None:
    assert (ROOT / docs.REFERENCE).read_text(encoding="utf-8") == docs.reference(), "run `make docs`"


def test_the_page_names_every_tool_setting_command_error_and_provider() -> None:
    page = docs.reference()
    wanted = [f"### `{item.name}`" for item in capabilities().values() if "tool" in item.doors]
    wanted += [f"`GPUBROKER_{name.upper()}`" for name in Settings.model_fields]
    wanted += [f"`gpubroker {name}`" for name in SUMMARIES]
    wanted += ["`VALIDATION_ERROR`", "`STORAGE_UNAVAILABLE`", "`GET /api/v2/providers/{id}`", "`vultr`", "`spell`"]
    assert [text for text in wanted if text not in page] == []


def test_every_table_of_the_page_has_as_many_cells_in_each_row() -> None:
    widths: set[int] = set()
    for line in docs.reference().splitlines():
        cells = line.replace("\\|", "").count("|")
        if cells:
            widths.add(cells)
            assert len(widths) == 1, line
        else:
            widths.clear()


def test_the_contract_carries_the_major_version_alone() -> None:
    current = docs.contracts()
    assert docs.version() == project()["project"]["version"]
    assert current["openapi.json"]["info"]["version"] == docs.version().partition(".")[0]
    assert json.loads(docs.written(current)) == current


def test_pages_are_written_where_they_are_missing(tmp_path: Path) -> None:
    assert docs.main(tmp_path) == 0
    assert (tmp_path / docs.REFERENCE).read_text(encoding="utf-8") == docs.reference()
    for name, value in docs.contracts().items():
        assert (tmp_path / docs.CONTRACT / name).read_text(encoding="utf-8") == docs.written(value)
    assert docs.main(tmp_path) == 0


@pytest.fixture
def promised(tmp_path: Path) -> dict[str, Any]:
    """A contract that was written before."""
    docs.main(tmp_path)
    return docs.contracts()


def promise(root: Path, contracts: dict[str, Any]) -> None:
    """Write another contract."""
    for name, value in contracts.items():
        (root / docs.CONTRACT / name).write_text(docs.written(value), encoding="utf-8")


def test_what_only_adds_is_written(tmp_path: Path, promised: dict[str, Any]) -> None:
    less = json.loads(json.dumps(promised))
    del less["openapi.json"]["paths"]["/api/v2/providers"]["get"]["parameters"][-1]
    less["tools.json"]["tools"].pop()
    promise(tmp_path, less)
    assert docs.main(tmp_path) == 0
    assert json.loads((tmp_path / docs.CONTRACT / "tools.json").read_text(encoding="utf-8")) == promised["tools.json"]


def test_what_takes_away_is_refused_by_name_and_changes_nothing(
    tmp_path: Path, promised: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    more = json.loads(json.dumps(promised))
    more["tools.json"]["tools"].append({"name": "old_tool", "inputSchema": {"type": "object"}})
    more["openapi.json"]["paths"]["/api/v2/old"] = {"get": {"responses": {}}}
    promise(tmp_path, more)
    assert docs.main(tmp_path) == 1
    said = capsys.readouterr().err
    assert "refused: tool old_tool is gone" in said
    assert "refused: GET /api/v2/old is gone" in said
    assert "major version" in said
    assert json.loads((tmp_path / docs.CONTRACT / "tools.json").read_text(encoding="utf-8")) == more["tools.json"]


def test_a_new_major_version_may_take_away(
    tmp_path: Path, promised: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = json.loads(json.dumps(promised))
    more["tools.json"]["tools"].append({"name": "old_tool", "inputSchema": {"type": "object"}})
    promise(tmp_path, more)
    monkeypatch.setattr(docs, "version", lambda: "7.0.0")
    assert docs.main(tmp_path) == 0
    assert "old_tool" not in (tmp_path / docs.CONTRACT / "tools.json").read_text(encoding="utf-8")
