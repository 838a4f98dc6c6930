from __future__ import annotations

from pathlib import Path

import pytest

from vidmem import address
from vidmem.address import Address
from vidmem.errors import UsageError


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
    assert address.split(str(made)) == made
    assert address.exists(str(made))
    log.unlink()
    assert not address.exists(str(made))
    assert address.split_known(str(made)) == made


def test_a_path_that_exists_is_one(tmp_path: Path) -> None:
    odd = tmp_path / "take #1.mp4"
    odd.touch()
    assert address.split(str(odd)) == Address(str(odd))
    assert address.split(f"{odd}#/cam") == Address(str(odd), "/cam")
    assert address.split("nowhere#/cam") == Address("nowhere#/cam")


def test_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.mcap").touch()
    monkeypatch.chdir(tmp_path)
    assert address.absolute("run.mcap#header:/cam//x/../y/") == f"{tmp_path}/run.mcap#header:/cam//x/../y/"
    assert address.absolute("walk.mp4") == f"{tmp_path}/walk.mp4"
    assert address.split("run.mcap#/cam").label == "run.mcap /cam"


def test_an_unknown_clock_fails() -> None:
    with pytest.raises(UsageError, match="there are: log, header"):
        address.check_clock("sun")
