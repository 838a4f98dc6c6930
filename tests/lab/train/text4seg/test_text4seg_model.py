"""The adapter: what it is on, and that it and the merged model compute the same when they are loaded again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import talking
import torch
from torch import nn
from vlm import tiny_models

from lab.train.text4seg.chat import Chat
from lab.train.text4seg.model import (
    adapt,
    fingerprint,
    logits_at,
    pad_token,
    parts_of,
    save_adapter,
    save_merged,
    to_training,
    trained,
    window_of,
)
from lab.train.text4seg.packing import padded
from lab.train.text4seg.records import Records
from vidmem.errors import MediaError, ModelError
from vidmem.vlm.local import LocalModel, load

Folder = Callable[..., Path]
LINEARS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def logits(model: Any, local: LocalModel, data: Path) -> torch.Tensor:
    chat = Chat(local)
    example = chat.encode(Records([data])[1], 256)
    with torch.no_grad():
        return logits_at(model, padded([example], pad_token(local)))[0]


def moved(model: Any) -> Any:
    """The model with an adapter that does something."""
    torch.manual_seed(3)
    with torch.no_grad():
        for value in trained(model).values():
            value.add_(torch.randn_like(value) * 0.02)
    return model


@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
def test_parts_of_every_layout(layout: str, tiny: Folder) -> None:
    local = load(tiny(layout), "cpu")
    parts = parts_of(local.model, local.folder)
    assert {name.rpartition(".")[2] for name in parts.language_linears} == LINEARS
    assert len(parts.language_linears) == 2 * len(LINEARS)  # two layers
    assert len(parts.connectors) == 1
    assert parts.connector_linears
    everything = {name for name, module in local.model.named_modules() if isinstance(module, nn.Linear)}
    vision = everything - set(parts.language_linears) - set(parts.connector_linears) - {"lm_head"}
    assert vision
    assert all("vis" in name for name in vision)


@pytest.mark.parametrize(
    ("connector", "kinds"), [("lora", {"lora_A", "lora_B"}), ("full", {"weight", "bias"}), ("frozen", set())]
)
def test_the_connector_is_trained_as_asked_for(connector: Any, kinds: set[str], local: LocalModel) -> None:
    model, _ = adapt(local, replace(talking.SMALL.lora, connector=connector), 0)
    names = [name for name in trained(model) if "multi_modal_projector" in name]
    assert {part for name in names for part in name.split(".") if part in {"lora_A", "lora_B"} | kinds} - {
        "weight"
    } == (kinds - {"weight"})
    assert bool(names) == (connector != "frozen")
    assert any("language_model" in name for name in trained(model))


def test_the_size_of_the_adapter(local: LocalModel) -> None:
    """rank x (in + out) for each linear layer, as for the 160 million of a 7B model in Table 7."""
    shapes = {name: m.weight.shape for name, m in local.model.named_modules() if isinstance(m, nn.Linear)}
    parts = parts_of(local.model, local.folder)
    model, _ = adapt(local, talking.SMALL.lora, 0)
    wanted = sum(8 * sum(shapes[name]) for name in (*parts.language_linears, *parts.connector_linears))
    assert sum(value.numel() for value in trained(model).values()) == wanted


def test_a_new_adapter_changes_nothing_and_follows_its_seed(tiny: Folder, data: Path) -> None:
    local = load(tiny(), "cpu")
    before = logits(local.model, local, data)
    torch.manual_seed(9)
    state = torch.get_rng_state()
    model, _ = adapt(local, talking.SMALL.lora, 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(logits(model, local, data), before)
    again, _ = adapt(load(tiny(), "cpu"), talking.SMALL.lora, 1)
    other, _ = adapt(load(tiny(), "cpu"), talking.SMALL.lora, 2)
    first, same, else_ = trained(model), trained(again), trained(other)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], else_[name]) for name in first)


def test_only_adapted_parts_are_in_training(local: LocalModel) -> None:
    model, parts = adapt(local, talking.SMALL.lora, 0)
    to_training(model, parts, False)
    base = model.get_base_model()
    assert base.model.language_model.layers[0].training
    assert base.model.multi_modal_projector.training
    assert not any(module.training for module in base.model.vision_tower.modules())


@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
@pytest.mark.parametrize("connector", ["lora", "full"])
def test_what_is_saved_computes_the_same(layout: str, connector: Any, tiny: Folder, data: Path, tmp_path: Path) -> None:
    local = load(tiny(layout), "cpu")
    plain = logits(local.model, local, data)
    model, _ = adapt(local, replace(talking.SMALL.lora, connector=connector), 0)
    wanted = logits(moved(model), local, data)
    assert (wanted - plain).abs().max() > 0.05
    save_adapter(model, local, tmp_path / "adapter")
    save_merged(model, local, tmp_path / "merged")
    for name in ("adapter", "merged"):
        found = load(tmp_path / name, "cpu")
        torch.testing.assert_close(logits(found.model, found, data), wanted, rtol=1e-4, atol=1e-4)
        assert found.template == local.template
    kept = load(tmp_path / "adapter", "cpu", trainable=True)
    torch.testing.assert_close(logits(kept.model, kept, data), wanted, rtol=1e-4, atol=1e-4)


def test_the_folder_of_an_adapter(local: LocalModel, tmp_path: Path) -> None:
    model, _ = adapt(local, talking.SMALL.lora, 0)
    save_adapter(model, local, tmp_path / "adapter")
    first = {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "chat_template.jinja"} <= first.keys()
    assert "README.md" not in first
    config = json.loads(first["adapter_config.json"])
    assert config["base_model_name_or_path"] == str(local.folder.resolve())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (8, 16, 0.05)
    (tmp_path / "adapter" / "old").touch()
    save_adapter(model, local, tmp_path / "adapter")
    assert {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()} == first
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="the model cannot be written"):
        save_adapter(model, local, tmp_path / "file" / "adapter")


def test_models_without_the_parts_fail(local: LocalModel) -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

    with pytest.raises(ModelError, match="no language model of its own"):
        parts_of(Bare(), Path("folder"))
    inner = local.model.model
    inner.bridge = inner.multi_modal_projector
    del inner.multi_modal_projector
    with pytest.raises(ModelError, match="no connector with linear layers"):
        adapt(local, talking.SMALL.lora, 0)
    model, _ = adapt(local, replace(talking.SMALL.lora, connector="frozen"), 0)
    assert trained(model)


def test_the_window_of_a_model(local: LocalModel) -> None:
    assert window_of(local.model) == float("inf")
    config = local.model.config.get_text_config()
    config.sliding_window, config.layer_types = 32, ["full_attention", "full_attention"]
    assert window_of(local.model) == float("inf")
    config.layer_types = ["full_attention", "sliding_attention"]
    assert window_of(local.model) == 32


def test_the_fingerprint_knows_every_file(tiny: Callable[..., Path], tmp_path: Path) -> None:
    """The last byte of the weights, the template, the tokenizer and the processor; not a file of another kind."""
    folder = tmp_path / "model"
    shutil.copytree(tiny(), folder)
    first = fingerprint(folder)
    (folder / "README.md").write_text("new")
    assert fingerprint(folder) == first
    names = ["model.safetensors", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
    names += [path.name for path in folder.glob("*processor_config.json")]
    assert len(names) > 4
    for name in names:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert fingerprint(folder) != first, name
        (folder / name).write_bytes(whole)
    assert fingerprint(folder) == first
