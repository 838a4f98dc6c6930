"""Vision-language models from folders, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vlm import tiny_models
from vlm.conftest import TinyModel

from needs import needs
from vidmem.errors import ModelError, UsageError
from vidmem.vlm.chat import encode, messages, render
from vidmem.vlm.local import load

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "model"))


@pytest.mark.parametrize("tokenizer", ["bytes", "words"])
@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
def test_a_model_of_each_layout_reads_a_picture_and_a_question(
    tiny_model: TinyModel, layout: str, tokenizer: str
) -> None:
    import torch

    local = load(tiny_model(layout, tokenizer), "cpu")
    assert (local.kind, local.dtype, local.base) == (layout, torch.float32, local.folder)
    text = render(local, messages(IMAGE, "Where is the cup?"), prompt=True)
    assert "Where is the cup?" in text
    assert text.endswith("assistant\n")
    inputs = encode(local, IMAGE, text)
    with torch.inference_mode():
        one = local.model(**inputs).logits
        other = local.model(**encode(local, 255 - IMAGE, text)).logits
    assert one.shape == (1, inputs["input_ids"].shape[1], local.model.config.get_text_config().vocab_size)
    assert not torch.equal(one[0, -1], other[0, -1])  # it sees the picture
    assert not any(p.requires_grad for p in local.model.parameters())


def test_an_answer_follows_the_question_in_the_text(tiny_model: TinyModel) -> None:
    local = load(tiny_model(), "cpu")
    asked = render(local, messages(None, "Where is the cup?"), prompt=True)
    told = render(local, messages(None, "Where is the cup?", "<seg>cup *16\n</seg>"))
    assert told.startswith(asked)
    assert told.removeprefix(asked).startswith("<seg>cup *16\n</seg><|im_end|>")


def adapter(base: Path, folder: Path, named: str) -> Any:
    """A random LoRA adapter in a folder; returns the model with it."""
    import torch

    peft = needs("peft")
    local = load(base, "cpu")
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    torch.manual_seed(1)
    model = peft.get_peft_model(local.model, config)
    model.save_pretrained(folder)
    tiny_models.edit_json(folder / "adapter_config.json", base_model_name_or_path=named)
    return model.eval()


def test_an_adapter_is_loaded_on_its_base(tiny_model: TinyModel, tmp_path: Path) -> None:
    import torch

    base = tiny_model()
    adapted = adapter(base, tmp_path, str(base))
    local, plain = load(tmp_path, "cpu"), load(base, "cpu")
    inputs = encode(local, IMAGE, render(local, messages(IMAGE, "Where?"), prompt=True))
    with torch.inference_mode():
        want, got, without = (m(**inputs).logits for m in (adapted, local.model, plain.model))
    assert torch.allclose(want, got, atol=1e-5)
    assert not torch.allclose(want, without, atol=1e-3)
    assert local.base == base
    assert local.folder == tmp_path
    trained = load(tmp_path, "cpu", trainable=True).model
    named = {name for name, p in trained.named_parameters() if p.requires_grad}
    assert named
    assert all("lora_" in name for name in named)


def test_the_base_of_an_adapter_may_be_beside_it(tiny_model: TinyModel, tmp_path: Path) -> None:
    base = copy(tiny_model(), tmp_path)
    adapter(base, tmp_path / "adapter", "../model")
    assert load(tmp_path / "adapter", "cpu").base.resolve() == base.resolve()


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"base_model_name_or_path": "someone/base"}, "no folder here; write the path"),
        ({"base_model_name_or_path": None}, "no folder here"),
        ({"peft_type": "IA3"}, "kind IA3; only LORA"),
        ({"megatron_config": {"a": 1}}, "for Megatron"),
        ({"target_modules": ["q_proj", "k_proj", "v_proj"]}, "does not fit its base"),
    ],
)
def test_an_adapter_that_cannot_be_used(
    tiny_model: TinyModel, tmp_path: Path, change: dict[str, Any], cause: str
) -> None:
    base = tiny_model()
    adapter(base, tmp_path, str(base))
    tiny_models.edit_json(tmp_path / "adapter_config.json", **change)
    with pytest.raises(ModelError, match=cause):
        load(tmp_path, "cpu")


def test_an_adapter_without_safetensors(tiny_model: TinyModel, tmp_path: Path) -> None:
    base = tiny_model()
    adapter(base, tmp_path, str(base))
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"lacks adapter_model\.safetensors"):
        load(tmp_path, "cpu")


def test_an_adapter_without_peft(tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_model()
    adapter(base, tmp_path, str(base))
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ModelError, match=r"needs peft; pip install 'vidmem\[vlm\]'"):
        load(tmp_path, "cpu")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    needs("torch")
    with pytest.raises(ModelError, match="does not exist; check the path"):
        load(tmp_path / "none", "cpu")
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load(tmp_path, "cpu")
    (tmp_path / "config.json").write_text("[1")
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        load(tmp_path, "cpu")
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(ModelError, match=r"no weights as \.safetensors"):
        load(tmp_path, "cpu")


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"model_type": "llama"}, "'llama' takes no pictures"),
        ({"model_type": "internvl_chat", "auto_map": {"AutoConfig": "mine.Config"}}, "brings code of its own"),
        ({"model_type": "nothing"}, "transformers here has no 'nothing'"),
        ({}, "names no model_type"),
    ],
)
def test_a_model_of_a_kind_that_is_not_used(tmp_path: Path, config: dict[str, Any], cause: str) -> None:
    tiny_models.required()
    (tmp_path / "mine.py").write_text("raise SystemExit('this code must not run')")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=cause):
        load(tmp_path, "cpu")


def test_a_chat_template_that_is_missing(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = copy(tiny_model(), tmp_path)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match=r"no chat template; add chat_template\.jinja"):
        load(folder, "cpu")


def test_a_chat_template_of_the_tokenizer_is_used(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = copy(tiny_model(), tmp_path)
    template = (folder / "chat_template.jinja").read_text("utf-8")
    (folder / "chat_template.jinja").unlink()
    tiny_models.edit_json(folder / "tokenizer_config.json", chat_template=template)
    assert load(folder, "cpu").template == template


@pytest.mark.parametrize(
    ("template", "cause"),
    [
        ("{% for m in messages %}{{ m['content'][1]['text'] }}{% endfor %}", "chat template"),
        ("{{ raise_exception('no pictures') }}", "does not fit the model .no pictures"),
        ("{% for %}", "does not fit the model"),
    ],
)
@pytest.mark.parametrize("layout", ["llava", "qwen2_vl"])
def test_a_chat_template_that_does_not_fit(
    tiny_model: TinyModel, tmp_path: Path, layout: str, template: str, cause: str
) -> None:
    folder = copy(tiny_model(layout), tmp_path)
    (folder / "chat_template.jinja").write_text(template)
    local = load(folder, "cpu")
    with pytest.raises(ModelError, match=cause):
        encode(local, IMAGE, render(local, messages(IMAGE, "Where?"), prompt=True))


def test_weights_that_are_missing_or_cut(tiny_model: TinyModel, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy(tiny_model(), tmp_path)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors.pop(next(name for name in tensors if "q_proj" in name))
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ModelError, match="1 tensors are missing or do not fit"):
        load(folder, "cpu")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot load it"):
        load(folder, "cpu")
    file.rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no weights as \.safetensors"):
        load(folder, "cpu")


def test_a_processor_that_is_missing(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = copy(tiny_model(), tmp_path)
    (folder / "processor_config.json").unlink()
    with pytest.raises(ModelError, match="processor"):
        load(folder, "cpu")


def test_a_device_that_does_not_work(tiny_model: TinyModel) -> None:
    with pytest.raises(UsageError, match="`device` warp"):
        load(tiny_model(), "warp")


def test_without_transformers(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_model()
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ModelError, match=r"needs transformers.*pip install 'vidmem\[vlm\]'"):
        load(folder, "cpu")
