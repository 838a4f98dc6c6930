"""Which device and number format to compute in."""

from __future__ import annotations

import logging

import torch

from ..errors import UsageError

_log = logging.getLogger(__name__)


def pick_device(name: str | None = None) -> tuple[torch.device, torch.dtype]:
    """Choose a device and the fastest safe dtype on it: bfloat16 where the hardware multiplies it, else float32.

    name: cuda, mps or cpu; None for the best that works, in this order.

    Raises:
        UsageError: The device does not work here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"`device` {name} cannot be used here ({reason}); try cpu") from None
    if device.type == "cpu":
        fast = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    else:
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    dtype = torch.bfloat16 if fast else torch.float32
    _log.info("torch computes on %s in %s", device, str(dtype).removeprefix("torch."))
    return device, dtype
