"""Find the files of an open_clip model and build the model from them.

A backbone is spelled `NAME/TAG` as in `open_clip.list_pretrained()` (ViT-B-16/openai), `hf-hub:ORG/REPO`, or
`local-dir:FOLDER` for a folder with open_clip_config.json and one file of weights. MORE has further names. Models are
built from files that vidmem has checked; open_clip never downloads anything.
"""

from __future__ import annotations

import difflib
import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...address import printable
from ...errors import ModelError
from ...text_files import MAX_TEXT, read_json
from ..hub import RECORD, Wanted, find, fingerprint, first_present, record_sha256, weights_folder
from ..integrity import odd_size
from ..pull import offline_remedy
from ..tensor_file import fail, read_tensors
from .eva_files import from_eva, is_eva

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT = "ViT-B-16/openai"
_ELSEWHERE = ("hf_model_name", "hf_tokenizer_name")
"""Keys of open_clip's configurations for parts that are not in its files."""
_PLACE = re.compile(r"[/\\:]")
"""In any other value, the sign of a folder, or of a hub as in timm's `hf-hub:NAME`."""
_REPO = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
CONFIG, WEIGHTS, PICKLED = "open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
PREFERRED = (
    WEIGHTS,
    "open_clip_pytorch_model.safetensors",
    PICKLED,
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
"""Names of files of weights in a folder, best first, in open_clip's order."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""OpenAI's, of RGB in [0, 1]. Most models of open_clip were trained with them."""
WHAT = "the CLIP weights"
"""Their name in messages."""
_SLACK = 1 << 20
"""A configuration may have so many numbers more than the file of weights has bytes."""
_LOCAL, _HUB = "local-dir:", "hf-hub:"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_DEFAULT_REPO = "timm/vit_base_patch16_clip_224.openai"
_FILE = "densevlm_coco_6_save6_512_eva_vib16_12layers.pt"
MORE = {
    "EVA02-B-16/densevlm": Wanted(
        "CLIP weights of DenseVLM",
        ("DenseVLM",),
        "CC BY-NC 4.0",
        repo="lyhisme/DenseVLM",
        files=(f"{_FILE}|checkpoints/{_FILE}",),
        nested=True,
    )
}
"""Published weights that are not in open_clip's list, under a name of its models and a tag of ours. The authors' README
names the repository and the file, but not its folder there."""

Tokenize = Callable[[list[str]], "Tensor"]


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model of open_clip, float32 on the CPU.

    Attributes:
        name: Its spelling, with the encoder's name.
        model: The model.
        tokenize: Turns n texts into ids `(n, L)`.
        count: Returns the number of tokens of a text, with start and end, before it is cut.
        context: Maximum number of tokens.
        mean: Mean of the RGB channels in [0, 1] that the model expects.
        std: Their standard deviation.
        weights: sha256 of the weights.
        config: Its configuration, as open_clip has it under "model_cfg".
        home: Folder of its files.
    """

    name: str
    model: Any
    tokenize: Tokenize
    count: Callable[[str], int]
    context: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str
    config: Mapping[str, Any]
    home: Path


def wanted(family: str, backbone: str) -> list[Wanted]:
    """The files of a backbone; none for `local-dir:`.

    Names other than the default are looked up in open_clip's list, which needs open_clip.

    Raises:
        ModelError: There is no such model, or open_clip is not installed.
    """
    spec = f"{family}:{backbone or DEFAULT}"
    if backbone.startswith(_LOCAL):
        _local(backbone)
        return []
    if backbone.startswith(_HUB):
        # Only the configuration says whether the model has a tokenizer.
        return [_from_repo(backbone[len(_HUB) :], (_alternatives(""), CONFIG, *(f"{n}|" for n in _TOKENIZER)), spec)]
    if backbone in MORE:
        return [replace(MORE[backbone], spec=spec)]
    if backbone in ("", DEFAULT):
        return [_from_repo(_DEFAULT_REPO, (_alternatives(""),), spec)]
    name, facts = _published(backbone)
    repo, _, file = facts["hf_hub"].rpartition("/")
    text = _open_clip().get_model_config(name)["text_cfg"]
    more = (*_TOKENIZER[:2], f"{_TOKENIZER[2]}|") if "hf_tokenizer_name" in text else ()
    return [_from_repo(repo, (_alternatives(file), *more), spec)]


def _alternatives(file: str) -> str:
    """Alternatives for `Wanted.files`: safetensors if there are any, as in open_clip, else the file in its list."""
    if file in ("", PICKLED):
        return f"{WEIGHTS}|{PICKLED}"
    stem, dot, kind = file.rpartition(".")
    return f"{stem}.safetensors|{file}" if dot and kind in ("bin", "pth") else file


def _from_repo(repo: str, files: tuple[str, ...], spec: str) -> Wanted:
    if not _REPO.fullmatch(repo) or repo.split("/")[1] in (".", ".."):
        raise ModelError(f"a model on Hugging Face is spelled hf-hub:ORG/REPO; got {repo!r}")
    name = repo.split("/")[1]
    return Wanted("CLIP weights", (name,), "the model's own", repo=repo, files=files, nested=True, spec=spec)


def _published(backbone: str) -> tuple[str, dict[str, Any]]:
    """open_clip's name of the model, and its facts about the tag."""
    if backbone in MORE:
        return backbone.rpartition("/")[0], {}
    oc = _open_clip()
    name, _, tag = backbone.rpartition("/")
    facts: dict[str, Any] = oc.get_pretrained_cfg(name, tag)
    if not facts or not facts.get("hf_hub"):
        spellings = [f"{n}/{t}" for n, t in oc.list_pretrained()]
        near = [s for s in spellings if s.partition("/")[0] == backbone]  # only the tag is missing
        near = near or difflib.get_close_matches(backbone, spellings, 1, 0.0)
        raise ModelError(
            f"no CLIP model {backbone!r}; did you mean {near[0]!r}? Models are spelled NAME/TAG as in "
            "open_clip.list_pretrained(), local-dir:FOLDER or hf-hub:ORG/REPO"
        )
    return name, facts


def load_model(family: str, backbone: str, weights: str | os.PathLike[str] | None = None) -> Loaded:
    """Load a model.

    Args:
        family: Name of the encoder.
        backbone: Its backbone; empty for the default.
        weights: Folder of weights; see `hub.weights_folder`.

    Raises:
        ModelError: A file is missing, changed, damaged or of another model, or open_clip is not installed.
    """
    if backbone.startswith(_LOCAL):
        folder, file = _local(backbone)
        return _from_config(family, backbone, folder, file, record_sha256(file, folder))
    where = weights_folder(weights)
    (needed,) = wanted(family, backbone)
    home = find(needed, where)
    path = None if home is None else first_present(needed.files[0], home)
    if home is None or path is None:
        raise ModelError(
            f"the {needed.role} are missing: `vidmem models pull {needed.spec}` fetches them; without a "
            f"network here, {offline_remedy(needed, where)}"
        )
    sha = fingerprint([needed], where)
    if backbone.startswith(_HUB):
        return _from_config(family, backbone, home, path, sha)
    name, facts = _published(backbone or DEFAULT)
    config = json.loads(json.dumps(_open_clip().get_model_config(name)))
    # open_clip only warns if the weights were trained with another activation.
    config["quick_gelu"] = bool(facts.get("quick_gelu") or config.get("quick_gelu"))
    return _build(f"{family}:{backbone or DEFAULT}", config, facts, home, path, sha)


def model_files(family: str, backbone: str, weights: str | os.PathLike[str] | None = None) -> list[Path]:
    """The files that a model is built from, without those that are missing. Raises ModelError as `wanted`."""
    if backbone.startswith(_LOCAL):
        home, _ = _local(backbone)
        return sorted(path for path in home.iterdir() if path.is_file() and path.name != RECORD)
    where = weights_folder(weights)
    found = [find(each, where) for each in wanted(family, backbone)]
    return sorted(path for home in found if home for path in home.iterdir() if path.is_file())


def _local(backbone: str) -> tuple[Path, Path]:
    """The folder of a local model and the file of its weights. Raises ModelError."""
    home = Path(backbone[len(_LOCAL) :]).expanduser()
    if not (home / CONFIG).is_file():
        raise ModelError(f"no {CONFIG} in the folder; a local model is a folder with it and the weights: {home}")
    for name in PREFERRED:
        if (home / name).is_file():
            return home, home / name
    for pattern in ("*.safetensors", "*.bin", "*.pt", "*.pth"):
        found = sorted(home.glob(pattern))
        if len(found) > 1:
            raise ModelError(f"the weights could be {found[0].name} or {found[1].name}; remove one of them: {home}")
        if found:
            return home, found[0]
    raise ModelError(f"the folder holds no weights; put {WEIGHTS} next to {CONFIG}: {home}")


def _from_config(family: str, backbone: str, home: Path, path: Path, sha: str) -> Loaded:
    try:
        data = read_json(home / CONFIG, f"{CONFIG} cannot", limit=MAX_TEXT, error=ModelError)
        config, picture = dict(data["model_cfg"]), dict(data.get("preprocess_cfg") or {})
        _ = config["embed_dim"], dict(config["vision_cfg"]), dict(config["text_cfg"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{CONFIG} is missing or damaged ({error!r}); fetch it again: {home}") from None
    if odd := odd_size(config):
        raise ModelError(f"{CONFIG} gives {odd!r} a size that no model has; fetch it again: {home}")
    return _build(f"{family}:{backbone}", config, picture, home, path, sha)


def _build(name: str, config: dict[str, Any], picture: dict[str, Any], home: Path, path: Path, sha: str) -> Loaded:
    text = dict(config["text_cfg"])
    if "hf_tokenizer_name" in text and (home / _TOKENIZER[0]).is_file():
        text["hf_tokenizer_name"] = str(home)  # keeps it from being downloaded
    told, config = config, {**config, "text_cfg": text}
    _check_places({**told, "text_cfg": {**text, "hf_tokenizer_name": ""} if text != told["text_cfg"] else text}, path)
    oc = _open_clip()
    # All versions of open_clip take a configuration from a file, under the file's name.
    config_name = f"vidmem-{sha[:12]}"
    with tempfile.TemporaryDirectory() as temporary, _quiet():
        (Path(temporary) / f"{config_name}.json").write_text(json.dumps(config), "utf-8")
        oc.add_model_config(temporary)
        size = path.stat().st_size
        if (claimed := _numbers(oc, config_name)) > size + _SLACK:
            fail(WHAT, f"the configuration is of {claimed:,} numbers, and the file has {size:,} bytes", path)
        try:
            model = oc.create_model(config_name, pretrained=None, precision="fp32", device="cpu")
            tokenize = oc.get_tokenizer(config_name)
        except Exception as error:  # a wrong configuration, or a tokenizer that is not in the folder
            reason = " ".join(str(error).split())[:160]
            fail(WHAT, f"open_clip cannot build the model ({reason}); fetch its files again", path)
    _fill(model, path)
    mean, std = _channels(picture, "mean", MEAN, path), _channels(picture, "std", STD, path)
    context = int(text.get("context_length", 77))  # the model was built with it, so it is a number
    return Loaded(name, model, tokenize, _counter(tokenize), context, mean, std, sha, told, home)


def _numbers(oc: Any, name: str) -> int:
    """How many numbers the weights of a model have, counted without memory for them; 0 if that cannot be told."""
    import torch

    try:
        with torch.device("meta"):
            empty = oc.create_model(name, pretrained=None, precision="fp32", device="meta")
        return sum(tensor.numel() for tensor in empty.parameters())
    except Exception:  # not all towers can be built without values; a wrong configuration is reported when it is built
        return 0


def _channels(picture: Mapping[str, Any], key: str, default: tuple[float, ...], path: Path) -> tuple[float, ...]:
    """Three numbers of the configuration of pictures. Raises ModelError."""
    given = picture.get(key) or default
    try:
        found = tuple(map(float, given))
    except (TypeError, ValueError, OverflowError):
        found = ()
    if len(found) != 3 or not all(map(math.isfinite, found)) or (key == "std" and min(found) <= 0):
        fail(WHAT, f"`{key}` of its pictures is not three numbers; fetch its files again", path)
    return found


def _check_places(config: Mapping[str, Any], path: Path, within: str = "") -> None:
    """Refuse a configuration that takes a part of the model from a hub or from another folder. Raises ModelError."""
    for key, value in config.items():
        name = f"{within}{key}"
        if isinstance(value, Mapping):
            _check_places(value, path, f"{name}.")
        elif isinstance(value, str) and value and (key in _ELSEWHERE or _PLACE.search(value)):
            cause = f"{printable(name)[:60]} of its configuration is {value[:80]!r}, which lies elsewhere"
            fail(WHAT, f"{cause}, and nothing is loaded that a configuration names; take a model that is whole", path)


def _fill(model: Any, path: Path) -> None:
    """Load the weights into the model, from any form that open_clip reads. Raises ModelError if they do not fit."""
    expected = model.state_dict()
    tensors = read_tensors(path, WHAT, inner=("state_dict", "module"))
    try:
        state = as_open_clip(tensors, model, expected)
    except Exception as error:  # its conversion raises many kinds of errors
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        fail(WHAT, f"open_clip cannot convert them ({reason}); fetch them again", path)
    different = sorted(state.keys() ^ expected.keys())
    if different:
        problem = "unknown" if different[0] in state else "missing"
        fail(WHAT, f"it is of another model (the tensor {different[0]} is {problem})", path)
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            fail(WHAT, f"{name} is {tuple(tensor.shape)}, want {tuple(expected[name].shape)}", path)
        if tensor.is_floating_point() and not bool(tensor.float().sum().isfinite()):
            fail(WHAT, f"{name} holds a value that is not finite; fetch it again", path)
    model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
    model.eval().requires_grad_(False)


def as_open_clip(tensors: Mapping[str, Tensor], model: Any, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert the tensors of a file to the names and shapes of the model, as open_clip does.

    - Files of a training on several GPUs have names that begin with "module.".
    - EVA-CLIP's own files, and DenseVLM's, have other names; see eva_files.py.
    - Old files have the text tower at the top level.
    - Position embeddings are resized to those of the model.
    - `position_ids`, which towers of transformers once had, are ignored.
    - A scale or bias may be a number or a table of one. A missing bias is 0.

    expected: The model's tensors by name. Raises whatever open_clip raises for the tensors of another model.
    """
    from open_clip import factory

    state = {name: tensor.detach() for name, tensor in tensors.items()}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if is_eva(state):
        state = from_eva(state)
    if hasattr(factory, "convert_state_dict"):  # for MobileCLIP's files; not in open_clip 2.24
        state = factory.convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = factory.convert_to_custom_text_state_dict(state)
    state = {name: t for name, t in state.items() if name in expected or not name.endswith(".position_ids")}
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in expected and state[name].numel() == expected[name].numel():
            state[name] = state[name].reshape(expected[name].shape)
    if "logit_bias" in expected and "logit_bias" not in state:
        state["logit_bias"] = expected["logit_bias"].new_zeros(expected["logit_bias"].shape)
    with _quiet():
        factory.resize_pos_embed(state, model)
        factory.resize_text_pos_embed(state, model)
    return state


def _counter(tokenize: Any) -> Callable[[str], int]:
    if hasattr(tokenize, "tokenizer"):  # of transformers
        return lambda text: len(tokenize.tokenizer(tokenize.clean_fn(text))["input_ids"])
    return lambda text: len(tokenize.encode(text)) + 2  # CLIP's byte pairs


def _open_clip() -> Any:
    from ..torchvision_compat import ready

    try:
        ready()
        import open_clip
    except ImportError as error:
        raise ModelError(f"CLIP models need open_clip ({error}); pip install 'vidmem[clip]'") from None
    return open_clip


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence open_clip's warnings about a model without weights."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
