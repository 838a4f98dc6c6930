"""`vidmem export`: writes instruction data, and has commands that write tracks for other engines."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from .commands import EXPORTS, LazyCommands, build_from, unknown_export
from .help import Command


class Export(Command):
    """The command. Where its first word is one of EXPORTS, it is that command. It loads them lazily."""

    commands: Any = LazyCommands(tuple(EXPORTS), lambda name: build_from(".exports", name))

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        if args and args[0] in EXPORTS:
            return self.commands[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent=parent, **extra)
        if args and not args[0].startswith("-") and not extra.get("resilient_parsing"):
            raise UsageError(unknown_export(args[0]))
        return super().make_context(info_name, args, parent=parent, **extra)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Tracks for other engines"):
            formatter.write_dl([(f"export {name}", summary) for name, summary in EXPORTS.items()])
        super().format_options(ctx, formatter)
