"""GEM against recordings of its authors' code, and `gem` as an encoder on a small random model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import clip_folder
from torch import Tensor
from torch.nn import functional as F

from vidmem.encoders import load, load_text
from vidmem.encoders.clip.gem import Gem
from vidmem.encoders.clip.gem_attention import gem_tokens, inverse_temperature, self_self
from vidmem.encoders.clip.model import ClipTower, resize_positions


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
        for depth, blocks in ((7, 6), (5, 4)):
            found = gem_tokens(tower, pixels, blocks=blocks)[0]
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
