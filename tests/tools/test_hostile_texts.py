"""What sellers write changes nothing: two worlds that differ in provider texts alone answer every tool alike.

Every text of `tests.hostile_texts` stands in names, regions, GPU names, tags and evidence of the catalogue, and in
error bodies, machine labels, SSH hosts and bills of the cloud. The same calls are made in a world with harmless texts;
what is not such a text must be equal: decisions, prices, verdicts, orders.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from adapters.sandbox_cloud import Temper
from market import catalogue
from market.context import LOCAL_OWNER
from market.errors import BrokerError, InternalFault
from market.offers import Offer, listed
from tests.hostile_texts import CANARY, HARMLESS, HOSTILE, PLAIN
from tests.life_world import LifeWorld, Template, laboratory
from tools.capability import capabilities

MINUTE = timedelta(minutes=1)
LIVES = 8
"""Bookings lived through with hostile answers; each reads some dozens of them."""
MAX_TEXT, MAX_ANSWER = 1_000, 60_000
_NEVER = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]"
)


def sellers_offers(texts: Sequence[str], at: Any) -> list[Offer]:
    """One offer for each text, which stands wherever a provider may write."""
    return [
        listed(
            provider="vast",
            sku=f"row-{number}",
            gpu="H100 SXM" if number % 2 else text,
            gpu_count=1,
            memory_gb=80.0,
            price_per_hour=Decimal(1000 + number) / 1000,
            price_as_of=at,
            source_url="https://vast.example",
            seen_at=at,
            name=text,
            external_id=text,
            region="us-east" if number % 3 else text,
            availability="available",
            availability_evidence=text,
            availability_zone=text,
            interconnect=text,
            storage_type=text,
            interruption_band=text,
            tags=(text, "gdpr"),
        )
        for number, text in enumerate(texts)
    ]


class Speaking:
    """A cloud that writes one text after the other wherever its answers have room for words."""

    def __init__(self, face: Any, texts: Sequence[str]) -> None:
        self._face, self._texts, self.said = face, texts, 0

    def _text(self) -> str:
        self.said += 1
        return self._texts[self.said * 7 % len(self._texts)]

    def _name(self) -> str:
        """Where a name is due: harmless ones are names."""
        text = self._text()
        return text.replace(" ", "-") if text.startswith(HARMLESS) else text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The face's answer, with our words in it."""
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._face(scope, receive, keep)
        body = b"".join(message.get("body", b"") for message in answer[1:])
        if body:
            told = json.loads(body)
            self._speak(told, scope["path"])
            body = json.dumps(told).encode()
        length = [(b"content-length", str(len(body)).encode())]
        headers = [(name, value) for name, value in answer[0].get("headers", ()) if name != b"content-length"]
        await send({**answer[0], "headers": headers + length})
        await send({"type": "http.response.body", "body": body})

    def _speak(self, told: Any, path: str) -> None:
        if "error" in told:
            told["error"] |= {"message": self._text(), "details": self._text()}
        elif "instances" in told:
            for one in told["instances"]:
                self._speak(one, path)
            told["instances"].append(self._foreign())
        elif "ssh" in told:
            told["note"] = self._text()
            if told["ssh"]:
                told["ssh"] |= {"host": self._name(), "user": self._name()}
            for port in told["ports"]:
                port["address"] = self._name()
        else:
            told["note"] = self._text()

    def _foreign(self) -> dict[str, Any]:
        """A machine of somebody else on the account."""
        unset = dict.fromkeys(("started_at", "ends_at", "end_reason", "ssh"))
        money = {"price_per_hour": "1", "currency": "USD"}
        return {**unset, **money, "id": "foreign", "label": self._text(), "state": "running", "ports": []}


class Shop:
    """A world in which every provider text is one of these, and everything that was answered in it."""

    def __init__(self, runner: asyncio.Runner, template: Template, texts: Sequence[str]) -> None:
        self._runner = runner
        self.answers: list[tuple[str, Any]] = []
        self.called: set[str] = set()
        self.orders: list[Any] = []
        self.world = LifeWorld(template, Temper.calm(), enforce_end=True)
        self.cloud = Speaking(self.world.cloud.face, texts)
        self.world.cloud.face = self.cloud  # type: ignore[assignment]
        self._run(self.world.open())
        offers = sellers_offers(texts, self.world.clock.now())
        self.rows = [offer.id for offer in offers]
        self.bookable = template.offers["on_demand"]
        self._run(self._stock(offers))
        launch = self.world.cloud.cloud.launch

        def watched(account: str, order: Any, *rest: Any) -> Any:
            self.orders.append(order)
            return launch(account, order, *rest)

        self.world.cloud.cloud.launch = watched  # type: ignore[method-assign, assignment]

    def _run(self, work: Any) -> Any:
        return self._runner.run(work)

    async def _stock(self, offers: list[Offer]) -> None:
        """The sellers' offers, and the cloud's own with the same words in them."""
        market, now = self.world.market, self.world.clock.now()
        store = await market.store()
        await catalogue.record(store, "vast", offers, seen_at=now, complete=True)
        market._snapshot = None
        await market.snapshot()

    def ask(self, capability: str, *, owner: bool = False, **arguments: Any) -> Any:
        """Ask, and keep the answer or the refusal. A defect of ours is neither."""
        self.called.add(capability)
        try:
            caller = LOCAL_OWNER if owner else None
            answer = self._run(self.world.asks(capability, caller, **arguments))
        except InternalFault:
            raise
        except BrokerError as refusal:
            told = {"error": refusal.code, "message": str(refusal), "details": dict(refusal.details)}
            self.answers.append((capability, json.loads(json.dumps(told, default=str))))
            return None
        self.answers.append((capability, json.loads(answer.model_dump_json(exclude_none=True))))
        return answer

    def looks(self) -> None:
        """Every reading tool over the whole catalogue."""
        asked: list[dict[str, Any]] = [
            {},
            {"provider": ["vast"]},
            {"tags": ["gdpr"]},
            {"q": "gdpr"},
            {"sort": "-price"},
        ]
        for wanted in asked:
            page = self.ask("search_offers", limit=50, **wanted)
            while page is not None and page.next_cursor:
                page = self.ask("search_offers", limit=50, cursor=page.next_cursor, **wanted)
        self.ask("rank_offers", limit=20)
        self.ask("rank_offers", limit=20, provider=["vast"], method="borda")
        self.ask("rank_offers", workload="fine-tune Llama 3 8B with LoRA in eu")
        self.ask("estimate_workload", text="serve a 70B model at int4")
        self.ask("market_overview")
        self.ask("price_history", gpu="H100")
        for offer in self.rows:
            self.ask("get_offer", id=offer)
            self.ask("quote_offer", offer_id=offer, duration_hours=2)
            self.ask("price_history", offer_id=offer)
            alert = self.ask("create_alert", owner=True, offer_id=offer, when="price_below", threshold=0.5)
            if alert is not None:
                self.ask("delete_alert", owner=True, alert_id=alert.id)

    def lives(self) -> None:
        """Bookings with everything that can be done to one, under a mandate, refusals among it."""
        agent = self.world.agent.agent_key_id
        self.ask("create_mandate", owner=True, agent=agent, budget=20, providers=["sandbox"], approval_above=1)
        self._run(self.world.watchdog.tick())
        for number in range(LIVES):
            offer = self.bookable[number % len(self.bookable)]
            if number % 3 == 2:
                self.world.cloud.dial.set("refusal", "no_capacity", endpoint="launch", times=1)
            quote = self.ask("quote_offer", offer_id=offer, duration_hours=1 + 5 * (number % 2))
            if quote is None:
                continue
            order: dict[str, Any] = {"quote_id": quote.quote_id, "idempotency_key": f"key-{number}", "max_total": 100}
            booked = self.ask("book_quote", launch={"ports": [8080]}, **order)
            for one in self.ask("list_approvals", owner=True).items:
                self.ask("decide_approval", owner=True, approval_id=one.id, approved=True)
                booked = self.ask("book_quote", launch={"ports": [8080]}, **order)
            if booked is None:
                continue
            self._run(self.world.passes(2 * MINUTE, 2))
            named: dict[str, Any] = {"booking_id": booked.id}
            self.ask("list_bookings", **named)
            more: dict[str, Any] = {"idempotency_key": f"more-{number}", "max_total": 100}
            self.ask("extend_booking", hours=1, **named, **more)
            self.ask("scale_booking", **named, max_total=100, idempotency_key=f"scale-{number}")
            self._run(self.world.passes(2 * MINUTE, 2))
            for what in ("list_bookings", "stop_booking", "start_booking", "terminate_booking", "list_bookings"):
                self.ask(what, **named)
        for what in ("list_bookings", "spend_status", "list_alerts"):
            self.ask(what, owner=True)

    def close(self) -> None:
        """Close what is open."""
        self._run(self.world.end())


@pytest.fixture(scope="module")
def shops() -> Iterator[tuple[Shop, Shop]]:
    """The same story in a hostile world and in a harmless one."""
    told: list[Shop] = []
    with laboratory() as (runner, template):
        for texts in (HOSTILE, PLAIN):
            shop = Shop(runner, template, texts)
            told.append(shop)
            shop.looks()
            shop.lives()
            assert shop.world.books() == []
            shop.close()
        yield told[0], told[1]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value with where it stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{place}]")
    else:
        yield path, value


def differences(hostile: Any, harmless: Any, path: str = "") -> Iterator[str]:
    """Where two answers differ in anything but what was written by a seller."""
    if isinstance(harmless, dict) and isinstance(hostile, dict):
        for name in (harmless.keys() | hostile.keys()) - {"next_cursor"}:  # opaque; it holds where the page ended
            yield from differences(hostile.get(name), harmless.get(name), f"{path}.{name}")
    elif isinstance(harmless, list) and isinstance(hostile, list) and len(harmless) == len(hostile):
        for place, (one, other) in enumerate(zip(hostile, harmless, strict=True)):
            yield from differences(one, other, f"{path}[{place}]")
    elif hostile != harmless and not _sellers_own(harmless):
        yield f"{path}: {str(hostile)[:200]!r} where harmless texts give {str(harmless)[:200]!r}"


def _sellers_own(value: Any) -> bool:
    """A text of a seller, or a list of nothing else: names of machines, which a hostile one is not."""
    if isinstance(value, list | dict):
        return bool(value) and all(_sellers_own(inner) for _, inner in leaves(value))
    return isinstance(value, str) and HARMLESS in value


def test_there_are_two_hundred_texts_and_the_cloud_has_said_them_all(shops: tuple[Shop, Shop]) -> None:
    assert len(set(HOSTILE)) == 200
    assert all(shop.cloud.said >= 200 for shop in shops)


def test_every_tool_was_asked(shops: tuple[Shop, Shop]) -> None:
    tools = {name for name, item in capabilities().items() if "tool" in item.doors}
    untold = sorted(tools - shops[0].called)
    assert not untold, f"say in `Shop.looks` or `Shop.lives` how these are called: {untold}"


def test_no_text_changes_a_decision_a_price_or_a_verdict(shops: tuple[Shop, Shop]) -> None:
    hostile, harmless = shops
    assert [name for name, _ in hostile.answers] == [name for name, _ in harmless.answers]
    found = [
        f"call {place}, {name}{said}"
        for place, ((name, one), (_, other)) in enumerate(zip(hostile.answers, harmless.answers, strict=True))
        for said in differences(one, other)
    ]
    assert not found, "\n".join(found[:20])


def test_no_text_changes_what_is_ordered(shops: tuple[Shop, Shop]) -> None:
    hostile, harmless = shops
    assert hostile.orders
    assert hostile.orders == harmless.orders


def test_nothing_hidden_passes_and_nothing_is_long(shops: tuple[Shop, Shop]) -> None:
    for name, answer in shops[0].answers:
        assert len(json.dumps(answer, ensure_ascii=False)) <= MAX_ANSWER, name
        for path, value in leaves(answer):
            if isinstance(value, str):
                assert len(value) <= MAX_TEXT, (name, path, value[:200])
                assert not _NEVER.search(value), (name, path, value[:200])


def test_no_error_and_no_advice_repeats_a_sellers_words(shops: tuple[Shop, Shop]) -> None:
    of_us = re.compile(r"\.(message|error|next|next_step|reason|cost_note|ssh\[\d+\]|ports\..*|warnings\[\d+\])$")
    errors = 0
    for name, answer in shops[0].answers:
        errors += "error" in answer
        for path, value in leaves(answer):
            if of_us.search(path):
                assert CANARY not in str(value), (name, path, value)
    assert errors


def test_the_line_to_log_in_with_is_a_host_and_a_user_or_is_not_there(shops: tuple[Shop, Shop]) -> None:
    lines: Callable[[Shop], list[str]] = lambda shop: [  # noqa: E731
        str(value) for _, answer in shop.answers for path, value in leaves(answer) if ".ssh[" in path
    ]
    assert lines(shops[0]) == []
    assert lines(shops[1])
    assert all(re.fullmatch(r"ssh -p \d+ plain-\d+-words@plain-\d+-words", one) for one in lines(shops[1]))


def test_the_story_holds_purchases_refusals_and_questions(shops: tuple[Shop, Shop]) -> None:
    hostile = shops[0].answers
    assert len(hostile) > 1_000
    states = {answer["state"] for name, answer in hostile if name == "book_quote" and "state" in answer}
    assert {"provisioning", "failed"} <= states
    assert {"APPROVAL_REQUIRED", "MANDATE_REFUSED"} <= {answer.get("error") for _, answer in hostile}
