"""ONNX Runtime sessions: their devices, and errors when one cannot be made."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from typing import Any

from ..errors import ModelError, UsageError

_log = logging.getLogger(__name__)

PROVIDERS = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider", "cpu": "CPUExecutionProvider"}
"""Device -> provider, best first. Apple's is called mps, as for the other encoders."""


def providers(device: str | None = None) -> list[str]:
    """The providers for a device, None for the best that works. The CPU follows, for operations that the first lacks.

    Raises:
        UsageError: The device is unknown, or this ONNX Runtime has no provider for it.
    """
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if device is None:
        # Apple's compiles for minutes what the CPU does in milliseconds: only on request.
        chosen = next(PROVIDERS[name] for name in ("cuda", "cpu") if PROVIDERS[name] in there)
    else:
        name = device.partition(":")[0]
        if name not in PROVIDERS:
            raise UsageError(f"`device` {device} is not known; there are: {', '.join(PROVIDERS)}")
        chosen = PROVIDERS[name]
        if chosen not in there:
            hint = "pip install 'vidmem[gpu]', or " if name == "cuda" else ""
            raise UsageError(f"`device` {device} cannot be used here (ONNX Runtime has no {chosen}); {hint}try cpu")
    return list(dict.fromkeys([chosen, PROVIDERS["cpu"]]))


_most_cores: int | None = None


def limit_cores(most: int | None) -> None:
    """Let encoders of this process use at most so many cores, beside others that share the machine; None for all."""
    global _most_cores
    _most_cores = most


def cores() -> int:
    """Number of CPU cores that encoders of this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return there if _most_cores is None else max(1, min(there, _most_cores))


def session(
    data: bytes,
    what: str,
    *,
    sha256: str | None = None,
    threads: int = 1,
    device: str | None = None,
    inputs: Sequence[str] = ("image",),
    outputs: Sequence[str] = (),
) -> Any:
    """Load the network in `data`.

    Args:
        data: An ONNX file.
        what: The network's name in messages.
        sha256: Of `data`; None to skip the check.
        threads: Of one call; 0 for all cores.
        device: As in `providers`.
        inputs: Names that the network must have.
        outputs: Names that the network must have.

    Raises:
        ModelError: The file is another one, damaged, or holds another network.
        UsageError: The device does not work.
    """
    import onnxruntime

    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise ModelError(f"{what} is damaged (its file has another sha256); reinstall vidmem")
    asked = providers(device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # it holds memory and saves no time here
    # Threads of one call that wait for the next by spinning would take the cores from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        made = onnxruntime.InferenceSession(data, options, providers=asked)
    except Exception as error:  # its classes of errors have no common base but this
        cause = " ".join(str(error).split())[:150]
        raise ModelError(f"{what} is damaged ({cause}); reinstall vidmem") from None
    there = {i.name for i in made.get_inputs()} | {o.name for o in made.get_outputs()}
    if missing := sorted({*inputs, *outputs} - there):
        raise ModelError(f"{what} is another network than is wanted here (it has no {missing[0]}); reinstall vidmem")
    _log.info("%s runs with %s, threads of a call: %d", what, made.get_providers()[0], threads)
    return made
