"""What a catalogue holds, as plain frozen records. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..store.rows import ModelRecord, SourceRow

ShardState = Literal["ready", "leased", "failed", "replaced"]
MAX_NUMBER = (1 << 21) - 1
"""The largest number of a shard: with 32 bits for a track of the shard, its ids stay below 2^53, exact in JSON."""


@dataclass(frozen=True, slots=True)
class FleetRow:
    """The fleet of a catalogue.

    Attributes:
        id: The random name of the catalogue.
        format: The version of its tables.
        generation: How often its ready shards have changed.
        model: What made all its shards; None before the first.
    """

    id: str
    format: int
    generation: int
    model: ModelRecord | None

    @property
    def encoder(self) -> str | None:
        """The name of the encoder; None before the first shard."""
        return None if self.model is None else self.model.encoder

    @property
    def weights(self) -> str | None:
        """sha256 of the encoder's weights."""
        return None if self.model is None else self.model.weights

    @property
    def dims(self) -> tuple[int, int] | None:
        """Lengths of the visual and text vectors."""
        return None if self.model is None else (self.model.visual_dim, self.model.text_dim)

    @property
    def config(self) -> Mapping[str, object] | None:
        """`IndexConfig.as_dict()` of the memories."""
        return None if self.model is None else self.model.config


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A shard, or a task that makes one.

    Attributes:
        number: Its number in this catalogue, never given to another.
        sha256: The id of the shard; None until it is ready.
        key: The key of its task; the id of a shard that was added by hand.
        state: "ready" (it answers), "leased" (someone makes it), "failed", or "replaced" (by others, and not asked).
        encoder: The name of its encoder; empty until it is ready.
        generation: The generation of its tracks in its memory.
        n_tracks: How many tracks it has.
        t_min: Its earliest time in ns since the epoch, by its own clock; None if unknown.
        t_max: Its latest time.
        uri: Where it lies: an absolute path, or an address of an object store; empty until it is ready.
        bytes: Bytes of its files.
        lease_owner: Who makes it, or made it.
        lease_until: When the lease ends, in ns of the catalogue's clock.
        tries: How often it was leased.
        error: What went wrong last; empty if nothing did.
        clock_offset_ns: What to add to its times to get the time of the fleet.
        clock_error_ns: How far that may be wrong, in either direction.
        about: What its task said of itself.
    """

    number: int
    sha256: str | None
    key: str
    state: ShardState
    encoder: str = ""
    generation: int = 0
    n_tracks: int = 0
    t_min: int | None = None
    t_max: int | None = None
    uri: str = ""
    bytes: int = 0
    lease_owner: str = ""
    lease_until: int = 0
    tries: int = 0
    error: str = ""
    clock_offset_ns: int = 0
    clock_error_ns: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardSource:
    """A source in a ready shard.

    Attributes:
        shard: The number of the shard.
        row: As the memory of the shard has it; its id is the one in the shard.
        tracks: How many tracks it has.
        end_ns: Its last moment on its own clock.
        t_min: When it began, in ns since the epoch by the shard's own clock; None if unknown.
        t_max: When it ended.
        pictures: How many single pictures it has.
    """

    shard: int
    row: SourceRow
    tracks: int
    end_ns: int
    t_min: int | None
    t_max: int | None
    pictures: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to make a shard, until it ends or is renewed.

    Attributes:
        number: The number that the shard will have.
        key: The key of the task.
        owner: Who holds it.
        tries: How often the task was leased, this time included.
        until: When it ends, in ns of the catalogue's clock.
    """

    number: int
    key: str
    owner: str
    tries: int
    until: int
