"""Share of things that have a region: `python -m benchmarks.boxes --out FILE.json [--data FOLDER] [--networks FOLDER]`.

coco_cc, openimages5    annotated boxes in the photos of photos.tar; nothing is fitted on these photos walks boxes of
things in synthetic walks (worlds.py), of frames 5 a second

A thing is found when one of the frame's regions has an IoU of at least .5 with it; a region serves one thing. Regions
are taken best first, at most --most. "large" things have a shorter side of at least 24 pixels of a photo of 384, or of
a walk shown at 640 x 360. Beside it: milliseconds of
processor time a frame, scaling the picture included, and how many regions a frame has.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import worlds
from benchmarks.common import OUT, machine, parse_range, say, skip, table, wilson, write_json
from benchmarks.photos import DATA, LEAST_SIDE
from lab.photos import Photo, read_photos
from vidmem.geometry import box_iou
from vidmem.media import open_source

SOURCES = ("coco_cc", "openimages5")
IOU = 0.5
MOST = 48
SEEDS, SECONDS = range(4990, 4996), 20.0
WALK_SIDE = 2 * LEAST_SIDE
"""Pixels of the shorter side of a large thing in a walk of 1280 x 720."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A picture with its true boxes `(n, 4)` float32 in pixels; photo: its source."""

    image: np.ndarray
    boxes: np.ndarray
    least: float
    photo: Photo | None = None

    def large(self) -> np.ndarray:
        return np.asarray((self.boxes[:, 2:] - self.boxes[:, :2]).min(1) >= self.least)


def photo_shots(data: Path, source: str) -> Iterator[Shot]:
    for photo in read_photos(data / "photos.tar"):
        if photo.source == source and photo.regions:
            boxes = np.array([r.box for r in photo.regions], np.float32)
            yield Shot(np.asarray(photo.image()), boxes, LEAST_SIDE, photo)


def walk_shots(cache: Path, seeds: Sequence[int], seconds: float) -> Iterator[Shot]:
    for seed in seeds:
        world = worlds.ensure(cache, None, seed, seconds)
        by_time: dict[int, list[tuple[float, ...]]] = {}
        for shown in world.truth.shown:
            for t_ns, *box in shown.boxes:
                by_time.setdefault(t_ns, []).append(tuple(box))
        with open_source(world.video) as source:
            for t_ns, boxes in sorted(by_time.items()):
                yield Shot(source.frame_at(t_ns).image, np.array(boxes, np.float32), WALK_SIDE)


def found(truth: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Match true boxes `(n, 4)` with `boxes` `(m, 4)` one to one, best pairs first; `(n,)` bool."""
    iou = box_iou(truth[:, None], boxes[None]) if len(boxes) else np.zeros((len(truth), 0), np.float32)
    out = np.zeros(len(truth), np.bool_)
    taken = np.zeros(len(boxes), np.bool_)
    for flat in np.argsort(-iou, axis=None, kind="stable"):
        t, b = divmod(int(flat), len(boxes))
        if iou[t, b] < IOU:
            break
        if not out[t] and not taken[b]:
            out[t] = taken[b] = True
    return out


Finder = Callable[[np.ndarray], Any]
"""A picture -> its regions (records.RegionTokens or alike), in its pixels, best first."""


def measure(shots: Iterator[Shot], find: Finder, most: int) -> dict[str, Any]:
    hits, large, times, counts, frames = [], [], [], [], 0
    for shot in shots:
        began = time.process_time()
        boxes = find(shot.image).boxes[:most]
        times.append(time.process_time() - began)
        counts.append(len(boxes))
        hits.append(found(shot.boxes, boxes))
        large.append(shot.large())
        frames += 1
    hit, big = np.concatenate(hits), np.concatenate(large)
    return {
        "frames": frames,
        "regions": float(np.mean(counts)),
        "cpu_ms": 1e3 * float(np.median(times)),
        "n": len(hit),
        "recall": float(hit.mean()),
        "interval": wilson(int(hit.sum()), len(hit)),
        "large": int(big.sum()),
        "recall_large": float(hit[big].mean()),
    }


def of_encoder() -> Finder:
    """The regions of the installed `tiny`."""
    from vidmem.encoders import load

    encoder: Any = load("tiny", "cpu")

    def find(image: np.ndarray) -> Any:
        height, width = image.shape[:2]
        size = encoder.working_size(width, height)
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        (regions,) = encoder.encode([small], width, height)
        return regions

    return find


def of_networks(folder: Path, threads: int) -> Finder:
    """The regions of the two networks of `tiny` in a folder."""
    from vidmem.encoders.shipped import REGIONS
    from vidmem.encoders.tiny.detector import Detector, working_size

    detector = Detector(*((folder / name).read_bytes() for name in REGIONS), threads=threads)

    def find(image: np.ndarray) -> Any:
        height, width = image.shape[:2]
        small = np.asarray(Image.fromarray(image).resize(working_size(width, height), Image.Resampling.BICUBIC))
        (regions,) = detector.regions([small], width, height)
        return regions

    return find


def options(about: str | None) -> argparse.ArgumentParser:
    """Add the options that all measures of regions share."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the photos (../shared/data)")
    parser.add_argument(
        "--networks", type=Path, help="folder of tiny-detector.onnx and tiny-look.onnx; without it the encoder `tiny`"
    )
    return parser


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--most", type=int, default=MOST, help="regions of a frame at most")
    parser.add_argument("--threads", type=int, default=1, help="of the detector")
    parser.add_argument("--seeds", type=parse_range, default=SEEDS, help="of the walks")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of a walk")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for walks (benchmarks/out)")
    args = parser.parse_args()
    which = str(args.networks or "tiny")
    result: dict[str, Any] = {"machine": machine(), "regions_of": which, "most": args.most}
    if not (args.data / "photos.tar").exists():
        return skip(args.out, result, f"no photos in {args.data}; give their folder as --data")
    find = of_networks(args.networks, args.threads) if args.networks else of_encoder()
    parts = {source: photo_shots(args.data, source) for source in SOURCES}
    parts["walks"] = walk_shots(args.cache, args.seeds, args.seconds)
    for part, shots in parts.items():
        result[part] = measure(shots, find, args.most)
        write_json(args.out, result)
        say(f"{part}: {result[part]['recall']:.3f}")
    shown = [(p, *(result[p][k] for k in ("n", "recall", "large", "recall_large", "regions", "cpu_ms"))) for p in parts]
    print(table((which, "things", "recall", "large", "recall", "regions", "CPU ms"), shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
