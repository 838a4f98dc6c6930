"""Telling two similar things apart: `python -m benchmarks.twins --out FILE.json [--seeds 8000:8015]`.

Short films of drawn things in painted rooms, four for each seed, each with one question; by name for even seeds, by
picture for odd ones:

like    two of the same kind stand in view together, then one is out of view and the other is not
moved   a thing is seen, out of view, and seen again in another place of the same room
cut     a thing is in view up to a cut, and another of the kind from the cut on, in another room
dated   two videos with a thing of the kind each; the one recorded last is indexed first

Right: the newest sighting lies on the right one (box IoU >= .3), overlaps the last time in which that one is in view by
tIoU >= .25, and holds no track that lies on anything else.
"""

from __future__ import annotations

import random
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from benchmarks.common import (
    OUT,
    Box,
    box_iou,
    machine,
    memory_place,
    model,
    parse_range,
    parser_for,
    say,
    table,
    tiou,
    write_json,
)
from benchmarks.film import FPS, SHOT_S, SIZE, Shot, make
from lab.synthetic.drawings import Drawing, load_drawings
from lab.synthetic.rooms import FLOOR, make_room
from lab.synthetic.scene import Placement, corner, furnish, sprite
from vidmem import Memory
from vidmem.query.answers import Answer
from vidmem.records import Sighting
from vidmem.timecode import NS

LEAST_BOX, LEAST_TIOU, MOST_STRANGE = 0.3, 0.25, 0.2
TARGET = 0.90
KINDS = (
    "umbrella",
    "guitar",
    "teddy bear",
    "clock",
    "banana",
    "apple",
    "backpack",
    "soccer ball",
    "violin",
    "mushroom",
    "pineapple",
    "telephone",
    "camera",
    "candle",
    "trumpet",
    "drum",
    "hammer",
    "basket",
    "strawberry",
    "sunflower",
    "cactus",
    "rocket",
    "helicopter",
    "bicycle",
    "skateboard",
    "penguin",
    "owl",
    "turtle",
    "rabbit",
)
"""Everyday names, written down before anything was asked."""
ABOVE = 80
"""Pixels of the panorama between the floor's far edge and the feet of a thing."""
TOP = 200
"""Upper edge of every view in the panorama."""


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A film of one situation.

    Attributes:
        shots: As for `film.make`.
        rooms: As for `film.make`.
        wanted: For each room the box of the right thing, None if it is not there.
        recorded: Recording time, for the container.
    """

    shots: tuple[Shot, ...]
    rooms: tuple[Image.Image, ...]
    wanted: tuple[Box | None, ...]
    recorded: datetime | None = None

    def box_at(self, t_s: float) -> Box | None:
        """The right thing's box in the picture at t_s; None if less than half of it is in view."""
        shot = self.shots[min(int(t_s // SHOT_S), len(self.shots) - 1)]
        true = self.wanted[shot.photo]
        if true is None:
            return None
        u = min((t_s % SHOT_S) * FPS / (SHOT_S * FPS - 1), 1.0)
        x0, y0, x1, y1 = np.array(shot.start) + (np.array(shot.end) - np.array(shot.start)) * u
        sx, sy = SIZE[0] / (x1 - x0), SIZE[1] / (y1 - y0)
        box = ((true[0] - x0) * sx, (true[1] - y0) * sy, (true[2] - x0) * sx, (true[3] - y0) * sy)
        held = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], SIZE[0]), min(box[3], SIZE[1]))
        area = max(held[2] - held[0], 0) * max(held[3] - held[1], 0)
        return held if area >= 0.5 * (box[2] - box[0]) * (box[3] - box[1]) else None

    def last_span(self) -> tuple[float, float]:
        """The last span in which the right thing is in view, in seconds."""
        count = len(self.shots) * SHOT_S * FPS
        seen = [i for i in range(count) if self.box_at(i / FPS) is not None]
        first = seen[-1]
        while first - 1 in set(seen):
            first -= 1
        return first / FPS, seen[-1] / FPS


def stand(seed: int, drawing: Drawing, xs: tuple[float, ...]) -> tuple[Image.Image, list[Box]]:
    """The room of a seed with the thing at each of `xs`, shares of the room's width; and the boxes."""
    room = make_room(np.random.default_rng([seed, 70]), occluders=0)
    things = []
    for x in xs:
        place = Placement(0, 0, x * room.width, FLOOR + ABOVE + 60, 190, 220, 0.0, 0, 1, True)
        things.append((place, sprite(drawing, place)))
    boxes = []
    for place, picture in things:
        left, top = corner(place, picture)
        boxes.append((float(left), float(top), float(left + picture.width), float(top + picture.height)))
    return furnish(room, things), boxes


def view(panorama: Image.Image, x: float) -> tuple[float, float, float, float]:
    """A window of the film's size, centred at x, a share of the panorama's width, as far as possible."""
    left = min(max(x * panorama.width - SIZE[0] / 2, 0), panorama.width - SIZE[0])
    return left, TOP, left + SIZE[0], TOP + SIZE[1]


def films(kind: str, seed: int, drawing: Drawing) -> list[Film]:
    """The films of one situation in the order of indexing; the right thing is in the one that was recorded last."""
    if kind == "like":
        room, boxes = stand(seed, drawing, (0.36, 0.60))
        both, right, away = view(room, 0.48), view(room, 0.74), view(room, 0.99)
        walk = (Shot(0, view(room, 0.46), both), Shot(0, both, right), Shot(0, right, away))
        return [Film(walk, (room,), (boxes[1],))]
    if kind == "moved":
        (first, (old,)), (then, (new,)) = stand(seed, drawing, (0.20,)), stand(seed, drawing, (0.34,))
        far = view(first, 0.99)
        there_and_back = (
            Shot(0, view(first, 0.25), view(first, 0.3)),
            Shot(0, view(first, 0.3), far),
            Shot(0, far, far),
            Shot(1, far, view(first, 0.4)),
            Shot(1, view(first, 0.4), view(first, 0.36)),
        )
        assert old != new
        return [Film(there_and_back, (first, then), (None, new))]
    if kind == "cut":
        (first, _), (then, (box,)) = stand(seed, drawing, (0.4,)), stand(seed + 500, drawing, (0.55,))
        two = (Shot(0, view(first, 0.36), view(first, 0.42)), Shot(1, view(then, 0.5), view(then, 0.56)))
        return [Film(two, (first, then), (None, box))]
    (before, _), (after, (box,)) = stand(seed, drawing, (0.4,)), stand(seed + 500, drawing, (0.55,))
    earlier = (Shot(0, view(before, 0.36), view(before, 0.42)),)
    later = (Shot(0, view(after, 0.5), view(after, 0.56)),)
    day = datetime(2025, 3, 1 + seed % 27, 18, 0, tzinfo=UTC)
    return [Film(later, (after,), (box,), day), Film(earlier, (before,), (None,), day.replace(year=2024))]


SITUATIONS = ("like", "moved", "cut", "dated")


def write(film: Film, path: Path) -> None:
    """Write the film as MP4, with its recording time."""
    bare = path.with_name("bare-" + path.name)
    make(bare, film.shots, film.rooms)
    if path.exists():
        return
    if film.recorded is None:
        bare.replace(path)
        return
    part = path.with_name("part-" + path.name)
    with av.open(str(bare)) as source, av.open(str(part), "w") as out:
        out.metadata["creation_time"] = film.recorded.isoformat().replace("+00:00", "Z")
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    part.replace(path)
    bare.unlink()


def asked(drawing: Drawing, seed: int) -> dict[str, Any]:
    """The question: a name, or a picture of the drawing on a plain ground."""
    if seed % 2 == 0:
        return {"text": drawing.name}
    ground = Image.new("RGB", (224, 224), tuple(random.Random(seed).randint(120, 235) for _ in range(3)))
    scale = 170 / max(drawing.image.size)
    thing = drawing.image.resize((round(drawing.image.width * scale), round(drawing.image.height * scale)))
    ground.paste(thing, ((224 - thing.width) // 2, (224 - thing.height) // 2), thing)
    return {"image": ground}


def strange(memory: Memory, sighting: Sighting, film: Film) -> float:
    """Share of the regions of a sighting's tracks that do not lie on the right thing."""
    tracks = memory.store.tracks(sighting.tracks)
    if not tracks:
        return 1.0
    ordinals = {t.ordinal for t in tracks}
    on = off = 0
    for frame in memory.store.regions(tracks[0].source_id, sighting.start_ns, sighting.end_ns):
        for ordinal, box in zip(frame.tracks.tolist(), frame.boxes.tolist(), strict=True):
            if ordinal in ordinals:
                true = film.box_at(frame.t_ns / NS)
                fits = true is None or box_iou(tuple(box), true) > 0.05  # half in view it is still that thing
                on, off = on + fits, off + (not fits)
    return off / max(on + off, 1)


def verdict(memory: Memory, answer: Answer, film: Film, path: Path) -> dict[str, Any]:
    if not answer.found:
        return {"right": False, "why": "not found"}
    first = answer[0]
    row: dict[str, Any] = {
        "found": first.source,
        "start_s": first.start_s,
        "end_s": first.end_s,
        "frame_s": first.frame_s,
        "box": list(first.box),
        "sightings": answer.total,
        "probability": first.probability,
    }
    if Path(first.source).name != path.name:
        return row | {"right": False, "why": "other video"}
    overlap = tiou((first.start_s, first.end_s), film.last_span())
    true = film.box_at(first.frame_s)
    row |= {"tiou": round(overlap, 3), "strange": round(strange(memory, first, film), 3)}
    if true is None or box_iou(true, first.box) < LEAST_BOX:
        return row | {"right": False, "why": "other thing"}
    if overlap < LEAST_TIOU:
        return row | {"right": False, "why": "other time"}
    mixed = row["strange"] > MOST_STRANGE
    return row | {"right": not mixed, "why": "two in one" if mixed else ""}


def ask(kind: str, seed: int, cache: Path, fresh: bool) -> dict[str, Any]:
    drawings = {d.name: d for d in load_drawings() if d.name in KINDS}
    drawing = drawings[sorted(drawings)[(seed * 7 + SITUATIONS.index(kind) * 3) % len(drawings)]]
    held = films(kind, seed, drawing)
    place = cache / "twins" / f"{kind}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{i}-{kind}-{seed}.mp4" for i in range(len(held))]
    for film, path in zip(held, paths, strict=True):
        write(film, path)
    memory_folder = memory_place(cache, "twins", place.name)
    if fresh:
        shutil.rmtree(memory_folder, ignore_errors=True)
    with Memory.open(memory_folder) as memory:
        memory.index(*paths)
        question = asked(drawing, seed)
        answer = memory.where(**question)
        row = verdict(memory, answer, held[0], paths[0])
    return {"kind": kind, "seed": seed, "name": drawing.name, "by": "name" if "text" in question else "picture"} | row


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--seeds", type=parse_range, default=range(8000, 8015), help="A:B, B excluded (8000:8015)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for films and memories (benchmarks/out)")
    parser.add_argument("--fresh", action="store_true", help="index again")
    args = parser.parse_args()
    rows = []
    for seed in args.seeds:
        for kind in SITUATIONS:
            rows.append(ask(kind, seed, args.cache, args.fresh))
            say(f"{kind} {seed} {rows[-1]['name']}, by {rows[-1]['by']}: {rows[-1]['why'] or 'right'}")
    told = {}
    for group in (*SITUATIONS, "name", "picture"):
        mine = [row for row in rows if group in (row["kind"], row["by"])]
        told[group] = {"questions": len(mine), "right": sum(row["right"] for row in mine)}
    told["all"] = {"questions": len(rows), "right": sum(row["right"] for row in rows)}
    share = told["all"]["right"] / max(1, len(rows))
    write_json(
        args.out,
        {
            "machine": machine(),
            "model": model(),
            "seeds": list(args.seeds),
            "target": TARGET,
            "share": share,
            "summary": told,
            "rows": rows,
        },
    )
    print(table(["", "questions", "right"], [[name, row["questions"], row["right"]] for name, row in told.items()]))
    print(f"{share:.2f} right (wanted {TARGET:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
