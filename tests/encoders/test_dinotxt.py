"""dino.txt's text tower and vision head against recordings of Meta's code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import tren_files
from numpy.typing import NDArray

from vidmem.encoders.tren.dinotxt import load_text_tower, load_vision_head
from vidmem.encoders.tren.dinov3 import Features
from vidmem.errors import ModelError


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(tren_files.GOLDEN / "dinotxt_small.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("meta") / "dinotxt.pth"
    torch.save(tren_files.meta_state(), path)
    return path


@pytest.mark.golden
def test_text_equals_meta(file: Path, golden: dict[str, NDArray[np.float32]]) -> None:
    tower = load_text_tower(file, heads=4)
    ids = torch.from_numpy(golden["tokens"])
    with torch.inference_mode():
        np.testing.assert_allclose(tower.tokens(ids), golden["text_tokens"], atol=1e-5)
        np.testing.assert_allclose(tower(ids), golden["text_features"], atol=1e-5)


@pytest.mark.golden
def test_tokens_after_the_end_do_not_count(file: Path, golden: dict[str, NDArray[np.float32]]) -> None:
    tower = load_text_tower(file, heads=4)
    for row, ids in enumerate(golden["tokens"]):
        short = torch.from_numpy(ids[: ids.argmax() + 1])[None]
        with torch.inference_mode():
            np.testing.assert_allclose(tower(short)[0], golden["text_features"][row], atol=1e-5)


@pytest.mark.golden
def test_pictures_equal_meta(file: Path, golden: dict[str, NDArray[np.float32]]) -> None:
    head = load_vision_head(file, heads=3)
    patches = torch.from_numpy(golden["backbone_patch"]).transpose(1, 2).unflatten(2, (4, 6))
    given = Features(patches, *(torch.from_numpy(golden[f"backbone_{part}"]) for part in ("class", "register")))
    with torch.inference_mode():
        cls, found = head(given)
    np.testing.assert_allclose(found.flatten(2).transpose(1, 2), golden["head_patch_tokens"], atol=1e-5)
    whole = torch.cat([cls, found.flatten(2).mean(2)], dim=1)
    np.testing.assert_allclose(whole, golden["image_features"], atol=1e-5)


def test_order_of_words_matters(file: Path) -> None:
    tower = load_text_tower(file, heads=4)
    with torch.inference_mode():
        one, other = tower(torch.tensor([[5, 7, 9, 119], [9, 7, 5, 119]]))
    assert (one - other).abs().max() > 0.01


def test_incomplete_files_fail(file: Path, tmp_path: Path) -> None:
    vision = {name: t for name, t in tren_files.meta_state().items() if name.startswith("visual_model")}
    torch.save(vision, tmp_path / "vision.pth")
    load_vision_head(tmp_path / "vision.pth", heads=3)
    with pytest.raises(ModelError, match=r"holds no text tower \(text_model.backbone.\*\)"):
        load_text_tower(tmp_path / "vision.pth")
    torch.save({"text_model.backbone.x": torch.ones(1)}, tmp_path / "text.pth")
    with pytest.raises(ModelError, match="holds no vision head"):
        load_vision_head(tmp_path / "text.pth", heads=3)
    with pytest.raises(ModelError, match=r"holds no vision head .* of 5 heads"):
        load_vision_head(file, heads=5)


@pytest.mark.parametrize("name", ["text_model.backbone.blocks.1.feed_forward.fc2.bias", "text_model.backbone.extra"])
def test_a_missing_or_unknown_tensor_fails(tmp_path: Path, name: str) -> None:
    state = tren_files.meta_state()
    if name in state:
        del state[name]
    else:
        state[name] = torch.ones(1)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ModelError, match=r"is missing|is unknown"):
        load_text_tower(tmp_path / "x.pth", heads=4)


def test_a_file_in_half_precision_is_read_as_float32(file: Path, tmp_path: Path) -> None:
    torch.save({name: t.bfloat16() for name, t in tren_files.meta_state().items()}, tmp_path / "half.pth")
    tower = load_text_tower(tmp_path / "half.pth", heads=4)
    assert {p.dtype for p in tower.parameters()} == {torch.float32}
