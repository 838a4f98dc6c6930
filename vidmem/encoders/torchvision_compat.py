"""Lets torchvision be imported beside a PyTorch that its compiled operators do not load with.

A torchvision that was built for CUDA beside a CPU build of PyTorch leaves its operators out and then fails at its own
import, and with it open_clip, timm and transformers, none of which needs an operator here. Acts on that very error
alone; a pair that matches, and any other fault, is left as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

THE_ERROR = "operator torchvision::nms does not exist"
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_kept: list[object] = []
"""The library object: what it defined is gone with it."""


def ready() -> bool:
    """Call it before anything that imports torchvision. True when the missing operators were put in.

    Not installed is no fault here: who needs it will say so. Raises what torchvision raises, but for THE_ERROR.
    """
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
        return False
    except RuntimeError as error:
        if str(error) != THE_ERROR:
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # halves of it are left behind
    _define()
    extension = importlib.import_module("torchvision").extension
    # Only now: while it is imported, the others of its operators would be looked for if it thought it had them.
    extension._has_ops = lambda: True
    return True


def _define() -> None:
    import torch

    from .nms import keep_highest

    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(name + _SCHEMA)  # type: ignore[no-untyped-call]
        library.impl(name, keep_highest, "CPU")  # type: ignore[no-untyped-call]
    _kept.append(library)
