"""What the conformance suite expects every server to offer: tools, resources and prompts with fixed content."""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from base64 import b64encode
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    AudioContent,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import Field

_PAUSE_SECONDS = 0.05


def _png() -> bytes:
    """One red pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
    )


def _wav() -> bytes:
    """Eight samples of silence."""
    form = struct.pack("<HHIIHH", 1, 1, 8_000, 8_000, 1, 8)
    return (
        b"RIFF" + struct.pack("<I", 44) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data\x08\0\0\0" + b"\x80" * 8
    )


PNG = _png()
IMAGE = ImageContent(data=b64encode(PNG).decode(), mime_type="image/png")
AUDIO = AudioContent(data=b64encode(_wav()).decode(), mime_type="audio/wav")

JSON_SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, text=text, mime_type=mime_type))


def _said(*content: Any) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=part) if isinstance(part, str) else part for part in content])


def add_tools(server: MCPServer[Any]) -> None:
    """Tools that answer with fixed content, or fail on purpose."""

    @server.tool(description="Simple text.")
    async def test_simple_text() -> CallToolResult:
        return _said("This is a simple text response for testing.")

    @server.tool(description="An image.")
    async def test_image_content() -> CallToolResult:
        return _said(IMAGE)

    @server.tool(description="A sound.")
    async def test_audio_content() -> CallToolResult:
        return _said(AUDIO)

    @server.tool(description="An embedded resource.")
    async def test_embedded_resource() -> CallToolResult:
        return _said(_embedded("test://embedded-resource", "This is an embedded resource content."))

    @server.tool(description="Text, image and resource.")
    async def test_multiple_content_types() -> CallToolResult:
        body = json.dumps({"test": "data", "value": 123}, separators=(",", ":"))
        mixed = _embedded("test://mixed-content-resource", body, "application/json")
        return _said("Multiple content types test:", IMAGE, mixed)

    @server.tool(description="Fails on purpose.")
    async def test_error_handling() -> CallToolResult:
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool(description="Takes one argument that is mirrored into a header.")
    async def test_x_mcp_header(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
    ) -> CallToolResult:
        return _said(f"region={region}")

    @server.tool(description="Tool with JSON Schema 2020-12 features")
    async def json_schema_2020_12_tool() -> CallToolResult:
        return _said("ok")

    listed = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert listed is not None
    listed.parameters = JSON_SCHEMA_2020_12


def add_tools_with_notices(server: MCPServer[Any]) -> None:
    """Tools that send notifications while they run."""

    @server.tool(description="Logs three lines.")
    async def test_tool_with_logging(ctx: Context[Any, Any]) -> CallToolResult:
        await ctx.info("Tool execution started")
        await asyncio.sleep(_PAUSE_SECONDS)
        await ctx.info("Tool processing data")
        await asyncio.sleep(_PAUSE_SECONDS)
        await ctx.info("Tool execution completed")
        return _said("Logged three lines.")

    @server.tool(description="Logs one line, to whoever asked for it.")
    async def test_logging_tool(ctx: Context[Any, Any]) -> CallToolResult:
        await ctx.info("One line")
        return _said("Logged one line.")

    @server.tool(description="Reports progress three times.")
    async def test_tool_with_progress(ctx: Context[Any, Any]) -> CallToolResult:
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100)
            await asyncio.sleep(_PAUSE_SECONDS)
        return _said("Done.")

    @server.tool(description="Says that the tool list changed.")
    async def test_trigger_tool_change(ctx: Context[Any, Any]) -> CallToolResult:
        await ctx.notify_tools_changed()
        return _said("Announced.")

    @server.tool(description="Says that the prompt list changed.")
    async def test_trigger_prompt_change(ctx: Context[Any, Any]) -> CallToolResult:
        await ctx.notify_prompts_changed()
        return _said("Announced.")

    @server.tool(description="Closes its stream half way; the answer waits for the client to come back.")
    async def test_reconnection(ctx: Context[Any, Any]) -> CallToolResult:
        await ctx.close_sse_stream()
        await asyncio.sleep(_PAUSE_SECONDS)
        return _said("Still here.")


def add_resources(server: MCPServer[Any]) -> None:
    """Text, bytes, a template, and one to watch."""

    @server.resource("test://static-text", mime_type="text/plain", description="Fixed text.")
    async def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png", description="Fixed bytes.")
    async def static_binary() -> bytes:
        return PNG

    @server.resource("test://template/{id}/data", mime_type="application/json", description="Data by id.")
    async def template_data(id: str) -> str:
        body = {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}
        return json.dumps(body, separators=(",", ":"))

    @server.resource("test://watched-resource", mime_type="text/plain", description="A resource to watch.")
    async def watched() -> str:
        return "Watched."


def add_prompts(server: MCPServer[Any]) -> None:
    """Plain, with arguments, with a resource, with an image."""

    def message(content: Any) -> dict[str, Any]:
        return PromptMessage(role="user", content=content).model_dump()

    @server.prompt(description="A simple prompt.")
    async def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @server.prompt(description="A prompt with two arguments.")
    async def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(description="A prompt with an embedded resource.")
    async def test_prompt_with_embedded_resource(resourceUri: str) -> list[dict[str, Any]]:
        return [
            message(_embedded(resourceUri, "Embedded resource content for testing.")),
            message(TextContent(text="Please process the embedded resource above.")),
        ]

    @server.prompt(description="A prompt with an image.")
    async def test_prompt_with_image() -> list[dict[str, Any]]:
        return [message(IMAGE), message(TextContent(text="Please analyze the image above."))]
