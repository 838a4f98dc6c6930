"""Things in one picture: which regions count, and the pixels that they have."""

from __future__ import annotations

import numpy as np

from vidmem.encoders.base import Calibration
from vidmem.query.grounding import Phrases, labelled, labelled_closed, one, passing, several
from vidmem.records import RegionTokens

CALIBRATION = Calibration(text_threshold=0.5, contrast_probability=0.5, visual_threshold=0.5, product_threshold=0.3)
AXES = np.eye(4, dtype=np.float32)
SIZE = (40, 60)


def regions(*places: tuple[int, int, int, int], tokens: np.ndarray) -> RegionTokens:
    """Rows y0:y1 and columns x0:x1 of a 4 x 6 grid."""
    masks = np.zeros((len(places), 4, 6), np.float32)
    for mask, (y0, y1, x0, x1) in zip(masks, places, strict=True):
        mask[y0:y1, x0:x1] = 1
    m = len(places)
    return RegionTokens(
        tokens, tokens, masks, np.zeros((m, 2), np.float32), np.zeros((m, 4), np.float32), np.zeros(m, np.float32)
    )


def asked(*rows: int, against: np.ndarray = AXES[3:]) -> Phrases:
    return Phrases(AXES[list(rows)], [against] * len(rows))


def mixed(a: float, rest: int) -> np.ndarray:
    return np.array([a * AXES[0] + (1 - a * a) ** 0.5 * AXES[rest]], np.float32)[0]


def test_a_region_must_be_more_like_the_phrase_than_like_its_contrast() -> None:
    tokens = np.stack([mixed(0.6, 1), mixed(0.6, 3), mixed(0.9, 3), mixed(0.4, 1)])
    found = regions(*[(0, 1, i, i + 1) for i in range(4)], tokens=tokens)
    assert passing(found, asked(0), CALIBRATION)[:, 0].tolist() == [True, False, True, False]
    assert passing(found, asked(0), CALIBRATION, 0.39)[:, 0].tolist() == [True] * 4
    assert passing(found, asked(0), CALIBRATION, 0.95)[:, 0].tolist() == [False] * 4
    alone = asked(0, against=AXES[:0])  # nothing speaks against it
    assert passing(found, alone, CALIBRATION)[:, 0].tolist() == [True, True, True, False]


def test_the_one_that_is_meant_is_the_best_part_of_the_best_region() -> None:
    found = regions((0, 2, 0, 2), (2, 4, 3, 6), tokens=np.stack([mixed(0.7, 1), mixed(0.9, 1)]))
    found.masks[1, 0, 5] = 1  # a second part, far off
    passed = passing(found, asked(0), CALIBRATION)
    (thing,) = one(found, asked(0), passed, SIZE)
    assert abs(thing.score - 0.9) < 1e-6
    assert thing.mask.shape == SIZE
    assert thing.box == (30, 20, 60, 40)
    assert one(found, asked(0), np.zeros_like(passed), SIZE) == []


def test_all_of_a_mask_counts_where_the_paper_has_it_so() -> None:
    found = regions((0, 2, 0, 2), tokens=AXES[:1])
    found.masks[0, :2, 2:4] = 0.1
    passed = passing(found, asked(0), CALIBRATION)
    (half,), (whole,) = (one(found, asked(0), passed, (4, 6), whole=whole) for whole in (False, True))
    assert (half.box, whole.box) == ((0, 0, 2, 2), (0, 0, 4, 2))


def test_several_things_are_the_parts_of_all_that_pass() -> None:
    places = [(0, 2, 0, 2), (2, 4, 3, 6), (1, 3, 2, 4)]
    found = regions(*places, tokens=np.stack([mixed(0.7, 1), mixed(0.9, 1), AXES[1]]))
    passed = passing(found, asked(0), CALIBRATION)
    things = several(found, asked(0), passed, SIZE)
    assert [round(t.score, 3) for t in things] == [0.9, 0.7]
    assert [t.box for t in things] == [(30, 20, 60, 40), (0, 0, 20, 20)]
    assert several(found, asked(0), np.zeros_like(passed), SIZE) == []


def test_labels_are_those_of_regions_that_pass() -> None:
    found = regions((0, 4, 0, 6), (0, 2, 0, 2), (2, 4, 4, 6), tokens=np.stack([mixed(0.6, 2), AXES[1], AXES[2]]))
    what = asked(0, 1)
    labels = labelled(found, what, passing(found, what, CALIBRATION), SIZE)
    assert (labels[:17, :17] == 1).all()  # the better one is on top; corners are round
    assert (labels[25:, 45:] == 0).all()  # what is like neither does not hide the one below
    nothing = labelled(found, what, np.zeros((3, 2), bool), SIZE)
    assert (nothing == -1).all()


def test_closed_every_region_has_a_label() -> None:
    found = regions((0, 2, 0, 2), (2, 4, 4, 6), tokens=np.stack([mixed(0.1, 3), mixed(-0.1, 3)]))
    labels = labelled_closed(found, asked(0, 1), SIZE)
    assert set(np.unique(labels).tolist()) == {-1, 0, 1}
    assert labels[0, 0] == 0  # .1 is more than 0
    assert labels[39, 59] == 1  # and 0 more than -.1
    assert labels[20, 30] == -1  # no region is there


def test_without_regions_nothing_is_found() -> None:
    found = regions(tokens=np.zeros((0, 4), np.float32))
    what, size = asked(0), SIZE
    passed = passing(found, what, CALIBRATION)
    assert passed.shape == (0, 1)
    assert one(found, what, passed, size) == several(found, what, passed, size) == []
    assert (labelled(found, what, passed, size) == -1).all()
    assert (labelled_closed(found, what, size) == -1).all()


def test_a_region_of_nothing_is_no_thing() -> None:
    found = regions((0, 0, 0, 0), tokens=AXES[:1])
    passed = passing(found, asked(0), CALIBRATION)
    assert passed.all()
    assert one(found, asked(0), passed, SIZE) == several(found, asked(0), passed, SIZE) == []
