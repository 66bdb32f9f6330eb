"""An approval in memory: one question, its answer, and what it allows from then on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from market.errors import Conflict

Via = Literal["elicitation", "link", "cli", "api"]
State = Literal["waiting", "approved", "declined", "expired", "used"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One question and its answer. `amount` is the most that may be spent on it, in US dollars."""

    id: str
    subject: str
    caller: str
    mandate_id: str
    summary: str
    amount: Decimal
    requested_at: datetime
    expires_at: datetime
    decision: Literal["approved", "declined"] | None = None
    decided_by: str | None = None
    decided_via: Via | None = None
    decided_at: datetime | None = None
    used_at: datetime | None = None

    def state(self, now: datetime) -> State:
        """Where it stands; a decline stays one after its time, a used one too."""
        if self.used_at is not None:
            return "used"
        if self.decision == "declined":
            return "declined"
        if now >= self.expires_at:
            return "expired"
        return self.decision or "waiting"

    def about(self) -> tuple[str, str, Decimal]:
        """Who would spend how much, under which mandate."""
        return self.caller, self.mandate_id, self.amount


def refuse_deciding(approval: Approval, now: datetime) -> None:
    """Raises Conflict, with words, when there is nothing to decide any more."""
    state = approval.state(now)
    if state == "waiting":
        return
    said = f"{approval.decision} by {approval.decided_by} ({approval.decided_via})"
    words = {
        "approved": f"This was {said} already.",
        "declined": f"This was {said} already.",
        "used": f"This was {said}, and the purchase was made.",
        "expired": f"The time to decide this was over at {approval.expires_at.isoformat(timespec='seconds')}.",
    }
    raise Conflict(
        words[state],
        next_step="Nothing was changed; a new purchase asks anew.",
        details={"reason": state, "decision": approval.decision, "approval_id": approval.id},
    )


def refuse_use(approval: Approval, caller: str, mandate_id: str, amount: Decimal, now: datetime) -> None:
    """Raises Conflict, with words, when it does not allow this purchase; one that waits is left to the caller."""
    state = approval.state(now)
    reason, words = "", ""
    if approval.caller != caller:
        reason, words = "caller", "The approval was given to another caller."
    elif approval.mandate_id != mandate_id:
        reason, words = "mandate", "The approval was given under another mandate."
    elif state == "used":
        reason, words = "used", "The approval was used already; each one counts once."
    elif state == "declined":
        reason, words = "declined", f"A person declined this ({approval.decided_by}, {approval.decided_via})."
    elif state == "expired":
        reason = "expired"
        words = f"The time of the approval was over at {approval.expires_at.isoformat(timespec='seconds')}."
    elif amount > approval.amount:
        reason = "amount"
        words = f"At most {approval.amount:,.2f} USD were asked for; this may cost {amount:,.2f} USD."
    if reason:
        raise Conflict(
            words,
            next_step="Change the purchase, and ask for a new quote with `quote_offer`.",
            details={"reason": reason, "approval_id": approval.id},
        )
