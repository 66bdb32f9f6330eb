"""Measures the start: CPU until `gpubroker stdio` has answered `initialize`, beside an import of the SDK's server.

python -m tests.bench.startup [runs]     7 unless said; exit code 1 above the limit
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from tests.house import ROOT

LIMIT = 1.15
RUNS = 7
PEER = "from mcp.server import MCPServer; print(MCPServer.__name__, flush=True); input()"
LAUNCH = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from server.launch import main; sys.exit(main())"
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    },
}


def cpu_seconds_until_first_line(arguments: Sequence[str], said: str, environment: dict[str, str]) -> float:
    """CPU time, user and system, a program of ours has used when its first line of output is there."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.write(said)
        process.stdin.flush()
        line = process.stdout.readline()
        # Killed at once, so that neither side's way out is counted.
        process.kill()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    if not line:
        raise RuntimeError(f"no answer from {' '.join(arguments)[:80]}")
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str]) -> int:
    """Run both in turns and print the ratio of the medians."""
    runs = int(arguments[0]) if arguments else RUNS
    hello = json.dumps(INITIALIZE) + "\n"
    ours: list[float] = []
    peers: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GPUBROKER_DATA_DIR": folder, "GPUBROKER_SYNC": "off"}
        for run in range(runs + 1):
            # The plugin switch of the launcher is given to the peer too: what is installed beside us must not help us.
            peer = cpu_seconds_until_first_line(
                ["-c", PEER], "", {**environment, "PYDANTIC_DISABLE_PLUGINS": "__all__"}
            )
            own = cpu_seconds_until_first_line(["-c", LAUNCH, "stdio"], hello, environment)
            if run:  # the first turn fills the bytecode cache
                peers.append(peer)
                ours.append(own)
    ratio = statistics.median(ours) / statistics.median(peers)
    print(
        f"stdio, CPU until the answer to initialize: {ratio:.2f} x `from mcp.server import MCPServer` (limit {LIMIT})"
    )
    print(f"  ours {_spread(ours)}, peer {_spread(peers)}, median (lowest - highest) of {runs} turns")
    return 1 if ratio > LIMIT else 0


def _spread(seconds: list[float]) -> str:
    low, middle, high = (1000 * value for value in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle:.0f} ms ({low:.0f} - {high:.0f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
