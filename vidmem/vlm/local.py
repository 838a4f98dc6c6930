"""Load a vision-language model of `transformers` from a folder. Needs the extra `vlm`.

A folder has what `save_pretrained` writes: config.json, weights as safetensors, the processor with its tokenizer, and a
chat template. A folder with adapter_config.json is a LoRA adapter of `peft`; its base is another folder. Nothing is
fetched, and no code in a folder is run: models that bring code of their own are refused, and so are pickles.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..encoders.extras import needing
from ..encoders.integrity import odd_size
from ..errors import ModelError
from ..offline import offline
from ..text_files import parse_json

if TYPE_CHECKING:
    import torch

ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WHAT = "the vision-language model"
"""Its name in messages."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalModel:
    """A loaded model.

    Attributes:
        model: A model of `AutoModelForImageTextToText`, or a `PeftModel` around one if it was loaded to be trained.
        processor: Its processor; `processor.tokenizer` is the tokenizer.
        template: The chat template (Jinja).
        device: Where the model is.
        dtype: Format of its weights.
        folder: The folder that was given.
        kind: Its `model_type`, such as "qwen2_vl".
        base: The folder of the base model; the same as `folder` without an adapter.
    """

    model: Any
    processor: Any
    template: str
    device: torch.device
    dtype: torch.dtype
    folder: Path
    kind: str
    base: Path

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer


@needing("vlm", WHAT)
def load(
    folder: str | os.PathLike[str],
    device: str | None = None,
    *,
    dtype: torch.dtype | None = None,
    trainable: bool = False,
) -> LocalModel:
    """Load a model, or an adapter on its base model.

    Args:
        folder: The folder.
        device: cuda, mps or cpu; None for the best that works.
        dtype: Format of the weights; None for bfloat16 on a GPU that has it, and float32 elsewhere.
        trainable: Keep an adapter apart from its base, with gradients, instead of merging it. The base never has
            gradients.

    Raises:
        ModelError: The folder holds no such model or is damaged, or a library is missing.
        UsageError: The device does not work.
    """
    from ..encoders.torchvision_compat import ready

    home = Path(folder).expanduser()
    try:
        adapted = (home / ADAPTER).is_file()
    except OSError as error:  # such as a name that is too long
        raise ModelError(f"the folder of the model cannot be read ({error.strerror}); check the path: {home}") from None
    adapter = read_adapter(home) if adapted else None
    base = home if adapter is None else adapter_base(home, adapter)
    kind = _kind(base)
    ready()  # transformers imports torchvision where it is installed
    _check_kind(kind, base)
    with offline():  # `local_files_only` does not reach all calls of the hub
        processor = _processor(home if _has_processor(home) else base, base)
        from ..encoders.device import pick_device

        place, fast = pick_device(device)
        if dtype is None:
            import torch

            dtype = fast if place.type == "cuda" else torch.float32
        model = _model(base, dtype)
        if adapter is not None:
            model = _adapted(model, home, trainable)
    model = model.to(place).eval()
    return LocalModel(model, processor, _template(processor, base), place, dtype, home, kind, base)


def read_adapter(folder: Path) -> dict[str, Any]:
    """The content of adapter_config.json. Raises ModelError if it is damaged or of another kind than LoRA."""
    config = _json(folder / ADAPTER)
    if config.get("peft_type") != "LORA":
        _fail(f"the adapter is of the kind {str(config.get('peft_type'))[:40]}; only LORA is read", folder)
    if config.get("megatron_config"):  # peft imports whatever module this names
        _fail("the adapter is for Megatron; remove `megatron_config` from adapter_config.json", folder)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        _fail(f"the adapter lacks {ADAPTER_WEIGHTS}; only safetensors are read", folder)
    return config


def adapter_base(folder: Path, config: dict[str, Any]) -> Path:
    """The folder of an adapter's base model; a relative one starts at the adapter. Raises ModelError."""
    name = config.get("base_model_name_or_path")
    if isinstance(name, str) and name:
        for base in (folder / Path(name).expanduser(), Path(name).expanduser()):
            if base.is_dir() and not (base / ADAPTER).is_file():
                return base
    _fail(
        f"the adapter's base model {str(name)[:80]!r} is no folder here; write the path of its folder into "
        f"`base_model_name_or_path` of {ADAPTER}",
        folder,
    )


def _kind(folder: Path) -> str:
    """The model_type of a folder. Raises ModelError if it is no folder of a model."""
    if not (folder / "config.json").is_file():
        cause = "has no config.json" if folder.is_dir() else "does not exist"
        raise ModelError(f"not a folder of a vision-language model, it {cause}; check the path: {folder}")
    config = _json(folder / "config.json")
    kind = config.get("model_type")
    if not isinstance(kind, str):
        _fail("config.json names no model_type; fetch it again", folder)
    if odd := odd_size(config):
        _fail(f"config.json gives {odd!r} a size that no model has; fetch it again", folder)
    if not any(folder.glob("*.safetensors")):
        _fail("it has no weights as .safetensors, and nothing else is read", folder)
    return kind


def _check_kind(kind: str, folder: Path) -> None:
    """Raise ModelError unless `transformers` has such a model and it takes pictures."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    if kind in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return
    if kind in CONFIG_MAPPING:
        _fail(f"{kind!r} takes no pictures with its text; take a vision-language model", folder)
    if _json(folder / "config.json").get("auto_map"):
        _fail(f"{kind!r} brings code of its own, which is not run; take its version for transformers (-hf)", folder)
    _fail(f"transformers here has no {kind[:40]!r}; update it, or take another model", folder)


def _has_processor(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))


def _processor(folder: Path, base: Path) -> Any:
    from transformers import AutoProcessor

    from ..encoders.transformers_compat import quiet

    loader: Any = AutoProcessor
    try:
        with quiet():
            processor = loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise ModelError(
            f"{WHAT}'s processor needs a library that is missing ({_first_line(error)}); pip install 'vidmem[vlm]'"
        ) from None
    except Exception as error:  # the library raises many kinds of errors for a damaged folder
        _fail(f"its processor cannot be loaded ({_first_line(error)}); fetch it again", folder)
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        _fail("its processor takes no pictures with text; fetch the files of the processor, too", base)
    return processor


def _template(processor: Any, folder: Path) -> str:
    for owner in (processor, processor.tokenizer):
        template = getattr(owner, "chat_template", None)
        if isinstance(template, dict):
            template = template.get("default")
        if isinstance(template, str) and template:
            return template
    _fail("it has no chat template; add chat_template.jinja of the published model to the folder", folder)


def _model(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForImageTextToText

    from ..encoders.transformers_compat import quiet

    loader: Any = AutoModelForImageTextToText
    try:
        with quiet():
            model, loading = loader.from_pretrained(
                folder,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except ImportError as error:
        raise ModelError(f"{WHAT} needs a library that is missing ({_first_line(error)}): {folder}") from None
    except Exception as error:  # the library raises many kinds of errors for a damaged folder
        _fail(f"transformers cannot load it ({_first_line(error)}); fetch it again", folder)
    wrong = sorted(str(key) for kind in ("missing_keys", "mismatched_keys") for key in loading.get(kind, ()))
    if wrong:
        _fail(f"{len(wrong)} tensors are missing or do not fit, such as {wrong[0][:80]}; fetch it again", folder)
    return model.requires_grad_(False)


def _adapted(model: Any, folder: Path, trainable: bool) -> Any:
    """The model with the adapter on it; merged into it unless `trainable`."""
    try:
        import peft
    except ImportError:
        raise ModelError(f"the adapter needs peft; pip install 'vidmem[vlm]': {folder}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft uses old names of transformers
            # peft only warns when weights are missing, and computes without them.
            warnings.filterwarnings("error", message=".*missing adapter keys", category=UserWarning)
            adapted: Any = peft.PeftModel.from_pretrained(model, folder, is_trainable=trainable, local_files_only=True)
            return adapted if trainable else adapted.merge_and_unload(safe_merge=True)
    except Exception as error:  # the library raises many kinds of errors for a damaged folder
        _fail(f"the adapter does not fit its base ({_first_line(error)}); check `base_model_name_or_path`", folder)


def _json(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(file.read_bytes())
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        _fail(f"{file.name} is damaged; fetch it again", file.parent)
    return content


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:160] if lines else type(error).__name__


def _fail(cause: str, folder: Path) -> NoReturn:
    raise ModelError(f"{WHAT} cannot be used: {cause}: {folder}")
