"""A plot of how much of the picture each label has over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..query.parse import Areas
from ..timecode import clock
from .drawing import GREY, GROUND, PAPER, WIDTH, colours, fitted, write

MAX_LABELS = 10
"""Labels with an area of their own; the rest share one."""
_HEIGHT, _LEFT, _TOP, _BOTTOM, _LEGEND = 460, 56, 44, 40, 190
_TITLE, _TEXT = 20, 14


def area_plot(areas: Areas, names: Sequence[str], title: str) -> Image.Image:
    """Plot the share of the frame that each label has over time, stacked: an RGB picture, 960 pixels wide."""
    sheet = Image.new("RGB", (WIDTH, _HEIGHT), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (_LEFT, 10), fitted(title, _TITLE, WIDTH - 2 * _LEFT), _TITLE)
    right, base = WIDTH - _LEGEND - 16, _HEIGHT - _BOTTOM
    draw.rectangle((_LEFT, _TOP, right, base), fill=GROUND)
    first, last = (int(areas.t_ns[0]), int(areas.t_ns[-1])) if len(areas.t_ns) else (0, 0)
    x = _LEFT + (areas.t_ns - first) * ((right - _LEFT) / max(last - first, 1))
    order = np.argsort(-areas.shares.sum(axis=0), kind="stable") if len(x) else np.empty(0, np.intp)
    order = np.array([i for i in order if areas.shares[:, i].any()], np.intp)
    paint = colours(len(names))
    parts = [(names[i], areas.shares[:, i], tuple(map(int, paint[i]))) for i in order[:MAX_LABELS]]
    if len(order) > MAX_LABELS:
        parts.append(("others", areas.shares[:, order[MAX_LABELS:]].sum(axis=1), GREY))
    floor = np.zeros(len(x))
    for n, (name, share, colour) in enumerate(parts):
        ceiling = np.minimum(floor + share, 1)
        edge = [(a, base - b * (base - _TOP)) for a, b in zip(x, ceiling, strict=True)]
        under = [(a, base - b * (base - _TOP)) for a, b in zip(x[::-1], floor[::-1], strict=True)]
        if len(edge) > 1:
            draw.polygon([*edge, *under], fill=colour)
        elif edge:
            draw.line([edge[0], under[0]], fill=colour, width=3)
        floor = ceiling
        y = _TOP + 26 * n
        draw.rectangle((right + 14, y + 3, right + 30, y + 17), fill=colour)
        write(draw, (right + 36, y), fitted(name, _TEXT, WIDTH - right - 44), _TEXT)
    for level in (0.0, 0.5, 1.0):
        write(draw, (_LEFT - 8, base - level * (base - _TOP)), f"{level:.0%}", _TEXT, anchor="rm")
    write(draw, (_LEFT, base + 8), clock(first), _TEXT)
    write(draw, (right, base + 8), clock(last), _TEXT, anchor="ra")
    return sheet
