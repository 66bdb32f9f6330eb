"""The page on which the long runs are kept: each writes the block between its own two marks."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path


def surroundings() -> str:
    """When and where, and how busy the machine was besides."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"load averages at the end {load}."
    )


def write(page: Path, block: str, text: str) -> None:
    """Put `text` between the marks of `block`. Raises ValueError when the page has no such marks."""
    begin, end = f"<!-- {block}: begin -->", f"<!-- {block}: end -->"
    found = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n{text}\n{end}",
        page.read_text("utf-8"),
        flags=re.DOTALL,
    )
    if found[1] != 1:
        raise ValueError(f"{page} has no block {block!r}")
    page.write_text(found[0], "utf-8")
