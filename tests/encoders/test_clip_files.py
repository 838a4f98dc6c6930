"""Names of models, errors in their files, and the text side."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import clip_folder
from safetensors.torch import load_file, save_file

from vidmem.encoders import check, load, load_text
from vidmem.encoders.clip.files import CONFIG, PICKLED, WEIGHTS, wanted
from vidmem.encoders.clip.text import ClipText
from vidmem.encoders.hub import RECORD
from vidmem.encoders.pull import pull
from vidmem.encoders.templates import BARE, IMAGENET, filled
from vidmem.errors import ModelError, UsageError

clip_folder.required()
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder.write(tmp_path_factory.mktemp("clip") / "small")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns(RECORD)))


@pytest.fixture(scope="module")
def text(folder: Path) -> ClipText:
    made = load_text(f"textregion:local-dir:{folder}")
    assert isinstance(made, ClipText)
    return made


def test_templates_equal_those_of_open_clip() -> None:
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


def test_names_are_encoded_in_80_sentences(text: ClipText) -> None:
    np.testing.assert_array_equal(text.encode_names(["red cup", "key"]), text.encode_in(["red cup", "key"], IMAGENET))


def test_batches_do_not_change_vectors(text: ClipText, monkeypatch: pytest.MonkeyPatch) -> None:
    phrases = ["a cup", "my keys", "the red ball under a table"]
    monkeypatch.setattr("vidmem.encoders.clip.text.BATCH", 7)
    together = text.encode_text(phrases)
    for phrase, row in zip(phrases, together, strict=True):
        np.testing.assert_allclose(text.encode_text([phrase])[0], row, atol=1e-5)
    assert text.encode_text([]).shape == (0, 24)


def test_contrast_leaves_out_phrases_of_the_same_meaning(text: ClipText) -> None:
    (background,) = text.encode_in(["background, any other thing"])
    assert text.contrast(background).shape == (0, 24)
    assert text.contrast(-background).shape == (1, 24)


@pytest.mark.parametrize("phrase", ["", "  "])
def test_an_empty_phrase_fails(text: ClipText, phrase: str) -> None:
    with pytest.raises(UsageError, match="the phrase is empty"):
        text.encode_text(["cup", phrase])


def test_a_text_of_500_words_is_cut_with_a_warning(text: ClipText, caplog: pytest.LogCaptureFixture) -> None:
    short = text.encode_in(["cup " * 75], BARE)
    assert caplog.messages == []
    for count in (76, 500):
        np.testing.assert_array_equal(text.encode_in(["cup " * count], BARE), short)
        cause = f"the phrase has {count + 2} tokens with its prompt, at most 77 fit"
        assert caplog.messages == [f"{cause}; its first 75 words count, up to 'cup cup cup'"]
        caplog.clear()
    text.encode_in(["cup " * 500], BARE)
    assert caplog.messages == []  # warned once
    assert not text.fits("cup " * 75)
    assert text.fits("cup " * 60)


def test_a_phrase_is_cut_so_that_its_longest_prompt_fits(text: ClipText, caplog: pytest.LogCaptureFixture) -> None:
    """All prompts have the same words of the phrase, and none is cut."""
    phrase = "red thing, old blue thing, new " * 14
    (found,) = text.encode_text([phrase])
    words = phrase.split()
    counts = [max(map(text._loaded.count, filled(IMAGENET, " ".join(words[:n])))) for n in range(1, len(words) + 1)]
    fit = [n for n, count in enumerate(counts, 1) if count <= 77]
    assert 20 < len(fit) < len(words)
    np.testing.assert_array_equal(found, text.encode_text([" ".join(words[: fit[-1]])])[0])
    assert f"its first {fit[-1]} words count" in caplog.text


def test_a_word_that_is_too_long_fails(text: ClipText) -> None:
    with pytest.raises(UsageError, match=r"the phrase's first word alone has .* at most 77 fit; shorten it: 'x1x1x1"):
        text.encode_text(["x1" * 300 + " cup"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("textregion:ViT-B16/openai", "no CLIP model 'ViT-B16/openai'; did you mean 'ViT-B-16/openai'"),
        ("gem:ViT-B-16", "did you mean 'ViT-B-16/openai'"),
        ("gem:ViT-B-16/opnai", "did you mean 'ViT-B-16/openai'"),
        ("textregion:hf-hub:one", "spelled hf-hub:ORG/REPO"),
        ("textregion:local-dir:/nowhere", "no open_clip_config.json in the folder.*: /nowhere"),
    ],
)
def test_an_unknown_model_fails(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check(spec)


def test_missing_weights_have_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    command = (
        "on a machine with a network run `hf download timm/vit_base_patch16_clip_224.openai "
        "open_clip_model.safetensors --local-dir vit_base_patch16_clip_224.openai` and copy "
        f"vit_base_patch16_clip_224.openai into {tmp_path}"
    )
    for use in (load_text, lambda spec, weights: load(spec, "cpu", weights)):
        with pytest.raises(ModelError, match="`vidmem models pull textregion:ViT-B-16/openai` fetches them") as caught:
            use("textregion", tmp_path)  # type: ignore[operator]
        assert command in str(caught.value)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set") as caught:
        pull(wanted("gem", "")[0], tmp_path, lambda line: None)
    assert command in str(caught.value)


FORMS: dict[str, tuple[str, Callable[[State], object]]] = {
    "a table": ("open_clip_pytorch_model.bin", lambda state: state),
    "parameters": ("model.pth", lambda state: {n: torch.nn.Parameter(t, t.ndim > 1) for n, t in state.items()}),
    "a training": (
        "epoch_32.pt",
        lambda state: {
            "epoch": 32,
            "name": "run",
            "state_dict": state,
            "optimizer": {
                "state": {0: {"step": torch.tensor(5.0)}},
                "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.98)}],
            },
        },
    ),
    "several GPUs": ("epoch_32.pt", lambda state: {"state_dict": {f"module.{n}": t for n, t in state.items()}}),
    "several GPUs, bare": ("model.bin", lambda state: {f"module.{n}": t for n, t in state.items()}),
    "a scale in a table": ("w.bin", lambda state: state | {"logit_scale": state["logit_scale"].reshape(1)}),
    "position_ids": ("w.bin", lambda state: state | {"text.transformer.embeddings.position_ids": torch.arange(77)}),
    "strides": ("w.bin", lambda state: {n: t.T.contiguous().T if t.ndim == 2 else t for n, t in state.items()}),
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_loaded_as_in_open_clip(folder: Path, copy: Path, text: ClipText, form: str) -> None:
    """Compared with the safetensors file, and with the same file loaded by open_clip."""
    from open_clip import factory

    name, make = FORMS[form]
    (copy / WEIGHTS).unlink()
    torch.save(make(load_file(folder / WEIGHTS)), copy / name)
    found = load_text(f"gem:local-dir:{copy}")
    assert isinstance(found, ClipText)
    np.testing.assert_array_equal(found.encode_in(["a red cup"]), text.encode_in(["a red cup"]))
    if form == "strides":  # below, the same tensors
        return
    theirs = clip_folder.model()
    factory.load_checkpoint(theirs, str(copy / name))
    with torch.inference_mode():
        want = theirs.encode_text(found._loaded.tokenize(["a red cup"]))[0].numpy()
    np.testing.assert_allclose(found.encode_in(["a red cup"])[0], want / np.linalg.norm(want), atol=1e-6)


def test_half_precision_is_loaded(folder: Path, copy: Path, text: ClipText) -> None:
    (copy / WEIGHTS).unlink()
    torch.save({n: t.half() for n, t in load_file(folder / WEIGHTS).items()}, copy / "open_clip_pytorch_model.bin")
    found = load_text(f"gem:local-dir:{copy}")
    np.testing.assert_allclose(found.encode_text(["cup"]) @ text.encode_in(["a photo of a cup."]).T, 1, atol=1e-3)


def test_an_old_file_with_its_text_tower_at_the_top_level(folder: Path, tmp_path: Path) -> None:
    """The text tower is at the top level in the file and under `text.` in the model. A missing bias is 0."""
    home = clip_folder.write(tmp_path / "custom", custom_text=True, init_logit_bias=-10.0)
    state = load_file(home / WEIGHTS)
    old = {n.removeprefix("text."): t for n, t in state.items() if n != "logit_bias"}
    (home / WEIGHTS).unlink()
    torch.save(old, home / "open_clip_pytorch_model.bin")
    found = load_text(f"textregion:local-dir:{home}")
    assert isinstance(found, ClipText)
    held = found._loaded.model.state_dict()
    assert held["logit_bias"] == 0
    assert all(torch.equal(held[n], t) for n, t in state.items() if n.startswith("text."))


def test_positions_of_another_size_are_resized(folder: Path, copy: Path) -> None:
    from open_clip import factory

    config = json.loads((copy / CONFIG).read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = 48
    (copy / CONFIG).write_text(json.dumps(config))
    made = load(f"gem:local-dir:{copy}", "cpu")
    theirs = clip_folder.model(vision_cfg=config["model_cfg"]["vision_cfg"])
    factory.load_checkpoint(theirs, str(copy / WEIGHTS))
    torch.testing.assert_close(made._loaded.model.visual.positional_embedding, theirs.visual.positional_embedding)  # type: ignore[attr-defined]


def test_the_file_that_open_clip_prefers_is_loaded(folder: Path, copy: Path) -> None:
    torch.save({"a": torch.zeros(1)}, copy / "open_clip_pytorch_model.bin")
    (copy / "other.safetensors").write_bytes(b"")
    load_text(f"gem:local-dir:{copy}")  # open_clip_model.safetensors
    (copy / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"tensor a is unknown.*open_clip_pytorch_model\.bin"):
        load_text(f"gem:local-dir:{copy}")


class Code:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("ran",)


def test_a_pickle_with_code_runs_nothing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / WEIGHTS).unlink()
    torch.save({"state_dict": {"a": Code()}}, copy / "open_clip_pytorch_model.bin")
    with pytest.raises(ModelError, match="the CLIP weights cannot be used: its pickle wants to run code"):
        load_text(f"gem:local-dir:{copy}")
    assert "ran" not in capsys.readouterr().out


def test_a_published_pickle_is_loaded_and_hashed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Hugging Face has no safetensors, the sha256 is that of the pickle."""
    home = tmp_path / "CLIP-ViT-B-32-laion2B-s34B-b79K"
    home.mkdir()
    torch.save(load_file(folder / WEIGHTS), home / PICKLED)
    monkeypatch.setattr("open_clip.get_model_config", lambda name: clip_folder.CONFIGURATION)
    made = load_text("gem:ViT-B-32/laion2b_s34b_b79k", tmp_path)
    sha = hashlib.sha256((home / PICKLED).read_bytes()).hexdigest()
    assert made.info.weights == hashlib.sha256(f"CLIP weights {sha}\n".encode()).hexdigest()


def test_a_published_model_is_loaded_from_its_folder(tmp_path: Path) -> None:
    (file,) = wanted("gem", "ViT-B-32/laion2b_s34b_b79k")
    assert (file.repo, file.files, file.spec) == (
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        (f"{WEIGHTS}|{PICKLED}",),
        "gem:ViT-B-32/laion2b_s34b_b79k",
    )
    (siglip,) = wanted("textregion", "ViT-B-16-SigLIP2/webli")
    assert siglip.files[:2] == (f"{WEIGHTS}|{PICKLED}", "tokenizer.json")
    (hub,) = wanted("textregion", "hf-hub:org/repo")
    assert (hub.repo, hub.files[:3]) == ("org/repo", (f"{WEIGHTS}|{PICKLED}", CONFIG, "tokenizer.json|"))
    (named,) = wanted("textregion", "ViTamin-S/datacomp1b")
    assert named.files == ("pytorch_model.safetensors|pytorch_model.bin",)


def test_changed_weights_are_refused(copy: Path) -> None:
    load_text(f"gem:local-dir:{copy}")
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match="the weights have changed since they were recorded"):
        load_text(f"gem:local-dir:{copy}")


def test_damaged_files_fail(folder: Path, copy: Path) -> None:
    whole = (copy / WEIGHTS).read_bytes()
    state = load_file(folder / WEIGHTS)  # mapped, and not the file that is written to

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
    config = json.loads((copy / CONFIG).read_text())
    config["model_cfg"]["vision_cfg"]["banana"] = 1
    (copy / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ModelError, match="open_clip cannot build the model"):
        load_text(f"gem:local-dir:{copy}")


def test_gem_needs_a_class_token(tmp_path: Path) -> None:
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16, "patch_size": None}
    folder = clip_folder.write(tmp_path / "resnet", vision_cfg=vision)
    with pytest.raises(ModelError, match="has no patches; choose a ViT"):
        load(f"gem:local-dir:{folder}", "cpu")


def changed(copy: Path, part: str, **values: object) -> str:
    """The spelling of a model whose configuration was changed."""
    file = copy / CONFIG
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, part: {**data[part], **values}}))
    return f"clip:local-dir:{copy}"


@pytest.mark.parametrize("value", ["x", [1, 2], [0.5, 0.5, "a"], [0, 0, 0], [[1], 2, 3], {"a": 1}, [10**400] * 3])
def test_odd_channels_of_pictures_fail(copy: Path, value: object) -> None:
    with pytest.raises(ModelError, match="`std` of its pictures is not three numbers"):
        load_text(changed(copy, "preprocess_cfg", std=value))


def test_a_configuration_may_not_claim_more_than_its_file_holds(copy: Path) -> None:
    with pytest.raises(ModelError, match=r"the configuration is of [\d,]+ numbers, and the file has"):
        load_text(
            changed(copy, "model_cfg", vision_cfg={"image_size": 224, "layers": 400, "width": 4096, "patch_size": 16})
        )


@pytest.mark.parametrize("part", ["vision_cfg", "text_cfg"])
@pytest.mark.parametrize("value", [None, "x", [1], 5])
def test_a_configuration_of_another_form_fails(copy: Path, part: str, value: object) -> None:
    with pytest.raises(ModelError):
        load_text(changed(copy, "model_cfg", **{part: value}))


@pytest.mark.parametrize("layers", [1001, 2**31, 9223372036854775811, float("nan"), float("inf")])
def test_a_configuration_of_endless_layers_fails_at_once(copy: Path, layers: float) -> None:
    spelling = changed(copy, "model_cfg", text_cfg={**clip_folder.CONFIGURATION["text_cfg"], "layers": layers})
    with pytest.raises(ModelError, match="gives 'layers' a size that no model has"):
        load_text(spelling)
