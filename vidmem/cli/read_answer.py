"""`vidmem read-answer`: the mask that a language model wrote as text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from ..errors import MediaError, UsageError
from ..export.rle import box, segmentation
from ..export.textanswer import NO_MASK, Reading
from ..export.textanswer import read_answer as read_text
from ..text_files import read_bytes
from .messages import warn
from .output import Listing, Row, Show, listing
from .saving import check_suffix, opens, write_picture
from .segment import label_names

if TYPE_CHECKING:
    from ..export.textmask import Grid, Label

STDIN = "-"
MAX_BYTES = 64 << 20
"""Longer answers are refused: the largest mask has a tenth of that."""


@listing
@opens("save", "png")
def read_answer(
    answer: Annotated[str, typer.Argument(metavar="FILE", help="The answer; - for stdin.", show_default=False)],
    grid: Annotated[
        str, typer.Option("--grid", metavar="N|HxW", help="Rows and columns that the mask should have.")
    ] = "16",
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="A,B,C|FILE|vspw|ade20k|coco",
            help="Labels that were asked for. Others are read as a similar one, or as background. Default: any.",
        ),
    ] = None,
    picture: Annotated[
        str | None, typer.Option("--picture", metavar="PICTURE", help="The photo. The mask then has its size.")
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="PICTURE",
            help="With --picture: save the photo in the colours of its labels, with a legend (.png, .jpg, .webp).",
        ),
    ] = None,
    png: Annotated[
        str | None,
        typer.Option(
            "--png",
            metavar="PNG",
            help="Save the label of each pixel (.png): 0 is no label, 1 the first that is listed.",
        ),
    ] = None,
    *,
    show: Show,
) -> int:
    """Read the mask that a model wrote in an answer.

    Reads every answer, also a damaged one, and says on stderr what was repaired. The exit code is 0 if nothing was, 3
    if something was, and 1 if there is no mask in the answer.

    \b
    Examples:
      vidmem read-answer answer.txt --labels cup,kettle
      vidmem read-answer answer.txt --picture photo.jpg --save mask.png
      vidmem read-answer answer.txt --grid 24 --json
    """
    check_suffix("--save", save)
    check_suffix("--png", png, (".png",))
    if save is not None and picture is None:
        raise UsageError("--save draws on the photo; give it with --picture")
    size = parse_grid(grid)
    names = None if labels is None else label_names(labels).names
    image = _photo(picture)
    reading = read_text(_read(answer), size, names)
    found = [_name(label) for label in reading.mask.labels]
    if png is not None and len(found) > 255:
        raise UsageError(f"a label picture holds 255 labels and the answer has {len(found)}; use --json")
    pixels = reading.mask.pixels(*(size if image is None else image.shape[:2]))
    _show(reading, pixels, found, picture, show)
    for problem in reading.problems:
        warn(problem if problem == NO_MASK else f"repaired: {problem}")
    if save is not None and image is not None:
        from ..render.grounding import labels_sheet

        write_picture(labels_sheet(image, pixels, found, Path(picture or "").name), save)
    if png is not None:
        from ..render.grounding import label_image

        write_picture(label_image(pixels), png)
    if NO_MASK in reading.problems:
        return 1
    return 3 if reading.problems else 0


def parse_grid(text: str) -> Grid:
    """Rows and columns in a text such as 16 or 12x16. Raises UsageError."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdecimal() and len(part) < 5 and int(part) for part in parts):
        raise UsageError(f"--grid is a number of cells such as 16, or rows x columns such as 12x16; got {text[:40]}")
    return int(parts[0]), int(parts[-1])


def _show(reading: Reading, pixels: np.ndarray, found: list[str], picture: str | None, show: Show) -> None:
    rows: list[Row] = []
    for i, label in enumerate(reading.mask.labels):
        mask = pixels == i
        rows.append(
            {
                "label": label.name,
                "instance": label.instance or None,
                "cells": int((reading.mask.cells == i).sum()),
                "share": round(float(mask.mean()), 6),
                "bbox": box(mask),
                "segmentation": segmentation(mask),
            }
        )
    heads = ("label", "cells", "share")
    table = [heads, *((name, str(r["cells"]), f"{r['share']:.1%}") for name, r in zip(found, rows, strict=True))]
    document = {
        "picture": picture,
        "width": int(pixels.shape[1]),
        "height": int(pixels.shape[0]),
        "grid": list(reading.mask.cells.shape),
        "strict": not reading.problems,
        "problems": list(reading.problems),
        "labels": rows,
    }
    show(Listing(rows, table, document))


def _name(label: Label) -> str:
    return f"{label.name} #{label.instance}" if label.instance else label.name


def _read(path: str) -> str:
    if path == STDIN:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise MediaError(f"the answer has more than {MAX_BYTES >> 20} MB; it is not one mask: {path}")
    else:
        data = read_bytes(path, "the answer cannot", limit=MAX_BYTES)
    return data.decode("utf-8", "replace")


def _photo(picture: str | None) -> np.ndarray | None:
    if picture is None:
        return None
    from ..query.picture import load_picture  # imports PyAV

    return np.asarray(load_picture(picture))
