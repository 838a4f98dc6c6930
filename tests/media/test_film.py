"""Whether a folder of pictures looks like the frames of a film."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from vidmem.media.film import MIN_PICTURES, looks_like_film


def pictures(folder: Path, names: list[str], sizes: list[tuple[int, int]] | None = None) -> list[str]:
    for i, name in enumerate(names):
        Image.new("RGB", (8, 6) if sizes is None else sizes[i]).save(folder / name)
    return [str(folder / name) for name in names]


@pytest.mark.parametrize("name", ["frame_{:04d}.png", "{:06d}.png", "walk2-{}.jpg", "cam0 {:03d}_left.png"])
def test_numbered_frames_do(tmp_path: Path, name: str) -> None:
    assert looks_like_film(pictures(tmp_path, [name.format(i) for i in range(1, 25)]))


def test_nearly_gapless_does(tmp_path: Path) -> None:
    assert looks_like_film(pictures(tmp_path, [f"f{i:03d}.png" for i in range(30) if i not in (7, 20)]))


@pytest.mark.parametrize(
    "names",
    [
        [f"frame_{i:04d}.png" for i in range(MIN_PICTURES - 1)],
        [f"frame_{i:04d}.png" for i in range(0, 40, 2)],
        [f"IMG_{i:04d}.png" for i in range(1, 30)],
        [f"DSC{i:05d}.png" for i in range(1, 30)],
        [f"P101{i:04d}.png" for i in range(1, 30)],
        [f"IMG-20260101-WA{i:04d}.jpg" for i in range(1, 30)],
        ["cup.png", *(f"frame_{i:04d}.png" for i in range(30))],
        [f"{'ab'[i % 2]}{i:04d}.png" for i in range(30)],
    ],
)
def test_few_gaps_cameras_and_other_names_do_not(tmp_path: Path, names: list[str]) -> None:
    assert not looks_like_film(pictures(tmp_path, names))


def test_different_sizes_and_damage_do_not(tmp_path: Path) -> None:
    names = [f"{i:03d}.png" for i in range(20)]
    paths = pictures(tmp_path, names, [(8, 6)] * 19 + [(6, 8)])
    assert not looks_like_film(paths)
    pictures(tmp_path, names)
    assert looks_like_film(paths)
    (tmp_path / names[-1]).write_text("no picture")
    assert not looks_like_film(paths)
