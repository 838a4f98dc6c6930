"""From what was found to what is indexed: which source each single picture belongs to.

A source of single pictures is a folder. A picture stays with the source that has its folder already, and a new one is
of the folder that was named, or that the named picture lies in; so nothing is indexed twice, however it is named. What
a memory knows as a film stays one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..address import Address
from ..errors import UsageError
from ..media import Found, Photos
from ..media.film import looks_like_film
from ..media.photos import Listed, list_pictures, listed
from ..store import Store


@dataclass(slots=True)
class Album:
    """Single pictures of one source. folder: absolute, its path. files: those that are there, by their path from it on.
    whole: folders from it on, "" for itself, of which all pictures are in `files`: what is not there is gone.
    refused: folders from it on that cannot be read, with the cause: of what is in them nothing is known."""

    folder: str
    files: dict[str, Listed] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)

    def gone(self, path: str) -> bool:
        """Whether a file that was there is not any more."""
        if path in self.files or any(_in(path, folder) for folder in self.refused):
            return False
        return any(_in(path, folder) for folder in self.whole)

    def film_like(self, todo: Sequence[Listed]) -> str | None:
        """The first folder, with its path, whose pictures look like the frames of a film, of those that `todo` lies
        in."""
        wanted = {os.path.dirname(file.path) for file in todo}
        by_folder: dict[str, list[str]] = {}
        for path in self.files:
            if (parent := os.path.dirname(path)) in wanted:
                by_folder.setdefault(parent, []).append(os.path.join(self.folder, path))
        return next(
            (os.path.join(self.folder, f).rstrip(os.sep) for f, p in by_folder.items() if looks_like_film(p)), None
        )


def planned(found: Sequence[Found], store: Store) -> list[Address | Album]:
    """The sources and albums to index, each at the place of its first picture.

    Raises:
        UsageError: the memory has the pictures of a film as single pictures.
    """
    shelf = _Shelf(store)
    plan: dict[Address | str, Address | Album] = {}
    for item in found:
        if isinstance(item, Address):
            shelf.check_film(item)
            plan.setdefault(item, item)
            continue
        for part in shelf.place(item):
            plan.setdefault(part.folder if isinstance(part, Album) else part, part)
    return list(plan.values())


class _Shelf:
    """The albums of a memory, and those that are to come. Folders are known by their real paths."""

    def __init__(self, store: Store) -> None:
        rows = [row for row in store.sources() if "\0" not in row.uri]
        self._store = store
        self._films = {os.path.realpath(row.uri): row.address for row in rows if row.kind.is_film}
        self._known = {os.path.realpath(row.uri): row for row in rows if row.kind.single_pictures}
        self._held: dict[str, list[str]] = {}
        self._albums: dict[str, Album] = {}

    def check_film(self, film: Address) -> None:
        """Raise UsageError if the memory has the pictures of a folder as single pictures."""
        path = str(film)
        real = os.path.realpath(path)
        if not os.path.isdir(path) or real in self._films:
            return
        owner = real if real in self._known else self._above(real)
        if owner is not None:
            raise UsageError(
                f"these pictures were indexed one by one, not as a film; `vidmem rm {self._album(owner, owner).folder}`"
                f" first, or choose another memory: {path}"
            )

    def place(self, photos: Photos) -> Iterator[Address | Album]:
        """Put the pictures into the albums that they belong to; these, and films that have some already."""
        if os.path.isdir(photos.path):
            yield from self._place_folder(photos.path)
            return
        folder, name = os.path.split(photos.path)
        real = os.path.realpath(folder)
        film = self._films.get(os.path.join(real, name)) or self._films.get(real)
        if film is not None:
            yield film
            return
        root = self._root(real)
        album = self._album(root, folder)
        path = os.path.join(os.path.relpath(real, root), name)
        self._add(album, os.path.normpath(path), listed(photos.path))
        yield album

    def _place_folder(self, folder: str) -> Iterator[Address | Album]:
        files, refused = list_pictures(folder)
        real = os.path.realpath(folder)
        unread = {os.path.normpath(os.path.join(real, os.path.relpath(path, folder))): why for path, why in refused}
        root = None if real in self._films else self._root(real)
        first = None if root is None else self._album(root, folder)
        if root is not None and first is not None:
            self._whole(first, root, real, unread)
        owners: dict[str, str] = {}
        for file in files:
            parent, name = os.path.split(os.path.join(real, os.path.relpath(file.path, folder)))
            if (film := self._films.get(os.path.join(parent, name)) or self._films.get(parent)) is not None:
                yield film
                continue
            if parent not in owners:
                owners[parent] = self._within(parent, real) or root or parent  # what lies below a film, by folders
            owner = owners[parent]
            album = self._album(owner, owner)
            if owner != root:
                self._whole(album, owner, owner, unread)
            self._add(album, os.path.normpath(os.path.join(os.path.relpath(parent, owner), name)), file)
            yield album
        if first is not None and root in self._known:  # also when nothing of it is left
            yield first

    def _whole(self, album: Album, top: str, real: str, unread: Mapping[str, str]) -> None:
        """All of the folder `real` was listed, but for what is in `unread`."""
        album.whole.add(_below(real, top))
        album.refused |= {_below(path, top): why for path, why in unread.items() if _in(path, top)}

    def _add(self, album: Album, path: str, file: Listed) -> None:
        album.files.setdefault(path, replace(file, path=path))

    def _album(self, real: str, folder: str) -> Album:
        """The album of the folder with this real path. folder: what it is called when it is a new one."""
        if real not in self._albums:
            known = self._known.get(real)
            self._albums[real] = Album(folder if known is None else known.uri)
        return self._albums[real]

    def _root(self, real: str) -> str:
        """Real path of the album that takes pictures in this folder and below it: its own, one above that has pictures
        of it already, or a new one."""
        if real in self._known or real in self._albums:
            return real
        return self._above(real) or real

    def _above(self, real: str) -> str | None:
        above = real
        while (parent := os.path.dirname(above)) != above:
            above = parent
            there = above in self._known or above in self._albums
            if there and any(_in(path, _below(real, above)) for path in self._paths(above)):
                return above
        return None

    def _within(self, folder: str, top: str) -> str | None:
        """The innermost album that `folder` lies in, of those in `top`."""
        while folder != top:
            if folder in self._known or folder in self._albums:
                return folder
            folder = os.path.dirname(folder)
        return None

    def _paths(self, real: str) -> Iterator[str]:
        """The files of an album, those of earlier runs and those of this one."""
        if real not in self._held:
            row = self._known.get(real)
            self._held[real] = [] if row is None else [file.path for file in self._store.picture_files(row.id)]
        yield from self._held[real]
        if real in self._albums:
            yield from self._albums[real].files


def _below(folder: str, top: str) -> str:
    """The path from `top` on; "" for itself."""
    return "" if folder == top else os.path.relpath(folder, top)


def _in(path: str, folder: str) -> bool:
    return folder in ("", ".") or path == folder or path.startswith(folder + os.sep)
