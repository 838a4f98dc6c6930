"""Naming things in real photographs: `python -m benchmarks.naming --out FILE.json [--data FOLDER]`.

caltech    photos of Caltech-101 that nothing learned from (the last third of each folder): the whole photo is a frame,
           the region that covers its middle best gets a name, among Caltech's own and among CLIP's 2,151
household  things with a box in photos that nothing learned from, and in the clips: the region of the whole frame whose
           box fits best gets one of 80 household names; no crop is given
floor      the same household things as crops, boxes given: a ridge map from the pooled features of an ImageNet
           classifier (MobileNetV2) to CLIP's text vectors, fitted on Caltech's photos that may be learned from; and
           `floor_same_data`, fitted on those of photos.tar too, which look much like what is asked

It needs ../shared/data (Caltech-101, photos.tar, clips, the classifier and CLIP's text vectors), and for the floor the
package ai-edge-litert. What is held out is told by lab.photos.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import box_iou, machine, model, say, skip, table, wilson, write_json
from lab.names import Names, clip_names, plain
from lab.photos import Photo, middle, read_caltech, read_photos
from vidmem.config import preset
from vidmem.encoders import default_preset, load
from vidmem.indexer.merge import merge
from vidmem.media import open_source
from vidmem.records import NS, Box

HERE = Path(__file__).parent
DATA = HERE.resolve().parents[1] / "shared" / "data"
TARGETS = {"caltech_top1": 0.60, "all_names_top5": 0.50, "household_top1": 0.25, "household_top5": 0.55}
MOST_OF_A_NAME = 12
"""Household things of one name, so that persons do not decide."""
LEAST_SIDE = 24
"""Pixels of the shorter side of a box in a photo of 384 pixels at most."""
ALSO = {"mug": "cup", "sofa": "couch", "sports ball": "ball"}


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """Something to name. box in pixels of `image()`."""

    photo: Photo | None
    clip: tuple[Path, float] | None
    box: Box
    name: str

    def image(self) -> Image.Image:
        if self.photo:
            return self.photo.image()
        assert self.clip
        with open_source(self.clip[0]) as source:
            return Image.fromarray(source.frame_at(round(self.clip[1] * NS)).image)


def lines(name: str) -> list[str]:
    kept = (HERE / name).read_text("utf-8").splitlines()
    return [line.strip() for line in kept if line.strip() and not line.startswith("#")]


def caltech_things(data: Path, each: int, held_out: bool = True) -> list[Thing]:
    """At most `each` photos of a folder."""
    count: Counter[str] = Counter()
    out = []
    for photo in read_caltech(data / "caltech101.tar"):
        folder = Path(photo.name).parent.name
        if photo.held_out == held_out and count[folder] < each:
            count[folder] += 1
            out.append(Thing(photo, None, middle(photo), photo.regions[0].name))
    return out


def household_things(
    data: Path, names: Sequence[str], held_out: bool = True, most: int = MOST_OF_A_NAME
) -> list[Thing]:
    """Boxes of photos.tar, and those of the clips (real_objects.json) with what is held out."""
    out, count = [], Counter[str]()
    if held_out:
        for entry in json.loads((HERE / "real_objects.json").read_text("utf-8"))["objects"]:
            clip = data / "clips" / entry["clip"]
            out.append(Thing(None, (clip, entry["t_s"]), tuple(entry["box"]), entry["name"]))
    for photo in read_photos(data / "photos.tar"):
        if photo.held_out != held_out:
            continue
        for region in photo.regions:
            name = ALSO.get(region.name, region.name)
            x0, y0, x1, y1 = region.box
            if name in names and min(x1 - x0, y1 - y0) >= LEAST_SIDE and count[name] < most:
                count[name] += 1
                out.append(Thing(photo, None, region.box, name))
    return out


class Regions:
    """Region tokens of whole frames, as they are indexed: encoded, then merged in the frame."""

    def __init__(self, device: str | None) -> None:
        self.encoder: Any = load("tiny", device)

    def text_token(self, thing: Thing) -> tuple[np.ndarray, float]:
        """The text token `(Dt,)` of the region whose box fits best, unit, and how well it fits (IoU)."""
        image = thing.image()
        width, height = self.encoder.working_size(*image.size)
        frame = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
        (found,) = self.encoder.encode([frame], *image.size)
        merged = merge(found, preset(default_preset("tiny")).merge, frame_width=image.width, frame_height=image.height)
        fits = [box_iou(thing.box, box) for box in merged.boxes]
        best = int(np.argmax(fits))
        return merged.text[best] / np.linalg.norm(merged.text[best]), fits[best]


class Floor:
    """A ridge map from the classifier's pooled features of a crop to CLIP's text vectors of names."""

    def __init__(self, data: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.net = Interpreter(str(data / "mobilenet_v2_1.0_224_quant.tflite"), num_threads=2,
                               experimental_preserve_all_tensors=True)  # fmt: skip
        self.net.allocate_tensors()
        details = self.net.get_tensor_details()
        (self.pooled,) = (t for t in details if t["name"].endswith("/AvgPool"))
        self.vectors: dict[str, np.ndarray] = {}
        for name, vector in clip_names(data / "clip_text"):
            self.vectors.setdefault(plain(name), vector / np.linalg.norm(vector))
        self.map: np.ndarray | None = None
        self.mean = np.mean(list(self.vectors.values()), 0)

    def features(self, thing: Thing) -> np.ndarray:
        crop = thing.image().resize((224, 224), Image.Resampling.BICUBIC, box=thing.box)
        self.net.set_tensor(self.net.get_input_details()[0]["index"], np.asarray(crop, np.uint8)[None])
        self.net.invoke()
        return self.net.get_tensor(self.pooled["index"]).reshape(-1).astype(np.float32) * self.pooled["quantization"][0]

    def fit(self, things: Sequence[Thing], weight: float = 300.0) -> None:
        known = [t for t in things if t.name in self.vectors]
        x = np.stack([self.features(t) for t in known])
        y = np.stack([self.vectors[t.name] - self.mean for t in known])
        x = np.concatenate([x, np.ones((len(x), 1), np.float32)], 1)
        self.map = np.linalg.solve(x.T @ x + weight * np.eye(x.shape[1]), x.T @ y)

    def ranks(self, things: Sequence[Thing], names: Sequence[str]) -> list[int]:
        assert self.map is not None
        targets = np.stack([self.vectors.get(n, np.zeros(512)) - self.mean for n in names])
        targets /= np.linalg.norm(targets, axis=1, keepdims=True)
        said = [np.append(self.features(t), 1) @ self.map for t in things]
        return [rank_of(targets @ v, list(names).index(t.name)) for v, t in zip(said, things, strict=True)]


def rank_of(scores: np.ndarray, right: int) -> int:
    """0 when `right` has the highest score; equal ones count against it."""
    return int((scores >= scores[right]).sum()) - 1


def rates(ranks: Sequence[int]) -> dict[str, Any]:
    hits = {k: sum(r < k for r in ranks) for k in (1, 5)}
    return {"n": len(ranks)} | {f"top{k}": round(h / max(1, len(ranks)), 4) for k, h in hits.items()} | {
        f"top{k}_interval": wilson(h, len(ranks)) for k, h in hits.items()
    }


def name_all(regions: Regions, things: Sequence[Thing], names: Sequence[str], what: str) -> tuple[list[int], list[Any]]:
    texts = regions.encoder.encode_text(names)
    places = {n: i for i, n in enumerate(names)}
    ranks, rows = [], []
    for i, thing in enumerate(things):
        token, fit = regions.text_token(thing)
        scores = texts @ token
        ranks.append(rank_of(scores, places[thing.name]))
        rows.append({"name": thing.name, "rank": ranks[-1], "iou": round(fit, 3),
                     "said": [names[k] for k in np.argsort(-scores)[:3]]})  # fmt: skip
        if i % 500 == 499:
            say(f"{what}: {i + 1} of {len(things)}")
    return ranks, rows


def all_clip_names(data: Path) -> tuple[list[str], Names]:
    """CLIP's names, each spelling once."""
    names = Names()
    for name, _ in clip_names(data / "clip_text"):
        names.add(name)
    return [c.name for c in names.classes], names


def measure(data: Path, each: int, floor: bool, device: str | None) -> Iterator[tuple[str, Any]]:
    regions = Regions(device)
    held = caltech_things(data, each)
    own = sorted({t.name for t in held})
    ranks, rows = name_all(regions, held, own, "caltech")
    by_name = {n: sum(r["rank"] == 0 for r in rows if r["name"] == n) / sum(r["name"] == n for r in rows) for n in own}
    mean_of_names = round(float(np.mean(list(by_name.values()))), 4)
    yield "caltech", rates(ranks) | {"names": len(own), "mean_of_names": mean_of_names}
    every, index = all_clip_names(data)
    spelled = [Thing(t.photo, t.clip, t.box, every[i]) for t in held if (i := index.find(t.name)) is not None]
    ranks, _ = name_all(regions, spelled, every, "all names")
    yield "all_names", rates(ranks) | {"names": len(every)}
    names = lines("household_names.txt")
    things = household_things(data, names)
    ranks, rows = name_all(regions, things, names, "household")
    clips = [r for r, t in zip(ranks, things, strict=True) if t.clip]
    yield "household", rates(ranks) | {"names": len(names), "clips": rates(clips), "things": rows,
                                       "mean_iou": float(np.mean([r["iou"] for r in rows]))}  # fmt: skip
    if floor:
        ridge = Floor(data)
        taught = caltech_things(data, 20, held_out=False)
        ridge.fit(taught)
        yield "floor", rates(ridge.ranks(things, names)) | {"fitted_on": len(taught)}
        taught += household_things(data, names, held_out=False, most=60)
        ridge.fit(taught)
        yield "floor_same_data", rates(ridge.ranks(things, names)) | {"fitted_on": len(taught)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the photos and clips (../shared/data)")
    parser.add_argument("--each", type=int, default=1000, help="photos of each Caltech folder at the most")
    parser.add_argument("--no-floor", action="store_true", help="leave out the floor")
    parser.add_argument("--device", help="cuda, mps or cpu")
    args = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "model": model(), "targets": TARGETS}
    if not (args.data / "caltech101.tar").exists():
        return skip(args.out, result, f"no photos in {args.data}; give their folder as --data")
    for part, found in measure(args.data, args.each, not args.no_floor, args.device):
        result[part] = found
        write_json(args.out, result)
    shown = [(p, result[p]["n"], result[p]["top1"], result[p]["top5"]) for p in
             ("caltech", "all_names", "household", "floor", "floor_same_data") if p in result]  # fmt: skip
    print(table(("", "things", "top 1", "top 5"), shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
