"""SKILL.md: what agents should know about vidmem, shipped with the package."""

from __future__ import annotations

from importlib.resources import files


def text() -> str:
    """The text of SKILL.md."""
    return files(__package__).joinpath("SKILL.md").read_text("utf-8")
