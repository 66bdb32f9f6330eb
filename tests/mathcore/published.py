"""Published cases and measurements, read where they lie; a test that needs them is skipped loudly without them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("GPUBROKER_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def published(name: str) -> Any:
    """The content of one file; without it the test is skipped."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"NOT TESTED: {name} is not in {DATA.name} beside the repository (GPUBROKER_TEST_DATA)")
    return json.loads(path.read_text(encoding="utf-8"))
