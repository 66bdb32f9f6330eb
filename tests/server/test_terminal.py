"""What people see: at any width, without a colour code in a pipe, and never as a riddle."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from market.context import Context, Market
from server import terminal
from tools.offer_view import OfferLine
from tools.search import OfferPage, Relaxation, SearchOffers, search_offers
from tools.sync import ProviderRun

OFFER: dict[str, Any] = {
    "id": "acme:h100x8:eu-1",
    "provider": "acme",
    "name": "big [red]box[/]",
    "gpu": "H100-SXM",
    "gpu_count": 8,
    "memory_gb": 80,
    "pricing": "on_demand",
    "price_per_hour": 20.0,
    "price_per_gpu_hour": 2.5,
    "currency": "USD",
    "availability": "unknown",
    "region": "eu-1",
    "price_source": "static_table",
    "price_as_of": "2026-01-01T00:00:00Z",
}
RUN = ProviderRun("acme", datetime(2026, 1, 1, tzinfo=UTC), 2.0, "live", rows=100, offers=90)


def drawn(what: Any, width: int = 160) -> str:
    """A table as plain text."""
    sheet = io.StringIO()
    Console(file=sheet, width=width).print(what)
    return sheet.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 160, 400])
async def test_offers_can_be_read_at_any_width(market: Market, width: int) -> None:
    page = await search_offers(Context(market), SearchOffers(gpu=["H100"], limit=50))
    offers = [item.model_dump(mode="json", exclude_none=True) for item in page.items]
    shown = drawn(terminal.offer_table(offers, width), width)
    assert all(len(line) <= width for line in shown.splitlines())
    unfolded = "".join(shown.split())
    if width >= 80:
        assert all(offer["id"] in unfolded for offer in offers)
    assert "…" not in shown


def test_a_price_in_another_currency_is_shown_in_dollars() -> None:
    foreign = {**OFFER, "currency": "EUR", "price_per_hour_usd": 22.0}
    shown = drawn(terminal.offer_table([foreign], 160))
    assert "22.000" in shown
    assert "2.750" in shown
    assert "20.000" not in shown


def test_half_a_tenth_of_a_cent_is_rounded_as_it_is_written() -> None:
    assert "0.802" in drawn(terminal.offer_table([{**OFFER, "price_per_hour": 0.8015, "price_per_gpu_hour": 0.1}], 160))


def test_a_hosted_model_is_shown_by_the_million_tokens() -> None:
    model = {name: value for name, value in OFFER.items() if not name.startswith("price_per")}
    model |= {"price_per_million_input_tokens": 0.05, "price_per_million_output_tokens": 0.2, "gpu_count": 1}
    shown = drawn(terminal.offer_table([model], 160))
    assert "0.05 / 0.2" in shown
    assert "per M tokens" in shown


def test_shares_of_a_card_nodes_and_unknown_cards_are_told() -> None:
    odd = {**OFFER, "gpu_fraction": 0.5, "gpu_count": 1, "node_count": 2, "gpu_raw": "GB999"}
    del odd["gpu"]
    assert "0.5 of 1x GB999 80 GB, 2 nodes" in drawn(terminal.offer_table([odd], 160))


def test_what_a_provider_says_is_never_taken_for_markup() -> None:
    odd = {**OFFER, "gpu": "[bold]H100", "region": "[/]eu", "id": "a:[red]b:c"}
    shown = drawn(terminal.offer_table([odd], 160))
    assert "[bold]H100" in shown
    assert "[/]eu" in shown
    assert "a:[red]b:c" in shown


def test_nothing_found_says_what_to_loosen(capsys: pytest.CaptureFixture[str]) -> None:
    way = Relaxation(constraint="max_price", change="raise it to 2.5", total=7, cheapest_per_hour=Decimal("2.49"))
    terminal.print_offers(OfferPage(total=0, items=[], relax=[way], warnings=["Old prices."]))
    shown = capsys.readouterr().out
    assert "Nothing matches." in shown
    assert "max_price: raise it to 2.5: 7 offers, from $2.490 an hour" in shown
    assert "note Old prices." in shown


def test_a_full_page_does_not_promise_more_than_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    line = OfferLine.model_validate({**OFFER, "last_updated": OFFER["price_as_of"]})
    terminal.print_offers(OfferPage(total=3, items=[line]))
    assert "The first 1; `limit=50` shows more." in capsys.readouterr().out
    terminal.print_offers(OfferPage(total=80, items=[line] * 50))
    assert "The first 50." in capsys.readouterr().out
    terminal.print_offers(OfferPage(total=1, items=[line]))
    assert "The first" not in capsys.readouterr().out


def test_json_holds_numbers_as_numbers_and_times_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({"price": Decimal("1.25"), "at": datetime(2026, 1, 1, tzinfo=UTC), 1: None})
    assert json.loads(capsys.readouterr().out) == {"price": 1.25, "at": "2026-01-01T00:00:00+00:00", "1": None}


def test_a_pass_says_what_was_refused_and_what_failed() -> None:
    failed = replace(RUN, provider="broken", error="`broken` did not answer.", rows=0, offers=0, seconds=0.0)
    picky = replace(RUN, rejects={"no price": 7, "Windows": 9}, warnings=("A region is new.",))
    sheet = io.StringIO()
    terminal.print_runs([picky, failed], Console(file=sheet, width=80))
    shown = sheet.getvalue()
    assert "200 rows" not in shown
    assert "100 rows, 90 offers in 2.0 s" in shown
    assert "acme 9 rows refused: Windows; 7 rows refused: no price; A region is new." in shown
    assert "broken `broken` did not answer." in shown


def provider(name: str, **changed: Any) -> dict[str, Any]:
    """A provider as `doctor` describes it."""
    plain = {"provider": name, "state": "healthy", "live": True, "reachable": True, "offers": 3}
    return {**plain, "confirmed_at": "2026-01-01 12:00", "stale": False, "remarks": "", **changed}


def test_doctor_puts_problems_last_and_tables_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    tables = [provider(name, live=False, reachable=None, remarks="Published prices.") for name in ("one", "two")]
    found = {
        "configuration": {"version": "1"},
        "purchases": {"watchdog": "none runs"},
        "providers": [provider("old", stale=True), provider("new", state="unknown", confirmed_at=None), *tables],
        "unmapped_gpus": ["GTX 1050"],
        "problems": ["The disk is full."],
    }
    terminal.print_examination(found)
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1] == "problem The disk is full."
    assert "  one 3, two 3: Published prices." in lines
    assert any("healthy (stale)" in line for line in lines)
    assert any("not asked yet" in line and "never" in line for line in lines)
    assert any("GTX 1050" in line for line in lines)
    assert "  watchdog  none runs" in lines


def test_doctor_says_when_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_examination(
        {"configuration": {}, "purchases": {}, "providers": [], "unmapped_gpus": [], "problems": []}
    )
    assert capsys.readouterr().out.strip().endswith("All is well.")


def test_a_pipe_is_wide_unless_it_says_how_wide_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal.console(file=io.StringIO()).width == terminal.PIPE_WIDTH
    monkeypatch.setenv("COLUMNS", "60")
    assert terminal.console(file=io.StringIO()).width == 60


def test_a_reader_who_left_is_reported_to_the_command_line() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        terminal.console(file=Gone()).print("offers")
