"""DINOv3 from Meta's files and from Hugging Face folders, against recordings of Meta's code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import tren_files
from numpy.typing import NDArray
from torch import Tensor, nn

from needs import needs
from vidmem.encoders.tren.dinov3 import features, heads, load_backbone, to_device, width
from vidmem.errors import ModelError

needs("transformers")


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(tren_files.GOLDEN / "dinotxt_small.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("meta") / "dinov3_vitl16_pretrain_small.pth"
    torch.save(tren_files.backbone_state(), path)
    return path


def compare(model: nn.Module, golden: dict[str, NDArray[np.float32]]) -> None:
    with torch.inference_mode():
        found = features(model, torch.from_numpy(golden["image"]))
    assert found.patches.shape == (2, 96, 4, 6)
    np.testing.assert_allclose(found.patches.flatten(2).transpose(1, 2), golden["backbone_patch"], atol=1e-5)
    np.testing.assert_allclose(found.cls, golden["backbone_class"], atol=1e-5)
    np.testing.assert_allclose(found.registers, golden["backbone_register"], atol=1e-5)


@pytest.mark.golden
def test_metas_file_equals_metas_code(file: Path, golden: dict[str, NDArray[np.float32]]) -> None:
    model = load_backbone(file)
    assert (width(model), heads(model)) == (96, 3)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    compare(model, golden)


@pytest.mark.golden
def test_the_whole_state_dict_is_accepted(tmp_path: Path, golden: dict[str, NDArray[np.float32]]) -> None:
    torch.save(tren_files.meta_state(), tmp_path / "whole.pth")
    compare(load_backbone(tmp_path / "whole.pth"), golden)


@pytest.mark.golden
def test_a_folder_of_hugging_face_is_the_same(
    file: Path, tmp_path: Path, golden: dict[str, NDArray[np.float32]]
) -> None:
    load_backbone(file).save_pretrained(tmp_path / "hf")  # type: ignore[operator]
    compare(load_backbone(tmp_path / "hf"), golden)


@pytest.mark.golden
def test_the_masked_bias_of_the_keys_matters(tmp_path: Path, golden: dict[str, NDArray[np.float32]]) -> None:
    """Without the mask the bias counts: rotary positions make it differ from key to key, so it changes the softmax."""
    state = {name: t for name, t in tren_files.backbone_state().items() if not name.endswith("bias_mask")}
    torch.save(state, tmp_path / "unmasked.pth")
    model = load_backbone(tmp_path / "unmasked.pth")
    assert model.config.key_bias  # type: ignore[union-attr]
    with torch.inference_mode():
        found = features(model, torch.from_numpy(golden["image"]))
    assert np.abs(found.patches.flatten(2).transpose(1, 2).numpy() - golden["backbone_patch"]).max() > 2e-4


def test_a_gated_mlp_and_no_bias_as_in_the_largest(tmp_path: Path) -> None:
    """SwiGLU is w3(silu(w1 x) * w2 x). The other tensors of the published 7B are loaded, too."""
    state: dict[str, Tensor] = {}
    for name, tensor in tren_files.backbone_state().items():
        if ".mlp." not in name and ".qkv.bias" not in name and name != "rope_embed.periods":
            state[name] = tensor
    state["rope_embed.periods"] = tren_files.backbone_state()["rope_embed.periods"]
    state["local_cls_norm.weight"] = torch.ones(96)
    for i in range(3):
        for part, shape in (("w1", (128, 96)), ("w2", (128, 96)), ("w3", (96, 128))):
            state[f"blocks.{i}.mlp.{part}.weight"] = torch.randn(shape) / 10
            state[f"blocks.{i}.mlp.{part}.bias"] = torch.randn(shape[0]) / 10
    torch.save(state, tmp_path / "gated.pth")
    model = load_backbone(tmp_path / "gated.pth")
    mlp = next(module for name, module in model.named_modules() if name.endswith("layer.0.mlp"))
    x = torch.randn(2, 96)
    w1, w2, w3 = (
        lambda v, p=p: v @ state[f"blocks.0.mlp.{p}.weight"].T + state[f"blocks.0.mlp.{p}.bias"]
        for p in ("w1", "w2", "w3")
    )
    torch.testing.assert_close(mlp(x), w3(torch.nn.functional.silu(w1(x)) * w2(x)))
    assert not [name for name in model.state_dict() if "q_proj.bias" in name]


def test_positions_keep_their_precision(file: Path, golden: dict[str, NDArray[np.float32]]) -> None:
    exact = load_backbone(file)
    frequencies = exact.rope_embeddings.inv_freq.clone()  # type: ignore[union-attr,operator]
    model = to_device(load_backbone(file), torch.device("cpu"), torch.bfloat16)
    assert next(model.parameters()).dtype == torch.bfloat16
    torch.testing.assert_close(model.rope_embeddings.inv_freq, frequencies, atol=0, rtol=0)  # type: ignore[union-attr]
    with torch.inference_mode():
        found = features(model, torch.from_numpy(golden["image"])).patches.float().flatten(2).transpose(1, 2).numpy()
    wanted = golden["backbone_patch"]
    cosine = (found * wanted).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(wanted, axis=-1)
    assert cosine.min() > 0.999


def test_periods_of_the_file_count(file: Path, tmp_path: Path) -> None:
    state = tren_files.backbone_state()
    state["rope_embed.periods"] = state["rope_embed.periods"].bfloat16()
    torch.save(state, tmp_path / "rounded.pth")
    model = load_backbone(tmp_path / "rounded.pth")
    expected = 1 / state["rope_embed.periods"].float()
    torch.testing.assert_close(model.rope_embeddings.inv_freq, expected, atol=0, rtol=0)  # type: ignore[union-attr]


class Code:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("ran",)


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda state: {k: t for k, t in state.items() if k != name}


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (without("blocks.1.norm1.bias"), r"tensor .*layer\.1\.norm1\.bias is missing"),
        (without("patch_embed.proj.weight"), "holds no DINOv3 vision transformer"),
        (lambda state: state | {"blocks.0.surprise.weight": torch.ones(1)}, "blocks.0.surprise.weight is unknown"),
        (lambda state: state | {"norm.weight": torch.ones(95)}, r"norm.weight is \(95,\) .*want \(96,\)"),
        (lambda state: state | {"norm.weight": torch.full((96,), torch.nan)}, "norm.weight holds a value that is not"),
        (lambda state: state | {"rope_embed.periods": torch.zeros(8)}, "rope_embed.periods holds a value"),
        (lambda state: {"model": state}, "is of the type dict, not a tensor with a name"),
        (lambda state: state | {"norm.weight": Code()}, "its pickle wants to run code, which vidmem never does"),
    ],
)
def test_a_wrong_file_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    path = tmp_path / "wrong.pth"
    torch.save(harm(tren_files.backbone_state()), path)
    with pytest.raises(ModelError, match=message) as raised:
        load_backbone(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    assert "ran" not in capsys.readouterr().out


def test_a_damaged_file_fails(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    path.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match="damaged or cut short"):
        load_backbone(path)
    path.write_bytes(b"<html>Not Found</html>")
    with pytest.raises(ModelError, match="damaged or cut short"):
        load_backbone(path)
    torch.save(tren_files.backbone_state(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="bare pickle"):
        load_backbone(path)
    with pytest.raises(ModelError, match=r"cannot be read .*check the path"):
        load_backbone(tmp_path / "none.pth")


def test_a_wrong_folder_fails(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    load_backbone(file).save_pretrained(folder)  # type: ignore[operator]
    config = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"model_type": "bert"}, "says 'bert', not 'dinov3_vit'"),
        ({"num_hidden_layers": 4}, "tensors are missing or do not fit"),
        ({"hidden_size": 192}, "cannot load it|do not fit"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match=message):
            load_backbone(folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(ModelError, match="transformers cannot load it"):
        load_backbone(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        load_backbone(folder)


def test_a_missing_library_fails(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ModelError, match=r"pip install 'vidmem\[tren\]'"):
        load_backbone(file)
