"""Open-vocabulary segmentation: windows, scorers and the class of each pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from encoders import clip_folder, tren_files
from numpy.typing import NDArray

from needs import needs
from vidmem.encoders import load
from vidmem.encoders.clip.gem import Gem
from vidmem.encoders.tren.encoder import Tren, grid_points
from vidmem.encoders.tren.points import _points, point_texts
from vidmem.errors import UsageError
from vidmem.evaluation.ovss import VOC_THRESHOLD, Windows, by_patches, by_points, class_map, score_map
from vidmem.query.parse import UNLABELLED
from vidmem.records import Float32


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def brightness(window: NDArray[np.uint8]) -> Float32:
    """Two classes, dark and bright, on the pixels themselves."""
    bright = window.mean(axis=2, dtype=np.float32) / 255
    return np.stack([1 - bright, bright])


def test_windows_cover_a_side_and_the_last_ends_with_it() -> None:
    windows = Windows(side=384, short=672)
    assert windows.size(1920, 1080) == (1195, 672)
    assert windows.size(1080, 1920) == (672, 1195)
    assert windows.places(672) == [0, 192, 288]
    assert windows.places(1195)[-1] == 1195 - 384
    assert Windows(4, 8, 4).places(8) == [0, 4]
    assert Windows(384).size(1920, 1080) == (384, 384)
    assert Windows(384).places(384) == [0]


@pytest.mark.parametrize(("side", "short", "stride"), [(0, None, None), (8, 4, None), (8, None, 9), (8, None, 0)])
def test_windows_that_leave_gaps_are_refused(side: int, short: int | None, stride: int | None) -> None:
    with pytest.raises(UsageError):
        Windows(side, short, stride)


def test_scores_are_averaged_where_windows_overlap() -> None:
    image = picture(8, 12)
    calls: list[int] = []

    def numbered(window: NDArray[np.uint8]) -> Float32:
        calls.append(len(calls))
        return np.full((1, 2, 2), len(calls), np.float32)

    found = score_map(image, numbered, Windows(8, 8, 2))
    assert found.shape == (1, 8, 12)
    np.testing.assert_allclose(found[0, 3], [1, 1, 1.5, 1.5, 2, 2, 2, 2, 2.5, 2.5, 3, 3], atol=1e-6)
    assert len(calls) == 3


def test_the_best_class_of_each_pixel_in_the_pictures_size() -> None:
    dark = np.zeros((16, 24, 3), np.uint8)
    dark[:, 12:] = 255
    found = class_map(dark, brightness, Windows(16, 16, 8))
    assert found.shape == (16, 24)
    assert found.dtype == np.int32
    assert (found[:, :11] == 0).all()
    assert (found[:, 13:] == 1).all()
    small = class_map(dark, brightness, Windows(16), size=(4, 4))
    np.testing.assert_array_equal(small, np.tile([0, 0, 1, 1], (4, 1)))


def test_background_is_what_no_class_is_sure_of() -> None:
    """Two classes: the share of the better one is 1 / (1 + exp(-d / T)), at .85 for d = 1.735 T."""
    for difference, named in ((1.73, False), (1.74, True)):
        scores = np.array([[[0.2]], [[0.2 + difference * 0.01]]], np.float32)
        found = class_map(picture(4, 4), lambda _, s=scores: s, Windows(4), background=VOC_THRESHOLD)
        assert (found == (1 if named else UNLABELLED)).all()
    warm = class_map(picture(4, 4), lambda _: scores, Windows(4), background=VOC_THRESHOLD, temperature=0.1)
    assert (warm == UNLABELLED).all()


@pytest.fixture(scope="module")
def tren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tren]:
    needs("transformers")
    with pytest.MonkeyPatch.context() as patch:
        import torch

        patch.setattr("vidmem.encoders.device.pick_device", lambda name=None: (torch.device("cpu"), torch.float32))
        made = load("tren", "cpu", tren_files.write(tmp_path_factory.mktemp("weights")))
        assert isinstance(made, Tren)
        yield made


def test_one_point_per_patch_is_what_the_encoder_asks_in_a_frame(tren: Tren) -> None:
    image = picture(64, 96)
    np.testing.assert_allclose(_points(4, 6, 64, 96), grid_points(4, 6).numpy(), atol=1e-7)
    tokens = point_texts(tren, image)
    (regions,) = tren.encode([image], 96, 64)
    assert tokens.shape == (24, tren.region.k, tren.info.text_dim)
    np.testing.assert_allclose(tokens.reshape(-1, tokens.shape[-1]), regions.text, atol=1e-5)


def test_another_grid_of_points(tren: Tren) -> None:
    image = picture(64, 64)
    classes = np.eye(3, tren.info.text_dim, dtype=np.float32)
    assert by_points(tren, classes)(image).shape == (3, 4, 4)
    dense = by_points(tren, classes, (5, 7))(image)
    assert dense.shape == (3, 5, 7)
    mean = point_texts(tren, image, (5, 7)).mean(axis=1)
    wanted = mean[:, 1] / np.linalg.norm(mean, axis=1)
    np.testing.assert_allclose(dense[1].ravel(), wanted, atol=1e-6)
    assert class_map(picture(50, 90), by_points(tren, classes), Windows(32, 48, 16)).shape == (50, 90)


def test_points_that_cannot_be_asked_are_refused(tren: Tren) -> None:
    with pytest.raises(UsageError, match="multiples of 16 pixels; got 64 x 60"):
        point_texts(tren, picture(60, 64))
    with pytest.raises(UsageError, match="both at least 1"):
        point_texts(tren, picture(64, 64), (0, 4))


def test_patches_of_gem_are_a_scorer(tmp_path: Path, tren: Tren) -> None:
    clip_folder.required()
    gem = load(f"gem:local-dir:{clip_folder.write(tmp_path / 'small')}", "cpu")
    assert isinstance(gem, Gem)
    classes = gem.encode_names(["cup", "key"])
    image = picture(48, 48)
    np.testing.assert_allclose(
        by_patches(gem, classes)(image), np.moveaxis(gem.patches([image])[0] @ classes.T, -1, 0), atol=1e-5
    )
    with pytest.raises(UsageError, match="no patches"):
        by_patches(tren, classes)
    with pytest.raises(UsageError, match="points are for `tren`"):
        by_points(gem, classes)
