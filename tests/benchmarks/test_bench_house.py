"""house.py: what it counts, on a made-up package in either layout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import house

FILES = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "vidmem"
version = "1"
[tool.setuptools]
packages = ["vidmem", "vidmem.media", "vidmem.query"]
[tool.setuptools.package-dir]
"vidmem" = "vidmem"
"vidmem.query" = "query"
""",
    "vidmem/__init__.py": '"""Root."""\n',
    "vidmem/memory.py": """
from typing import TYPE_CHECKING
from .media import Video
if TYPE_CHECKING:
    from .query.search import ask
else:
    import json
def load(encoder, size: int) -> None:  # type: ignore[no-untyped-def]
    "Load it."
    from vidmem.query import search
    import math
    if hasattr(encoder, "masks") or hasattr(size, "real"):
        return
def _hidden() -> None: ...
""",
    "vidmem/media/__init__.py": "from .video import Video\n",
    "vidmem/media/video.py": """
class Video:
    def frames(self) -> int:
        from . import Video
        return 1  # fmt: skip
""",
    "vidmem/media/stray.txt": "not data of the package\n",
    "query/__init__.py": "",
    "query/search.py": "from ..memory import load\ndef ask() -> None: ...\n",
    "tests/test_it.py": "a = 1\nb = 2  # fmt: skip\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for command in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "all"),
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_modules_are_found_where_setuptools_finds_them(tree: Path) -> None:
    assert sorted(house.package_modules(tree)) == [
        "vidmem",
        "vidmem.media",
        "vidmem.media.video",
        "vidmem.memory",
        "vidmem.query",
        "vidmem.query.search",
    ]


def test_imports_inside_functions_count_and_those_for_types_alone_do_not(tree: Path) -> None:
    graph = house.import_graph(house.package_modules(tree))
    assert graph["vidmem.memory"] == {"vidmem.media", "vidmem.query.search"}
    assert graph["vidmem.media.video"] == {"vidmem.media"}
    assert graph["vidmem.query.search"] == {"vidmem.memory"}


def test_counts(tree: Path) -> None:
    made = house.measure(tree)
    named = made.pop("named")
    assert named["circles_of_modules"] == [
        ["vidmem.media", "vidmem.media.video"],
        ["vidmem.memory", "vidmem.query.search"],
    ]
    assert named["circles_of_packages"] == [["memory", "query"]]
    wanted = {
        "packages": 3,
        "top_modules": 1,
        "packages_and_top_modules": 3,
        "files": 6,
        "lines_tests": 2,
        "lines_lab": 0,
        "functions": 4,
        "untyped_functions": 1,
        "public_functions": 3,
        "documented": 1 / 3,
        "type_ignore": 1,
        "fmt_skip": 2,
        "function_imports": 3,
        "function_imports_of_own": 2,
        "probes": 1,
    }
    assert {key: made[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("graph", "wanted"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
        ({"a": {"b"}, "b": set()}, []),
        ({"a": {"b"}, "b": {"a"}, "c": {"d", "a"}, "d": {"c"}}, [["a", "b"], ["c", "d"]]),
    ],
)
def test_circles(graph: dict[str, set[str]], wanted: list[list[str]]) -> None:
    assert house.circles(graph) == wanted


@pytest.mark.slow
def test_the_command(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "house.json"
    monkeypatch.setattr(sys, "argv", ["house", "--tree", str(tree), "--out", str(out)])
    assert house.main() == 0
    written = json.loads(out.read_text())
    assert written["wheel_files"] == 6 + 4  # and what a wheel says of itself
    assert written["wheel_lines"] == written["lines"]
    assert "circle: vidmem.media, vidmem.media.video" in capsys.readouterr().out
