"""The manifest of a shard: `seal.json`, which says what is in a sealed memory and the checksum of each of its files.

A manifest is a stranger's file. Only the one text that vidmem writes for its contents is accepted, so that a change of
any byte is found: keys sorted, no blanks, no key twice. Its `id` is the sha256 of that text without the id.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from ..errors import StoreError, VersionError
from ..limits import MAX_NS
from ..records import SourceKind
from ..store.files import BOUNDS_NAME, CACHE_NAME, DATABASE_NAME, SEAL_NAME, open_file
from ..store.rows import ModelRecord, SourceRow, model_record, source_row
from ..store.validate import MAX_COUNT

FORMAT = 1
MAX_MANIFEST = 64 << 20
"""Bytes of the largest manifest that is read. A source takes about 600."""
RESTORE = "restore it, or undo the seal of the memory with `vidmem seal --undo` and seal it again"
"""The remedy for a shard that is not as it was sealed."""
MAX_FILES = 64
MAX_SOURCES = 200_000
_HEX = re.compile("[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_VERSION = re.compile(r"[0-9A-Za-z.+!-]{1,40}")
_ROW = tuple(f.name for f in fields(SourceRow))
_SOURCE = frozenset(_ROW) - {"tracker_state"} | {"tracks", "end_ns", "t_min", "t_max", "pictures"}


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file of a shard. sha256: in hex."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SealedSource:
    """A source of a shard.

    Attributes:
        row: As the memory has it, without `tracker_state`. Its id is the one in the shard.
        tracks: How many tracks it has.
        end_ns: Its last moment on its own clock: its length, or the end of its last track if that is later.
        t_min: When it began, in ns since the epoch; of single pictures, when the first was taken. None if unknown.
        t_max: When it ended, as `t_min`.
        pictures: How many single pictures it has.
    """

    row: SourceRow
    tracks: int
    end_ns: int
    t_min: int | None
    t_max: int | None
    pictures: int = 0

    def document(self) -> dict[str, Any]:
        """The source as plain data."""
        row = {name: getattr(self.row, name) for name in _ROW if name != "tracker_state"}
        more = {n: getattr(self, n) for n in ("tracks", "end_ns", "t_min", "t_max", "pictures")}
        return row | {"kind": str(self.row.kind)} | more


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a shard holds.

    Attributes:
        id: sha256 of the canonical text without it, in hex: the name of the shard.
        vidmem: The version that sealed it.
        schema: The format of the memory, as the number of its last migration.
        memory: The random id of the memory.
        model: What made it.
        generation: The generation of its tracks.
        tracks: How many tracks there are.
        t_min: The earliest `t_min` of its sources, in ns since the epoch; None if no time is known.
        t_max: The latest `t_max`.
        sources: Its sources, by id.
        files: Its files but `seal.json`, by name; those of the cache as "cache/NAME".
    """

    id: str
    vidmem: str
    schema: int
    memory: str
    model: ModelRecord
    generation: int
    tracks: int
    t_min: int | None
    t_max: int | None
    sources: tuple[SealedSource, ...]
    files: Mapping[str, SealedFile]

    @property
    def total_bytes(self) -> int:
        """Bytes of all files, `seal.json` not counted."""
        return sum(file.bytes for file in self.files.values())

    def document(self) -> dict[str, Any]:
        """The manifest as plain data."""
        model = {f.name: getattr(self.model, f.name) for f in fields(ModelRecord)}
        return {
            "format": FORMAT,
            "id": self.id,
            "vidmem": self.vidmem,
            "schema": self.schema,
            "memory": self.memory,
            "model": model | {"config": dict(self.model.config)},
            "generation": self.generation,
            "tracks": self.tracks,
            "t_min": self.t_min,
            "t_max": self.t_max,
            "sources": [source.document() for source in self.sources],
            "files": {n: {"bytes": f.bytes, "sha256": f.sha256} for n, f in self.files.items()},
        }

    def text(self) -> bytes:
        """What `seal.json` holds."""
        return canonical(self.document()) + b"\n"

    def named(self) -> Manifest:
        """The manifest with the id that its contents give."""
        document = self.document()
        del document["id"]
        return replace(self, id=hashlib.sha256(canonical(document)).hexdigest())


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the one text of a JSON document: keys sorted, no blanks, ASCII. Raises ValueError for NaN or infinity."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def load(folder: Path) -> Manifest:
    """Read the manifest of the shard in `folder`; nothing else is looked at.

    Raises:
        StoreError: there is none, or it is damaged.
        VersionError: a newer vidmem wrote it.
    """
    try:
        with os.fdopen(open_file(folder / SEAL_NAME, os.O_RDONLY), "rb") as file:
            data = file.read(MAX_MANIFEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        if not folder.is_dir():
            raise StoreError(f"there is no such folder; check the path: {folder}") from None
        raise StoreError(
            f"this is no sealed memory, as there is no {SEAL_NAME}; `vidmem seal` makes one of a memory: {folder}"
        ) from None
    except OSError as error:
        raise StoreError(f"{SEAL_NAME} cannot be read ({error.strerror}); check the disk: {folder}") from None
    except StoreError as error:
        raise StoreError(f"{error}: {folder}") from None
    return parse(data, str(folder))


def parse(data: bytes, where: str) -> Manifest:
    """Read a manifest. where: what it is of, for messages.

    Raises:
        StoreError: it is not exactly what vidmem writes.
        VersionError: a newer vidmem wrote it.
    """
    try:
        if len(data) > MAX_MANIFEST:
            raise StoreError(f"it has more than {MAX_MANIFEST >> 20} MB")
        document = _loaded(data)
        if isinstance(document, dict):
            _check_format(document, where)
        found = _manifest(document)
        if found.text() != data:
            raise StoreError("it is not as vidmem writes it")
        if found.named().id != found.id:
            raise StoreError("its id is not the one of its contents")
    except VersionError:
        raise
    except (StoreError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        cause = str(error)[:200] if isinstance(error, StoreError) else "it cannot be read"
        raise StoreError(f"{SEAL_NAME} is damaged or was changed ({cause}); {RESTORE}: {where}") from None
    return found


def parse_source(document: object) -> SealedSource:
    """Make a SealedSource of plain data. Raises StoreError if it is damaged."""
    values = _object(document, _SOURCE, "a source")
    if any(isinstance(value, bool) != (name == "stale") for name, value in values.items()):
        raise StoreError("a value of another type in a source")
    row = source_row(tuple(b"" if name == "tracker_state" else values[name] for name in _ROW))
    if not all(type(values[name]) is str for name in ("uri", "fingerprint", "recorded_by", "stamp", "content")):
        raise StoreError("a value of another type in a source")
    source = SealedSource(
        row,
        _count(values, "tracks"),
        _time(values, "end_ns"),
        *_span(values),
        _count(values, "pictures"),
    )
    if source.document() != values or row.kind is SourceKind.PICTURE or row.id < 1:
        raise StoreError("a value out of range in a source")
    return source


def _loaded(data: bytes) -> object:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise StoreError("a name stands twice in it")
        return found

    def refused(text: str) -> NoReturn:
        raise StoreError(f"it holds {text[:20]}")

    return json.loads(data.decode("ascii"), object_pairs_hook=unique, parse_constant=refused)


def _check_format(document: Mapping[str, Any], where: str) -> None:
    number = document.get("format")
    if type(number) is int and number > FORMAT:
        raise VersionError(
            f"a newer vidmem sealed this memory (format {number}, this one knows {FORMAT}); upgrade with: "
            f"pip install -U vidmem: {where}"
        )
    if number != FORMAT or type(number) is not int:
        raise StoreError("it has no format that is known")


def _manifest(document: object) -> Manifest:
    names = {"format", *(f.name for f in fields(Manifest))}
    values = _object(document, names, "the manifest")
    model = _object(values["model"], {f.name for f in fields(ModelRecord)}, "the model")
    if any(isinstance(value, bool) for value in model.values()):
        raise StoreError("a value of another type in the model")
    record = tuple(json.dumps(model[f.name]) if f.name == "config" else model[f.name] for f in fields(ModelRecord))
    sources = values["sources"]
    if not isinstance(sources, list) or len(sources) > MAX_SOURCES:
        raise StoreError("its sources are no list, or too many")
    found = Manifest(
        id=_text(values, "id", _HEX),
        vidmem=_text(values, "vidmem", _VERSION),
        schema=_count(values, "schema"),
        memory=_text(values, "memory", re.compile("[0-9A-Za-z-]{1,64}")),
        model=model_record(record),
        generation=_count(values, "generation"),
        tracks=_count(values, "tracks"),
        t_min=_span(values)[0],
        t_max=_span(values)[1],
        sources=tuple(map(parse_source, sources)),
        files=_files(values["files"]),
    )
    ids = [source.row.id for source in found.sources]
    if ids != sorted(set(ids)) or sum(source.tracks for source in found.sources) != found.tracks:
        raise StoreError("its sources do not fit together")
    if (found.t_min, found.t_max) != span_of(found.sources):
        raise StoreError("its times are not those of its sources")
    return found


def span_of(sources: tuple[SealedSource, ...]) -> tuple[int | None, int | None]:
    """Return the earliest and the latest known time of sources."""
    first = [source.t_min for source in sources if source.t_min is not None]
    last = [source.t_max for source in sources if source.t_max is not None]
    return min(first, default=None), max(last, default=None)


def _files(document: object) -> dict[str, SealedFile]:
    if not isinstance(document, dict) or not 0 < len(document) <= MAX_FILES or DATABASE_NAME not in document:
        raise StoreError("its list of files is not one of a memory")
    return {name: _file(name, value) for name, value in document.items()}


def _file(name: str, document: object) -> SealedFile:
    folder, slash, rest = name.rpartition("/")
    known = name in (DATABASE_NAME, BOUNDS_NAME) if not slash else folder == CACHE_NAME and _NAME.fullmatch(rest)
    if not known:
        raise StoreError("it names a file that is not one of a memory")
    values = _object(document, {"bytes", "sha256"}, "a file")
    return SealedFile(_count(values, "bytes"), _text(values, "sha256", _HEX))


def _object(document: object, names: frozenset[str] | set[str], what: str) -> dict[str, Any]:
    if not isinstance(document, dict) or document.keys() != names:
        raise StoreError(f"{what} has other fields")
    return document


def _text(values: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = values[name]
    if not isinstance(value, str) or not form.fullmatch(value):
        raise StoreError(f"{name} cannot be one")
    return value


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values[name]
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise StoreError(f"{name} is out of range")
    return value


def _time(values: Mapping[str, Any], name: str) -> int:
    value = values[name]
    if type(value) is not int or not -MAX_NS < value < MAX_NS:
        raise StoreError(f"{name} is out of range")
    return value


def _span(values: Mapping[str, Any]) -> tuple[int | None, int | None]:
    if values["t_min"] is None and values["t_max"] is None:
        return None, None
    first, last = _time(values, "t_min"), _time(values, "t_max")
    if first > last:
        raise StoreError("a time ends before it begins")
    return first, last
