"""What docs/procurement.md says is so: its commands, its mandate, its snippets, its tables."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from market import audit, errors, mandate_claims
from market.bookings import BOOKING_STATES
from market.errors import BrokerError
from market.mandate_claims import mandate_in, payload
from market.settings import Settings
from market.signing import ALGORITHM, MANDATE_TYPE
from market.store import Store
from market.webhook_signature import HEADER, TOLERANCE_SECONDS, signature
from server.commands import DONE, main
from server.usage import parser
from tests.house import ROOT
from tools.mail import TOLD

PAGE = (ROOT / "docs" / "procurement.md").read_text(encoding="utf-8")
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def _rows(title: str) -> list[list[str]]:
    """The cells of the table below the line that begins so."""
    table = PAGE[PAGE.index(f"\n{title}") :].lstrip().splitlines()
    rows = []
    for line in table[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def _snippet(name: str) -> Callable[..., Any]:
    """A function the page defines."""
    (source,) = [block for block in _blocks("python") if f"def {name}(" in block]
    names: dict[str, Any] = {}
    exec(compile(source, "docs/procurement.md", "exec"), names)  # noqa: S102 - our own page
    found = names[name]
    assert callable(found)
    return found  # type: ignore[no-any-return]


def test_every_command_on_the_page_is_understood() -> None:
    typed = [line.split("  #")[0].strip() for block in _blocks("bash") for line in block.splitlines()]
    typed += [line[2:] for block in _blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    shown = [line for line in typed if line.startswith("gpubroker ")]
    assert len(shown) > 10
    for line in shown:
        assert parser().parse_args(shlex.split(line)[1:]).command


def test_the_example_is_a_mandate_and_verifies_with_the_key_beside_it() -> None:
    (token,) = ["".join(block.split()) for block in _blocks("jws")]
    (public,) = [json.loads(block) for block in _blocks("json") if '"kty"' in block]
    key = OKPKey.import_key(public)
    opened = jws.deserialize_compact(token, key, algorithms=[ALGORITHM])
    assert opened.headers() == {"alg": ALGORITHM, "kid": key.thumbprint(), "typ": MANDATE_TYPE}
    (header,) = [json.loads(block) for block in _blocks("json") if '"alg"' in block]
    assert header == {**opened.headers(), "kid": header["kid"]}
    text = opened.payload.decode()
    assert payload(mandate_in(text)) == text
    (written_out,) = [json.loads(block) for block in _blocks("json") if '"vct"' in block]
    assert written_out == json.loads(text)


def test_the_tables_hold_every_claim_with_the_example_that_is_signed() -> None:
    (written_out,) = [json.loads(block) for block in _blocks("json") if '"vct"' in block]
    claimed = {row[0].strip("`"): row[2].strip("`") for row in _rows("| claim |")}
    constrained = {row[0].strip("`"): row[2].strip("`") for row in _rows("| constraint |")}
    assert set(claimed) == mandate_claims._ENVELOPE
    assert set(constrained) == mandate_claims._CONSTRAINTS == set(written_out["constraints"])
    for name, example in constrained.items():
        assert json.loads(example) == written_out["constraints"][name], name
    for name in set(claimed) - {"cnf", "constraints"}:
        assert json.loads(claimed[name]) == written_out[name], name


def test_a_constraint_the_page_calls_always_signed_is_and_the_others_may_be_left_out() -> None:
    always = {row[0].strip("`") for row in _rows("| constraint |") if "always signed" in row[3] or "required" in row[3]}
    example = json.loads(next(block for block in _blocks("json") if '"vct"' in block))
    text = json.dumps({**example, "constraints": {name: example["constraints"][name] for name in always}})
    least = mandate_in(json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")))
    assert set(json.loads(payload(least))["constraints"]) == always
    assert least == replace(least, amount_range=None, max_hours=None, providers=frozenset(), budget=Decimal(50))


def test_every_state_is_explained() -> None:
    assert tuple(row[0].strip("`") for row in _rows("| state | means |")) == BOOKING_STATES


def _kinds_of(error: type[BrokerError]) -> Iterator[type[BrokerError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _kinds_of(kind)


def test_every_error_code_has_its_status_and_what_to_do() -> None:
    declared = {(kind.code, str(kind.status)) for kind in _kinds_of(BrokerError) if kind.__module__ == errors.__name__}
    rows = _rows("| code | HTTP |")
    assert {(row[0].strip("`"), row[1]) for row in rows} == declared
    assert all(len(row[2]) > 8 for row in rows)


@pytest.mark.parametrize("secret", ["whsec_one", "whsec_zwei"])
def test_the_receivers_snippet_takes_our_calls_and_no_others(secret: str) -> None:
    is_ours, body = _snippet("is_ours"), '{"id":7,"subject":"Zürich"}'.encode()
    header = signature(["whsec_one", "whsec_zwei"], body, NOW)
    assert HEADER in PAGE
    now = NOW.timestamp()
    assert is_ours(secret, header, body, now)
    assert is_ours(secret, header, body, now + TOLERANCE_SECONDS)
    assert not is_ours(secret, header, body, now + TOLERANCE_SECONDS + 1)
    assert not is_ours(secret, header, body + b" ", now)
    assert not is_ours("whsec_three", header, body, now)
    assert not is_ours(secret, "t=x,v1=y", body, now)
    assert not is_ours(secret, "", body, now)


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The export of a log of four entries."""

    async def filled(settings: Settings) -> None:
        store = await Store.open(settings.store_url)
        for number in range(4):
            async with store.write() as connection:
                await audit.append(
                    connection,
                    at=NOW,
                    actor="key-abc",
                    action="booking.active",
                    subject=f"booking-{number}",
                    details={"total": "12.5", "place": "Zürich"},
                    personal={"email": "ada@example.org"},
                )
        await audit.anchor(settings, store)
        await store.close()

    asyncio.run(filled(Settings(data_dir=tmp_path)))
    monkeypatch.setenv("GPUBROKER_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("GPUBROKER_AGENT_KEY", raising=False)
    assert main(["audit", "export"]) == DONE
    return capsys.readouterr().out.splitlines()


def test_the_auditors_snippet_finds_what_was_changed(exported: list[str]) -> None:
    broken_at = _snippet("broken_at")
    assert broken_at(exported) is None
    assert broken_at([exported[0], exported[1].replace("12.5", "99.5"), *exported[2:]]) == 2
    assert broken_at([*exported[:2], *exported[3:]]) == 3
    assert broken_at([*exported[:3], exported[4]]) is not None


def test_the_kinds_that_are_mailed_are_kinds_webhooks_know() -> None:
    section = PAGE[PAGE.index("## Webhooks") : PAGE.index("## Mail")]
    for kind in TOLD:
        group, _, what = kind.partition(".")
        assert group in section
        assert what in BOOKING_STATES or f"`{what}`" in section or f"`{kind}`" in section, kind


def test_the_pages_it_leads_to_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
