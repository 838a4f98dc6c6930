"""GEM against recordings of its authors' code, and `gem` as an encoder on a small random model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import clip_folder
from torch import Tensor
from torch.nn import functional as F

from vidmem.encoders import check, load, load_text
from vidmem.encoders.clip.gem import Gem
from vidmem.encoders.clip.gem_attention import gem_tokens, inverse_temperature, self_self
from vidmem.encoders.clip.model import ClipTower, resize_positions
from vidmem.errors import UsageError


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(clip_folder.GOLDEN / "gem" / "gem_golden.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file if file[name].dtype.kind == "f"}


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "iterations", "beta"),
    [("gem", 1, None), ("gem_iter0", 0, None), ("gem_iter2", 2, None), ("gem_temp7.5", 1, 7.5)],
)
def test_attention_is_as_recorded(golden: dict[str, Tensor], name: str, iterations: int, beta: float | None) -> None:
    x = golden["ssa_x"].transpose(0, 1)
    q, k, v = F.linear(x, golden["ssa_qkv_w"], golden["ssa_qkv_b"]).unflatten(-1, (3, 4, 16)).permute(2, 0, 3, 1, 4)
    hot = inverse_temperature(x, 16) if beta is None else torch.full((2,), beta)
    out = self_self(q, k, v, hot, iterations).transpose(1, 2).flatten(2)
    out = F.linear(out, golden["ssa_proj_w"], golden["ssa_proj_b"]).transpose(0, 1)
    torch.testing.assert_close(out, golden[f"ssa_{name}"], atol=1e-5, rtol=0)


@pytest.mark.golden
@pytest.mark.parametrize("grid", [(28, 28), (10, 14)])
def test_positions_are_resized_as_recorded(golden: dict[str, Tensor], grid: tuple[int, int]) -> None:
    out = resize_positions(golden["pe_in"][0], (14, 14), grid, "antialiased")
    torch.testing.assert_close(out, golden[f"pe_{grid[0]}x{grid[1]}"][0], atol=1e-6, rtol=0)


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("layout", ["batch first", "sequence first"])
def test_features_are_as_recorded(golden: dict[str, Tensor], layout: str) -> None:
    clip_folder.required()
    visual = clip_folder.golden_tower("ViT-B-16")
    tower = ClipTower(visual if layout == "batch first" else clip_folder.sequence_first(visual))
    pixels = golden["x_160x224"].float()[None]
    with torch.inference_mode():
        for depth in (7, 5):
            found = gem_tokens(tower, pixels, depth=depth)[0]
            torch.testing.assert_close(found, golden[f"named_d{depth}_feat_gem"], atol=1e-5, rtol=0)
        for block, x in tower.last_blocks(pixels, 1, "antialiased"):
            torch.testing.assert_close(tower.head(block(x))[0], golden["named_feat_ori"], atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clip_folder.required()
    return clip_folder.write(tmp_path_factory.mktemp("clip") / "small")


@pytest.fixture(scope="module")
def gem(folder: Path) -> Gem:
    made = load(f"gem:local-dir:{folder}", "cpu")
    assert isinstance(made, Gem)
    made.dtype = torch.float32
    return made


def picture(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_patches_and_regions(gem: Gem) -> None:
    assert gem.working_size(1920, 1080) == (448, 448)
    images = [picture(0, 48, 64), picture(1, 48, 64)]
    patches = gem.patches(images)
    assert patches.shape == (2, 6, 8, 24)
    np.testing.assert_allclose(np.linalg.norm(patches, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(gem.patches(images[1:])[0], patches[1], atol=1e-5)
    for found, own in zip(gem.encode(images, 640, 480), patches, strict=True):
        assert found.text.shape == (len(found), gem.info.text_dim) == (len(found), 24)
        np.testing.assert_array_equal(found.masks.sum(0), 1)  # clusters cover the picture
        for token, mask in zip(found.text, found.masks, strict=True):
            mean = own[mask > 0].mean(0)
            np.testing.assert_allclose(token, mean / np.linalg.norm(mean), atol=1e-5)
        assert (found.boxes[:, :2] < found.boxes[:, 2:]).all()
        assert found.boxes.max(0).tolist()[2:] == pytest.approx([640, 480])


def test_the_text_side_gives_the_same_vectors(gem: Gem, folder: Path) -> None:
    text = load_text(f"gem:local-dir:{folder}")
    assert text.info == gem.info
    assert not hasattr(text, "tower")
    np.testing.assert_allclose(text.encode_text(["a red cup"]), gem.encode_text(["a red cup"]), atol=1e-6)


def test_pooled_attention_moves_rows_towards_means_of_patches() -> None:
    torch.manual_seed(0)
    grid = (3, 5)
    q, k, v = (torch.randn(2, 3, 1 + 15, 4) for _ in range(3))
    beta = torch.tensor([2.0, 5.0])
    found = self_self(q, k, v, beta, pool=2, grid=grid)
    total = torch.zeros_like(v)
    for projection in (q, k, v):
        p = F.normalize(projection, dim=-1)
        maps = p[:, :, 1:].unflatten(2, grid)
        means = [maps[:, :, y : y + 2, x : x + 2].flatten(2, 3).mean(2) for y in (0, 2) for x in (0, 2, 4)]
        targets = torch.stack([p[:, :, 0], *means], dim=2)
        hot = beta.view(-1, 1, 1, 1)
        p = F.normalize((hot * p @ targets.transpose(-1, -2)).softmax(-1) @ targets, dim=-1)
        total += (hot * p @ p.transpose(-1, -2)).softmax(-1) @ v
    torch.testing.assert_close(found, total / 3, atol=1e-5, rtol=0)
    exact = self_self(q, k, v, beta)
    torch.testing.assert_close(self_self(q, k, v, beta, pool=1, grid=grid), exact, atol=0, rtol=0)
    assert (found - exact).abs().max() > 1e-3


def test_depth_iterations_and_pool_are_options(gem: Gem, folder: Path) -> None:
    images = [picture(0, 48, 64)]
    plain = gem.patches(images)
    spelled = {}
    for option in ("depth=2", "iterations=2", "pool=2"):
        made = load(f"gem:local-dir:{folder},{option}", "cpu")
        assert isinstance(made, Gem)
        assert made.info.name == f"gem:local-dir:{folder},{option}"
        assert load_text(made.info.name).info == made.info
        made.dtype = torch.float32
        spelled[option] = made.patches(images)
        assert np.abs(spelled[option] - plain).max() > 1e-4
    same = load(f"gem:local-dir:{folder},depth={len(gem.tower.blocks) + 1},iterations=1,pool=1", "cpu")
    assert isinstance(same, Gem)
    same.dtype = torch.float32
    np.testing.assert_array_equal(same.patches(images), plain)
    check(same.info.name)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("depth=1", "depth is from 2 to 41, got 1"),
        ("depth=40", "depth=40 does not fit this tower, which has . blocks; give at most ."),
        ("pool=9", "pool is from 1 to 8"),
        ("short=96", "'short=96' is not an option or is given twice; options: depth, iterations, pool"),
    ],
)
def test_wrong_options_are_refused(folder: Path, wrong: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(f"gem:local-dir:{folder},{wrong}", "cpu")
