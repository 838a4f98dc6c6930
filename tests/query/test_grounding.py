"""Things in one picture: which regions count, and the pixels that they have; with recordings of TextRegion's code."""

from __future__ import annotations

from pathlib import Path

import fakes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidmem.encoders.base import Calibration, Reading
from vidmem.errors import UnknownWordError, UsageError
from vidmem.geometry import box_iou
from vidmem.query.grounding import (
    Phrases,
    all_things,
    best_thing,
    cosines,
    held_cells,
    labelled,
    labelled_closed,
    large_parts,
    largest_part,
    mask_box,
    parts,
    passing,
    read_phrases,
)
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


def test_a_score_and_a_share_at_the_threshold_pass() -> None:
    tokens = np.stack([0.5 * AXES[0], 0.49 * AXES[0], (AXES[0] + AXES[3]) / 2, (AXES[0] + AXES[2] + AXES[3]) / 2])
    found = regions(*[(0, 1, i, i + 1) for i in range(4)], tokens=tokens.astype(np.float32))
    assert passing(found, asked(0), CALIBRATION)[:, 0].tolist() == [True, False, True, True]
    rivals = asked(0, against=AXES[[3, 3]])  # two that are as near leave it a third
    assert passing(found, rivals, CALIBRATION)[:, 0].tolist() == [True, False, False, False]
    assert passing(found, asked(0), CALIBRATION, 0.5)[:, 0].tolist() == [True, False, True, True]


def test_the_share_depends_on_the_temperature() -> None:
    token = np.array([[0.6, 0, 0, 0.5]], np.float32)
    found = regions((0, 1, 0, 1), tokens=token)
    for temperature, passes in ((0.1 / np.log(3) - 1e-3, True), (0.1 / np.log(3) + 1e-3, False)):
        calibration = Calibration(0.5, 0.75, 0.5, 0.3, temperature=temperature)
        assert passing(found, asked(0), calibration).tolist() == [[passes]]


def test_each_phrase_has_its_own_contrast() -> None:
    found = regions((0, 1, 0, 1), tokens=np.array([[0.6, 0.6, 0.7, 0]], np.float32))
    phrases = Phrases(AXES[:2], [AXES[2:3], AXES[3:]])
    assert passing(found, phrases, CALIBRATION).tolist() == [[False, True]]


def test_a_token_shorter_than_one_counts_less_and_a_longer_one_not_more() -> None:
    found = regions((0, 1, 0, 1), (0, 1, 1, 2), tokens=np.stack([AXES[0] / 4, AXES[0] * 4]))
    scores = cosines(found, AXES[:2])
    assert (scores.dtype, scores.tolist()) == (np.float32, [[0.25, 0], [1, 0]])


def test_phrases_are_read_and_have_the_contrast_of_a_single_picture() -> None:
    class Reads(fakes.Colours):
        def reading(self, phrase: str) -> Reading:
            return Reading(phrase.removesuffix("ish")) if phrase != "cup" else Reading("", unknown="cup")

        def contrast_for(self, phrase: str, vector: np.ndarray) -> np.ndarray:
            return vector[None] * len(phrase)

    encoder = Reads()
    red, blue = encoder.encode_text(["red", "blue"])
    phrases = read_phrases(encoder, ["redish", "blue"])
    np.testing.assert_array_equal(phrases.vectors, [red, blue])
    np.testing.assert_array_equal(np.concatenate(phrases.contrasts), [3 * red, 4 * blue])
    with pytest.raises(UnknownWordError):
        read_phrases(encoder, ["cup"])
    with pytest.raises(UsageError, match="no colour in 'cup'"):  # taken as it is
        read_phrases(encoder, ["cup"], guess=True)


def test_a_cell_is_held_above_half_of_the_peak() -> None:
    held = held_cells(np.array([[[0.2, 0.4, 0.21, 0]], [[0, 0, 0, 0]]], np.float32))
    assert (held.dtype, held.tolist()) == (bool, [[[False, True, True, False]], [[False] * 4]])
    for shape in ((0, 2, 3), (0, 0, 0)):
        assert held_cells(np.zeros(shape, np.float32)).shape == shape


def test_of_equal_regions_the_first_is_meant() -> None:
    found = regions((0, 1, 0, 1), (3, 4, 5, 6), tokens=AXES[[0, 0]])
    (thing,) = best_thing(found, asked(0), np.ones((2, 1), bool), (4, 6))
    assert thing.box == (0, 0, 1, 1)
    (thing,) = best_thing(found, asked(0), np.array([[False], [True]]), (4, 6))
    assert thing.box == (5, 3, 6, 4)


def test_a_faint_mask_counts_by_its_own_peak() -> None:
    found = regions((0, 2, 0, 2), tokens=AXES[:1])
    found.masks[0] *= 0.2
    found.masks[0, 0, 0] = 0.1  # exactly half is outside
    passed = np.ones((1, 1), bool)
    (thing,) = best_thing(found, asked(0), passed, (4, 6))
    (other,) = all_things(found, asked(0), passed, (4, 6))
    labels = labelled(found, asked(0), passed, (4, 6))
    expected = np.zeros((4, 6), bool)
    expected[:2, :2] = [[False, True], [True, True]]
    for mask in (thing.mask, other.mask, labels == 0):
        np.testing.assert_array_equal(mask, expected)
    assert (thing.mask.dtype, other.mask.dtype, labels.dtype) == (bool, bool, np.int32)


def test_parts_smaller_than_a_quarter_of_a_patch_are_no_things() -> None:
    """In patches of 8 x 8 pixels."""
    found = regions((0, 4, 0, 6), tokens=AXES[:1])
    size = 32, 48
    for pixels, count in ((16, 1), (15, 0)):
        shape = np.zeros(size, np.float32)
        shape[10, 10 : 10 + pixels] = 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vidmem.query.grounding._pixels", lambda mask, size, shape=shape: shape)
            assert len(all_things(found, asked(0), np.ones((1, 1), bool), size)) == count


def test_where_regions_overlap_a_thing_has_the_best_score() -> None:
    found = regions((0, 2, 0, 4), (0, 2, 2, 6), tokens=np.stack([mixed(0.9, 1), mixed(0.7, 1)]))
    for order in ([0, 1], [1, 0]):
        (thing,) = all_things(found.take(np.array(order)), asked(0), np.ones((2, 1), bool), (4, 6))
        assert (thing.score, thing.box) == (pytest.approx(0.9), (0, 0, 6, 2))


def test_of_equal_labels_the_first_region_and_the_first_label_count() -> None:
    found = regions((0, 2, 0, 4), (0, 2, 2, 6), tokens=np.stack([AXES[0], AXES[1]]))
    labels = labelled(found, asked(0, 1), np.eye(2, dtype=bool), (4, 6))
    assert labels[0].tolist() == [0, 0, 0, 0, 1, 1]
    both = regions((0, 2, 0, 4), tokens=((AXES[:1] + AXES[1:2]) / 2))
    assert set(labelled(both, asked(0, 1), np.ones((1, 2), bool), (4, 6))[0].tolist()) == {0, -1}
    low = labelled(both, asked(0, 1), np.array([[False, True]]), (4, 6))
    assert set(low[0].tolist()) == {1, -1}  # a label that did not pass is not given


def test_closed_labels_weigh_masks_that_overlap() -> None:
    found = regions((0, 4, 0, 6), (0, 4, 0, 3), tokens=np.stack([0.5 * AXES[0], 0.8 * AXES[1]]))
    found.masks[1] *= 0.5
    assert labelled_closed(found, asked(0, 1), (4, 6))[0, 0] == 0  # .5 against .4
    found.masks[1] *= 1.3
    assert labelled_closed(found, asked(0, 1), (4, 6))[0, 0] == 1  # against .52
    found.masks[1] = -9  # clamped to 0
    assert labelled_closed(found, asked(1, 0), (4, 6))[0, 0] == 1
    found.masks[:] = [[[9]], [[2]]]  # clamped to 1
    assert labelled_closed(found, asked(0, 1), (4, 6))[0, 0] == 1


def test_the_one_that_is_meant_is_the_best_part_of_the_best_region() -> None:
    found = regions((0, 2, 0, 2), (2, 4, 3, 6), tokens=np.stack([mixed(0.7, 1), mixed(0.9, 1)]))
    found.masks[1, 0, 5] = 1  # a second part, far off
    passed = passing(found, asked(0), CALIBRATION)
    (thing,) = best_thing(found, asked(0), passed, SIZE)
    assert abs(thing.score - 0.9) < 1e-6
    assert thing.mask.shape == SIZE
    assert thing.box == (30, 20, 60, 40)
    assert best_thing(found, asked(0), np.zeros_like(passed), SIZE) == []


def test_all_of_a_mask_counts_where_the_paper_has_it_so() -> None:
    found = regions((0, 2, 0, 2), tokens=AXES[:1])
    found.masks[0, :2, 2:4] = 0.1
    passed = passing(found, asked(0), CALIBRATION)
    (half,), (whole,) = (best_thing(found, asked(0), passed, (4, 6), whole=whole) for whole in (False, True))
    assert (half.box, whole.box) == ((0, 0, 2, 2), (0, 0, 4, 2))


def test_several_things_are_the_parts_of_all_that_pass() -> None:
    places = [(0, 2, 0, 2), (2, 4, 3, 6), (1, 3, 2, 4)]
    found = regions(*places, tokens=np.stack([mixed(0.7, 1), mixed(0.9, 1), AXES[1]]))
    passed = passing(found, asked(0), CALIBRATION)
    things = all_things(found, asked(0), passed, SIZE)
    assert [round(t.score, 3) for t in things] == [0.9, 0.7]
    assert [t.box for t in things] == [(30, 20, 60, 40), (0, 0, 20, 20)]
    assert all_things(found, asked(0), np.zeros_like(passed), SIZE) == []


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
    assert best_thing(found, what, passed, size) == all_things(found, what, passed, size) == []
    assert (labelled(found, what, passed, size) == -1).all()
    closed = labelled_closed(found, what, size)
    assert (closed == -1).all()
    assert (closed.shape, closed.dtype) == (size, np.int32)


def test_a_region_of_nothing_is_no_thing() -> None:
    found = regions((0, 0, 0, 0), tokens=AXES[:1])
    passed = passing(found, asked(0), CALIBRATION)
    assert passed.all()
    assert best_thing(found, asked(0), passed, SIZE) == all_things(found, asked(0), passed, SIZE) == []


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    path = Path(__file__).parents[1] / "golden" / "textregion" / "textregion_golden.npz"
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file if name.startswith(("ref_", "reason_"))}


@pytest.mark.golden
def test_closed_labels_are_as_recorded(golden: dict[str, NDArray[np.float32]]) -> None:
    """Where a region holds the pixel; beside them the authors' code lets a background label take part."""
    masks, logits, wanted = golden["reason_masks"], golden["reason_logits"], golden["reason_pred"]
    m, classes = logits.shape
    found = RegionTokens(
        logits, logits, masks, np.zeros((m, 2), np.float32), np.zeros((m, 4), np.float32), np.zeros(m, np.float32)
    )
    phrases = Phrases(np.eye(classes, dtype=np.float32), [])
    assert np.linalg.norm(logits, axis=1).max() < 1  # so that scores are the logits
    labels = labelled_closed(found, phrases, (wanted.shape[0], wanted.shape[1]))
    inside = wanted > 0
    assert inside.any()
    np.testing.assert_array_equal(labels[inside], wanted[inside])


@pytest.mark.golden
def test_the_thing_that_is_meant_is_as_recorded(golden: dict[str, NDArray[np.float32]]) -> None:
    mask = golden["ref_mask"].astype(np.float32)
    masks, tokens = np.stack([1 - mask, mask]), np.array([[0.1], [0.9]], np.float32)
    found = RegionTokens(
        tokens, tokens, masks, np.zeros((2, 2), np.float32), np.zeros((2, 4), np.float32), np.zeros(2, np.float32)
    )
    phrases = Phrases(np.ones((1, 1), np.float32), [])
    (thing,) = best_thing(found, phrases, np.ones((2, 1), bool), (60, 80), whole=True)
    assert thing.score == pytest.approx(0.9)
    np.testing.assert_array_equal(thing.mask, golden["ref_clean"])
    assert thing.box == tuple(golden["ref_box_xyxy"] + np.array([0, 0, 1, 1]))  # recorded with the last pixel inside
    x, y, w, h = golden["ref_props_xywh"].T
    boxes = np.stack([x, y, x + w, y + h], axis=1).astype(np.float32)
    # Their IoU, of a box that ends a pixel early.
    early = (thing.box[0], thing.box[1], thing.box[2] - 1, thing.box[3] - 1)
    np.testing.assert_allclose(box_iou(boxes, early), golden["ref_ious"], atol=1e-6)


@pytest.mark.golden
def test_without_small_parts_a_mask_is_as_recorded(golden: dict[str, NDArray[np.float32]]) -> None:
    mask = golden["ref_mask"] > 0
    large = list(large_parts(mask, 100))
    np.testing.assert_array_equal(np.any(large, axis=0), golden["ref_clean_min100"])
    assert mask.sum() > golden["ref_clean_min100"].sum()  # something was left out


def test_parts_of_exactly_the_least_size_stay_in_reading_order() -> None:
    mask = np.array([[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0]], bool)
    assert [part.sum() for part in large_parts(mask, 2)] == [2, 3]
    assert [part.sum() for part in large_parts(mask, 2.5)] == [3]
    assert list(large_parts(np.zeros((2, 2), bool), 1)) == []


def test_an_empty_mask_has_no_part_and_no_box() -> None:
    assert not largest_part(np.zeros((3, 3), bool)).any()
    assert mask_box(np.zeros((3, 3), bool)) is None


def test_of_equal_parts_the_upper_one_is_taken() -> None:
    mask = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], bool)
    assert largest_part(mask).tolist() == [[False, False, True], [False] * 3, [False] * 3]


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_parts_are_those_of_a_flood(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((9, 11)) < share
    labels = parts(mask)
    assert ((labels >= 0) == mask).all()
    for y, x in np.argwhere(mask):
        around = labels[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        assert set(around[around >= 0].tolist()) == {labels[y, x]}
    for number in range(labels.max() + 1 if mask.any() else 0):
        todo = [tuple(np.argwhere(labels == number)[0])]
        seen = set(todo)
        while todo:
            y, x = todo.pop()
            near = [(a, b) for a in range(y - 1, y + 2) for b in range(x - 1, x + 2)]
            new = {p for p in near if 0 <= p[0] < 9 and 0 <= p[1] < 11 and mask[p]} - seen
            seen |= new
            todo += new
        assert len(seen) == (labels == number).sum()
