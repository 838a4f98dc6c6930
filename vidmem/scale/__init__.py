"""Index a fleet: many sources, many workers, many shards. Needs the extra `scale`, which brings Ray.

`index_fleet` is the entry. manifest.py reads lists, inputs.py opens sources, plan.py makes tasks of them, driver.py
gives tasks to the workers of pool.py, and worker.py does them. stretches.py, pieces.py and relaying.py let several
workers encode one long source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .indexing import index_fleet
    from .reports import FleetProgress, FleetReport, FleetSourceReport

__all__ = ["FleetProgress", "FleetReport", "FleetSourceReport", "index_fleet"]

_HOMES = {"index_fleet": ".indexing"} | dict.fromkeys(("FleetProgress", "FleetReport", "FleetSourceReport"), ".reports")


def __getattr__(name: str) -> Any:
    # Lazy: a worker imports this package first, and what it needs later.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name], __name__), name)
