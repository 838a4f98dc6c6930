"""What lies below the folders of the owner may lead out of them by links; it is not followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidmem.address import Address
from vidmem.errors import MediaError, UsageError
from vidmem.media import Photos
from vidmem.serve.links import check_kind, check_links, is_below


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder `in`, and a secret beside it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"x")
    return Path(os.path.realpath(tmp_path))


def test_a_neighbour_with_the_same_beginning_is_outside() -> None:
    assert not is_below("/a/bc", ["/a/b"])
    assert is_below("/a/b", ["/a/b"])
    assert is_below("/a/b/c", ["/x", "/a/b"])
    assert is_below("/anything", ["/"])


def test_pipes_and_devices(place: Path) -> None:
    os.mkfifo(place / "in" / "pipe.mp4")
    for path in (str(place / "in" / "pipe.mp4"), "/dev/null"):
        with pytest.raises(UsageError, match="no pipes"):
            check_kind(path)
    check_kind(str(place))


def test_links_among_the_files_of_a_folder(place: Path) -> None:
    album, bag, folders = place / "in" / "album", place / "in" / "bag", [str(place / "in")]
    for folder in (album, bag):
        folder.mkdir()
        (folder / "a.jpg").write_bytes(b"x")
        (folder / "broken.jpg").symlink_to(place / "in" / "nothing.jpg")
        (folder / "inside.jpg").symlink_to(folder / "a.jpg")
        check_links(Photos(str(folder)), folders)
        check_links(Address(str(folder)), folders)
        (folder / "notes.txt").symlink_to(place / "secret.mp4")
    check_links(Photos(str(album)), folders)  # reads pictures only
    with pytest.raises(MediaError, match="leads out"):
        check_links(Address(str(bag)), folders)
    (album / "b.jpg").symlink_to(place / "secret.mp4")
    with pytest.raises(MediaError, match="leads out"):
        check_links(Photos(str(album)), folders)
    (album / "b.jpg").unlink()
    os.mkfifo(album / "c.jpg")
    with pytest.raises(MediaError, match="no pipes"):
        check_links(Photos(str(album)), folders)


def test_one_file(place: Path) -> None:
    link = place / "in" / "a.mp4"
    link.symlink_to(place / "secret.mp4")
    with pytest.raises(MediaError, match="leads out"):
        check_links(Address(str(link)), [str(place / "in")])
    check_links(Address(str(link)), [str(place)])
