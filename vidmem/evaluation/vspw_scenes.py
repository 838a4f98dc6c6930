"""Labels for the frames of a video: from tracks in a memory, as T-REN parses videos, or frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ..config import IndexConfig
from ..errors import MediaError
from ..media.images import load
from ..memory import Memory
from ..query.labels import LabelSet
from ..query.parse import Labels, Scene, parse
from ..timecode import NS
from .parsed_pictures import Parser
from .readable import Classes
from .vspw import Labelled, LabelsAt, Scenes

Way = Literal["track", "vote", "frame"]
WAYS: tuple[Way, ...] = ("track", "vote", "frame")
"""track: each region has the class of its track (T-REN's paper, section 4.3). vote: the regions of a place vote with
the scores of their tracks (its code). frame: each frame is a picture of its own, without tracks."""


def from_memory(memory: Memory, classes: Classes, way: Literal["track", "vote"], config: IndexConfig) -> Scenes:
    """Index the frames as a film, one a second, every frame encoded; label them from the tracks; forget them.

    Args:
        memory: Of the evaluation alone, for writing.
        classes: The classes.
        way: See WAYS.
        config: Settings of the encoder; frames that show nothing new are encoded as well.
    """
    names = tuple(classes.words[row] for row in classes.rows)
    labels = LabelSet(names, np.ones(len(names), bool))
    settings = replace(config, still=0)

    def scenes(frames: Sequence[Path]) -> Labelled:
        (report,) = memory.index(frames[0].parent, film=True, config=settings)
        return Labelled(labelled(frames, report.info.uri), report.tracks)

    def labelled(frames: Sequence[Path], uri: str) -> Iterator[LabelsAt]:
        try:
            parsed = parse(memory.store, memory.store.source(uri), labels, classes.vectors, way=way)
            found = 0
            for scene in parsed.frames(memory.store):
                if scene.t_ns != found * NS:
                    break
                found += 1
                yield _stretched(scene, classes)
            if found < len(frames):  # an unreadable frame is left out of a film
                raise MediaError(f"the frame cannot be read; copy it again: {frames[found]}")
        finally:
            memory.remove(uri)

    return scenes


def frame_by_frame(parser: Parser) -> Scenes:
    """Label each frame as a picture of its own. parser: Names the pixels of a picture."""

    def labelled(frames: Sequence[Path]) -> Iterator[LabelsAt]:
        for path in frames:
            yield partial(_parsed, parser, path)

    return lambda frames: Labelled(labelled(frames), None)


def _parsed(parser: Parser, path: Path, height: int, width: int) -> Labels:
    return parser(load(str(path), None, str(path)), str(path), (height, width))


def _stretched(scene: Scene, classes: Classes) -> LabelsAt:
    return lambda height, width: classes.numbered(scene.at(height, width))
