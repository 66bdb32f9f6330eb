"""A capability is declared once: its name, its two models, where it answers, and what it may do.

    @capability("GET /providers", scope="market:read", effect="read")
    async def search_offers(ctx: Context, query: SearchOffers) -> OfferPage:
        "Find GPU offers across every provider, cheapest first."

The doors (MCP, HTTP, the agent) are loops over `capabilities()`; every call passes the one gate, `Capability.call`.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError

from market.context import Context
from market.errors import BrokerError, InternalFault, NotAllowed, ValidationFailed

if TYPE_CHECKING:
    from market.commitment import Commitment

log = logging.getLogger("gpubroker")

Door = Literal["tool", "http", "agent"]
Effect = Literal["read", "write", "spend"]
EVERY_DOOR: frozenset[Door] = frozenset({"tool", "http", "agent"})


class Request(BaseModel):
    """Base of every request model: unknown names are refused by the gate, with the nearest valid one."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, populate_by_name=True)


class Result(BaseModel):
    """Base of every result model: built by our own code, never validated twice on the hot path."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    def brief(self) -> str:
        """The same facts as compact text, for clients that show only text."""
        return self.model_dump_json(exclude_none=True)


RequestT = TypeVar("RequestT", bound=Request)
ResultT = TypeVar("ResultT", bound=Result)


@dataclass(frozen=True, slots=True)
class Capability(Generic[RequestT, ResultT]):
    """One thing the marketplace can do, the same at every door."""

    name: str
    summary: str
    request: type[RequestT]
    result: type[ResultT]
    run: Callable[[Context, RequestT], Awaitable[ResultT]]
    scope: str
    effect: Effect
    routes: tuple[str, ...]
    doors: frozenset[Door]
    toolset: str
    open_world: bool

    async def call(self, ctx: Context, arguments: Mapping[str, Any]) -> ResultT:
        """The one gate: trace, scope, validation, then the work. Raises BrokerError and nothing else."""
        ctx = ctx if ctx.trace_id else replace(ctx, trace_id=secrets.token_hex(16))
        try:
            if not ctx.caller.may(self.scope):
                raise NotAllowed(
                    f"`{self.name}` needs the scope `{self.scope}`.",
                    next_step="Ask whoever issued the credential for it.",
                )
            request = self.checked(arguments)
            return await (self.run(ctx, request) if self.effect == "read" else self._committed(ctx, request))
        except BrokerError as refusal:
            log.info("%s refused: %s trace=%s", self.name, refusal.code, ctx.trace_id)
            raise
        except Exception as fault:
            log.exception("%s failed trace=%s", self.name, ctx.trace_id)
            raise InternalFault(
                f"`{self.name}` failed inside GPUBroker; nothing was changed.",
                next_step=f"Try once more; if it stays, report trace id {ctx.trace_id}.",
                details={"trace_id": ctx.trace_id},
            ) from fault

    async def _committed(self, ctx: Context, request: RequestT) -> ResultT:
        """A write or a spend: the stored answer of the same key and body, or the work between its intent and outcome.

        The capability begins the commitment in the transaction of its own first write; what fails before that is
        stored nowhere, so that the same key can be tried again.
        """
        from market.commitment import Commitment

        commitment = await Commitment.of(ctx, operation=self.name, request=request.model_dump_json())
        stored = await commitment.answer()
        if stored is not None:
            return self.result.model_validate_json(stored)
        try:
            result = await self.run(replace(ctx, commitment=commitment), request)
        except BaseException as fault:
            await commitment.failed(fault.code if isinstance(fault, BrokerError) else InternalFault.code)
            stored = await commitment.overtaken() if isinstance(fault, BrokerError) else None
            if stored is None:
                raise
            return self.result.model_validate_json(stored)
        await commitment.done(result.model_dump_json())
        return result

    def checked(self, arguments: Mapping[str, Any]) -> RequestT:
        """The typed request, or a ValidationFailed that names each wrong argument and what would be right."""
        unknown = [name for name in arguments if name not in self.argument_names()]
        if unknown:
            raise ValidationFailed(
                f"`{self.name}` takes no {_listed(unknown)}.",
                next_step=_nearest_step(unknown[0], self.argument_names()),
                details={"unknown": [name[:60] for name in unknown[:10]], "allowed": sorted(self.field_names())},
            )
        if _holds_nul(arguments):
            raise ValidationFailed("An argument holds a NUL character.", next_step="Send plain text.")
        twice = _given_twice(self.request, arguments)
        if twice:
            raise ValidationFailed(
                f"{' and '.join(f'`{name}`' for name in twice)} are the same argument.", next_step="Give it once."
            )
        try:
            # Models like to send null for what they leave out.
            return self.request.model_validate({name: value for name, value in arguments.items() if value is not None})
        except ValidationError as problem:
            raise ValidationFailed(**explained(problem)) from None

    def field_names(self) -> list[str]:
        """The documented argument names."""
        return list(self.request.model_fields)

    def argument_names(self) -> frozenset[str]:
        """Every accepted argument name, aliases included."""
        return _argument_names(self.request)


@cache
def _argument_names(request: type[Request]) -> frozenset[str]:
    return frozenset(name for spellings in _spellings(request) for name in spellings)


@cache
def _spellings(request: type[Request]) -> tuple[frozenset[str], ...]:
    """For each field every name it can be given by."""
    found = []
    for name, field in request.model_fields.items():
        alias = field.validation_alias
        others = [alias] if isinstance(alias, str) else getattr(alias, "choices", ())
        found.append(frozenset({name, *(str(other) for other in others)}))
    return tuple(found)


def _given_twice(request: type[Request], arguments: Mapping[str, Any]) -> list[str]:
    """The names by which one field is given more than once."""
    groups = (sorted(spellings & arguments.keys()) for spellings in _spellings(request))
    return next((names for names in groups if len(names) > 1), [])


def _holds_nul(arguments: Mapping[str, Any]) -> bool:
    """Whether there is a NUL anywhere in them, however deep: no database takes one, and nobody means one."""
    waiting: list[Any] = [arguments]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and "\x00" in value:
            return True
        if isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
    return False


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name[:60]}`" for name in names[:3])
    return f"argument {shown}" if len(names) == 1 else f"arguments {shown}"


def _nearest_step(name: str, allowed: frozenset[str]) -> str:
    close = difflib.get_close_matches(name, sorted(allowed), n=2, cutoff=0.5)
    return f"Did you mean {' or '.join(f'`{match}`' for match in close)}?" if close else "See `allowed`."


def explained(problem: ValidationError) -> dict[str, Any]:
    """Arguments for ValidationFailed out of pydantic's findings: our words, no rejected value echoed."""
    findings = [
        {"field": ".".join(str(part) for part in error["loc"]) or "request", "reason": _reason(error)}
        for error in problem.errors(include_url=False, include_context=True)[:8]
    ]
    said = "; ".join(f"`{finding['field']}` {finding['reason']}" for finding in findings[:4])
    return {"message": f"{said}.", "next_step": "Correct and send again.", "details": {"fields": findings}}


_REASONS: Mapping[str, str] = {
    "missing": "is required",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "extra_forbidden": "is not known here",
    "finite_number": "must be a finite number",
    "decimal_max_places": "must have at most {decimal_places} decimals",
    "string_pattern_mismatch": "has a form that is not accepted",
    "string_unicode": "must be text in valid Unicode",
    "int_parsing_size": "is too large a number",
}
_KINDS: Mapping[str, str] = {
    "int": "must be a whole number",
    "float": "must be a number",
    "decimal": "must be a number",
    "bool": "must be true or false",
    "string": "must be text",
    "list": "must be a list",
    "model": "must be an object",
    "dict": "must be an object",
}


def _reason(error: Any) -> str:
    kind = str(error["type"])
    if kind == "value_error":
        # Raised by our own validators, so the words are ours.
        return str(error["ctx"]["error"]) if "ctx" in error else "is not valid"
    template = _REASONS.get(kind)
    if template is not None:
        return template.format(**error.get("ctx", {}))
    return _KINDS.get(kind.partition("_")[0], "is not valid")


def intent_of(ctx: Context) -> Commitment:
    """What a change begins in its own transaction."""
    if ctx.commitment is None:
        raise InternalFault("A change was called past its gate.")
    return ctx.commitment


_REGISTRY: dict[str, Capability[Any, Any]] = {}

Function = Callable[[Context, RequestT], Awaitable[ResultT]]


def capability(
    *routes: str,
    scope: str,
    effect: Effect,
    doors: frozenset[Door] = EVERY_DOOR,
    toolset: str = "market",
    open_world: bool = False,
) -> Callable[[Function[RequestT, ResultT]], Function[RequestT, ResultT]]:
    """Declare a capability: `routes` are `METHOD /path`, the first is the canonical one.

    Name, summary and schemas come from the function: its name, its docstring, its two models.
    """

    def declare(run: Function[RequestT, ResultT]) -> Function[RequestT, ResultT]:
        hints = get_type_hints(run)
        request, result = (hints[name] for name in (list(inspect.signature(run).parameters)[1], "return"))
        name = run.__name__
        if name in _REGISTRY:
            raise TypeError(f"two capabilities are called {name!r}")
        _REGISTRY[name] = Capability(
            name=name,
            summary=inspect.cleandoc(run.__doc__ or ""),
            request=request,
            result=result,
            run=run,
            scope=scope,
            effect=effect,
            routes=routes,
            doors=doors,
            toolset=toolset,
            open_world=open_world,
        )
        return run

    return declare


def capabilities() -> Mapping[str, Capability[Any, Any]]:
    """Every capability, in the order of their names; found by importing the modules of this folder (all light)."""
    _import_all()
    return dict(sorted(_REGISTRY.items()))


@cache
def _import_all() -> None:
    """Import the modules that declare something. The others (what a capability works with) may be heavy, and wait."""
    import tools

    for folder in tools.__path__:
        for module in sorted(Path(folder).glob("*.py")):
            if _DECLARATION in module.read_text(encoding="utf-8"):
                importlib.import_module(f"tools.{module.stem}")


_DECLARATION = "\n@capability("
