"""`densevlm` on small random models: pictures, regions, files of every layout, and a memory from end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import clip_folder
from encoders.fake import video
from encoders.test_eva import EVA
from safetensors.torch import load_file, save_file

from vidmem.encoders import check, load, load_text
from vidmem.encoders.clip.dense import dense_features
from vidmem.encoders.clip.densevlm import PUBLISHED, DenseVlm, padded
from vidmem.encoders.clip.eva_files import from_eva, is_eva
from vidmem.encoders.clip.files import PICKLED, WEIGHTS, wanted
from vidmem.encoders.hub import RECORD
from vidmem.encoders.pixels import normalised
from vidmem.encoders.pull import pull
from vidmem.errors import ModelError, UsageError
from vidmem.memory import Memory

clip_folder.required()
SEPARATE = EVA | {"timm_model_name": "eva_separate_test"}
"""As EVA02-B-16: three separate projections, norms within attention and MLP, a gated MLP and rotary positions."""


def picture(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module", autouse=True)
def _register() -> None:
    from timm.models import eva, register_model

    def eva_separate_test(pretrained: bool = False, **more: object) -> object:
        facts: dict[str, Any] = {
            "patch_size": 16,
            "embed_dim": 48,
            "depth": 3,
            "num_heads": 3,
            "qkv_fused": False,
            "mlp_ratio": 8 / 3,
            "swiglu_mlp": True,
            "scale_mlp": True,
            "scale_attn_inner": True,
            "use_rot_pos_emb": True,
            "ref_feat_shape": (16, 16),
            "global_pool": more.pop("global_pool", "token"),
        }
        return eva._create_eva("eva02_base_patch16_clip_224", **facts, **more)

    eva_separate_test.__module__ = eva.__name__
    register_model(eva_separate_test)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder.write(tmp_path_factory.mktemp("clip") / "small")


@pytest.fixture(scope="module")
def eva(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder.write(tmp_path_factory.mktemp("eva") / "separate", vision_cfg=SEPARATE, custom_text=True)


@pytest.fixture
def copy(eva: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(eva, tmp_path / "model", ignore=shutil.ignore_patterns(RECORD)))


def loaded(spec: str) -> DenseVlm:
    made = load(spec, "cpu")
    assert isinstance(made, DenseVlm)
    made.dtype = torch.float32
    return made


def test_pictures_keep_their_shape(folder: Path, eva: Path) -> None:
    made = loaded(f"densevlm:local-dir:{folder}")
    assert made.working_size(1920, 1080) == (512, 288)
    assert made.working_size(1080, 1920) == (288, 512)
    assert made.working_size(3000, 10) == (512, 8)
    assert made.working_size(100, 100) == (512, 512)
    small = loaded(f"densevlm:local-dir:{eva},side=330")
    assert small.working_size(640, 480) == (320, 240)
    assert small.info.name.endswith(",side=330")
    for wrong in ("side=8", "side=64,side=64", "depth=3"):
        with pytest.raises(UsageError, match="side"):
            load(f"densevlm:local-dir:{folder},{wrong}", "cpu")


def test_patches_are_those_of_the_padded_picture(folder: Path) -> None:
    made = loaded(f"densevlm:local-dir:{folder}")
    images = [picture(0, 40, 64), picture(1, 40, 64)]
    found = made.patches(images)
    assert found.shape == (2, 5, 8, 24)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)
    square = np.zeros((64, 64, 3), np.uint8)
    square[:40] = images[1]
    np.testing.assert_array_equal(padded(images[1]), square)
    with torch.no_grad():
        pixels = normalised([square], (0.5,) * 3, (0.25,) * 3, torch.device("cpu"))
        want = dense_features(made.tower, pixels)[0].permute(1, 2, 0)[:5]
    np.testing.assert_allclose(found[1], want.numpy(), atol=1e-5)
    assert made.patches([picture(2, 64, 24)]).shape == (1, 8, 3, 24)


def test_regions_are_clusters_or_masks(eva: Path) -> None:
    made = loaded(f"densevlm:local-dir:{eva}")
    image = picture(0, 96, 128)
    (found,) = made.encode([image], 640, 480)
    patches = made.patches([image])[0]
    np.testing.assert_array_equal(found.masks.sum(0), 1)
    for token, mask in zip(found.text, found.masks, strict=True):
        mean = patches[mask > 0].mean(0)
        np.testing.assert_allclose(token, mean / np.linalg.norm(mean), atol=1e-5)
    masks = np.zeros((2, 96, 128), np.float32)
    masks[0, :32, :48] = 1
    masks[1, 36, 36] = 1  # misses the centres of all patches
    under = made.under(image, 640, 480, masks)
    assert len(under) == 1
    mean = patches[:2, :3].reshape(-1, 24).mean(0)
    np.testing.assert_allclose(under.text[0], mean / np.linalg.norm(mean), atol=1e-5)
    fine = made.under(image, 640, 480, masks, fine=True)
    assert fine.masks.shape == (1, 96, 128)


def test_a_memory_from_end_to_end(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.encoders.clip.densevlm.SIDE", 64)
    spec = f"densevlm:local-dir:{folder}"
    clip = video(tmp_path / "walk.mp4", [{"red": (4 * i, 8)} for i in range(3)])
    with Memory.open(tmp_path / "memory", encoder=spec, device="cpu") as memory:
        memory.index(clip)
        assert memory.stats().tracks > 0
        sighting = memory.where("red mug", threshold=-1.0)[0]
        explained = memory.explain(sighting, "red mug")
        assert explained.by == "patches"
        assert explained.inside is not None
        assert -1 <= explained.low <= explained.inside <= explained.high <= 1
    with Memory.open(tmp_path / "memory", encoder=spec, read_only=True) as memory:
        assert memory.text_encoder.info.name == spec
        assert len(memory.where("red mug", threshold=-1.0, top=None)) >= 1
        assert not memory.where("red mug", threshold=2.0)


def _published_layout(eva: Path) -> dict[str, torch.Tensor]:
    """The folder's weights under EVA-CLIP's names, with the computed tensors that its files have."""
    found = {}
    for name, tensor in load_file(eva / WEIGHTS).items():
        name = name.replace("visual.trunk.", "visual.")
        for ours, theirs in (
            ("mlp.norm.", "mlp.ffn_ln."),
            ("attn.norm.", "attn.inner_attn_ln."),
            ("mlp.fc1_g.", "mlp.w1."),
            ("mlp.fc1_x.", "mlp.w2."),
            ("mlp.fc2.", "mlp.w3."),
            ("q_proj.bias", "q_bias"),
            ("v_proj.bias", "v_bias"),
        ):
            name = name.replace(ours, theirs)
        found[name] = tensor.half()
    for name in ("visual.rope", "visual.blocks.0.attn.rope", "visual.blocks.1.attn.rope"):
        found |= {f"{name}.freqs_{part}": torch.zeros(196, 16) for part in ("cos", "sin")}
    found["text.attn_mask"] = torch.zeros(77, 77)
    return found


@pytest.mark.golden
def test_recorded_names_are_those_of_the_published_layout(eva: Path) -> None:
    """All 200 names that were recorded from the authors' model are taken, and none is left that open_clip lacks."""
    with np.load(clip_folder.GOLDEN / "densevlm" / "dense.npz", allow_pickle=False) as file:
        names = file["eva_names"].tolist()
    assert len(names) == 200
    assert {name for name in names if ".blocks.0." in name} == {
        name for name in _published_layout(eva) if ".blocks.0." in name
    }
    with_table = dict.fromkeys([*names, "visual.pos_embed"], torch.zeros(1))
    assert is_eva(with_table)
    visual = clip_folder._open_clip().create_model("EVA02-B-16", pretrained=None).visual
    expected = {f"visual.{name}" for name in visual.state_dict()}
    found = from_eva(with_table).keys()
    assert found <= expected
    assert {name for name in expected if ".blocks.10." in name} <= found


@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "module"])
def test_files_of_the_published_layout(eva: Path, copy: Path, wrapped: str) -> None:
    (copy / WEIGHTS).unlink()
    state = _published_layout(eva)
    if wrapped == "module":
        state = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 6, "state_dict": state} if wrapped != "plain" else state, copy / PICKLED)
    made, want = loaded(f"densevlm:local-dir:{copy}"), loaded(f"densevlm:local-dir:{eva}")
    image = picture(3, 96, 160)
    np.testing.assert_allclose(made.patches([image]), want.patches([image]), atol=2e-3)  # half precision
    np.testing.assert_allclose(made.encode_text(["a cup"]), want.encode_text(["a cup"]), atol=2e-3)


def _named(eva: Path, change: Any) -> dict[str, torch.Tensor]:
    state = _published_layout(eva)
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("visual.blocks.1.mlp.w3.weight"), r"visual.trunk.blocks.1.mlp.fc2.weight is missing"),
        (lambda s: s.update({"visual.blocks.9.norm1.weight": torch.ones(48)}), "blocks.9.norm1.weight is unknown"),
        (lambda s: s.update({"visual.pos_embed": torch.ones(1, 50, 48)}), r"is \(1, 50, 48\), want \(1, 197, 48\)"),
        (lambda s: s["visual.head.weight"].fill_(float("nan")), "not finite"),
    ],
)
def test_files_of_other_models(eva: Path, copy: Path, change: Any, message: str) -> None:
    (copy / WEIGHTS).unlink()
    torch.save(_named(eva, change), copy / PICKLED)
    with pytest.raises(ModelError, match=message):
        load(f"densevlm:local-dir:{copy}", "cpu")


def test_damaged_and_hostile_files(copy: Path) -> None:
    whole = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="damaged or cut short"):
        load(f"densevlm:local-dir:{copy}", "cpu")
    (copy / WEIGHTS).unlink()
    torch.save({"state_dict": Path("/")}, copy / PICKLED)  # an object that is no tensor
    with pytest.raises(ModelError, match="wants to run code"):
        load(f"densevlm:local-dir:{copy}", "cpu")


def test_a_pooling_head_is_refused_by_name(tmp_path: Path) -> None:
    head = EVA | {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "map"}
    home = clip_folder.write(tmp_path / "siglip", vision_cfg=head, custom_text=True)
    for use in (lambda spec: load(spec, "cpu"), load_text):
        with pytest.raises(ModelError, match=rf"local-dir:{home} has a pooling head; use textregion:local-dir"):
            use(f"densevlm:local-dir:{home}")


def test_an_adapted_folder_with_its_own_pixels(folder: Path, tmp_path: Path) -> None:
    """A training writes the configuration of its student beside the blended weights."""
    home = Path(shutil.copytree(folder, tmp_path / "adapted", ignore=shutil.ignore_patterns(RECORD)))
    state = load_file(home / WEIGHTS)
    save_file({name: tensor * 0.9 for name, tensor in state.items()}, home / WEIGHTS)
    made, before = loaded(f"densevlm:local-dir:{home}"), loaded(f"densevlm:local-dir:{folder}")
    assert made.info.weights != before.info.weights
    assert not np.allclose(made.patches([picture(0, 64, 64)]), before.patches([picture(0, 64, 64)]), atol=1e-3)
    assert json.loads((home / "open_clip_config.json").read_text())["model_cfg"]["embed_dim"] == 24


def test_the_published_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are, whose licence they have, and that both folders of the repository are tried."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (file,) = wanted("densevlm", PUBLISHED)
    assert (file.repo, file.licence, file.spec) == ("lyhisme/DenseVLM", "CC BY-NC 4.0", f"densevlm:{PUBLISHED}")
    with pytest.raises(ModelError, match="`vidmem models pull densevlm:EVA02-B-16/densevlm` fetches them"):
        load("densevlm", "cpu", weights=tmp_path)
    with pytest.raises(ModelError, match=r"run `hf download lyhisme/DenseVLM densevlm_coco_6_save6_512_eva"):
        pull(file, tmp_path, lambda line: None)
    with pytest.raises(ModelError, match="missing"):
        check("densevlm", tmp_path, complete=True)


@pytest.mark.parametrize("place", ["", "checkpoints"])
def test_the_published_file_is_built_as_eva02(
    eva: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """With a small model in place of EVA02-B-16, whose own would be 600 MB."""
    from vidmem.encoders.clip import files

    home = tmp_path / "DenseVLM" / place
    home.mkdir(parents=True)
    torch.save({"state_dict": _published_layout(eva)}, home / "densevlm_coco_6_save6_512_eva_vib16_12layers.pt")
    config = clip_folder.CONFIGURATION | {"vision_cfg": SEPARATE, "custom_text": True}
    oc = files._open_clip()
    monkeypatch.setattr(oc, "get_model_config", lambda name: config if name == "EVA02-B-16" else None)
    made = load("densevlm", "cpu", weights=tmp_path)
    assert made.info.name == f"densevlm:{PUBLISHED}"
    assert made.working_size(1920, 1080) == (512, 288)
    check("densevlm", tmp_path, complete=True)
    lines: list[str] = []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pull(wanted("densevlm", PUBLISHED)[0], tmp_path, lines.append)
    assert load_text("densevlm", weights=tmp_path).info == made.info
