"""The page of an approval link shows what is asked, decides by its own form alone, and runs nothing in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from market import approvals, quote_book
from market.approval_states import Approval
from market.context import Caller
from market.settings import Settings
from market.store import Store
from server.app import make_market
from tests.market.purchases import leg, quote
from tests.server.facade import ADDRESS, opened_app

AGENT = Caller("an agent", frozenset(), agent_key_id="key-one")
HOSTILE = '<script>alert(1)</script><img src=x onerror="x">'


class Desk:
    """The application, with questions put beside it into the same database."""

    def __init__(self, folder: Path, client: TestClient) -> None:
        self.settings = Settings(data_dir=folder, sync="off")
        self.client = client

    def asks(self, subject: str | None = None, summary: str = "", **facts: Any) -> Approval:
        """A question; about a quote unless another subject is given."""
        return asyncio.run(self._asks(subject, summary, **facts))

    async def _asks(self, subject: str | None, summary: str, **facts: Any) -> Approval:
        store, now = await Store.open(self.settings.store_url), make_market(self.settings).clock.now()
        try:
            if subject is None:
                bought = quote(now, leg(**facts), caller=AGENT.identity)
                async with store.write() as connection:
                    await quote_book.add(connection, self.settings, bought)
                subject, summary = bought.id, summary or bought.summary()
            return await approvals.ask(
                store,
                self.settings,
                subject=subject,
                caller=AGENT,
                mandate_id="mandate-one",
                summary=summary,
                amount=Decimal("25.5"),
                now=now,
            )
        finally:
            await store.close()

    def link(self, approval: Approval) -> str:
        """Its address."""
        return asyncio.run(approvals.link(self.settings, approval)).removeprefix(ADDRESS)

    def stands(self, approval: Approval) -> Approval:
        """The row now."""

        async def find() -> Approval | None:
            store = await Store.open(self.settings.store_url)
            try:
                return await approvals.find(store, self.settings, approval.id)
            finally:
                await store.close()

        found = asyncio.run(find())
        assert found is not None
        return found

    def post(self, link: str, decision: str = "approve", **headers: str) -> Any:
        """The form as a browser sends it."""
        given = {"origin": ADDRESS, "sec-fetch-site": "same-origin"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return self.client.post(link, data={"decision": decision}, headers=given)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """An application over a database of its own."""
    folder = tmp_path_factory.mktemp("approvals")
    with opened_app(Settings(data_dir=folder, sync="off")) as client:
        assert client.get("/health").status_code == 200
        yield Desk(folder, client)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Every tag of a page."""
    parser = _Tags()
    parser.feed(page)
    return parser.found


def test_the_page_shows_what_is_bought_and_reading_it_decides_nothing(desk: Desk) -> None:
    approval = desk.asks()
    assert desk.client.get(desk.link(approval)).status_code == 200
    page = desk.client.get(desk.link(approval))
    for told in ("H100-SXM", "sandbox", "eu-west", "10 hours", "25.50 USD", "25.00 USD", "key-one", "mandate-one"):
        assert told in page.text
    assert [one["value"] for tag, one in tags(page.text) if tag == "button"] == ["approve", "decline"]
    assert desk.client.head(desk.link(approval)).status_code == 200
    assert desk.stands(approval).decision is None


def test_nothing_is_run_or_fetched_by_the_page(desk: Desk) -> None:
    page = desk.client.get(desk.link(desk.asks()))
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    found = tags(page.text)
    assert {"script", "style", "link", "img", "iframe", "a"}.isdisjoint(tag for tag, _ in found)
    assert not any(name.startswith("on") or name in ("src", "style", "href") for _, given in found for name in given)


@pytest.mark.parametrize(("decision", "state"), [("approve", "approved"), ("decline", "declined")])
def test_the_form_decides_once_and_a_second_answer_shows_the_first(desk: Desk, decision: str, state: str) -> None:
    approval = desk.asks()
    page = desk.post(desk.link(approval), decision)
    assert (page.status_code, f"<h1>{state.title()}</h1>" in page.text) == (200, True)
    other = "decline" if decision == "approve" else "approve"
    again = desk.post(desk.link(approval), other)
    assert (again.status_code, f"<h1>{state.title()}</h1>" in again.text) == (200, True)
    assert f"{state} by local-owner (link) already" in again.text
    assert "<form" not in again.text
    assert "<form" not in desk.client.get(desk.link(approval)).text
    stands = desk.stands(approval)
    assert (stands.decision, stands.decided_via) == (state, "link")


def test_a_link_without_its_signature_opens_nothing(desk: Desk) -> None:
    approval, other = desk.asks(), desk.asks()
    link, of_other = desk.link(approval), desk.link(other)
    signature = link.partition("sig=")[2]
    wrong = (
        f"/approvals/{approval.id}",
        f"/approvals/{approval.id}?sig=",
        f"/approvals/{approval.id}?sig={'0' * 64}",
        f"/approvals/{approval.id}?sig=%ff%00",
        f"/approvals/{approval.id}?sig={of_other.partition('sig=')[2]}",
        f"/approvals/{other.id}?sig={signature}",
        f"/approvals/approval-none?sig={signature}",
    )
    texts = set()
    for path in wrong:
        for answer in (desk.client.get(path), desk.post(path)):
            assert answer.status_code == 404, path
            assert answer.headers["content-type"].startswith("text/html")
            texts.add(answer.text)
    assert len(texts) == 1, "a wrong id and a wrong signature must look alike"
    assert desk.stands(approval).decision is desk.stands(other).decision is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:9"},
        {"origin": "https://127.0.0.1:10355"},
        {"origin": "http://localhost:10355"},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
    ],
)
def test_a_form_of_another_page_decides_nothing(desk: Desk, headers: dict[str, str]) -> None:
    approval = desk.asks()
    assert desk.post(desk.link(approval), **headers).status_code == 403
    assert desk.stands(approval).decision is None


def test_an_answer_without_an_origin_decides_nothing(desk: Desk) -> None:
    approval = desk.asks()
    assert desk.client.post(desk.link(approval), data={"decision": "approve"}).status_code == 403
    assert desk.stands(approval).decision is None


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("", "application/x-www-form-urlencoded", 400),
        ("decision=maybe", "application/x-www-form-urlencoded", 400),
        ("decision=approve&decision=decline", "application/x-www-form-urlencoded", 400),
        ("a=1&b=2&c=3&d=4&e=5&f=6&decision=approve", "application/x-www-form-urlencoded", 400),
        ('{"decision":"approve"}', "application/json", 400),
        ("decision=approve", "text/plain", 400),
        ("decision=" + "a" * 2_000, "application/x-www-form-urlencoded", 413),
    ],
)
def test_a_form_that_says_neither_yes_nor_no_decides_nothing(desk: Desk, body: str, kind: str, status: int) -> None:
    approval = desk.asks()
    answer = desk.client.post(desk.link(approval), content=body, headers={"origin": ADDRESS, "content-type": kind})
    assert answer.status_code == status
    assert desk.stands(approval).decision is None


def test_other_methods_are_refused(desk: Desk) -> None:
    approval = desk.asks()
    for method in ("PUT", "DELETE", "PATCH"):
        assert desk.client.request(method, desk.link(approval)).status_code == 405
    assert desk.stands(approval).decision is None


def test_hostile_text_is_shown_and_not_obeyed(desk: Desk) -> None:
    approval = desk.asks(region=HOSTILE, gpu=HOSTILE, offer_id=f"sandbox:{HOSTILE}:x")
    page = desk.client.get(desk.link(approval))
    assert page.status_code == 200
    assert {"script", "img"}.isdisjoint(tag for tag, _ in tags(page.text))
    assert "&lt;script&gt;" in page.text
    extension = desk.asks("extend:abc:1", f"Extend {HOSTILE}")
    assert {"script", "img"}.isdisjoint(tag for tag, _ in tags(desk.client.get(desk.link(extension)).text))


def test_a_question_that_is_about_no_quote_is_shown_and_decided_too(desk: Desk) -> None:
    approval = desk.asks("extend:xyz:1", "Four hours more for booking xyz.")
    assert "Four hours more for booking xyz." in desk.client.get(desk.link(approval)).text
    assert desk.post(desk.link(approval)).status_code == 200
    assert desk.stands(approval).decision == "approved"


def test_an_agent_cannot_open_its_own_link(desk: Desk) -> None:
    made = desk.client.post("/api/v2/keys", json={"name": "self-server"}).json()
    approval = desk.asks()
    shown = {"authorization": f"Bearer {made['secret']}"}
    assert desk.client.get(desk.link(approval), headers=shown).status_code == 403
    assert desk.post(desk.link(approval), **shown).status_code == 403
    assert desk.stands(approval).decision is None
