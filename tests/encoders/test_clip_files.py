"""Which model a spec names, what goes wrong with its files, and its text side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import clip_folder
from safetensors.torch import load_file, save_file

from vidmem.encoders import check, load, load_text
from vidmem.encoders.clip_files import CONFIG, WEIGHTS, wanted
from vidmem.encoders.clip_text import ClipText
from vidmem.encoders.hub import RECORD
from vidmem.encoders.pull import pull
from vidmem.encoders.templates import BARE, IMAGENET, filled
from vidmem.errors import ModelError, UsageError

clip_folder.required()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder.write(tmp_path_factory.mktemp("clip") / "small")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The same, to do harm to."""
    return Path(shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns(RECORD)))


@pytest.fixture(scope="module")
def text(folder: Path) -> ClipText:
    made = load_text(f"textregion:local-dir:{folder}")
    assert isinstance(made, ClipText)
    return made


def test_templates_are_open_clips() -> None:
    import open_clip

    assert list(IMAGENET) == [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    assert filled(("a {}.", "{}"), "{0} set") == ["a {0} set.", "{0} set"]


def test_a_phrase_is_the_mean_of_its_prompts(text: ClipText) -> None:
    (whole,) = text.encode_text(["red cup"])
    each = text.encode_in([template.replace("{}", "red cup") for template in IMAGENET])
    mean = each.mean(0)
    np.testing.assert_allclose(whole, mean / np.linalg.norm(mean), atol=1e-6)
    with torch.inference_mode():
        want = text._loaded.model.encode_text(text._loaded.tokenize(["red cup"]))[0].numpy()
    np.testing.assert_allclose(text.encode_in(["red cup"])[0], want / np.linalg.norm(want), atol=1e-6)


def test_names_of_classes_are_in_80_sentences(text: ClipText) -> None:
    np.testing.assert_array_equal(text.encode_names(["red cup", "key"]), text.encode_in(["red cup", "key"], IMAGENET))


def test_many_phrases_at_once_are_the_same(text: ClipText, monkeypatch: pytest.MonkeyPatch) -> None:
    phrases = ["a cup", "my keys", "the red ball under a table"]
    monkeypatch.setattr("vidmem.encoders.clip_text.BATCH", 7)
    together = text.encode_text(phrases)
    for phrase, row in zip(phrases, together, strict=True):
        np.testing.assert_allclose(text.encode_text([phrase])[0], row, atol=1e-5)
    assert text.encode_text([]).shape == (0, 24)


def test_contrast_leaves_out_what_means_the_same(text: ClipText) -> None:
    (background,) = text.encode_in(["background, any other thing"])
    assert text.contrast(background).shape == (0, 24)
    assert text.contrast(-background).shape == (1, 24)


@pytest.mark.parametrize("phrase", ["", "  "])
def test_an_empty_phrase_fails(text: ClipText, phrase: str) -> None:
    with pytest.raises(UsageError, match="the phrase is empty"):
        text.encode_text(["cup", phrase])


def test_a_text_of_500_words_fails(text: ClipText) -> None:
    with pytest.raises(UsageError, match=r"has 50\d tokens in its prompt, at most 77 fit; shorten it: 'cup cup"):
        text.encode_in(["cup " * 500], BARE)
    text.encode_in(["cup " * 75], BARE)
    with pytest.raises(UsageError, match="has 78 tokens"):
        text.encode_in(["cup " * 76], BARE)


@pytest.mark.parametrize(
    ("spec", "message"),
    [("textregion:ViT-B16/openai", "no CLIP model 'ViT-B16/openai'; did you mean 'ViT-B-16/openai'"),
     ("gem:ViT-B-16", "did you mean 'ViT-B-16/openai'"),
     ("gem:ViT-B-16/opnai", "did you mean 'ViT-B-16/openai'"),
     ("textregion:hf-hub:one", "spelled hf-hub:ORG/REPO"),
     ("textregion:local-dir:/nowhere", "there is none: /nowhere")],
)  # fmt: skip
def test_an_unknown_model_fails(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check(spec)


def test_weights_that_are_missing_are_told_how_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    command = ("on a machine with a network run `hf download timm/vit_base_patch16_clip_224.openai "
               "open_clip_model.safetensors --local-dir vit_base_patch16_clip_224.openai` and copy "
               f"vit_base_patch16_clip_224.openai into {tmp_path}")  # fmt: skip
    for use in (load_text, lambda spec, weights: load(spec, "cpu", weights)):
        with pytest.raises(ModelError, match="`vidmem models pull textregion:ViT-B-16/openai` fetches them") as caught:
            use("textregion", tmp_path)  # type: ignore[operator]
        assert command in str(caught.value)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set") as caught:
        pull(wanted("gem", "")[0], tmp_path, lambda line: None)
    assert command in str(caught.value)


def test_a_published_model_comes_from_its_folder(tmp_path: Path) -> None:
    (file,) = wanted("gem", "ViT-B-32/laion2b_s34b_b79k")
    assert (file.repo, file.files, file.spec) == (
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", (WEIGHTS,), "gem:ViT-B-32/laion2b_s34b_b79k",
    )  # fmt: skip
    (siglip,) = wanted("textregion", "ViT-B-16-SigLIP2/webli")
    assert siglip.files[:2] == (WEIGHTS, "tokenizer.json")
    (hub,) = wanted("textregion", "hf-hub:org/repo")
    assert (hub.repo, hub.files) == ("org/repo", (WEIGHTS, CONFIG))


def test_changed_weights_are_refused(copy: Path) -> None:
    load_text(f"gem:local-dir:{copy}")
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match="the weights have changed since they were recorded"):
        load_text(f"gem:local-dir:{copy}")


def test_damaged_files_fail(folder: Path, copy: Path) -> None:
    whole = (copy / WEIGHTS).read_bytes()
    state = load_file(folder / WEIGHTS)  # mapped: not the file that is written to

    def fails(message: str) -> None:
        (copy / RECORD).unlink(missing_ok=True)
        with pytest.raises(ModelError, match=message):
            load_text(f"textregion:local-dir:{copy}")

    (copy / WEIGHTS).write_bytes(whole[:1000])
    fails("damaged or cut short")
    save_file({k: v for k, v in state.items() if k != "visual.proj"}, copy / WEIGHTS)
    fails(r"another model \(the tensor visual.proj is missing\)")
    save_file(state | {"visual.proj": torch.ones(2, 2)}, copy / WEIGHTS)
    fails(r"visual.proj is \(2, 2\), want \(32, 24\)")
    save_file(state | {"visual.proj": torch.full((32, 24), torch.nan)}, copy / WEIGHTS)
    fails("visual.proj holds a value that is not finite")
    (copy / WEIGHTS).unlink()
    fails("the folder holds no weights")
    (copy / "a.safetensors").touch()
    (copy / "b.safetensors").touch()
    fails("could be a.safetensors or b.safetensors")
    (copy / CONFIG).write_text("{}")
    (copy / "b.safetensors").unlink()
    fails("open_clip_config.json is missing or damaged")


def test_a_model_that_cannot_be_built_fails(copy: Path) -> None:
    told = json.loads((copy / CONFIG).read_text())
    told["model_cfg"]["vision_cfg"]["banana"] = 1
    (copy / CONFIG).write_text(json.dumps(told))
    with pytest.raises(ModelError, match="open_clip cannot build the model"):
        load_text(f"gem:local-dir:{copy}")


def test_gem_wants_a_class_token(tmp_path: Path) -> None:
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16, "patch_size": None}
    folder = clip_folder.write(tmp_path / "resnet", vision_cfg=vision)
    with pytest.raises(ModelError, match="has no patches to take; choose a ViT"):
        load(f"gem:local-dir:{folder}", "cpu")
