"""The inside of open_clip's towers: both layouts, with a class token and with a pooling head."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from encoders import clip_folder
from torch import nn

from vidmem.encoders.clip_model import Block, ClipTower, stretched
from vidmem.errors import ModelError

clip_folder.required()


@pytest.fixture(scope="module")
def small() -> Any:
    return clip_folder.model()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", ["batch first", "sequence first"])
def test_all_blocks_give_what_open_clip_gives(small: Any, pixels: torch.Tensor, layout: str) -> None:
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
def test_a_block_is_its_parts(small: Any, pixels: torch.Tensor, layout: str) -> None:
    tower = ClipTower(small.visual if layout == "batch first" else clip_folder.sequence_first(small.visual))
    with torch.inference_mode():
        block, x = next(tower.last_blocks(pixels, 2, "offset"))
        normed = block.normed(x)
        q, k, v = block.queries_keys_values(normed)
        torch.testing.assert_close(block.values(normed), v)
        split = (part.unflatten(-1, (2, 16)).transpose(1, 2) for part in (q, k, v))
        attended = nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
        torch.testing.assert_close(block.mlp(x + block.out(attended)), block(x), atol=1e-5, rtol=1e-5)


def test_pictures_of_another_size_have_stretched_positions(small: Any) -> None:
    tower = ClipTower(small.visual)
    wide = torch.randn(1, 3, 40, 56)
    with torch.inference_mode():
        for stretch in ("offset", "antialiased"):
            _, x = next(tower.last_blocks(wide, 1, stretch))
            assert x.shape == (1, 1 + 5 * 7, 32)
    table = torch.arange(17.0)[:, None].expand(17, 3)
    assert stretched(table, (4, 4), (4, 4), "offset") is table
    assert stretched(table, (4, 4), (5, 7), "antialiased").shape == (36, 3)
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
        # timm's own, with keys that are all the mean patch and without its MLP.
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
    with pytest.raises(ModelError, match="has no patches to take"):
        ClipTower(nn.Linear(2, 2))
    with pytest.raises(ModelError, match="has no patches to take"):
        ClipTower(Wrapped(nn.Linear(2, 2), 32))
    coca = clip_folder.sequence_first(small.visual)
    coca.attn_pool = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="CoCa"):
        ClipTower(coca)
    with pytest.raises(ModelError, match="scales its heads"):
        Block(SimpleNamespace(attn=SimpleNamespace(head_scale=1)), 2)
    with pytest.raises(ModelError, match="has 4 blocks, not 5"):
        next(ClipTower(small.visual).last_blocks(torch.zeros(1, 3, 32, 32), 5, "offset"))
