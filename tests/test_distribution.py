"""What is published: the sdist, the wheel that is built from it, and that wheel in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

CLONE = Path(__file__).resolve().parents[1]
FOLDERS = {"vidmem": "vidmem", "indexer": "vidmem/indexer", "query": "vidmem/query"}
"""Folders of the package, and where they are in the wheel."""
LARGEST = 40_000_000
"""Most bytes of the wheel."""

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, env={**os.environ, **more}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both files, by their ending. The wheel is built from the sdist, not from the clone."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, CLONE)
    return {path.suffix: path for path in out.iterdir()}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    made: dict[str, Any] = tomllib.loads((CLONE / "pyproject.toml").read_text("utf-8"))["project"]
    return made


def test_the_wheel_holds_the_package_and_nothing_else(built: dict[str, Path]) -> None:
    wanted = set()
    for folder, place in FOLDERS.items():
        for path in (CLONE / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                wanted.add(f"{place}/{path.relative_to(CLONE / folder).as_posix()}")
    with zipfile.ZipFile(built[".whl"]) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted


def test_the_sdist_holds_no_tests_and_no_lab(built: dict[str, Path]) -> None:
    with tarfile.open(built[".gz"]) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert not tops & {"tests", "lab", "benchmarks", "docs"}
    assert {*FOLDERS, "pyproject.toml", "README.md", "LICENSE", "NOTICE"} <= tops


def test_the_wheel_is_small(built: dict[str, Path]) -> None:
    assert built[".whl"].stat().st_size <= LARGEST


def test_twine_accepts_both(built: dict[str, Path]) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *built.values())


def test_the_wheel_runs_where_nothing_else_of_vidmem_is(built: dict[str, Path], tmp_path: Path) -> None:
    """The environment is new; the libraries that vidmem needs are those of this one."""
    home = tmp_path / "home"
    run(sys.executable, "-m", "venv", "--without-pip", home)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", built[".whl"])
    (site,) = home.glob("lib/python*/site-packages")
    # A path that a .pth file names is searched, but its own .pth files are not read: an editable vidmem stays unseen.
    libraries = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "libraries.pth").write_text("\n".join(libraries) + "\n")

    vidmem = home / "bin" / "vidmem"
    shown = run(vidmem, "--version", cwd=tmp_path).stdout
    assert re.fullmatch(r"vidmem \d+\.\d+\.\d+\n", shown)
    code = """
import vidmem.indexer, vidmem.query
from vidmem.cli import demo_data
print(vidmem.__file__, vidmem.indexer.__file__, vidmem.query.__file__)
print(*sorted(path.name for path in __import__("pathlib").Path(next(iter(demo_data.__path__))).iterdir()))
"""
    where, data = run(python, "-c", code, cwd=tmp_path).stdout.splitlines()
    assert where.count(str(site)) == 3
    assert {"film.mp4", "film.json", "walk.mp4", "walk.json"} <= set(data.split())
    assert "kettle" in run(vidmem, "names", "kettle", cwd=tmp_path).stdout
    for name in ("lab", "benchmarks", "tests"):
        probe = f"import importlib.util as u; print(u.find_spec({name!r}))"
        assert "None" in run(python, "-c", probe, cwd=tmp_path).stdout


def test_every_extra_that_is_named_exists(project: dict[str, Any]) -> None:
    """In messages, help and documents: vidmem[...] is something that pip can install."""
    files = [CLONE / "README.md", *(CLONE / "docs").rglob("*.md")]
    for folder in (*FOLDERS, "lab"):
        files += (CLONE / folder).rglob("*.py")
    named = {
        extra.strip()
        for path in files
        for found in re.findall(r"vidmem\[([\w, -]+)\]", path.read_text("utf-8"))
        for extra in found.split(",")
    }
    assert named <= set(project["optional-dependencies"])
    assert {"clip", "sam2", "tren", "coco"} <= named


def test_links_of_the_readme_work_outside_the_clone() -> None:
    """The index of packages shows the README without the files beside it."""
    links = re.findall(r"\]\(([^)]+)\)", (CLONE / "README.md").read_text("utf-8"))
    assert links
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_the_project_says_where_it_lives(project: dict[str, Any]) -> None:
    assert {"Homepage", "Documentation", "Source", "Changelog", "Issues"} <= project["urls"].keys()
    assert all(url.startswith("https://") for url in project["urls"].values())
