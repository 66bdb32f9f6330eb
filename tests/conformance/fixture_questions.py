"""What the conformance suite expects of servers that ask the client something, before 2026-07-28 and since."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)

Answered = CallToolResult | InputRequiredResult


def _said(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)])


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _form(message: str, **properties: dict[str, Any]) -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=_object(**properties)))


def _sample(text: str, max_tokens: int) -> CreateMessageRequest:
    asked = SamplingMessage(role="user", content=TextContent(text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[asked], max_tokens=max_tokens))


_STRING = {"type": "string"}
_NAME = _form("What is your name?", name=_STRING)


def _answer(ctx: Context[Any, Any], key: str) -> Any:
    """The client's answer under this key, whatever its kind, or None."""
    return (ctx.input_responses or {}).get(key)


def _field(ctx: Context[Any, Any], key: str, name: str) -> str | None:
    """One filled-in field of an accepted form, or None."""
    answer = _answer(ctx, key)
    if not isinstance(answer, ElicitResult) or answer.action != "accept":
        return None
    value = (answer.content or {}).get(name)
    return None if value is None else str(value)


def add_questions(server: MCPServer[Any]) -> None:
    """Questions of the handshake era: the server sends a request of its own while the call runs."""

    @server.tool(description="Asks the client's model.")
    async def test_sampling(prompt: str, ctx: Context[Any, Any]) -> CallToolResult:
        asked = SamplingMessage(role="user", content=TextContent(text=prompt))
        got = await ctx.session.create_message(
            messages=[asked], max_tokens=100, related_request_id=ctx.request_context.request_id
        )
        return _said(f"LLM response: {getattr(got.content, 'text', '')}")

    @server.tool(description="Asks the user for name and address.")
    async def test_elicitation(message: str, ctx: Context[Any, Any]) -> CallToolResult:
        fields = _object(
            username={"type": "string", "description": "User's response"},
            email={"type": "string", "description": "User's email address"},
        )
        got = await _asked(ctx, message, fields)
        return _said(f"User response: action={got.action}, content={got.content}")

    @server.tool(description="Asks with defaults for every kind of field.")
    async def test_elicitation_sep1034_defaults(ctx: Context[Any, Any]) -> CallToolResult:
        fields = _object(
            name={"type": "string", "default": "John Doe"},
            age={"type": "integer", "default": 30},
            score={"type": "number", "default": 95.5},
            status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
            verified={"type": "boolean", "default": True},
        )
        got = await _asked(ctx, "Check these values", {**fields, "required": []})
        return _said(f"Elicitation completed: action={got.action}, content={got.content}")

    @server.tool(description="Asks with every form of choice.")
    async def test_elicitation_sep1330_enums(ctx: Context[Any, Any]) -> CallToolResult:
        got = await _asked(ctx, "Choose", {**_object(**_choices()), "required": []})
        return _said(f"Elicitation completed: action={got.action}, content={got.content}")


def _choices() -> dict[str, dict[str, Any]]:
    plain = ["option1", "option2", "option3"]
    ordinals = ("First", "Second", "Third")
    return {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {
            "type": "string",
            "oneOf": [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(ordinals, 1)],
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {
            "type": "array",
            "items": {
                "anyOf": [{"const": f"value{n}", "title": f"{word} Choice"} for n, word in enumerate(ordinals, 1)]
            },
        },
    }


async def _asked(ctx: Context[Any, Any], message: str, schema: dict[str, Any]) -> ElicitResult:
    session: ServerSession = ctx.session
    return await session.elicit_form(message, schema, related_request_id=ctx.request_context.request_id)


def add_single_round_questions(server: MCPServer[Any]) -> None:
    """Questions since 2026-07-28, answered by one more call."""

    @server.tool(description="Asks for a name.")
    async def test_input_required_result_elicitation(ctx: Context[Any, Any]) -> Answered:
        name = _field(ctx, "user_name", "name")
        return _said(f"Hello, {name}!") if name else InputRequiredResult(input_requests={"user_name": _NAME})

    @server.tool(description="Asks for a name, on a stream.")
    async def test_streaming_elicitation(ctx: Context[Any, Any]) -> Answered:
        name = _field(ctx, "user_name", "name")
        return _said(f"Hello, {name}!") if name else InputRequiredResult(input_requests={"user_name": _NAME})

    @server.tool(description="Asks the client's model.")
    async def test_input_required_result_sampling(ctx: Context[Any, Any]) -> Answered:
        got = _answer(ctx, "capital_question")
        if got is None:
            question = _sample("What is the capital of France?", 100)
            return InputRequiredResult(input_requests={"capital_question": question})
        return _said(f"The model said: {getattr(got.content, 'text', '')}")

    @server.tool(description="Asks for the client's roots.")
    async def test_input_required_result_list_roots(ctx: Context[Any, Any]) -> Answered:
        got = _answer(ctx, "client_roots")
        if not isinstance(got, ListRootsResult):
            return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})
        return _said("Roots: " + ", ".join(str(root.uri) for root in got.roots))

    @server.tool(description="Asks only for what the client can do.")
    async def test_input_required_result_capabilities(ctx: Context[Any, Any]) -> Answered:
        able = ctx.client_capabilities
        questions: dict[str, Any] = {}
        if able is not None and able.elicitation is not None:
            questions["user_name"] = _NAME
        if able is not None and able.sampling is not None:
            questions["greeting"] = _sample("Generate a greeting", 50)
        if not questions or ctx.input_responses:
            return _said("Nothing left to ask.")
        return InputRequiredResult(input_requests=questions)

    @server.tool(description="Needs a client with a model.")
    async def test_missing_capability(ctx: Context[Any, Any]) -> CallToolResult:
        able = ctx.client_capabilities
        if able is None or able.sampling is None:
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY, "sampling is required", {"requiredCapabilities": {"sampling": {}}}
            )
        return _said("The client has a model.")

    @server.prompt(description="A prompt that asks for its context.")
    async def test_input_required_result_prompt(ctx: Context[Any, Any]) -> Any:
        context = _field(ctx, "user_context", "context")
        if context is None:
            question = _form("What context should the prompt use?", context=_STRING)
            return InputRequiredResult(input_requests={"user_context": question})
        return f"Use this context: {context}"


def add_stateful_questions(server: MCPServer[Any]) -> None:
    """Questions that carry sealed state from round to round."""

    confirm = _form("Please confirm", ok={"type": "boolean"})

    @server.tool(description="Asks for confirmation and remembers that it did.")
    async def test_input_required_result_request_state(ctx: Context[Any, Any]) -> Answered:
        if ctx.request_state != "asked" or _answer(ctx, "confirm") is None:
            return InputRequiredResult(input_requests={"confirm": confirm}, request_state="asked")
        return _said("state-ok")

    @server.tool(description="Refuses state that was changed on the way.")
    async def test_input_required_result_tampered_state(ctx: Context[Any, Any]) -> Answered:
        if ctx.request_state != "sealed" or _answer(ctx, "confirm") is None:
            return InputRequiredResult(input_requests={"confirm": confirm}, request_state="sealed")
        return _said("state-ok")

    @server.tool(description="Asks three things at once.")
    async def test_input_required_result_multiple_inputs(ctx: Context[Any, Any]) -> Answered:
        questions: dict[str, Any] = {
            "user_name": _NAME,
            "greeting": _sample("Generate a greeting", 50),
            "client_roots": ListRootsRequest(),
        }
        if ctx.request_state != "three" or set(questions) - set(ctx.input_responses or {}):
            return InputRequiredResult(input_requests=questions, request_state="three")
        return _said("All three answered.")

    @server.tool(description="Asks twice in a row.")
    async def test_input_required_result_multi_round(ctx: Context[Any, Any]) -> Answered:
        if ctx.request_state == "two" and (color := _field(ctx, "step2", "color")):
            return _said(f"Your favorite color is {color}.")
        if ctx.request_state == "one" and _field(ctx, "step1", "name"):
            second = _form("Step 2: What is your favorite color?", color=_STRING)
            return InputRequiredResult(input_requests={"step2": second}, request_state="two")
        first = _form("Step 1: What is your name?", name=_STRING)
        return InputRequiredResult(input_requests={"step1": first}, request_state="one")
