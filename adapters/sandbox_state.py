"""Where the simulated cloud keeps its machines between two runs: one JSON file, replaced whole after every change."""

from __future__ import annotations

import os
from pathlib import Path

from adapters.sandbox_cloud import SandboxCloud
from market.errors import StorageFailed


class StateFile:
    """A cloud's file."""

    def __init__(self, path: Path, cloud: SandboxCloud) -> None:
        self._path = path
        self._cloud = cloud

    def load(self) -> bool:
        """Give the cloud what the file holds; whether there was one. Raises StorageFailed when it cannot be read."""
        try:
            self._cloud.load(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as problem:
            raise StorageFailed(
                f"The sandbox cannot go on from `{self._path.name}` ({type(problem).__name__}).",
                next_step="Name another file with `--state`, or remove this one to start anew.",
            ) from problem
        return True

    def save(self) -> None:
        """Write the cloud down, so that a crash leaves the file as it was or as it is now. Raises StorageFailed."""
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(self._cloud.dump())
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as problem:
            raise StorageFailed(
                f"The sandbox cannot write `{self._path.name}` ({problem.strerror}).",
                next_step="Name a file that can be written with `--state`.",
            ) from problem
