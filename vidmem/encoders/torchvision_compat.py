"""Make torchvision importable with a PyTorch that its compiled operators do not load with.

A torchvision built for CUDA fails to import with a CPU build of PyTorch, because its operators are missing. open_clip,
timm and transformers then fail too, although none needs an operator here. Only this error is handled.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

THE_ERROR = "operator torchvision::nms does not exist"
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_kept: list[object] = []
"""Keeps the library object alive; its operators vanish with it."""


def ready() -> bool:
    """Define the missing operators; call this before anything imports torchvision. Returns True if it defined them.

    Does nothing if torchvision is not installed. Raises what torchvision raises, except THE_ERROR.
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

    library: Any = torch.library
    library = library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + _SCHEMA)
        library.impl(name, keep_highest, "CPU")
    _kept.append(library)
