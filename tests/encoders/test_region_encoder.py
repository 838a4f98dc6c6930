"""The T-REN region encoder against recordings of the authors' code, and its other properties."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidmem.config import MergeConfig
from vidmem.encoders.tren.checkpoint import our_name
from vidmem.encoders.tren.positions import FourierPositions
from vidmem.encoders.tren.region_encoder import RegionEncoder
from vidmem.geometry import mask_boxes
from vidmem.indexer.merge import merge
from vidmem.records import RegionTokens

GOLDEN = Path(__file__).parents[1] / "golden" / "tren"
PIXELS = 128


def points_of(pixels_yx: NDArray[np.int64], size: int) -> Tensor:
    """Turn (y, x) in pixels into x, y in [0, 1]."""
    return (torch.from_numpy(pixels_yx).flip(-1).float() + 0.5) / size


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN / "decoder_small.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def state() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN / "decoder_small_state_dict.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def model(state: dict[str, NDArray[np.float32]]) -> Iterator[RegionEncoder]:
    model = RegionEncoder(64, 48).eval()
    # strict: all of the authors' tensors but the computed ones have a name here, and the other way round
    ours = {our_name(k): torch.from_numpy(v) for k, v in state.items() if k != "feature_embeddings"}
    model.load_state_dict(ours)
    with torch.inference_mode():
        yield model


def run(model: RegionEncoder, golden: dict[str, NDArray[np.float32]], grid: str) -> tuple[Tensor, Tensor]:
    """Tokens `(B, P, k, D)` and max-normalised masks `(B, P, k, h, w)`."""
    features = torch.from_numpy(golden["feature_maps"])
    points = points_of(golden[f"grid_points_{grid}"], PIXELS).expand(len(features), -1, -1)
    with torch.inference_mode():
        tokens, attention, _ = model(features, points)
    torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))
    return tokens, (attention / attention.amax(-1, keepdim=True)).unflatten(-1, features.shape[-2:])


@pytest.mark.golden
@pytest.mark.parametrize(("grid", "suffix"), [("8x8", ""), ("4x4", "_4x4")])
def test_outputs_equal_the_authors(
    model: RegionEncoder, golden: dict[str, NDArray[np.float32]], grid: str, suffix: str
) -> None:
    tokens, masks = run(model, golden, grid)
    np.testing.assert_allclose(tokens, golden[f"pred_tokens{suffix}"], atol=1e-5)
    np.testing.assert_allclose(masks, golden[f"region_masks{suffix}"], atol=1e-5)
    with torch.inference_mode():
        text = model.project(tokens)
    np.testing.assert_allclose(text, golden[f"text_aligned_tokens{suffix}"], atol=1e-5)


@pytest.mark.golden
def test_every_layer_equals_the_authors(model: RegionEncoder, golden: dict[str, NDArray[np.float32]]) -> None:
    seen: dict[str, Tensor] = {}

    def watch(module: nn.Module, name: str, *, before: bool = False) -> None:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name] = inputs[0] if before else output

        handles.append(module.register_forward_hook(keep))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for i, layer in enumerate(model.layers):
        watch(layer.region_norm, f"act_region_attn_{i}", before=True)
        watch(layer.region_norm, f"act_region_norm_{i}")
        watch(layer.prompt_attn, f"act_prompt_attn_{i}")
        watch(layer.prompt_norm, f"act_prompt_norm_{i}")
    try:
        run(model, golden, "8x8")
    finally:
        for handle in handles:
            handle.remove()
    assert seen.keys() == {name for name in golden if name.startswith("act_")}
    for name, value in seen.items():
        np.testing.assert_allclose(value.reshape(golden[name].shape), golden[name], atol=1e-5, err_msg=name)


@pytest.mark.golden
def test_encoded_and_merged_equals_the_authors(model: RegionEncoder, golden: dict[str, NDArray[np.float32]]) -> None:
    tokens, masks = run(model, golden, "8x8")
    with torch.inference_mode():
        text = model.project(tokens)
    for b in range(len(tokens)):
        flat = masks[b].flatten(0, 1).numpy()
        n = len(flat)
        boxes = mask_boxes(flat, PIXELS, PIXELS)
        given = RegionTokens(
            tokens[b].flatten(0, 1).numpy(),
            text[b].flatten(0, 1).numpy(),
            flat,
            boxes[:, :2],
            boxes,
            np.zeros(n, np.float32),
        )
        for keep, name in ((False, f"merged_{b}"), (True, f"merged_keepsingle_{b}")):
            out = merge(given, MergeConfig(keep_singletons=keep), frame_width=PIXELS, frame_height=PIXELS)
            # The authors' order of groups differs, so compare each group with its nearest.
            theirs = golden[f"{name}_pred_tokens"]
            assert len(out) == len(theirs)
            order = np.abs(out.visual[None] - theirs[:, None]).max(-1).argmin(1)
            assert sorted(order) == list(range(len(out)))
            np.testing.assert_allclose(out.visual[order], theirs, atol=1e-5)
            np.testing.assert_allclose(out.masks[order], golden[f"{name}_region_masks"], atol=1e-5)
            np.testing.assert_allclose(out.text[order], golden[f"{name}_text_aligned_tokens"], atol=1e-5)


@pytest.mark.golden
def test_positions_equal_the_authors(state: dict[str, NDArray[np.float32]]) -> None:
    with np.load(GOLDEN / "prompt_encoder.npz", allow_pickle=False) as file:
        golden = dict(file)
    wide, small = FourierPositions(1024), FourierPositions(64)
    close = {"atol": 1e-6, "rtol": 0}
    np.testing.assert_array_equal(wide.gaussian, golden["gaussian_1024"])
    np.testing.assert_array_equal(small.gaussian, golden["gaussian_64"])
    at_points = wide(points_of(golden["points_yx"], 512))
    np.testing.assert_allclose(at_points, golden["location_at_points_1024"], **close)
    rows = wide.grid(32, 32)[torch.from_numpy(golden["feature_rows_idx"])]
    np.testing.assert_allclose(rows, golden["feature_embeddings_rows_1024"], **close)
    np.testing.assert_allclose(small.grid(8, 8), golden["feature_64_8x8"], **close)
    np.testing.assert_allclose(small.grid(8, 8), state["feature_embeddings"], **close)
    every_16th = small.grid(128, 128).view(128, 128, 64)[::16, ::16].permute(2, 0, 1)
    np.testing.assert_allclose(every_16th, golden["location_64_res128"], **close)


def test_positions_are_not_weights() -> None:
    assert not [name for name in RegionEncoder(32, 16, heads=4).state_dict() if "gaussian" in name]


@pytest.mark.golden
def test_x_and_y_swapped_is_noticed(model: RegionEncoder, golden: dict[str, NDArray[np.float32]]) -> None:
    features = torch.from_numpy(golden["feature_maps"])
    points = points_of(golden["grid_points_8x8"], PIXELS).flip(-1).expand(len(features), -1, -1)
    tokens, _, _ = model(features, points)
    assert np.abs(tokens.numpy() - golden["pred_tokens"]).max() > 0.01


def test_points_do_not_see_each_other(model: RegionEncoder) -> None:
    features, points = torch.randn(1, 64, 5, 7), torch.rand(1, 6, 2)
    tokens, attention, queries = model(features, points)
    assert tokens.shape == (1, 6, 3, 64)
    assert attention.shape == (1, 6, 3, 35)
    assert queries.shape == (1, 6, 3, 64)
    alone, _, _ = model(features, points[:, 2:3])
    torch.testing.assert_close(alone, tokens[:, 2:3], atol=1e-5, rtol=1e-5)


def test_tokens_are_mixtures_of_patches(model: RegionEncoder) -> None:
    features = torch.randn(2, 64, 4, 6)
    tokens, attention, _ = model(features, torch.rand(2, 5, 2))
    mixed = torch.einsum("bpkn,bnd->bpkd", attention, features.flatten(2).transpose(1, 2))
    torch.testing.assert_close(tokens, mixed, atol=1e-5, rtol=1e-5)


def test_features_of_another_width_fail(model: RegionEncoder) -> None:
    with pytest.raises(RuntimeError):
        model(torch.randn(1, 32, 4, 4), torch.rand(1, 3, 2))
