"""The whole life of bookings, in whatever order things happen: see `tests.life_machine` for what may and what holds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from tests.house import ROOT

PROCESSES, RUNS, STEPS = 2, 250, 4
"""500 runs, half of them each on a processor of its own; `python -m tests.faults.life` runs longer ones for long."""
MUST_HAPPEN = {"booked", "extend: done", "died at work", "interrupt", "ended as terminated", "ended as compensated"}


@pytest.mark.slow
def test_whatever_happens_in_whatever_order_the_books_hold_and_nothing_is_left_running() -> None:
    command = [sys.executable, "-m", "tests.faults.life", "--runs", str(RUNS), "--steps", str(STEPS)]
    started = [
        subprocess.Popen(
            [*command, "--seed", str(seed)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for seed in range(PROCESSES)
    ]
    seen: Counter[str] = Counter()
    try:
        for process in started:
            said = process.communicate()[0]
            assert process.returncode == 0, said[-8_000:]
            for times, what in re.findall(r"^ *([\d,]+)  (.+)$", said, re.MULTILINE):
                seen[what] += int(times.replace(",", ""))
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert seen["examples"] >= PROCESSES * RUNS
    assert seen.keys() >= MUST_HAPPEN
