"""The app: a fast start, help, errors in one line, exit codes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidmem import __version__
from vidmem.config import IndexConfig
from vidmem.encoders import load_text
from vidmem.store import ModelRecord, Store

from .conftest import Run

VIDMEM = [sys.executable, "-c", "from vidmem.cli import main; main()"]
HEAVY = {"torch", "av", "rich", "PIL", "sqlite_utils", "platformdirs", "pydantic"}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A memory of the encoder `tiny` without a source."""
    facts = load_text("tiny").info
    with Store.open(tmp_path / "tiny", create=True) as store:
        settings = IndexConfig().as_dict()
        made = ModelRecord("tiny", facts.weights, facts.visual_dim, facts.text_dim, settings, facts.regions)
        store.set_model(made)
    return tmp_path / "tiny"


def vidmem(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VIDMEM, *args], capture_output=True, text=True, timeout=60, env=os.environ | environment)


def test_a_question_in_words_imports_nothing_heavy(tiny: Path) -> None:
    code = "import sys\nfrom vidmem.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code, "where", "umbrella", "--json", "--memory", str(tiny)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    modules = set(done.stderr.splitlines()[-1].split())
    assert done.returncode == 1
    assert "vidmem.memory" in modules
    assert HEAVY.isdisjoint(modules)


def test_an_empty_memory_is_not_found_and_says_so(tiny: Path) -> None:
    done = vidmem("where", "umbrella", "--memory", str(tiny))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == ["not found", "the memory holds no video yet; add some with `vidmem index`"]


def test_version_and_help(run: Run, tmp_path: Path) -> None:
    assert run("--version").stdout == f"vidmem {__version__}\n"
    for command in ((), ("where",), ("index",), ("doctor",)):
        text = run(*command, "--help").stdout
        assert f"Default memory: {tmp_path / 'memory'}" in text  # the one of this machine and user


def test_no_command_is_help(run: Run) -> None:
    result = run()
    assert result.exit_code == 2
    assert "Ask:" in result.stdout + result.stderr


def test_a_mistyped_command_gets_a_suggestion(run: Run) -> None:
    result = run("wehre", "red")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "where" in result.stderr


def test_an_option_before_the_command_gets_a_hint(run: Run) -> None:
    result = run("--all", "where", "red")
    assert result.exit_code == 2
    assert "No such option: --all. Options of a command go after its name: vidmem COMMAND --all" in result.stderr


def test_the_memory_may_come_before_the_command(run: Run, indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDMEM_MEMORY", "nosuch")
    before = run("-m", indexed, "where", "red", "--json")
    assert before.exit_code == 0
    assert before.stdout == run("where", "red", "--json", "-m", indexed).stdout
    assert run("-m", "none", "where", "red", "--json", "-m", indexed).stdout == before.stdout
    assert os.environ["VIDMEM_MEMORY"] == "nosuch"


def test_training_is_in_the_laboratory(run: Run) -> None:
    result = run("train", "tren", "--out", "x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "vidmem: training is not part of the package; in a clone of the repository run `python -m lab.train`\n"
    )


def test_a_mistyped_option_gets_a_suggestion(run: Run) -> None:
    result = run("where", "red", "--tpo", "3")
    assert result.exit_code == 2
    assert "--top" in result.stderr


def test_a_bug_is_one_line_and_its_traceback_is_for_debugging(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **more: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("vidmem.cli.ls.open_store", broken)
    result = run("ls")
    assert (result.exit_code, result.stdout) == (70, "")
    assert result.stderr.count("\n") == 1
    assert "VIDMEM_DEBUG=1" in result.stderr
    monkeypatch.setenv("VIDMEM_DEBUG", "1")
    assert "Traceback" in run("ls").stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EMFILE, "Too many open files", "a.txt"), "the system refuses to go on (Too many open files)"),
        (OSError(errno.ENOSPC, "No space left on device"), "make room, then run again"),
        (ImportError("mmap.so: cannot open shared object file: Too many open files"), "a library cannot be loaded"),
    ],
    ids=["files", "disk", "library"],
)
def test_what_the_system_refuses_is_no_bug(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def refused(*args: object, **more: object) -> None:
        raise error

    monkeypatch.setattr("vidmem.cli.ls.open_store", refused)
    result = run("ls")
    assert result.exit_code == 4
    assert message in result.stderr
    assert "a bug" not in result.stderr


def test_an_import_that_fails_otherwise_is_a_bug(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **more: object) -> None:
        raise ImportError("no module of that name")

    monkeypatch.setattr("vidmem.cli.ls.open_store", broken)
    assert run("ls").exit_code == 70


def test_sigterm_ends_as_ctrl_c(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from vidmem.cli import ls, main; "
        "ls.open_store = lambda *a, **b: os.kill(os.getpid(), signal.SIGTERM); sys.argv = ['vidmem', 'ls']; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert "Traceback" not in ended.stderr


def test_an_error_shows_its_traceback_only_for_debugging(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in run("ls").stderr
    monkeypatch.setenv("VIDMEM_DEBUG", "1")
    assert "Traceback" in run("ls").stderr


def test_ctrl_c_is_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vidmem.cli.ls.open_store", interrupted)
    assert run("ls").exit_code == 130


def test_a_closed_pipe_is_quiet(tiny: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        command = [*VIDMEM, "info", "--memory", str(tiny)]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_name_that_is_no_text_can_be_printed(tiny: Path) -> None:
    done = vidmem("info", os.fsdecode(b"\xff\n\x1b[31m"), "--memory", str(tiny), PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_completion_works() -> None:
    done = vidmem(_VIDMEM_COMPLETE="complete_bash", COMP_WORDS="vidmem wh", COMP_CWORD="1")
    assert done.stdout.split() == ["where"]
