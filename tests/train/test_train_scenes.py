"""Training pictures: the same for a seed, with masks that fit them."""

from __future__ import annotations

import itertools
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidmem.train.scenes import GRID, HEIGHT, MOST, WIDTH, Scene, SceneMaker, load_photos
from vidmem.world.drawings import Drawing, load_drawings, things

FIELDS = [f.name for f in fields(Scene)]
NAMES = [thing.name for thing in things()]


def maker(seed: int, photos: list[Image.Image] | None = None) -> SceneMaker:
    return SceneMaker(load_drawings(), NAMES.index, photos or [], seed)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(itertools.islice(maker(3), 4))


def test_the_same_seed_gives_the_same_scenes(scenes: list[Scene]) -> None:
    for ours, theirs in zip(scenes[:2], maker(3), strict=False):
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


def test_another_seed_gives_another(scenes: list[Scene]) -> None:
    assert (maker(4).scene().image != scenes[0].image).any()
    assert (scenes[1].image != scenes[0].image).any()


def test_scenes_have_the_promised_form(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (HEIGHT, WIDTH, 3)
        assert scene.image.dtype == np.uint8
        assert scene.cover.shape == (MOST, *GRID)
        assert scene.cover.dtype == np.float32
        assert scene.cover.min() >= 0
        assert scene.cover.max() <= 1
        assert scene.labels.shape == (MOST,)
        assert ((scene.labels >= -3) & (scene.labels < len(NAMES))).all()
        used = scene.labels > -3
        assert (scene.cover[used].sum((1, 2)) >= 1.5).all()
        assert not scene.cover[~used].any()
        assert (scene.labels >= 0).sum() >= 1
        # visible parts of objects lie side by side, never one on the other
        assert scene.cover[scene.labels >= 0].sum(0).max() <= 1 + 1e-5
        h, w = GRID
        assert ((scene.centres >= 0) & (scene.centres <= (w - 1, h - 1))).all()
        drawn = scene.drawings[scene.labels >= 0]
        assert [NAMES[i] for i in scene.labels[scene.labels >= 0]] == [load_drawings()[d].name for d in drawn]
        assert (scene.drawings[scene.labels < 0] == -1).all()
        assert ((scene.scenery >= 0) & (scene.scenery + scene.cover[scene.labels >= 0].sum(0) <= 1 + 1e-5)).all()
        np.testing.assert_allclose(scene.sizes[used] ** 2, scene.cover[used].sum((1, 2)), rtol=1e-4)


def test_masks_lie_where_the_things_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drawing of one plain colour, no distortion of colours, on black: masks cover exactly that colour."""
    drawing = Drawing("dog", (), "d", Image.new("RGBA", (60, 60), (255, 0, 255, 255)))
    made = SceneMaker([drawing], ["dog"].index, [], 1)
    black = np.ones((HEIGHT, WIDTH), bool)
    monkeypatch.setattr(made, "_background", lambda: (Image.new("RGB", (WIDTH, HEIGHT)), [(black, -1)]))
    monkeypatch.setattr(made, "_distort", lambda picture, size: picture.resize((int(size), int(size))))
    monkeypatch.setattr(made, "_shadow", lambda *_: None)
    monkeypatch.setattr(made, "_camera", np.asarray)
    scene = made.scene()
    seen = scene.image[..., 0] > 127
    share = seen.reshape(GRID[0], 8, GRID[1], 8).mean((1, 3))
    objects = scene.cover[scene.labels >= 0].sum(0)
    assert (objects <= share + 1e-5).all()  # slivers of under 1.5 patches are left out
    assert objects.sum() > 0.9 * share.sum()
    assert (scene.cover[scene.labels == -1] == 1).all()


def test_a_drawing_without_a_name_in_the_list_fails() -> None:
    with pytest.raises(ValueError, match="not in list"):
        SceneMaker(load_drawings()[:3], ["no such thing"].index, [], 0)


def test_photos_are_the_first_two_thirds_of_each_folder(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for i in range(6):
            Image.new("RGB", (400, 100 + i), (i * 40, 0, 0)).save(tmp_path / folder / f"{i}.png")
    (tmp_path / "a" / "notes.txt").write_text("not a photo")
    photos = load_photos(tmp_path, 100)
    assert len(photos) == 8
    assert {photo.getpixel((0, 0)) for photo in photos} == {(i * 40, 0, 0) for i in range(4)}
    assert all(max(photo.size) <= 360 for photo in photos)
    assert len(load_photos(tmp_path, 3)) == 3


def test_no_photos_give_none(tmp_path: Path) -> None:
    assert load_photos(tmp_path, 5) == []


def test_cutouts_are_pasted_too_but_are_no_drawings() -> None:
    cup = Drawing("cup", (), "", Image.new("RGBA", (60, 60), (9, 99, 199, 255)))
    made = SceneMaker(load_drawings()[:3], ["cup", *NAMES].index, [], 1, cutouts=[cup])
    scene = made.scene()
    cups = scene.labels == 0
    assert cups.sum() >= 2
    assert (scene.drawings[cups] == -1).all()
    assert (scene.drawings[scene.labels > 0] >= 0).all()
    assert scene.outlined
    assert (scene.teachers == -1).all()
