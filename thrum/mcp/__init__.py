"""The same methods as MCP tools, over standard input and output."""
