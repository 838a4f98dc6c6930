"""Naming things in real photographs: `python -m benchmarks.naming --out FILE.json [--data FOLDER]`.

caltech    photos of Caltech-101 that nothing learned from (the last third of each folder): the whole photo is a
           picture, the region that covers its middle best gets a name, among Caltech's own and among CLIP's 2,151
household  things with a box in all of photos.tar: the region of the whole photo whose box fits best gets one of 80
           household names; no crop is given. `last_third`: those in the photos that the weights of 2026 did not learn
           from either
clips      60 things boxed by eye in frames of the clips, among the 100 names of clip_names.txt
floor      the household things as crops, boxes given: a ridge map from the pooled features of an ImageNet classifier
           (MobileNetV2) to CLIP's text vectors, fitted on Caltech's photos that may be learned from

Every picture goes through a memory, as a user's would (common.described): a region's name is the text token that the
memory keeps of it, whatever made it. It needs ../shared/data (Caltech-101, photos.tar, clips, the classifier and CLIP's
text vectors), and for the floor the package ai-edge-litert.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import (
    Described,
    box_iou,
    described,
    machine,
    mean,
    model,
    parser_for,
    say,
    skip,
    table,
    wilson,
    write_json,
)
from benchmarks.photos import (
    DATA,
    Names,
    Thing,
    caltech_things,
    clip_names,
    clip_things,
    household_things,
    lines,
    plain,
)

TARGETS = {
    "caltech_top1": 0.60,
    "all_names_top5": 0.50,
    "household_top1": 0.55,
    "household_top5": 0.80,
    "clips_top1": 0.65,
    "clips_top5": 0.85,
}
FITS = 0.5
"""IoU from which on a region counts as the thing; it is named whether it does or not."""


class Floor:
    """A ridge map from the classifier's pooled features of a crop to CLIP's text vectors of names."""

    def __init__(self, data: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.net = Interpreter(
            str(data / "mobilenet_v2_1.0_224_quant.tflite"), num_threads=2, experimental_preserve_all_tensors=True
        )
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
        pooled: np.ndarray = self.net.get_tensor(self.pooled["index"]).reshape(-1).astype(np.float32)
        return pooled * float(self.pooled["quantization"][0])

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
    """The rank of `right` by score, 0 for the highest; ties count against it."""
    return int((scores >= scores[right]).sum()) - 1


def rates(ranks: Sequence[int]) -> dict[str, Any]:
    hits = {k: sum(r < k for r in ranks) for k in (1, 5)}
    return (
        {"n": len(ranks)}
        | {f"top{k}": round(h / max(1, len(ranks)), 4) for k, h in hits.items()}
        | {f"top{k}_interval": wilson(h, len(ranks)) for k, h in hits.items()}
    )


def look(things: Sequence[Thing], device: str | None, what: str) -> list[Described]:
    """The regions of each thing's picture, as a memory stores them; each picture is encoded once."""
    first: dict[str, Thing] = {}
    for thing in things:
        first.setdefault(thing.where, thing)
    seen: dict[str, Described] = {}
    pictures = (thing.image() for thing in first.values())
    for where, said in zip(first, described(pictures, device=device), strict=True):
        seen[where] = said
        if len(seen) % 500 == 0:
            say(f"{what}: {len(seen)} of {len(first)} pictures")
    return [seen[thing.where] for thing in things]


def name_one(said: Described, thing: Thing, texts: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """The row of one thing: the region that fits it best, and the ranks of `names` with vectors `texts` `(n, Dt)`
    there.

    The thing's own name has rank 0 if it is first. Without a region, or with an unnamed one, the name is last.
    """
    fits = [box_iou(thing.box, box) for box in said.boxes]
    row: dict[str, Any] = {"name": thing.name, "rank": len(names), "iou": 0.0, "said": []}
    if not fits:
        return row
    best = int(np.argmax(fits))
    row["iou"] = round(fits[best], 3)
    length = float(np.linalg.norm(said.text[best]))
    if length > 0:
        scores = texts @ (said.text[best] / length)
        row |= {
            "rank": rank_of(scores, names.index(thing.name)),
            "sure": round(length, 3),
            "said": [names[k] for k in np.argsort(-scores)[:3]],
        }
    return row


def name_all(
    seen: Sequence[Described], things: Sequence[Thing], texts: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    return [name_one(said, thing, texts, names) for said, thing in zip(seen, things, strict=True)]


def summed(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    return rates([r["rank"] for r in rows]) | {
        "names": len(names),
        "mean_iou": mean(r["iou"] for r in rows),
        "fits": mean(r["iou"] >= FITS for r in rows),
    }


def all_clip_names(data: Path) -> tuple[list[str], Names]:
    """CLIP's names, each spelling once."""
    names = Names()
    for name, _ in clip_names(data / "clip_text"):
        names.add(name)
    return [c.name for c in names.classes], names


def measure(data: Path, each: int, floor: bool, device: str | None) -> Iterator[tuple[str, Any]]:
    from vidmem.encoders import load_text

    tower = load_text()
    names = lines("household_names.txt")
    things = household_things(data, names)
    rows = name_all(look(things, device, "household"), things, tower.encode_text(names), names)
    third = [r for r, t in zip(rows, things, strict=True) if t.photo and t.photo.held_out]
    yield "household", summed(rows, names) | {"last_third": summed(third, names), "things": rows}
    if floor and find_spec("ai_edge_litert") is None:
        say("no floor: it needs the package ai-edge-litert")
    elif floor:
        ridge = Floor(data)
        taught = caltech_things(data, 20, held_out=False)
        ridge.fit(taught)
        yield "floor", rates(ridge.ranks(things, names)) | {"fitted_on": len(taught)}
    names = lines("clip_names.txt")
    things = clip_things(data / "clips")
    rows = name_all(look(things, device, "clips"), things, tower.encode_text(names), names)
    yield (
        "clips",
        summed(rows, names)
        | {"things": [{"where": t.where, "box": t.box} | r for t, r in zip(things, rows, strict=True)]},
    )
    held = caltech_things(data, each)
    seen = look(held, device, "caltech")
    own = sorted({t.name for t in held})
    rows = name_all(seen, held, tower.encode_text(own), own)
    by_name = {n: sum(r["rank"] == 0 for r in rows if r["name"] == n) / sum(r["name"] == n for r in rows) for n in own}
    yield "caltech", summed(rows, own) | {"mean_of_names": round(float(np.mean(list(by_name.values()))), 4)}
    every, index = all_clip_names(data)
    pairs = [
        (said, replace(t, name=every[i]))
        for said, t in zip(seen, held, strict=True)
        if (i := index.find(t.name)) is not None
    ]
    rows = name_all([said for said, _ in pairs], [t for _, t in pairs], tower.encode_text(every), every)
    yield "all_names", summed(rows, every)


def sheet(clips: Path, rows: Sequence[dict[str, Any]]) -> Image.Image:
    """A picture of every thing of the clips with its names."""
    from benchmarks.real_sheet import Mark, grid, tile

    tiles = []
    for thing, row in zip(clip_things(clips), rows, strict=True):
        right = row["rank"] == 0
        note = f"{'right' if right else 'rank ' + str(row['rank'] + 1)}  IoU {row['iou']:.2f}  {', '.join(row['said'])}"
        tiles.append(tile(thing.image(), [Mark(thing.box, True)], thing.name, note, right))
    return grid(tiles)


def main() -> int:
    parser = parser_for(__doc__, "the clips' sheet lies beside")
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
    if result["clips"]["things"]:
        sheet(args.data / "clips", result["clips"]["things"]).save(args.out.with_suffix(".png"))
    shown = [
        (p, f["n"], f["top1"], f["top5"], f.get("fits"))
        for p, f in (
            *((p, result[p]) for p in ("household", "clips", "caltech", "all_names", "floor") if p in result),
            ("household, last third", result["household"]["last_third"]),
        )
    ]
    print(table(("", "things", "top 1", "top 5", f"region of IoU {FITS}"), shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
