"""Which open_clip model a spec names, where its weights lie, and how it is built from them.

`NAME/TAG` as open_clip has them (ViT-B-16/openai, its list is `open_clip.list_pretrained()`), `hf-hub:ORG/REPO`, or
`local-dir:FOLDER` with open_clip_config.json and one file of weights. All are built from files that vidmem has checked;
open_clip itself never fetches anything.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ..hub import RECORD, Wanted, find, fingerprint, first_present, record_sha256, weights_folder
from ..pull import offline_remedy
from ..tensor_file import fail, read_tensors

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT = "ViT-B-16/openai"
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
"""Names of weights in a folder, the best first, in the order in which open_clip takes them."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""OpenAI's, of RGB in [0, 1]; most models of open_clip were trained with them."""
WHAT = "the CLIP weights"
_LOCAL, _HUB = "local-dir:", "hf-hub:"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_DEFAULT_REPO = "timm/vit_base_patch16_clip_224.openai"

Tokenize = Callable[[list[str]], "Tensor"]


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model of open_clip, float32 on the CPU. tokenize: texts -> ids `(n, L)`; count: tokens of one text, start and
    end included, before any cut; context: most that fit. mean, std: of RGB in [0, 1]. weights: sha256."""

    name: str
    model: Any
    tokenize: Tokenize
    count: Callable[[str], int]
    context: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str


def wanted(family: str, backbone: str) -> list[Wanted]:
    """The files of a backbone, none for `local-dir:`. Raises ModelError when there is no such model; a name other than
    the default is looked up in open_clip's list, so that open_clip must be there."""
    spec = f"{family}:{backbone or DEFAULT}"
    if backbone.startswith(_LOCAL):
        _local(backbone)
        return []
    if backbone.startswith(_HUB):
        # Only the configuration tells whether there is a tokenizer beside it.
        return [_from_repo(backbone[len(_HUB) :], (_alternatives(""), CONFIG, *(f"{n}|" for n in _TOKENIZER)), spec)]
    if backbone in ("", DEFAULT):
        return [_from_repo(_DEFAULT_REPO, (_alternatives(""),), spec)]
    name, facts = _published(backbone)
    repo, _, file = facts["hf_hub"].rpartition("/")
    text = _open_clip().get_model_config(name)["text_cfg"]
    more = (*_TOKENIZER[:2], f"{_TOKENIZER[2]}|") if "hf_tokenizer_name" in text else ()
    return [_from_repo(repo, (_alternatives(file), *more), spec)]


def _alternatives(file: str) -> str:
    """The names of weights as `Wanted.files` has them: as open_clip does, safetensors where there are any, else what
    open_clip's list names."""
    if file in ("", PICKLED):
        return f"{WEIGHTS}|{PICKLED}"
    stem, dot, kind = file.rpartition(".")
    return f"{stem}.safetensors|{file}" if dot and kind in ("bin", "pth") else file


def _from_repo(repo: str, files: tuple[str, ...], spec: str) -> Wanted:
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise ModelError(f"a model on Hugging Face is spelled hf-hub:ORG/REPO; got {repo!r}")
    name = repo.split("/")[1]
    return Wanted("CLIP weights", (name,), "the model's own", repo=repo, files=files, nested=True, spec=spec)


def _published(backbone: str) -> tuple[str, dict[str, Any]]:
    """open_clip's name and what it knows of the tag."""
    oc = _open_clip()
    name, _, tag = backbone.rpartition("/")
    facts: dict[str, Any] = oc.get_pretrained_cfg(name, tag)
    if not facts or not facts.get("hf_hub"):
        known = [f"{n}/{t}" for n, t in oc.list_pretrained()]
        near = [k for k in known if k.partition("/")[0] == backbone]  # only the tag was left out
        near = near or difflib.get_close_matches(backbone, known, 1, 0.0)
        raise ModelError(
            f"no CLIP model {backbone!r}; did you mean {near[0]!r}? There are NAME/TAG as in "
            "open_clip.list_pretrained(), local-dir:FOLDER and hf-hub:ORG/REPO"
        )
    return name, facts


def load_model(family: str, backbone: str, weights: str | os.PathLike[str] | None = None) -> Loaded:
    """Raises ModelError: a file is missing, changed, damaged or does not fit, or open_clip is not installed."""
    if backbone.startswith(_LOCAL):
        home, own = _local(backbone)
        return _from_config(family, backbone, home, own, record_sha256(own, home))
    where = weights_folder(weights)
    (file,) = wanted(family, backbone)
    found = find(file, where)
    path = None if found is None else first_present(file.files[0], found)
    if found is None or path is None:
        raise ModelError(
            f"the {file.role} are missing: `vidmem models pull {file.spec}` fetches them; without a "
            f"network here, {offline_remedy(file, where)}"
        )
    sha = fingerprint([file], where)
    if backbone.startswith(_HUB):
        return _from_config(family, backbone, found, path, sha)
    name, facts = _published(backbone or DEFAULT)
    config = json.loads(json.dumps(_open_clip().get_model_config(name)))
    # open_clip only warns when the activation is not the one that the weights were trained with.
    config["quick_gelu"] = bool(facts.get("quick_gelu") or config.get("quick_gelu"))
    return _build(f"{family}:{backbone or DEFAULT}", config, facts, found, path, sha)


def model_files(family: str, backbone: str, weights: str | os.PathLike[str] | None = None) -> list[Path]:
    """All files that a model is built from, as far as they are there. Raises ModelError as `wanted`."""
    if backbone.startswith(_LOCAL):
        home, _ = _local(backbone)
        return sorted(path for path in home.iterdir() if path.is_file() and path.name != RECORD)
    where = weights_folder(weights)
    found = [find(each, where) for each in wanted(family, backbone)]
    return sorted(path for home in found if home for path in home.iterdir() if path.is_file())


def _local(backbone: str) -> tuple[Path, Path]:
    """The folder and the one file of weights in it."""
    home = Path(backbone[len(_LOCAL) :]).expanduser()
    if not (home / CONFIG).is_file():
        raise ModelError(f"a local model is a folder with {CONFIG} and its weights; there is none: {home}")
    for name in PREFERRED:
        if (home / name).is_file():
            return home, home / name
    for pattern in ("*.safetensors", "*.bin", "*.pt", "*.pth"):
        found = sorted(home.glob(pattern))
        if len(found) > 1:
            raise ModelError(f"the weights could be {found[0].name} or {found[1].name}; leave one of them in {home}")
        if found:
            return home, found[0]
    raise ModelError(f"the folder holds no weights; put {WEIGHTS} beside {CONFIG}: {home}")


def _from_config(family: str, backbone: str, home: Path, path: Path, sha: str) -> Loaded:
    try:
        told = json.loads((home / CONFIG).read_text("utf-8"))
        config, picture = dict(told["model_cfg"]), dict(told.get("preprocess_cfg") or {})
        _ = config["embed_dim"], config["vision_cfg"], config["text_cfg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{CONFIG} is missing or damaged ({error!r}); fetch it again: {home}") from None
    return _build(f"{family}:{backbone}", config, picture, home, path, sha)


def _build(name: str, config: dict[str, Any], picture: dict[str, Any], home: Path, path: Path, sha: str) -> Loaded:
    text = dict(config["text_cfg"])
    if "hf_tokenizer_name" in text and (home / _TOKENIZER[0]).is_file():
        text["hf_tokenizer_name"] = str(home)  # nothing is fetched for it
    config = {**config, "text_cfg": text}
    oc = _open_clip()
    # Every version of open_clip takes a configuration from a file under a name of one's own.
    own = f"vidmem-{sha[:12]}"
    with tempfile.TemporaryDirectory() as temporary, _quiet():
        (Path(temporary) / f"{own}.json").write_text(json.dumps(config), "utf-8")
        oc.add_model_config(temporary)
        try:
            model = oc.create_model(own, pretrained=None, precision="fp32", device="cpu")
            tokenize = oc.get_tokenizer(own)
        except Exception as error:  # a wrong configuration, or a tokenizer that would have to be fetched
            reason = " ".join(str(error).split())[:160]
            fail(WHAT, f"open_clip cannot build the model ({reason}); fetch its files again", path)
    _fill(model, path)
    mean, std = (tuple(map(float, picture.get(key) or own_value)) for key, own_value in (("mean", MEAN), ("std", STD)))
    context = int(text.get("context_length", 77))
    return Loaded(name, model, tokenize, _counter(tokenize), context, mean, std, sha)


def _fill(model: Any, path: Path) -> None:
    """The weights into the model, in whichever of the forms that open_clip takes they are."""
    own = model.state_dict()
    tensors = read_tensors(path, WHAT, inner=("state_dict",))
    try:
        state = as_open_clip(tensors, model, own)
    except Exception as error:  # its converting expects what it expects
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        fail(WHAT, f"open_clip cannot convert them ({reason}); fetch them again", path)
    odd = sorted(state.keys() ^ own.keys())
    if odd:
        how = "unknown" if odd[0] in state else "missing"
        fail(WHAT, f"it is of another model (the tensor {odd[0]} is {how})", path)
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            fail(WHAT, f"{name} is {tuple(tensor.shape)}, want {tuple(own[name].shape)}", path)
        if tensor.is_floating_point() and not bool(tensor.float().sum().isfinite()):
            fail(WHAT, f"{name} holds a value that is not finite; fetch it again", path)
    model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
    model.eval().requires_grad_(False)


def as_open_clip(tensors: Mapping[str, Tensor], model: Any, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What open_clip's loading makes of a file's tensors, under the names of the model (`own`: its own by name).

    Of a training on several GPUs every name begins with "module."; the text tower of old files lies at the top;
    position embeddings are stretched to the model's size; `position_ids`, which towers of transformers had once, count
    for nothing; one scale or bias may be a number or a table of one, and a bias that is missing is 0. Raises whatever
    open_clip meets in a table of another model.
    """
    from open_clip import factory

    state = {name: tensor.detach() for name, tensor in tensors.items()}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if hasattr(factory, "convert_state_dict"):  # MobileCLIP's own files; open_clip 2.24 does not know them
        state = factory.convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = factory.convert_to_custom_text_state_dict(state)
    state = {name: t for name, t in state.items() if name in own or not name.endswith(".position_ids")}
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in own and state[name].numel() == own[name].numel():
            state[name] = state[name].reshape(own[name].shape)
    if "logit_bias" in own and "logit_bias" not in state:
        state["logit_bias"] = own["logit_bias"].new_zeros(own["logit_bias"].shape)
    with _quiet():
        factory.resize_pos_embed(state, model)
        factory.resize_text_pos_embed(state, model)
    return state


def _counter(tokenize: Any) -> Callable[[str], int]:
    if hasattr(tokenize, "tokenizer"):  # one of transformers
        return lambda text: len(tokenize.tokenizer(tokenize.clean_fn(text))["input_ids"])
    return lambda text: len(tokenize.encode(text)) + 2  # CLIP's pairs of bytes


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
    """Without what open_clip says of weights that it was not asked to load."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
