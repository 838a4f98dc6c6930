"""Naming pixels, against recordings of the authors' code and by hand."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vidmem.query.parse import UNLABELLED, best_class, class_scores, dense_scores, hard_labels, soft_votes

GOLDEN = Path(__file__).parents[1] / "golden" / "tren"


def load(name: str) -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.golden
@pytest.mark.parametrize("frame", range(3))
def test_scene_parsing_equals_the_authors(frame: int) -> None:
    golden = load("scene_parsing")
    tracks = class_scores(golden["track_text"], golden["text_embeddings"])
    members = golden["members"][golden["members"][:, 1] == frame]
    masks = golden[f"f{frame}_masks"]
    owner = np.empty(len(masks), np.int64)
    owner[members[:, 2]] = members[:, 0]
    assert (masks.sum(axis=0) == 0).any()
    votes = soft_votes(masks, tracks[owner], tracks.mean(axis=0))
    wanted = golden["predictions"][frame]
    np.testing.assert_array_equal(best_class(votes, *wanted.shape), wanted)
    # Of the frame's own tracks alone, places without a region would be named otherwise.
    other = best_class(soft_votes(masks, tracks[owner], np.zeros(6, np.float32)), *wanted.shape)
    assert (other != wanted).any()


@pytest.mark.golden
def test_dense_prediction_equals_the_authors() -> None:
    golden = load("ovss")
    classes = golden["text_embeddings"]
    wanted = golden["predictions"][0]
    labels = best_class(dense_scores(golden["tokens"][0], classes, (8, 8)), *wanted.shape)
    np.testing.assert_array_equal(labels, wanted)
    wanted = golden["merged_predictions"][0]
    votes = soft_votes(golden["merged_masks"], class_scores(golden["merged_tokens"], classes))
    np.testing.assert_array_equal(best_class(votes, *wanted.shape), wanted)


def test_scores_are_cosines_of_any_norm() -> None:
    tokens, classes = np.array([[3, 4], [0, 0]], np.float32), np.array([[2, 0], [0, 5], [-1, 0]], np.float32)
    found = class_scores(tokens, classes)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.6, 0.8, -0.6], [0, 0, 0]], atol=1e-6)


def test_points_are_row_by_row_and_have_the_mean_of_their_tokens() -> None:
    tokens = np.zeros((6, 2, 2), np.float32)
    tokens[:, :, 1] = 1
    tokens[1, 0], tokens[1, 1] = (1, 0), (1, 0)  # row 0, column 1
    tokens[5, 0] = (1, 0)  # row 1, column 2, one of two
    found = dense_scores(tokens, np.eye(2, dtype=np.float32), (2, 3))
    assert (found.shape, found.dtype) == ((2, 2, 3), np.float32)
    half = 0.5**0.5
    np.testing.assert_allclose(found, [[[0, 1, 0], [0, 0, half]], [[1, 0, 1], [1, 1, half]]], atol=1e-6)


def test_votes_are_means_weighted_by_masks() -> None:
    masks = np.array([[[0.2, 0, 1]], [[0.6, 0, 0]]], np.float32)
    scores = np.array([[1, 0.5], [0, 0.1]], np.float32)
    votes = soft_votes(masks, scores, np.array([0.7, 0.8], np.float32))
    np.testing.assert_allclose(votes, [[[0.25, 0.7, 1]], [[0.2, 0.8, 0.5]]], rtol=1e-6)
    np.testing.assert_allclose(soft_votes(masks, scores)[:, 0, 1], [0.5, 0.3], rtol=1e-6)
    assert soft_votes(masks, scores).dtype == soft_votes(masks[:0], scores[:0]).dtype == np.float32
    assert soft_votes(masks[:0], scores[:0]).tolist() == [[[0, 0, 0]], [[0, 0, 0]]]


def test_hard_labels_are_of_the_strongest_region() -> None:
    masks = np.array([[[0.9, 0.3, 0, 0]], [[0.5, 0.4, 0, 0]]], np.float32)
    scores = np.array([[0, 0.2, 0.1], [0.9, 0, 0]], np.float32)
    assert hard_labels(masks, scores, 1, 4).tolist() == [[1, 0, UNLABELLED, UNLABELLED]]
    assert hard_labels(masks[[1, 0]], scores, 1, 4).tolist() == [[0, 1, UNLABELLED, UNLABELLED]]
    assert hard_labels(masks, scores, 1, 4).dtype == best_class(masks, 1, 4).dtype == np.int32
    assert hard_labels(masks[:0], scores[:0], 2, 2).dtype == np.int32
    equal = np.full((2, 1, 1), 0.5, np.float32)
    assert hard_labels(equal, scores, 1, 1).item() == 1  # of the first
    assert hard_labels(masks[:0], scores[:0], 2, 2).tolist() == [[UNLABELLED] * 2] * 2


def test_hard_and_soft_differ_where_a_strong_minority_votes() -> None:
    masks = np.array([[[0.5]], [[0.4]], [[0.4]]], np.float32)
    scores = np.array([[0.3, 0.2], [0.1, 0.9], [0.1, 0.9]], np.float32)
    assert hard_labels(masks, scores, 1, 1).item() == 0
    assert best_class(soft_votes(masks, scores), 1, 1).item() == 1


def test_the_first_of_equal_classes_wins() -> None:
    votes = np.stack([np.full((3, 3), value, np.float32) for value in (0.1, 0.7, 0.7)])
    assert (best_class(votes, 7, 5) == 1).all()


def test_stretching_equals_torch() -> None:
    import torch

    votes = np.random.default_rng(1).standard_normal((9, 5, 7)).astype(np.float32)
    for size in ((31, 44), (5, 7), (3, 2)):
        wide = torch.nn.functional.interpolate(torch.from_numpy(votes)[None], size, mode="bilinear")[0]
        np.testing.assert_array_equal(best_class(votes, *size), wide.argmax(0).numpy())


def test_memory_does_not_grow_with_the_classes() -> None:
    votes = np.random.default_rng(2).standard_normal((200, 8, 8)).astype(np.float32)
    tracemalloc.start()
    try:
        best_class(votes, 256, 256)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 256 * 256 * 4


def test_points_that_are_no_grid_fail() -> None:
    with pytest.raises(ValueError, match="12 points are not a grid of 3 x 3"):
        dense_scores(np.zeros((12, 3, 4), np.float32), np.ones((2, 4), np.float32), (3, 3))
    with pytest.raises(ValueError, match="no class to choose from"):
        best_class(np.empty((0, 2, 2), np.float32), 4, 4)
