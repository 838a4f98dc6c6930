"""Names to label with, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidmem.errors import MediaError, UsageError
from vidmem.query.labels import BUILT_IN, MAX_LABELS, _built_in, load_labels, parse_labels


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("vspw", 124, "wall", "train"),
        ("ade20k", 150, "wall", "flag"),
        ("coco", 80, "person", "toothbrush"),
    ],
)
def test_built_in_lists(name: str, count: int, first: str, last: str) -> None:
    labels = load_labels(name)
    assert (len(labels), labels.names[0], labels.names[-1]) == (count, first, last)
    assert all("_" not in n for n in labels.names)
    assert labels.things.any()
    assert bool(labels.things.all()) == (name == "coco")
    assert set(BUILT_IN) == {"vspw", "ade20k", "coco"}


def test_things_and_stuff() -> None:
    known = dict(zip(load_labels("vspw").names, load_labels("vspw").things.tolist(), strict=True))
    assert known["car"]
    assert known["bottle or cup"]
    assert not known["sky"]
    assert not known["floor"]


def test_commas_and_stars_are_of_the_built_in_lists_alone() -> None:
    labels = parse_labels(" cup, red \t stuff\n  # no name\nsky*\n", "x")
    assert labels.names == ("cup, red", "sky*")
    assert (labels.things.tolist(), labels.things.dtype) == ([False, True], bool)
    assert all(name == name.strip() and "*" not in name for each in BUILT_IN.values() for name in each.names)


def test_a_star_marks_stuff_in_the_built_in_lists() -> None:
    labels = _built_in("\ncup, sky*,\nwheel of X, red flag*\n")
    assert labels.names == ("cup", "sky", "wheel of X", "red flag")
    assert labels.things.tolist() == [True, False, True, False]


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("﻿# what is in my kitchen\nmug\n\n  чайник \nfloor\tstuff\nред|stop *2\tthing\r\n杯子\n", "utf-8")
    labels = load_labels(str(path))
    assert labels.names == ("mug", "чайник", "floor", "ред|stop *2", "杯子")
    assert labels.things.tolist() == [True, True, False, True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no label"),
        ("\n# x\n", "there is no label"),
        ("mug\nmug\n", "'mug' is there twice, again in line 2: labels.txt"),
        ("# x\nmug\n\nkey\nmug", "'mug' is there twice, again in line 5"),
        ("key\nmug\tthing\tred", "line 2 is not a name, or a name, a tab and thing or stuff: labels.txt"),
        ("mug\t", "line 1 is not a name"),
        ("mug\tstuf", "line 1 is not a name"),
        ("\tthing\n", "line 1 is not a name"),
        ("x" * 201, "line 1 is not a name"),
        ("\n".join(map(str, range(MAX_LABELS + 1))), "5001 labels are too many"),
    ],
)
def test_bad_lists_fail(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_labels(text, "labels.txt")


def test_as_many_and_as_long_as_allowed() -> None:
    assert parse_labels("x" * 200, "x").names == ("x" * 200,)
    assert len(parse_labels("\n".join(map(str, range(MAX_LABELS))), "x")) == MAX_LABELS


def test_a_file_that_cannot_be_read_fails(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="give a text file or vspw, ade20k, coco"):
        load_labels(str(tmp_path / "none.txt"))
    with pytest.raises(MediaError, match="cannot be read"):
        load_labels(str(tmp_path))
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    with pytest.raises(MediaError, match="not UTF-8"):
        load_labels(str(tmp_path / "latin"))
