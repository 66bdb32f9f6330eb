"""The published cases, each at the precision it was printed with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.mathcore.golden_methods import METHODS
from tests.mathcore.published import DATA, published

_FILE = DATA / "golden_math.json"
_CASES: list[dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8")) if _FILE.is_file() else []


def test_every_published_method_is_ours_too() -> None:
    assert {case["method"] for case in published("golden_math.json")} == set(METHODS)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in _CASES if case["method"] in METHODS])
def test_published_cases_come_out_as_printed(case: dict[str, Any]) -> None:
    METHODS[case["method"]](case)
