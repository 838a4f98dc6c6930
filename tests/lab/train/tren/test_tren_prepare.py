"""Points, shares of patches, batches and their order; the worlds as data."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from making import SMALL, squares
from PIL import Image, ImageDraw

from lab.synthetic.camera import BLURRED, Lens
from lab.synthetic.drawings import Drawing
from lab.synthetic.render import frames
from lab.synthetic.scene import fraction, stamps
from lab.synthetic.script import Script, write_script
from lab.train.order import Order
from lab.train.tren.folder import Folder
from lab.train.tren.prepare import Prepared, collate, sample_points, shares
from lab.train.tren.world import FIRST_HELD_OUT, chosen, numbers, render_world, render_worlds
from vidmem.errors import MediaError, UsageError
from vidmem.export.coco import Sample


def masks(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    out = np.zeros((len(boxes), 40, 60), bool)
    for mask, (x0, y0, x1, y1) in zip(out, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return out


def test_points_come_by_squared_overlap() -> None:
    # 400 pixels under one mask, 100 under two, 100 under three: weights 400, 400, 900.
    held = masks((0, 0, 20, 30), (0, 0, 10, 20), (0, 0, 10, 10))
    points, targets = sample_points(held, 20_000, 3, "overlap", np.random.default_rng(0))
    count = (targets >= 0).sum(1)
    rates = [(count == n).mean() for n in (1, 2, 3)]
    np.testing.assert_allclose(rates, np.array([400, 400, 900]) / 1700, atol=0.015)
    x, y = (points * (60, 40)).T
    np.testing.assert_allclose(x % 1, 0.5, atol=1e-4)  # centres of pixels
    assert (held[0][y.astype(int), x.astype(int)]).all()


def test_targets_are_the_masks_over_the_point() -> None:
    held = masks((0, 0, 20, 30), (10, 10, 40, 20))
    points, targets = sample_points(held, 500, 3, "overlap", np.random.default_rng(1))
    for (x, y), row in zip(points * (60, 40), targets, strict=True):
        assert row[row >= 0].tolist() == np.flatnonzero(held[:, int(y), int(x)]).tolist()
        assert row[-1] == -1


def test_a_point_under_more_masks_than_k_gets_k_of_them() -> None:
    held = masks(*[(0, 0, 60, 40)] * 5)
    _, targets = sample_points(held, 2000, 3, "overlap", np.random.default_rng(2))
    assert (np.diff(targets, axis=1) > 0).all()  # three different ones
    assert np.bincount(targets.ravel()) == pytest.approx(np.full(5, 1200), rel=0.1)


def test_even_sampling_favours_no_large_mask() -> None:
    held = masks((0, 0, 60, 35), (0, 36, 2, 38))
    _, targets = sample_points(held, 1000, 3, "even", np.random.default_rng(3))
    assert (targets[:, 0] == 1).mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("sampling", ["overlap", "even"])
def test_no_mask_no_points(sampling: str) -> None:
    with pytest.raises(ValueError, match="no mask holds a pixel"):
        sample_points(masks((0, 0, 0, 0)), 5, 3, sampling, np.random.default_rng(0))  # type: ignore[arg-type]


def test_shares_of_patches() -> None:
    cover = shares(masks((0, 0, 15, 10)), (4, 6))
    assert cover.shape == (1, 4, 6)
    np.testing.assert_allclose(cover[0, 0], [1, 0.5, 0, 0, 0, 0])
    assert not cover[0, 1:].any()
    assert shares(masks((3, 5, 51, 33)), (3, 7)).sum() * (40 * 60) / 21 == pytest.approx(48 * 28, rel=5e-3)


def test_prepared(tmp_path: Path) -> None:
    ready = Prepared(Folder(squares(tmp_path / "set", 5)), (64, 48), (6, 8), SMALL)
    batch = collate([ready[(7, 0)], ready[(8, 3)]])
    assert batch.images.shape == (2, 3, 48, 64)
    assert batch.cover.shape[2:] == (6, 8)
    assert batch.points.shape == (2, 12, 2)
    assert batch.targets.shape == (2, 12, 3)
    assert batch.index.tolist() == [0, 3]
    for i in range(2):
        for (x, y), target in zip(batch.points[i].tolist(), batch.targets[i, :, 0].tolist(), strict=True):
            assert batch.cover[i, target, int(y * 6), int(x * 8)] > 0
            name = ready.data.names[int(batch.labels[i, target])]
            colour = batch.images[i, :, int(y * 48), int(x * 64)]
            assert colour.argmax() == ("red", "green", "blue").index(name)
    again = ready[(8, 3)]
    torch.testing.assert_close(again["points"][0], batch.points[1])
    assert (ready[(9, 3)]["points"] != again["points"]).any()  # another time, other points


class One:
    names = ("a",)

    def __init__(self, sample: Sample) -> None:
        self.sample = sample

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return self.sample


def test_masks_too_small_to_pool_are_left_out() -> None:
    image, both = np.zeros((48, 64, 3), np.uint8), np.zeros((2, 48, 64), bool)
    both[0, :2, :2] = both[1, :20, :20] = True
    ready = Prepared(One(Sample(image, both, (None, "a"), "here")), (64, 48), (6, 8), SMALL)
    assert ready[(0, 0)]["labels"].tolist() == [[0]]
    both[1] = False
    both[1, :2, :3] = True
    alone = Prepared(One(Sample(image, both, (None, "a"), "here.png")), (64, 48), (6, 8), SMALL)
    assert alone[(0, 0)]["labels"].tolist() == [[0]]  # of a picture with small ones only, the largest
    none = Prepared(One(Sample(image, both[:0], (), "here.png")), (64, 48), (6, 8), SMALL)
    with pytest.raises(MediaError, match=r"no mask .*has a pixel at 64x48.*here\.png"):
        none[(0, 0)]


def test_order_takes_each_sample_once_a_turn() -> None:
    keys = list(itertools.chain(*Order(10, 4, 0, 10, 3)))
    assert [position for position, _ in keys] == list(range(40))
    turns = [[number for _, number in keys[i : i + 10]] for i in range(0, 40, 10)]
    assert all(sorted(turn) == list(range(10)) for turn in turns)
    assert turns[0] != turns[1]
    assert list(Order(10, 4, 6, 10, 3)) == list(Order(10, 4, 0, 10, 3))[6:]
    assert list(Order(10, 4, 0, 10, 4)) != list(Order(10, 4, 0, 10, 3))


def shapes(count: int) -> tuple[Drawing, ...]:
    """Ellipses of colours and names of their own."""
    out = []
    for i in range(count):
        image = Image.new("RGBA", (90, 100))
        fill = tuple(int(v) for v in np.random.default_rng(i).integers(0, 256, 3))
        ImageDraw.Draw(image).ellipse((5, 5, 84, 94), fill=(*fill, 255))
        out.append(Drawing(f"gadget{i:03d}x", (), "", image))
    return tuple(out)


@pytest.fixture(scope="module")
def script() -> Script:
    return write_script(3, shapes(60), 6, Lens(320, 180, 15))


def test_masks_of_a_world_are_where_its_things_are_drawn(script: Script) -> None:
    v, k = chosen(script, 3)[1]
    index = numbers(script, v, k)
    things = script.things(v)
    here = [i for i in range(len(things)) if (index == i + 1).sum() > 150]
    assert here
    at = script.visits[v].first + k
    for i in here[:3]:
        whole, without = (
            np.asarray(next(itertools.islice(frames(script, hide), at, None))[0], np.int16)
            for hide in ((), (things[i][0],))
        )
        changed, mask = np.abs(whole - without) > 40, index == i + 1
        assert changed[mask].mean() > 0.5 or np.abs(whole - without)[mask].mean() > 15
        inner = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        assert (np.abs(whole - without)[1:-1, 1:-1][inner] > 0).mean() > 0.9


def test_masks_of_a_world_are_as_large_as_the_truth_says(script: Script) -> None:
    """The area of a mask over that of the whole sprite is the share in view that the truth is made of."""
    checked = 0
    for v, k in chosen(script, 5):
        visit, index = script.visits[v], numbers(script, v, k)
        things = script.things(v)
        pose = visit.poses[k : k + 1]
        room = script.rooms[visit.room]
        for i, stamp in enumerate(stamps([(p, s) for _, p, s in things])):
            share = float(fraction(stamp, pose, room.occluders, script.lens)[0])
            alpha = np.asarray(things[i][2].getchannel("A"), np.float64).sum() / 255
            whole = alpha * (pose[0, 2] * script.lens.scale) ** 2
            assert (index == i + 1).sum() / whole == pytest.approx(share, abs=0.15)
            checked += share > 0.2
    assert checked > 3


def test_frames_are_sharp_and_show_one_room(script: Script) -> None:
    taken = chosen(script, 10)
    assert 5 <= len(taken) <= 10
    assert len(set(taken)) == len(taken)
    for v, k in taken:
        assert script.visits[v].smear[k] < BLURRED
        assert v == 0 or k / script.lens.fps >= 0.25


def test_worlds_as_a_folder(tmp_path: Path) -> None:
    count = render_world(tmp_path, 4, drawings=shapes(60), count=3, size=(160, 90), seconds=5)
    data = Folder(tmp_path)
    assert len(data) == count == 3
    sample = data[0]
    assert sample.image.shape == (90, 160, 3)
    assert "background" in sample.names
    assert any(name and name.startswith("gadget") for name in data.names)
    assert sample.masks.sum(0).min() == sample.masks.sum(0).max() == 1  # every pixel is in one region


def test_worlds_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def draw(folder: Path, seed: int, **_: object) -> int:
        if seed == 7 and len(drawn) == 1:
            raise KeyboardInterrupt
        if not drawn:
            squares(folder, 2)
        drawn.append(seed)
        return 2

    monkeypatch.setattr("lab.train.tren.world.render_world", draw)
    with pytest.raises(KeyboardInterrupt):
        render_worlds(tmp_path / "w", [6, 7, 8])
    drawn.append(-1)
    assert len(render_worlds(tmp_path / "w", [6, 7, 8])) == 2
    assert drawn == [6, -1, 7, 8]
    render_worlds(tmp_path / "w", [6, 7, 8])
    assert drawn == [6, -1, 7, 8]
    with pytest.raises(UsageError, match="other worlds"):
        render_worlds(tmp_path / "w", [6, 7])


def test_held_out_worlds_are_refused(tmp_path: Path) -> None:
    assert FIRST_HELD_OUT == 5000
    for seed in (5000, 9001, -1):
        with pytest.raises(UsageError, match="for measurements"):
            render_world(tmp_path, seed)
    assert not list(tmp_path.iterdir())
