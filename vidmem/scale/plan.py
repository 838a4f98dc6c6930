"""From inputs to tasks: short sources share a shard, long ones are encoded in stretches. Keys tell tasks apart.

The plan depends on the inputs alone, never on the number of workers or on what is done already. So two drivers with one
list plan the same tasks, and share them through the leases of the catalogue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from ..store import migrations
from ..timecode import NS
from .inputs import Input
from .settings import Settings
from .stretches import Stretch

FORMAT = 1
"""Of task keys: one more whenever the same task gives another shard."""
MOST_SOURCES = 256
"""Maximum number of sources that share a shard."""
_UNKNOWN_NS = 60 * NS
"""What a source counts whose length is unknown."""
_SHARDS = 64
"""How many shards a small fleet is cut into, so that there is work for many workers."""
_LEAST_S, _MOST_S = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class ShardTask:
    """Index some sources into a shard.

    Attributes:
        key: Tells it from all other tasks; the same for the same sources, encoder and settings.
        inputs: The sources, in order.
    """

    key: str
    inputs: tuple[Input, ...]

    @property
    def cost_ns(self) -> int:
        """About how much there is to do, in ns of media."""
        return sum(cost(given) for given in self.inputs)

    @property
    def label(self) -> str:
        """For people: its source, or how many."""
        first = self.inputs[0]
        name = first.address.label if not first.is_album else first.name
        return name if len(self.inputs) == 1 else f"{name} and {len(self.inputs) - 1} more"


@dataclass(frozen=True, slots=True)
class StretchTask:
    """Encode a stretch of the only source of a shard.

    Attributes:
        key: Of the piece.
        source: The source.
        stretch: The stretch.
    """

    key: str
    source: Input
    stretch: Stretch


def cost(given: Input) -> int:
    """About how much there is to do for one source, in ns of media."""
    return given.cost_ns or _UNKNOWN_NS


def key_of(inputs: Sequence[Input], settings: Settings) -> str:
    """The key of the task of some sources: sha256 in hex of all that their shard depends on."""
    sources = [[given.fingerprint, given.entry.recorded or ""] for given in inputs]
    return _sha({"format": FORMAT, "schema": len(migrations.MIGRATIONS), **settings.about(), "sources": sources})


def stretch_key(key: str, stretch: Stretch) -> str:
    """The key of the piece of one stretch. key: of the shard's task."""
    return _sha({"shard": key, "first": stretch.first, "begin": stretch.begin_ns, "end": stretch.end_ns})


def _sha(about: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def default_group_s(inputs: Sequence[Input]) -> float:
    """Up to how many seconds of media share a shard: a 64th of all, at least a minute and at most an hour."""
    return min(max(sum(map(cost, inputs)) / NS / _SHARDS, _LEAST_S), _MOST_S)


def grouped(inputs: Sequence[Input], settings: Settings, group_s: float, known: Set[str]) -> list[ShardTask]:
    """The tasks for some sources, in their order.

    Groups are made of all inputs, and then those are left out that are known. So a run that goes on where another one
    stopped has the same groups, and what was added to the list makes groups of its own.

    Args:
        inputs: All sources, each fingerprint once.
        settings: The settings.
        group_s: Up to how many seconds of media share a shard.
        known: Fingerprints of the sources that ready shards hold.
    """
    groups: list[list[Input]] = []
    free: list[Input] | None = None
    filled, most = 0, group_s * NS
    for given in inputs:
        if given.is_album or cost(given) > most:  # an album may change and is then replaced as a whole
            groups.append([given])
            continue
        if free is None or filled + cost(given) > most or len(free) == MOST_SOURCES:
            free, filled = [], 0
            groups.append(free)
        free.append(given)
        filled += cost(given)
    left = ([given for given in group if given.fingerprint not in known] for group in groups)
    return [ShardTask(key_of(group, settings), tuple(group)) for group in left if group]
