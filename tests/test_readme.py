"""What README and the registry files promise works: configurations, examples, commands, versions."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from fastmcp.client.transports import StdioTransport
from mcp import StdioServerParameters
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from server.usage import parser
from tools.capability import capabilities

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = ("python_sdk", "pydantic_ai_agent", "openai_agents")
REGISTRY_NAME = re.compile(r"^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _server(tmp_path: Path) -> list[str]:
    """Arguments of this Python that start the stdio server of this tree."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from server.commands import main; sys.exit(main(sys.argv[1:]))"
    )
    return ["-c", code, "stdio", "--no-sync", "--data-dir", str(tmp_path)]


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "docs" / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_in_the_readme_are_the_files(name: str) -> None:
    assert (ROOT / "docs" / "examples" / f"{name}.py").read_text(encoding="utf-8") in _blocks("python")


def test_every_client_configuration_starts_the_stdio_server() -> None:
    configurations = [json.loads(block) for block in _blocks("json")]
    assert len(configurations) == 3
    for configuration in configurations:
        (servers,) = configuration.values()
        assert servers["gpubroker"]["command"] == "gpubroker"
        assert parser().parse_args(servers["gpubroker"]["args"]).command == "stdio"


def test_every_command_line_in_the_readme_is_understood() -> None:
    lines = [line.split("  #")[0].strip() for block in _blocks("bash") for line in block.splitlines()]
    shown = [line for line in lines if line.startswith("gpubroker ")]
    assert len(shown) >= 6
    for line in shown:
        assert parser().parse_args(shlex.split(line)[1:]).command


def test_the_readme_names_every_tool() -> None:
    tools = [name for name, item in capabilities().items() if "tool" in item.doors]
    assert [name for name in tools if f"`{name}`" not in README] == []


async def test_the_python_sdk_example_gets_an_explained_offer(tmp_path: Path) -> None:
    answer = await _example("python_sdk").main(StdioServerParameters(command=sys.executable, args=_server(tmp_path)))
    assert re.match(r"[\w.:-]+ at \$[\d.]+/h: First: ", answer)


async def test_the_pydantic_ai_example_calls_a_tool_and_answers(tmp_path: Path) -> None:
    def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        returned = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        if returned:
            content: Any = returned[0].content
            return ModelResponse(parts=[TextPart(f"cheapest: {content['items'][0]['id']}")])
        assert "search_offers" in [tool.name for tool in info.function_tools]
        return ModelResponse(parts=[ToolCallPart("search_offers", {"gpu": ["H100"], "region": ["eu"], "limit": 1})])

    transport = StdioTransport(command=sys.executable, args=_server(tmp_path), keep_alive=False)
    answer = await _example("pydantic_ai_agent").main(FunctionModel(scripted), transport)
    assert re.match(r"cheapest: [\w.-]+:[\w.-]+:", answer)


_SCRIPTED_OPENAI_CLIENT = """
import asyncio, importlib.util, re, sys
from agents import Model, ModelResponse, Usage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

class Scripted(Model):
    async def get_response(self, *args, **kwargs):
        given = kwargs.get("input", args[1] if len(args) > 1 else [])
        outputs = [item for item in given if isinstance(item, dict) and item.get("type") == "function_call_output"]
        if not outputs:
            call = ResponseFunctionToolCall(
                arguments='{"gpu":["H100"],"limit":1}', call_id="c", name="search_offers", type="function_call"
            )
            return ModelResponse(output=[call], usage=Usage(), response_id=None)
        found = re.search(r"[\\w.-]+:[\\w.-]+:[\\w.-]+", str(outputs[-1]["output"]))
        text = ResponseOutputText(text=f"cheapest: {found.group(0)}", type="output_text", annotations=[])
        message = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise AssertionError("the example does not stream")

spec = importlib.util.spec_from_file_location("example", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
print(asyncio.run(example.main(Scripted(), {"command": sys.executable, "args": sys.argv[2:]})))
"""


async def test_the_openai_agents_example_calls_a_tool_and_answers(tmp_path: Path) -> None:
    # A process of its own: in this tree `agents` is our folder, not the SDK.
    client = tmp_path / "client.py"
    client.write_text(_SCRIPTED_OPENAI_CLIENT, encoding="utf-8")
    done = await anyio.run_process(
        [sys.executable, "-P", str(client), str(ROOT / "docs/examples/openai_agents.py"), *_server(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "OPENAI_AGENTS_DISABLE_TRACING": "1", "PYTHONPATH": ""},
        check=False,
    )
    assert re.match(rb"cheapest: [\w.-]+:[\w.-]+:", done.stdout), done.stderr.decode()[-2000:]


@pytest.mark.requirement("NFR-MAINT-006")
def test_one_version_is_written_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    registry = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    bundle = json.loads((ROOT / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    wrapper = tomllib.loads((ROOT / "bundle" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {version} == {registry["version"], registry["packages"][0]["version"], bundle["version"], wrapper["version"]}
    assert wrapper["dependencies"] == [f"gpubroker=={version}"]
    assert f"[{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_registry_entry_follows_the_rules_of_the_registry() -> None:
    registry = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    assert REGISTRY_NAME.match(registry["name"])
    assert len(registry["description"]) <= 100
    assert f"mcp-name: {registry['name']}" in README
    (package,) = registry["packages"]
    assert (package["registryType"], package["identifier"], package["transport"]) == (
        "pypi",
        "gpubroker",
        {"type": "stdio"},
    )


def test_the_bundle_starts_the_stdio_server_of_the_package() -> None:
    manifest = json.loads((ROOT / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    server = manifest["server"]
    assert (manifest["manifest_version"], server["type"]) == ("0.4", "uv")
    assert (ROOT / "bundle" / server["entry_point"]).is_file()
    assert server["mcp_config"]["args"][-1] == server["entry_point"]
    assert '["stdio"]' in (ROOT / "bundle" / "main.py").read_text(encoding="utf-8")
