"""TextRegion against recordings of its authors' code, and `textregion` as an encoder on a small random model."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import clip_folder
from torch import Tensor
from torch.nn import functional as F

from needs import needs
from vidmem.config import MergeConfig
from vidmem.encoders import check, load, load_text
from vidmem.encoders.clip.model import ClipTower
from vidmem.encoders.clip.pixels import short_side
from vidmem.encoders.clip.textregion import TextRegion
from vidmem.encoders.clip.textregion_pooling import (
    Pooling,
    attention_pool,
    crop_grid,
    crops,
    fuse_resolutions,
    local_similarity,
    patch_masks,
    pool,
)
from vidmem.encoders.masks.folder import FolderMasks
from vidmem.encoders.pixels import normalised
from vidmem.encoders.torchvision_compat import ready
from vidmem.errors import ModelError, UsageError
from vidmem.query.single_image import ground, segment

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(clip_folder.GOLDEN / "textregion" / "textregion_golden.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file if file[name].dtype.kind != "U"}


@pytest.fixture(scope="module")
def tower() -> ClipTower:
    clip_folder.required()
    return ClipTower(clip_folder.golden_tower("ViT-B-16-quickgelu"))


@pytest.fixture(scope="module")
def values(golden: dict[str, Tensor], tower: ClipTower) -> Tensor:
    """V_final `(14, 14, D)` from the recorded input of the last block: the whole picture, 2 x 2 crops of 112 pixels."""
    x, block = golden["named_c112_rm1_last_blk_in"].transpose(0, 1), tower.blocks[-1]
    with torch.inference_mode():
        maps = block.values(block.normed(x))[:, 1:].unflatten(1, (7, 7))
        return fuse_resolutions(maps, 2, 2)


def project(tower: ClipTower, mlp: bool) -> Any:
    block = tower.blocks[-1]
    return lambda y: tower.head(block.mlp(block.out(y)) if mlp else block.out(y))


@pytest.mark.golden
def test_crops_are_as_recorded(golden: dict[str, Tensor]) -> None:
    h, w = golden["named_c112_rm1_resized_hw"].tolist()
    picture = golden["image_u8"].permute(2, 0, 1).float()[None]
    small = F.interpolate(picture, (h, w), mode="bilinear")[0]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    assert crop_grid(h, w, 112) == (2, 2)
    found = crops((small / 255 - mean) / std, 112)
    # The recorded picture was rounded to integers after it was scaled down; half a step is .0075.
    torch.testing.assert_close(found, golden["named_c112_rm1_clip_inputs"].float(), atol=0.012, rtol=0)


@pytest.mark.golden
@pytest.mark.slow
def test_the_backbone_is_as_recorded(golden: dict[str, Tensor], tower: ClipTower) -> None:
    pixels = golden["named_c112_rm1_clip_inputs"].float()
    with torch.inference_mode():
        _, x = next(tower.last_blocks(pixels, 1, "offset"))
    # The recorded pixels are in half precision. Activations go up to 16, so .01 is less than 1e-3 of them.
    torch.testing.assert_close(x.transpose(0, 1), golden["named_c112_rm1_last_blk_in"], atol=0.01, rtol=0)


@pytest.mark.golden
@pytest.mark.slow
def test_local_similarity_is_as_recorded(golden: dict[str, Tensor], values: Tensor) -> None:
    masks = golden["named_c112_rm1_feature_masks"]
    found = local_similarity(values.flatten(0, 1), masks)
    torch.testing.assert_close(found, golden["named_c112_diff_score"], atol=1e-5, rtol=0)
    assert torch.equal((masks > 0) & (found >= 0.07), golden["named_c112_rm1_masks_after"])


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize(("filtered", "name"), [(True, "rm1"), (False, "rm0")])
def test_tokens_are_as_recorded(
    golden: dict[str, Tensor], tower: ClipTower, values: Tensor, filtered: bool, name: str
) -> None:
    settings = Pooling(0.07 if filtered else None, mlp=True, unit_values=filtered)
    masks = golden["named_c112_rm1_feature_masks"]
    with torch.inference_mode():
        found, kept = pool(values.flatten(0, 1), masks, project(tower, True), settings)
    assert kept.all()
    torch.testing.assert_close(found, golden[f"named_c112_{name}_region_feat"], atol=1e-5, rtol=0)
    logits = found @ golden["named_query_feat"].T
    torch.testing.assert_close(logits, golden[f"named_c112_{name}_region_logits"], atol=1e-5, rtol=0)


@pytest.mark.golden
@pytest.mark.slow
def test_tokens_from_the_picture_are_as_recorded(golden: dict[str, Tensor], tower: ClipTower) -> None:
    """Crops of 336 pixels of a picture with an odd width, 941 pixels."""
    cv2 = needs("cv2")
    h, w = golden["named_default_resized_hw"].tolist()
    assert crop_grid(h, w, 336) == tuple(golden["named_default_crops_grid"].tolist()[:2]) == (2, 2)
    # The authors resize with OpenCV, in integers.
    image = cv2.resize(golden["image_u8"].numpy(), (w, h), interpolation=cv2.INTER_LINEAR)
    block, masks = tower.blocks[-1], golden["named_default_feature_masks"].float()
    with torch.inference_mode():
        squares = crops(normalised([image], MEAN, STD, torch.device("cpu"))[0], 336)
        _, x = next(tower.last_blocks(squares, 1, "offset"))
        values = fuse_resolutions(block.values(block.normed(x))[:, 1:].unflatten(1, (21, 21)), 2, 2).flatten(0, 1)
        found, kept = pool(values, masks, project(tower, True), Pooling(mlp=True))
    assert kept.all()
    assert torch.equal((masks > 0) & (local_similarity(values, masks) >= 0.07), golden["named_default_masks_after"])
    torch.testing.assert_close(found, golden["named_default_region_feat"], atol=1e-6, rtol=0)
    logits = found @ golden["named_query_feat"].T
    torch.testing.assert_close(logits, golden["named_default_region_logits"], atol=1e-6, rtol=0)


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tau", "unit"),
    [("thr0.07", 0.07, True), ("thr-10", -10.0, True), ("nofilter", None, False), ("thrmed", None, True)],
)
def test_the_semantic_path_is_as_recorded(
    golden: dict[str, Tensor], tower: ClipTower, values: Tensor, name: str, tau: float | None, unit: bool
) -> None:
    if name == "thrmed":  # the score of a patch, whose last bit depends on the order of sums; it is kept
        tau = float(golden["named_c112_thr_median"]) - 1e-6
    masks = golden["named_c112_rm1_feature_masks"]
    with torch.inference_mode():
        found, kept = pool(values.flatten(0, 1), masks, project(tower, False), Pooling(tau, unit_values=unit))
    logits = found @ golden["named_query_feat"].T
    torch.testing.assert_close(logits, golden[f"named_c112_sem_{name}_logits"], atol=1e-5, rtol=0)
    if name != "nofilter":
        assert torch.equal(kept, golden[f"named_c112_sem_{name}_keep"])


def test_crops_cover_the_picture() -> None:
    picture = torch.arange(5 * 7.0).reshape(1, 5, 7).expand(3, 5, 7)
    assert crop_grid(5, 7, 2) == (2, 3)
    assert crops(picture, 2).shape == (7, 3, 2, 2)
    assert crop_grid(1, 1, 336) == (1, 1)


def test_the_last_crop_overlaps_the_one_before_it() -> None:
    """7 columns and 5 rows in crops of 3 x 3 have columns 0 to 2, 3 to 5, 4 to 6, and rows 0 to 2, 2 to 4."""
    picture = torch.arange(5 * 7.0).reshape(1, 5, 7).expand(3, 5, 7)
    found = crops(picture, 2)
    for i, (y, x) in enumerate([(0, 0), (0, 3), (0, 4), (2, 0), (2, 3), (2, 4)]):
        part = picture[None, :, y : y + 3, x : x + 3]
        assert torch.equal(found[1 + i], F.interpolate(part, (2, 2), mode="bicubic", antialias=True)[0])
    even = crops(torch.rand(3, 4, 8), 4)  # no overlap if the size divides the picture
    assert even.shape == (3, 3, 4, 4)


def test_both_resolutions_count() -> None:
    maps = torch.zeros(5, 2, 2, 1)
    maps[0] = 10
    maps[4] = 1  # the last crop lies right below
    fused = fuse_resolutions(maps, 2, 2, low_share=0.5)
    assert fused[..., 0].tolist() == [[5, 5, 5, 5], [5, 5, 5, 5], [5, 5, 6, 6], [5, 5, 6, 6]]


def test_local_similarity_equals_plain_sums() -> None:
    seed = torch.Generator().manual_seed(3)
    values, masks = torch.randn(9, 5, generator=seed), (torch.rand(4, 9, generator=seed) > 0.5).float()
    masks[3] = 0  # an empty mask is not a region
    masks[:3, 0], masks[:, 1] = 1, 0  # a patch in all regions, and a patch in none
    unit = F.normalize(values, dim=1)
    for i in range(9):
        of = {True: [0.0], False: [0.0]}
        for region in masks[:3] > 0:
            of[bool(region[i])].append(float(torch.stack([unit[i] @ u for u in unit[region]]).mean()))
        inside, outside = (sum(v) / max(len(v) - 1, 1) for v in (of[True], of[False]))
        assert float(local_similarity(values, masks)[i]) == pytest.approx(inside - outside, abs=1e-5)


def test_regions_without_patches_have_no_token() -> None:
    values, masks = torch.randn(6, 4), torch.zeros(3, 6)
    masks[1, 2:4] = 0.5
    for settings in (Pooling(), Pooling(None), Pooling(None, unit_values=False)):
        tokens, kept = pool(values, masks, lambda y: y, settings)
        assert tokens.shape[1] == 4
        assert not kept[0]
        assert not kept[2]
    tokens, kept = pool(values, masks, lambda y: y, Pooling(9.0))
    assert (len(tokens), kept.any().item()) == (0, False)
    for each in (masks[:0], masks[:1]):
        assert pool(values, each, lambda y: y, Pooling())[0].shape == (0, 4)
        assert attention_pool(values, each, lambda x: x, lambda y: y, 0.07)[0].shape == (0, 4)
    assert patch_masks(torch.zeros(0, 8, 8), (2, 2)).shape == (0, 4)


def test_a_pooling_head_averages_patches_in_the_mask() -> None:
    values, masks = torch.randn(6, 4), torch.zeros(2, 6)
    masks[0, :3] = torch.tensor([0.1, 1.0, 0.5])
    masks[1, 5] = 1
    tokens, kept = attention_pool(values, masks, lambda x: 2 * x, lambda y: y, None)
    assert kept.all()
    torch.testing.assert_close(tokens[0], F.normalize(values[:3].mean(0), dim=0))
    torch.testing.assert_close(tokens[1], F.normalize(values[5], dim=0))


@pytest.mark.parametrize("kind", ["siglip2", "pe"])
def test_pooling_equals_the_models_own_head_with_equal_keys(kind: str) -> None:
    """Eq. 7: where all keys are the mean patch, the head's attention is even over the patches in the mask.

    So timm's own head, with the weights of its keys at zero and given only these patches, must give the same token.
    """
    needs("timm")
    ready()
    from timm.layers import AttentionPoolLatent

    torch.manual_seed(3)
    dim, out = 24, 16
    pool = AttentionPoolLatent(dim, num_heads=4, mlp_ratio=2.0, qk_norm=False)
    after = torch.nn.LayerNorm(dim) if kind == "siglip2" else torch.nn.Linear(dim, out, bias=False)
    torch.nn.init.normal_(after.weight)
    trunk = torch.nn.Module()
    trunk.attn_pool = pool
    setattr(trunk, "fc_norm" if kind == "siglip2" else "head", after)
    tower = ClipTower.__new__(ClipTower)  # only its head is of interest here
    tower.trunk, tower.visual = trunk, torch.nn.Module()
    inputs = torch.randn(20, dim)
    masks = (torch.rand(5, 20) > 0.6).float() * torch.rand(5, 20).clamp_min(0.1)
    with torch.no_grad():
        tokens, kept = attention_pool(inputs, masks, tower.pool_values, tower.pool_head, None)
        assert kept.all()
        pool.kv.weight[:dim] = 0
        pool.kv.bias[:dim] = 0
        pool.mlp = None  # the paper's Eq. 7 ends before the head's MLP
        wanted = [after(pool(inputs[mask > 0][None]))[0] for mask in masks]
    torch.testing.assert_close(tokens, F.normalize(torch.stack(wanted), dim=-1), atol=2e-7, rtol=0)


def test_masks_are_scaled_to_the_grid() -> None:
    mask = torch.zeros(1, 8, 8)
    mask[0, :4, :4] = 3
    assert patch_masks(mask, (2, 2)).tolist() == [[1, 0, 0, 0]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> TextRegion:
    clip_folder.required()
    folder = clip_folder.write(tmp_path_factory.mktemp("clip") / "small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidmem.encoders.clip.textregion.SIDE", 44)
        made = load(f"textregion:local-dir:{folder}", "cpu")
    assert isinstance(made, TextRegion)
    made.dtype = torch.float32
    made.pooling = Pooling(None)
    return made


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_an_encoder_with_clusters(small: TextRegion) -> None:
    assert small.side == 40
    assert small.working_size(1920, 1080) == (142, 80)
    image = picture(80, 142)
    (found,) = small.encode([image], 1920, 1080)
    assert found.masks.shape[1:] == (10, 15)  # 2 x 3 crops of 5 x 5 patches
    np.testing.assert_array_equal(found.masks.sum(0), 1)
    np.testing.assert_allclose(np.linalg.norm(found.text, axis=1), 1, atol=1e-5)
    assert found.text.shape[1] == small.info.text_dim == small.info.visual_dim == 24
    assert found.boxes.max() <= 1920


def test_referring_pools_with_the_mlp(small: TextRegion, tmp_path: Path) -> None:
    """`ground` uses the referring path of the authors' code, `segment` the semantic path."""
    image, masks = picture(80, 80), np.zeros((2, 80, 80), np.float32)
    masks[0, :40, :40], masks[1, 40:] = 1, 1
    masks[0, :40, 40:50] = 0.2  # partly inside
    np.save(tmp_path / "photo.npy", masks)
    plain = small.regions(image, 80, 80, masks)
    other = small.referring()
    assert (small.pooling.mlp, other.pooling.mlp) == (False, True)
    referring = other.regions(image, 80, 80, masks)
    block = small.tower.blocks[-1]
    with torch.inference_mode():
        values = F.normalize(small.features(image).flatten(0, 1), dim=1)
        y = block.out(patch_masks(torch.from_numpy(masks), (10, 10)) @ values)
        want = F.normalize(small.tower.head(y + block.module.mlp(block.module.ln_2(y))), dim=1)
    np.testing.assert_allclose(referring.text, want.numpy(), atol=1e-5)
    assert np.abs(plain.text - referring.text).max() > 1e-3
    encoder = copy(small)
    encoder.masks = FolderMasks(tmp_path)
    (vector,) = encoder.encode_text(["red cup"])
    seen = ground(encoder, image, "red cup", MergeConfig(), threshold=-1.0, path="photo.jpg")
    scores = referring.text @ vector
    assert seen.nearest == pytest.approx(float(scores.max()), abs=1e-5)
    (thing,) = seen.things
    assert thing.box == [(0, 0, 50, 40), (0, 40, 80, 80)][int(scores.argmax())]
    labels = segment(encoder, image, ["red cup", "key"], MergeConfig(), closed=True, path="photo.jpg")
    best = (plain.text @ encoder.encode_text(["red cup", "key"]).T).argmax(axis=1)
    assert [labels[10, 10], labels[70, 70]] == best.tolist()


def test_sizes_are_options(small: TextRegion, tmp_path: Path) -> None:
    folder = clip_folder.write(tmp_path / "with, a comma")
    made = load(f"textregion:local-dir:{folder},short=96,crop=48", "cpu")
    assert isinstance(made, TextRegion)
    assert (made.side, made.short, made.info.name) == (48, 96, f"textregion:local-dir:{folder},short=96,crop=48")
    assert made.working_size(1920, 1080) == (171, 96)
    made.dtype, made.pooling = torch.float32, Pooling(None)
    (found,) = made.encode([picture(96, 171)], 1920, 1080)
    assert found.masks.shape[1:] == (12, 18)  # 2 x 3 crops of 6 x 6 patches
    text = load_text(made.info.name)
    assert text.info == made.info
    assert text.info.weights == load_text(f"textregion:local-dir:{folder}").info.weights
    check(made.info.name)
    for wrong, message in [
        ("short=9", "short is from 32 to 2016, got 9"),
        ("crop=50", "crop=50 does not fit .* 48"),
        ("grid=3", "'grid=3' is not an option or is given twice; options: short, crop"),
        ("crop=48,crop=48", "given twice"),
    ]:
        with pytest.raises(UsageError, match=message):
            load(f"textregion:local-dir:{folder},{wrong}", "cpu")


def test_a_panorama_is_limited(small: TextRegion) -> None:
    assert short_side(4000, 500, 672) == (2016, 672)
    assert short_side(2048, 1024, 1344) == (2688, 1344)


def test_given_masks_are_pooled(small: TextRegion) -> None:
    image, masks = picture(80, 80), np.zeros((3, 80, 80), bool)
    masks[0, :40, :40] = True
    masks[2, 40:] = True
    found = small.regions(image, 160, 160, masks)
    assert len(found) == 2  # the empty one is left out
    np.testing.assert_array_equal(found.boxes, [[0, 0, 80, 80], [0, 80, 160, 160]])
    np.testing.assert_allclose(found.points, [[40, 40], [80, 120]])
    assert found.area.tolist() == [0.25, 0.5]
    # The same by hand.
    block = small.tower.blocks[-1]
    with torch.inference_mode():
        pixels = normalised([image], (0.5,) * 3, (0.25,) * 3, torch.device("cpu"))[0]
        _, x = next(small.tower.last_blocks(crops(pixels, 40), 1, "offset"))
        grid = fuse_resolutions(block.values(block.normed(x))[:, 1:].unflatten(1, (5, 5)), 2, 2)
        token = F.normalize(small.tower.head(block.out(F.normalize(grid[:5, :5].flatten(0, 1), dim=1).sum(0))), dim=0)
    np.testing.assert_allclose(found.text[0], token.numpy(), atol=1e-5)


def test_masks_that_do_not_fit_fail(small: TextRegion) -> None:
    image = picture(80, 80)
    for masks, message in [
        (np.ones((2, 40, 80), bool), r"the shape \(2, 40, 80\), the picture wants \(n, 80, 80\)"),
        (np.ones((80, 80), bool), "the picture wants"),
        (np.zeros((0, 80, 80), bool), "no masks found"),
        (np.zeros((2, 80, 80), bool), "no masks found"),
        (np.full((1, 80, 80), np.nan, np.float32), "not finite"),
    ]:
        with pytest.raises(ModelError, match=message):
            small.regions(image, 80, 80, masks)
