"""Prompts for a mask refiner, against recordings and by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidmem.export.refine import PASSES, POINTS, SIDE, prompt_logits, prompt_points, refine

GOLDEN = Path(__file__).parents[1] / "golden" / "text4seg"


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[Any]]:
    with np.load(GOLDEN / "t4s_golden.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.golden
def test_logits_of_cells_equal_the_authors(golden: dict[str, NDArray[Any]]) -> None:
    cells = json.loads((GOLDEN / "t4s_golden.json").read_text("utf-8"))["cases"][0]["small"]
    np.testing.assert_allclose(prompt_logits(np.array(cells, bool)), golden["sam_logits_16"][0], atol=2e-5)


@pytest.mark.golden
def test_logits_of_a_picture_equal_the_authors(golden: dict[str, NDArray[Any]]) -> None:
    """The longer side is 256, the rest undecided. The recordings are in half precision, with steps of .004 there."""
    mask = np.unpackbits(golden["mask_upsample"])[: 300 * 420].reshape(300, 420).astype(bool)
    ours, theirs = prompt_logits(mask), golden["sam_logits_nonsquare"][0].astype(np.float32)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert (ours[183:] == 0).all()
    assert len(np.unique(ours.round(2))) > 2  # an 8-bit picture in between would wrap them


@pytest.mark.golden
def test_points_lie_as_the_authors_do(golden: dict[str, NDArray[Any]]) -> None:
    mask = np.unpackbits(golden["mask_upsample"])[: 300 * 420].reshape(300, 420).astype(bool)
    points, labels = prompt_points(mask, np.random.default_rng(0))
    assert labels.tolist() == golden["sam_point_labels"].tolist()
    for xy in (points.astype(int), golden["sam_points"].astype(int)):
        assert mask[xy[:, 1], xy[:, 0]].tolist() == labels.astype(bool).tolist()


def test_points_of_small_and_full_masks() -> None:
    rng = np.random.default_rng(0)
    small = np.zeros((4, 4), bool)
    small[1, 2] = True
    points, labels = prompt_points(small, rng)
    assert points[0].tolist() == [2, 1]
    assert labels.tolist() == [1] + [0] * POINTS
    assert prompt_points(np.ones((4, 4), bool), rng)[1].tolist() == [1] * POINTS


class Fake:
    """A predictor that returns three masks, the second with the best score."""

    def __init__(self) -> None:
        self.prompts: list[NDArray[np.float32]] = []

    def predict(self, point_coords: Any, point_labels: Any, mask_input: Any, multimask_output: bool) -> Any:
        assert len(point_coords) == len(point_labels) == 2 * POINTS
        assert mask_input.shape == (1, SIDE, SIDE)
        self.prompts.append(mask_input)
        masks = np.zeros((3, 30, 40), np.float32)
        masks[1, :5] = 1
        return masks, np.array([0.1, 0.9, 0.5]), np.stack([np.full((SIDE, SIDE), v, np.float32) for v in (1, 2, 3)])


def test_later_passes_take_the_logits_of_the_best() -> None:
    mask = np.zeros((30, 40), bool)
    mask[:8] = True
    predictor = Fake()
    refined = refine(predictor, mask)
    assert refined.dtype == bool
    assert refined.sum() == 5 * 40
    assert len(predictor.prompts) == PASSES
    np.testing.assert_array_equal(predictor.prompts[0][0], prompt_logits(mask))
    assert (predictor.prompts[1] == 2).all()
    assert (predictor.prompts[2] == 2).all()


def test_an_empty_mask_stays_empty() -> None:
    predictor = Fake()
    assert not refine(predictor, np.zeros((30, 40), bool)).any()
    assert not predictor.prompts
