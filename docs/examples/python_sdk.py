"""Ask GPUBroker from the MCP Python SDK: size a workload, then rank what is on offer for it."""

from __future__ import annotations

import asyncio

from mcp import Client, StdioServerParameters

SERVER = StdioServerParameters(command="gpubroker", args=["stdio"])


async def main(server: StdioServerParameters = SERVER) -> str:
    async with Client(server) as client:
        ranked = await client.call_tool(
            "rank_offers", {"workload": "serve Llama 3.1 8B in bf16", "region": ["eu"], "max_price": 3}
        )
        best = (ranked.structured_content or {})["items"][0]
        return f"{best['id']} at ${best['price_per_hour']}/h: {best['why']}"


if __name__ == "__main__":
    print(asyncio.run(main()))
