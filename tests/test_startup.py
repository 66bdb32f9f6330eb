"""What a start costs: until `initialize` is answered nothing heavy may have been imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.startup import INITIALIZE
from tests.house import FOLDERS, ROOT

HEAVY = frozenset({"numpy", "scipy", "sqlalchemy", "aiosqlite", "asyncpg", "alembic", "httpx", "redis"})
HEAVIER = frozenset({"joserfc", "pydantic_ai", "openai", "adapters", "mathcore", "agents", "evals"})

# Runs the command as it is, and notes what is imported when the first byte of an answer leaves.
WATCHED = """
import io, json, os, sys
root, note = sys.argv[1:3]
sys.argv[1:3] = []

class Noting(io.RawIOBase):
    noted = False
    def writable(self):
        return True
    def write(self, data):
        if not self.noted:
            Noting.noted = True
            with open(note, "w") as file:
                json.dump(sorted(sys.modules), file)
        return os.write(1, data)

sys.stdout = io.TextIOWrapper(io.BufferedWriter(Noting()), encoding="utf-8")
sys.path.insert(0, root)
from server.launch import main
sys.exit(main())
"""


def test_the_first_answer_leaves_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    note = tmp_path / "modules.json"
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(ROOT), str(note), "stdio"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "GPUBROKER_DATA_DIR": str(tmp_path / "data"), "GPUBROKER_SYNC": "off"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(INITIALIZE) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    _, complaint = process.communicate(timeout=60)
    assert answer, complaint
    assert json.loads(answer)["result"]["protocolVersion"] == INITIALIZE["params"]["protocolVersion"]
    imported = {name.partition(".")[0] for name in json.loads(note.read_text(encoding="utf-8"))}
    assert {"server", "mcp"} <= imported
    assert imported & (HEAVY | HEAVIER) == set()
    assert not (tmp_path / "data").exists(), "a start touches no disk before the first call"


@pytest.mark.parametrize(
    "statement",
    [
        "import market.offers, market.context, market.settings",
        "from tools.capability import capabilities; capabilities()",
    ],
)
def test_what_a_start_imports_is_light(statement: str) -> None:
    code = f"import json, sys; sys.path.insert(0, {str(ROOT)!r}); {statement}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    imported = {name.partition(".")[0] for name in json.loads(run.stdout)}
    assert imported & (HEAVY | HEAVIER) == set()


def test_the_version_is_told_without_importing_the_protocol_or_pydantic() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[1:] = ['--help']\n"
        "import atexit; atexit.register(lambda: print(sorted(sys.modules), file=sys.stderr))\n"
        "from server.launch import main; sys.exit(main())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    imported = {name.partition(".")[0] for name in run.stderr.strip(" []\n").replace("'", "").split(", ")}
    assert imported & {"mcp", "pydantic", *HEAVY, *HEAVIER} == set()
    assert imported & set(FOLDERS) == {"server"}
