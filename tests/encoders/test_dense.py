"""Dense features, RoIAlign and mask pooling: recordings, definitions, gradients and other towers."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from encoders import clip_folder
from encoders.test_eva import EVA
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from vidmem.encoders.clip.dense import dense_features, mask_pool, roi_align
from vidmem.encoders.clip.model import ClipTower, resize_positions
from vidmem.errors import ModelError


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(clip_folder.GOLDEN / "densevlm" / "dense.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file if file[name].dtype.kind == "f"}


@pytest.mark.golden
@pytest.mark.slow
def test_features_are_as_recorded(golden: dict[str, Tensor]) -> None:
    """A picture of 8 x 12 patches; both other ways to stretch the positions miss it by more than 5e-3."""
    clip_folder.required()
    tower = ClipTower(clip_folder.golden_tower("ViT-B-16"))
    pixels = golden["dense_x"].float()[None]
    with torch.no_grad():
        dense = dense_features(tower, pixels)
        block, x = next(tower.last_blocks(F.interpolate(pixels, (224, 224)), 1, "plain"))
        whole = tower.head(block(x)[:, 0])
    torch.testing.assert_close(dense[0], golden["clip_dense"], atol=1e-6, rtol=0)
    torch.testing.assert_close(F.normalize(whole, dim=-1), golden["clip_image"], atol=1e-6, rtol=0)
    rows, columns = dense.shape[2:]
    boxes = golden["rois"] * torch.tensor([columns, rows, columns, rows])
    torch.testing.assert_close(roi_align(dense, [boxes]), golden["clip_rois"], atol=1e-6, rtol=0)
    pooled = mask_pool(dense, [golden["masks"]])
    torch.testing.assert_close(F.normalize(pooled, dim=-1), golden["clip_masks"], atol=1e-6, rtol=0)


@pytest.mark.golden
def test_pooling_of_the_other_recording(golden: dict[str, Tensor]) -> None:
    """EVA's features are recorded in half precision, on a square grid."""
    dense = golden["eva_dense"].float()[None]
    torch.testing.assert_close(roi_align(dense, [golden["rois"] * 10]), golden["eva_rois"], atol=2e-4, rtol=0)


def _by_definition(grid: Tensor, box: list[float]) -> Tensor:
    """RoIAlign with one bin, point by point, in single precision."""
    _, rows, columns = grid.shape
    x0, y0, x1, y1 = (np.float32(edge) - np.float32(0.5) for edge in box)
    down, across = math.ceil(y1 - y0), math.ceil(x1 - x0)
    total = torch.zeros(len(grid))
    for i in range(down):
        for j in range(across):
            half = np.float32(0.5)
            y = float(y0 + (np.float32(i) + half) * ((y1 - y0) / np.float32(down)))
            x = float(x0 + (np.float32(j) + half) * ((x1 - x0) / np.float32(across)))
            if not (-1 <= y <= rows and -1 <= x <= columns):
                continue
            y, x = min(max(y, 0.0), rows - 1), min(max(x, 0.0), columns - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            upper = grid[:, top, left] * (1 - x + left) + grid[:, top, right] * (x - left)
            lower = grid[:, bottom, left] * (1 - x + left) + grid[:, bottom, right] * (x - left)
            total += upper * (1 - y + top) + lower * (y - top)
    return total / max(down * across, 1)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.floats(-4, 12, width=32), min_size=4, max_size=4), max_size=4), st.integers(0, 9))
def test_roi_align_is_its_definition(boxes: list[list[float]], seed: int) -> None:
    grid = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(seed))
    found = roi_align(grid[None], [torch.tensor(boxes).reshape(-1, 4)])
    assert found.shape == (len(boxes), 2)
    for one, box in zip(found, boxes, strict=True):
        torch.testing.assert_close(one, _by_definition(grid, box), atol=2e-5, rtol=0)


def test_pooling_of_several_pictures() -> None:
    grids = torch.randn(2, 3, 4, 4)
    boxes = [torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[1.0, 1, 2, 2], [0, 0, 1, 1]])]
    found = roi_align(grids, boxes)
    torch.testing.assert_close(found[0], grids[0].mean((1, 2)))
    torch.testing.assert_close(found[1:], torch.stack([grids[1, :, 1, 1], grids[1, :, 0, 0]]))
    masks = torch.zeros(1, 4, 4)
    masks[0, 0, :2] = torch.tensor([1.0, 3.0])
    pooled = mask_pool(grids, [masks, torch.zeros(2, 4, 4, dtype=torch.bool)])
    torch.testing.assert_close(pooled[0], grids[0, :, 0, :2] @ torch.tensor([0.25, 0.75]))
    assert not pooled[1:].any()  # empty masks
    with pytest.raises(ValueError, match="shorter"):
        roi_align(grids, boxes[:1])
    assert roi_align(grids, [torch.zeros(0, 4)] * 2).shape == mask_pool(grids, [torch.zeros(0, 4, 4)] * 2).shape


def test_the_last_block_does_not_attend() -> None:
    """A change in one patch changes the others only through the blocks before the last."""
    clip_folder.required()
    tower = ClipTower(clip_folder.model(vision_cfg=clip_folder.CONFIGURATION["vision_cfg"] | {"layers": 1}).visual)
    pixels = torch.randn(1, 3, 24, 40)
    changed = pixels.clone()
    changed[:, :, 8:16, 16:24] += 1
    with torch.no_grad():
        before, after = dense_features(tower, pixels), dense_features(tower, changed)
    assert before.shape == (1, 24, 3, 5)
    torch.testing.assert_close(torch.linalg.vector_norm(before, dim=1), torch.ones(1, 3, 5))
    moved = (before - after).abs().amax(1)[0] > 1e-6
    assert moved.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("kind", ["open_clip", "eva"])
def test_gradients_reach_every_weight_that_is_used(kind: str) -> None:
    """Positions too, which are stretched anew after each step."""
    clip_folder.required()
    changes = {"vision_cfg": EVA, "custom_text": True} if kind == "eva" else {}
    visual = clip_folder.model(**changes).visual.requires_grad_(True)
    tower = ClipTower(visual)
    pixels = torch.randn(1, 3, 3 * tower.patch, 5 * tower.patch)
    first = dense_features(tower, pixels)
    first[:, 0].sum().backward()
    unused = {name for name, p in visual.named_parameters() if p.grad is None or not p.grad.any()}
    last = f"blocks.{len(tower.blocks) - 1}.attn."
    # Queries and keys of the last block; those of open_clip share a tensor with the values.
    assert unused <= {f"trunk.{last}{x}" for x in ("q_bias", "q_proj.weight", "q_proj.bias", "k_proj.weight")}
    table = visual.positional_embedding if kind == "open_clip" else visual.trunk.pos_embed
    with torch.no_grad():
        table += 0.5 * torch.randn_like(table)
    assert not torch.allclose(dense_features(tower, pixels), first)


def test_inference_then_training() -> None:
    """Positions that were stretched under inference mode can be used where gradients are wanted."""
    clip_folder.required()
    visual = clip_folder.model().visual
    tower, pixels = ClipTower(visual), torch.randn(1, 3, 16, 48)
    with torch.inference_mode():
        dense_features(tower, pixels)
    visual.proj.requires_grad_(True)
    dense_features(tower, pixels)[:, 0].sum().backward()
    assert visual.proj.grad.any()


def test_eva_of_another_size() -> None:
    """As timm itself at the size of its training, and as timm's set_input_size elsewhere, but for the positions."""
    clip_folder.required()
    visual = clip_folder.model(vision_cfg=EVA, custom_text=True).visual
    tower = ClipTower(visual)
    assert tower.stretchable
    assert not tower.resizable
    pixels = torch.randn(1, 3, 14 * 9, 14 * 20)
    with torch.no_grad():
        block, x = next(tower.last_blocks(pixels, 1, "plain"))
        found = block(x)
        other = deepcopy(visual.trunk)
        other.set_input_size((14 * 9, 14 * 20))
        other.pos_embed.copy_(resize_positions(visual.trunk.pos_embed[0], (16, 16), (9, 20), "plain")[None])
        torch.testing.assert_close(other.norm(found), other.forward_features(pixels), atol=1e-5, rtol=1e-5)
        native = torch.randn(1, 3, 224, 224)
        block, x = next(tower.last_blocks(native, 1, "plain"))
        torch.testing.assert_close(visual.trunk.norm(block(x)), visual.trunk.forward_features(native))


def test_what_has_no_dense_features() -> None:
    clip_folder.required()
    tower = ClipTower(clip_folder.model().visual)
    with pytest.raises(ModelError, match="30 x 32 pixels is not in whole patches of 8"):
        dense_features(tower, torch.zeros(1, 3, 32, 30))
    head = EVA | {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "map"}
    pooled = ClipTower(clip_folder.model(vision_cfg=head, custom_text=True).visual)
    with pytest.raises(ModelError, match="pooling head"):
        dense_features(pooled, torch.zeros(1, 3, 224, 224))


def test_a_tower_that_cannot_be_stretched() -> None:
    clip_folder.required()
    tower = ClipTower(clip_folder.model(vision_cfg=EVA, custom_text=True).visual)
    tower.stretchable = False
    with pytest.raises(ModelError, match="224 x 224 pixels only"):
        dense_features(tower, torch.zeros(1, 3, 140, 140))
