"""`python -m vidmem.cli`: the same as `vidmem`."""

from __future__ import annotations

from .app import main

main()
