"""The command line: what the commands share. Each command is a file in this folder."""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from .. import __version__
from ..errors import UsageError, VidmemError
from .output import QuietOption, VerboseOption, audible, detail, loudness, warn
from .process import settle

BUG, INTERRUPTED, PIPE_CLOSED = 70, 130, 141
"""Exit codes beside those of the errors, as shells and sysexits.h have them."""

EXIT_CODES = (
    "Exit codes: 0 done or found, 1 not found, 2 wrong usage, 3 partly done (some input was damaged), "
    "4 a model or an input is missing, 70 a bug, 130 interrupted."
)


_HOMES = {
    "index": "index",
    "where": "where",
    "things": "things",
    "watch": "watch",
    "annotate": "annotate",
    "timeline": "timeline",
    "watch-list": "timeline:watch_list",
    "names": "names",
    "calibrate": "calibrate",
    "haystack": "haystack",
    "parse": "parse",
    "export": "export",
    "ground": "ground",
    "segment": "ground:segment",
    "ls": "sources:ls",
    "info": "sources:info",
    "rm": "sources:rm",
    "recorded": "recorded",
    "forget": "forget",
    "compact": "forget:compact",
    "reembed": "reembed",
    "models": "models",
    "doctor": "doctor",
    "demo": "demo",
}
"""Of each command its module in vidmem.cli, and its function where that has another name."""

_OTHERWISE = {
    "where": "search find query ask locate look lookup last seen",
    "ls": "list dir sources videos",
    "index": "add import scan ingest load",
    "rm": "delete remove del drop",
    "info": "status stats show",
    "names": "name labels vocabulary vocab words classes",
    "things": "thing objects object tracks instances items",
    "watch": "camera live stream record",
    "models": "model encoders weights pull download",
    "doctor": "check",
    "annotate": "mark write",
    "timeline": "history",
    "calibrate": "calibration",
    "segment": "mask masks",
    "compact": "vacuum",
    "--help": "help",
    "--version": "version",
}
"""What others call a command."""


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported and built when it is first asked for: a question waits for no other."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _build(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


def _build(name: str) -> Any:
    module, _, function = _HOMES[name].partition(":")
    found = getattr(importlib.import_module(f".{module}", __package__), function or module)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    if isinstance(found, typer.Typer):
        group = copy(found)
        group.registered_commands = [copy(command) for command in found.registered_commands]
        for command in group.registered_commands:
            assert command.callback is not None
            command.callback = audible(command.callback)
        alone.add_typer(group, name=name)
        return typer.main.get_group(alone).commands[name]
    alone.command(name, cls=_Command)(audible(found))
    return typer.main.get_command(alone)


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _spare_pydantic(super().get_params(ctx))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        super().format_epilog(ctx, formatter)
        if any(param.name == "memory" for param in self.params):
            _tell_memory(formatter)


class _Group(TyperGroup):
    """Turns whatever ends a command into one line and an exit code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands()  # type: ignore[assignment]

    def get_params(self, ctx: Any) -> list[Any]:
        return _spare_pydantic(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            raise UsageError(_unknown(name))
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        super().format_epilog(ctx, formatter)
        _tell_memory(formatter)

    def invoke(self, ctx: Any) -> Any:
        began = time.perf_counter()
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # `vidmem ls | head`: not worth a word
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(PIPE_CLOSED) from None
        except VidmemError as error:
            _debug()
            warn(f"vidmem: {error}")
            raise typer.Exit(error.exit_code) from None
        except UnicodeEncodeError as error:  # neither SQLite nor JSON can hold it
            _debug()
            warn(f"vidmem: a name is not valid UTF-8, rename the file: {error.object}")
            raise typer.Exit(UsageError.exit_code) from None
        except Exception as error:
            if hasattr(error, "exit_code"):  # Typer's own: a wrong option
                raise
            _debug()
            warn(f"vidmem: a bug ({type(error).__name__}: {error}); run it with VIDMEM_DEBUG=1 and report what it says")
            raise typer.Exit(BUG) from None
        finally:
            detail(f"it took {time.perf_counter() - began:.2f} s")


def _unknown(name: str) -> str:
    """That there is no such command, and which may be meant."""
    import difflib

    known = [*_HOMES, "--help", "--version"]
    meant = {other: command for command in known for other in _OTHERWISE.get(command, "").split()}
    meant |= {command: command for command in _HOMES}
    near = difflib.get_close_matches(name.lower(), meant, 1, 0.7)
    hint = f"did you mean `vidmem {meant[near[0]]}`?" if near else "`vidmem --help` lists them"
    return f"there is no command {name[:40]!r}; {hint}"


def _spare_pydantic(params: Sequence[Any]) -> list[Any]:
    """Texts, and options that were not given, need no check. Typer 0.29 sends them through pydantic all the same, and
    importing that would be a quarter of a question's time."""
    for param in params:
        annotation = getattr(getattr(param, "type_descriptor", None), "annotation", None)
        if annotation is not None and "process_value" not in vars(param):  # other versions do without pydantic
            param.process_value = partial(_process_value, param, annotation, param.process_value)
    return list(params)


def _process_value(param: Any, annotation: Any, check: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    if param.required or (param.callback is not None and value is not None):
        return check(ctx, value)
    if value is None and param.nargs == 1:
        return param.callback(ctx, param, None) if param.callback else None
    if getattr(param, "multiple", False) and not value:  # an option that may be given again, and was not
        return param.callback(ctx, param, None) if param.callback else None
    if annotation is str and isinstance(value, str):
        return value
    if annotation == list[str] and param.nargs == -1:
        return list(value or ())
    return check(ctx, value)


def _tell_memory(formatter: Any) -> None:
    from ..memory import default_folder  # only --help pays for it

    formatter.write_paragraph()
    formatter.write(f"  Default memory: {default_folder()}\n")


def _debug() -> None:
    if os.environ.get("VIDMEM_DEBUG", "0") not in ("", "0"):
        traceback.print_exc()


# Plain help: Rich would cost every start 60 ms.
app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"vidmem {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """A memory for long video: watch once, then ask when and where a thing was last seen."""
    loudness(quiet=quiet, verbose=verbose)


def main() -> None:
    """The console entry."""
    settle()
    for stream in (sys.stdout, sys.stderr):  # file names need not be text
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get("_VIDMEM_COMPLETE", "").startswith("complete"):
        _complete()
    app(prog_name="vidmem")


def _complete() -> None:
    """Offer what the shell asks for; whatever is wrong, the prompt stays clean."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        app(prog_name="vidmem")
    except Exception:
        sys.exit(0)
