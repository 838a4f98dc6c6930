"""The command line. `main` is the console entry point; every command is a module of this package."""

from __future__ import annotations

from .app import app, main

__all__ = ["app", "main"]
