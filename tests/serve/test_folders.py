"""Paths that a client may name: below the folders of the owner, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.address import Address
from vidmem.errors import MediaError, UsageError
from vidmem.media import Photos
from vidmem.serve.folders import allowed, check_links, checked_folder, is_below


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder `in` with a file, and a secret beside it."""
    inside = tmp_path / "in"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "a.mp4").write_bytes(b"x")
    (inside / "run.mcap").write_bytes(b"x")
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (tmp_path / "in-other").mkdir()
    (tmp_path / "in-other" / "b.mp4").write_bytes(b"x")
    return tmp_path


def folders(place: Path) -> list[str]:
    return [checked_folder(str(place / "in"))]


def test_relative_and_absolute_paths(place: Path) -> None:
    real = os.path.realpath(place / "in" / "deep" / "a.mp4")
    for path in ("deep/a.mp4", "./deep/a.mp4", "deep//a.mp4", real):
        assert allowed(path, folders(place)) == Address(real)
    assert allowed(".", folders(place)).path == os.path.realpath(place / "in")
    topic = allowed("run.mcap#header:/cam", folders(place))
    assert (Path(topic.path).name, topic.part, topic.clock) == ("run.mcap", "/cam", "header")


def test_of_several_folders_the_first_that_has_it(place: Path) -> None:
    both = [checked_folder(str(place / name)) for name in ("in", "in-other")]
    assert Path(allowed("b.mp4", both).path).parent.name == "in-other"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.mp4",
        "deep/../../secret.mp4",
        "deep\\..\\..\\secret.mp4",
        "..",
        "/etc/passwd",
        "/dev/zero",
        "/proc/self/environ",
        "//host/share/x.mp4",
        "\\\\host\\share\\x.mp4",
        "~/x.mp4",
        "~root/x.mp4",
        "http://169.254.169.254/latest/meta-data",
        "HTTPS://127.0.0.1:8077/x.mp4",
        "file:///etc/passwd",
        "rtsp://camera/1",
        "concat:a|b://x",
        "deep/*.mp4",
        "**/*",
        "[a-z]/a.mp4",
        "deep/a.mp4\0.jpg",
        "deep/a.mp4\n",
        "",
        "x" * 5000,
        "deep/b.mp4",
        "../in-other/b.mp4",
        "..#/secret.mp4",
    ],
)
def test_nothing_else(place: Path, path: str) -> None:
    with pytest.raises(UsageError) as caught:
        allowed(path, folders(place))
    assert str(place) not in str(caught.value)


def test_the_way_up_is_named(place: Path) -> None:
    for path in ("../secret.mp4", "deep/../deep/a.mp4", "deep\\..\\x"):
        with pytest.raises(UsageError, match="may not go up"):
            allowed(path, folders(place))


def test_a_neighbour_with_the_same_beginning_is_outside(place: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        allowed(str(place / "in-other" / "b.mp4"), folders(place))
    assert not is_below("/a/bc", ["/a/b"])
    assert is_below("/anything", ["/"])


def test_what_exists_elsewhere_is_not_told(place: Path) -> None:
    told = []
    for path in (str(place / "secret.mp4"), str(place / "missing.mp4")):
        with pytest.raises(UsageError) as caught:
            allowed(path, folders(place))
        told.append(str(caught.value).partition(":")[0])
    assert told[0] == told[1]


def test_links_stay_inside(place: Path) -> None:
    inside = place / "in"
    (inside / "good.mp4").symlink_to(inside / "deep" / "a.mp4")
    (inside / "bad.mp4").symlink_to(place / "secret.mp4")
    (inside / "up").symlink_to(place)
    assert Path(allowed("good.mp4", folders(place)).path).name == "a.mp4"
    for path in ("bad.mp4", "up/secret.mp4", "up"):
        with pytest.raises(UsageError, match="no such file"):
            allowed(path, folders(place))


def test_a_named_folder_may_be_a_link_itself(place: Path) -> None:
    (place / "link").symlink_to(place / "in")
    assert allowed("deep/a.mp4", [checked_folder(str(place / "link"))]).path.endswith("/in/deep/a.mp4")


def test_pipes_and_devices(place: Path) -> None:
    os.mkfifo(place / "in" / "pipe.mp4")
    with pytest.raises(UsageError, match="no pipes"):
        allowed("pipe.mp4", folders(place))


def test_links_among_the_files_of_a_folder(place: Path) -> None:
    album, bag = place / "in" / "album", place / "in" / "bag"
    for folder in (album, bag):
        folder.mkdir()
        (folder / "a.jpg").write_bytes(b"x")
        (folder / "broken.jpg").symlink_to(place / "in" / "nothing.jpg")
        check_links(Photos(str(folder)), folders(place))
        check_links(Address(str(folder)), folders(place))
        (folder / "notes.txt").symlink_to(place / "secret.mp4")
    check_links(Photos(str(album)), folders(place))  # reads pictures only
    with pytest.raises(MediaError, match="leads out"):
        check_links(Address(str(bag)), folders(place))
    (album / "b.jpg").symlink_to(place / "secret.mp4")
    with pytest.raises(MediaError, match="leads out"):
        check_links(Photos(str(album)), folders(place))
    (album / "b.jpg").unlink()
    os.mkfifo(album / "c.jpg")
    with pytest.raises(MediaError, match="no pipes"):
        check_links(Photos(str(album)), folders(place))


def test_without_a_folder_nothing_is_read() -> None:
    with pytest.raises(UsageError, match="without a folder"):
        allowed("/etc/passwd", [])
    with pytest.raises(UsageError, match="`folder`"):
        checked_folder("/no/such/folder")
    with pytest.raises(UsageError, match="`folder`"):
        checked_folder("/etc/passwd")


@given(st.text(max_size=40))
def test_any_text_stays_inside_or_is_refused(path: str) -> None:
    inside = [os.path.realpath(os.path.dirname(__file__))]
    try:
        found = allowed(path, inside)
    except UsageError:
        return
    assert is_below(os.path.realpath(found.path), inside)
