"""The model under training: LoRA on a frozen base, its loss, and what is saved."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidmem.errors import MediaError, ModelError
from vidmem.vlm.local import ADAPTER, LocalModel

from .chat import IGNORED, Example
from .config import LoraSettings, Precision
from .packing import Batch, Form, Positions

CONNECTORS = (
    "multi_modal_projector",
    "connector",
    "merger",
    "deepstack_merger_list",
    "aligner",
    "mm_projector",
    "modality_projection",
)
"""Names of the layers between vision encoder and language model in `transformers`."""
ROUTERS = ("gate", "router")
"""Linear layers that choose experts; they keep their weights."""

FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.tiktoken", "merges.txt", "vocab.txt", "*/*.jinja")
"""Of a model that `transformers` loads."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Names of modules. language: the decoder. connectors: see CONNECTORS. The others: the linear layers of these."""

    language: str
    connectors: tuple[str, ...]
    language_linears: tuple[str, ...]
    connector_linears: tuple[str, ...]


def parts_of(model: nn.Module, folder: Path) -> Parts:
    """Find the language model and the connector. Raises ModelError if there is no language model."""
    named = dict(model.named_modules())
    find: Any = getattr(model, "get_decoder", None)
    decoder = find() if find else None
    language = next((name for name, module in named.items() if module is decoder and name), None)
    if language is None:
        raise ModelError(f"the model has no language model of its own to adapt; take another one: {folder}")
    connectors = tuple(
        name
        for name in named
        if name.rpartition(".")[2] in CONNECTORS and not _inside(name, language) and name.count(".") < 4
    )
    outer = tuple(n for n in connectors if not any(_inside(n, other) and n != other for other in connectors))
    linears = [name for name, module in named.items() if isinstance(module, nn.Linear)]
    return Parts(
        language,
        outer,
        tuple(n for n in linears if _inside(n, language) and n.rpartition(".")[2] not in ROUTERS),
        tuple(n for n in linears if any(_inside(n, c) for c in outer)),
    )


def _inside(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def adapt(local: LocalModel, settings: LoraSettings, seed: int) -> tuple[Any, Parts]:
    """Put a LoRA adapter on the model and return it, a `PeftModel` whose trained weights are float32, and its parts.

    Raises ModelError if the model has no part to put it on, or no connector to train.
    """
    import peft

    parts = parts_of(local.model, local.folder)
    targets = list(parts.language_linears)
    if settings.connector != "frozen":
        if not parts.connectors or (settings.connector == "lora" and not parts.connector_linears):
            raise ModelError(
                f"no connector with linear layers was found in the model; set `connector` to frozen: {local.folder}"
            )
        targets += parts.connector_linears if settings.connector == "lora" else ()
    if not targets:
        raise ModelError(f"the language model has no linear layers to adapt; take another one: {local.folder}")
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        modules_to_save=list(parts.connectors) if settings.connector == "full" else None,
        bias="none",
    )
    with torch.random.fork_rng(devices=[]), _old_names():
        torch.manual_seed(seed)
        adapted: Any = peft.get_peft_model(local.model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted.eval(), parts


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are trained, by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def to_training(model: Any, parts: Parts, checkpointing: bool) -> None:
    """Let dropout work in the adapted parts; all others, such as the vision encoder, stay as they are in use."""
    base = model.get_base_model()
    model.eval()
    for name in (parts.language, *parts.connectors):
        base.get_submodule(name).train()
    if checkpointing:
        with _old_names():
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def to_use(model: Any) -> None:
    """End what `to_training` began."""
    with _old_names():
        model.get_base_model().gradient_checkpointing_disable()
    model.eval()


@contextmanager
def _old_names() -> Iterator[None]:
    """No warning that `transformers` has new names for functions, which its older versions lack."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def computing(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """The context of a forward pass in that precision."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def logits_at(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the logits `(n, vocabulary)` float32 of the n tokens that the loss is on, row by row, and their ids.

    Only columns of the batch in which some row has such a token reach the vocabulary, which takes most of the memory.
    """
    targets = batch.labels[:, 1:]
    columns = (targets != IGNORED).any(0).nonzero()[:, 0]
    keep = "logits_to_keep" in _arguments(model)
    more = {"logits_to_keep": columns} if keep else {}
    logits = model(**batch.inputs, use_cache=False, **more).logits
    if not keep:
        logits = logits[:, columns]
    wanted = targets[:, columns]
    return logits[wanted != IGNORED].float(), wanted[wanted != IGNORED]


def answer_loss(model: Any, batch: Batch) -> Tensor:
    """Return the sum of the cross-entropy over the tokens of all answers, in nats; float32."""
    logits, wanted = logits_at(model, batch)
    return F.cross_entropy(logits, wanted, reduction="sum")


def _arguments(model: Any) -> frozenset[str]:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return frozenset(inspect.signature(base.forward).parameters)


def pad_token(local: LocalModel) -> int:
    """A token for padding, which no other attends to."""
    tokenizer = local.tokenizer
    return int(next(t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if t is not None))


def positions_of(model: Any) -> Positions:
    """How the model counts the positions of a record: 0, 1, 2, ..., or in three directions (M-RoPE of Qwen-VL)."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    count: Callable[..., Any] | None = getattr(getattr(base, "model", base), "get_rope_index", None)
    if count is None:
        return lambda example: torch.arange(len(example))
    takes = inspect.signature(count).parameters

    def positions(example: Example) -> Tensor:
        given = {
            "input_ids": example.ids[None],
            "attention_mask": torch.ones_like(example.ids)[None],
            **{name: value[None] for name, value in example.kinds.items()},
            **example.pictures,
        }
        found: Tensor = count(**{name: value for name, value in given.items() if name in takes})[0]
        return found[:, 0]

    return positions


def form_of(model: Any) -> Form:
    """How the model's attention takes packed rows."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    kind = str(getattr(base.config.get_text_config(), "_attn_implementation", None) or "")
    if kind.startswith("flash"):
        return "positions"
    return "bool" if kind == "sdpa" else "float"


def window_of(model: Any) -> float:
    """How far back the model's narrowest layer looks, in tokens; infinite if every layer sees all."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    slides = any(kind != "full_attention" for kind in kinds) if kinds else bool(window)
    if not slides:
        return math.inf
    return float(window or 0)


def files_of(folder: Path) -> list[Path]:
    """The files that make a model what it is: settings, chat templates, tokenizer, processor and weights, in order."""
    return sorted({path for kind in FILES for path in folder.glob(kind) if path.is_file()})


def fingerprint(folder: Path) -> str:
    """Tell models apart by the whole content of `files_of`. Raises ModelError if one cannot be read."""
    digest = hashlib.sha256()
    for path in files_of(folder):
        try:
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"a file of the model cannot be read ({error.strerror}); check it: {path}") from None
        digest.update(f"{path.relative_to(folder).as_posix()}\n{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def save_adapter(model: Any, local: LocalModel, folder: Path) -> None:
    """Write the adapter in the layout of peft, with the processor beside it; it replaces a folder of that name.

    Raises MediaError if it cannot be written.
    """

    def write(part: Path) -> None:
        model.peft_config["default"].base_model_name_or_path = str(local.base.resolve())
        model.save_pretrained(part, safe_serialization=True)
        (part / "README.md").unlink(missing_ok=True)  # an empty form
        _write_processor(local, part)
        config = json.loads((part / ADAPTER).read_text("utf-8"))
        config["target_modules"] = sorted(config["target_modules"])  # a set, whose order is chance
        (part / ADAPTER).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")

    _replace(folder, write)


def save_merged(model: Any, local: LocalModel, folder: Path) -> Any:
    """Add the adapter to the weights of the base, write the whole model with its processor, and return it.

    The model that was given is changed. Raises MediaError if it cannot be written.
    """
    with _old_names():
        merged = model.merge_and_unload(safe_merge=True)

    def write(part: Path) -> None:
        merged.to(local.dtype).save_pretrained(part, safe_serialization=True)
        _write_processor(local, part)

    _replace(folder, write)
    return merged


def _write_processor(local: LocalModel, folder: Path) -> None:
    local.processor.save_pretrained(folder)
    if not any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        (folder / "chat_template.jinja").write_text(local.template, "utf-8")


def _replace(folder: Path, write: Callable[[Path], None]) -> None:
    part = folder.with_name(folder.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write(part)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise MediaError(
            f"the model cannot be written ({error}); make room or choose another folder: {folder}"
        ) from None
