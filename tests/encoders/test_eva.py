"""EVA towers as open_clip builds them, from its files to region tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import clip_folder
from torch.nn import functional as F

from vidmem.encoders import load
from vidmem.encoders.clip.gem import Gem
from vidmem.encoders.clip.textregion import TextRegion
from vidmem.encoders.clip.textregion_pooling import Pooling, crops, fuse_resolutions
from vidmem.encoders.pixels import normalised
from vidmem.errors import ModelError

clip_folder.required()
EVA = {
    "image_size": 224,
    "timm_model_name": "eva02_tiny_patch14_224",
    "timm_model_pretrained": False,
    "timm_pool": "token",
    "timm_proj": None,
}
"""timm's smallest EVA model in the form of open_clip's EVA02-B-16: 12 blocks, 16 x 16 patches."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder.write(tmp_path_factory.mktemp("eva") / "tiny", vision_cfg=EVA, custom_text=True)


def picture(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_gem_over_eva(folder: Path) -> None:
    made = load(f"gem:local-dir:{folder}", "cpu")
    assert isinstance(made, Gem)
    made.dtype = torch.float32
    assert made.working_size(1920, 1080) == (224, 224)
    image = picture(0, 224, 224)
    patches = made.patches([image])
    assert patches.shape == (1, 16, 16, 24)
    np.testing.assert_allclose(np.linalg.norm(patches, axis=-1), 1, atol=1e-5)
    # Computed from timm's parts: self-self attention of the queries, keys and values of each block.
    visual = made._loaded.model.visual
    trunk = visual.trunk
    with torch.inference_mode():
        pixels = normalised([image], (0.5,) * 3, (0.25,) * 3, torch.device("cpu"))
        x, rope = trunk._pos_embed(trunk.patch_embed(pixels))
        for block in trunk.blocks[:-6]:
            x = block(x, rope=rope)
        path = x
        for block in trunk.blocks[-6:]:
            normed = block.norm1(x)
            beta = normed.norm(dim=-1).mean() / 64**0.5
            attn, total = block.attn, torch.zeros(1)
            bias = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
            q, k, v = F.linear(normed, attn.qkv.weight, bias).unflatten(-1, (3, 3, 64)).permute(2, 0, 3, 1, 4)
            for p in (turned(q, rope), turned(k, rope), v):
                unit = F.normalize(p, dim=-1)
                drawn = F.normalize((beta * unit @ unit.mT).softmax(dim=-1) @ unit, dim=-1)
                total = total + (beta * drawn @ drawn.mT).softmax(dim=-1) @ v / 3
            path = path + attn.proj(attn.norm(total.transpose(1, 2).flatten(2)))
            x = block(x, rope=rope)
        want = F.normalize(trunk.head(trunk.fc_norm(trunk.norm(path)))[0, 1:], dim=-1)
    np.testing.assert_allclose(patches[0].reshape(256, 24), want.numpy(), atol=1e-5)


def turned(x: torch.Tensor, rope: torch.Tensor) -> torch.Tensor:
    """timm's rotation of all tokens but the class token."""
    from timm.layers import apply_rot_embed_cat

    return torch.cat([x[:, :, :1], apply_rot_embed_cat(x[:, :, 1:], rope)], dim=2)


def test_textregion_over_eva(folder: Path) -> None:
    made = load(f"textregion:local-dir:{folder}", "cpu")
    assert isinstance(made, TextRegion)
    made.dtype, made.pooling = torch.float32, Pooling(None)
    assert made.side == 224
    image, masks = picture(1, 448, 500), np.zeros((1, 448, 500), bool)
    masks[0, :224, :250] = True
    found = made.regions(image, 500, 448, masks)
    trunk = made._loaded.model.visual.trunk
    with torch.inference_mode():
        pixels = normalised([image], (0.5,) * 3, (0.25,) * 3, torch.device("cpu"))[0]
        x, rope = trunk._pos_embed(trunk.patch_embed(crops(pixels, 224)))
        for block in trunk.blocks[:-1]:
            x = block(x, rope=rope)
        last = trunk.blocks[-1]
        values = F.linear(last.norm1(x), last.attn.qkv.weight[384:], last.attn.v_bias)[:, 1:].unflatten(1, (16, 16))
        grid = fuse_resolutions(values, 2, 2)[:16, :16].flatten(0, 1)
        pooled = last.attn.proj(last.attn.norm(F.normalize(grid, dim=1).sum(0)))
        want = F.normalize(trunk.head(trunk.fc_norm(trunk.norm(pooled))), dim=0)
    np.testing.assert_allclose(found.text[0], want.numpy(), atol=1e-5)


def test_gem_needs_the_norm_before_attention(folder: Path, tmp_path: Path) -> None:
    """EVA02-E has the norm after attention. TextRegion works with it; GEM's temperature is not defined."""
    from timm.models import eva, register_model

    def eva_post_norm_test(pretrained: bool = False, **more: object) -> object:
        return eva._create_eva(
            "eva_giant_patch14_224",
            patch_size=14,
            embed_dim=32,
            depth=2,
            num_heads=2,
            mlp_ratio=2,
            use_post_norm=True,
            **more,
        )

    eva_post_norm_test.__module__ = eva.__name__
    register_model(eva_post_norm_test)
    home = clip_folder.write(
        tmp_path / "post", vision_cfg=EVA | {"timm_model_name": "eva_post_norm_test"}, custom_text=True
    )
    with pytest.raises(ModelError, match=r"GEM takes its temperature from the norm before attention.*textregion:local"):
        load(f"gem:local-dir:{home}", "cpu")
    made = load(f"textregion:local-dir:{home}", "cpu")
    (found,) = made.encode([picture(2, 448, 448)], 448, 448)
    assert len(found)
    assert found.text.shape[1] == 24
