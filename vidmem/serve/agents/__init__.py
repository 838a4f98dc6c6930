"""MCP: tools, resources and a prompt for agents."""
