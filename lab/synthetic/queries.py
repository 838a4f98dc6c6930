"""Questions about a world and their right answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from vidmem.timecode import NS

from .furniture import WORDS
from .script import Script, words
from .textures import Rng, colour, noise, to_image
from .truth import ENOUGH_NS, JOIN_NS, Span, Truth

Kind = Literal["name", "synonym", "picture", "name_picture", "absent"]
CLEAR_NS = NS
"""Minimum length of the last span of a thing that is asked for; it must also be visible for ENOUGH_NS in all."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question. text: the words, or None. picture: path of a PNG of the drawing, relative to the world's folder, or
    None. name: the thing. start_ns, end_ns: the last span in which a thing of that name was visible; None for absent
    things."""

    kind: Kind
    text: str | None
    picture: str | None
    drawing: int | None
    name: str
    start_ns: int | None
    end_ns: int | None


def clear_names(truth: Truth, script: Script) -> dict[str, Span]:
    """Return names whose last span is beyond dispute, with that span.

    The span is long enough, and afterwards the thing is never partly in view: a quarter of it is visible at no later
    instant, apart from its leaving.
    """
    out = {}
    for name in truth.names():
        spans = truth.spans(name)
        start, end = spans[-1]
        seen = sum(s.visible_ns for s in truth.shown if s.name == name)
        if end - start >= CLEAR_NS and seen >= ENOUGH_NS and truth.glimpses[name] - end < JOIN_NS:
            out[name] = (start, end)
    return out


def ask(script: Script, truth: Truth, folder: Path) -> tuple[Query, ...]:
    """Make all queries of a world: each clear target by name, synonym, picture and both; as many clear bystanders by
    name; and as many absent names. Saves the pictures in folder / pictures."""
    rng = np.random.default_rng([script.seed, 5])
    clear = clear_names(truth, script)
    drawing_of = {script.drawings[p.drawing].name: p.drawing for p in script.placements}
    aimed = sorted({s.name for s in truth.shown if s.target} & set(clear))
    others = sorted(set(clear) - set(aimed))
    bystanders = [others[i] for i in sorted(rng.permutation(len(others))[: len(aimed)])]
    out: list[Query] = []
    for name in aimed:
        d = drawing_of[name]
        picture = _picture(rng, script, d, folder)
        synonyms = script.drawings[d].synonyms
        out.append(Query("name", name, None, d, name, *clear[name]))
        if synonyms:
            out.append(Query("synonym", str(rng.choice(synonyms)), None, d, name, *clear[name]))
        out.append(Query("picture", None, picture, d, name, *clear[name]))
        out.append(Query("name_picture", name, picture, d, name, *clear[name]))
    out += [Query("name", name, None, drawing_of[name], name, *clear[name]) for name in bystanders]
    for k, d in enumerate(_absent(rng, script)[: len(aimed) + len(bystanders)]):
        # Two in three in words, one in three as a picture.
        name = script.drawings[d].name
        shown = _picture(rng, script, d, folder) if k % 3 == 2 else None
        out.append(Query("absent", None if shown else name, shown, d, name, None, None))
    return tuple(out)


def _absent(rng: Rng, script: Script) -> list[int]:
    """Return drawings whose names share no word with anything in this world, one for each name, in random order."""
    taken = set(WORDS).union(*(words(script.drawings[p.drawing]) for p in script.placements))
    out, names = [], set(script.present)
    for i in rng.permutation(len(script.drawings)):
        drawing = script.drawings[i]
        if drawing.name not in names and words(drawing) and not words(drawing) & taken:
            names.add(drawing.name)
            out.append(int(i))
    return out


def _picture(rng: Rng, script: Script, index: int, folder: Path) -> str:
    """Save the drawing on a plain or mottled background; return its path relative to the folder."""
    side = 224
    ground = np.zeros((side, side, 3), np.float32) + np.asarray(colour(rng, sat=(0, 0.35), val=(0.45, 1)), np.float32)
    if rng.random() < 0.5:
        ground *= 1 + 0.08 * noise(rng, side, side, rng.uniform(3, 40), rng.uniform(3, 40))[..., None]
    image = to_image(ground)
    drawing = script.drawings[index].image
    scale = rng.uniform(0.6, 0.85) * side / max(drawing.size)
    drawing = drawing.resize((round(drawing.width * scale), round(drawing.height * scale)), Image.Resampling.LANCZOS)
    image.paste(drawing, ((side - drawing.width) // 2, (side - drawing.height) // 2), drawing)
    path = Path("pictures") / f"{script.drawings[index].name.replace(' ', '-').replace('/', '-')}-{index}.png"
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    image.save(folder / path)
    return path.as_posix()
