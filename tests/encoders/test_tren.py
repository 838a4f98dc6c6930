"""`tren` and its baseline `patches:tren`, on small random weights in the layouts of the published files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import tren_files
from encoders.fake import video

from needs import needs
from vidmem import encoders
from vidmem.config import preset
from vidmem.encoders import LoadOptions, load, load_text
from vidmem.encoders.hub import RECORD
from vidmem.encoders.templates import IMAGENET
from vidmem.encoders.tren import encoder as tren
from vidmem.encoders.tren import patches
from vidmem.encoders.tren.checkpoint import load_region_encoder, save_region_encoder
from vidmem.encoders.tren.dinotxt import load_text_tower, load_vision_head
from vidmem.encoders.tren.dinov3 import features, load_backbone
from vidmem.encoders.tren.encoder import Tren, grid_points
from vidmem.encoders.tren.patches import Patches
from vidmem.encoders.tren.region_encoder import RegionEncoder
from vidmem.encoders.tren.tokenizer import load_tokens
from vidmem.errors import ModelError, ModelMismatchError, UsageError
from vidmem.memory import Memory

needs("transformers")
SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tren_files.write(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "weights", ignore=shutil.ignore_patterns(RECORD)))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 x 64 pixels, so 4 x 4 points, in float32."""
    monkeypatch.setattr(tren, "SIZE", SIDE)
    monkeypatch.setattr("vidmem.encoders.device.pick_device", lambda name=None: (torch.device("cpu"), torch.float32))
    monkeypatch.delenv("VIDMEM_WEIGHTS", raising=False)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Tren:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidmem.encoders.device.pick_device", lambda name=None: (torch.device("cpu"), torch.float32))
        made = load("tren", "cpu", folder)
    assert isinstance(made, Tren)
    return made


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def pixels(image: np.ndarray) -> torch.Tensor:
    """Normalise in float64."""
    rgb = (image / 255.0 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    return torch.from_numpy(rgb.transpose(2, 0, 1)[None].astype(np.float32))


def test_regions_equal_those_of_the_parts(whole: Tren, folder: Path) -> None:
    (found,) = whole.encode([picture()], 640, 480)
    backbone = load_backbone(folder / tren_files.BACKBONE)
    region = load_region_encoder(folder / tren_files.REGION)
    with torch.inference_mode():
        tokens, attention, _ = region(features(backbone, pixels(picture())).patches, grid_points(4, 4)[None])
        text = region.project(tokens)
    masks = attention / attention.amax(-1, keepdim=True)
    np.testing.assert_allclose(found.visual, tokens[0].flatten(0, 1), atol=1e-4)
    np.testing.assert_allclose(found.text, text[0].flatten(0, 1), atol=1e-4)
    np.testing.assert_allclose(found.masks, masks[0].flatten(0, 1).unflatten(-1, (4, 4)), atol=1e-4)
    assert found.visual.shape == (48, 96)
    np.testing.assert_allclose(found.points[0], [8.5 / 64 * 640, 8.5 / 64 * 480], rtol=1e-6)
    np.testing.assert_allclose(found.points[:3], found.points[[0, 0, 0]])
    assert found.points[3, 0] > found.points[0, 0]
    assert found.points[3, 1] == found.points[0, 1]
    assert (found.boxes[:, 2:] <= [640, 480]).all()
    for name in ("visual", "text", "masks", "points", "boxes", "area"):
        assert getattr(found, name).dtype == np.float32
        assert np.isfinite(getattr(found, name)).all()


def test_a_batch_equals_its_pictures(whole: Tren) -> None:
    images = [picture(seed) for seed in range(3)]
    for image, batched in zip(images, whole.encode(images, 64, 64), strict=True):
        (alone,) = whole.encode([image], 64, 64)
        np.testing.assert_allclose(batched.visual, alone.visual, atol=1e-4)
    assert np.abs(whole.encode(images, 64, 64)[0].visual - whole.encode(images, 64, 64)[1].visual).max() > 1e-3


def test_points_at_512_equal_the_authors() -> None:
    lines = np.linspace(8, 504, 32).astype(int)
    y, x = np.meshgrid(lines, lines, indexing="ij")
    expected = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / 512
    np.testing.assert_allclose(grid_points(32, 32), expected, rtol=1e-6)


def test_working_size_does_not_keep_the_ratio(whole: Tren) -> None:
    assert whole.working_size(1920, 1080) == whole.working_size(480, 640) == (SIDE, SIDE)


def test_text_is_the_second_half_after_the_prompt(whole: Tren, folder: Path) -> None:
    found = whole.encode_text(["red mug", "key"])
    tower = load_text_tower(folder / tren_files.TEXT)
    ids = torch.from_numpy(load_tokens(folder / tren_files.VOCABULARY)(["photo of a red mug"]))
    with torch.inference_mode():
        both = tower(ids)[0].numpy()
    np.testing.assert_allclose(found[0], both[96:] / np.linalg.norm(both[96:]), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert abs(float(found[0] @ both[:96]) / np.linalg.norm(both[:96])) < 0.9
    assert whole.encode_text([]).shape == (0, 96)


def test_names_are_encoded_in_80_sentences(whole: Tren) -> None:
    names = ["red mug", "key"]
    found = whole.encode_names(names)
    for name, vector in zip(names, found, strict=True):
        # The tower directly, since `encode_text` puts words before a phrase.
        mean = whole._encode([sentence.replace("{}", name) for sentence in IMAGENET]).mean(0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert not np.allclose(found, whole.encode_text(names), atol=1e-3)
    assert whole.encode_names([]).shape == (0, 96)
    with pytest.raises(UsageError, match="the name is empty"):
        whole.encode_names(["mug", " "])


def test_contrast_leaves_out_phrases_of_the_same_meaning(whole: Tren) -> None:
    (vector,) = whole.encode_text(["mug"])
    assert len(whole.contrast(vector)) == 2
    background = whole.contrast(vector)[0]
    assert len(whole.contrast(background)) == 1


@pytest.mark.parametrize(("phrase", "message"), [(" ", "the phrase is empty"), ("1" * 80, "at most 77 fit")])
def test_an_unreadable_phrase_fails(whole: Tren, phrase: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        whole.encode_text(["mug", phrase])


def test_a_phrase_that_is_too_long_is_cut_at_a_word(whole: Tren, caplog: pytest.LogCaptureFixture) -> None:
    long = "11 " * 40
    count = whole._text.tokens.count
    kept = next(n for n in range(40, 0, -1) if count("photo of a " + "11 " * n) <= 77)
    assert kept < 40
    cut, short = whole.encode_text([long, "11 " * kept])
    np.testing.assert_array_equal(cut, short)
    whole.encode_text([long])
    (message,) = caplog.messages  # warned once
    tokens = count("photo of a " + long)
    cause = f"the phrase has {tokens} tokens with its prompt, at most 77 fit"
    assert message == f"{cause}; its first {kept} words count, up to '11 11 11'"
    whole.encode_names([long])  # in the longest of the sentences
    assert "words count, up to '11 11 11'" in caplog.messages[-1]


def test_the_text_side_is_the_same_and_needs_no_backbone(whole: Tren, copy: Path) -> None:
    assert load_text("tren", copy).info == whole.info  # also records the files
    (copy / tren_files.BACKBONE).unlink()
    code = f"""
import sys
from vidmem.encoders import load_text
text = load_text("tren", {str(copy)!r})
assert "transformers" not in sys.modules and "av" not in sys.modules
print(text.info.weights, text.encode_text(["red mug"])[0].tobytes().hex())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    weights, vector = done.stdout.split()
    assert weights == whole.info.weights
    found = np.frombuffer(bytes.fromhex(vector), np.float32)
    np.testing.assert_allclose(found, whole.encode_text(["red mug"])[0], atol=1e-5)
    with pytest.raises(ModelError, match=r"DINOv3 backbone is missing: accept the licence at https://huggingface.co/"):
        load("tren", "cpu", copy)


def test_info(whole: Tren) -> None:
    assert (whole.info.name, whole.info.visual_dim, whole.info.text_dim) == ("tren", 96, 96)
    assert whole.info.open_vocabulary
    assert "not calibrated" in whole.info.knows
    assert whole.info.calibration.product_threshold == 0.18


def test_other_weights_are_another_model(whole: Tren, copy: Path) -> None:
    torch.manual_seed(6)
    save_region_encoder(RegionEncoder(96, 96).eval(), copy / tren_files.REGION)
    assert load_text("tren", copy).info.weights != whole.info.weights


def test_the_folder_of_the_environment(whole: Tren, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDMEM_WEIGHTS", str(folder))
    assert load_text("tren").info == whole.info
    encoders.load_text("tiny")  # has no folder of weights and does not look at it
    with pytest.raises(UsageError, match="`tiny` has no folder of weights; leave `weights` out"):
        encoders.load_text("tiny", folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (tren_files.REGION, "region encoder is missing: `vidmem models pull tren` fetches it"),
        (
            tren_files.TEXT,
            "dino.txt text tower and vision head is missing: ask Meta for access at https://ai.meta.com/",
        ),
        (tren_files.VOCABULARY, "CLIP vocabulary is missing"),
        (tren_files.BACKBONE, "DINOv3 backbone is missing"),
    ],
)
def test_a_missing_file_fails(copy: Path, name: str, message: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelError, match=message):
        load("tren", "cpu", copy)


def test_a_region_encoder_of_another_width_fails(copy: Path) -> None:
    save_region_encoder(RegionEncoder(64, 96), copy / tren_files.REGION)
    with pytest.raises(ModelError, match="is for features of width 64, the backbone gives 96; use the backbone"):
        load("tren", "cpu", copy)
    (copy / RECORD).unlink()
    save_region_encoder(RegionEncoder(96, 64), copy / tren_files.REGION)
    with pytest.raises(ModelError, match="text tokens have width 64, the text tower gives 96; use the one"):
        load_text("tren", copy)


def test_a_changed_file_fails(copy: Path) -> None:
    load_text("tren", copy)
    save_region_encoder(RegionEncoder(96, 96), copy / tren_files.REGION)
    with pytest.raises(ModelError, match="have changed since they were recorded"):
        load_text("tren", copy)


def test_sizes_by_name(copy: Path) -> None:
    (copy / tren_files.BACKBONE).rename(copy / "dinov3_vitb16_pretrain_small.pth")
    with pytest.raises(ModelError, match="DINOv3 backbone is missing"):
        load("tren", "cpu", copy)
    assert load("tren:vitb16", "cpu", copy).info.name == "tren:vitb16"
    assert tren.size_of("7b") == "vit7b16"
    for use in (encoders.check, load, load_text):
        with pytest.raises(ModelError, match="no DINOv3 backbone 'vitx'; there are: vits16, vits16plus, "):
            use("tren:vitx")


def test_patches_equal_the_backbone_and_the_vision_head(folder: Path) -> None:
    encoder = load("patches:tren", "cpu", folder)
    assert isinstance(encoder, Patches)
    assert encoder.info.name == load_text("patches", folder).info.name == "patches:tren"
    (found,) = encoder.encode([picture()], 128, 64)
    with torch.inference_mode():
        expected = features(load_backbone(folder / tren_files.BACKBONE), pixels(picture()))
        _, text = load_vision_head(folder / tren_files.TEXT, heads=3)(expected)
    np.testing.assert_allclose(found.visual, expected.patches[0].flatten(1).T, atol=1e-4)
    np.testing.assert_allclose(found.text, text[0].flatten(1).T, atol=1e-4)
    assert found.masks.sum() == len(found) == 16
    assert found.masks[5, 1, 1] == 1
    np.testing.assert_allclose(found.boxes[5], [32, 16, 64, 32])
    np.testing.assert_allclose(found.points[5], [48, 24])
    np.testing.assert_allclose(found.area, 1 / 16)


def test_patches_of_another_width_or_encoder_fail(copy: Path) -> None:
    torch.save(tren_files.text_state(64), copy / tren_files.TEXT)
    with pytest.raises(ModelError, match="features of width 64, the backbone gives 96; only vitl16 has"):
        patches.load(LoadOptions("tren", "cpu", copy))
    with pytest.raises(ModelError, match="no patches of 'tiny'; use patches:tren"):
        encoders.check("patches:tiny")


def test_a_memory_of_each(folder: Path, tmp_path: Path) -> None:
    """Index, search, reopen. The baseline keeps every patch of every frame; regions become tracks."""
    clip = video(tmp_path / "walk.mp4", [{"red": (4 * i, 8)} for i in range(6)])
    counts = {}
    for spec, name in (("tren", "default"), ("patches:tren", "patches")):
        with Memory.open(tmp_path / spec, encoder=spec, device="cpu", weights=folder) as memory:
            memory.index(clip)
            counts[spec] = memory.stats().tracks
            found = memory.store.model()
            assert found is not None
            assert found.config == preset(name).as_dict()
        with Memory.open(tmp_path / spec, read_only=True, weights=folder) as memory:
            assert len(memory.where("red mug", threshold=-1.0, top=None)) >= 1
            assert memory.text_encoder.info.name == spec
    assert counts["patches:tren"] == 6 * 16
    assert 0 < counts["tren"] < 6 * 16
    with pytest.raises(ModelMismatchError):
        Memory.open(tmp_path / "tren", encoder="patches:tren", weights=folder)


def test_patches_can_be_tracked(folder: Path, tmp_path: Path) -> None:
    clip = video(tmp_path / "walk.mp4", [{"red": (4, 8)}] * 6)
    with Memory.open(tmp_path / "memory", encoder="patches:tren", device="cpu", weights=folder) as memory:
        memory.index(clip, config=preset("patches-tracked"))
        assert memory.stats().tracks < 6 * 16
        assert memory.stats().regions == 6 * 16


def test_bfloat16_is_close(whole: Tren, folder: Path) -> None:
    text, region, info = tren._load_all_but_backbone("vitl16", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidmem.encoders.device.pick_device", lambda name=None: (torch.device("cpu"), torch.bfloat16))
        half = Tren(info, text, load_backbone(folder / tren_files.BACKBONE), region, "cpu")
    (exact,), (near,) = whole.encode([picture()], 64, 64), half.encode([picture()], 64, 64)
    cosine = (exact.visual * near.visual).sum(1)
    cosine /= np.linalg.norm(exact.visual, axis=1) * np.linalg.norm(near.visual, axis=1)
    assert cosine.min() > 0.99
    np.testing.assert_allclose(near.masks, exact.masks, atol=0.1)
