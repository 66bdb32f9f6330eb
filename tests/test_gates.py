"""The gates every change passes: coverage, lint, types, waiting that never blocks, and what is not depended on."""

from __future__ import annotations

import inspect
import re

import pytest

from adapters import discover
from tests.house import FOLDERS, ROOT, project, runtime_distributions
from tools.capability import capabilities


def recipe(verb: str) -> str:
    """What `make <verb>` needs first and does."""
    found = re.search(rf"^{verb}:.*\n(?:\t.*\n)+", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, verb
    return found[0]


@pytest.mark.requirement("NFR-MAINT-001")
@pytest.mark.requirement("NFR-MAINT-1")
def test_a_test_run_that_misses_too_many_branches_fails() -> None:
    coverage = project()["tool"]["coverage"]
    assert coverage["run"]["branch"] is True
    assert set(FOLDERS) == set(coverage["run"]["source"])
    assert coverage["report"]["fail_under"] >= 85
    assert "pytest --cov" in recipe("test")
    assert "make --no-print-directory test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.requirement("NFR-MAINT-002")
@pytest.mark.requirement("NFR-MAINT-1")
def test_every_test_run_lints_first() -> None:
    assert re.match(r"test:.*\blint\b", recipe("test"))
    for command in ("ruff check", "ruff format --quiet --check", "mypy", "basedpyright", "lint-imports"):
        assert f"$(BIN)/{command}" in recipe("lint"), command
    assert {"I", "S", "UP"} <= set(project()["tool"]["ruff"]["lint"]["select"])


@pytest.mark.requirement("NFR-MAINT-003")
def test_types_are_checked_strictly_in_every_folder() -> None:
    mypy = project()["tool"]["mypy"]
    assert mypy["strict"] is True
    assert set(mypy["files"]) == {*FOLDERS, "tests"} == set(project()["tool"]["basedpyright"]["include"])


@pytest.mark.requirement("FR-1.4")
def test_whatever_waits_is_asynchronous() -> None:
    assert [item.name for item in capabilities().values() if not inspect.iscoroutinefunction(item.run)] == []
    answers = {name: inspect.signature(one.offers).return_annotation for name, one in discover()[0].items()}
    assert {name: answer for name, answer in answers.items() if answer != "AsyncIterator[Offer]"} == {}
    assert "ASYNC" in project()["tool"]["ruff"]["lint"]["select"], "refuses blocking calls in async functions"


@pytest.mark.requirement("FR-10.6")
def test_no_task_queue_is_depended_on() -> None:
    assert runtime_distributions() & {"celery", "kombu", "billiard"} == set()
