"""The collection that holds the vectors of a memory or fleet in Milvus.

Its name says whose it is and in which state: vidmem_MEMORY_ENCODER_GENERATION_TRACKS_RANDOM. The alias vidmem_MEMORY
leads to the one that is complete. So a collection is complete or not there, and names alone say whether it is stale.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelMismatchError, StoreError, UsageError
from ..records import Float32
from ..store import ModelRecord
from .milvus_server import errors

INDEXES = ("FLAT", "HNSW", "IVF_RABITQ", "AUTOINDEX")
PARAMETERS: dict[str, dict[str, int]] = {
    "HNSW": {"M": 16, "efConstruction": 200},
    "IVF_RABITQ": {"nlist": 1024},
}
"""How each index is built. `refine` of IVF_RABITQ is not used: scores are refined from the memory."""
INSERT = 2000
"""Rows in a request: 4 MB at 256 dimensions, where a server takes 64."""

_NAME = re.compile(r"vidmem_([0-9A-Za-z]{1,64})_([0-9a-f]{12})_(\d{1,19})_(\d{1,19})_[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class State:
    """What a collection holds.

    Attributes:
        memory: The id of the memory or fleet, letters and digits.
        encoder: The first 12 hex digits of the sha256 of the weights that made the vectors.
        generation: Of the tracks.
        tracks: How many.
    """

    memory: str
    encoder: str
    generation: int
    tracks: int

    @classmethod
    def of(cls, memory: str, model: ModelRecord, generation: int, tracks: int) -> Self:
        """The state of a memory."""
        made = f"{model.encoder}\n{model.weights}\n{model.visual_dim}\n{model.text_dim}"
        plain = re.fullmatch(r"[0-9A-Za-z]{1,64}", memory) is not None
        name = memory if plain else hashlib.sha256(memory.encode("utf-8", "surrogatepass")).hexdigest()
        digest = hashlib.sha256(made.encode("utf-8", "surrogatepass")).hexdigest()
        return cls(name, digest[:12], generation, tracks)

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The state that the name of a collection says; None for names of others."""
        match = _NAME.fullmatch(name)
        return None if match is None else cls(match[1], match[2], int(match[3]), int(match[4]))

    @property
    def alias(self) -> str:
        """Leads to the complete collection of the memory."""
        return f"vidmem_{self.memory}"

    def new_collection(self) -> str:
        """A name for a new collection in this state."""
        return f"{self.alias}_{self.encoder}_{self.generation}_{self.tracks}_{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True)
class Rows:
    """Tracks to insert: ids `(n,)`, other fields by name, and vectors `(n, D)` whose inner product with a unit query is
    the score."""

    ids: NDArray[np.int64]
    fields: dict[str, list[Any]]
    visual: Float32
    text: Float32


def held(client: Any, uri: str, wanted: State) -> tuple[str, State] | None:
    """The complete collection of this memory, its name and its state; None without one."""
    with errors(uri):
        name = next((name for name in _of_memory(client, wanted) if _in_use(client, wanted, name)), None)
    state = None if name is None else State.parse(name)
    return None if name is None or state is None else (name, state)


def index_of(client: Any, uri: str, name: str) -> str:
    """The kind of index of a collection."""
    with errors(uri):
        return str((client.describe_index(name, "visual") or {}).get("index_type", ""))


def check(client: Any, uri: str, wanted: State) -> str:
    """The name of the collection of a memory in its present state.

    Raises:
        StoreError: the memory is not in Milvus, or it has changed since.
        ModelMismatchError: another encoder made the vectors there.
    """
    there = held(client, uri, wanted)
    remedy = f"run `vidmem export milvus --to {uri}`"
    if there is None:
        raise StoreError(f"this memory is not in Milvus; {remedy}")
    name, found = there
    if found.encoder != wanted.encoder:
        raise ModelMismatchError(f"Milvus has vectors of another encoder than this memory; {remedy}")
    if found != wanted:
        raise StoreError(
            f"Milvus has this memory with {found.tracks:,} tracks at generation {found.generation}, and it has "
            f"{wanted.tracks:,} at {wanted.generation} now; {remedy}"
        )
    return name


def write(
    client: Any, uri: str, wanted: State, dims: tuple[int, int], rows: Iterable[Rows], index: str
) -> tuple[str, str]:
    """Fill a new collection, index it, let the alias lead to it, and drop those that were before.

    Args:
        client: As `connect` returns it.
        uri: For messages.
        wanted: What it will hold.
        dims: Of visual and text vectors.
        rows: All tracks, in parts.
        index: One of INDEXES.

    Returns:
        The name of the collection and the type of its vectors: FLOAT16_VECTOR, or FLOAT_VECTOR where the server has no
        other.

    Raises:
        UsageError: the server has no such index.
        StoreError: the server fails. The old collection stays in use.
    """
    with errors(uri):
        _drop(client, [name for name in _of_memory(client, wanted) if not _in_use(client, wanted, name)])
        name = wanted.new_collection()
        kind = _create(client, name, dims)
        for part in rows:
            for start in range(0, len(part.ids), INSERT):
                client.insert(name, _as_dicts(part, slice(start, start + INSERT), kind))
        client.flush(name)
    _index(client, uri, name, index)
    with errors(uri):
        client.load_collection(name)
        if any(_in_use(client, wanted, other) for other in _of_memory(client, wanted)):
            client.alter_alias(name, wanted.alias)
        else:
            client.create_alias(name, wanted.alias)
        _drop(client, [other for other in _of_memory(client, wanted) if other != name])
    return name, kind


def _create(client: Any, name: str, dims: tuple[int, int]) -> str:
    from pymilvus import DataType, MilvusException

    for kind in ("FLOAT16_VECTOR", "FLOAT_VECTOR"):
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("track", DataType.INT64, is_primary=True)
        schema.add_field("shard", DataType.VARCHAR, max_length=128)
        schema.add_field("source", DataType.VARCHAR, max_length=8192)
        schema.add_field("start_ns", DataType.INT64)
        schema.add_field("end_ns", DataType.INT64)
        for field, dim in zip(("visual", "text"), dims, strict=True):
            schema.add_field(field, DataType[kind], dim=dim)
        try:
            client.create_collection(name, schema=schema, consistency_level="Strong")
        except MilvusException:
            if kind == "FLOAT_VECTOR":
                raise
            continue  # milvus-lite has no half precision
        return kind
    raise AssertionError


def _index(client: Any, uri: str, name: str, index: str) -> None:
    from pymilvus import MilvusException

    parameters = client.prepare_index_params()
    for field in ("visual", "text"):
        parameters.add_index(field, index_type=index, metric_type="IP", params=PARAMETERS.get(index, {}))
    try:
        with errors(uri):
            try:
                client.create_index(name, parameters)
            except MilvusException as error:
                if "index" in str(error).lower() and index not in ("FLAT", "AUTOINDEX"):
                    raise UsageError(
                        f"this server has no index {index}; give `index` HNSW, FLAT or AUTOINDEX"
                    ) from None
                raise
    except BaseException:
        with errors(uri):
            _drop(client, [name])
        raise


def _as_dicts(rows: Rows, part: slice, kind: str) -> list[dict[str, Any]]:
    half = kind == "FLOAT16_VECTOR"
    visual, text = (v[part].astype(np.float16) if half else v[part] for v in (rows.visual, rows.text))
    out = []
    for i, track in enumerate(rows.ids[part].tolist()):
        row = {name: values[part][i] for name, values in rows.fields.items()}
        out.append(row | {"track": track, "visual": visual[i], "text": text[i]})
    return out


def _of_memory(client: Any, wanted: State) -> list[str]:
    states = {name: State.parse(name) for name in client.list_collections()}
    return [name for name, state in states.items() if state is not None and state.memory == wanted.memory]


def _in_use(client: Any, wanted: State, name: str) -> bool:
    return wanted.alias in client.list_aliases(name).get("aliases", ())


def _drop(client: Any, names: Iterable[str]) -> None:
    for name in names:
        client.drop_collection(name)
