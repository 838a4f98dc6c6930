"""Encode labelled views for `tiny`, once.

    python -m lab.tiny.view_samples SOURCE --data ../shared/data --out FOLDER

SOURCE is one of
caltech    photos of Caltech-101: the whole photo, the detector's box of its one thing, both as they are and degraded;
           the last third of each folder is marked as held out
boxes      the detector's boxes on a part of Caltech's photos that may be learned from and on the indoor photos of
           doors.tar (whose drawn boxes are not read): with a name where a second detector is sure of a COCO class
drawn      drawings in painted rooms, as the walks show them, and rooms without any
photos     boxes of photos.tar, as drawn and as detected: for measuring, the held-out third first

FOLDER/SOURCE.npz holds, for each view: features `(n, 1280)` and logits `(n, 1000)` of the network, float16; hint
`(n, 80)` float16, the detector's classes on a picture no better than the view; facts `(n, 3)`: see `Say.facts`; name
`(n,)` str, "" where nobody knows; group `(n,)` int, which picture; kind `(n,)` str; held `(n,)` bool.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lab.photos import middle, read_caltech, read_photos
from lab.tiny.boxes import Found, Regions, Yolox, iou
from lab.tiny.crops import degraded, shaken
from vidmem.encoders.tiny.views import SIDE, facts_of, network, square
from vidmem.indexer.views import cut, shrink
from vidmem.records import Float32

SAVED = 1600
"""Number of views between saves; a fit can begin before all samples are made."""
SURE, FITS = 0.6, 0.5
"""Minimum probability of a class of the second detector, and minimum IoU of its box with that of the first."""
EACH, OTHERS, SMALLEST = 6, 4, 16
"""Maximum number of boxes of a photo with and without a name; minimum shorter side in pixels."""
TAUGHT, KEPT_BACK = 24, 8
"""Maximum number of photos of a Caltech name, for training and held out."""


@dataclass(slots=True)
class Samples:
    """Collects views and encodes them in batches."""

    net: Any
    path: Path
    waiting: list[NDArray[np.uint8]] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(
        self, view: NDArray[np.uint8] | None, hint: Float32 | None, name: str, group: int, kind: str, held: bool = False
    ) -> None:
        if view is None:
            return
        said = np.zeros(80, np.float32) if hint is None else hint
        row = {
            "hint": said.astype(np.float16),
            "facts": facts_of(view),
            "name": name,
            "group": group,
            "kind": kind,
            "held": held,
        }
        for column, value in row.items():
            self.columns.setdefault(column, []).append(value)
        self.waiting.append(square(view))
        if len(self.waiting) == 16:
            self.look()

    def look(self) -> None:
        if self.waiting:
            features, logits = self.net.run(["features", "logits"], {"pixels": np.stack(self.waiting)})
            self.columns.setdefault("features", []).extend(features.astype(np.float16))
            self.columns.setdefault("logits", []).extend(logits.astype(np.float16))
            self.waiting.clear()
            if len(self.columns["features"]) % SAVED == 0:
                self.save()

    def save(self) -> None:
        """Write all views so far in one step: the file is complete or absent."""
        self.look()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part.npz")
        columns: dict[str, Any] = {k: np.array(v) for k, v in self.columns.items()}
        np.savez(part, **columns)
        part.replace(self.path)
        views, names = self.columns["name"], {n for n in self.columns["name"] if n}
        print(json.dumps({"views": len(views), "names": len(names)}), flush=True)


def doors(data: Path) -> Iterator[Image.Image]:
    """Yield the photos of doors.tar; its boxes are not read."""
    with tarfile.open(data / "doors.tar") as tar:
        for name in sorted(n for n in tar.getnames() if n.endswith(".jpg")):
            stream = tar.extractfile(name)
            assert stream is not None
            yield Image.open(io.BytesIO(stream.read())).convert("RGB")


def poorer(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Scale the picture to between a third and all of the detector's resolution."""
    scale = float(rng.uniform(130, 420)) / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX)


def view_of(image: Image.Image, box: Sequence[float]) -> NDArray[np.uint8] | None:
    """Cut the view of a box as the indexer does; None for a box without pixels."""
    x0, y0, x1, y1 = (float(v) for v in box)
    if min(x1, image.width) - max(x0, 0) < 1 or min(y1, image.height) - max(y0, 0) < 1:
        return None
    view: NDArray[np.uint8] = cut(np.asarray(image), (x0, y0, x1, y1), image.size, SIDE)
    return view


def hint_for(box: Sequence[float], found: Found, least: float = 0.4) -> Float32 | None:
    """Return the classes of the detected box that fits best, or None."""
    if not len(found.boxes):
        return None
    fits = iou(np.array([box], np.float32), found.boxes)[0]
    at = int(fits.argmax())
    return found.classes[at] if fits[at] >= least else None


def scaled(found: Found, size: tuple[int, int], to: tuple[int, int]) -> Found:
    """Scale detected boxes to another picture size."""
    return Found((found.boxes * np.tile(np.array(to, np.float32) / np.array(size, np.float32), 2)), found.classes)


def caltech(data: Path, into: Samples, detect: Regions) -> None:
    rng = np.random.default_rng(1)
    count: Counter[tuple[str, bool]] = Counter()
    every = list(read_caltech(data / "caltech101.tar"))
    for i in rng.permutation(len(every)).tolist():
        photo = every[i]
        name, held = photo.regions[0].name, photo.held_out
        count[name, held] += 1
        if count[name, held] > (KEPT_BACK if held else TAUGHT):
            continue
        image = photo.image()
        found = poor = detect(image)
        if not held and i % 3 == 0:
            low = poorer(image, rng)
            poor = scaled(detect(low), low.size, image.size)
        fits = iou(np.array([middle(photo)], np.float32), found.boxes)[0]
        at = int(fits.argmax())
        into.add(shrink(np.asarray(image), SIDE), None, name, i, "whole", held)
        into.add(view_of(image, middle(photo)), hint_for(middle(photo), found), name, i, "middle", held)
        box: Sequence[float] = found.boxes[at].tolist() if fits[at] > 0.35 else middle(photo)
        if fits[at] > 0.35:
            into.add(view_of(image, box), found.classes[at], name, i, "box", held)
        for _ in range(2 if not held else 1):
            view = view_of(image, shaken(box, rng))
            if view is not None:
                into.add(degraded(view, rng), hint_for(box, poor), name, i, "poor", held)


def photographs(data: Path) -> Iterator[Image.Image]:
    """Yield the indoor photos, then one in eight of Caltech's training photos, which are many and similar."""
    yield from doors(data)
    for i, photo in enumerate(read_caltech(data / "caltech101.tar")):
        if not photo.held_out and i % 8 == 0:
            yield photo.image()


def boxes(data: Path, into: Samples, detect: Regions) -> None:
    rng = np.random.default_rng(2)
    second = Yolox(data / "yolox_nano_coco.onnx")
    coco = json.loads((data / "clip_text" / "coco_names.json").read_text("utf-8"))
    for i, image in enumerate(photographs(data)):
        held = i % 5 == 4
        found = detect(image)
        low = poorer(image, rng)
        poor = scaled(detect(low), low.size, image.size)
        said = second(image)
        named = named_by(said, found)
        others = rng.permutation(np.flatnonzero(named < 0))[:OTHERS].tolist()
        for at in [*np.flatnonzero(named >= 0)[:EACH].tolist(), *others]:
            box = found.boxes[at].tolist()
            if min(box[2] - box[0], box[3] - box[1]) < SMALLEST:
                continue
            name = coco[named[at]] if named[at] >= 0 else ""
            into.add(view_of(image, box), found.classes[at], name, i, "box", held)
            view = view_of(image, shaken(box, rng)) if name else view_of(image, box)
            if view is not None:
                into.add(degraded(view, rng), hint_for(box, poor), name, i, "poor", held)


def named_by(second: Found, found: Found) -> NDArray[np.int64]:
    """Return for each detected box the COCO class that the second detector is sure of, else -1."""
    out = np.full(len(found.boxes), -1)
    for box, classes in zip(second.boxes, second.classes, strict=True):
        if classes.max() >= SURE and len(found.boxes):
            fits = iou(box[None], found.boxes)[0]
            if fits.max() >= FITS:
                out[int(fits.argmax())] = int(classes.argmax())
    return out


def drawn(into: Samples, detect: Regions, rooms: int) -> None:
    from lab.synthetic.drawings import load_drawings
    from lab.synthetic.rooms import make_room
    from lab.synthetic.scene import Placement, corner, furnish, sprite

    drawings = load_drawings()
    by_name: dict[str, list[int]] = {}
    for i, d in enumerate(drawings):
        by_name.setdefault(d.name, []).append(i)
    rng = np.random.default_rng(4)
    names: list[str] = []
    for number in range(rooms):
        room = make_room(np.random.default_rng(2_000_000 + number), 0)
        things = []
        for slot in room.slots:
            if not names:
                names = [str(n) for n in rng.permutation(sorted(by_name))]
            which = int(rng.choice(by_name[names.pop()]))
            size = rng.uniform(98, 145) if slot.kind == "floor" else rng.uniform(84, 128)
            tilt = rng.uniform(-20, 20) if slot.kind in ("floor", "seat") else rng.uniform(-9, 9)
            place = Placement(which, 0, slot.x, slot.y, float(size), min(slot.room_above, 165), float(tilt), 0, 1, True)
            things.append((place, sprite(drawings[which], place)))
        image = furnish(room, things)
        boxes = np.array(
            [(*corner(p, s), corner(p, s)[0] + s.width, corner(p, s)[1] + s.height) for p, s in things], np.float32
        )
        for left in range(0, room.width - 600, 700):  # the camera's view
            zoom = rng.uniform(0.95, 1.28)
            w, h = round(1280 / zoom), round(720 / zoom)
            x, y = min(left, room.width - w), int(rng.integers(max(1, 1000 - h - 200), 1000 - h + 1))
            frame = image.crop((x, y, x + w, y + h)).resize((1280, 720), Image.Resampling.BILINEAR)
            found = detect(frame)
            for (place, _), box in zip(things, (boxes - (x, y, x, y)) * (1280 / w), strict=True):
                inside = np.clip(box, 0, (1280, 720, 1280, 720))
                if (inside[2:] - inside[:2]).prod() < 0.8 * (box[2:] - box[:2]).prod():
                    continue
                fit = iou(inside[None], found.boxes)[0]
                if fit.max(initial=0) > 0.5 and rng.random() < 0.7:  # the detected box
                    inside, hint = found.boxes[fit.argmax()], found.classes[fit.argmax()]
                else:
                    inside, hint = np.array(shaken(inside.tolist(), rng, 0.06), np.float32), None
                view = view_of(frame, inside.tolist())
                if view is not None:
                    for kind, shown in (("box", view), ("poor", degraded(view, rng))):
                        into.add(shown, hint, drawings[place.drawing].name, number, kind, number % 8 == 7)


def photos(data: Path, into: Samples, detect: Regions) -> None:
    for i, photo in enumerate(sorted(read_photos(data / "photos.tar"), key=lambda p: not p.held_out)):
        image = photo.image()
        found = detect(image)
        for region in photo.regions:
            box = region.box
            into.add(view_of(image, box), hint_for(box, found), region.name, i, f"{photo.source} true", photo.held_out)
            if len(found.boxes):
                at = int(iou(np.array([box], np.float32), found.boxes)[0].argmax())
                into.add(
                    view_of(image, found.boxes[at].tolist()),
                    found.classes[at],
                    region.name,
                    i,
                    f"{photo.source} found",
                    photo.held_out,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=("caltech", "boxes", "drawn", "photos"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rooms", type=int, default=240, help="rooms with drawings")
    args = parser.parse_args()
    into, detect = Samples(network(threads=1), args.out / f"{args.source}.npz"), Regions()
    if args.source == "drawn":
        drawn(into, detect, args.rooms)
    else:
        {"caltech": caltech, "boxes": boxes, "photos": photos}[args.source](args.data, into, detect)
    into.save()


if __name__ == "__main__":
    main()
