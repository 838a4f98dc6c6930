"""What a grid of text can hold: `python -m benchmarks.text4seg_bound --out FILE.json [--data FOLDER]`.

Real masks are written as text (Text4Seg), read back, stretched to pixels by nearest neighbour, and scored against
themselves: the most that a model can reach on them. Four sets of masks:

photos    outlines of things in coco_cc (photos.tar), drawn by people; one text per thing
large     those of `photos` that cover a twentieth of the picture or more, as RefCOCO's things do
pictures  the same photos with all their names in one text, the smaller thing on top
clips     the best masks of `tiny` in a frame a second of the real clips; one text per region, named `thing`. They are
          smoother than outlines by people, so their figures are higher

For each grid: cumulative and mean IoU, masks without a cell, and the length of the text and the time to write and read
it in three layouts: full, run lengths over the picture (I-RLE), and row by row (R-RLE). Tokens are counted with
open_clip's vocabulary, since no language model's is at hand. A Markdown file of the same name has the tables and the
paper's figures.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.boxes import of_encoder
from benchmarks.common import machine, parser_for, say, skip, write_json
from benchmarks.photos import DATA
from lab.photos import LONGEST, read_photos
from vidmem.encoders import torchvision_compat
from vidmem.evaluation.codec import Bound, Count, referring_bound, semantic_bound
from vidmem.geometry import stretching
from vidmem.media import open_source

GRIDS = (16, 24, 32, 64)
LAYOUTS = {"full": "full", "image": "I-RLE", "rows": "R-RLE"}
LEAST_PIXELS = 16
"""Of a mask; smaller ones are noise of an outline."""
LARGE = 0.05
"""Share of the picture that the things of RefCOCO cover at least (Kazemzadeh et al., EMNLP 2014)."""
MOST = 12
"""Masks of a frame."""
PAPER = {
    "tokens of a 16x16 answer, refCOCO": {"full": 583, "R-RLE": 154},
    "seconds of inference, V100": {"full": 19, "R-RLE": "about a third"},
    "cIoU of trained InternVL2-8B, 16x16, no refiner": {
        "full or R-RLE, refCOCO": 74.2,
        "I-RLE, refCOCO": 70.4,
        "full or R-RLE, refCOCO+": 68.0,
        "I-RLE, refCOCO+": 64.7,
    },
    "mean cIoU over refCOCO(+/g) by grid, no refiner": {"16x16": 67.5, "32x32": 71.4},
}
"""Text4Seg, sections 3.2 and 4.6. These are scores of trained models; the figures measured here are upper bounds."""

Masks = list[tuple[str, NDArray[np.bool_]]]


def photo_masks(data: Path) -> tuple[Masks, list[NDArray[np.int64]], list[str]]:
    """Outlines of things with their names, and the same photos as label pictures with the list of names."""
    things: Masks = []
    pictures: list[NDArray[np.int64]] = []
    names: dict[str, int] = {}
    for photo in read_photos(data / "photos.tar"):
        if photo.source != "coco_cc":
            continue
        kept = [
            (region.name, mask)
            for region, mask in zip(photo.regions, photo.masks(), strict=True)
            if region.polygons and mask.sum() >= LEAST_PIXELS
        ]
        things += kept
        picture = np.full(photo.size[::-1], -1, np.int64)
        for name, mask in sorted(kept, key=lambda item: -int(item[1].sum())):
            picture[mask] = names.setdefault(name, len(names))
        pictures.append(picture)
    return things, pictures, list(names)


def clip_masks(clips: Path) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The best masks of `tiny` in one frame a second of every clip, in the size of the photos."""
    find = of_encoder()
    for path in sorted(clips.glob("*.mp4")):
        with open_source(path) as source:
            for frame in source.frames(fps=1):
                image = frame.image
                regions = find(image)
                scale = LONGEST / max(image.shape[:2])
                height, width = (round(side * scale) for side in image.shape[:2])
                h, w = regions.masks.shape[1:]
                down, across = stretching(h, height), stretching(w, width)
                for soft in regions.masks[:MOST]:
                    mask = down @ soft @ across.T > 0.5
                    if mask.sum() >= LEAST_PIXELS:
                        yield "thing", mask


def clip_tokens() -> Count | None:
    """Counts tokens with open_clip's vocabulary; None where open_clip is not installed."""
    if find_spec("open_clip") is None:
        return None
    torchvision_compat.ready()  # open_clip imports torchvision
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    return lambda text: len(tokenizer.encode(text))


def tables(result: dict[str, Any]) -> str:
    """The measured figures as Markdown."""
    lines = ["# What a grid of text can hold", ""]
    for name, about in result["sets"].items():
        rows = result["bounds"][name]
        lines += [f"## {name}: {about}", "", "| grid | masks | without a cell | cIoU | mean IoU | IoU >= .5 | mIoU |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for row in rows:
            miou = "" if row["miou"] is None else f"{100 * row['miou']:.1f}"
            lines.append(
                f"| {row['grid'][0]} | {row['masks']} | {row['lost']} | {100 * row['ciou']:.1f} "
                f"| {100 * row['giou']:.1f} | {100 * row['precision']:.1f} | {miou} |"
            )
        lines += ["", "| grid | layout | characters | runs | tokens | of full | write, ms | read, ms |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for row in rows:
            whole = row["cost"]["full"]
            for layout, label in LAYOUTS.items():
                cost = row["cost"][layout]
                measure = "characters" if cost["tokens"] is None else "tokens"
                tokens = "" if cost["tokens"] is None else f"{cost['tokens']:.0f}"
                lines.append(
                    f"| {row['grid'][0]} | {label} | {cost['characters']:.0f} | {cost['runs']:.1f} | {tokens} "
                    f"| {100 * cost[measure] / whole[measure]:.0f} % | {cost['encode_ms']:.2f} "
                    f"| {cost['decode_ms']:.2f} |"
                )
        lines.append("")
    lines += ["## The paper", ""]
    for name, values in result["paper"].items():
        lines.append(f"- {name}: " + ", ".join(f"{key} {value}" for key, value in values.items()))
    return "\n".join(lines) + "\n"


def _row(bound: Bound) -> dict[str, Any]:
    return dataclasses.asdict(bound) | {"cost": {key: cost._asdict() for key, cost in bound.cost.items()}}


def main() -> int:
    parser = parser_for(__doc__, "the tables go beside it as .md")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of photos.tar and clips/ (../shared/data)")
    args = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "paper": PAPER, "sets": {}, "bounds": {}}
    if not (args.data / "photos.tar").exists():
        return skip(args.out, result, f"no photos in {args.data}; give their folder as --data")
    tokens = clip_tokens()
    things, pictures, names = photo_masks(args.data)
    result["sets"]["photos"] = f"{len(things)} outlines by people in coco_cc, one text per thing"
    result["bounds"]["photos"] = [_row(referring_bound(things, (g, g), tokens=tokens)) for g in GRIDS]
    large = [(name, mask) for name, mask in things if mask.mean() >= LARGE]
    result["sets"]["large"] = f"{len(large)} of them that cover a twentieth of the picture or more"
    result["bounds"]["large"] = [_row(referring_bound(large, (g, g), tokens=tokens)) for g in GRIDS]
    result["sets"]["pictures"] = f"{len(pictures)} photos of coco_cc, all {len(names)} names in one text"
    result["bounds"]["pictures"] = [_row(semantic_bound(pictures, names, (g, g), tokens=tokens)) for g in GRIDS]
    say("photos are done")
    if (args.data / "clips").is_dir():
        regions = list(clip_masks(args.data / "clips"))
        result["sets"]["clips"] = f"{len(regions)} masks of `tiny` in a frame a second of the clips"
        result["bounds"]["clips"] = [_row(referring_bound(regions, (g, g), tokens=tokens)) for g in GRIDS]
    write_json(args.out, result)
    made = tables(result)
    args.out.with_suffix(".md").write_text(made, "utf-8")
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
