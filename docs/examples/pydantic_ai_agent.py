"""Give a pydantic-ai agent the tools of GPUBroker (`pip install 'pydantic-ai-slim[mcp]'`)."""

from __future__ import annotations

import asyncio

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models import Model

SERVER = StdioTransport(command="gpubroker", args=["stdio"])


async def main(model: Model | str = "openai:gpt-5", server: StdioTransport = SERVER) -> str:
    agent = Agent(model, toolsets=[MCPToolset(server)])
    async with agent:
        answer = await agent.run("What is the cheapest H100 in the EU right now?")
    return answer.output


if __name__ == "__main__":
    print(asyncio.run(main()))
