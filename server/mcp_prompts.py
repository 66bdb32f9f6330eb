"""The prompt files as MCP prompts, and completion of the names that prompts and resources take."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    Completion,
    GetPromptResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from market.context import Market
from prompts.library import PromptMisused, prompts
from server.mcp_resources import ICON

if TYPE_CHECKING:
    from market.snapshot import Snapshot

_MAX_COMPLETIONS = 100


def listing() -> list[Prompt]:
    """Every prompt with its arguments."""
    return [
        Prompt(
            name=prompt.name,
            title=prompt.title,
            description=prompt.description,
            arguments=[
                PromptArgument(name=a.name, description=a.description, required=a.required) for a in prompt.arguments
            ],
            icons=[ICON],
        )
        for prompt in prompts().values()
    ]


def filled(name: str, arguments: dict[str, Any]) -> GetPromptResult:
    """One prompt with its blanks filled; a wrong name or argument is an error that names the right ones."""
    prompt = prompts().get(name)
    if prompt is None:
        close = difflib.get_close_matches(name.lower(), list(prompts()), n=1, cutoff=0.4) or list(prompts())
        listed = ", ".join(f"`{match}`" for match in close)
        raise MCPError(INVALID_PARAMS, f"There is no prompt `{name[:60]}`. Nearest: {listed}.", {"nearest": close})
    try:
        text = prompt.filled(arguments)
    except PromptMisused as misuse:
        raise MCPError(INVALID_PARAMS, str(misuse), {"prompt": name}) from None
    return GetPromptResult(
        description=prompt.description, messages=[PromptMessage(role="user", content=TextContent(text=text))]
    )


async def completed(argument: str, typed: str, market: Market) -> Completion | None:
    """Names that complete what was typed, or None for an argument that takes free words."""
    before, comma, last = typed.rpartition(",") if argument == "gpus" else ("", "", typed)
    names = await _names(argument, last.strip(), market)
    if names is None:
        return None
    stem = f"{before}, " if comma else ""
    found = [f"{stem}{name}" for name in matching(names, last.strip())]
    return Completion(values=found[:_MAX_COMPLETIONS], total=len(found), has_more=len(found) > _MAX_COMPLETIONS)


async def _names(argument: str, typed: str, market: Market) -> list[str] | None:
    if argument in ("gpu", "gpus"):
        from market import gpus

        return list(gpus.catalogue())
    if argument == "region":
        from market import regions

        return regions.known_terms()
    if argument == "provider":
        return sorted(await market.provider_states())
    if argument in ("offer", "offer_id"):
        return _ids_from(await market.snapshot(), typed.lower())
    return None


def _ids_from(snapshot: Snapshot, typed: str) -> list[str]:
    """Ids that begin with what was typed; they are kept sorted, so they stand side by side."""
    ids = snapshot.frame.ids
    start = bisect_left(ids, typed.encode())
    beside = (name.decode() for name in ids[start : start + _MAX_COMPLETIONS + 1].tolist())
    return [name for name in beside if name.startswith(typed)]


def matching(names: list[str], typed: str) -> list[str]:
    """Names that begin with what was typed, then those that hold it; upper and lower case are the same."""
    wanted = typed.casefold()
    first = [name for name in names if name.casefold().startswith(wanted)]
    return first + [name for name in names if wanted in name.casefold() and not name.casefold().startswith(wanted)]
