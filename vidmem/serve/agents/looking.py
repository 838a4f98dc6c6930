"""`look`: the pictures of a sighting, or of moments of a source, with the box of the thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import MediaError, UsageError
from ...media import Source
from ...media.images import load
from ...media.known import known_photo, open_known
from ...query.haystack import HaystackAnswer
from ...records import Box, Sighting, SourceKind
from ...render.photo_sheet import photo_sheet
from ...render.trajectory import trajectory
from ...store import SourceRow, Store
from ...timecode import clock, relative_date
from . import pictures
from .pictures import MAX_MOMENTS, Shot

_PHOTO_GONE = "the photo is no longer there, or is not the one that was indexed; index its folder again"
View = Literal["frame", "close", "moments"]
"""What `look` shows: the whole frame, a close-up of the box, or several moments on one sheet."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment to show. t_ns: on the source's clock. box: x0, y0, x1, y1 in pixels of the source, or None."""

    t_ns: int
    box: Box | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn. moments: each with the time of the frame that is shown. size: of the original picture."""

    jpeg: bytes
    size: tuple[int, int]
    moments: tuple[Moment, ...]


def moments_of(store: Store, sighting: Sighting, count: int) -> list[Moment]:
    """`count` moments of a sighting at equal distances, the first and the last among them, or fewer if it is short."""
    boxes = trajectory(store, sighting)
    if not boxes:
        return [Moment(sighting.frame_ns, sighting.box)]
    picks = np.unique(np.linspace(0, len(boxes) - 1, min(count, len(boxes))).round().astype(int))
    return [Moment(*boxes[i]) for i in picks.tolist()]


def draw(store: Store, row: SourceRow, moments: Sequence[Moment], view: View) -> Drawn:
    """Draw moments of a source.

    Args:
        store: The memory.
        row: The source.
        moments: What to show; only "moments" shows more than the first.
        view: What the picture looks like.

    Raises:
        MediaError: The source is gone, is damaged, is not what was indexed, or is a camera, which keeps no pictures.
        UsageError: A folder of single pictures has none at that time.
    """
    wanted = list(moments[:MAX_MOMENTS] if view == "moments" else moments[:1])
    if row.kind is SourceKind.LIVE:
        raise MediaError("a camera keeps no pictures; record it to a file and index that")
    if row.kind.single_pictures:
        shots, shown = _photos(store, row, wanted)
    elif not row.address.exists():
        raise MediaError(f"the video of source {row.id} is no longer there; put it back to see pictures of it")
    else:
        with open_known(row) as source:
            shots, shown = _frames(row, source, wanted, short=view == "moments")
    height, width = shots[0].image.shape[:2]
    if view == "moments":
        when = "" if row.start_ns is None else relative_date(row.start_ns, row.recorded_by)
        name = PurePath(row.uri).name
        picture = pictures.sheet(shots, f"{name}, {when}" if when else name)
    else:
        picture = (pictures.near if view == "close" else pictures.whole)(shots[0])
    return Drawn(pictures.jpeg(picture), (width, height), tuple(shown))


def _frames(
    row: SourceRow, source: Source, wanted: Sequence[Moment], *, short: bool
) -> tuple[list[Shot], list[Moment]]:
    """The frames of a video. short: the captions have the time alone."""
    shots, shown = [], []
    for moment in wanted:
        frame = source.frame_at(moment.t_ns)
        image, box = frame.image, None
        if moment.box is not None:
            # The pictures of a film of photos differ in size, while boxes are in pixels of the first.
            x, y = image.shape[1] / source.info.width, image.shape[0] / source.info.height
            x0, y0, x1, y1 = moment.box
            box = (x0 * x, y0 * y, x1 * x, y1 * y)
        shots.append(Shot(image, box, clock(frame.t_ns) if short else caption(row, frame.t_ns)))
        shown.append(Moment(frame.t_ns, moment.box))
    return shots, shown


def _photos(store: Store, row: SourceRow, wanted: Sequence[Moment]) -> tuple[list[Shot], list[Moment]]:
    paths = store.picture_paths(row.id, [moment.t_ns for moment in wanted])
    shots = []
    for moment in wanted:
        held = store.picture(row.id, moment.t_ns)
        if held is None:
            raise UsageError(
                f"source {row.id} is a folder of photos and has none at {moment.t_ns} ns; take the id of a sighting"
            )
        file = known_photo(paths.get(moment.t_ns, []), held.digest)
        if file is None:
            raise MediaError(_PHOTO_GONE)
        when = relative_date(held.recorded_ns, held.recorded_by)
        name = PurePath(file).name
        shots.append(Shot(_loaded(file), moment.box, f"{name}, {when}" if when else name))
    return shots, list(wanted)


def _loaded(file: str) -> NDArray[np.uint8]:
    return load(file, None, file)


def haystack_picture(answer: HaystackAnswer, anchor: str, target: str) -> Image.Image:
    """The photo of an answer with the boxes of anchor and target, for an answer that has one.

    Raises:
        MediaError: The photo is gone, or is not the one that was indexed.
    """
    first, second = answer.anchor, answer.target
    file = None if first is None else known_photo(first.paths, first.digest)
    if first is None or file is None:
        raise MediaError(_PHOTO_GONE)
    boxes = [(f"{anchor} {first.score:.2f}", first.box)]
    if second is not None and answer.verdict == "yes":
        boxes.append((f"{target} {second.score:.2f}", second.box))
    return photo_sheet(file, f"{anchor}: {target}? {answer.verdict}", [PurePath(file).name], boxes)


def caption(row: SourceRow, t_ns: int) -> str:
    """Where a picture is from: `0:12.5 in walk.mp4, yesterday 18:02`."""
    when = "" if row.start_ns is None else relative_date(row.start_ns + t_ns, row.recorded_by)
    text = f"{clock(t_ns)} in {PurePath(row.uri).name}"
    return f"{text}, {when}" if when else text
