"""Frames of worlds as scenes, from a folder laid out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidmem.errors import UsageError
from vidmem.train.scenes import GRID, HEIGHT, WIDTH, per_patch
from vidmem.train.world_scenes import WorldScenes
from vidmem.world.drawings import Drawing

NAMES = ["cup", "dog"]
PICTURE = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
DRAWINGS = [Drawing("cup", (), "a", PICTURE), Drawing("dog", (), "b", PICTURE), Drawing("dog", (), "c", PICTURE)]


def lay(folder: Path, count: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Frames whose left half is a cup, with a dog in a corner and scenery right of the middle."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for i in range(count):
        numbers = np.full((size[1], size[0]), 3, np.uint8)
        numbers[:, : size[0] // 2] = 1
        numbers[-64:, -64:] = 2
        shade = np.full((size[1], size[0], 3), 40 + i, np.uint8)
        shade[:, : size[0] // 2] = 200
        Image.fromarray(shade).save(folder / "images" / f"{i:02d}.png")
        Image.fromarray(numbers).save(folder / "masks" / f"{i:02d}.png")
        (folder / "masks" / f"{i:02d}.json").write_text(json.dumps({"1": "cup", "2": "dog", "3": "background"}))
    return folder


def test_held_out_frames_are_the_last_tenth_as_they_are(tmp_path: Path) -> None:
    frames = WorldScenes(lay(tmp_path / "w", 20), DRAWINGS, NAMES.index, 0, held_out=True)
    for i in (18, 19):
        scene = frames.scene()
        assert scene.image[0, -1].tolist() == [40 + i] * 3
        assert scene.labels[:4].tolist() == [0, 1, -2, -3]
        assert scene.drawings[:4].tolist() == [0, -1, -1, -1]  # which dog it is, is not known
        np.testing.assert_array_equal(scene.cover[0], per_patch(scene.image[..., 0] == 200))
        np.testing.assert_array_equal(scene.scenery, scene.cover[2])
        assert scene.cover[:3].sum(0).max() == 1
        assert scene.scenery.shape == GRID


def test_the_rest_is_mirrored_together_with_its_masks(tmp_path: Path) -> None:
    frames = WorldScenes(lay(tmp_path / "w", 20), DRAWINGS, NAMES.index, 1)
    sides = set()
    for _ in range(12):
        scene = frames.scene()
        bright = scene.image[0, :, 0] > 128
        sides.add(bool(bright[0]))
        np.testing.assert_array_equal(scene.cover[0, 0], bright.reshape(-1, 8).mean(1))
        dog = scene.cover[1]
        assert dog[:, :8].any() == (not bright[0])
        assert not (scene.scenery * dog).any()
    assert sides == {True, False}


def test_frames_of_another_size_fail(tmp_path: Path) -> None:
    frames = WorldScenes(lay(tmp_path / "w", 2, (320, 192)), DRAWINGS, NAMES.index, 0)
    with pytest.raises(UsageError, match="must be 448x256"):
        frames.scene()
