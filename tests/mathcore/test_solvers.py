"""First uses of scipy, all at once: every one succeeds, and its parts are loaded one after the other."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from mathcore import solvers
from tests.house import ROOT

_AT_ONCE = """
import sys, threading
import numpy as np
from mathcore import als, anomaly, arima, outranking, smoothing

prices = np.array([1.0, 1.2, 1.1, 1.3, 1.5, 1.2, 1.0, 1.1, 1.4, 1.2] * 4)
calls = [
    lambda: arima.arima(prices, (1, 0, 1)),
    lambda: smoothing.damped_holt(prices),
    lambda: als.fold_in(als.factorise([[1, 0], [0, 1]]), [0], [1]),
    lambda: outranking.electre1([[1, 2], [3, 4]], [1, 1], [True, True]),
    lambda: anomaly.extreme_studentized(prices, 2),
]
assert not [name for name in sys.modules if name.startswith("scipy")]
start, failed = threading.Barrier(len(calls)), []

def run(call):
    start.wait()
    try:
        call()
    except Exception as problem:
        failed.append(repr(problem))

sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=run, args=(call,)) for call in calls]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failed)
"""


def in_threads(count: int, work: Callable[[], object]) -> None:
    """The same work in several threads that start together."""
    start = threading.Barrier(count)

    def run() -> None:
        start.wait()
        work()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_first_uses_at_once_all_succeed() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _AT_ONCE], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr


def test_no_two_parts_are_loaded_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loading: list[str] = []
    together: list[int] = []

    def load(name: str) -> None:
        loading.append(name)
        for _ in range(10_000):
            together.append(len(loading))
        loading.remove(name)

    monkeypatch.setattr(solvers, "import_module", load)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        in_threads(4, lambda: solvers.scipy_part("linalg"))
    finally:
        sys.setswitchinterval(before)
    assert (len(together), set(together)) == (40_000, {1})


def test_nothing_but_the_loader_imports_scipy() -> None:
    importing = re.compile(r"^\s*(?:from|import) scipy", re.M)
    folders = ("mathcore", "tools", "market", "server", "adapters", "agents")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if importing.search(path.read_text())]
    assert found == []
