"""Methods that Memory takes from Query and Pictures keep their signatures, docstrings and types."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable
from pathlib import Path

import pytest

import vidmem
from needs import needs
from vidmem.memory import Memory
from vidmem.query.query import Query
from vidmem.render.pictures import Pictures

ROOT = Path(vidmem.__file__).parents[1]
FROM_QUERY = [name for name in vars(Memory) if callable(vars(Query).get(name)) and not name.startswith("_")]
FROM_PICTURES = [name for name in vars(Memory) if callable(vars(Pictures).get(name)) and not name.startswith("_")]
METHODS = [
    *((name, getattr(Query, name)) for name in FROM_QUERY),
    *((name, getattr(Pictures, name)) for name in FROM_PICTURES),
]

USE = """
from typing import assert_type

from PIL import Image

from vidmem import Answer, Memory, Sighting
from vidmem.query.answers import Timeline

def use(m: Memory, s: Sighting) -> None:
    assert_type(m.where("cup", top=None, sources="a.mp4", min_probability=0.5), Answer)
    assert_type(m.where("cup")[0], Sighting)
    assert_type(m.timeline(image="cup.jpg", alike=True), Timeline)
    assert_type(m.picture(s, "cup", others=[s]), Image.Image)
    m.clip(s, "cup.mp4", box=False)
    m.where("cup", tpo=3)  # ERROR Unexpected keyword argument "tpo"
    m.where(5)  # ERROR incompatible type "int"
    m.picture("cup")  # ERROR incompatible type "str"
    m.picture(s, 5)  # ERROR incompatible type "int"
    Memory.where(m, "cup")
"""


def test_every_question_and_every_picture_is_a_method() -> None:
    assert {"where", "watch", "timeline", "things", "haystack", "calibrate"} <= set(FROM_QUERY)
    assert {"picture", "evidence", "sheet", "things_sheet", "timeline_sheet", "explain", "clip"} == set(FROM_PICTURES)


@pytest.mark.parametrize(("name", "original"), METHODS)
def test_it_looks_like_the_original(name: str, original: Callable[..., object]) -> None:
    method = getattr(Memory, name)
    assert inspect.signature(method) == inspect.signature(original)
    assert next(iter(inspect.signature(method).parameters)) == "self"
    assert method.__doc__ == original.__doc__
    assert method.__annotations__ == original.__annotations__
    assert (method.__module__, method.__qualname__) == ("vidmem.memory", f"Memory.{name}")


def test_a_bound_method_has_no_self(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "m", encoder="tiny") as m:
        assert list(inspect.signature(m.where).parameters)[:3] == ["text", "image", "crop"]
        assert {"where", "picture", "clip"} <= set(dir(m))
    text = pydoc.plain(pydoc.render_doc(Memory.where))
    assert "where(self, text: " in text
    assert "newest first" in text


@pytest.mark.slow
def test_mypy_knows_the_arguments(tmp_path: Path) -> None:
    """The folders of the checkout are put together as in the wheel, since mypy reads no mapped package folders."""
    api = needs("mypy.api")
    package = tmp_path / "tree" / "vidmem"
    package.mkdir(parents=True)
    for path in (*(ROOT / "vidmem").iterdir(), ROOT / "query", ROOT / "indexer"):
        (package / path.name).symlink_to(path)
    file = tmp_path / "tree" / "use.py"
    file.write_text(USE)
    config = ("--config-file", str(ROOT / "pyproject.toml"), "--follow-imports", "silent")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPYPATH", str(tmp_path / "tree"))
        patch.chdir(tmp_path / "tree")
        out, err, _ = api.run([*config, "--cache-dir", str(tmp_path / "cache"), str(file)])
    lines = USE.split("\n")
    wanted = {number: line.split("# ERROR ")[1] for number, line in enumerate(lines, 1) if "# ERROR " in line}
    found = {int(line.split(":")[1]): line for line in out.splitlines() if ": error: " in line}
    assert set(found) == set(wanted), out + err
    for number, message in wanted.items():
        assert message in found[number]
