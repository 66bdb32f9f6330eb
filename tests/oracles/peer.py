"""Other implementations of the same methods, to be held against; where one is not installed its tests say so."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def peer(name: str) -> Any:
    """The module of that name. Without it the tests of the asking module are skipped, loudly.

    With CI=true and GPUBROKER_ORACLES=1 they fail instead: there the peers were to be installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if os.environ.get("CI") and os.environ.get("GPUBROKER_ORACLES") == "1":
            raise
        pytest.skip(f"NOT COMPARED: {name} is not installed ({error})", allow_module_level=True)
