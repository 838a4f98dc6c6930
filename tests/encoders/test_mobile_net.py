"""The mobile backbone: shapes, where its cells look, and that TinyNet takes it."""

from __future__ import annotations

import pytest
import torch

from vidmem.encoders.mobile_net import DIM, MobileBackbone
from vidmem.encoders.tiny_net import TinyNet


@pytest.mark.parametrize("size", [(64, 96), (80, 112)])
def test_the_pyramid_has_a_cell_for_each_patch(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    features, heat = MobileBackbone().eval()(torch.rand(1, 3, *size))
    assert features.shape == (1, DIM, size[0] // 8, size[1] // 8)
    assert heat.shape == (1, size[0] // 8, size[1] // 8)


def test_a_cell_looks_at_its_own_patch() -> None:
    """The middle of what a feature depends on lies in its patch of 8 pixels."""
    torch.manual_seed(0)
    backbone = MobileBackbone().eval()
    for block in backbone.body.blocks:  # weights at random all but vanish on the way
        torch.nn.init.kaiming_normal_(block.depthwise.weight)  # type: ignore[union-attr, arg-type]
    image = torch.rand(1, 3, 128, 128, requires_grad=True)
    fine, _, _ = backbone.body(torch.nn.functional.pad(image, (-3, 3, -3, 3)))
    fine[0, :, 8, 8].square().sum().backward()
    assert image.grad is not None
    weight = image.grad.abs().sum((0, 1))
    at = torch.arange(128.0)
    x, y = (weight.sum(0) @ at / weight.sum()).item(), (weight.sum(1) @ at / weight.sum()).item()
    assert 64 <= x < 72
    assert 64 <= y < 72


def test_tiny_takes_it() -> None:
    net = TinyNet().eval()
    with torch.inference_mode():
        features, heat = net.backbone(torch.rand(1, 3, 64, 64))
        tokens, attention, queries = net.regions(features, torch.rand(1, 5, 2))
        masks = net.masks(queries, attention, net.mask_patches(features)[:, None])
        scores = net.score(queries)
    assert heat.shape == (1, 8, 8)
    assert tokens.shape == (1, 5, 3, DIM)
    assert attention.shape == masks.shape == (1, 5, 3, 64)
    assert scores.shape == (1, 5, 3, 1)
    assert sum(p.numel() for p in net.backbone.parameters()) < 4_000_000


def test_picture_by_picture_or_all_at_once_is_the_same() -> None:
    """The first layers, on a CPU: without gradients one picture after another."""
    torch.manual_seed(0)
    backbone, images = MobileBackbone().eval(), torch.rand(3, 3, 64, 96)
    together = backbone(images)
    with torch.no_grad():
        apart = backbone(images)
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a, b)
    assert (apart[0][0] - apart[0][1]).abs().max() > 1e-3  # each has its own picture
