"""Small data sets in their published layouts, for the tests of training sets."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (64, 48)
"""Width and height of every picture."""


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    Image.fromarray(noise).save(path, quality=80)
    return path


def polygon(x: int, y: int, side: int = 16) -> list[list[int]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def coco(folder: Path, count: int = 6) -> Path:
    """Pictures with a cup, a ball (not in the fourth), sometimes a second cup, and a pin that no grid of 8 holds."""
    annotations: list[dict[str, Any]] = []

    def add(image: int, category: int, segmentation: Any, crowd: int = 0) -> None:
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": category,
                "segmentation": segmentation,
                "bbox": [0, 0, 1, 1],
                "area": 1,
                "iscrowd": crowd,
            }
        )

    images = []
    for i in range(1, count + 1):
        name = f"COCO_train2014_{i:012d}.jpg"
        picture(folder / "images" / name, i)
        images.append({"id": i, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
        add(i, 1, polygon(2, 2))
        if i != 4:
            add(i, 2, polygon(32, 24))
        if i % 2:
            add(i, 1, polygon(40, 0))
        add(i, 3, [[1, 40, 2, 40, 2, 41, 1, 41]])
    add(1, 4, {"size": [SIZE[1], SIZE[0]], "counts": [0, SIZE[0] * SIZE[1]]}, crowd=1)
    categories = [{"id": i, "name": n} for i, n in enumerate(["cup", "ball", "pin", "person", "drum"], 1)]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def refs(folder: Path, count: int = 6) -> list[dict[str, Any]]:
    """The entries of a RefCOCO list over `coco(folder)`: each picture's first cup, and its ball."""
    document = json.loads(coco(folder, count).read_text())
    out: list[dict[str, Any]] = []
    for a in document["annotations"]:
        if a["category_id"] > 2 or any(
            a["image_id"] == r["image_id"] and a["category_id"] == r["category_id"] for r in out
        ):
            continue
        texts = [f"the left cup, number {a['image_id']}", "cup"] if a["category_id"] == 1 else ["ball at the right"]
        out.append(
            {
                "ref_id": len(out),
                "ann_id": a["id"],
                "image_id": a["image_id"],
                "category_id": a["category_id"],
                "file_name": f"COCO_train2014_{a['image_id']:012d}_{len(out)}.jpg",
                "split": "val" if a["image_id"] == count else "train",
                "sent_ids": list(range(len(texts))),
                "sentences": [
                    {"sent_id": i, "sent": t, "raw": t.upper(), "tokens": t.split()} for i, t in enumerate(texts)
                ],
            }
        )
    return out


def refcoco(folder: Path, count: int = 6, protocol: int = 2) -> Path:
    """A folder as RefCOCO is published: refs(unc).p, instances.json, images/."""
    (folder / "refs(unc).p").parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs(folder, count), protocol))
    return folder


def label_images(folder: Path, count: int = 4) -> tuple[Path, Path]:
    """Label pictures 0 (sky), 1 (grass), 2 (house), 255 none, and their pictures, in subfolders."""
    for i in range(count):
        picture(folder / "pictures" / "a" / f"{i}.jpg", i)
        labels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        labels[24:] = 1
        labels[20:36, 8 : 24 + i] = 2
        labels[:, 60:] = 255
        path = folder / "labels" / "a" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(path)
    return folder / "labels", folder / "pictures"


def conversations(folder: Path) -> Path:
    """Two about a picture and one of text alone."""
    picture(folder / "chat" / "1.jpg", 7)
    entries = [
        {
            "id": "1",
            "image": "1.jpg",
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is this?"},
                {"from": "gpt", "value": "Noise."},
                {"from": "human", "value": "Sure?"},
                {"from": "gpt", "value": "Yes."},
            ],
        },
        {
            "image": "1.jpg",
            "conversations": [{"from": "human", "value": "And?\n<image>"}, {"from": "gpt", "value": "No"}],
        },
        {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]},
    ]
    path = folder / "chat" / "chat.json"
    path.write_text(json.dumps(entries))
    return path


def lines(folder: Path) -> list[dict[str, Any]]:
    """All records of a set, in order."""
    return [
        json.loads(line)
        for path in sorted(folder.glob("data-*.jsonl"))
        for line in path.read_text("utf-8").split("\n")
        if line
    ]


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a set by its name, but the lock."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }
