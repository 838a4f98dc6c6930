"""The code blocks of the README and the docs run as they stand, page by page, on the demo film.

A `python` block is executed. A `console` block is run by a shell: each line that starts with `$ ` is a command, the
lines below it are what it prints. There `...` stands for any lines, or for the rest of one, and numbers need only be
close, since they differ a little from one processor to another. A block behind `<!-- skip: next "reason" -->` is
left out. The commands of an `sh` block install or build something and are not run.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from unittest import SkipTest

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.md"  # written by `make docs`, which runs it
COMMANDS = ROOT / "docs" / "commands"  # written from the help of the commands, with files that are not here
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page != NOTEBOOK and page.parent != COMMANDS),
]
LANGUAGES = {"python", "console", "sh", "text", "json", "toml", "yaml"}
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def same_line(expected: str, printed: str) -> bool:
    """Return True if two lines agree, whatever their spaces, with numbers to 5 %."""
    expected, printed = " ".join(expected.split()), " ".join(printed.split())
    if expected.endswith("..."):
        return NUMBER.sub("0", printed).startswith(NUMBER.sub("0", expected[:-3]))
    numbers = zip(NUMBER.findall(expected), NUMBER.findall(printed), strict=False)
    return NUMBER.sub("0", expected) == NUMBER.sub("0", printed) and all(
        math.isclose(float(a), float(b), rel_tol=0.05, abs_tol=0.05) for a, b in numbers
    )


def same_output(expected: str, printed: str) -> bool:
    """Return True if all lines agree; a line `...` stands for any number of lines."""
    lines, anything = iter(printed.splitlines()), False
    for wanted in expected.splitlines():
        if wanted.strip() == "...":
            anything = True
        elif anything and any(same_line(wanted, line) for line in lines):
            anything = False
        elif anything or not same_line(wanted, next(lines, "")):
            return False
    return anything or not any(line.strip() for line in lines)


def run_console(example: Example) -> None:
    """Run the commands of a block and compare what they print."""
    folder = Path.cwd()
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
        "PYTHONUNBUFFERED": "1",  # stdout and stderr in the order of a terminal
    }
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", str(example.parsed), re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed = done.stdout.replace(str(folder), "/home/me/vidmem-demo")
        printed = re.sub(r"today \d\d:\d\d", "today 09:41", printed)  # the film has the time of its file
        if done.returncode:
            raise AssertionError(f"line {example.line}: `{command}` ends with {done.returncode}:\n{printed}")
        if expected.strip() and not same_output(expected.strip("\n"), printed):
            raise AssertionError(f"line {example.line}: `{command}` prints\n{printed}\nand not\n{expected}")


SYBIL = Sybil([PythonCodeBlockParser(), CodeBlockParser("console", run_console), SkipParser()], encoding="utf-8")


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder in which pages run, and a copy of it as each page finds it: the film of `vidmem demo`, indexed."""
    folder = tmp_path_factory.mktemp("docs") / "vidmem-demo"
    folder.mkdir()
    demo = Path(str(files("vidmem") / "cli" / "demo_data"))
    shutil.copyfile(demo / "film.mp4", folder / "film.mp4")
    code = "import vidmem; m = vidmem.Memory.open('film.memory'); m.index('film.mp4'); m.close()"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    return folder, kept


@pytest.fixture
def folder(indexed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A memory remembers absolute paths, so every page runs in the same folder, made anew."""
    folder, kept = indexed
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VIDMEM_MEMORY", "film.memory")
    return folder


def test_output_is_compared_by_line() -> None:
    printed = "a   1.00\nb  0.53  x\nsaid\n"
    assert same_output("a 1.0\nb 0.55 x\nsaid", printed)
    assert same_output("...\nb 0.55 x\n...", printed)
    assert same_output("a 1\nb ...\nsaid", printed)
    assert not same_output("a 1.0\nb 0.83 x\nsaid", printed)
    assert not same_output("a 1.0\nb 0.55 x", printed)
    assert not same_output("...\nc", printed)
    assert not same_output("a 1.0\nb 0.55 y\n...", printed)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_blocks_run(page: Path, folder: Path) -> None:
    for example in SYBIL.parse(page).examples():
        try:
            example.evaluate()
        except SkipTest:
            continue


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_blocks_say_what_they_are(page: Path) -> None:
    text = page.read_text("utf-8")
    opened = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert {language.split()[0] if language else "" for language, _ in opened} <= LANGUAGES
    for language, block in opened:
        if language == "sh":
            assert not re.search(r"^vidmem ", block, re.MULTILINE), "commands of vidmem belong into `console` blocks"
    for skipped in re.findall(r"<!--+ *skip: *(.*?) *-->", text):
        assert re.fullmatch(r'next,? *(reason=)?".{10,}"', skipped), f"say why: {skipped}"


def test_readme_is_short_and_works_on_pypi() -> None:
    """PyPI shows the README outside of the repository, so its links and pictures must be absolute."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.count("\n") < 80
    for target in re.findall(r"\]\(([^)]*)\)", text):
        assert target.startswith("https://")
        _, repository, path = target.partition("/vidmem/vidmem/")
        if repository:
            assert (ROOT / path.removeprefix("blob/").removeprefix("main/")).exists(), target


def test_files_that_are_named_exist() -> None:
    """`mine` and `hues` stand for what a contributor adds."""
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        text = page.read_text("utf-8")
        named = re.findall(r"`((?:vidmem|indexer|query|encoders|lab|benchmarks|tests|docs)/[\w./-]+)`", text)
        modules = re.findall(r"(?<![/\w])(?:benchmarks|lab)\.[a-z_0-9.]*[a-z_0-9]", text)
        named += [f"{name.replace('.', '/')}.py" for name in modules]
        for name in named:
            found = [ROOT / name, ROOT / "vidmem" / name, (ROOT / name).with_suffix("")]
            assert re.search("mine|hues", name) or any(path.exists() for path in found), f"{page.name}: {name}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text("utf-8")
    for page in [*(ROOT / "docs").rglob("*.md"), NOTEBOOK]:
        assert f'"{page.relative_to(ROOT / "docs").as_posix()}"' in navigation
