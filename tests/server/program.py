"""The command line as a program of its own: `python -m server …` in a process, waited for or left running.

Neither it nor what it starts can look up anything but this machine.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.house import ROOT

MOST_SECONDS = 90
OFFLINE = ROOT / "tests" / "server" / "offline"
_ADDRESS = re.compile(r"http://\S+")


def environment(folder: Path, **changed: str) -> dict[str, str]:
    """What the program sees: no settings but these, a folder of its own, no background fetching, no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GPUBROKER_")}
    path = os.pathsep.join([str(OFFLINE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, "GPUBROKER_DATA_DIR": str(folder), "GPUBROKER_SYNC": "off", **changed}


def gpubroker(folder: Path, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=ROOT,
        env=environment(folder, **changed),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=MOST_SECONDS,
        check=False,
    )


@dataclass(slots=True)
class Served:
    """A running `serve`: where it listens, its process, and what it has said on stderr since."""

    address: str
    process: subprocess.Popen[str]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send it a signal; its exit code and last words."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=MOST_SECONDS)
        return self.process.returncode, said


@contextmanager
def serving(folder: Path, *arguments: str, **changed: str) -> Iterator[Served]:
    """`gpubroker serve` on a free port, killed afterwards if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "server", "serve", "--port", "0", *arguments],
        cwd=ROOT,
        env=environment(folder, **changed),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            yield Served(_announced(process.stderr), process)
        finally:
            if process.poll() is None:
                process.kill()


def _announced(stream: IO[Any] | None) -> str:
    assert stream is not None
    line = str(stream.readline())
    found = _ADDRESS.search(line)
    assert found, line + stream.read()
    return found[0]
