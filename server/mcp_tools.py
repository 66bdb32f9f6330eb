"""Capabilities as MCP tools: how they are listed, how they are called, how a refusal reads."""

from __future__ import annotations

import difflib
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from mcp.types import CallToolResult, InputRequiredResult, TextContent, Tool, ToolAnnotations

from market.context import Context
from market.errors import ApprovalRequired, BrokerError, NotAllowed, NotFound, ValidationFailed
from server.compact_schema import request_schema, result_schema
from tools.capability import Capability, Result, capabilities

DEFAULT_TOOLSETS = frozenset({"market"})
_MAX_DETAILS = 1_500


@dataclass(frozen=True, slots=True)
class Offered:
    """Which capabilities this server offers as tools."""

    read_only: bool
    toolsets: frozenset[str] | None

    def all(self) -> Iterator[Capability[Any, Any]]:
        """The offered ones, in the order they were declared."""
        return (item for item in capabilities().values() if "tool" in item.doors and self._why_not(item) is None)

    def pick(self, name: str) -> Capability[Any, Any]:
        """The capability of this name. Raises NotFound with the nearest name, NotAllowed when it is switched off."""
        chosen = capabilities().get(name)
        if chosen is None or "tool" not in chosen.doors:
            names = [item.name for item in self.all()]
            close = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.4)
            raise NotFound(
                f"There is no tool `{name[:60]}`.",
                next_step=f"Did you mean {' or '.join(f'`{match}`' for match in close)}?" if close else "See `tools`.",
                details={"nearest": close} if close else {"tools": names},
            )
        if reason := self._why_not(chosen):
            raise NotAllowed(f"`{name}` is switched off: {reason}.", next_step="Ask whoever runs the server.")
        return chosen

    def _why_not(self, item: Capability[Any, Any]) -> str | None:
        if self.read_only and item.effect != "read":
            return "this server was started read-only"
        if item.toolset not in (self.toolsets or DEFAULT_TOOLSETS):
            return f"its toolset `{item.toolset}` was not chosen"
        return None


def check_toolsets(chosen: frozenset[str]) -> None:
    """Raise ValidationFailed when a chosen toolset does not exist."""
    known = sorted({item.toolset for item in capabilities().values() if "tool" in item.doors})
    for name in sorted(chosen - set(known)):
        close = difflib.get_close_matches(name, known, n=1)
        raise ValidationFailed(
            f"There is no toolset `{name[:60]}`.",
            next_step=f"Did you mean `{close[0]}`?" if close else f"There are: {', '.join(known)}.",
            details={"allowed": known},
        )


def listing(offered: Offered) -> list[Tool]:
    """The offered capabilities as they appear in tools/list."""
    return [_as_tool(item.name) for item in offered.all()]


@cache
def _as_tool(name: str) -> Tool:
    item = capabilities()[name]
    return Tool(
        name=name,
        title=name.replace("_", " ").capitalize().replace("gpu", "GPU"),
        description=item.summary,
        input_schema=request_schema(item.request.model_json_schema(by_alias=False)),
        output_schema=result_schema(item.result.model_json_schema(by_alias=False, mode="serialization")),
        annotations=ToolAnnotations(
            read_only_hint=item.effect == "read",
            destructive_hint=None if item.effect == "read" else item.effect == "spend",
            idempotent_hint=None if item.effect == "read" else item.effect == "spend",
            open_world_hint=item.open_world,
        ),
    )


Ask = Callable[[ApprovalRequired], Awaitable[InputRequiredResult | bool | None]]


async def called(
    offered: Offered, name: str, arguments: dict[str, Any], ctx: Context, ask: Ask
) -> CallToolResult | InputRequiredResult:
    """Run the tool through the gate with the arguments as they came; `ask` puts a question to a person."""
    try:
        tool = offered.pick(name)
        try:
            return shown(await tool.call(ctx, arguments))
        except ApprovalRequired as need:
            answer = await ask(need)
            if isinstance(answer, InputRequiredResult):
                return answer
            if answer is None:
                raise
            return shown(await tool.call(replace(ctx, answers={need.approval_id: answer}), arguments))
    except BrokerError as refusal:
        return refused(refusal)


def shown(result: Result) -> CallToolResult:
    """A result twice, with the same facts: as text for clients that show text, structured for the others."""
    return CallToolResult(
        content=[TextContent(text=result.brief())],
        structured_content=result.model_dump(mode="json", exclude_none=True),
    )


def refused(refusal: BrokerError) -> CallToolResult:
    """A refusal in words the model can act on.

    Text only: clients that check structured content against the output schema do so for errors too.
    """
    return CallToolResult(content=[TextContent(text=refusal_text(refusal))], is_error=True)


def refusal_text(refusal: BrokerError) -> str:
    """`CODE: message next_step`, then the details as one line of JSON."""
    details = {**refusal.details, "retryable": refusal.retryable}
    facts = json.dumps(details, separators=(",", ":"), ensure_ascii=False, default=str)
    lines = [f"{refusal.code}: {refusal}"]
    if len(facts) <= _MAX_DETAILS:
        lines.append(facts)
    return "\n".join(lines)
