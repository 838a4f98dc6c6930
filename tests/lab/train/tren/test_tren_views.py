"""Views, weights, kinds of batches and the two forms of a training."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from making import SMALL, squares

from lab.train import checkpoint
from lab.train.logs import FILE, read
from lab.train.order import Order
from lab.train.tren import loop
from lab.train.tren.augment import View, coarse_masks, draw_view, view_masks, view_picture, whole
from lab.train.tren.config import LossConfig, TrainConfig, ViewConfig
from lab.train.tren.data import open_data
from lab.train.tren.folder import Folder
from lab.train.tren.forms import FORMS, configure
from lab.train.tren.loop import fit
from lab.train.tren.order import BLOCK, Weighted, order_of
from lab.train.tren.prepare import Prepared, collate
from lab.train.tren.sample import Joined, Pool, pools_of
from vidmem.errors import MediaError, UsageError
from vidmem.export.coco import Sample

CPU = torch.device("cpu")
AUGMENTED = ViewConfig(2, 0.7, True, 0.4)


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.floats(0.01, 1),
    st.integers(0, 2**32 - 1),
)
def test_a_crop_is_as_large_as_asked_and_inside(width: int, height: int, crop: float, seed: int) -> None:
    view = draw_view(ViewConfig(2, crop, True, 0.4), width, height, np.random.default_rng(seed))
    x0, y0, x1, y1 = view.box
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert (x1 - x0 + 0.5) * (y1 - y0 + 0.5) >= crop * width * height * 0.999
    assert 0.6 - 1e-9 <= view.brightness <= 1.4 + 1e-9
    assert 0.6 - 1e-9 <= view.contrast <= 1.4 + 1e-9


def test_views_are_spread() -> None:
    rng = np.random.default_rng(0)
    views = [draw_view(AUGMENTED, 200, 100, rng) for _ in range(2000)]
    area = np.array([(v.box[2] - v.box[0]) * (v.box[3] - v.box[1]) / 20_000 for v in views])
    assert area.mean() == pytest.approx(0.85, abs=0.01)
    assert np.mean([v.flip for v in views]) == pytest.approx(0.5, abs=0.04)
    assert {v.box[0] == 0 for v in views} == {True, False}
    assert any(v.box[2] == 200 for v in views)
    plain = [draw_view(ViewConfig(), 200, 100, rng) for _ in range(20)]
    assert set(plain) == {whole(200, 100)}


@given(st.integers(0, 2**32 - 1), st.integers(8, 60), st.integers(8, 60))
def test_masks_are_carried_along_exactly(seed: int, width: int, height: int) -> None:
    """A picture whose colours are its regions: at the crop's own size, each mask is where its colour is."""
    rng = np.random.default_rng(seed)
    index = rng.integers(0, 4, (height, width))
    image = (np.stack([index] * 3, -1) * 60).astype(np.uint8)
    masks = np.stack([index == i for i in range(4)])
    view = replace(draw_view(AUGMENTED, width, height, rng), brightness=1.0, contrast=1.0)
    size = (view.box[2] - view.box[0], view.box[3] - view.box[1])
    shown = view_picture(image, view, size)
    seen = view_masks(masks, view, size)
    for i in range(4):
        np.testing.assert_array_equal(seen[i], np.isclose(shown[..., 0], i * 60 / 255))
    flipped = view_masks(masks, replace(view, flip=not view.flip), size)
    np.testing.assert_array_equal(flipped[..., ::-1], seen)


def test_a_mask_outside_of_the_crop_disappears() -> None:
    masks = np.zeros((2, 20, 20), bool)
    masks[0, :4, :4] = masks[1, 10:16, 10:16] = True
    seen = view_masks(masks, View((8, 8, 18, 18)), (10, 10))
    assert not seen[0].any()
    assert seen[1].sum() == 36


def test_the_whole_picture_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (11, 17, 3)).astype(np.uint8)
    np.testing.assert_array_equal(np.round(view_picture(image, whole(17, 11), (17, 11)) * 255), image)


def test_brightness_and_contrast_by_hand() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 0], image[0, 1] = 51, 102  # .2 and .4
    bright = view_picture(image, View((0, 0, 2, 1), brightness=1.25), (2, 1))
    np.testing.assert_allclose(bright[0, :, 0], [0.25, 0.5], atol=1e-6)
    strong = view_picture(image, View((0, 0, 2, 1), contrast=1.4), (2, 1))
    np.testing.assert_allclose(strong[0, :, 0], [0.3 - 0.14, 0.3 + 0.14], atol=1e-6)
    clipped = view_picture(image * 2, View((0, 0, 2, 1), brightness=1.4), (2, 1))
    assert clipped.max() == 1


def test_coarse_masks() -> None:
    mask = np.zeros((1, 8, 8), bool)
    mask[0, :4, :4] = True
    np.testing.assert_array_equal(coarse_masks(mask, 2)[0], [[True, False], [False, False]])


def test_views_of_a_sample_share_their_regions(tmp_path: Path) -> None:
    config = replace(SMALL, views=AUGMENTED, points=40)
    data = Folder(squares(tmp_path / "set", 8))
    ready = Prepared(data, (64, 48), (6, 8), config)
    rows = [ready[(i, i)] for i in range(8)]
    batch = collate(rows)
    assert batch.views == 2
    assert batch.images.shape == (16, 3, 48, 64)
    assert batch.index.tolist() == [i for i in range(8) for _ in range(2)]
    assert torch.equal(batch.labels[::2], batch.labels[1::2])
    assert (batch.images[::2] != batch.images[1::2]).any()
    plain = ViewConfig(2, 0.7, True, 0.0)  # colours as they are
    unjittered = Prepared(data, (64, 48), (6, 8), replace(config, views=plain))
    for number in range(8):
        row = unjittered[(number, number)]
        for v in range(2):
            right = 0
            for (x, y), target in zip(row["points"][v].tolist(), row["targets"][v, :, 0].tolist(), strict=True):
                assert row["cover"][v, target, int(y * 6), int(x * 8)] > 0
                name = data.names[int(row["labels"][v, target])]
                colour = row["images"][v, :, int(y * 48), int(x * 64)]
                right += int(colour.argmax() == ("red", "green", "blue").index(name))
            assert right >= 38  # resized edges are mixed


def test_views_follow_from_seed_and_position(tmp_path: Path) -> None:
    ready = Prepared(Folder(squares(tmp_path / "set", 2)), (64, 48), (6, 8), replace(SMALL, views=AUGMENTED))
    one, same, later = ready[(3, 1)], ready[(3, 1)], ready[(4, 1)]
    assert all(torch.equal(one[name], same[name]) for name in ("images", "points", "targets", "cover"))
    assert not torch.equal(one["images"], later["images"])
    assert not torch.equal(ready[(3, 1, "texts")]["images"], one["images"])


class One:
    names = ("a",)

    def __init__(self, masks: np.ndarray) -> None:
        self.sample = Sample(np.zeros((48, 64, 3), np.uint8), masks, ("a",) * len(masks), "here.png")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return self.sample


def test_a_view_shows_a_region() -> None:
    """A region in a corner, which many crops lose: every view has it all the same."""
    masks = np.zeros((1, 48, 64), bool)
    masks[0, :8, :8] = True
    ready = Prepared(One(masks), (64, 48), (6, 8), replace(SMALL, views=ViewConfig(2, 0.2)))
    for position in range(60):
        assert ready[(position, 0)]["cover"].sum((1, 2, 3)).min() >= SMALL.least_patches
    empty = Prepared(One(np.zeros((1, 48, 64), bool)), (64, 48), (6, 8), replace(SMALL, views=AUGMENTED))
    with pytest.raises(MediaError, match=r"no mask .*has a pixel.*here\.png"):
        empty[(0, 0)]


def test_points_on_a_grid() -> None:
    masks = np.zeros((1, 48, 64), bool)
    masks[0, 4:40, 4:60] = True
    row = Prepared(One(masks), (64, 48), (6, 8), replace(SMALL, point_grid=8, points=50))[(0, 0)]
    np.testing.assert_allclose((row["points"].numpy() * 8) % 1, 0.5, atol=1e-5)
    fine = np.zeros((1, 48, 64), bool)
    fine[0, 0:2, :] = True  # between the middles of the grid
    row = Prepared(One(fine), (64, 48), (6, 8), replace(SMALL, point_grid=4, points=5))[(0, 0)]
    assert (row["points"][..., 1] * 48 < 2).all()


POOLS = (Pool(0, 5, 6.0), Pool(5, 50, 1.0), Pool(55, 7, None))


def test_data_sets_are_taken_by_weight() -> None:
    keys = list(itertools.chain(*Weighted(POOLS, 8, 0, 1000, 3)))
    assert [position for position, *_ in keys] == list(range(8000))
    counts = Counter(0 if n < 5 else 1 if n < 55 else 2 for _, n, *_ in keys)
    assert counts[0] / 8000 == pytest.approx(6 / 8, abs=0.02)
    assert counts[1] / 8000 == pytest.approx(1 / 8, abs=0.02)
    small = [n for _, n, *_ in keys if n >= 55]
    turns = [sorted(small[i : i + 7]) for i in range(0, len(small) - 7, 7)]
    assert turns == [list(range(55, 62))] * len(turns)  # each once in a turn
    assert small[:7] != small[7:14]


@pytest.mark.parametrize("first", [1, 37, BLOCK // 8, BLOCK // 8 + 1, 900])
def test_weighted_orders_go_on_anywhere(first: int) -> None:
    whole_, part = Weighted(POOLS, 8, 0, 1000, 3), Weighted(POOLS, 8, first, 1000, 3)
    assert list(part) == list(whole_)[first:]
    assert len(part) == 1000 - first
    assert list(Weighted(POOLS, 8, 0, 20, 4)) != list(whole_)[:20]


def test_orders_by_the_data(tmp_path: Path) -> None:
    named = Folder(squares(tmp_path / "named", 6))
    bare = Folder(squares(tmp_path / "bare", 4))
    bare.names = ()
    joined = Joined([bare, named])
    assert [pool.kind for pool in pools_of(joined)] == ["regions", "both"]
    assert isinstance(order_of(joined, SMALL, 0), Order)
    assert isinstance(order_of(Joined([bare, named], [6.0, None]), SMALL, 0), Weighted)
    apart = replace(SMALL, batches="apart", steps=30)
    keys = list(order_of(joined, apart, 0))
    assert list(order_of(joined, apart, 11)) == keys[11:]
    assert all([kind for *_, kind in step] == ["regions"] * 4 + ["texts"] * 4 for step in keys)
    flat = list(itertools.chain(*keys))
    assert {n for _, n, kind in flat if kind == "texts"} == set(range(4, 10))
    assert {n for _, n, kind in flat if kind == "regions"} == set(range(10))
    only = Joined([bare, named], kinds=["both", "texts"])
    assert {n for _, n, kind in itertools.chain(*order_of(only, apart, 0)) if kind == "regions"} == set(range(4))
    with pytest.raises(UsageError, match=r"texts: no data set has names.*`batches` to joint"):
        order_of(bare, apart, 0)
    with pytest.raises(UsageError, match="batches of regions"):
        order_of(Joined([named], kinds=["texts"]), apart, 0)


def test_weights_and_kinds_on_the_command_line(tmp_path: Path) -> None:
    one, two = (str(squares(tmp_path / name, 2)) for name in ("one", "two"))
    assert pools_of(open_data([f"{one}=6", two], tmp_path)) == (Pool(0, 2, 6.0), Pool(2, 2, None))
    assert pools_of(open_data([f"{one}=.5=texts", f"{two}=regions"], tmp_path)) == (
        Pool(0, 2, 0.5, "texts"),
        Pool(2, 2, None, "regions"),
    )
    assert pools_of(open_data([f"{one}=2.5"], tmp_path)) == (Pool(0, 2, 2.5),)
    with pytest.raises(UsageError, match="has the weight 0"):
        open_data([f"{one}=0"], tmp_path)
    with pytest.raises(UsageError, match="is not training data"):
        open_data([f"{one}=many"], tmp_path)
    with pytest.raises(UsageError, match="is not training data"):
        open_data([""], tmp_path)


def test_the_forms() -> None:
    assert configure() == configure("paper") == TrainConfig()
    code = configure("code")
    assert code.views == ViewConfig(2, 0.7, True, 0.4)
    assert (code.batches, code.points, code.points_text, code.final) == ("apart", 64, 16, 0.0)
    assert code.losses == LossConfig(
        mask=0.5,
        similarity=0.5,
        contrast_scope="image",
        text_form="all",
        text_target="summed",
        mask_loss="focal",
    )
    assert code.rate(code.steps) == pytest.approx(0)
    changed = configure("code", views=1, similarity=0.0, text_form="infonce", tau=None, heads=4)
    assert (changed.views.count, changed.losses.text_form, changed.model.heads) == (1, "infonce", 4)
    assert changed.losses.mask_loss == "focal"  # the others are as the form has them
    assert FORMS["paper"] == {}
    assert TrainConfig.from_dict(json.loads(json.dumps(code.as_dict()))) == code


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        ("book", {}, "`form` is one of paper, code"),
        ("code", {"views": 1}, "`similarity` compares two views"),
        ("paper", {"views": 3}, "views is 1 or 2"),
        ("paper", {"crop": 0.0}, "crop lies above 0"),
        ("paper", {"jitter": 1.0}, "jitter in"),
        ("code", {"text": 0.0}, "`batches` to joint"),
        ("paper", {"similarity": -1.0}, "weight similarity"),
        ("paper", {"mask_loss": "soft"}, "`mask_loss` is one of bce, focal"),
        ("paper", {"contrast_scope": "world"}, "`contrast_scope` is one of batch, image"),
        ("paper", {"batches": "mixed"}, "`batches` is one of joint, apart"),
        ("paper", {"points_text": 0}, "points_text is at least 1"),
        ("paper", {"point_grid": -1}, "point_grid"),
        ("paper", {"colour": 3}, "no setting colour"),
    ],
)
def test_settings_that_make_no_sense_fail(form: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        configure(form, **change)


CODE = configure(
    "code",
    heads=2,
    layers=1,
    points=10,
    points_text=5,
    batch=4,
    steps=4,
    warmup=2,
    precision="fp32",
    log_every=1,
    checkpoint_every=2,
)


def state(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / checkpoint.FILE)


@pytest.mark.parametrize(("accumulate", "workers"), [(1, 2), (2, 0)])
def test_a_resumed_training_in_the_form_of_the_code_is_an_uninterrupted_one(
    backbone: Any, tmp_path: Path, accumulate: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [Folder(squares(tmp_path / name, count, seed)) for name, count, seed in (("a", 7, 0), ("b", 5, 1))]
    data = Joined(parts, [6.0, 1.0])
    config = replace(CODE, accumulate=accumulate)
    monkeypatch.setattr(loop, "save_weights", lambda model, path: None)
    fit(backbone, data, config, tmp_path / "whole", CPU, tensorboard=False)

    class Crash(Exception):
        pass

    def stop(step: int, _: object) -> None:
        if step == 3:
            raise Crash

    with pytest.raises(Crash):
        fit(backbone, data, config, tmp_path / "cut", CPU, tensorboard=False, report=stop)
    fit(backbone, data, config, tmp_path / "cut", CPU, resume=True, tensorboard=False, workers=workers)
    one, two = state(tmp_path / "whole"), state(tmp_path / "cut")
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name
    assert (tmp_path / "whole" / FILE).read_text() == (tmp_path / "cut" / FILE).read_text()
    with pytest.raises(UsageError, match="pools"):
        fit(backbone, Joined(parts, [1.0, 1.0]), config, tmp_path / "cut", CPU, resume=True, tensorboard=False)


def test_training_in_the_form_of_the_code_learns(backbone: Any, tmp_path: Path) -> None:
    data = Folder(squares(tmp_path / "set", 10))
    config = replace(
        CODE,
        steps=24,
        points=16,
        points_text=16,
        warmup=2,
        log_every=8,
        checkpoint_every=24,
        lr=4e-3,
        model=replace(CODE.model, seed_queries=True, start="near_identity"),
    )
    fit(backbone, data, config, tmp_path / "out", CPU, tensorboard=False)
    rows = read(tmp_path / "out" / FILE)
    for name in ("loss", "text", "visual", "distil_text", "similar_visual"):
        assert rows[-1][name] < rows[0][name], name
