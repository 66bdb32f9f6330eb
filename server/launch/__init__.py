"""The `gpubroker` command: puts the folders of the house first on the import path and calls the command line."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line from an installed wheel (`gpubroker/_app`) or from a checkout; returns the exit code."""
    here = os.path.dirname(os.path.realpath(__file__))
    installed = os.path.join(here, "_app")
    sys.path.insert(0, installed if os.path.isdir(installed) else os.path.dirname(os.path.dirname(here)))
    # A pydantic plugin that happens to be installed beside us would add a third to every start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from server.commands import main as run

    return run()
