"""Completion of arguments: sources in templates, and names of things in the prompt."""

from __future__ import annotations

from pathlib import PurePath

from mcp_types import Completion, CompletionArgument, PromptReference, ResourceTemplateReference

from .desk import Desk

MAX_VALUES = 100
"""The most values of a completion, as the protocol has it."""


def completed(desk: Desk, ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument) -> Completion:
    """What an argument may be, from what was typed of it."""
    typed = argument.value.strip().lower()
    if argument.name == "source" and isinstance(ref, ResourceTemplateReference):
        rows = desk.store.sources()
        found = [str(row.id) for row in rows if str(row.id).startswith(typed)]
        if not found:  # a name was typed
            found = [str(row.id) for row in rows if PurePath(row.uri).name.lower().startswith(typed)]
    elif argument.name == "thing" and isinstance(ref, PromptReference):
        known = desk.memory.text_encoder.names() or {}
        found = sorted(name for name in known if name.startswith(typed))
    else:
        found = []
    return Completion(values=found[:MAX_VALUES], total=len(found), has_more=len(found) > MAX_VALUES)
