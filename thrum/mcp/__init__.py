"""The same methods as MCP tools."""
