"""Every requirement of the requirement documents 000…004, and what became of it: `requirements.csv` and its reader.

The ids are those of the documents: FR-…, NFR-…, SEC-, COMP-, PRIV-, business rules (BR-), product functions (F1…F10),
journeys (J1…J4) and use cases (UC-). The properties of 003 are PROP-1…PROP-25. No id means two things in two
documents, so none is prefixed. 002 and the components of 003 have no ids: their numbered sections stand for them, as
`002-3.1.4` and `003-6`. Constraints, assumptions, glossaries and test case numbers are no requirements, and left out.

A requirement is `covered` when tests claim the whole of it with `@pytest.mark.requirement(id)`, `deferred` when it or a
part of it comes later (the reason begins with where), or `decided` when it is settled otherwise (the reason says how).
`python -m tests.requirements` writes docs/traceability.md.
"""

from __future__ import annotations

import ast
import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.house import ROOT

TABLE = Path(__file__).with_name("requirements.csv")
PAGE = ROOT / "docs" / "traceability.md"
DOCUMENTS = {
    "000": "the marketplace",
    "001": "the provider gateway",
    "002": "the exchange",
    "003": "the platform's design and its properties",
    "004": "the first specification",
}
STATUSES = ("covered", "deferred", "decided")
LATER = (
    "the math core",
    "procurement",
    "more providers",
    "HTTP doors and sign-in",
    "operations",
    "agent and exam",
    "web pages",
    "exchange and sellers",
    "scale-out",
    "release and deployment",
)
"""What is still to come; the reason of every deferral begins with one of these."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One row of the table."""

    id: str
    document: str
    summary: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """A test that says it proves a requirement."""

    path: str
    test: str
    requirement: str


def requirements() -> list[Requirement]:
    """Every row, in the order of the documents."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [Requirement(**row) for row in csv.DictReader(file)]


def claims() -> list[Claim]:
    """What the tests claim, read from their source: the same whichever of them run."""
    found: list[Claim] = []
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        found += _claims(tree, path.relative_to(ROOT).as_posix())
    return sorted(found)


def _claims(tree: ast.Module, path: str) -> Iterator[Claim]:
    seen: set[ast.expr] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for call in filter(_is_marker, node.decorator_list):
                seen.add(call)
                yield Claim(path, node.name, _named(call, path))
    for other in ast.walk(tree):
        if isinstance(other, ast.expr) and _is_marker(other) and other not in seen:
            raise ValueError(f"{path}:{other.lineno}: mark a test function with a requirement, nothing else")


def _is_marker(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.requirement"


def _named(call: ast.expr, path: str) -> str:
    match call:
        case ast.Call(args=[ast.Constant(value=str(name))], keywords=[]):
            return name
    raise ValueError(f"{path}:{call.lineno}: a requirement is named by one id, written out")


def page() -> str:
    """docs/traceability.md: requirement, status, the tests that prove it or the reason why none does."""
    rows = requirements()
    proofs: dict[str, list[Claim]] = {row.id: [] for row in rows}
    for claim in claims():
        proofs.setdefault(claim.requirement, []).append(claim)
    heads = [(document, f"{document}: {title}") for document, title in DOCUMENTS.items()]
    counts = {document: Counter(row.status for row in rows if row.document == document) for document in DOCUMENTS}
    totals = [
        _row((title, *(str(counts[document][status]) for status in STATUSES), str(counts[document].total())))
        for document, title in heads
    ]
    every = Counter(row.status for row in rows)
    totals.append(_row(("all", *(str(every[status]) for status in STATUSES), str(every.total()))))
    parts = [
        "# Traceability\n",
        "Every requirement of the requirement documents 000…004, and the tests that prove it. Generated from "
        "`tests/requirements.csv` and the tests by `make docs`; edit those, not this page. *Covered*: tests prove the "
        "whole of it. *Deferred*: it, or the part named, comes later. *Decided*: settled otherwise, as the reason "
        "says.\n",
        *(_row(("document", *STATUSES, "all")), "| --- | --: | --: | --: | --: |", *totals),
    ]
    for document, title in heads:
        parts += [
            f"\n## {title}\n",
            _row(("id", "requirement", "status", "tests or reason")),
            "| --- | --- | --- | --- |",
        ]
        parts += [_line(row, proofs) for row in rows if row.document == document]
    return "\n".join(parts) + "\n"


def _line(row: Requirement, proofs: Mapping[str, list[Claim]]) -> str:
    links = [f"[{claim.path.removeprefix('tests/')}::{claim.test}](../{claim.path})" for claim in proofs[row.id]]
    told = [f"{row.reason}."] if row.reason else []
    return _row((row.id, row.summary, row.status, "<br>".join(told + links)))


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
