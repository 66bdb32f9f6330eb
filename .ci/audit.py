"""Looks the pinned dependencies up in the public list of vulnerabilities; says so when that list is out of reach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).resolve().parent.parent / "constraints.txt"
PATIENCE_SECONDS = 120


def main() -> int:
    """Print what is known against the pins; exit code 1 when there is something."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(PINS), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "5"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        print(f"Dependency audit SKIPPED: no answer within {PATIENCE_SECONDS} s.")
        return 0
    try:
        report = json.loads(run.stdout)
    except json.JSONDecodeError:
        reason = (run.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"Dependency audit SKIPPED: the list of vulnerabilities is out of reach ({reason[:160]}).")
        return 0
    packages = report["dependencies"]
    known = [
        f"{package['name']} {package['version']}: {finding['id']}, mended in {finding['fix_versions'] or 'no version'}"
        for package in packages
        for finding in package.get("vulns", [])
    ]
    # A package that was not looked up is not a package without findings.
    unseen = sum("skip_reason" in package for package in packages)
    if known:
        print("\n".join(known))
    elif unseen == len(packages):
        print(f"Dependency audit SKIPPED: the list of vulnerabilities knows none of the {unseen} packages from here.")
    else:
        seen = len(packages) - unseen
        print(f"Dependency audit: nothing known against {seen} packages; {unseen} could not be looked up.")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
