"""The targets by subject."""

from __future__ import annotations

from ..target import Target


def every() -> list[Target]:
    """All targets, each name once. Those in broken.py are not among them."""
    from . import benchmarks, commands, datasets, logs, media, models, serving, stores, texts

    modules = (texts, datasets, benchmarks, media, logs, stores, models, serving, commands)
    found = [target for module in modules for target in module.TARGETS]
    names = [target.name for target in found]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    return found
