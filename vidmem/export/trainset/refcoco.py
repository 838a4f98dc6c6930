"""Expressions about things in pictures: RefCOCO, RefCOCO+, RefCOCOg, refCLEF and gRefCOCO as they are published.

A folder holds `instances.json`, a COCO file with the outlines, and one or more lists of expressions: `refs(unc).p`,
`refs(google).p` or `refs(umd).p` (pickles, read by pickles.py), `grefs(unc).json`, or JSON with the same fields.
Fields of an entry: ann_id (gRefCOCO: a list, empty or -1 for no target), image_id, split, and sentences with `sent`. A
single COCO file with phrases works, too: each annotation, or each picture, has the phrase or phrases as `caption`,
`expression`, `phrase`, `captions`, `expressions`, `phrases` or `sentences`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import MediaError, UsageError
from ...text_files import read_json
from ..coco import segmentation_fault
from ..files import inside
from .content import Expression, Region
from .pickles import load_plain
from .show import cut, short

MAX_EXPRESSIONS = 10_000_000
"""More than this is a damaged file: a small pickle can claim any number."""
FIELDS = ("caption", "expression", "phrase", "captions", "expressions", "phrases", "sentences")

Bad = Callable[[str], None]
"""Is told what was left out and why."""


class Picture(NamedTuple):
    """A picture of the list. size: width and height, in pixels."""

    path: str
    size: tuple[int, int]


class Said(NamedTuple):
    """An expression with its picture. key: identifies it. category: of what it means, "" when unknown."""

    key: str
    picture: Picture
    expression: Expression
    category: str


class Expressions(NamedTuple):
    """said: all expressions of a split. present: names of the things in each picture, by its path. files: as read."""

    said: list[Said]
    present: dict[str, frozenset[str]]
    files: tuple[Path, ...]


def read_refcoco(
    place: Path, images: Path | None, split: str | None = "train", by: str | None = None, bad: Bad | None = None
) -> Expressions:
    """Read the expressions of a folder, or of a single COCO file with phrases.

    Args:
        place: The folder or the file.
        images: Folder of the pictures. Default: `images` beside the annotations if it is there, else their folder.
        split: Only this split; None for all. A single COCO file has no splits.
        by: Which list of a folder with several: the text in its brackets, such as unc, google or umd. Several with
            commas between are tried in turn: RefCOCOg has no unc.
        bad: Is told of entries that are left out. By default the first one is an error.

    Raises:
        MediaError: A file is missing or is not what it should be.
        UsageError: There are several lists, or the split is not there.
    """
    if place.is_file():
        return _Reader(place, images, bad).single()
    lists = sorted([*place.glob("*refs(*).p"), *place.glob("*refs(*).json")])
    if by is not None:
        chosen = ([path for path in lists if path.stem.endswith(f"({name.strip()})")] for name in by.split(","))
        lists = next(filter(None, chosen), [])
    if not lists:
        wanted = by or "unc"
        raise MediaError(f"the folder has no list of expressions such as refs({wanted}).p; fetch it again: {place}")
    if len(lists) > 1:
        known = ", ".join(path.name for path in lists)
        raise UsageError(f"there are several lists of expressions, choose one with `refs`: {known}: {place}")
    entries = load_plain(lists[0]) if lists[0].suffix == ".p" else read_json(lists[0], "the expressions cannot")
    return _Reader(place / "instances.json", images, bad).listed(entries, lists[0], split)


class _Reader:
    """Pictures and regions of one COCO file, looked up by their numbers."""

    def __init__(self, path: Path, images: Path | None, bad: Bad | None) -> None:
        self.path, self._bad = path, bad
        beside = path.parent / "images"
        self.folder = images or (beside if beside.is_dir() else path.parent)
        document = read_json(path, "the annotations cannot")
        for name in ("images", "annotations"):
            if not isinstance(document, dict) or not isinstance(document.get(name), list):
                raise MediaError(f"{name} is missing or not a list, so this is not a COCO file: {path}")
        assert isinstance(document, dict)
        self.pictures = {i["id"]: i for i in document["images"] if isinstance(i, dict) and isinstance(i.get("id"), int)}
        self.annotations = {
            a["id"]: a for a in document["annotations"] if isinstance(a, dict) and isinstance(a.get("id"), int)
        }
        categories = document.get("categories") or []
        self.names = {
            c["id"]: str(c.get("name", ""))
            for c in (categories if isinstance(categories, list) else ())
            if isinstance(c, dict) and isinstance(c.get("id"), int)
        }
        self.present: dict[str, set[str]] = {}
        for annotation in self.annotations.values():
            picture = self.pictures.get(_number(annotation.get("image_id")))
            if picture is not None and isinstance(picture.get("file_name"), str):
                name = self.names.get(_number(annotation.get("category_id")), "")
                self.present.setdefault(str(self.folder / picture["file_name"]), set()).add(name)

    def listed(self, entries: Any, path: Path, split: str | None) -> Expressions:
        """The expressions of a list with the fields of RefCOCO."""
        if not isinstance(entries, list):
            raise MediaError(f"the expressions are not a list; fetch them again: {path}")
        found = (e.get("split") for e in entries if isinstance(e, dict))
        splits = sorted({s for s in found if isinstance(s, str)})
        if split is not None and not splits:
            raise MediaError(f"no expression in the list has a split; fetch the file again: {path}")
        if split is not None and split not in splits:
            known = cut(", ".join(splits))
            raise UsageError(f"there is no split {split!r}; `split` is one of {known}: {path}")
        out: list[Said] = []
        for place, entry in enumerate(entries):
            where = f"entry {place} of {path}"
            if not isinstance(entry, dict):
                self._report(f"it is not an object: {where}")
            elif split is None or entry.get("split") == split:
                out += self._guarded(partial(self._entry, entry, where))
            if len(out) > MAX_EXPRESSIONS:
                raise MediaError(f"there are more than {MAX_EXPRESSIONS} expressions; fetch the file again: {path}")
        return self._done(out, path)

    def single(self) -> Expressions:
        """The phrases in the COCO file itself."""
        out: list[Said] = []
        by_picture: dict[int | None, list[Any]] = {}
        for annotation in self.annotations.values():
            where = f"annotation {annotation['id']} of {self.path}"
            by_picture.setdefault(_number(annotation.get("image_id")), []).append(annotation)
            phrases = [text for field in FIELDS for text in _texts(annotation.get(field))]
            out += self._guarded(partial(self._said, annotation.get("image_id"), [annotation], phrases, where))
        for number, picture in self.pictures.items():
            where = f"image {number} of {self.path}"
            phrases = [text for field in FIELDS for text in _texts(picture.get(field))]
            regions = by_picture.get(number, [])
            if phrases and regions:
                out += self._guarded(partial(self._said, number, regions, phrases, where))
        if not out:
            raise MediaError(f"no annotation and no image has a phrase ({', '.join(FIELDS)}): {self.path}")
        return self._done(out, self.path)

    def _done(self, said: list[Said], path: Path) -> Expressions:
        present = {key: frozenset(names) for key, names in self.present.items()}
        return Expressions(said, present, tuple(dict.fromkeys((self.path, path))))

    def _entry(self, entry: dict[str, Any], where: str) -> list[Said]:
        numbers = entry.get("ann_id")
        numbers = numbers if isinstance(numbers, list) else [numbers]
        chosen = [self.annotations.get(n) for n in numbers if isinstance(n, int) and n != -1]
        if not all(isinstance(n, int) for n in numbers) or None in chosen:
            raise MediaError(f"ann_id {short(entry.get('ann_id'))} is not in {self.path.name}: {where}")
        return self._said(entry.get("image_id"), chosen, _texts(entry.get("sentences")), where)

    def _said(self, image: Any, annotations: list[Any], phrases: list[str], where: str) -> list[Said]:
        if not phrases:
            return []
        picture = self._picture(image, where)
        regions = []
        for a in annotations:
            if a.get("image_id") != image:
                raise MediaError(f"annotation {a['id']} is of another picture: {where}")
            if fault := segmentation_fault(a.get("segmentation"), *picture.size):
                raise MediaError(f"segmentation{fault[0]} of annotation {a['id']} {fault[1]}: {where}")
            regions.append(
                Region(
                    self.names.get(_number(a.get("category_id")), ""),
                    a["segmentation"],
                    f"annotation {a['id']} of {self.path}",
                )
            )
        category = regions[0].name if regions else ""
        names = [a["id"] for a in annotations]
        return [
            Said(f"{image} {names} {i} {text}", picture, Expression(text, tuple(regions)), category)
            for i, text in enumerate(phrases)
            if self._writable(text, where)
        ]

    def _writable(self, text: str, where: str) -> bool:
        """Whether an expression can be written as UTF-8; one that cannot is reported."""
        try:
            text.encode()
        except UnicodeEncodeError:  # half a surrogate pair
            self._report(f"the expression {short(text)} has half a character: {where}")
            return False
        return True

    def _picture(self, number: Any, where: str) -> Picture:
        item = self.pictures.get(number) if isinstance(number, int) else None
        if item is None:
            raise MediaError(f"image_id {short(number)} is not in {self.path.name}: {where}")
        name, width, height = item.get("file_name"), item.get("width"), item.get("height")
        if not isinstance(name, str) or not isinstance(width, int) or not isinstance(height, int) or width * height < 1:
            raise MediaError(f"image {number} lacks file_name, width or height: {where}")
        path = inside(self.folder, name)
        if path is None:
            raise MediaError(f"{short(name)} leads out of the folder of the pictures: {where}")
        return Picture(str(path), (width, height))

    def _guarded(self, read: Callable[[], list[Said]]) -> list[Said]:
        try:
            return read()
        except MediaError as error:
            self._report(str(error))
            return []

    def _report(self, what: str) -> None:
        if self._bad is None:
            raise MediaError(what)
        self._bad(what)


def _number(value: Any) -> int | None:
    """An id; None for what is none, which may not be hashable."""
    return value if isinstance(value, int) else None


def _texts(value: Any) -> list[str]:
    """The phrases in a field: a text, or a list of texts or of objects with `sent` or `raw`."""
    return [text for text in _raw_texts(value) if text.strip()]


def _raw_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            item = item.get("sent") or item.get("raw")
        if isinstance(item, str):
            yield item.strip()
