from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import make
import pytest
from PIL import Image

from vidmem.errors import MediaError
from vidmem.media import open_source, save_clip
from vidmem.timecode import NS


def _read(path: Path) -> list[tuple[int, int]]:
    with open_source(path) as source:
        return [(make.number_in(f.image), f.t_ns) for f in source.frames(0)]


def test_span_keeps_frames_and_variable_times(tmp_path: Path) -> None:
    ticks = [0, 40, 50, 300, 310, 900, 1000, 1007, 2000]
    path = make.video(tmp_path / "v.mp4", ticks, Fraction(1, 1000))
    save_clip(str(path), str(tmp_path / "out.mp4"), 50_000_000, 1_000_000_000)
    assert _read(tmp_path / "out.mp4") == [(n, (ticks[n] - 50) * 1_000_000) for n in range(2, 7)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mp4", "v.mp4"]


def test_starts_with_what_is_on_display(tmp_path: Path) -> None:
    path = make.video(tmp_path / "v.mp4", [0, 10, 20, 30], Fraction(1, 10))
    save_clip(str(path), str(tmp_path / "out.mp4"), NS * 3 // 2, NS * 3 // 2)
    assert _read(tmp_path / "out.mp4") == [(1, 0)]


def test_rotated_and_odd_come_out_upright_and_even(tmp_path: Path) -> None:
    path = make.video(tmp_path / "v.mp4", range(9), size=(131, 97), pix_fmt="yuv444p", degrees=-90, turn=1)
    save_clip(str(path), str(tmp_path / "out.mp4"), 0, NS)
    with open_source(tmp_path / "out.mp4") as source:
        assert (source.info.width, source.info.height) == (130, 96)
        assert [make.number_in(f.image) for f in source.frames(0)] == list(range(9))


def test_pictures_become_a_clip(tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    for i in range(4):
        Image.fromarray(make.picture(i)).save(tmp_path / "pics" / f"{i}.png")
    save_clip(str(tmp_path / "pics"), str(tmp_path / "out.mp4"), NS, 2 * NS)
    assert _read(tmp_path / "out.mp4") == [(1, 0), (2, NS)]


def test_span_backwards_fails(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="swap them"):
        save_clip(str(make.video(tmp_path / "v.mp4", range(3))), str(tmp_path / "out.mp4"), 2, 1)


def test_overwriting_the_source_fails(tmp_path: Path) -> None:
    path = make.video(tmp_path / "v.mp4", range(3))
    with pytest.raises(MediaError, match="overwrite"):
        save_clip(str(path), str(path), 0, 1)


def test_unwritable_place_fails_and_leaves_nothing(tmp_path: Path) -> None:
    path = make.video(tmp_path / "v.mp4", range(3))
    with pytest.raises(MediaError, match="cannot be written"):
        save_clip(str(path), str(tmp_path / "none" / "out.mp4"), 0, NS)
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_damaged_source_fails(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("no video")
    with pytest.raises(MediaError, match="not a video"):
        save_clip(str(tmp_path / "v.mp4"), str(tmp_path / "out.mp4"), 0, 1)
