"""Fit of masks to outlines: `python -m benchmarks.masks --out FILE.json [--data FOLDER] [--networks FOLDER]`.

Annotated outlines in the photos of coco_cc (photos.tar), on which nothing is fitted; things whose shorter side has at
least 24 pixels of a photo of 384. Each is compared with the region whose box fits it best: IoU in pixels of the mask,
stretched to the photo and cut at one half, and of the plain box. `found` are those whose box has an IoU of at least .5;
what is not found counts among `all` with whatever the best region has. `best`: of all masks of the frame the best one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.boxes import IOU, Finder, of_encoder, of_networks, options, photo_shots
from benchmarks.common import machine, skip, table, write_json
from vidmem.geometry import box_iou, stretching


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def filled(box: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A box as a mask."""
    out = np.zeros(shape, np.bool_)
    x0, y0, x1, y1 = np.round(box).astype(int)
    out[y0:y1, x0:x1] = True
    return out


def measure(data: Path, find: Finder) -> dict[str, Any]:
    rows = []
    for shot in photo_shots(data, "coco_cc"):
        assert shot.photo
        height, width = shot.image.shape[:2]
        regions = find(shot.image)
        if not len(regions.boxes):
            continue
        h, w = regions.masks.shape[1:]
        down, across = stretching(h, height), stretching(w, width)
        masks = [down @ mask @ across.T > 0.5 for mask in regions.masks]
        fits = box_iou(shot.boxes[:, None], regions.boxes[None])
        outlines = shot.photo.masks()
        for i in np.flatnonzero(shot.large()):
            if shot.photo.regions[i].polygons:
                at = int(fits[i].argmax())
                plain = filled(regions.boxes[at], (height, width))
                rows.append(
                    (
                        fits[i, at] >= IOU,
                        iou(masks[at], outlines[i]),
                        iou(plain, outlines[i]),
                        max(iou(mask, outlines[i]) for mask in masks),
                    )
                )
    held, mask, box, best = np.array(rows).T
    some = held > 0
    return {
        "n": len(rows),
        "found": int(some.sum()),
        "mask": float(mask[some].mean()),
        "box": float(box[some].mean()),
        "mask_of_all": float(mask.mean()),
        "box_of_all": float(box.mean()),
        "best_of_all": float(best.mean()),
    }


def main() -> int:
    args = options(__doc__).parse_args()
    which = str(args.networks or "tiny")
    result: dict[str, Any] = {"machine": machine(), "regions_of": which}
    if not (args.data / "photos.tar").exists():
        return skip(args.out, result, f"no photos in {args.data}; give their folder as --data")
    result["coco_cc"] = measure(args.data, of_networks(args.networks, 1) if args.networks else of_encoder())
    write_json(args.out, result)
    keys = ("n", "found", "mask", "box", "mask_of_all", "box_of_all", "best_of_all")
    head = ("", "things", "found", "mask", "box", "mask, all", "box, all", "best, all")
    print(table(head, [(which, *(result["coco_cc"][k] for k in keys))]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
