"""The page behind an approval link: exactly what is asked for, and one plain form to say yes or no.

The signature of the link is what lets somebody in; reading decides nothing, and the form is taken from this page
alone. No script, no style, nothing fetched: the browser is told to run none.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from market.context import Context, Market
from market.errors import BrokerError, Conflict, NotAllowed, TooLarge, ValidationFailed
from server.callers import caller_in

if TYPE_CHECKING:
    from tools.approvals import ApprovalSheet

PATH = "/approvals/{id}"
_LONGEST_FORM = 1_000
_FORM = "application/x-www-form-urlencoded"
_ANSWERS = {"approve": True, "decline": False}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # `no-referrer` would make browsers send `Origin: null` with the form
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def route(market: Market) -> Route:
    """Where the links of approvals lead."""
    return Route(PATH, _Page(market).answer, methods=["GET", "POST"])


class _Page:
    def __init__(self, market: Market) -> None:
        self._market = market

    async def answer(self, request: Request) -> Response:
        """The page, or what went wrong in words; never JSON, a person reads it."""
        try:
            if request.method == "POST":
                return await self._decide(request)
            return _page(await self._sheet(request), asks=True)
        except BrokerError as problem:
            return _document("Not possible", _paragraphs(problem.message, problem.next_step), problem.status)
        except ClientDisconnect:
            return Response(status_code=400)

    async def _sheet(self, request: Request) -> ApprovalSheet:
        from tools.approvals import linked, sheet

        ctx = self._context(request)
        return await sheet(ctx, await linked(ctx, request.path_params["id"], request.query_params.get("sig", "")))

    async def _decide(self, request: Request) -> Response:
        from tools.approvals import decided, linked

        _refuse_other_pages(request, self._market.settings.base_url)
        ctx = self._context(request)
        approval = await linked(ctx, request.path_params["id"], request.query_params.get("sig", ""))
        approved = await _answer_in(request)
        try:
            return _page(await decided(ctx, approval.id, approved=approved, via="link"), asks=False)
        except Conflict as problem:
            if problem.details.get("reason") == "changed":
                raise
            return _page(await self._sheet(request), asks=False, note=problem.message)

    def _context(self, request: Request) -> Context:
        return Context(self._market, caller_in(request.scope))


def _refuse_other_pages(request: Request, base_url: str) -> None:
    """Raises NotAllowed unless a browser says that the form came from a page of ours."""
    ours = {f"{request.url.scheme}://{request.url.netloc}", "{0.scheme}://{0.netloc}".format(urlsplit(base_url))}
    origins = request.headers.getlist("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if len(origins) != 1 or origins[0] not in ours or site != "same-origin":
        raise NotAllowed(
            "The answer did not come from this page.", next_step="Open the link in a browser and answer there."
        )


async def _answer_in(request: Request) -> bool:
    """The decision in the form. Raises ValidationFailed or TooLarge."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise ValidationFailed("The answer must be a form.", next_step="Open the link in a browser and answer there.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            raise TooLarge("The form is too long.", next_step="Open the link in a browser and answer there.")
    form = parse_qs(body.decode("ascii", "replace"))
    said = form.pop("decision", [])
    if form or len(said) != 1 or said[0] not in _ANSWERS:
        raise ValidationFailed("The form says neither yes nor no.", next_step="Use one of the two buttons.")
    return _ANSWERS[said[0]]


_TITLES = {
    "waiting": "Approve this purchase?",
    "approved": "Approved",
    "declined": "Declined",
    "used": "Approved and bought",
    "expired": "Too late to decide",
}


def _page(sheet: ApprovalSheet, *, asks: bool, note: str = "") -> Response:
    parts = [_paragraphs(note) if note else "", _paragraphs(sheet.summary), _table(_facts(sheet))]
    if sheet.legs:
        parts.append("<h2>What may be bought: one of these, in this order</h2>" + _legs(sheet))
    if sheet.lines:
        parts.append("<h2>Costs of the first, in US dollars</h2>" + _lines(sheet))
    parts += ["<ul>" + "".join(f"<li>{escape(said)}</li>" for said in sheet.assumptions or ()) + "</ul>"]
    if asks and sheet.state == "waiting":
        parts.append(
            '<form method="post"><p>'
            '<button name="decision" value="approve">Approve, spend this money</button> '
            '<button name="decision" value="decline">Decline</button></p></form>'
        )
    return _document(_TITLES[sheet.state], "".join(parts))


def _facts(sheet: ApprovalSheet) -> list[tuple[str, str]]:
    """Names and values of the table at the top."""
    facts = [
        ("At most", _dollars(sheet.amount)),
        ("Expected", "" if sheet.expected_total is None else _dollars(sheet.expected_total)),
        ("Machines", "" if sheet.machines is None else str(sheet.machines)),
        ("Hours", "" if sheet.duration_hours is None else f"{sheet.duration_hours:g}"),
        ("Disk of each", f"{sheet.disk_gb:g} GB" if sheet.disk_gb else ""),
        ("Asked by", sheet.caller),
        ("Under", sheet.mandate_id),
        ("Left of its budget", "" if sheet.mandate_remaining is None else _dollars(sheet.mandate_remaining)),
        ("Asked at", _moment(sheet.requested_at)),
        ("Decide until", _moment(sheet.expires_at) if sheet.state == "waiting" else ""),
        ("Decided", f"{sheet.decided_by} ({sheet.decided_via})" if sheet.decided_by else ""),
        ("Decided at", _moment(sheet.decided_at) if sheet.decided_at else ""),
    ]
    return [(name, value) for name, value in facts if value]


def _table(rows: list[tuple[str, str]]) -> str:
    return (
        "<table>"
        + "".join(f"<tr><th>{escape(name)}</th><td>{escape(said)}</td></tr>" for name, said in rows)
        + ("</table>")
    )


def _legs(sheet: ApprovalSheet) -> str:
    return _grid(
        ("Provider", "Region", "GPUs of a machine", "Sold as", "A machine an hour", "At most", "Offer"),
        [
            (
                leg.provider,
                leg.region,
                f"{leg.gpu_count}x {leg.gpu or 'unnamed'}",
                leg.pricing.replace("_", " "),
                _dollars(leg.price_per_hour, 4),
                _dollars(leg.worst_total),
                leg.offer_id,
            )
            for leg in sheet.legs or ()
        ],
    )


def _lines(sheet: ApprovalSheet) -> str:
    return _grid(
        ("Item", "Quantity", "Unit", "Price", "Amount"),
        [
            (line.item, f"{line.quantity:g}", line.unit, f"{line.unit_price:f}", f"{line.amount:,.2f}")
            for line in sheet.lines or ()
        ],
    )


def _grid(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _dollars(amount: object, places: int = 2) -> str:
    return f"{amount:,.{places}f} USD"


def _moment(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _paragraphs(*texts: str) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in texts if text)


def _document(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · GPUBroker</title>'
        f'<meta name="viewport" content="width=device-width"></head><body><h1>{escape(title)}</h1>{body}</body></html>',
        status,
        _HEADERS,
    )
