"""Pictures of tracks that are kept for a moment."""

from __future__ import annotations

import numpy as np

from vidmem.indexer.crops import MOST, PIXELS, Crops
from vidmem.records import Frame, View

BOXES = np.array([[0, 0, 100, 50], [100, 50, 200, 100]], np.float32)


def frame(t_ns: int, grey: int = 90) -> Frame:
    image = np.full((100, 200, 3), grey, np.uint8)
    image[50:, 100:] = 200
    return Frame(image, t_ns, 0)


def test_only_what_looks_best_is_cut_and_the_newest_is_kept() -> None:
    crops = Crops()
    ordinals = np.array([4, -1], np.int64)
    crops.cut(frame(1), ordinals, BOXES, (200, 100), {4, 9})
    crops.cut(frame(2, 30), ordinals, BOXES, (200, 100), {4})
    crops.cut(frame(3), ordinals, BOXES, (200, 100), set())
    (crop,) = crops.take()
    assert (crop.ordinal, crop.t_ns, crop.box) == (4, 2, (0.0, 0.0, 100.0, 50.0))
    assert crop.image.shape == (55, 110, 3)  # a tenth more on the two sides that are not the border
    assert (crop.image[:50, :100] == 30).all()
    assert crops.take() == []


def test_a_picture_is_a_copy_and_bounded() -> None:
    crops = Crops()
    big = Frame(np.zeros((1000, 2000, 3), np.uint8), 1, 0)
    crops.cut(big, np.array([0], np.int64), np.array([[0, 0, 2000, 1000]], np.float32), (2000, 1000), {0})
    small = frame(2)
    crops.cut(small, np.array([1, 2], np.int64), BOXES, (200, 100), {1, 2})
    small.image[:] = 0
    first, *others = crops.take()
    assert max(first.image.shape) == PIXELS
    assert others[1].image.max() == 200


def test_the_oldest_give_way() -> None:
    crops = Crops()
    image = np.zeros((4, 4, 3), np.uint8)
    for i in range(MOST + 10):
        crops.add_view(i, View(image, (0, 0, 4, 4), (4, 4), i, np.zeros(0, np.float32), 1.0, 1.0))
    assert [crop.ordinal for crop in crops.take()] == list(range(10, MOST + 10))
