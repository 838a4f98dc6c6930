"""Write the result of a training: a folder that open_clip loads as `local-dir:`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidmem.encoders.clip.files import CONFIG, WEIGHTS, Loaded
from vidmem.encoders.hub import RECORD
from vidmem.errors import MediaError

from ..checkpoint import write_tensors

PROVENANCE = "densevlm.json"
"""File beside the weights that says what they come from."""
_VISUAL = "visual."
_TOKENIZER = (".json", ".txt", ".model")
"""Suffixes of the files of tokenizers of transformers."""
_OWN = (CONFIG, PROVENANCE, RECORD)


def originals(loaded: Loaded) -> dict[str, Tensor]:
    """A copy of the tensors of the image tower on the CPU, by their names in the tower."""
    return {name: tensor.detach().cpu().clone() for name, tensor in loaded.model.visual.state_dict().items()}


def blended(trained: Mapping[str, Tensor], original: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` of the trained weights plus the rest of the original ones, on the CPU.

    Tensors that are not of floating point, such as numbers of positions, are the trained ones.
    """
    out = {}
    for name, tensor in trained.items():
        here = tensor.detach().cpu()
        out[name] = torch.lerp(original[name], here, share) if here.is_floating_point() else here
    return out


def save_model(folder: Path, loaded: Loaded, visual: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a model with another image tower. A folder of an earlier result is replaced when this one is complete.

    Args:
        folder: Folder to write: the configuration, the weights, the tokenizer's files if it has some, and PROVENANCE.
        loaded: The model that was trained; all but its image tower is written as it is.
        visual: The tensors of the image tower, by their names in the tower.
        facts: What the weights come from.

    Raises:
        MediaError: The folder cannot be written.
    """
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    try:
        for rest in (part, old):
            shutil.rmtree(rest, ignore_errors=True)
        part.mkdir(parents=True)
        if "hf_tokenizer_name" in loaded.config["text_cfg"]:
            for file in loaded.home.iterdir():
                if file.is_file() and file.suffix in _TOKENIZER and file.name not in _OWN:
                    shutil.copyfile(file, part / file.name)
        told = {
            "model_cfg": dict(loaded.config),
            "preprocess_cfg": {"mean": list(loaded.mean), "std": list(loaded.std)},
        }
        _write(part / CONFIG, told)
        _write(part / PROVENANCE, facts)
        tensors = {
            name: (visual[name.removeprefix(_VISUAL)] if name.startswith(_VISUAL) else tensor.detach().cpu())
            for name, tensor in loaded.model.state_dict().items()
        }
        tensors = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}  # none shares its memory
        write_tensors(part / WEIGHTS, tensors, {"format": "pt"}, "the adapted weights")
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise MediaError(
            f"the adapted model cannot be written ({error}); make room or choose another folder: {folder}"
        ) from None


def _write(path: Path, document: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=1)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
