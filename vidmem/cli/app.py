"""The Typer app: global options, and the exit code of whatever ends a command."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import traceback
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from ..address import shown
from ..config import MEMORY_VARIABLE
from ..errors import UsageError, VidmemError
from ..offline import go_offline
from .commands import GROUPS, NAMES, LazyCommands, build, unknown_command
from .help import protect_hyphens, restore_hyphens, skip_pydantic, write_default_memory
from .messages import QuietOption, VerboseOption, detail, set_loudness, warn

BUG, INTERRUPTED, PIPE_CLOSED = 70, 130, 141
"""Exit codes that no error class has, as in sysexits.h and shells."""

EXIT_CODES = (
    "Exit codes: 0 done or found, 1 not found, 2 wrong usage, 3 partly done (some input was damaged or missing), "
    "4 a model, a memory or an input is missing or damaged, 70 a bug in vidmem, 130 interrupted."
)


class Group(TyperGroup):
    """The root command. It loads commands lazily and turns errors into one line and an exit code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands: Any = LazyCommands(NAMES, build)  # a mapping, where Typer declares a dict

    def get_params(self, ctx: Any) -> list[Any]:
        return skip_pydantic(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            name = getattr(error, "option_name", None)  # Typer's NoSuchOption
            if name is not None and not getattr(error, "possibilities", None):
                hint = f"Options of a command go after its name: vidmem COMMAND {name}"
                vars(error)["message"] = f"No such option: {name}. {hint}"
            raise _readable(error) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if any("\0" in argument for argument in args):  # no file has one in its name
            raise UsageError("an argument has a null character; leave it out")
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            raise UsageError(unknown_command(name))
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def get_help(self, ctx: Any) -> str:
        return restore_hyphens(super().get_help(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        protect_hyphens(formatter)
        super().format_help(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, self.commands))
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                # Padded, so that all sections share their columns.
                formatter.write_dl([(name.ljust(width), summary) for name, summary in commands.items()])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        super().format_epilog(ctx, formatter)
        write_default_memory(formatter)

    def invoke(self, ctx: Any) -> Any:
        began = time.perf_counter()
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # `vidmem ls | head` is not an error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(PIPE_CLOSED) from None
        except VidmemError as error:
            _print_traceback_when_debugging()
            warn(f"vidmem: {error}")
            raise typer.Exit(error.exit_code) from None
        except UnicodeEncodeError as error:  # neither SQLite nor JSON can store it
            _print_traceback_when_debugging()
            warn(f"vidmem: a name is not valid UTF-8, rename the file: {error.object}")
            raise typer.Exit(UsageError.exit_code) from None
        except Exception as error:
            if hasattr(error, "exit_code"):  # Typer's own errors, such as an unknown option
                raise _readable(error) from None
            _print_traceback_when_debugging()
            if (refused := _refusal(error)) is not None:
                warn(f"vidmem: {refused}")
                raise typer.Exit(VidmemError.exit_code) from None
            warn(
                f"vidmem: a bug ({type(error).__name__}: {error}); "
                "run it again with VIDMEM_DEBUG=1 and report the traceback"
            )
            raise typer.Exit(BUG) from None
        finally:
            detail(f"it took {time.perf_counter() - began:.2f} s")


REFUSALS = {
    errno.ENAMETOOLONG: "shorten the name",
    errno.EMFILE: "close programs or raise the limit (ulimit -n)",
    errno.ENFILE: "close programs",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EIO: "check the disk",
    errno.EROFS: "check the disk",
    errno.EFBIG: "raise the limit (ulimit -f)",
}
"""What the system may refuse at any moment, and the remedy."""


def _refusal(error: Exception) -> str | None:
    """Return the message for something that the system refused, wherever it happened; None for other errors."""
    if isinstance(error, OSError) and error.errno in REFUSALS:
        place = f": {error.filename}" if isinstance(error.filename, str) else ""
        return f"the system refuses to go on ({error.strerror}); {REFUSALS[error.errno]}, then run again{place}"
    for number, remedy in REFUSALS.items():  # a library that cannot be loaded says it in words alone
        if isinstance(error, ImportError) and os.strerror(number) in str(error):
            return f"a library cannot be loaded ({os.strerror(number)}); {remedy}, then run again"
    return None


def _print_traceback_when_debugging() -> None:
    if os.environ.get("VIDMEM_DEBUG", "0") not in ("", "0"):
        for line in traceback.format_exc().splitlines():
            print(shown(line), file=sys.stderr)


def _readable(error: Exception) -> Exception:
    """An error of Typer, whose text may hold what was typed, without control characters and secrets."""
    for name in ("message", "option_name", "param_hint"):
        if isinstance(text := vars(error).get(name), str):
            vars(error)[name] = shown(text)
    possible = vars(error).get("possibilities")
    if isinstance(possible, list):
        vars(error)["possibilities"] = [shown(str(each)) for each in possible]
    return error


# Plain help: Rich would add 60 ms to every start.
app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vidmem {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory", "-m", metavar="FOLDER", help="Memory of the command, as after its name; or fleet:CATALOGUE."
        ),
    ] = None,
) -> None:
    """A memory for long video: watch once, then ask when and where a thing was last seen."""
    set_loudness(quiet=quiet, verbose=verbose)
    if memory is not None:
        ctx.call_on_close(partial(_set_memory, os.environ.get(MEMORY_VARIABLE)))
        _set_memory(memory)


def _set_memory(memory: str | None) -> None:
    """Set the variable that names the memory, or remove it."""
    if memory is None:
        os.environ.pop(MEMORY_VARIABLE, None)
    else:
        os.environ[MEMORY_VARIABLE] = memory


def main() -> None:
    """Run the command line on `sys.argv`."""
    limit_blas_threads()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):  # file names need not be valid text
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    go_offline()
    if os.environ.get("_VIDMEM_COMPLETE", "").startswith("complete"):
        _complete()
    app(prog_name="vidmem")


def _interrupt(_signal: int, _frame: object) -> None:
    """End as by Ctrl-C: what a camera has shown is written, and half-written files are removed."""
    raise KeyboardInterrupt


def limit_blas_threads() -> None:
    """Give OpenBLAS one thread unless the user has set a number. Call it before NumPy is imported.

    The matrix products here are small, and idle OpenBLAS threads spin. On two busy cores, indexing ten seconds of 720p
    took 4.3 s of CPU time instead of 11.8, and a cold `where` .34 s instead of .37 (wall 1.73 s instead of 1.96).
    A library leaves this choice to its host.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _complete() -> None:
    """Print completions for the shell. Errors print nothing, so that the prompt stays clean."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        app(prog_name="vidmem")
    except Exception:
        sys.exit(0)
