"""vidmem: a memory for long video. Watch once, then ask when and where a thing was last seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .errors import VidmemError
    from .memory import Memory
    from .query.answers import Answer
    from .records import Sighting

__all__ = ["Answer", "Memory", "Sighting", "VidmemError", "__version__"]

_HOMES = {
    "Memory": "vidmem.memory",
    "Answer": "vidmem.query.answers",
    "Sighting": "vidmem.records",
    "VidmemError": "vidmem.errors",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that `import vidmem` costs nothing and the command line starts fast.
    if name not in _HOMES:
        raise AttributeError(f"module 'vidmem' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
