"""Drawings: pictures of things with names and alpha, for synthetic videos and for training `tiny`.

They lie on one sheet (drawings.webp), drawn with the font Noto Color Emoji (SIL Open Font License 1.1) after the list
names.txt. `load_folder` reads another vendor's drawings under the same names, for held-out tests.

To draw the sheet again:

    python -m lab.synthetic.drawings NotoColorEmoji.ttf
"""

from __future__ import annotations

import argparse
import functools
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from vidmem.errors import MediaError

CELL = 112
"""Side of one drawing on the sheet in pixels."""
COLUMNS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One picture of a thing. image: RGBA, trimmed to its visible part. glyph: the emoji it shows."""

    name: str
    synonyms: tuple[str, ...]
    glyph: str
    image: Image.Image


@dataclass(frozen=True, slots=True)
class Thing:
    """A name, its synonyms and the emoji that show it."""

    name: str
    synonyms: tuple[str, ...]
    glyphs: tuple[str, ...]


def glyph_key(glyph: str) -> str:
    """File-name form of an emoji: code points in hex joined by '-', variation selectors left out."""
    return "-".join(f"{ord(c):x}" for c in glyph if c != "\ufe0f")


def split_glyphs(text: str) -> tuple[str, ...]:
    """Cut a run of emoji into single ones (joiners and variation selectors belong to the emoji before them)."""
    out: list[str] = []
    for char in text.strip():
        if out and (char in "\u200d\ufe0f" or out[-1].endswith("\u200d")):
            out[-1] += char
        else:
            out.append(char)
    return tuple(out)


@functools.cache
def things() -> tuple[Thing, ...]:
    """Return all things of names.txt, in its order."""
    out = []
    for line in (files("lab.synthetic") / "names.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        glyphs, name, synonyms = (part.strip() for part in line.split("|"))
        out.append(Thing(name, tuple(s.strip() for s in synonyms.split(",") if s.strip()), split_glyphs(glyphs)))
    return tuple(out)


def _entries() -> list[tuple[Thing, str]]:
    return [(thing, glyph) for thing in things() for glyph in thing.glyphs]


@functools.cache
def load_drawings() -> tuple[Drawing, ...]:
    """Return the drawings of drawings.webp, one for each emoji of names.txt, in its order."""
    with (files("lab.synthetic") / "drawings.webp").open("rb") as stream:
        sheet = Image.open(stream).convert("RGBA")
    out = []
    for i, (thing, glyph) in enumerate(_entries()):
        x, y = i % COLUMNS * CELL, i // COLUMNS * CELL
        cell = sheet.crop((x, y, x + CELL, y + CELL))
        out.append(Drawing(thing.name, thing.synonyms, glyph, _trim(cell)))
    return tuple(out)


def load_folder(folder: Path) -> tuple[Drawing, ...]:
    """Read another vendor's drawings: `<code points>.png` (or upper case) for the emoji of names.txt; missing ones are
    left out. Raises MediaError if the folder has none, or one that cannot be read."""
    stems = {p.stem.lower().replace("-fe0f", ""): p for p in sorted(folder.glob("*.png"))}
    found = [
        Drawing(thing.name, thing.synonyms, glyph, _trim(_read(stems[glyph_key(glyph)])))
        for thing, glyph in _entries()
        if glyph_key(glyph) in stems
    ]
    if not found:
        raise MediaError(f"no drawings named by code point (such as 1f511.png) in {folder}")
    return tuple(found)


def _read(path: Path) -> Image.Image:
    try:
        return Image.open(path).convert("RGBA")
    except (OSError, ValueError, SyntaxError) as error:
        raise MediaError(f"the drawing cannot be read ({error}); copy it again: {path}") from None


def make_sheet(font: Path, out: Path) -> None:
    """Draw every emoji of names.txt with a colour bitmap font (109 px strikes) onto one sheet."""
    from PIL import ImageDraw, ImageFont

    face = ImageFont.truetype(str(font), 109)
    entries = _entries()
    rows = -(-len(entries) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
    for i, (_, glyph) in enumerate(entries):
        picture = Image.new("RGBA", (160, 160))
        ImageDraw.Draw(picture).text((10, 10), glyph, font=face, embedded_color=True)
        picture = _trim(picture)
        scale = CELL / max(picture.size)
        w, h = (max(1, min(CELL, round(s * scale))) for s in picture.size)
        picture = picture.resize((w, h), Image.Resampling.LANCZOS)
        sheet.paste(picture, (i % COLUMNS * CELL + (CELL - w) // 2, i // COLUMNS * CELL + (CELL - h) // 2))
    sheet.save(out, quality=82, alpha_quality=80, method=6)


def _trim(picture: Image.Image) -> Image.Image:
    alpha = np.asarray(picture.getchannel("A")) > 16
    if not alpha.any():
        return picture
    ys, xs = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    return picture.crop((int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the sheet of drawings that ships with the generator.")
    parser.add_argument("font", type=Path, help="NotoColorEmoji.ttf")
    make_sheet(parser.parse_args().font, Path(__file__).with_name("drawings.webp"))
