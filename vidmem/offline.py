"""Keep the libraries of Hugging Face off the network: only `pull` may fetch anything.

Models, tokenizers and their configurations may name others, which these libraries would look for on the hub. They ask
the environment whether they may, some of them once, when they are imported.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")

_READ_ONCE = (("huggingface_hub.constants", "HF_HUB_OFFLINE"), ("transformers.utils.hub", "_is_offline_mode"))
"""Where versions of the libraries keep what they read when they were imported."""

_lock = threading.RLock()
_before: dict[str, str | None] | None = None
"""The environment of the user while it is changed; None while it is not."""
_blocks = 0
"""Blocks of `offline` that are being run, in all threads."""


def go_offline() -> None:
    """Keep this process off the hub from now on, but for blocks of `online`. For programs of our own."""
    global _blocks
    with _lock:
        _blocks += 1
        _close()


@contextmanager
def offline() -> Iterator[None]:
    """Keep this process off the hub within a block."""
    global _blocks
    with _lock:
        _blocks += 1
        _close()
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                _open()


@contextmanager
def online() -> Iterator[None]:
    """Let the libraries use the hub within a block, unless the user's environment forbids it."""
    with _lock:
        _open()
    try:
        yield
    finally:
        with _lock:
            if _blocks:
                _close()


def _close() -> None:
    global _before
    if _before is None:
        _before = {name: os.environ.get(name) for name in _NAMES}
        os.environ.update(dict.fromkeys(_NAMES, "1"))
        _tell(True)


def _open() -> None:
    global _before
    if _before is not None:
        for name, value in _before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _before = None
        _tell(is_offline())


def is_offline() -> bool:
    """Return True if the environment forbids the use of the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _tell(closed: bool) -> None:
    """Change what libraries that are imported have read already."""
    for module, name in _READ_ONCE:
        known = sys.modules.get(module)
        if known is not None and hasattr(known, name):
            setattr(known, name, closed)
    library = sys.modules.get("huggingface_hub.utils")
    reset = getattr(library, "reset_sessions", None)  # older versions: open sessions know no better
    if reset is not None:
        reset()
