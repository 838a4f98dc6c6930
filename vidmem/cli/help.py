"""How a command shows its help, and a shortcut for its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from typer.core import TyperCommand

from ..address import shown
from .messages import set_option_names

SECTIONS = {
    "Training sets": (
        *("refcoco", "refs", "label_images", "first_label", "chat", "chat_share", "mix", "distractors", "turns"),
        *("repeat", "random_crop", "shards", "shard_size", "workers"),
    ),
    "Memory and encoder": ("memory", "encoder", "masks", "device", "weights", "engine"),
    "Model that writes masks": (
        "model",
        "model_name",
        "allow_network",
        "timeout",
        "asked_grid",
        "asked_refine",
        "constrained",
        "describe",
        "max_tokens",
    ),
    "Output": ("open_saved", "as_json", "as_csv", "as_lines", "wide", "quiet", "verbose", "help"),
}
"""Parameters that many commands share, by the heading under which --help shows them."""
_HYPHEN = "\ue000"
"""Stands for a hyphen while help is wrapped, because lines would break at it: --min-probability."""


class Command(TyperCommand):
    """A command with its help in sections. Messages of a running command name its options by their flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        return skip_pydantic(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        set_option_names(self.params)
        return super().invoke(ctx)

    def get_help(self, ctx: Any) -> str:
        return restore_hyphens(super().get_help(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        protect_hyphens(formatter)
        super().format_help(ctx, formatter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [self.options_metavar or "", *(usage(param) for param in self.get_params(ctx) if is_argument(param))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for heading, records in sections(self, ctx).items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        super().format_epilog(ctx, formatter)
        if any(param.name == "memory" for param in self.params):
            write_default_memory(formatter)


def sections(command: Any, ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """Names and help of the parameters of a command, by heading."""
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in ("Arguments", "Options", *SECTIONS)}
    homes = {name: heading for heading, names in SECTIONS.items() for name in names}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is None:
            continue
        if is_argument(param):  # some versions of Typer add the Python type
            found["Arguments"].append((param.metavar, record[1].replace("  [required]", "")))
        else:
            found[homes.get(param.name, "Options")].append(record)
    return {heading: records for heading, records in found.items() if records}


def is_argument(param: Any) -> bool:
    """Return True for a positional argument, False for an option."""
    return bool(param.param_type_name == "argument")


def usage(param: Any) -> str:
    """An argument in the usage line: SOURCE, [SOURCE] or [SOURCE]..."""
    name = param.metavar if param.required else f"[{param.metavar}]"
    return f"{name}..." if param.nargs == -1 else str(name)


def protect_hyphens(formatter: Any) -> None:
    """Let the formatter wrap text between words only. Apply `restore_hyphens` to what it wrote."""
    write_text, write_dl = formatter.write_text, formatter.write_dl
    formatter.write_text = lambda text: write_text(_protected(text))
    formatter.write_dl = lambda rows: write_dl([(name, _protected(help)) for name, help in rows])


def restore_hyphens(help: str) -> str:
    """Undo `protect_hyphens`."""
    return help.replace(_HYPHEN, "-")


def _protected(text: str) -> str:
    return re.sub(r"-(?=\w)", _HYPHEN, text)


def write_default_memory(formatter: Any) -> None:
    """Write the path of the memory that a command uses without --memory."""
    from ..config import default_address  # only --help needs it

    formatter.write_paragraph()
    formatter.write(f"  Default memory: {shown(default_address())}\n")


def skip_pydantic(params: Sequence[Any]) -> list[Any]:
    """Spare texts and options that were not given the check by pydantic.

    Typer 0.29 sends every parameter through pydantic, whose import takes a quarter of a cold question's time. Older
    versions do not use it.
    """
    for param in params:
        annotation = getattr(getattr(param, "type_descriptor", None), "annotation", None)
        if annotation is not None and "process_value" not in vars(param):
            param.process_value = partial(_process_value, param, annotation, param.process_value)
    return list(params)


def _process_value(param: Any, annotation: Any, check: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    if param.required or (param.callback is not None and value is not None):
        return check(ctx, value)
    if value is None and param.nargs == 1:
        return param.callback(ctx, param, None) if param.callback else None
    if getattr(param, "multiple", False) and not value:  # a repeatable option that was not given
        return param.callback(ctx, param, None) if param.callback else None
    if annotation is str and isinstance(value, str):
        return value
    if annotation == list[str] and param.nargs == -1:
        return list(value or ())
    return check(ctx, value)
