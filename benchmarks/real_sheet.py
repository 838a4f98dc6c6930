"""Sheets of pictures for checking answers by eye: the answer beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from vidmem.media import open_source
from vidmem.timecode import NS

PAPER, INK, GREEN, RED = (250, 250, 248), (28, 30, 34), (30, 140, 60), (220, 40, 50)
SIZE = (400, 170)
HEAD = 34


@dataclass(frozen=True, slots=True)
class Mark:
    """A box drawn into a picture. true: drawn by a person (green), else an answer (red)."""

    box: Sequence[float]
    true: bool = False


def frame(clip: Path, t_s: float) -> Image.Image:
    with open_source(clip) as source:
        return Image.fromarray(source.frame_at(round(t_s * NS)).image)


def tile(
    picture: Image.Image | None,
    marks: Sequence[Mark],
    title: str,
    note: str,
    right: bool,
    asked: Image.Image | None = None,
) -> Image.Image:
    """One answer: its picture with boxes, or none; asked: the picture of the question, shown to the left."""
    out = Image.new("RGB", SIZE, PAPER)
    left = 6
    if asked is not None:
        small = asked.copy()
        small.thumbnail((110, 120))
        out.paste(small, (left, HEAD))
        left = 128
    if picture is not None:
        shown = picture.copy()
        draw = ImageDraw.Draw(shown)
        for mark in sorted(marks, key=lambda m: not m.true):
            width = max(2, shown.width // 160)
            draw.rectangle([float(v) for v in mark.box], outline=GREEN if mark.true else RED, width=width)
        shown.thumbnail((SIZE[0] - left - 6, SIZE[1] - HEAD - 6))
        out.paste(shown, (left, HEAD))
    draw = ImageDraw.Draw(out)
    draw.text((6, 2), title, fill=INK)
    draw.text((6, 17), note, fill=GREEN if right else RED)
    return out


def grid(tiles: Sequence[Image.Image], columns: int = 4) -> Image.Image:
    width, height = tiles[0].size
    out = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), PAPER)
    for i, one in enumerate(tiles):
        out.paste(one, (i % columns * width, i // columns * height))
    return out
