"""Masks from SAM2's output, against recordings of TextRegion's code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from encoders.clip_folder import GOLDEN
from torch import Tensor

from vidmem.encoders.masks.sam_masks import SamLimits, fuse, mask_extents, pick
from vidmem.encoders.nms import keep_highest


def cones(params: Tensor) -> Tensor:
    """Input of the recording: logits `(n, 256, 256)` in half precision.

    From `(n, 5)` centre x, y, radius, height and aspect.
    """
    u = torch.linspace(0, 1, 256, dtype=torch.float64)
    y, x = torch.meshgrid(u, u, indexing="ij")
    cx, cy, radius, height, aspect = (c[:, None, None] for c in params.unbind(1))
    distance = ((x - cx) ** 2 * aspect + (y - cy) ** 2 / aspect).sqrt()
    return (height * (1 - distance / radius)).half().float()


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN / "textregion" / "sam2_post_golden.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


@pytest.mark.golden
def test_picked_masks_are_the_recorded_ones(golden: dict[str, Tensor]) -> None:
    logits = cones(golden["params"].reshape(-1, 5)).reshape(16, 3, 256, 256)
    found = pick(logits, golden["iou_preds"])
    assert len(found) == int(golden["n_prefuse"])
    torch.testing.assert_close(found.iou, golden["prefuse_iou"], atol=0, rtol=0)
    torch.testing.assert_close(found.stability, golden["prefuse_stab"], atol=1e-7, rtol=0)
    extents = torch.cat([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]], dim=1)
    assert torch.equal(extents, golden["prefuse_bbox_xywh_256"])


@pytest.mark.golden
def test_fused_masks_are_the_recorded_ones(golden: dict[str, Tensor]) -> None:
    logits = cones(golden["params"].reshape(-1, 5)).reshape(16, 3, 256, 256)
    fused = fuse(pick(logits, golden["iou_preds"]), *golden["hw"].tolist())
    assert fused.shape == golden["fused"].shape
    torch.testing.assert_close(fused.half(), golden["fused"], atol=0, rtol=0)


def disc(x: float, y: float, radius: float, height: float = 20) -> Tensor:
    return cones(torch.tensor([[x, y, radius, height, 1.0]], dtype=torch.float64))[0]


def test_small_unsure_and_unstable_masks_are_dropped() -> None:
    logits = torch.stack([disc(0.2, 0.2, 0.1), disc(0.8, 0.2, 0.1), disc(0.2, 0.8, 0.1, 3), disc(0.8, 0.8, 0.015)])
    iou = torch.tensor([0.9, 0.6, 0.9, 0.9])
    found = pick(logits[:, None], iou[:, None])
    assert found.boxes[:, :2].tolist() == [[26, 26]]


def test_the_better_of_two_masks_with_the_same_box_is_kept() -> None:
    logits = torch.stack([disc(0.5, 0.5, 0.2), disc(0.5, 0.5, 0.201)])
    found = pick(logits[:, None], torch.tensor([[0.7], [0.8]]))
    assert found.iou.tolist() == pytest.approx([0.8])


def test_a_part_is_fused_with_its_whole_unless_it_is_small() -> None:
    logits = torch.stack([torch.stack([disc(0.5, 0.5, 0.1), disc(0.5, 0.5, 0.25), disc(0.5, 0.5, 0.4)])])
    found = pick(logits, torch.full((1, 3), 0.9))
    fused = fuse(found, 128, 128)
    assert len(fused) == 2  # the smallest mask's box is too small a share of the largest's
    assert len(fuse(found, 128, 128, SamLimits(box_iou=0))) == 1
    assert fused.amax() == 3


def test_no_masks() -> None:
    found = pick(torch.full((4, 3, 256, 256), -5.0), torch.full((4, 3), 0.9))
    assert len(found) == 0
    assert fuse(found, 30, 40).shape == (0, 30, 40)


def test_boxes_that_overlap_too_much_are_dropped() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30], [0, 0, 0, 0]])
    scores = torch.tensor([0.5, 0.9, 0.1, 0.05])
    assert keep_highest(boxes, scores, 0.5).tolist() == [1, 2, 3]
    assert keep_highest(boxes, scores, 0.9).tolist() == [1, 0, 2, 3]
    assert keep_highest(boxes[:0], scores[:0], 0.5).tolist() == []
    assert mask_extents(torch.zeros(1, 4, 4, dtype=torch.bool)).tolist() == [[0, 0, 0, 0]]
