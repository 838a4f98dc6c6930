"""SAM2 as a source of masks, on a small random model of transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import sam2_folder

from vidmem.encoders.masks import sam2
from vidmem.encoders.masks.loading import mask_source
from vidmem.encoders.masks.sam2 import Sam2Masks
from vidmem.encoders.masks.sam_masks import fuse, pick
from vidmem.errors import ModelError, UsageError
from vidmem.records import Frame, SourceInfo, SourceKind

sam2_folder.required()
H, W = 48, 80


@pytest.fixture(scope="module")
def source(sam2_small: Path) -> Sam2Masks:
    made = mask_source(f"sam2:local-dir:{sam2_small}", "cpu")
    assert isinstance(made, Sam2Masks)
    made.grid = 4
    return made


def test_the_grid_of_points_is_an_option(sam2_small: Path, source: Sam2Masks) -> None:
    made = mask_source(f"sam2:local-dir:{sam2_small},grid=4", "cpu")
    assert isinstance(made, Sam2Masks)
    assert (made.grid, made.key_every) == (4, 8)
    (image,) = pictures(1)
    np.testing.assert_array_equal(made.of_picture(image), source.of_picture(image))
    assert len(sam2.wanted("tiny,grid=36")) == 1
    for wrong, message in [("sam2:tiny,grid=0", "grid is from 1 to 128, got 0"), ("sam2,points=3", "options: grid")]:
        with pytest.raises(UsageError, match=message):
            mask_source(wrong, "cpu")


def pictures(count: int) -> list[np.ndarray]:
    first = np.random.default_rng(0).integers(0, 256, (H // 8, W // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.roll(first, 4 * i, axis=1) for i in range(count)]


def info(kind: SourceKind = SourceKind.VIDEO) -> SourceInfo:
    return SourceInfo("/videos/walk.mp4", kind, W, H, 10**9, "f")


def frames(images: list[np.ndarray]) -> list[Frame]:
    return [Frame(image, i * 10**8, i) for i, image in enumerate(images)]


def test_a_grid_of_points_is_prompted_as_in_the_library(sam2_small: Path, source: Sam2Masks) -> None:
    from transformers import Sam2Model

    own = Sam2Model.from_pretrained(sam2_small).eval()
    (image,) = pictures(1)
    centres = (np.arange(4) + 0.5) * sam2_folder.SIDE / 4
    points = torch.tensor([[[[x, y]] for y in centres for x in centres]], dtype=torch.float32)
    with torch.inference_mode():
        out = own(
            pixel_values=source.pixels(image),
            input_points=points,
            multimask_output=True,
            input_labels=torch.ones(1, 16, 1, dtype=torch.int64),
        )
        want = fuse(pick(out.pred_masks[0], out.iou_scores[0]), H, W)
    found = source.of_picture(image)
    assert found.shape == want.shape
    assert len(found) >= 1
    assert found.shape[1:] == (H, W)
    np.testing.assert_allclose(found, want.numpy(), atol=1e-3)


def test_pixels_are_squashed_and_normalised(source: Sam2Masks) -> None:
    pixels = source.pixels(np.full((H, W, 3), 255, np.uint8))
    assert pixels.shape == (1, 3, sam2_folder.SIDE, sam2_folder.SIDE)
    np.testing.assert_allclose(
        pixels[0, :, 0, 0], (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-5
    )


@pytest.fixture
def two(source: Sam2Masks, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The grid finds two objects. Returns a list that grows with each call."""
    asked: list[int] = []

    def find(image: np.ndarray) -> torch.Tensor:
        asked.append(len(asked))
        masks = torch.zeros(2, H, W)
        masks[0, 8:24, 8:24] = 3
        masks[1, 24:40, 40:72] = 3
        return masks

    monkeypatch.setattr(source, "segment", find)
    return asked


def test_masks_are_propagated_from_key_frames(
    source: Sam2Masks, two: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "key_every", 3)
    found = list(source.of_frames(frames(pictures(5)), info()))
    assert len(two) == 2  # frames 0 and 3
    assert [m.shape for m in found] == [(2, H, W)] * 5
    assert all(m.dtype == np.float32 and m.min() >= 0 and m.max() <= 3.001 for m in found)
    np.testing.assert_array_equal(found[0], found[3])
    assert not np.array_equal(found[0], found[1])  # from the predictor
    again = list(source.of_frames(frames(pictures(5))[:2], info()))
    np.testing.assert_allclose(again[1], found[1], atol=1e-4)  # later frames do not change it


def test_pictures_that_are_not_consecutive_are_segmented_one_by_one(source: Sam2Masks, two: list[int]) -> None:
    for kind in (SourceKind.IMAGES, SourceKind.PICTURE):
        two.clear()
        assert len(list(source.of_frames(frames(pictures(3)), info(kind)))) == len(two) == 3


def test_objects_out_of_view_are_dropped(source: Sam2Masks, two: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    head = source.model.mask_decoder.pred_obj_score_head.proj_out
    with torch.no_grad():
        before = head.bias.clone()
        head.bias.fill_(-100.0)
    try:
        found = list(source.propagate(pictures(3)))
    finally:
        with torch.no_grad():
            head.bias.copy_(before)
    assert [len(m) for m in found] == [2, 0, 0]


def test_without_masks_nothing_is_propagated(source: Sam2Masks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "segment", lambda image: torch.zeros(0, H, W))
    assert [m.shape for m in source.propagate(pictures(3))] == [(0, H, W)] * 3


def test_an_unknown_size_fails() -> None:
    with pytest.raises(ModelError, match="no SAM2 'huge'; there are tiny, small, base-plus, large and local-dir"):
        sam2.load("huge")
    (file,) = sam2.wanted("")
    assert (file.repo, file.spec) == ("facebook/sam2.1-hiera-large", "sam2:large")


def test_missing_weights_have_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="`vidmem models pull sam2:tiny` fetches them") as caught:
        sam2.load("tiny", "cpu", tmp_path)
    command = "hf download facebook/sam2.1-hiera-tiny model.safetensors config.json --local-dir sam2.1-hiera-tiny"
    assert f"run `{command}` and copy sam2.1-hiera-tiny into {tmp_path}" in str(caught.value)
    with pytest.raises(ModelError, match="check the path: /nowhere"):
        sam2.load("local-dir:/nowhere", "cpu")


def test_damaged_files_fail(sam2_small: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sam2_small, tmp_path / "copy", ignore=shutil.ignore_patterns("weights.json")))
    weights = copy / "model.safetensors"
    data = weights.read_bytes()
    sam2.load(f"local-dir:{copy}", "cpu")
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match="the weights have changed since they were recorded"):
        sam2.load(f"local-dir:{copy}", "cpu")
    (copy / "weights.json").unlink()
    weights.write_bytes(data[:2000])
    with pytest.raises(ModelError, match="transformers cannot load it"):
        sam2.load(f"local-dir:{copy}", "cpu")
    (copy / "weights.json").unlink()
    weights.write_bytes(data)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"memory_attention_num_layers": 2}))
    with pytest.raises(ModelError, match="tensors are missing or do not fit"):
        sam2.load(f"local-dir:{copy}", "cpu")
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ModelError, match="says 'bert', not 'sam2_video'"):
        sam2.load(f"local-dir:{copy}", "cpu")
