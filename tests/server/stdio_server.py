"""The product's stdio server as tests start it: `python -m tests.server.stdio_server DATA_DIR [NOTE_FILE]`.

With NOTE_FILE its background work writes there when it starts and when it is cancelled, and runs until then.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from market.context import Market
from market.settings import Settings
from server.mcp_stdio import run_stdio


async def serve(folder: Path, note: Path | None) -> None:
    """Serve until stdin ends."""
    settings = Settings(data_dir=folder, sync="off")

    async def work() -> None:
        assert note is not None
        note.write_text("started")  # noqa: ASYNC240
        try:
            await asyncio.Event().wait()
        finally:
            note.write_text("cancelled")  # noqa: ASYNC240

    await run_stdio(Market(settings), settings, on_first_answer=work if note else None)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
