"""A timeline as a picture: a lane for each video, a colour for each thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from ..clock import clock
from .scene_files import colours
from .where import Thing

LANES = 16
"""Videos in a picture at the most: those with the newest sightings."""
_INK, _PAPER, _FAINT = (28, 30, 34), (250, 250, 248), (224, 224, 220)


def timeline_picture(things: Sequence[Thing], lengths: Mapping[str, int], title: str) -> Image.Image:
    """An RGB picture, 960 px wide. lengths: ns of each video, by source; 0 or missing when not known."""
    sources = list(dict.fromkeys(s.source for thing in things for s in thing.sightings))
    shown, rest = sources[:LANES], max(0, len(sources) - LANES)
    width, left, top, lane = 960, 16, 52, 54
    inner = width - 2 * left
    sheet = Image.new("RGB", (width, top + lane * len(shown) + 34), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(24), ImageFont.load_default(14)
    count = sum(len(thing.sightings) for thing in things)
    said = (count, "sighting"), (len(things), "thing")
    counts = ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in said)
    heading = f"{title if len(title) <= 40 else title[:39] + '…'}: {counts}"
    draw.text((left, 10), heading, fill=_INK, font=font)
    paint = [tuple(map(int, colour)) for colour in colours(len(things))]
    for row, source in enumerate(shown):
        spans = [(s.start_ns, s.end_ns, n) for n, thing in enumerate(things) for s in thing.sightings
                 if s.source == source]  # fmt: skip
        length = max(lengths.get(source, 0), *(end for _, end, _ in spans), 1)
        y = top + lane * row
        name = source.replace("\\", "/").rsplit("/", 1)[-1]
        draw.text((left, y), name if len(name) <= 80 else name[:79] + "…", fill=_INK, font=small)
        draw.text((left + inner, y), clock(length), fill=_INK, font=small, anchor="ra")
        draw.rectangle((left, y + 20, left + inner, y + 38), fill=_FAINT)
        for start, end, n in spans:
            x = left + inner * start / length
            draw.rectangle((x, y + 20, max(x + 3, left + inner * end / length), y + 38), fill=paint[n])
    if rest:
        draw.text((left, top + lane * len(shown) + 6), f"and {rest} more videos", fill=_INK, font=small)
    return sheet
