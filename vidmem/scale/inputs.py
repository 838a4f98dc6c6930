"""From the entries of a list to the sources of a fleet: what each is, and how long it takes. Runs in workers."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..address import Address
from ..errors import MediaError, UsageError, VidmemError
from ..indexer.amounts import PHOTO_NS
from ..indexer.plan import Album, planned
from ..media import Found, Photos, discover, open_source, parts
from ..media.discover import unreadable
from ..media.lerobot import is_dataset
from ..media.logs import is_log
from ..picture_reading import cause_of
from ..store import Store
from .manifest import Entry


@dataclass(frozen=True, slots=True)
class Input:
    """One source to index: a video, a topic of a log, an episode of a dataset, or the photos of a folder.

    Attributes:
        name: Its address, or the folder of the photos; absolute.
        entry: Where it was named.
        photos: Paths of photos and folders of photos; empty for other sources.
        fingerprint: Digest that tells it from others; empty until `measured`. For photos, of their paths, sizes and
            times.
        cost_ns: About how much there is to do, in ns of media; 0 if unknown.
        files: Number of photos.
    """

    name: str
    entry: Entry
    photos: tuple[str, ...] = ()
    fingerprint: str = ""
    cost_ns: int = 0
    files: int = 0

    @property
    def is_album(self) -> bool:
        """True for photos."""
        return bool(self.photos)

    @property
    def address(self) -> Address:
        """The address of a source that is not photos."""
        return Address.parse_part(self.name)


@dataclass(frozen=True, slots=True)
class Refused:
    """An input that cannot be indexed, with its cause for people."""

    name: str
    cause: str
    line: int = 0


@dataclass(slots=True)
class Listed:
    """What `find` and `measure` give: inputs, and those that cannot be."""

    inputs: list[Input] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def find(entries: Sequence[Entry], *, film: bool = False) -> Listed:
    """Find the sources that entries lead to, in their order and each once. Photos are grouped by folder.

    All topics of a log are taken, unless its entry names some. Nothing is opened yet, except logs and datasets.

    Args:
        entries: The entries.
        film: Take folders of pictures as films, as `Memory.index` does.
    """
    out = Listed()
    seen: set[str] = set()
    with (
        tempfile.TemporaryDirectory(prefix="vidmem-plan-") as folder,
        Store.open(Path(folder) / "memory", write=True, create=True) as empty,  # nothing is known yet
    ):
        for entry in entries:
            try:
                found, refused = _expanded(entry, film)
            except VidmemError as error:
                out.refused.append(Refused(entry.path, f"{entry.where}{error}", entry.line))
                continue
            out.refused += [Refused(name, f"{entry.where}{cause}", entry.line) for name, cause in refused]
            for made in _inputs(found, entry, empty):
                if made.name not in seen:
                    seen.add(made.name)
                    out.inputs.append(made)
    return out


def _expanded(entry: Entry, film: bool) -> tuple[list[Found], list[tuple[str, str]]]:
    found: list[Found] = []
    unread: list[OSError] = []
    refused: list[tuple[str, str]] = []
    for item in discover([entry.path], film, unread):
        if isinstance(item, Photos):
            found.append(item)
            continue
        several = is_log(item.path) or is_dataset(item.path)
        try:
            found += parts(item, entry.topics or (("*",) if several and not item.part else ()), entry.clock)
        except (MediaError, UsageError) as error:
            refused.append((str(item), str(error)))
    return found, refused + [(str(error.filename), str(unreadable(error))) for error in unread]


def _inputs(found: Sequence[Found], entry: Entry, empty: Store) -> list[Input]:
    out = []
    for item in planned(found, empty):
        if isinstance(item, Album):
            alone = (os.path.join(item.folder, path) for path in item.files)
            photos = (item.folder,) if "" in item.complete else tuple(alone)
            out.append(Input(item.folder, entry, photos, *_of_album(item)))
        else:
            out.append(Input(str(item), entry))
    return out


def _of_album(album: Album) -> tuple[str, int, int]:
    digest = hashlib.sha256(f"photos\0{album.folder}\n".encode("utf-8", "surrogateescape"))
    for path, file in sorted(album.files.items()):
        digest.update(f"{path}\0{file.size} {file.mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest(), len(album.files) * PHOTO_NS, len(album.files)


def measure(inputs: Sequence[Input], decoder: str = "pyav") -> Listed:
    """Open each source for its fingerprint and its length."""
    out = Listed()
    for given in inputs:
        if given.is_album:
            out.inputs.append(given)
            continue
        try:
            with open_source(given.address, decoder) as source:
                info = source.info
        except VidmemError as error:
            out.refused.append(Refused(given.name, f"{given.entry.where}{error}", given.entry.line))
        except Exception as error:  # libraries raise anything on what they did not expect in a file
            cause = f"it cannot be opened ({type(error).__name__}: {cause_of(error)}); check it: {given.name}"
            out.refused.append(Refused(given.name, f"{given.entry.where}{cause}", given.entry.line))
        else:
            out.inputs.append(Input(given.name, given.entry, (), info.fingerprint, info.duration_ns, 0))
    return out
