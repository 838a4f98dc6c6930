from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidmem.errors import MediaError, UsageError
from vidmem.media import Photos, discover


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [
        "v10.mp4",
        "v2.MP4",
        "notes.txt",
        ".hidden.mp4",
        "deep/er/a.mkv",
        "deep/b.webm",
        "deep/cover.jpg",
        "photos/p10.jpg",
        "photos/p2.png",
        "-x.mp4",
        "[1].mp4",
        "empty/readme.txt",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _names(tree: Path, *paths: str, film: bool = False) -> list[str]:
    """Sources from `tree` on; photos with a * in front."""
    found = [("*" if isinstance(item, Photos) else "", item.path) for item in discover(paths, film)]
    return [mark + os.path.relpath(path, tree) for mark, path in found]


def test_folder_gives_videos_and_photos_in_it_and_below(tree: Path) -> None:
    found = _names(tree, ".")
    videos = ["v2.MP4", "v10.mp4", "-x.mp4", "[1].mp4", "deep/b.webm", "deep/er/a.mkv"]
    assert sorted(found) == sorted([*videos, "*."])
    assert found.index("v2.MP4") < found.index("v10.mp4")
    assert found == _names(tree, ".")
    assert sorted(_names(tree, ".", film=True)) == sorted([*videos, "deep", "photos"])


def test_photos(tree: Path) -> None:
    assert _names(tree, "photos") == ["*photos"]
    assert _names(tree, "photos", film=True) == ["photos"]
    assert _names(tree, "photos/p2.png", "deep/b.webm", "photos/../photos/p2.png") == ["*photos/p2.png", "deep/b.webm"]
    assert _names(tree, "photos/*") == ["*photos/p2.png", "*photos/p10.jpg"]
    with pytest.raises(UsageError, match="this is one picture; give its folder"):
        discover(["photos/p2.png"], film=True)


def test_patterns_are_expanded(tree: Path) -> None:
    assert _names(tree, "v*") == ["v2.MP4", "v10.mp4"]
    assert _names(tree, "**/*.mkv") == ["deep/er/a.mkv"]


def test_odd_names_are_taken_as_they_are(tree: Path) -> None:
    assert _names(tree, "-x.mp4", "[1].mp4") == ["-x.mp4", "[1].mp4"]
    assert discover(["-x.mp4"])[0].path.startswith("/")


def test_duplicates_go_and_order_stays(tree: Path) -> None:
    os.symlink("v2.MP4", tree / "link.mp4")
    assert _names(tree, "v10.mp4", "v2.MP4", "./v10.mp4", "link.mp4") == ["v10.mp4", "v2.MP4"]


def test_named_file_needs_no_known_suffix(tree: Path) -> None:
    assert _names(tree, "notes.txt") == ["notes.txt"]


@pytest.mark.parametrize("url", ["https://a.b/c.mp4", "rtsp://cam/1", "HTTP://x", "s3://bucket/v.mp4"])
def test_address_fails(url: str) -> None:
    with pytest.raises(UsageError, match=r"only local files.*download it first"):
        discover([url])


def test_missing_file_fails_with_near_names(tree: Path) -> None:
    with pytest.raises(MediaError, match=r"did you mean .*v10\.mp4.*: v11\.mp4$"):
        discover(["v11.mp4"])


def test_missing_folder_fails(tree: Path) -> None:
    with pytest.raises(MediaError, match="no such file or folder"):
        discover(["nowhere/v.mp4"])


def test_pattern_without_match_fails(tree: Path) -> None:
    with pytest.raises(MediaError, match="matches no file"):
        discover(["*.avi"])


def test_folder_without_media_fails(tree: Path) -> None:
    with pytest.raises(MediaError, match="no video, log or picture"):
        discover(["empty"])
