"""Regions from the detector: places and boxes against hand-made grids, and the networks that ship, end to end."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vidmem.encoders.tiny import detector as module
from vidmem.encoders.tiny.detector import (
    Detector,
    anchor_points,
    best_points,
    decode,
    points_inside,
    suppress,
    working_size,
)
from vidmem.errors import ModelError, UsageError
from vidmem.geometry import box_iou

WEIGHTS = Path(module.__file__).parents[1] / "weights"
FILES = WEIGHTS / "tiny-detector.onnx", WEIGHTS / "tiny-look.onnx"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(*(path.read_bytes() for path in FILES))


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Bright things before a dull wall."""
    rng = np.random.default_rng(seed)
    canvas = Image.new("RGB", (width, height), (120, 116, 108))
    draw = ImageDraw.Draw(canvas)
    for _ in range(3):
        x, y = rng.uniform(0, 0.7, 2) * (width, height)
        side = 0.28 * min(width, height)
        colour = tuple(int(v) for v in rng.integers(0, 255, 3))
        draw.ellipse((x, y, x + side, y + side), fill=colour, outline=(20, 20, 20), width=2)
    return np.asarray(canvas)


def test_centres() -> None:
    places = anchor_points(64, 96)
    assert places.shape == (8 * 12 + 4 * 6 + 2 * 3, 3)
    assert places[0].tolist() == [4, 4, 8]
    assert places[13].tolist() == [12, 12, 8]  # the second of the second row
    assert places[96].tolist() == [8, 8, 16]
    assert places[-1].tolist() == [80, 48, 32]


def test_decode_is_the_expectation_of_the_bins() -> None:
    bins = np.full((2, 4, 11), -40, np.float32)
    for side, far in enumerate((2, 3, 4, 5)):
        bins[0, side, far] = 40
    bins[1, :, 0] = bins[1, :, 1] = 40  # half and half
    places = np.array([[100, 80, 16], [4, 4, 8]], np.float32)
    boxes = decode(bins.reshape(2, 44), places, (160, 150))
    assert np.allclose(boxes[0], [100 - 32, 80 - 48, 150, 80 + 80])  # the right edge is cut at the picture's
    assert np.allclose(boxes[1], [0, 0, 8, 8])


def test_candidates_are_the_best_in_order() -> None:
    scores = np.array([0.5, 0.01, 0.9, 0.5, 0.3], np.float32)
    assert best_points(scores, 0.3, 3).tolist() == [2, 0, 3]
    assert best_points(scores, 0.95, 3).tolist() == []


def test_suppress_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30], [0, 0, 10, 5], [21, 20, 31, 30]], np.float32)
    assert suppress(boxes, 0.6, 10).tolist() == [0, 2, 3]
    assert suppress(boxes, 0.6, 2).tolist() == [0, 2]
    assert suppress(boxes[:0], 0.6, 2).tolist() == []


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_suppress_keeps_the_first_of_what_overlaps(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([start, start + rng.uniform(1, 40, (count, 2))], 1).astype(np.float32)
    kept = suppress(boxes, 0.5, count).tolist()
    iou = box_iou(boxes[:, None], boxes[None])
    for i in range(count):
        over = [k for k in kept if k < i and iou[k, i] > 0.5 + 1e-6]
        under = [k for k in kept if k < i and iou[k, i] > 0.5 - 1e-6]
        assert not over if i in kept else under


@pytest.mark.parametrize("size", [(1280, 720), (640, 480), (1, 1), (3, 5), (17, 4000), (4000, 17), (720, 1280)])
def test_working_size(size: tuple[int, int]) -> None:
    w, h = working_size(*size)
    assert w % 32 == 0
    assert h % 32 == 0
    assert min(w, h) >= 32
    assert w * h <= 1.2 * module.PIXELS
    if max(size) < 3 * min(size):
        assert abs(np.log(w / h * size[1] / size[0])) < 0.12


def test_points_lie_in_the_masks() -> None:
    masks = np.zeros((2, 4, 4), np.float32)
    masks[0, 1, 1] = masks[1, 3, 0] = 1
    points = points_inside(masks, np.array([[0, 0, 24, 24], [0, 0, 32, 32]], np.float32))
    assert points.tolist() == [[12, 12], [4, 28]]


@pytest.mark.parametrize("size", [(640, 480), (37, 91), (5, 3)])
def test_regions(detector: Detector, size: tuple[int, int]) -> None:
    width, height = size
    w, h = working_size(width, height)
    image = np.asarray(Image.fromarray(picture(640, 480)).resize((w, h)))
    (found,) = detector.regions([image], width, height)
    m = len(found)
    assert 0 < m <= module.MAX_REGIONS
    assert found.visual.shape == (m, 128)
    assert found.text.shape == (m, 80)
    assert found.masks.shape == (m, h // 8, w // 8)
    assert all(getattr(found, name).dtype == np.float32 for name in found.__slots__)
    assert np.allclose(np.linalg.norm(found.visual, axis=1), 1, atol=1e-5)
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= np.array([width, height]) * (1 + 1e-6)).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (found.masks.max((1, 2)) > 0.5).all()
    assert found.masks.max() <= 1
    assert found.masks.min() >= 0
    assert (found.area > 0).all()
    assert ((found.confidence > 0) & (found.confidence < 1)).all()
    x, y = (found.points / (width, height) * (w // 8, h // 8)).astype(int).T
    assert (found.masks[np.arange(m), y, x] > 0.5).all()


def test_a_thing_is_found_with_its_mask(detector: Detector) -> None:
    canvas = Image.new("RGB", (512, 352), (190, 180, 165))
    ImageDraw.Draw(canvas).ellipse((150, 80, 330, 260), fill=(230, 110, 20), outline=(120, 50, 10), width=4)
    (found,) = detector.regions([np.asarray(canvas)], 512, 352)
    iou = box_iou(found.boxes, (150.0, 80.0, 331.0, 261.0))
    best = int(iou.argmax())
    assert iou[best] > 0.8
    y, x = np.mgrid[:44, :64] * 8 + 4
    true = (x - 240) ** 2 + (y - 170) ** 2 < 90**2
    mask = found.masks[best] > 0.5
    assert (mask & true).sum() / (mask | true).sum() > 0.8


def test_batch_equals_single(detector: Detector) -> None:
    images = [picture(512, 352, seed) for seed in range(3)]
    together = detector.regions(images, 1024, 704)
    for image, one in zip(images, together, strict=True):
        (alone,) = detector.regions([image], 1024, 704)
        for name in one.__slots__:
            assert np.array_equal(getattr(one, name), getattr(alone, name)), name


def test_empty_frames(detector: Detector) -> None:
    for grey in (0, 128, 255):
        (found,) = detector.regions([np.full((320, 544, 3), grey, np.uint8)], 1280, 720)
        assert len(found) == 0 or found.confidence.max() < 0.3
    assert detector.regions([], 10, 10) == []


def test_nothing_above_the_floor(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_SCORE", 2.0)
    (found,) = detector.regions([picture(512, 352)], 512, 352)
    assert len(found) == 0
    assert found.visual.shape == (0, 128)
    assert found.masks.shape == (0, 44, 64)
    assert found.points.shape == (0, 2)


def test_odd_working_pictures_are_refused(detector: Detector) -> None:
    with pytest.raises(ValueError, match="multiples of 32, not 100 x 64"):
        detector.regions([np.zeros((64, 100, 3), np.uint8)], 100, 64)


def test_corrupt_and_foreign_files() -> None:
    whole = [path.read_bytes() for path in FILES]
    sums = tuple(hashlib.sha256(data).hexdigest() for data in whole)
    assert len(sums) == 2
    Detector(*whole, sha256=sums)
    cut = whole[0][: len(whole[0]) // 2]
    flipped = whole[0][:-200] + bytes([whole[0][-200] ^ 1]) + whole[0][-199:]
    for damaged in (cut, flipped, b""):
        with pytest.raises(ModelError, match="sha256") as caught:
            Detector(damaged, whole[1], sha256=sums)
        assert "\n" not in str(caught.value)
    for damaged, why in ((cut, "damaged"), (b"no model", "damaged"), (whole[1], "another network")):
        with pytest.raises(ModelError, match=why) as caught:
            Detector(damaged, whole[1])
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="another network"):
        Detector(whole[0], whole[0])


def test_a_provider_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"ONNX Runtime has no CUDAExecutionProvider.*try cpu"):
        Detector(*(path.read_bytes() for path in FILES), device="cuda")
