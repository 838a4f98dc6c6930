"""Backbones by name: `tiny` with its shipped weights, DINOv3 with random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lab.train.tren import backbones
from lab.train.tren.backbones import Seen, TinyFeatures, load_backbone
from needs import needs
from vidmem.encoders.tren.region_encoder import RegionEncoder
from vidmem.errors import ModelError, UsageError
from vidmem.query.labels import load_labels

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny() -> TinyFeatures:
    found = load_backbone("tiny", None, CPU)
    assert isinstance(found, TinyFeatures)
    return found


def test_tiny(tiny: TinyFeatures) -> None:
    images = torch.rand(1, 3, tiny.size[1], tiny.size[0], generator=torch.Generator().manual_seed(0))
    seen = tiny.features(images)
    assert seen.patches.shape == (1, tiny.dim, *tiny.grid)
    assert seen.patches.dtype == torch.float32
    assert not seen.patches.requires_grad
    heads = tiny.patch_head(seen)
    assert heads.shape == (1, tiny.grid[0] * tiny.grid[1], tiny.text_dim)
    torch.testing.assert_close(tiny.head(seen.patches[:, :, 3, 5][:, None], seen)[:, 0], heads[:, 3 * tiny.grid[1] + 5])
    names = tiny.text(["dog", "alarm clock"])
    assert names.shape == (2, tiny.text_dim)
    with pytest.raises(UsageError, match="no English word"):
        tiny.text(["dog", "собака"])
    again = load_backbone("tiny", None, CPU)
    assert again.weights == tiny.weights
    assert torch.equal(again.features(images).patches, seen.patches)


def test_a_batch_is_its_pictures(tiny: TinyFeatures) -> None:
    images = torch.rand(2, 3, tiny.size[1], tiny.size[0], generator=torch.Generator().manual_seed(1))
    both = tiny.features(images).patches
    for i in range(2):
        torch.testing.assert_close(tiny.features(images[i : i + 1]).patches, both[i : i + 1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("photograph", "name"), [("chelsea", "cat"), ("astronaut", "person")])
def test_the_head_of_tiny_names_what_it_sees(tiny: TinyFeatures, photograph: str, name: str) -> None:
    """Out of COCO's 80 names, by the mean of a photograph that shows one thing. Chance is 1 in 80."""
    data = needs("skimage.data")
    picture = Image.fromarray(getattr(data, photograph)()).resize(tiny.size)
    seen = tiny.features(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255)
    names = load_labels("coco").names
    assert len(names) == 80
    said = tiny.head(seen.patches.mean((2, 3))[:, None], seen)[0, 0]
    assert names[int((tiny.text(names) @ said).argmax())] == name


def test_a_text_projector_can_start_from_the_head_of_tiny(tiny: TinyFeatures) -> None:
    model = RegionEncoder(tiny.dim, tiny.text_dim, heads=4)
    tokens = torch.randn(1, 4, tiny.dim, generator=torch.Generator().manual_seed(0))
    tiny.copy_head(model)
    torch.testing.assert_close(model.project(tokens), tiny.head(tokens, Seen(tokens)), atol=1e-5, rtol=1e-5)
    wide = RegionEncoder(tiny.dim, tiny.text_dim, heads=4, mlp_dim=3 * tiny.text_dim)
    tiny.copy_head(wide)
    torch.testing.assert_close(wide.project(tokens), tiny.head(tokens, Seen(tokens)), atol=1e-5, rtol=1e-5)
    wide.project(tokens).square().sum().backward()
    assert wide.text2.weight.grad is not None
    assert wide.text2.weight.grad[:, 2 * tiny.text_dim :].any()  # what is left over learns
    with pytest.raises(UsageError, match="mlp_dim to fit"):
        tiny.copy_head(RegionEncoder(tiny.dim, tiny.text_dim, heads=4, mlp_dim=64))


@pytest.mark.parametrize("harm", ["missing", "cut", "other"])
def test_a_damaged_head_fails(harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / backbones.HEAD
    whole = Path(backbones.__file__).with_name(backbones.HEAD).read_bytes()
    if harm == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif harm == "other":
        save_file({"mean": torch.zeros(4)}, path)
    monkeypatch.setattr(backbones, "_head_file", lambda: path)
    with pytest.raises(ModelError, match=rf"the head of the backbone `tiny` .*{backbones.HEAD}") as told:
        load_backbone("tiny", None, CPU)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["huge", "tiny:large"])
def test_no_such_backbone(name: str) -> None:
    with pytest.raises(UsageError, match=r"there are: tiny, dinov3|one size"):
        load_backbone(name, None, CPU)


def test_dinov3_fails_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_backbone("dinov3", tmp_path, CPU)
    with pytest.raises(ModelError, match="no DINOv3 backbone 'vitxl'"):
        load_backbone("dinov3:vitxl", tmp_path, CPU)


def test_dinov3_with_random_weights() -> None:
    transformers = needs("transformers")
    from lab.train.tren.dinov3 import DinoFeatures
    from vidmem.encoders.torchvision_compat import ready
    from vidmem.encoders.tren.dinotxt import TextTower, VisionHead
    from vidmem.encoders.tren.encoder import TextSide

    ready()
    torch.manual_seed(0)
    config = transformers.DINOv3ViTConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_register_tokens=4,
        image_size=64,
        patch_size=16,
    )
    model = transformers.DINOv3ViTModel(config).eval()
    head, tower = VisionHead(64, 2, 4, 64).eval(), TextTower(50, 9, 32, 1, 2, 64, 128).eval()
    reader = TextSide(tower, lambda phrases: np.array([[1, 2 + len(p) % 40, 49] for p in phrases]))
    backbone = DinoFeatures("dinov3:test", "0", model, head, reader, 64, CPU)
    assert backbone.grid == (4, 4)
    seen = backbone.features(torch.rand(2, 3, 64, 64))
    assert seen.patches.shape == (2, 64, 4, 4)
    assert backbone.patch_head(seen).shape == (2, 16, 64)
    tokens = torch.randn(2, 3, 64)
    together = backbone.head(tokens, seen)
    assert together.shape == (2, 3, 64)
    alone = backbone.head(tokens[:, 1:2], seen)
    torch.testing.assert_close(alone[:, 0], together[:, 1])  # which others there are does not matter
    swapped = backbone.head(tokens, Seen(seen.patches, seen.cls.flip(0), seen.registers.flip(0)))  # type: ignore[union-attr]
    assert not torch.allclose(swapped, together)  # the picture does
    there = torch.tensor([[True, True, False], [False, True, False]])
    joint = backbone.head_together(tokens, seen, there)
    torch.testing.assert_close(joint[1, 1], together[1, 1])  # alone in its picture
    assert not torch.allclose(joint[0, 0], together[0, 0])  # of two, each sees the other
    other = tokens.clone()
    other[0, 2] = 9.0
    torch.testing.assert_close(backbone.head_together(other, seen, there), joint)  # what is not there is not seen
    whole = backbone.head_together(seen.patches.flatten(2).transpose(1, 2), seen, torch.ones(2, 16, dtype=torch.bool))
    torch.testing.assert_close(whole, backbone.patch_head(seen))  # regions stand in the place of patches
    assert backbone.text(["a", "bb"]).shape == (2, 64)
    with pytest.raises(UsageError, match="leave `text_start` at random"):
        backbone.copy_head(RegionEncoder(64, 64, heads=4))
    with pytest.raises(UsageError, match="multiple of 16"):
        DinoFeatures("x", "0", model, head, reader, 50, CPU)
