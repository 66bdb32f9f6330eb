"""The wheel: what is in it, what it puts into site-packages, and that it runs beside the OpenAI Agents SDK."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from tests.house import FOLDERS, ROOT, handed_on, project, runtime_names, shown

VERSION = project()["project"]["version"]
TOOLS = {"search_offers", "get_offer", "rank_offers", "estimate_workload", "price_history", "market_overview"}


def _run(command: list[str], where: Path) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    return run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from nothing but the files a clone has."""
    tree = tmp_path_factory.mktemp("tree")
    for path in handed_on():
        target = tree / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tree / "dist")], tree)
    (built,) = (tree / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel, and beside it everything this one has."""
    home = tmp_path_factory.mktemp("installed")
    _run([sys.executable, "-m", "venv", "--without-pip", str(home)], home)
    bin_folder = home / "bin"
    python = str(bin_folder / "python")
    _run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", str(wheel)], home)
    # A path file names this environment's packages, without starting the path files in there: not our checkout.
    site = Path(_run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], home).stdout.strip())
    shared = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site / "beside.pth").write_text("\n".join(shared) + "\n", encoding="utf-8")
    return bin_folder


def test_the_wheel_holds_every_file_of_the_folders_and_nothing_else(wheel: Path) -> None:
    expected = set()
    for path in handed_on():
        name = shown(path)
        if name.startswith("server/launch/"):
            expected.add(name.replace("server/launch/", "gpubroker/", 1))
        elif name.partition("/")[0] in FOLDERS:
            expected.add(f"gpubroker/_app/{name}")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == expected


def test_the_wheel_owns_one_name_in_site_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
        licensed = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    assert top == {"gpubroker", f"gpubroker-{VERSION}.dist-info"}
    assert licensed


def test_no_dependency_uses_the_name_of_one_of_our_folders() -> None:
    assert {name: owners for name, owners in runtime_names().items() if name in FOLDERS} == {}


def test_the_installed_command_tells_its_version(installed: Path, tmp_path: Path) -> None:
    assert _run([str(installed / "gpubroker"), "--version"], tmp_path).stdout.strip() == f"gpubroker {VERSION}"


async def test_the_installed_server_answers_a_real_client(installed: Path, tmp_path: Path) -> None:
    here = {**os.environ, "GPUBROKER_DATA_DIR": str(tmp_path / "data"), "GPUBROKER_SYNC": "off"}
    server = StdioServerParameters(command=str(installed / "gpubroker"), args=["stdio"], env=here, cwd=tmp_path)
    async with Client(server) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} >= TOOLS
        answer = await client.call_tool("search_offers", {"gpu": ["H100"], "limit": 1})
    # A first start answers from the published price tables, which are data files of the wheel.
    assert answer.structured_content is not None
    assert answer.structured_content["total"] > 0


def test_the_openai_agents_sdk_still_works_beside_it(installed: Path, tmp_path: Path) -> None:
    code = "import agents, gpubroker; agents.Agent(name='x'); print(agents.__file__); print(gpubroker.__file__)"
    theirs, ours = _run([str(installed / "python"), "-c", code], tmp_path).stdout.split()
    assert Path(theirs).parent.parent == Path(sysconfig.get_path("purelib"))
    assert Path(ours).is_relative_to(installed.parent)
