"""The units of a training set, from all its sources, in the order in which they are written.

A unit is what one record is made of. The list depends on the sources and the seed alone, so that a set that was
interrupted, or is written by several processes, has the same records in the same files.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...errors import MediaError, UsageError
from ..coco import Coco, require_pycocotools
from ..labelled_images import vspw_pictures
from .content import Conversation, Expression, Labelled, Outlined, Referred, Region, Unit
from .refcoco import Bad, Expressions, Said

LOGGER = logging.getLogger(__name__)
MOST_TRIES = 200
"""Draws for each absent thing, before it is said that there are too few."""
PICTURES = (".jpg", ".jpeg", ".png", ".webp")


def coco_units(annotations: Path, images: Path | None, instances: bool, bad: Bad) -> list[Unit]:
    """A unit for each picture of a COCO file. Raises MediaError when the file is none."""
    require_pycocotools()
    data = Coco(annotations, images, bad=bad)
    out = []
    for (file, width, height, regions), shown in zip(data.rows, data.shown, strict=True):
        outlines = tuple(
            Region(name, segmentation, f"annotations[{place}] of {annotations}")
            for place, segmentation, name in regions
        )
        content = Outlined(str(data.folder / file), (width, height), outlines, shown, data.names, instances)
        out.append(Unit(f"coco {file}", content))
    return out


def vspw_units(folder: Path, split: str | None, names: tuple[str, ...], bad: Bad) -> list[Unit]:
    """A unit for each picture of VSPW's folders. Raises MediaError when the layout is another."""
    out = []
    for video, picture in vspw_pictures(folder, split, bad):
        labels = video / "mask" / f"{picture.stem}.png"
        out.append(Unit(f"vspw {video.name}/{picture.name}", Labelled(str(picture), str(labels), 1, names)))
    return out


def label_units(
    labels: Path, images: Path, first: int, names: tuple[str, ...], bad: Bad, source: int = 1
) -> list[Unit]:
    """A unit for each label picture (.png) in a folder, with the picture of the same name in another one.

    Subfolders are read, too, and must be the same in both.

    Args:
        labels: Folder of the label pictures.
        images: Folder of the pictures.
        first: The value of the first of `names`.
        names: All names of the data set.
        bad: Is told of label pictures without a picture.
        source: Place of the data set among several, from 1. It tells pictures of the same name apart.

    Raises:
        MediaError: There is none.
    """
    for folder in (labels, images):
        if not folder.is_dir():
            raise MediaError(f"there is no such folder: {folder}")
    pictures: dict[Path, Path] = {}
    for path in sorted(images.rglob("*")):
        if path.suffix.lower() in PICTURES:
            pictures.setdefault(path.relative_to(images).with_suffix(""), path)
    out = []
    mark = "labels" if source == 1 else f"labels#{source}"
    for path in sorted(labels.rglob("*.png")):
        stem = path.relative_to(labels).with_suffix("")
        if (picture := pictures.get(stem)) is None:
            bad(f"there is no picture for this label picture in {images}: {path}")
            continue
        out.append(Unit(f"{mark} {stem.as_posix()}", Labelled(str(picture), str(path), first, names)))
    if not out:
        raise MediaError(f"the folder has no label pictures (.png) with a picture of the same name: {labels}")
    return out


def referred_units(
    read: Expressions, name: str, turns: int, absent: float, seed: int, refer: bool = True
) -> list[Unit]:
    """Units of expressions, up to `turns` about the same picture in one.

    Args:
        read: The expressions.
        name: Of the data set, for the keys.
        turns: Questions in a unit, at most.
        absent: How many questions there are about something that is not in the picture, for each expression. Each uses
            an expression about a thing whose category has no annotation in the picture; categories must be known.
        seed: Of what goes together.
        refer: Ask for the expressions themselves, too.
    """
    rng = random.Random(f"{seed} {name}")
    by_picture: dict[str, list[Said]] = {}
    for said in read.said:
        by_picture.setdefault(said.picture.path, []).append(said)
    out = []
    for group in by_picture.values() if refer else ():
        if turns > 1:
            rng.shuffle(group)
        for start in range(0, len(group), turns):
            part = group[start : start + turns]
            content = Referred(part[0].picture.path, part[0].picture.size, tuple(said.expression for said in part))
            out.append(Unit(f"{name} {part[0].key}", content))
    out.extend(_absent_units(read, name, round(absent * len(read.said)), rng))
    return out


def _absent_units(read: Expressions, name: str, count: int, rng: random.Random) -> Iterator[Unit]:
    borrowed = [said for said in read.said if said.category]
    if count and not borrowed:
        raise UsageError(f"{name} has no categories, so it is not known what is absent; give `absent` no weight")
    made = tries = 0
    while made < count and tries < MOST_TRIES * count:
        tries += 1
        said, other = rng.choice(read.said), rng.choice(borrowed)
        if other.category in read.present.get(said.picture.path, frozenset()):
            continue
        made += 1
        content = Referred(said.picture.path, said.picture.size, (Expression(other.expression.text, ()),))
        yield Unit(f"{name} absent {made} {said.key} {other.key}", content)
    if made < count:
        LOGGER.warning(
            "%s has %d of %d questions about absent things: too few pictures lack the things of the others",
            *(name, made, count),
        )


def repeated(units: Sequence[Unit], times: int) -> list[Unit]:
    """The units several times over, each time with other words, questions and crops."""
    return [*units, *(Unit(f"{key} #{i}", content) for i in range(2, times + 1) for key, content in units)]


def with_chat(units: list[Unit], chat: Sequence[Conversation], share: float | None, seed: int) -> list[Unit]:
    """Add conversations: each once, or so many that they are a `share` of all units, chosen or repeated by the seed.

    Raises UsageError for a share outside of 0 to 1 (not 1 itself).
    """
    count = len(chat)
    if share is not None:
        if not 0 <= share < 1:
            raise UsageError(f"`chat_share` is from 0 to less than 1; got {share}")
        count = round(len(units) * share / (1 - share))
    order = list(range(len(chat)))
    random.Random(f"{seed} chat").shuffle(order)
    chosen = ((order[i % len(order)], i // len(order)) for i in range(count)) if chat else ()
    return [*units, *(Unit(f"chat {place} #{turn}", chat[place]) for place, turn in chosen)]


def ordered(units: Iterable[Unit], seed: int) -> list[Unit]:
    """The units in the order of the set: shuffled by the seed, so that every file has a bit of everything."""
    out = list(units)
    random.Random(f"{seed} order").shuffle(out)
    return out
