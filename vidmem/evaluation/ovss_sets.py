"""Data sets for open-vocabulary semantic segmentation, in the folders and files in which they are published.

Each is a list of pictures with label pictures, and a table from the numbers in those to classes. Numbers that the table
lacks do not count. Folders may also be as MMSegmentation arranges them, where that differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..errors import MediaError, UsageError
from ..text_files import is_plain_name, read_text
from .label_pictures import IGNORED, Table
from .ovss_context import full_context
from .ovss_names import built_in_names


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and its truth. key: names it within the data set, whatever folder that is in."""

    key: str
    image: Path
    labels: Path


@dataclass(frozen=True, slots=True)
class SegmentationSet:
    """An opened data set.

    Attributes:
        title: For people.
        names: Of its classes; the index is the number of the class.
        words: The same as words for an encoder.
        background: The class of what belongs to no other; None when the data set has none, or does not count it.
        pairs: Its pictures, sorted by key or in the order of the split's list.
        table: Numbers in label pictures -> classes.
        others: The class of numbers that the table lacks; IGNORED for none.
    """

    title: str
    names: tuple[str, ...]
    words: tuple[str, ...]
    background: int | None
    pairs: tuple[Pair, ...]
    table: Table
    others: int = IGNORED


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    names: str
    background: bool
    split: str
    find: Callable[[Path, str, bool], tuple[list[Pair], Table, int]]


def open_set(name: str, root: str | Path, split: str | None = None) -> SegmentationSet:
    """Open a data set.

    Args:
        name: One of SETS.
        root: Its folder.
        split: Which part; by default the one that papers report.

    Raises:
        UsageError: There is no data set of this name.
        MediaError: The folder is not that data set, or has no picture of the split.
    """
    if name not in SETS:
        raise UsageError(f"there is no data set {name[:40]!r}; there are {', '.join(SETS)}")
    kind, place = SETS[name], Path(root)
    if not place.is_dir():
        raise MediaError(f"the folder of the data set does not exist; check the path: {place}")
    pairs, table, others = kind.find(place, split or kind.split, kind.background)
    names, words = built_in_names(kind.names)
    if kind.background:
        names, words = ("background", *names), ("background", *words)
    return SegmentationSet(kind.title, names, words, 0 if kind.background else None, tuple(pairs), table, others)


def _ade20k(root: Path, split: str, background: bool) -> tuple[list[Pair], Table, int]:
    """ADEChallengeData2016: 0 is unlabelled, class i is i + 1."""
    pairs = _beside(_folder(root, f"images/{split}"), ".jpg", _folder(root, f"annotations/{split}"), ".png")
    return pairs, {i + 1: i for i in range(150)}, IGNORED


_CITYSCAPES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The labelIds of the 19 classes that count, in the order of their trainIds."""


def _cityscapes(root: Path, split: str, background: bool) -> tuple[list[Pair], Table, int]:
    """leftImg8bit and gtFine, with labelIds or labelTrainIds."""
    images, truth = _folder(root, f"leftImg8bit/{split}"), _folder(root, f"gtFine/{split}")
    found = sorted(images.glob("*/*_leftImg8bit.png"))
    if not found:
        raise MediaError(f"the folder has no CITY/*_leftImg8bit.png; unpack the data set again: {images}")
    trained = not any(truth.glob("*/*_labelIds.png"))
    ending = "labelTrainIds" if trained else "labelIds"
    pairs = []
    for image in found:
        stem = image.name.removesuffix("_leftImg8bit.png")
        pairs.append(
            Pair(f"{image.parent.name}/{stem}", image, truth / image.parent.name / f"{stem}_gtFine_{ending}.png")
        )
    table = {i: i for i in range(19)} if trained else {number: i for i, number in enumerate(_CITYSCAPES)}
    return pairs, table, IGNORED


def _voc(root: Path, split: str, background: bool) -> tuple[list[Pair], Table, int]:
    """VOC2012: 0 is background, 255 the border of things. With 20 classes the background does not count."""
    place = _first(root, ("", "VOC2012", "VOCdevkit/VOC2012"), "SegmentationClass")
    listed = _listed(place / "ImageSets" / "Segmentation" / f"{split}.txt")
    pairs = [Pair(n, place / "JPEGImages" / f"{n}.jpg", place / "SegmentationClass" / f"{n}.png") for n in listed]
    return pairs, _numbered(20, background), IGNORED


def _context(root: Path, split: str, background: bool) -> tuple[list[Pair], Table, int]:
    """PASCAL-Context: SegmentationClassContext as MMSegmentation makes it, or the authors' .mat files of all names."""
    place = _first(root, ("", "VOC2010", "VOCdevkit/VOC2010"), "JPEGImages")
    if (place / "SegmentationClassContext").is_dir():
        listed = _listed(place / "ImageSets" / "SegmentationContext" / f"{split}.txt")
        truth = place / "SegmentationClassContext"
        pairs = [Pair(n, place / "JPEGImages" / f"{n}.jpg", truth / f"{n}.png") for n in listed]
        return pairs, _numbered(59, background), IGNORED
    folder, table = full_context(place, built_in_names("context59")[0])
    listed = _listed(place / "ImageSets" / "SegmentationContext" / f"{split}.txt", folder / f"{split}.txt")
    pairs = [Pair(n, place / "JPEGImages" / f"{n}.jpg", folder / f"{n}.mat") for n in listed]
    if background:
        return pairs, {number: i + 1 for number, i in table.items()}, 0
    return pairs, table, IGNORED


_UNUSED = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91))
"""Ids between 1 and 182 that no class of COCO-Stuff has."""
_STUFF_IDS = tuple(i for i in range(1, 183) if i not in _UNUSED)


def _coco(root: Path, split: str, background: bool) -> tuple[list[Pair], Table, int]:
    """COCO-Stuff: stuffthingmaps, whose number is the id less 1, or MMSegmentation's labelTrainIds.

    With a background (COCO-Object), all that is not one of the 80 things is background, unlabelled pixels as well
    (GroupViT, CVPR 2022).
    """
    images = _folder(root, split, f"images/{split}")
    truth = _folder(root, f"stuffthingmaps/{split}", f"annotations/{split}", f"stuffthingmaps_trainval2017/{split}")
    numbers: dict[int, int] = {id_ - 1: i for i, id_ in enumerate(_STUFF_IDS)}
    ending = ".png"
    if not any(path for path in truth.glob("*.png") if "TrainIds" not in path.name):
        numbers, ending = {i: i for i in range(171)}, "_labelTrainIds.png"
    pairs = _beside(images, ".jpg", truth, ending)
    if background:
        return pairs, {number: i + 1 for number, i in numbers.items() if i < 80}, 0
    return pairs, numbers, IGNORED


SETS: Mapping[str, _Kind] = MappingProxyType(
    {
        "ade20k": _Kind("ADE20K", "ade20k", False, "validation", _ade20k),
        "cityscapes": _Kind("Cityscapes", "cityscapes", False, "val", _cityscapes),
        "voc20": _Kind("Pascal VOC, 20 classes", "voc20", False, "val", _voc),
        "voc21": _Kind("Pascal VOC with background", "voc20", True, "val", _voc),
        "context59": _Kind("PASCAL-Context, 59 classes", "context59", False, "val", _context),
        "context60": _Kind("PASCAL-Context with background", "context59", True, "val", _context),
        "coco-stuff": _Kind("COCO-Stuff, 171 classes", "coco-stuff171", False, "val2017", _coco),
        "coco-object": _Kind("COCO-Object with background", "coco", True, "val2017", _coco),
    }
)
"""The data sets by name."""


def _numbered(count: int, background: bool) -> Table:
    """Classes from 1, with 0 as a class of its own or as one that does not count."""
    return {i: i for i in range(count + 1)} if background else {i + 1: i for i in range(count)}


def _folder(root: Path, *choices: str) -> Path:
    """The first of several folders that is there. Raises MediaError."""
    for choice in choices:
        if (root / choice).is_dir():
            return root / choice
    raise MediaError(f"the folder {choices[0]} of the data set is missing; unpack the data set there: {root}")


def _first(root: Path, choices: tuple[str, ...], wanted: str) -> Path:
    """The first of several folders in which there is a folder `wanted`. Raises MediaError."""
    for choice in choices:
        if (root / choice / wanted).is_dir():
            return root / choice
    raise MediaError(f"the folder {wanted} of the data set is missing; unpack the data set there: {root}")


def _beside(images: Path, image_ending: str, truth: Path, ending: str) -> list[Pair]:
    """All pictures of a folder, with label pictures of the same name in another."""
    found = sorted(images.glob(f"*{image_ending}"))
    if not found:
        raise MediaError(f"the folder has no picture *{image_ending}; unpack the data set again: {images}")
    stems = (image.name.removesuffix(image_ending) for image in found)
    return [Pair(stem, image, truth / f"{stem}{ending}") for stem, image in zip(stems, found, strict=True)]


def _listed(*choices: Path) -> list[str]:
    """The names in the first of several lists that is there, one a line."""
    for path in choices:
        if path.is_file():
            names = list(_lines(path))
            if not names:
                raise MediaError(f"the list of pictures is empty; unpack the data set again: {path}")
            return names
    raise MediaError(f"the list of pictures is missing; unpack the data set again: {choices[0]}")


def _lines(path: Path) -> Iterator[str]:
    lines = read_text(path, "the list of pictures cannot", remedy="unpack the data set again").splitlines()
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if name and not is_plain_name(name):
            raise MediaError(f"line {number} of the list is not the name of a picture; unpack it again: {path}")
        if name:
            yield name
