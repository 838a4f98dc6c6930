"""`vidmem eval`: a group of commands, one for each benchmark."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from ..errors import UsageError
from .commands import EVALUATIONS, LazyCommands, build_from, unknown_evaluation
from .help import protect_hyphens, restore_hyphens, skip_pydantic

HELP = """Score an encoder on a benchmark of the field.

The files are read as the benchmark ships them. A run writes results.jsonl, report.json and report.md into its folder,
with published numbers beside its own. The same command goes on where a run was interrupted.

\b
Examples:
  vidmem eval dense val.json --images val2017 --encoder densevlm --out run
"""


class Benchmarks(TyperGroup):
    """The group. It loads its commands lazily."""

    def get_params(self, ctx: Any) -> list[Any]:
        return skip_pydantic(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise UsageError(unknown_evaluation(args[0]))
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
        with formatter.section("Benchmarks"):
            formatter.write_dl(list(EVALUATIONS.items()))


group: Any = Benchmarks(name="eval", help=HELP, no_args_is_help=True, rich_markup_mode=None)
group.commands = LazyCommands(tuple(EVALUATIONS), lambda name: build_from(".eval", name))
