"""The inside of open_clip's towers: both layouts, towers with a class token and with a pooling head."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from encoders import clip_folder
from torch import nn

from vidmem.encoders.clip.block import Block
from vidmem.encoders.clip.model import ClipTower, resize_positions
from vidmem.errors import ModelError

clip_folder.required()


@pytest.fixture(scope="module")
def small() -> Any:
    return clip_folder.model()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", ["batch first", "sequence first"])
def test_all_blocks_equal_open_clip(small: Any, pixels: torch.Tensor, layout: str) -> None:
    visual = small.visual if layout == "batch first" else clip_folder.sequence_first(small.visual)
    tower = ClipTower(visual)
    assert [block.sequence_first for block in tower.blocks] == [layout != "batch first"] * 4
    assert (tower.side, tower.patch, tower.dim, tower.heads) == (32, 8, 24, 2)
    with torch.inference_mode():
        want = small.encode_image(pixels)
        for count in (1, 4):
            steps = list(tower.last_blocks(pixels, count, "offset"))
            assert len(steps) == count
            block, x = steps[-1]
            assert x.shape == (2, 17, 32)
            torch.testing.assert_close(tower.head(block(x))[:, 0], want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layout", ["batch first", "sequence first"])
def test_the_parts_of_a_block_give_the_block(small: Any, pixels: torch.Tensor, layout: str) -> None:
    tower = ClipTower(small.visual if layout == "batch first" else clip_folder.sequence_first(small.visual))
    with torch.inference_mode():
        block, x = next(tower.last_blocks(pixels, 2, "offset"))
        normed = block.normed(x)
        q, k, v = block.queries_keys_values(normed)
        torch.testing.assert_close(block.values(normed), v)
        split = (part.unflatten(-1, (2, 16)).transpose(1, 2) for part in (q, k, v))
        attended = nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
        torch.testing.assert_close(block.mlp(x + block.out(attended)), block(x), atol=1e-5, rtol=1e-5)


def test_pictures_of_another_size_have_resized_positions(small: Any) -> None:
    tower = ClipTower(small.visual)
    wide = torch.randn(1, 3, 40, 56)
    with torch.inference_mode():
        for resizing in ("offset", "antialiased"):
            _, x = next(tower.last_blocks(wide, 1, resizing))
            assert x.shape == (1, 1 + 5 * 7, 32)
    table = torch.arange(17.0)[:, None].expand(17, 3)
    assert resize_positions(table, (4, 4), (4, 4), "offset") is table
    assert resize_positions(table, (4, 4), (5, 7), "antialiased").shape == (36, 3)
    assert tower.crop_side(45) == 40


class Wrapped(nn.Module):
    """As open_clip wraps a tower of timm."""

    def __init__(self, trunk: nn.Module, side: int, head: nn.Module | None = None) -> None:
        super().__init__()
        self.trunk, self.head, self.image_size = trunk, head or nn.Sequential(), (side, side)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.trunk(x))
        return out


def trunk(**changes: Any) -> Any:
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(2)
    options: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    made = VisionTransformer(**options | {"num_classes": 0} | changes).eval().requires_grad_(False)
    for tensor in made.parameters():
        tensor.add_(torch.randn_like(tensor) * 0.1)
    return made


def test_a_pooling_head_over_all_patches_is_timms_with_one_key(pixels: torch.Tensor) -> None:
    siglip = trunk(class_token=False, global_pool="map")
    tower = ClipTower(Wrapped(siglip, 32))
    assert (tower.pools, tower.resizable, tower.dim, tower.crop_side(336)) == (True, False, 32, 32)
    with torch.inference_mode():
        inputs = tower.pool_inputs(pixels)
        assert inputs.shape == (2, 16, 32)
        ours = tower.pool_head(tower.pool_values(inputs).mean(dim=1))
        # timm's head without its MLP, with the mean patch as all keys.
        pool = siglip.attn_pool
        mean = inputs.mean(dim=1, keepdim=True).expand_as(inputs)
        q = pool.q(pool.latent.expand(2, -1, -1)).unflatten(-1, (2, 16)).transpose(1, 2)
        k = pool.kv(mean)[..., :32].unflatten(-1, (2, 16)).transpose(1, 2)
        v = pool.kv(inputs)[..., 32:].unflatten(-1, (2, 16)).transpose(1, 2)
        attended = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)[:, 0]
        torch.testing.assert_close(ours, siglip.fc_norm(pool.proj(attended)), atol=1e-5, rtol=1e-5)
    with pytest.raises(ModelError, match="use it with textregion"):
        next(tower.last_blocks(pixels, 1, "offset"))


def test_a_class_token_of_timm(pixels: torch.Tensor) -> None:
    visual = Wrapped(trunk(), 32, nn.Sequential(nn.Linear(32, 24, bias=False)))
    tower = ClipTower(visual)
    assert (tower.pools, tower.dim, len(tower.blocks)) == (False, 24, 2)
    with torch.inference_mode():
        block, x = next(tower.last_blocks(pixels, 1, "offset"))
        torch.testing.assert_close(tower.head(block(x))[:, 0], visual(pixels), atol=1e-5, rtol=1e-5)
        v = block.queries_keys_values(block.normed(x))[2]
        torch.testing.assert_close(block.values(block.normed(x)), v)


def test_other_towers_are_refused(small: Any) -> None:
    with pytest.raises(ModelError, match="has no patches"):
        ClipTower(nn.Linear(2, 2))
    with pytest.raises(ModelError, match="has no patches"):
        ClipTower(Wrapped(nn.Linear(2, 2), 32))
    coca = clip_folder.sequence_first(small.visual)
    coca.attn_pool = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="CoCa"):
        ClipTower(coca)
    with pytest.raises(ModelError, match="scales its heads"):
        Block(SimpleNamespace(attn=SimpleNamespace(head_scale=1)), 2)
    with pytest.raises(ModelError, match="has 4 blocks, not 5"):
        next(ClipTower(small.visual).last_blocks(torch.zeros(1, 3, 32, 32), 5, "offset"))


def eva(**changes: Any) -> Any:
    """timm's EVA with a class token, 4 x 4 patches, random weights; as EVA02-CLIP by default."""
    from timm.models.eva import Eva

    torch.manual_seed(4)
    options: dict[str, Any] = {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 32,
        "depth": 3,
        "num_heads": 2,
        "num_classes": 24,
        "qkv_fused": False,
        "mlp_ratio": 4 * 2 / 3,
        "swiglu_mlp": True,
        "scale_mlp": True,
        "scale_attn_inner": True,
        "use_rot_pos_emb": True,
        "ref_feat_shape": (2, 2),
        "global_pool": "token",
    }
    made = Eva(**options | changes).eval().requires_grad_(False)
    for tensor in made.parameters():
        tensor.add_(torch.randn_like(tensor) * 0.2)
    return made


PLAIN = {"mlp_ratio": 4.0, "swiglu_mlp": False, "scale_mlp": False, "scale_attn_inner": False, "use_rot_pos_emb": False}
EVAS = {
    "EVA02": {},
    "EVA02, one projection": {"qkv_fused": True},
    "EVA01": PLAIN | {"qkv_fused": True},
    "EVA02-E": PLAIN | {"qkv_fused": True, "use_post_norm": True},
    "layer scale": {"init_values": 0.5},
    "other turns": {"rope_rotate_half": True, "attn_type": "rope", "qk_norm": True, "qkv_fused": True},
}


@pytest.mark.parametrize("kind", EVAS)
def test_towers_of_eva_equal_timm(pixels: torch.Tensor, kind: str) -> None:
    """The whole tower, and the parts of each block: separate biases, rotary positions, additional norms."""
    visual = Wrapped(eva(**EVAS[kind]), 32)
    attn = visual.trunk.blocks[0].attn
    if kind == "EVA01":
        assert attn.q_bias.abs().min() > 0
        assert attn.qkv.bias is None
    tower = ClipTower(visual)
    assert (tower.pools, tower.resizable, tower.side, tower.patch, tower.dim) == (False, False, 32, 8, 24)
    with torch.inference_mode():
        for count in (1, 2, 3):
            steps = list(tower.last_blocks(pixels, count, "offset"))
            assert len(steps) == count
            for block, x in steps:
                normed = block.normed(x)
                q, k, v = block.queries_keys_values(normed)
                torch.testing.assert_close(block.values(normed), v)
                split = (part.unflatten(-1, (2, 16)).transpose(1, 2) for part in (q, k, v))
                attended = nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
                torch.testing.assert_close(block.mlp(x + block.out(attended)), block(x), atol=2e-5, rtol=1e-5)
            block, x = steps[-1]
            torch.testing.assert_close(tower.head(block(x))[:, 0], visual(pixels), atol=2e-5, rtol=1e-5)


def test_positions_rotate_queries_and_keys_only(pixels: torch.Tensor) -> None:
    tower = ClipTower(Wrapped(eva(), 32))
    with torch.inference_mode():
        block, x = next(tower.last_blocks(pixels, 1, "offset"))
        turned = block.queries_keys_values(block.normed(x))
        assert block.rope is not None
        block.rope = None
        plain = block.queries_keys_values(block.normed(x))
    for i, (a, b) in enumerate(zip(turned, plain, strict=True)):
        assert torch.equal(a[:, 0], b[:, 0])  # the class token has no position
        assert torch.equal(a, b) == (i == 2)
        torch.testing.assert_close(a.norm(dim=-1), b.norm(dim=-1))


@pytest.mark.parametrize("changes", [{"rope_type": "mixed"}, {"num_reg_tokens": 2}])
def test_unsupported_towers_of_eva_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="this tower"):
        ClipTower(Wrapped(eva(**changes), 32))


def test_gates_are_refused() -> None:
    gated = eva()
    gated.blocks[1].attn.gate = nn.Linear(32, 32)
    with pytest.raises(ModelError, match="gates heads"):
        ClipTower(Wrapped(gated, 32))


def test_a_tower_that_takes_another_size_is_refused(pixels: torch.Tensor) -> None:
    def features(_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("Input height (32) doesn't match model (64).")

    tower = ClipTower.__new__(ClipTower)  # only its trunk is of interest here
    tower.trunk = SimpleNamespace(forward_features=features)
    with pytest.raises(ModelError, match="Input height"):
        tower.pool_inputs(pixels)
