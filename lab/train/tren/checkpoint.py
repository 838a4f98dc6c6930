"""Checkpoints of a training: weights, moments of the optimiser and the step, in one safetensors file.

Nothing else is needed to resume exactly: the order of the pictures, the points and the dropout follow from the seed and
the step. No pickle is written or read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidmem.errors import MediaError, ModelError, UsageError

FILE = "training.safetensors"
FORMAT = "vidmem-tren-training-1"


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, facts: Mapping[str, Any]) -> None:
    """Write a checkpoint in one step, so that a crash leaves the previous one. facts: the settings that `restore`
    compares.

    Raises MediaError if it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {f"model.{name}": value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimizer.{index}.{name}"] = value.detach().cpu().contiguous()
    part = path.with_name(path.name + ".part")
    try:
        save_file(tensors, part, {"format": FORMAT, "step": str(step), "facts": json.dumps(facts)})
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise MediaError(
            f"the checkpoint cannot be written ({error}); make room or choose another folder: {path}"
        ) from None


def restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, facts: Mapping[str, Any]) -> int:
    """Fill model and optimiser from `path`; return the number of steps done.

    Raises ModelError if the file is damaged or not a checkpoint, UsageError if it is of another training; the message
    names the settings that differ. Nothing is filled before everything is checked.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        if header.get("format") != FORMAT:
            raise ValueError(f"its format is {header.get('format')!r}")
        step, held = int(header["step"]), json.loads(header["facts"])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"not a checkpoint of a training, or damaged ({error}); start again in another folder: {path}"
        ) from None
    asked = json.loads(json.dumps(facts))
    if changed := differences(held, asked):
        raise UsageError(
            f"the training to resume differs in {', '.join(changed)}; give the same settings, or another folder: {path}"
        )
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    expected = {name: value.shape for name, value in model.state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != expected:
        raise ModelError(f"its tensors do not fit this region encoder; start again in another folder: {path}")
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".")
            moments.setdefault(int(index), {})[field] = value
    model.load_state_dict(weights)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return step


def differences(held: Any, asked: Any, place: str = "") -> list[str]:
    """List the differences of two pieces of plain data: "losses.tau (0.1, now 0.2)", in order."""
    if isinstance(held, dict) and isinstance(asked, dict):
        keys = [*held, *(key for key in asked if key not in held)]
        return [d for k in keys for d in differences(held.get(k), asked.get(k), f"{place}.{k}" if place else str(k))]
    return [] if held == asked else [f"{place} ({_short(held)}, now {_short(asked)})"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
