from __future__ import annotations

from pathlib import Path

import pytest

from vidmem.address import Address, check_clock
from vidmem.errors import UsageError
from vidmem.records import SourceKind


@pytest.mark.parametrize(
    ("part", "clock", "text"),
    [
        ("/cam/front", "log", "#/cam/front"),
        ("/cam/front", "header", "#header:/cam/front"),
        ("log:odd", "log", "#log:log:odd"),
        ("header:odd", "header", "#header:header:odd"),
        ("a#b", "log", "#a#b"),
        ("3/observation.images.top", "log", "#3/observation.images.top"),
    ],
)
def test_there_and_back(tmp_path: Path, part: str, clock: str, text: str) -> None:
    log = tmp_path / "run.mcap"
    log.touch()
    made = Address(str(log), part, clock)
    assert str(made) == f"{log}{text}"
    assert Address.parse(str(made)) == made
    assert made.exists()
    log.unlink()
    assert not made.exists()
    assert Address.parse_part(str(made)) == made


def test_a_path_that_exists_is_one(tmp_path: Path) -> None:
    odd = tmp_path / "take #1.mp4"
    odd.touch()
    assert Address.parse(str(odd)) == Address(str(odd))
    assert Address.parse(f"{odd}#/cam") == Address(str(odd), "/cam")
    assert Address.parse("nowhere#/cam") == Address("nowhere#/cam")


def test_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.mcap").touch()
    monkeypatch.chdir(tmp_path)
    assert str(Address.parse("run.mcap#header:/cam//x/../y/").absolute()) == f"{tmp_path}/run.mcap#header:/cam//x/../y/"
    assert str(Address("walk.mp4").absolute()) == f"{tmp_path}/walk.mp4"
    assert Address.parse("run.mcap#/cam").label == "run.mcap /cam"


def test_an_unknown_clock_fails() -> None:
    with pytest.raises(UsageError, match="there are: log, header"):
        check_clock("sun")


@pytest.mark.parametrize("kind", SourceKind)
def test_the_kind_says_whether_a_name_has_a_part(tmp_path: Path, kind: SourceKind) -> None:
    (tmp_path / "dir").mkdir()
    name = f"{tmp_path}/dir#take/2.mp4"  # the file is gone, and something before the # exists
    part = kind in (SourceKind.LOG, SourceKind.EPISODE)
    assert kind.address(name) == (Address(f"{tmp_path}/dir", "take/2.mp4") if part else Address(name))
