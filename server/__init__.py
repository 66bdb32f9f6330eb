"""The doors: MCP, HTTP, the command line, and the composition root that builds everything once."""
