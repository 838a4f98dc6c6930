"""`vidmem serve`: one ASGI application with a page for people, an HTTP API for programs and MCP for agents."""
