"""A question to the person behind an MCP client, in both eras of the protocol, and the way back without either.

A capability raises ApprovalRequired. Since 2026-07-28 the question goes out as the result of the call and the answer
comes with a second one; before, it is a request of ours while the call runs. A client that cannot be asked gets the
refusal with the approval link. The answer only decides the approval's row, which is used once: what a client sends
back, and how often, proves nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.server.elicitation import AcceptedElicitation
from mcp.server.mcpserver import Context as CallContext
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from pydantic import BaseModel, Field

from market.errors import ApprovalRequired

SINCE = "2026-07-28"


class Approve(BaseModel):
    """The form a person fills in."""

    approve: bool = Field(description="Yes, spend this money.")


_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Approve", "description": "Yes, spend this money."}},
    "required": ["approve"],
}


def answers(context: CallContext[Any, Any] | None) -> Mapping[str, bool]:
    """What a person has answered in this very call, by approval id (the state is unsealed and verified by the SDK)."""
    if context is None or not context.request_state:
        return {}
    key = context.request_state
    answer = (context.input_responses or {}).get(key)
    if not isinstance(answer, ElicitResult) or answer.action == "cancel":
        return {}
    return {key: answer.action == "accept" and bool((answer.content or {}).get("approve"))}


async def ask(need: ApprovalRequired, context: CallContext[Any, Any] | None) -> InputRequiredResult | bool | None:
    """The question sent (to be answered by another call), the answer, or None where nobody can be asked."""
    if context is None or not need.question:
        return None
    able = context.client_capabilities
    if able is None or able.elicitation is None:
        return None
    if (context.protocol_version or "") >= SINCE:
        form = ElicitRequestFormParams(message=need.question, requested_schema=_SCHEMA)
        return InputRequiredResult(
            input_requests={need.approval_id: ElicitRequest(params=form)}, request_state=need.approval_id
        )
    if not context.session.can_send_request:
        return None
    outcome = await context.elicit(need.question, Approve)
    if isinstance(outcome, AcceptedElicitation):
        return bool(outcome.data.approve)
    return False if outcome.action == "decline" else None
