"""The rules of the house, as tests: a limit that only warns is decoration."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

from tests.house import FOLDERS, ROOT, SUB_FOLDERS, functions, handed_on, modules, parsed, project, runtime_names, shown

MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_VERBS = 12
FORBIDDEN_NAMES = frozenset(
    {"utils", "util", "helpers", "helper", "service", "services", "manager", "managers", "common"}
)

LAST_HANDLERS = {
    "adapters/__init__.py": "whatever a provider's module does at import stays its own problem",
    "server/mcp_door.py": "a defect must reach the client as words, not as a traceback",
    "server/mcp_stdio.py": "background work must not take the server down",
    "tools/capability.py": "the gate: a defect becomes a general answer and a line in the log",
    "tools/fulfilment.py": "a defect in one step must not look like a refusal of the booking",
    "tools/watchdog.py": "one failed round must not end the rounds to come",
    "tools/dispatcher.py": "one failed round must not end the rounds to come",
    "tools/scheduler.py": "one failed round must not end the rounds to come",
    "tools/sync.py": "a defect in one adapter must not stop the others",
}
"""The only places that catch everything, and why each may."""

# Written so that they do not match themselves.
NEVER_WRITTEN = {
    "a path of one machine": r"(?<![\w.:/-])/(?:w[o]rk|r[o]ot|h[o]me/\w+|U[s]ers/\w+)/",
    "a package index or a download address": r"(?:fi[l]e|https?)://[^\s\"')]*(?:/s[i]mple\b|\.w[h]l\b|\.t[a]r\.gz\b)|index-u[r]l",
    "something left for later": r"\bT[O]DO\b|\bF[I]XME\b|\bX{3}\b",
    "code hidden from coverage": r"pragma: no c[o]ver",
    "a blanket silence": r"# type: ig[n]ore(?!\[)|# n[o]qa(?!: ?[A-Z])|# pyr[i]ght: ignore(?!\[)",
}
PROSE = {".py", ".md", ".toml", ".txt", ".json", ".yaml", ".yml", ".csv", ".mako", ".html", ".css", ".js", ".cfg", ""}


def test_every_module_is_short_enough_to_hold_one_noun() -> None:
    long = {
        shown(path): lines
        for path in modules(*FOLDERS, "tests", ".ci")
        if (lines := _lines(path)) > MOST_LINES_OF_A_MODULE
    }
    assert not long


def test_every_function_fits_on_a_screen() -> None:
    long = {
        f"{shown(path)}:{function.lineno} {function.name}": lines
        for path in modules(*FOLDERS, "tests", ".ci")
        for function in functions(parsed(path))
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    }
    assert not long


def test_every_module_and_every_public_name_says_what_it_is_for() -> None:
    silent = [f"{shown(path)}: module" for path in modules(*FOLDERS, "tests", ".ci") if not _explained(parsed(path))]
    for path in modules(*FOLDERS):
        silent += [f"{shown(path)}: {name}" for name in _unexplained(parsed(path).body)]
    assert not silent


def test_no_module_has_a_name_that_says_nothing_or_hides_another_package() -> None:
    taken = FORBIDDEN_NAMES | sys.stdlib_module_names | set(runtime_names())
    assert not [shown(path) for path in modules(*FOLDERS) if path.stem in taken - {"__main__"}]


def test_folders_are_flat_and_each_is_in_the_package_table() -> None:
    on_disk = {shown(path.parent) for path in modules(*FOLDERS)}
    assert on_disk <= {*FOLDERS, *SUB_FOLDERS}
    table = project()["tool"]["setuptools"]
    assert set(table["packages"]) == set(table["package-dir"])
    assert set(table["package-dir"].values()) == on_disk
    expected = {folder: f"gpubroker._app.{folder.replace('/', '.')}" for folder in on_disk} | {
        "server/launch": "gpubroker"
    }
    assert {folder: name for name, folder in table["package-dir"].items()} == expected


def test_only_the_last_handlers_catch_everything() -> None:
    wide = {shown(path) for path in modules(*FOLDERS) if any(map(_swallows, ast.walk(parsed(path))))}
    assert wide == set(LAST_HANDLERS)


def test_package_roots_import_nothing_heavy_and_pass_nothing_on() -> None:
    passing_on = {
        shown(path)
        for path in modules(*FOLDERS)
        if path.name == "__init__.py"
        and any(isinstance(node, ast.ImportFrom) and _is_ours(node) for node in parsed(path).body)
    }
    assert not passing_on


def test_numbers_know_numpy_scipy_and_the_standard_library_only() -> None:
    allowed = {"numpy", "scipy", "mathcore", *sys.stdlib_module_names}
    assert not {shown(path): extra for path in modules("mathcore") if (extra := _imported(parsed(path)) - allowed)}


def test_no_test_waits_for_real_time_to_pass() -> None:
    # A module whose loop moves its own clock may sleep: no time passes.
    sleeping = [
        f"{shown(path)}:{call.lineno}"
        for path in modules("tests")
        if path.name.startswith("test_") and "loop_factory" not in path.read_text(encoding="utf-8")
        for call in ast.walk(parsed(path))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"time.sleep", "asyncio.sleep", "anyio.sleep"}
        if [ast.unparse(argument) for argument in call.args] != ["0"]
    ]
    assert not sleeping


@pytest.mark.parametrize("what", NEVER_WRITTEN)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(NEVER_WRITTEN[what])
    found = [
        f"{shown(path)}:{number}"
        for path in handed_on()
        if path.suffix in PROSE
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_pins_name_versions_and_no_place_to_get_them_from() -> None:
    pin = re.compile(r'[\w.-]+==[\w.]+( ; python_version(<|>=)"3\.\d+")?')
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#") and not pin.fullmatch(line)] == []


def test_every_dependency_has_a_lower_bound() -> None:
    optional = project()["project"]["optional-dependencies"]
    named = [*project()["project"]["dependencies"], *(name for extra in optional.values() for name in extra)]
    assert [name for name in named if ">=" not in name and not name.startswith("gpubroker[")] == []


def test_make_help_lists_at_most_twelve_verbs_with_the_daily_ones_among_them() -> None:
    verbs = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(verbs) <= MOST_VERBS
    assert {"run", "test", "serve", "bench", "conformance", "lint", "docs", "clean"} <= set(verbs)


def test_layers_hold() -> None:
    report = _lint_imports(ROOT)
    assert report.returncode == 0, report.stdout


SEEDED_BREACHES = {
    "layers": ("mathcore/seeded.py", "def late():\n    import market.money\n"),
    "adapters-know-offers": ("adapters/seeded.py", "from market.store import Store\n"),
    "doors-leave-providers-alone": ("server/seeded.py", "import adapters.base\n"),
    "exam-from-outside": ("evals/seeded.py", "import adapters.base\n"),
    "one-owner-of-the-database": ("tools/seeded.py", "import sqlalchemy\n"),
    "one-owner-of-the-wire": ("market/seeded.py", "import httpx\n"),
    "one-owner-of-the-protocol": ("agents/seeded.py", "from mcp import Client\n"),
    "one-owner-of-the-model": ("prompts/seeded.py", "import pydantic_ai\n"),
    "one-owner-of-http": ("tools/seeded_door.py", "def late():\n    import starlette\n"),
    "nobody-owns-redis-yet": ("market/seeded_cache.py", "import redis\n"),
    "numbers-are-pure": ("mathcore/seeded_model.py", "import pydantic\n"),
}


def test_a_breach_of_each_contract_is_caught(tmp_path: Path) -> None:
    contracts = {contract["id"]: contract["name"] for contract in project()["tool"]["importlinter"]["contracts"]}
    assert set(SEEDED_BREACHES) == set(contracts)
    copy = tmp_path / "house"
    copy.mkdir()
    shutil.copy(ROOT / "pyproject.toml", copy)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, source in SEEDED_BREACHES.values():
        (copy / name).write_text(source, encoding="utf-8")
    report = _lint_imports(copy)
    assert report.returncode != 0
    broken = set(re.findall(r"^(.+?) BROKEN\b", report.stdout, re.MULTILINE))
    assert broken == set(contracts.values())


def test_no_secret_is_handed_on() -> None:
    assert _secrets([shown(path) for path in handed_on() if path.suffix in PROSE], ROOT) == {}


def test_a_planted_secret_is_found(tmp_path: Path) -> None:
    planted = "AKIA" + "Z7QKXW3MNB5T2RVL"
    (tmp_path / "settings.py").write_text(f'access_key = "{planted}"\n', encoding="utf-8")
    assert "settings.py" in _secrets(["settings.py"], tmp_path)


@pytest.mark.requirement("NFR-MAINT-3")
def test_generated_pages_equal_what_the_code_generates() -> None:
    from server import docs

    assert (ROOT / docs.REFERENCE).read_text(encoding="utf-8") == docs.reference(), "run `make docs`"


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _explained(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return (ast.get_docstring(node) or "").partition("\n")[0].endswith((".", ".)"))


def _unexplained(body: list[ast.stmt], prefix: str = "") -> list[str]:
    silent: list[str] = []
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if not _explained(node):
            silent.append(prefix + node.name)
        if isinstance(node, ast.ClassDef):
            silent += _unexplained(node.body, f"{prefix}{node.name}.")
    return silent


def _swallows(node: ast.AST) -> bool:
    """Whether this handler catches everything and does not let it go on."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    caught = (
        {"BaseException"}
        if node.type is None
        else {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
    )
    goes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
    return bool(caught & {"Exception", "BaseException"}) and not goes_on


def _is_ours(node: ast.ImportFrom) -> bool:
    return node.level > 0 or (node.module or "").partition(".")[0] in FOLDERS


def _imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def _lint_imports(where: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--config", "pyproject.toml"]
    wide = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, cwd=where, env=wide, capture_output=True, text=True, timeout=120, check=False)


def _secrets(names: list[str], root: Path) -> dict[str, list[str]]:
    rules = json.loads((ROOT / ".secrets.baseline").read_text(encoding="utf-8"))
    found = SecretsCollection(root=str(root))
    with transient_settings({"plugins_used": rules["plugins_used"], "filters_used": rules["filters_used"]}):
        for name in names:
            found.scan_file(name)
    return {
        name: [f"line {secret.line_number}: {secret.type}" for secret in found[name]]
        for name in found.files
        if found[name]
    }
