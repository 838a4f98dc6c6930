from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidmem.errors import MediaError, UsageError
from vidmem.serve.folders import Folders


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    for name in ("videos/home", "logs", "secret"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("videos/home/a.mp4", "videos/[1].mp4", "logs/run.mcap", "secret/key.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "videos" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "videos" / "key.mp4").symlink_to(tmp_path / "secret" / "key.mp4")
    (tmp_path / "videos" / "back").symlink_to(tmp_path / "logs")
    (tmp_path / "videos" / "loop").symlink_to("loop")
    return Folders.of([tmp_path / "videos", str(tmp_path / "logs")])


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        ("home/a.mp4", "videos/home/a.mp4"),
        ("videos/home/a.mp4", "videos/home/a.mp4"),
        ("./home/../home/a.mp4", "videos/home/a.mp4"),
        ("home", "videos/home"),
        (".", "videos"),
        ("[1].mp4", "videos/[1].mp4"),
        ("run.mcap", "logs/run.mcap"),
        ("back/run.mcap", "logs/run.mcap"),
        ("run.mcap#/cam/front", "logs/run.mcap#/cam/front"),
    ],
)
def test_what_lies_below(folders: Folders, tmp_path: Path, given_: str, found: str) -> None:
    assert folders.existing(given_) == tmp_path / found
    if not given_.startswith("videos"):
        assert folders.existing(str(tmp_path / found)) == tmp_path / found


@pytest.mark.parametrize("given_", ["../secret/key.mp4", "/", "..", "/etc/passwd"])
def test_what_lies_elsewhere_is_refused_with_one_message(folders: Folders, given_: str) -> None:
    with pytest.raises(
        UsageError, match=r"files are taken only from below videos, logs; .* videos/walk.mp4 or walk"
    ) as e:
        folders.existing(given_)
    with pytest.raises(UsageError) as other:
        folders.existing("/no/such/file")
    assert str(e.value) == str(other.value)


@pytest.mark.parametrize(
    "given_",
    ["", " ", "a\0b", "\ud800", "x" * 5000, "http://a/b.mp4", "rtsp://a", "file:///etc/passwd", "s3://a/b", "D:\\\\x"],
)
def test_what_is_no_path(folders: Folders, given_: str) -> None:
    with pytest.raises(UsageError, match=r"a path is the name|only local files"):
        folders.existing(given_)


@pytest.mark.parametrize("given_", ["home/b.mp4", "loop", "no/such", "*.mp4", "home/a.mp4/x", "x" * 300, "~"])
def test_what_is_not_there(folders: Folders, given_: str) -> None:
    with pytest.raises(MediaError, match="no such file or folder"):
        folders.existing(given_)


def test_a_new_file(folders: Folders, tmp_path: Path) -> None:
    assert folders.new("home/out.rrd") == tmp_path / "videos/home/out.rrd"
    with pytest.raises(UsageError, match="there is such a file"):
        folders.new("home/a.mp4")
    with pytest.raises(UsageError, match="there is such a file"):
        folders.new("loop")
    with pytest.raises(UsageError, match="its folder does not exist"):
        folders.new("none/out.rrd")
    with pytest.raises(UsageError, match="its folder does not exist"):
        folders.new("out/new.rrd")  # which would be logs/out/new.rrd


@pytest.mark.parametrize("given_", ["out/key.mp4", "key.mp4", "out"])
def test_links_that_lead_out_are_not_followed(tmp_path: Path, folders: Folders, given_: str) -> None:
    with pytest.raises(MediaError, match="no such file"):  # which would be below logs
        folders.existing(given_)
    with pytest.raises(UsageError, match="only from below"):
        Folders.of([tmp_path / "videos"]).existing(given_)
    with pytest.raises(UsageError, match="only from below"):
        Folders.of([tmp_path / "videos"]).new("out/new.rrd")


def test_without_folders_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder was opened"):
        Folders().existing(str(tmp_path))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`folder` is a folder that exists"):
        Folders.of([tmp_path / "none"])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["..", ".", "home", "out", "back", "a.mp4", "videos", "", "#", "~", "secret"]), max_size=6)
)
def test_no_path_leads_out(folders: Folders, parts: list[str]) -> None:
    for text in ("/".join(parts), os.sep + "/".join(parts)):
        try:
            found = folders.existing(text)
        except (UsageError, MediaError):
            continue
        real = Path(os.path.realpath(str(found).partition("#")[0]))
        assert any(folder in (real, *real.parents) for folder in folders.paths)
