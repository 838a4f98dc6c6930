"""T-REN's own search, against recordings of the authors' code and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vidmem.query.paper import crop_region, select, similarity, window

GOLDEN = Path(__file__).parents[1] / "golden" / "tren"


def load(name: str) -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.golden
@pytest.mark.parametrize("number", range(4))
def test_search_equals_the_authors(number: int) -> None:
    tracks, search = load("tracks"), load("query_search")
    q = {
        name: search[f"q{number}_{name}"]
        for name in ("visual", "text", "similarity", "selected_tracks", "selected_frames", "window")
    }
    scores = similarity(tracks["track_tokens"], tracks["track_text"], q["visual"][0], q["text"][0])
    np.testing.assert_allclose(scores, q["similarity"], atol=1e-6)
    selected = select(scores, float(search["threshold"]))
    # They list what passes; where nothing does, the frames and the window are those of the best track.
    assert selected.tolist() == (q["selected_tracks"].tolist() or [int(q["similarity"].argmax())])
    members = tracks["members_track_frame_region"]
    frames = [members[members[:, 0] == track, 1] for track in selected]
    assert sorted(set(np.concatenate(frames).tolist())) == q["selected_frames"].tolist()
    assert window(frames) == tuple(q["window"].tolist())


def test_selection_is_what_passes_else_the_best() -> None:
    scores = np.array([0.1, 0.18, 0.5, 0.17999], np.float32)
    assert select(scores).tolist() == [1, 2]
    assert select(scores, 0.6).tolist() == [2]
    assert select(np.array([0.1, 0.1], np.float32)).tolist() == [0]
    assert select(np.empty(0, np.float32)).tolist() == []


def test_similarity_is_the_product_of_two_cosines_of_any_norm() -> None:
    visual, text = (
        np.array([[0.03, 0.04], [0, 0], [-2, 0]], np.float32),
        np.array([[5, 0], [1, 0], [-1, 1]], np.float32),
    )
    found = similarity(visual, text, np.array([2, 0], np.float32), np.array([7, 7], np.float32))
    half = 0.5**0.5
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0.6 * half, 0, 0], atol=1e-6)
    found = similarity(visual, text, np.array([2, 0], np.float32), np.array([-3, 0], np.float32))
    np.testing.assert_allclose(found, [-0.6, 0, -half], atol=1e-6)


def test_window_is_the_last_run_of_the_union() -> None:
    seen = [np.array(frames) for frames in ([0, 1, 5, 6], [3, 7, 8], [6])]
    assert window(seen) == (5, 8)
    assert window([np.array([4])]) == (4, 4)
    assert window([np.array([9, 2, 3])]) == (9, 9)
    assert window([]) is None
    assert window([np.empty(0, np.int64)]) is None


@pytest.mark.golden
def test_crop_equals_the_authors() -> None:
    golden = load("crop_region")
    height, width = golden["frame_resolution"].tolist()
    found = [
        crop_region(golden["masks"], (x, y, x + w, y + h), width, height)
        for x, y, w, h in golden["boxes_xywh"].tolist()
    ]
    assert found == golden["best_index"].tolist()


def test_crop_goes_by_four_fifths_of_a_faint_maximum() -> None:
    masks = np.zeros((2, 4, 4), np.float32)
    masks[0, :2, :2], masks[1] = 0.3, 0.2
    masks[1, 2:, 2:] = 0.3
    assert crop_region(masks, (0, 0, 16, 16), 32, 32) == 0
    assert crop_region(masks, (16, 16, 32, 32), 32, 32) == 1


def test_a_box_ends_at_the_last_pixel_above_the_limit() -> None:
    """Masks of pixels, so that nothing is stretched; the limit is .6 for a mask that is 1 somewhere."""
    masks = np.zeros((4, 8, 8), np.float32)
    masks[0, 1:4, 2:6], masks[1, 1:5, 2:6], masks[2, 1:4, 2:7] = 1, 1, 1
    masks[3, 1:4, 2:6] = 1
    masks[3, 4, 2:6], masks[3, 5, 2:6] = 0.61, 0.6
    assert [crop_region(masks[:3], box, 8, 8) for box in ((2, 1, 5, 3), (2, 1, 5, 4), (2, 1, 6, 3))] == [0, 1, 2]
    later = masks[[0, 0, 0]].copy()
    later[1, 1], later[2, :, 2] = 0, 0
    assert [crop_region(later, box, 8, 8) for box in ((2, 1, 5, 3), (2, 2, 5, 3), (3, 1, 5, 3))] == [0, 1, 2]
    assert crop_region(masks[[0, 3]], (2, 1, 5, 4), 8, 8) == 1
    assert crop_region(masks[[0, 3]], (2, 1, 5, 5), 8, 8) == 1
    assert crop_region(masks[[1, 3]], (2, 1, 5, 5), 8, 8) == 0  # they have the same box: the row of .6 is not in it
    assert crop_region(masks[[3, 3]], (2, 1, 5, 5), 8, 8) == 0
    faint = 0.5 * masks[:2]
    faint[0, 4, 2:6], faint[1, 4, 2:6] = 0.39, 0.41  # against .8 of .5
    assert crop_region(faint, (2, 1, 5, 4), 8, 8) == 1
    empty = np.concatenate([np.zeros((1, 8, 8), np.float32), masks[:1]])
    assert crop_region(empty, (0, 0, 5, 3), 8, 8) == 1


def test_crop_of_nothing_fails() -> None:
    with pytest.raises(ValueError, match="no region to choose from"):
        crop_region(np.empty((0, 4, 4), np.float32), (0, 0, 1, 1), 8, 8)
