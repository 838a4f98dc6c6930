"""Checkpoints of a training: weights, state of the optimiser and the step, in one safetensors file.

Nothing else is needed to resume exactly, if the order of the data and everything random follow from the seed and the
step. No pickle is written or read.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidmem.errors import MediaError, ModelError, UsageError

FILE = "training.safetensors"
FOLDERS = ("model", "adapter", "merged")
"""Folders of results that trainings write beside the checkpoint. A new result replaces such a folder."""
FILES = ("log.jsonl", "skipped.jsonl", "held_out.json", "region_encoder.safetensors")
"""Files that they write there."""
_NUMBER = "number:"
"""Before the name of a value of the optimiser that is a plain integer."""


def may_start(out: Path, resume: bool, sources: Sequence[Path] = ()) -> Path:
    """Return the path of the checkpoint in the folder `out`. Nothing is written.

    Args:
        out: Folder of the training.
        resume: A training is to be continued.
        sources: Files and folders that the training reads, such as its base model.

    Raises:
        UsageError: A training is to start where there is one or where files are that it would replace, or to be resumed
            where there is none, or a source lies where a result is written.
        MediaError: The folder cannot be looked at.
    """
    path = out / FILE
    results = [out / f"{name}{rest}" for name in FOLDERS for rest in ("", ".part", ".old")]
    try:
        there = path.exists()
        if there and not resume:
            raise UsageError(f"the folder holds a training; continue it with `resume`, or choose another folder: {out}")
        if resume and not there:
            raise UsageError(f"there is no training to resume; leave `resume` out to start one: {out}")
        for source in sources:
            for target in results:
                if source.resolve().is_relative_to(target.resolve()):
                    raise UsageError(
                        f"the training reads {source} and writes its result there; move that, or choose another "
                        f"folder: {out}"
                    )
        for target in () if resume else (*results, *(out / name for name in FILES)):
            if _has_content(target):
                raise UsageError(
                    f"the training would replace {target.name}, which is there already; choose another folder, or "
                    f"continue a training with `resume`: {out}"
                )
    except OSError as error:
        raise MediaError(f"the folder cannot be used ({error.strerror}); choose another: {out}") from None
    return path


def _has_content(path: Path) -> bool:
    if path.is_dir():
        return any(path.iterdir())
    return path.exists() and path.stat().st_size > 0


def make_folder(out: Path) -> None:
    """Make the folder of a training if it is not there. Raises MediaError if that is impossible."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"the folder cannot be made ({error.strerror}); choose another: {out}") from None


def save(
    path: Path,
    weights: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    step: int,
    facts: Mapping[str, Any],
    form: str,
) -> None:
    """Write a checkpoint atomically, so that a crash leaves the previous one.

    Args:
        path: File to write.
        weights: What is trained, by name, such as `model.state_dict()`.
        optimizer: Its state is a table of tensors and integers for each parameter.
        step: Steps done.
        facts: Settings that `restore` compares, as plain data.
        form: Name of the kind of training and the version of its checkpoints.

    Raises:
        MediaError: The file cannot be written.
    """
    tensors = {f"model.{name}": value.detach().cpu().contiguous() for name, value in weights.items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in _flat(state):
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value.detach().cpu().contiguous()
            else:
                tensors[f"optimizer.{index}.{_NUMBER}{name}"] = torch.tensor(int(value))
    write_tensors(path, tensors, {"format": form, "step": str(step), "facts": json.dumps(facts)}, "the checkpoint")


def _flat(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values of a parameter's state. bitsandbytes puts small ones into a table within, and reads them without it;
    all parameters share them, which safetensors does not allow."""
    for name, value in state.items():
        if isinstance(value, Mapping):
            yield from ((key, part.clone() if isinstance(part, Tensor) else part) for key, part in value.items())
        else:
            yield name, value


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str], what: str) -> None:
    """Write a safetensors file and move it into place when it is complete.

    Args:
        path: File to write.
        tensors: On the CPU and contiguous.
        facts: Header of the file.
        what: What the file is, for messages.

    Raises:
        MediaError: The file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        part.touch()
        mode = part.stat().st_mode
        save_file(dict(tensors), part, dict(facts))
        part.chmod(mode)  # safetensors lets the owner alone read the file
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise MediaError(f"{what} cannot be written ({error}); make room or choose another folder: {path}") from None


def restore(
    path: Path,
    weights: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    facts: Mapping[str, Any],
    form: str,
) -> int:
    """Fill weights and optimiser from a checkpoint. Nothing is filled before everything is checked.

    Args:
        path: File to read.
        weights: As for `save`. They are changed in place.
        optimizer: An optimiser with the same parameters.
        facts: As for `save`.
        form: As for `save`.

    Returns:
        The number of steps done.

    Raises:
        ModelError: The file is damaged or not such a checkpoint.
        UsageError: It is of another training. The message names the settings that differ.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        if header.get("format") != form:
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
    found = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    if {name: value.shape for name, value in found.items()} != {n: value.shape for n, value in weights.items()}:
        raise ModelError(f"its tensors do not fit this model; start again in another folder: {path}")
    states: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            number = key.startswith(_NUMBER)
            states.setdefault(int(index), {})[key.removeprefix(_NUMBER)] = int(value) if number else value
    with torch.no_grad():
        for name, value in found.items():
            weights[name].copy_(value)
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
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
