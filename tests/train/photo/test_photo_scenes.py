"""Scenes of photographs: regions lie where the things are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.train.photo.test_photos import disc, jpeg
from vidmem.train.photo.names import Names
from vidmem.train.photo.photos import Photo, Region
from vidmem.train.photo.scenes import PhotoScenes, cutouts
from vidmem.train.scenes import GRID, HEIGHT, WIDTH

BOX = (40.0, 24.0, 120.0, 96.0)
ROUND = tuple(float(v) for a in np.linspace(0, 6.2, 24) for v in (80 + 40 * np.cos(a), 60 + 36 * np.sin(a)))


def boxed(name: str = "cup", polygons: tuple[tuple[float, ...], ...] = (ROUND,)) -> Photo:
    return Photo("coco_cc", name, jpeg(disc()), (160, 120), [Region(BOX, name, polygons)], False)


def vocabulary() -> Names:
    names = Names()
    for name in ("dog", "cup"):
        names.add(name)
    return names


def crops_of(count: int) -> dict[str, np.ndarray]:
    """One answer a photo: the teacher looked at the box."""
    return {"boxes": np.tile(np.float32(BOX), (count, 1)), "owners": np.arange(count), "answers": np.zeros((count, 9))}


def test_regions_lie_on_the_things() -> None:
    scenes = PhotoScenes([boxed() for _ in range(3)], crops_of(3), vocabulary(), 0)
    counted = 0
    for scene in itertools.islice((scenes.scene() for _ in iter(int, 1)), 8):
        assert scene.image.shape == (HEIGHT, WIDTH, 3)
        red = (scene.image[..., 0].astype(int) - scene.image[..., 1]) > 60
        share = red.reshape(GRID[0], 8, GRID[1], 8).mean((1, 3))
        for cover, label in zip(scene.cover, scene.labels, strict=True):
            if label == 1:
                counted += 1
                assert (share * cover).sum() / cover.sum() > 0.75
        assert set(scene.labels) <= {1, -2, -3}
        assert set(scene.teachers) <= {-1, 0, 1, 2}
        assert (scene.teachers[scene.labels == 1] == -1).all()
        assert not scene.scenery.any()
    assert counted >= 8


def test_the_same_seed_gives_the_same_scene() -> None:
    one, two = (PhotoScenes([boxed()], crops_of(1), vocabulary(), 5).scene() for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.cover, two.cover)


def test_boxes_alone_are_no_outlines() -> None:
    with_box = [boxed(polygons=())]
    every = PhotoScenes(with_box, crops_of(1), vocabulary(), 0)
    assert any((every.scene().labels == 1).any() for _ in range(4))
    strict = PhotoScenes([*with_box, boxed("dog")], crops_of(2), vocabulary(), 0, outlines_only=True)
    scenes = [strict.scene() for _ in range(6)]
    assert not any((scene.labels == 1).any() for scene in scenes)
    assert any((scene.labels == 0).any() for scene in scenes)
    with pytest.raises(KeyError):
        PhotoScenes(with_box, crops_of(1), vocabulary(), 0, outlines_only=True).scene()


def test_names_that_nobody_knows_are_left_out() -> None:
    scenes = PhotoScenes([boxed("thingamabob")], crops_of(1), vocabulary(), 0)
    assert all((scenes.scene().labels < 0).all() for _ in range(4))


def test_cutouts_are_things_with_an_outline() -> None:
    found = cutouts([boxed(), boxed(polygons=()), boxed("dog")], most=1)
    assert sorted(d.name for d in found) == ["cup", "dog"]
    assert all(d.image.mode == "RGBA" for d in found)
    assert len(cutouts([boxed(), boxed()], most=1)) == 1


def test_no_photos_make_no_scenes() -> None:
    with pytest.raises(KeyError):
        PhotoScenes([], crops_of(0), vocabulary(), 0).scene()
