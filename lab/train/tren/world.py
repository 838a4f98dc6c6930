"""Synthetic worlds as training data: frames, and the exact masks of their things from the script.

A mask is the visible part of a thing's picture after covering by nearer things and occluders, cropping, scaling and
motion blur, with the code that renders the frame. A pixel belongs to the thing that makes up at least half of it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidmem.errors import UsageError

from ...synthetic.camera import BLURRED, Lens
from ...synthetic.drawings import Drawing, load_drawings
from ...synthetic.render import DISSOLVE, Planes, develop, frames, stand_before, view
from ...synthetic.scene import corner
from ...synthetic.script import Script, write_script
from .folder import Folder

FIRST_HELD_OUT = 5000
"""Worlds with this seed and above are for measurements only (calibration 5000.., benchmarks 9000..)."""
SCENERY = "background"
"""Name of the region of all pixels without a thing."""
SECONDS, FPS, FRAMES = 12.0, 15, 10
"""Length of a world in seconds, frames a second, and number of frames used."""
SIZE = (448, 256)
DONE = "done.json"


def numbers(script: Script, visit: int, k: int) -> NDArray[np.uint8]:
    """Return frame k of a visit as numbers `(H, W)`: 0 scenery, 1 + i the thing `script.things(visit)[i]`.

    Not for frames within a cross-fade (the first DISSOLVE seconds of a later visit).
    """
    return next(_numbers(script, visit, [k]))


def _numbers(script: Script, v: int, ks: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    lens, stay = script.lens, script.visits[v]
    room, things = script.rooms[stay.room], script.things(v)
    scale = min(1.0, lens.scale)
    size = (round(room.width * scale), round(room.image.height * scale))
    planes: list[Image.Image] = []
    for i, (_, place, picture) in enumerate(things):
        plane = Image.new("L", (room.width, room.image.height), 0)
        plane.paste(255, corner(place, picture), picture)
        for _, other, nearer in things[i + 1 :]:
            plane.paste(0, corner(other, nearer), nearer)
        planes.append(plane.resize(size, Image.Resampling.BOX) if scale < 1 else plane)
    black = [(o, Image.new("L", o.sprite.size, 0), o.sprite.getchannel("A")) for o in room.occluders]
    chroma = Image.new("L", (2, 2), 0)
    for k in ks:
        share = np.zeros((len(things) + 1, lens.height, lens.width), np.uint8)
        share[0] = 127
        for i, plane in enumerate(planes, 1):
            shown: Planes = view((plane, chroma, chroma), stay, k, lens, room.width)
            for occluder, colour, alpha in black:
                stand_before(shown, occluder, (colour, chroma, chroma), alpha, stay.poses[k], lens)
            share[i] = np.asarray(shown[0])
        yield share.argmax(0).astype(np.uint8)


def chosen(script: Script, count: int) -> list[tuple[int, int]]:
    """Choose up to `count` (visit, frame of the visit), evenly spread over sharp frames outside cross-fades."""
    clear = [
        (v, k)
        for v, visit in enumerate(script.visits)
        for k in range(visit.last - visit.first)
        if visit.smear[k] < BLURRED and (v == 0 or k / script.lens.fps >= DISSOLVE)
    ]
    at = np.linspace(0, len(clear) - 1, min(count, len(clear))).round().astype(int).tolist()
    return [clear[i] for i in dict.fromkeys(at)]


def render_world(
    folder: Path,
    seed: int,
    *,
    drawings: Sequence[Drawing] | None = None,
    count: int = FRAMES,
    size: tuple[int, int] = SIZE,
    seconds: float = SECONDS,
    scenery: str | None = SCENERY,
) -> int:
    """Write the frames of one world into a folder of masks (see folder.py); return their number.

    scenery: name of the background region; None leaves it out. Raises UsageError for a held-out seed.
    """
    if not 0 <= seed < FIRST_HELD_OUT:
        raise UsageError(
            f"seed {seed} is held out for measurements, as are all from {FIRST_HELD_OUT} on; give 0 to "
            f"{FIRST_HELD_OUT - 1}"
        )
    lens = Lens(*size, FPS)
    script = write_script(seed, load_drawings() if drawings is None else drawings, seconds, lens)
    wanted = chosen(script, count)
    places = {script.visits[v].first + k for v, k in wanted}
    films = develop(script, frames(script))
    pictures = (film for i, film in enumerate(itertools.islice(films, max(places, default=-1) + 1)) if i in places)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    for v, group in itertools.groupby(wanted, key=lambda pair: pair[0]):
        ks = [k for _, k in group]
        things = script.things(v)
        for k, index in zip(ks, _numbers(script, v, ks), strict=True):
            if scenery:
                index[index == 0] = len(things) + 1
            names = {str(i): script.drawings[p.drawing].name for i, (_, p, _) in enumerate(things, 1)}
            names |= {str(len(things) + 1): scenery} if scenery else {}
            stem = f"{seed:04d}-{script.visits[v].first + k:05d}"
            Image.fromarray(index, "L").save(folder / "masks" / f"{stem}.png")
            (folder / "masks" / f"{stem}.json").write_text(json.dumps(names), "utf-8")
            rgb = next(pictures).to_ndarray(format="rgb24")
            Image.fromarray(rgb, "RGB").save(folder / "images" / f"{stem}.jpg", quality=92)
    return len(wanted)


def render_worlds(
    folder: Path, seeds: Sequence[int], *, count: int = FRAMES, size: tuple[int, int] = SIZE, report: bool = False
) -> Folder:
    """Return the worlds of `seeds` as a folder of masks; render those that are missing (about 4 s each).

    An interrupted run continues with the first incomplete world. Raises UsageError if the folder holds other worlds.
    """
    from vidmem.cli.messages import say

    asked = {"seeds": list(seeds), "count": count, "size": list(size)}
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / DONE
    state: dict[str, Any] = {"asked": asked, "done": 0}
    if record.exists():
        state = json.loads(record.read_text("utf-8"))
    if state["asked"] != asked:
        raise UsageError(f"the folder holds other worlds; remove it or choose another: {folder}")
    for i, seed in enumerate(seeds):
        if i >= state["done"]:
            render_world(folder, seed, count=count, size=size)
            part = record.with_suffix(".part")
            part.write_text(json.dumps({"asked": asked, "done": i + 1}), "utf-8")
            part.replace(record)
            if report and ((i + 1) % 10 == 0 or i + 1 == len(seeds)):
                say(f"{i + 1} of {len(seeds)} worlds rendered")
    return Folder(folder)
