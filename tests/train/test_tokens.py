"""Tokens with names, of scenes and of whole photos."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.train.photo.test_photo_scenes import boxed, crops_of, vocabulary
from tests.train.photo.test_photos import disc, jpeg
from vidmem.encoders.mobile_net import DIM
from vidmem.encoders.tiny_net import TinyNet
from vidmem.geometry import box_iou
from vidmem.train import tokens
from vidmem.train.photo.photos import Photo, Region
from vidmem.train.tokens import of_photos, of_worlds, regions_of, some_of_each
from vidmem.train.tren.folder import Folder
from vidmem.train.tren.world import SCENERY


@pytest.fixture(scope="module")
def net() -> TinyNet:
    torch.manual_seed(0)
    return TinyNet().eval()


def material(photos: list[Photo]) -> Any:
    return SimpleNamespace(photos=photos, crops=crops_of(len(photos)), names=vocabulary())


def test_a_mirrored_photo_gives_boxes_of_the_photo(net: TinyNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "find", disc_finder())
    for mirrored in (False, True):
        found, share, boxes = regions_of(net, Image.fromarray(off_centre()), mirrored)
        assert (found.shape, share.shape, boxes.shape) == ((1, DIM), (1, 1), (1, 4))
        assert box_iou(boxes, (16.0, 24.0, 64.0, 72.0))[0] > 0.6


def off_centre() -> np.ndarray:
    """A red square on the left."""
    picture = np.full((120, 160, 3), 90, np.uint8)
    picture[24:72, 16:64] = (220, 20, 20)
    return picture


def disc_finder() -> Any:
    """Finds what is red."""

    def find(net: Any, images: torch.Tensor, *_: Any) -> Any:
        red = ((images[:, 0] - images[:, 1]) > 0.4).float()
        mask = torch.nn.functional.avg_pool2d(red[:, None], 8)[:, 0]
        y, x = (mask[0] > 0.5).nonzero().float().mean(0)
        point = torch.tensor([[(x + 0.5) / mask.shape[2], (y + 0.5) / mask.shape[1]]])
        return SimpleNamespace(tokens=torch.ones(1, DIM), masks=mask, points=point, scores=torch.ones(1), counts=[1])

    return find


def test_things_and_the_teachers_crops_get_the_region_that_fits(
    net: TinyNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "find", disc_finder())
    far = Photo("coco_cc", "far", jpeg(disc()), (160, 120), [Region((0, 0, 20, 20), "dog")], False)
    dog = Region((0, 0, 160, 120), "dog")
    whole = Photo("caltech", "dog/1.jpg", jpeg(disc()), (160, 120), [dog], False, whole=True)
    unknown = boxed("nothing that has a name")
    named = of_photos(net, material([boxed(), far, whole, unknown]))
    # The cup by its box, no dog in the corner, the dog of the photo that is one; the crops lie on the cup.
    assert sorted(named.labels.tolist()) == [-1, -1, -1, -1, 0, 1]
    assert sorted(named.answers.tolist()) == [-1, -1, 0, 1, 2, 3]
    assert named.tokens.shape == (6, DIM)
    assert named.weights[named.labels >= 0].tolist() == [1.0, 1.0]
    # Of answers all sources count alike, the one photo of Caltech as much as the three others.
    mine = dict(zip(named.answers.tolist(), named.weights.tolist(), strict=True))
    assert mine[2] == pytest.approx(1)
    assert [mine[row] for row in (0, 1, 3)] == pytest.approx([1 / 3] * 3)


def test_frames_of_worlds_give_the_things_in_them(
    net: TinyNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mirrored or not; not the scenery, nothing without a name, and none of the tenth that is measured on."""
    monkeypatch.setattr(tokens, "find", disc_finder())
    numbers = np.zeros((120, 160), np.uint8)
    numbers[24:72, 16:64], numbers[80:, :40] = 1, 2
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for i in range(11):
        Image.fromarray(off_centre()).save(tmp_path / "images" / f"{i:02}.png")
        Image.fromarray(numbers).save(tmp_path / "masks" / f"{i:02}.png")
    (tmp_path / "names.json").write_text(json.dumps({"0": SCENERY, "1": "cup", "2": None}), "utf-8")
    named = of_worlds(net, Folder(tmp_path), vocabulary())
    assert named.labels.tolist() == [vocabulary().find("cup")] * 9
    assert named.answers.tolist() == [-1] * 9
    assert named.weights.tolist() == [1.0] * 9


def test_no_name_has_all_the_photos() -> None:
    most = tokens.MOST_OF_A_NAME["caltech"]
    many = [Photo("caltech", f"{n}/{i}", b"", (9, 9), [Region((0, 0, 9, 9), n)], False, whole=True)
            for n in ("dog", "cup") for i in range(most + 5)]  # fmt: skip
    chosen = [many[i].regions[0].name for i in some_of_each(many, np.random.default_rng(0))]
    assert {n: chosen.count(n) for n in ("dog", "cup")} == dict.fromkeys(("dog", "cup"), most)


@pytest.mark.slow
def test_a_real_network_finds_regions_in_a_photo(net: TinyNet) -> None:
    found, share, boxes = regions_of(net, Image.fromarray(off_centre()), mirrored=False)
    assert share.shape == (len(boxes), len(found))
    np.testing.assert_allclose(share.sum(1), 1, rtol=1e-5)
    assert (boxes >= 0).all()
    assert (boxes <= (160, 120, 160, 120)).all()
