"""What of scipy the mathematics uses: each part loaded when it is first asked for, and never two at the same time.

First requests are answered in worker threads, each with imports of its own. The parts of scipy import one another both
ways round, so that two threads that load different parts at once can find one half made, or be refused by the
interpreter as a deadlock.
"""

from __future__ import annotations

from importlib import import_module
from threading import RLock
from typing import Any, Literal

Part = Literal["linalg", "optimize", "sparse", "sparse.csgraph", "special"]

_LOADING = RLock()


def scipy_part(name: Part) -> Any:
    """The module `scipy.<name>`: half a second the first time, a look into a table from then on."""
    with _LOADING:
        return import_module(f"scipy.{name}")
