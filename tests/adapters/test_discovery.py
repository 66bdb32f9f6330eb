"""Finding providers: one file is enough, a broken one is reported, two of one name are our mistake."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adapters import discover

ROOT = Path(__file__).parents[2]
NAME = re.compile(r'\bname((?:, title, website)?) = "(\w+)"')

WITH_AN_API = '''"""Acme Cloud: its public price list."""

from adapters.base import Adapter


class Acme(Adapter):
    """Prices of Acme Cloud."""

    name, title, website = "newcomer", "Acme Cloud", "https://acme.example"
    base_url, catalogue_path = "https://api.acme.example", "/v1/prices"
    sample = {"plans": [{"id": "h1", "gpu": "NVIDIA H100 SXM", "cards": 8, "usd": 18.4}]}

    def rows(self, page):
        """The plans."""
        return page["plans"]

    def parse(self, row):
        """One offer a plan."""
        yield self.listed(sku=row["id"], gpu=row["gpu"], gpu_count=row["cards"], price_per_hour=row["usd"])
'''


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the adapters and their tests; the rest is as it is."""
    for folder in ("adapters", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "market").symlink_to(ROOT / "market")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def python(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the interpreter inside the copied house."""
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=house, env=environment, capture_output=True, text=True, check=False
    )


def contract_tests_passed(house: Path, name: str) -> int:
    """How many contract tests of one provider pass; every one of them must."""
    run = python(house, "-m", "pytest", "tests/adapters/test_contract.py", "-q", "-p", "no:cacheprovider", "-k", name)
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"(\d+) passed", run.stdout)
    assert found, run.stdout
    return int(found[1])


def smallest_adapter() -> Path:
    """The shortest provider module."""
    modules = [ROOT / "adapters" / f"{adapter.__module__.partition('.')[2]}.py" for adapter in discover()[0].values()]
    return min(modules, key=lambda module: module.stat().st_size)


def test_a_copy_of_the_smallest_adapter_is_found_and_tested_with_no_other_edit(house: Path) -> None:
    text = smallest_adapter().read_text(encoding="utf-8")
    assert NAME.search(text)
    (house / "adapters" / "newcomer.py").write_text(NAME.sub(r'name\1 = "newcomer"', text, count=1), encoding="utf-8")
    identity = 1
    assert contract_tests_passed(house, "newcomer") == identity + 2


def test_a_newcomer_with_an_api_needs_its_one_file_too(house: Path) -> None:
    (house / "adapters" / "newcomer.py").write_text(WITH_AN_API, encoding="utf-8")
    identity = 1
    assert contract_tests_passed(house, "newcomer") == identity + 2


def test_a_newcomer_whose_sample_does_not_fit_fails(house: Path) -> None:
    (house / "adapters" / "newcomer.py").write_text(WITH_AN_API.replace('"usd": 18.4', '"usd": 0'), encoding="utf-8")
    run = python(
        house, "-m", "pytest", "tests/adapters/test_contract.py", "-q", "-p", "no:cacheprovider", "-k", "newcomer"
    )
    assert run.returncode == 1
    assert "holds no offer" in run.stdout


@pytest.mark.parametrize("broken", ["import a_module_nobody_has\n", "raise RuntimeError('no')\n", "def half(:\n"])
def test_a_broken_module_is_listed_and_the_others_are_there(house: Path, broken: str) -> None:
    (house / "adapters" / "newcomer.py").write_text(broken, encoding="utf-8")
    run = python(
        house, "-c", "import adapters; found, bad = adapters.discover(); print([len(found), [b.name for b in bad]])"
    )
    assert ast.literal_eval(run.stdout) == [len(discover()[0]), ["newcomer"]]


def test_two_adapters_of_one_name_are_our_mistake(house: Path) -> None:
    smallest = smallest_adapter()
    shutil.copy(smallest, house / "adapters" / "newcomer.py")
    run = python(house, "-c", "import adapters; adapters.discover()")
    assert run.returncode != 0
    assert f"TypeError: two adapters are called '{smallest.stem}'" in run.stderr


def test_modules_that_hold_no_provider_are_no_provider() -> None:
    assert not {"transport", "base", "breaker", "egress", "published", ""} & set(discover()[0])
