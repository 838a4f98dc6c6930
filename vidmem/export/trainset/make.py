"""Makes one record from one unit. What is chosen at random depends on the seed and the key of the unit alone."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ImageOps

from ...errors import MediaError, UsageError
from ...picture_reading import opened
from ..instruct import Style, record
from ..textmask import BACKGROUND, Form, Grid, build, from_masks
from .content import Conversation, Labelled, Outlined, Referred, Seen, Unit, check_picture, region_mask, see
from .turns import Task, Turn, Wish, expression_turn, picture_turns

JPEG_QUALITY = 92
LEAST_SHARE = 0.5
"""Of each side of a picture that a random crop keeps. The paper crops at random and does not say how much."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How records are made; the same settings and units give the same records.

    Attributes:
        style: How a record refers to its picture.
        form: How masks are written.
        grids: Rows and columns; one is chosen for each record.
        mix: Weights of the tasks.
        distractors: Absent labels in a question with a list, at most.
        turns: Questions in a record, at most.
        crop: Share of the pictures with labels that are cropped at random.
        crops: Folder for the cropped pictures.
        seed: Of all choices.
    """

    style: Style
    form: Form
    grids: tuple[int, ...]
    mix: tuple[tuple[Task, float], ...]
    distractors: int
    turns: int
    crop: float
    crops: str
    seed: int


class Made(NamedTuple):
    """A record, or why there is none.

    Attributes:
        record: None when there is none.
        tasks: Of its questions; `chat` for a conversation.
        grid: Of its masks; 0 for a conversation.
        fault: What is wrong with the picture or its annotations; None when nothing is.
    """

    record: dict[str, Any] | None
    tasks: tuple[str, ...] = ()
    grid: int = 0
    fault: str | None = None


def make(unit: Unit, settings: Settings) -> Made:
    """The record of a unit. A record without a fault can be missing: its things are smaller than a cell of the grid.

    Raises OSError when a cropped picture cannot be written.
    """
    rng = random.Random(_bytes(f"{settings.seed} {unit.key}"))
    content = unit.content
    try:
        if isinstance(content, Conversation):
            if content.picture is not None:
                check_picture(content.picture)
            return Made(record(settings.style, content.picture, content.turns), ("chat",) * len(content.turns))
        side = rng.choice(settings.grids)
        grid = (side, side)
        wish = Wish(dict(settings.mix), settings.distractors, settings.form, len(settings.grids) > 1)
        if isinstance(content, Referred):
            path, turns = content.picture, _about_expressions(rng, content, grid, wish)
        else:
            path, turns = _about_labels(rng, content, grid, wish, settings, unit.key)
    except (MediaError, UsageError) as error:
        return Made(None, fault=str(error))
    if not turns:
        return Made(None)
    made = record(settings.style, path, [(turn.question, turn.answer) for turn in turns])
    return Made(made, tuple(turn.task for turn in turns), side)


def _about_expressions(rng: random.Random, content: Referred, grid: Grid, wish: Wish) -> list[Turn]:
    check_picture(content.picture, content.size)
    out = []
    for text, regions in content.expressions:
        mask = build(np.full(grid, BACKGROUND), [])
        if regions:
            whole = np.any([region_mask(region, content.size) for region in regions], axis=0)
            mask = from_masks(whole[None], [text], grid)
            if not mask.labels:
                continue  # an empty mask would say that the thing is not there
        out.append(expression_turn(rng, text, mask, wish))
    return out


def _about_labels(
    rng: random.Random, content: Outlined | Labelled, grid: Grid, wish: Wish, settings: Settings, key: str
) -> tuple[str, list[Turn]]:
    seen = see(content)
    path = content.picture
    box = _crop(rng, seen) if rng.random() < settings.crop else None
    if box is not None:
        seen = seen.cropped(box)
    turns = picture_turns(rng, seen, grid, settings.turns, wish)
    if box is not None and turns:
        upright = isinstance(content, Labelled) and content.upright
        path = _save_crop(path, box, upright, Path(settings.crops), f"{settings.seed} {key}")
    return path, turns


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")  # a name in JSON can have half a surrogate pair


def _crop(rng: random.Random, seen: Seen) -> tuple[int, int, int, int]:
    """A random box x0, y0, x1, y1 of the shape of the picture."""
    share = rng.uniform(LEAST_SHARE, 1)
    w, h = (max(1, round(side * share)) for side in seen.size)
    x, y = rng.randint(0, seen.size[0] - w), rng.randint(0, seen.size[1] - h)
    return x, y, x + w, y + h


def _save_crop(path: str, box: tuple[int, int, int, int], upright: bool, folder: Path, key: str) -> str:
    out = folder / f"{Path(path).stem}-{hashlib.sha256(_bytes(key)).hexdigest()[:12]}.jpg"
    with opened(path) as held:
        picture = held.load(more=8)
        held.exif()  # checks them
        part = (ImageOps.exif_transpose(picture) if upright else picture).convert("RGB").crop(box)
    temporary = out.with_suffix(f".{os.getpid()}.part")
    part.save(temporary, "JPEG", quality=JPEG_QUALITY)  # an OSError is no fault of the picture
    os.replace(temporary, out)
    return str(out)
