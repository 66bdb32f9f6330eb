"""Give an agent of the OpenAI Agents SDK the tools of GPUBroker (`pip install openai-agents`)."""

from __future__ import annotations

import asyncio

from agents import Agent, Model, Runner
from agents.mcp import MCPServerStdio, MCPServerStdioParams

SERVER = MCPServerStdioParams(command="gpubroker", args=["stdio"])


async def main(model: Model | str = "gpt-5", params: MCPServerStdioParams = SERVER) -> str:
    async with MCPServerStdio(params=params, client_session_timeout_seconds=30) as server:
        agent = Agent(name="buyer", model=model, mcp_servers=[server])
        result = await Runner.run(agent, "What is the cheapest H100 in the EU right now?")
    return str(result.final_output)


if __name__ == "__main__":
    print(asyncio.run(main()))
