"""A command that is a group of commands, such as `vidmem eval` and `vidmem fleet`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from typer.core import TyperGroup

from ..errors import UsageError
from .commands import LazyCommands, build_from
from .help import protect_hyphens, restore_hyphens, skip_pydantic


class Group(TyperGroup):
    """The group. It loads its commands lazily."""

    heading = "Commands"
    summaries: Mapping[str, str] = {}
    unknown: Callable[[str], str]

    def get_params(self, ctx: Any) -> list[Any]:
        return skip_pydantic(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise UsageError(self.unknown(args[0]))
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["NAME", "[OPTIONS]", "..."]

    def get_help(self, ctx: Any) -> str:
        return restore_hyphens(super().get_help(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        protect_hyphens(formatter)
        super().format_help(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section(self.heading):
            formatter.write_dl(list(self.summaries.items()))


def group(name: str, help: str, summaries: Mapping[str, str], unknown: Callable[[str], str], heading: str) -> Any:
    """Make a group.

    Args:
        name: The command; a "." before it is the package of its commands.
        help: Its help.
        summaries: Its commands, with the first line of their help.
        unknown: Gives the message for a command that does not exist.
        heading: What stands above the list of the commands.
    """
    made: Any = Group(name=name, help=help, no_args_is_help=True, rich_markup_mode=None)
    made.heading, made.summaries, made.unknown = heading, summaries, unknown
    made.commands = LazyCommands(tuple(summaries), lambda command: build_from(f".{name}", command))
    return made
