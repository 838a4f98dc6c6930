"""From what was found to what is indexed: the source that each single picture belongs to.

A source of single pictures is a folder. A picture belongs to the source that has its folder already, else to a new one:
the folder that was named, or the folder of the picture that was named. So nothing is indexed twice, however it is
named. A film in the memory stays a film.
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
    """The single pictures of one source.

    folder: its absolute path. files: the pictures that exist, by their path relative to the folder. complete: relative
    folders, "" for itself, of which `files` has all pictures: a picture that is missing there was deleted. refused:
    relative folders that cannot be read, with the cause; their pictures are unknown.
    """

    folder: str
    files: dict[str, Listed] = field(default_factory=dict)
    complete: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)

    def gone(self, path: str) -> bool:
        """Return True if a picture that was indexed was deleted."""
        if path in self.files or any(_in(path, folder) for folder in self.refused):
            return False
        return any(_in(path, folder) for folder in self.complete)

    def film_like(self, todo: Sequence[Listed]) -> str | None:
        """The absolute path of the first folder of `todo` whose pictures look like the frames of a film; else None."""
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
    """The albums in a memory and new ones, by the real paths of their folders."""

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
        """Add pictures to their albums. Yield these albums, and the films that have some of the pictures already."""
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
            self._mark_complete(first, root, real, unread)
        owners: dict[str, str] = {}
        for file in files:
            parent, name = os.path.split(os.path.join(real, os.path.relpath(file.path, folder)))
            if (film := self._films.get(os.path.join(parent, name)) or self._films.get(parent)) is not None:
                yield film
                continue
            if parent not in owners:
                owners[parent] = self._within(parent, real) or root or parent  # below a film, each folder is an album
            owner = owners[parent]
            album = self._album(owner, owner)
            if owner != root:
                self._mark_complete(album, owner, owner, unread)
            self._add(album, os.path.normpath(os.path.join(os.path.relpath(parent, owner), name)), file)
            yield album
        if first is not None and root in self._known:  # also if all its pictures were deleted
            yield first

    def _mark_complete(self, album: Album, top: str, real: str, unread: Mapping[str, str]) -> None:
        """Note that all of the folder `real` was listed, except the folders in `unread`."""
        album.complete.add(_below(real, top))
        album.refused |= {_below(path, top): why for path, why in unread.items() if _in(path, top)}

    def _add(self, album: Album, path: str, file: Listed) -> None:
        album.files.setdefault(path, replace(file, path=path))

    def _album(self, real: str, folder: str) -> Album:
        """The album of a folder by its real path. folder: the name of a new album."""
        if real not in self._albums:
            known = self._known.get(real)
            self._albums[real] = Album(folder if known is None else known.uri)
        return self._albums[real]

    def _root(self, real: str) -> str:
        """Real path of the album for pictures in this folder and below it.

        That is the folder's own album, an album above that has pictures of it already, or a new one.
        """
        if real in self._known or real in self._albums:
            return real
        return self._above(real) or real

    def _above(self, real: str) -> str | None:
        above = real
        while (parent := os.path.dirname(above)) != above:
            above = parent
            is_album = above in self._known or above in self._albums
            if is_album and any(_in(path, _below(real, above)) for path in self._paths(above)):
                return above
        return None

    def _within(self, folder: str, top: str) -> str | None:
        """The innermost album below `top` that contains `folder`; else None."""
        while folder != top:
            if folder in self._known or folder in self._albums:
                return folder
            folder = os.path.dirname(folder)
        return None

    def _paths(self, real: str) -> Iterator[str]:
        """The files of an album, from earlier runs and this one."""
        if real not in self._held:
            row = self._known.get(real)
            self._held[real] = [] if row is None else [file.path for file in self._store.picture_files(row.id)]
        yield from self._held[real]
        if real in self._albums:
            yield from self._albums[real].files


def _below(folder: str, top: str) -> str:
    """The path relative to `top`; "" for `top` itself."""
    return "" if folder == top else os.path.relpath(folder, top)


def _in(path: str, folder: str) -> bool:
    return folder in ("", ".") or path == folder or path.startswith(folder + os.sep)
