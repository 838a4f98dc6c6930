"""Fit the head of the small backbone of `lab.train`: `python -m lab.tiny.fit_head --data ../shared/data`.

That backbone is the neck of the detector that ships, at stride 8. Each confident box on the training photos of
Caltech-101 and on doors.tar gives one sample: the mean feature in the box, and the text vector of the COCO name that
the detector gives it. Labels drawn by people are not read. The head is a ridge regression from features to vectors;
names are weighted by the square root of their frequency, and every fifth photo is held out. The file also has the mean
and the spread of each channel over all patches.

From the finest level of the neck .93 of the held-out boxes get their name. All three levels together gain .005, which
is not worth three times the width.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lab.photos import read_caltech
from lab.tiny.view_samples import doors
from lab.train.tren import backbones
from vidmem.encoders.onnx import session
from vidmem.encoders.shipped import REGIONS, shipped
from vidmem.encoders.tiny.detector import anchor_points, best_points, decode, suppress, working_size
from vidmem.encoders.tiny.text import TinyText
from vidmem.geometry import cell_share
from vidmem.query.labels import load_labels
from vidmem.records import Float32

SURE, MOST = 0.5, 8
"""Minimum probability of a box's class; maximum number of boxes of a photo."""
RIDGE = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """features `(n, D)` float32, as the detector has them; names `(n,)` int, of COCO's 80; photos `(n,)` int, which
    one. mean, spread `(D,)` float32: of the channels over all patches."""

    features: Float32
    names: NDArray[np.intp]
    photos: NDArray[np.intp]
    mean: Float32
    spread: Float32


def pooled(features: Float32, masks: Float32) -> Float32:
    """Return the mean `(n, D)` of features `(D, h, w)` in masks `(n, h, w)`."""
    flat = masks.reshape(len(masks), -1)
    mean = flat @ features.reshape(len(features), -1).T / np.maximum(flat.sum(1, keepdims=True), 1e-6)
    return np.asarray(mean, np.float32)


def photographs(data: Path, every: int) -> Iterator[Image.Image]:
    """Yield one in `every` of Caltech's training photos, which are many and similar, and all of doors.tar."""
    for i, photo in enumerate(p for p in read_caltech(data / "caltech101.tar") if not p.held_out):
        if i % every == 0:
            yield photo.image()
    yield from doors(data)


def collect(net: Any, images: Iterator[Image.Image]) -> Samples:
    """Return the confident detections of `net` in the photos."""
    features, names, photos = [], [], []
    sums, squares, count = np.zeros(0), np.zeros(0), 0
    for number, image in enumerate(images):
        w, h = working_size(*image.size)
        pixels = np.asarray(image.resize((w, h), Image.Resampling.BILINEAR))
        scores, bins, neck = (out[0] for out in net.run(["scores", "bins", "neck8"], {"image": pixels[None]}))
        flat = neck.reshape(len(neck), -1).astype(np.float64)
        sums, squares = (sums, squares) if count else (np.zeros(len(neck)), np.zeros(len(neck)))
        sums, squares, count = sums + flat.sum(1), squares + (flat**2).sum(1), count + flat.shape[1]
        rows = best_points(scores.max(1), SURE, 100)
        boxes = decode(bins[rows], anchor_points(h, w)[rows], (h, w))
        kept = suppress(boxes, 0.6, MOST)
        for row, box in zip(rows[kept], boxes[kept].tolist(), strict=True):
            mask = cell_share((box[0], box[1], box[2], box[3]), (h // 8, w // 8), w, h)
            features.append(pooled(neck, mask[None])[0])
            names.append(int(scores[row].argmax()))
            photos.append(number)
    mean = sums / count
    spread = np.sqrt(squares / count - mean**2)
    return Samples(
        np.array(features), np.array(names), np.array(photos), mean.astype(np.float32), spread.astype(np.float32)
    )


def fit(features: Float32, names: NDArray[np.intp], texts: Float32) -> tuple[Float32, Float32]:
    """Return weight `(Dt, D)` and bias `(Dt,)` of the head. features `(n, D)`, centred and scaled; texts `(C, Dt)`."""
    weight = 1 / np.sqrt(np.bincount(names, minlength=len(texts))[names])
    rows = np.c_[features, np.ones(len(features))].astype(np.float64)
    table = rows.T @ (rows * weight[:, None]) + RIDGE * weight.mean() * np.eye(rows.shape[1])
    solved = np.linalg.solve(table, rows.T @ (texts[names] * weight[:, None])).astype(np.float32)
    return np.ascontiguousarray(solved[:-1].T), solved[-1]


def right(head: tuple[Float32, Float32], features: Float32, names: NDArray[np.intp], texts: Float32) -> float:
    """Return the share of samples whose nearest name is their own."""
    said = features @ head[0].T + head[1]
    return float(((said @ texts.T).argmax(1) == names).mean())


def main() -> None:
    from safetensors.numpy import save_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with caltech101.tar and doors.tar")
    parser.add_argument("--every", type=int, default=4, help="one of so many of Caltech's photos (4)")
    parser.add_argument("--out", type=Path, default=Path(backbones.__file__).with_name(backbones.HEAD))
    args = parser.parse_args()
    texts = TinyText().encode_text(load_labels("coco").names)
    net = session(shipped(REGIONS[0]), "the detector", outputs=("scores", "bins", "neck8"))
    samples = collect(net, photographs(args.data, args.every))
    features = (samples.features - samples.mean) / samples.spread
    held = samples.photos % 5 == 4
    head = fit(features[~held], samples.names[~held], texts)
    shown = held & np.isin(samples.names, samples.names[~held])
    told = {
        "samples": len(features),
        "names": len(np.unique(samples.names)),
        "kept_back": int(shown.sum()),
        "named_right": round(right(head, features[shown], samples.names[shown], texts), 3),
    }
    weight, bias = fit(features, samples.names, texts)
    save_file({"mean": samples.mean, "spread": samples.spread, "weight": weight, "bias": bias}, args.out)
    args.out.chmod(0o644)  # safetensors makes files that only the owner can read, and a checkout keeps that
    print(json.dumps(told))


if __name__ == "__main__":
    main()
